"""A database made by the release before, brought to the newest schema: what is counted is what the contacts there make (R27)."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from sqlalchemy import MetaData, insert, select

from libs.events.catalogue.interactions import Effects
from libs.events.clock import SimulatedClock
from libs.events.timers import timer_id
from libs.service.environment import Environment
from libs.service.migration import differences, location_of, migrate
from libs.service.settings import Settings, load
from libs.service.testing import MASTER_KEY, running
from services.classification import tables
from services.classification.app import build as classification
from services.classification.counting import Counted, counted_of, fold
from tests.classification.streams import emit
from tests.classification.test_corrected import DAYS, facts, one_of, shown, sums
from tests.classification.test_monitoring import at, bring_in, pass_time, verdicts

UTC_ZONE = ZoneInfo("UTC")
PARTICULAR = ("motive", "cause", "touchpoint", "location", "product", "team", "supplier", "procedure", "segment")
HELD = ("product", "team", "procedure", "segment")


async def old_database(folder: Path, clock: SimulatedClock) -> list[Counted]:
    """Tables as of 0005, filled as that release filled them: contacts without what was not counted by, sums of two series."""
    environment = await Environment.open(load(Settings, data=folder, master_key=MASTER_KEY, access_log=False), clock)
    try:
        engine = environment.engine("classification")
        await migrate(engine, location_of("classification"), service="classification", revision="0005")
        old = MetaData()
        async with engine.begin() as connection:
            await connection.run_sync(old.reflect)
            contacts, particulars, days = (old.tables[name] for name in ("contacts", "particulars", "days"))
            assert not {"product", "team", "procedure", "component", "segment"} & set(contacts.c.keys())
            assert "snapshots" not in old.tables
            counted = [
                replace(counted_of(fact, clock.now(), UTC_ZONE), component="", segment="critical" if number % 3 else "")
                for number, fact in enumerate(facts())
            ]
            for one in counted:
                known = {name: getattr(one, name) for name in contacts.c.keys()}  # noqa: SIM118 - columns are no mapping of names
                await connection.execute(insert(contacts).values(known))
            for number, one in enumerate(counted):
                if number % 7:  # the others were coded before there were particulars
                    of = {"severity": None, "channel": "phone"} | {
                        name: getattr(one, name) or None for name in PARTICULAR
                    }
                    plain = {
                        name: getattr(one, name)
                        for name in ("interaction_id", "revision", "customer_id", "occurred_at", "counted")
                    }
                    await connection.execute(insert(particulars).values(plain | of))
            rows = [
                dict(zip(("series", "motive", "place", "day", "fresh", "contacts"), (*key, *value), strict=True))
                for key, value in fold(counted).items()
                if key[0] in {"touchpoint", "location"}
            ]
            await connection.execute(insert(days), rows)
            mark = old.tables["watermarks"]
            latest = max(one.day for one in counted)
            seen = {"crm": max(one.occurred_at for one in counted).isoformat()}
            values = {
                "stamp": "old",
                "seen": seen,
                "latest": latest,
                "through": latest - timedelta(days=1),
                "gathering": False,
            }
            await connection.execute(insert(mark).values(name="monitor", **values))
            due = at(DAYS + 3, 12)
            timer = {"kind": "monitor-day", "key": "monitor", "id": timer_id("monitor-day", "monitor", due), "due": due}
            await connection.execute(insert(tables.MACHINERY.timers).values(timer | {"data": b"{}", "attempts": 0}))
    finally:
        await environment.close()
    return [
        one if number % 7 else replace(one, product="", team="", procedure="", segment="")
        for number, one in enumerate(counted)
    ]


async def test_a_database_of_the_schema_before_is_counted_in_every_series_as_its_contacts_say_R27(
    tmp_path: Path,
) -> None:
    clock = SimulatedClock(at(DAYS + 3))
    kept = await old_database(tmp_path, clock)
    today = one_of(
        90_000, DAYS + 2, motive="m0", touchpoint="t0", product="p1", team="team-1", procedure="r0", location="l1"
    )
    today = today.model_copy(update={"effects": Effects.LIVE})
    async with running(classification, clock=clock, data=tmp_path) as run:
        engine = run.environment.engine("classification")
        assert await differences(engine, tables.metadata) == []
        await emit(run, [today])
        await run.settle()
        await pass_time(run, clock, timedelta(days=1))
        async with run.services["classification"].runtime.store.reading() as connection:
            rows = {row.interaction_id: Counted(*row) for row in await connection.execute(select(tables.contacts))}
        everything = [*kept, counted_of(today, clock.now(), UTC_ZONE)]
        assert rows == {one.interaction_id: one for one in everything}
        assert await sums(run) == fold(everything)
        said = await verdicts(run)
        systemic = {name for item in said if item["verdict"] == "systemic" for name in item["slice"]}
        assert {"motive", "product", "supplier"} <= systemic
        upgraded = await shown(run)
    # Built anew by the newest schema from nothing but those contacts: every slice's counts, limits and odds.
    clock = SimulatedClock(at(DAYS + 3))
    known = {one.interaction_id: one for one in kept}
    anew = [
        fact.model_copy(update={name: getattr(known[fact.interaction_id], name) or None for name in HELD})
        for fact in facts()
    ]
    async with running(classification, clock=clock) as run:
        await bring_in(run, clock, anew)
        await emit(run, [today])
        await run.settle()
        await pass_time(run, clock, timedelta(days=1) - timedelta(seconds=10))
        assert await sums(run) == fold(everything)
        assert await shown(run) == upgraded
