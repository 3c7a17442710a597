"""Series of more attributes than motive and contact point: what is watched, what one failure is, what a restart or an upgrade makes of it."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from sqlalchemy import insert, select, update

from libs.events.catalogue.classifications import InteractionClassified
from libs.events.catalogue.findings import Verdict
from libs.events.catalogue.interactions import Effects
from libs.events.clock import SimulatedClock
from libs.service.migration import differences
from libs.service.testing import Running, running
from services.classification import app, bounding, recounting, snapshots, tables
from services.classification.app import build as classification
from services.classification.counting import USUAL, counted_of, fold, watched_of
from services.classification.domain.judges import Judges
from services.classification.domain.localisation import Contact
from services.classification.domain.narrowing import member_of, placed
from services.classification.domain.slices import (
    DEFAULT,
    FIRST,
    BadSeries,
    by_name,
    counts_at,
    parse,
    series_of,
)
from services.classification.domain.slices import (
    at as slice_at,
)
from services.classification.domain.watch import Watch
from tests.classification.streams import ORIGIN, WEEK, contact, emit
from tests.classification.test_monitoring import at, bring_in, pass_time, projections_equal_their_folds, verdicts

PAIRS = "motive*product, motive*location, motive*team, motive*supplier"
LATER = datetime(2030, 1, 1, tzinfo=UTC)
UTC_ZONE = ZoneInfo("UTC")


def test_a_series_is_one_or_two_attributes_in_any_order_and_a_slice_comes_back_from_its_row() -> None:
    assert series_of(("touchpoint", "motive")) == FIRST
    found = parse("product, team*motive, motive*product, location*product")
    assert [one.name for one in found] == [
        "touchpoint",
        "*product",
        "motive*team",
        "motive*product",
        "location*product",
    ]
    values = {"motive": "m", "product": "p", "team": "", "location": "l"}
    assert [one.of(values | {"touchpoint": ""}) for one in found] == [
        (("motive", "m"), ("touchpoint", "")),
        (("product", "p"),),
        None,
        (("motive", "m"), ("product", "p")),
        (("location", "l"), ("product", "p")),
    ]
    for one in parse(f"{DEFAULT}, {PAIRS}"):
        assert by_name(one.name) == one
        where = one.of(dict.fromkeys(("motive", *one.dims), "v"))
        assert where is not None
        assert one.slice_of(*counts_at(where)[1:]) == where
        assert one.row_of(dict(where)) == counts_at(where)
    assert by_name("location") is None, "places among their peers are no series of rises"
    assert by_name("sweep") is None
    for wrong in ("customer", "motive*motive", "motive*team*product"):
        with pytest.raises(BadSeries):
            parse(wrong)


def failing(extra: float, begins: int, length: int, seed: int = 5) -> list[InteractionClassified]:
    """24 motives at three contact points, five products: from a day on one product brings more, spread over all of them."""
    rng = np.random.default_rng(seed)
    found: list[InteractionClassified] = []

    def add(day: int, product: str) -> None:
        found.append(
            contact(
                len(found),
                ORIGIN + timedelta(days=day),
                motive=f"m{rng.integers(24)}",
                touchpoint=f"t{rng.integers(3)}",
                product=product,
                team=f"team-{rng.integers(4)}",
                effects=Effects.HISTORY,
            )
        )

    for day in range(length):
        for _ in range(rng.poisson(40 * WEEK[day % 7])):
            add(day, f"p{rng.integers(5)}")
        if day >= begins:
            for _ in range(rng.poisson(extra)):
                add(day, "p3")
    return found


async def test_a_failure_of_one_product_diluted_in_every_motive_is_found_by_its_own_series_and_is_one_finding_R11() -> (
    None
):
    """Eight a day grow to twelve, in 24 motives: the week's sweep, which asks for half as much again, has nothing to say."""
    facts = failing(4.5, 126, 160)
    clock = SimulatedClock(at(165))
    async with running(classification, clock=clock) as run:
        await bring_in(run, clock, facts)
        found = (await run.client.get("/classification/v1/findings")).json()["items"]
        assert [item["slice"] for item in found] == [{"product": "p3"}]
        said = await verdicts(run)
        (own,) = [item for item in said if item["slice"] == {"product": "p3"}]
        assert own["evaluation"]["window_end"] <= at(126 + 28).isoformat()
        assert {item["finding_id"] for item in said if item["verdict"] == "systemic"} == {found[0]["finding_id"]}
        await projections_equal_their_folds(run)


def test_a_wide_slice_belongs_to_the_open_finding_that_holds_most_of_its_excess() -> None:
    def days(number: int, first: int, last: int, **values: str) -> list[Contact]:
        return [
            Contact(ORIGIN + timedelta(days=day), f"c{number}-{day}-{one}", values)
            for day in range(first, last)
            for one in range(number)
        ]

    contacts = days(2, 0, 200, motive="m", touchpoint="a", product="p") + days(2, 0, 200, motive="n", product="p")
    contacts += days(5, 193, 200, motive="m", touchpoint="a", product="p")
    last = ORIGIN + timedelta(days=199)
    opened = [{"motive": "n"}, {"motive": "m", "touchpoint": "a"}]
    assert member_of(contacts, last, 7, {"product": "p"}, opened) == 1
    assert member_of(contacts, last, 7, {"product": "p"}, opened[:1]) is None
    assert member_of(contacts, last, 7, {"product": "p"}, []) is None
    coded = [Contact(one.day, one.customer, {**one.values, "cause": "x"}) for one in contacts]
    assert placed(coded, last, 7, {"cause": "x"}) == {"motive": "m", "touchpoint": "a"}
    alike = [Contact(one.day, one.customer, {"cause": "x", "motive": one.customer[-1]}) for one in contacts]
    assert placed(alike, last, 7, {"cause": "x"}) == {"cause": "x"}
    assert placed(contacts, last, 7, {"motive": "m"}) == {"motive": "m", "touchpoint": "a"}


def test_quiet_slices_of_all_series_together_alarm_no_more_often_than_asked() -> None:
    """G3: contacts with attributes drawn independently: what one contact adds, it adds to thirteen series, pairs among them."""
    rng = np.random.default_rng(8)
    watched, began = watched_of(parse(f"{DEFAULT}, {PAIRS}")), 0
    judges = Judges(0, 8.0, 5)
    keys: dict[tuple[str, str, str], int] = {}
    families: list[int] = []
    wide: list[bool] = []
    days = 210
    counts: list[dict[int, int]] = []
    for day in range(days):
        today: dict[int, int] = {}
        for _ in range(rng.poisson(60 * WEEK[day % 7])):
            motive = int(rng.zipf(1.6)) % 12
            values = {"motive": f"m{motive}", "touchpoint": f"t{rng.integers(3)}", "location": f"l{rng.integers(6)}"}
            values |= {"product": f"p{rng.integers(4)}", "team": f"g{rng.integers(6)}", "procedure": f"r{motive}"}
            values |= {"supplier": "", "cause": "unknown", "component": ""}
            for series in watched:
                row = series.row_of(values)
                if row is not None:
                    place = keys.setdefault(row, len(keys))
                    if place == len(families):
                        families.append(
                            motive if "motive" in series.dims and len(series.dims) > 1 else 100 + watched.index(series)
                        )
                        wide.append(not series.base)
                    today[place] = today.get(place, 0) + 1
        counts.append(today)
    seen = np.zeros((len(keys), days))
    for day, today in enumerate(counts):
        for place, number in today.items():
            seen[place, day] = number
    heard = np.argmax(seen > 0, axis=1)
    before = np.zeros(len(keys), dtype=bool)
    for day in range(days):
        alive = heard <= day
        lane, _ = judges.step(seen[:, day], np.zeros(len(keys)), alive, np.array(families), np.array(wide))
        now = np.zeros(len(keys), dtype=bool)
        now[np.flatnonzero(alive)] = (lane.p <= lane.level) & lane.known
        began += int((now & ~before).sum())
        before = now
    months = (days - 42) / 30.4
    assert len(keys) > 180
    assert began <= 1.5 * 8.0 * months


@pytest.mark.parametrize("share", [0.2, 0.5])
def test_a_holiday_that_all_share_and_the_day_after_it_alarm_nothing(share: float) -> None:
    """G3: a day with a fifth of the usual contacts, and a day after it that brings what did not come; three times a year."""
    rng = np.random.default_rng(3)
    watch = Watch()
    level = np.exp(rng.normal(0.7, 0.8, 40))
    for day in range(300):
        usual = WEEK[day % 7]
        if day in {130, 210, 270}:
            usual *= share
        elif day in {131, 211, 271}:
            usual *= 1.0 + (1.0 - share)
        for row in range(40):
            number = int(rng.poisson(level[row] * usual))
            watch.add(slice_at(f"m{row % 15}", f"t{row}"), ORIGIN + timedelta(days=day), number, number)
            watch.add((("product", f"p{row % 4}"),), ORIGIN + timedelta(days=day), number, number)
    watch.advance(ORIGIN + timedelta(days=299))
    begun = [one.start for key in watch.keys for one in watch.episodes(key) if one.verdict is Verdict.SYSTEMIC]
    assert [day for day in begun if any(0 <= day - holiday < 14 for holiday in (130, 210, 270))] == []
    days = [one.start for key in watch.keys for one in watch.episodes(key) if one.verdict is not Verdict.SYSTEMIC]
    assert len(days) <= 1


async def test_a_series_watched_from_now_on_is_counted_in_pieces_from_the_contacts_there_are_R27(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = failing(4.5, 40, 60)
    clock = SimulatedClock(at(62))
    monkeypatch.setenv("LAZO_CLASSIFICATION_SERIES", "location")
    async with running(classification, clock=clock, data=tmp_path) as run:
        await bring_in(run, clock, facts)
        assert {row[0] for row in await sums(run)} == {"touchpoint"}
    monkeypatch.delenv("LAZO_CLASSIFICATION_SERIES")
    monkeypatch.setattr(recounting, "AT_ONCE", 100)
    monkeypatch.setattr(app, "STRETCH", 1e-6)
    cursors: list[str] = []
    async with running(classification, clock=clock, data=tmp_path) as run:
        # Three pieces of it, and the process is gone; each is committed.
        for _ in range(3):
            async with run.services["classification"].runtime.store.unit() as unit:
                cursors.append((await recounting.recount(unit.connection, USUAL, lambda: True))["*product"])
        assert sorted(set(cursors)) == cursors
        shown = (await run.client.get("/classification/v1/monitors")).json()
        assert shown["items"] == [], "nothing is judged before all is counted"
        assert shown["judged_through"] is None
    again = next(number for number, fact in enumerate(facts) if fact.customer_id < cursors[-1])
    later = next(number for number, fact in enumerate(facts) if fact.customer_id > cursors[-1])
    come = [
        facts[again].model_copy(update={"revision": 2, "product": "p4"}),
        facts[later].model_copy(update={"revision": 2, "product": "p4"}),
        contact(90_001, ORIGIN + timedelta(days=59), customer="a", touchpoint="t0", product="p1"),
        contact(90_002, ORIGIN + timedelta(days=59), customer="z", touchpoint="t0", product="p1"),
    ]
    async with running(classification, clock=clock, data=tmp_path) as run:
        await emit(run, come)
        await run.settle()
        await pass_time(run, clock, timedelta(days=1))
        assert await sums(run) == fold([counted_of(fact, LATER, UTC_ZONE) for fact in (*facts, *come)])
        async with run.services["classification"].runtime.store.unit() as unit:
            assert await recounting.uncounted(unit.connection, USUAL) == []
        assert (await run.client.get("/classification/v1/monitors")).json()["judged_through"] is not None
        await projections_equal_their_folds(run)


async def sums(run: Running) -> dict[tuple[Any, ...], tuple[int, int]]:
    async with run.services["classification"].runtime.store.reading() as connection:
        return {
            (row.series, row.motive, row.place, row.day): (row.fresh, row.contacts)
            for row in await connection.execute(select(tables.days))
            if (row.fresh, row.contacts) != (0, 0)
        }


async def test_the_complaints_of_a_finding_beyond_the_bound_are_listed_and_those_that_come_join_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(bounding.MOST_SLICES, "touchpoint", 12)
    rng = np.random.default_rng(2)
    facts = [
        contact(day * 100 + one, ORIGIN + timedelta(days=day), motive=f"m{one % 4}", touchpoint=f"t{one % 3}")
        for day in range(110)
        for one in range(12)
    ]
    rare = [
        contact(
            50_000 + day * 100 + one, ORIGIN + timedelta(days=day), motive="m1", touchpoint=f"new {rng.integers(10**6)}"
        )
        for day in range(110)
        for one in range(1 if day < 90 else 9)
    ]
    clock = SimulatedClock(at(112))
    async with running(classification, clock=clock) as run:
        for batch in (facts, rare):
            for fact in batch:
                object.__setattr__(fact, "effects", Effects.HISTORY)
            await bring_in(run, clock, batch)
        found = (await run.client.get("/classification/v1/findings")).json()["items"]
        (finding,) = [one for one in found if one["slice"] == {"motive": "m1", "touchpoint": bounding.OTHER}]
        path = f"/classification/v1/findings/{finding['finding_id']}/interactions"
        before = {one["interaction_id"] for one in (await run.client.get(path, params={"limit": 500})).json()["items"]}
        # What comes from the finding's beginning on; a contact at a point of its own is none.
        assert len(before) >= 120
        assert all(int(one[2:]) >= 50_000 for one in before)
        await emit(run, [contact(90_000, clock.now().date(), motive="m1", touchpoint="never heard of")])
        await run.settle()
        after = {one["interaction_id"] for one in (await run.client.get(path, params={"limit": 500})).json()["items"]}
        assert after - before == {"i-90000"}


async def test_a_database_of_the_former_monitor_opens_and_says_nothing_twice_R27(tmp_path: Path) -> None:
    """Verdicts of the window scan, sums of two series, tables of the migration before: counted anew, what was said stays said."""
    facts = failing(0.0, 150, 150) + [
        contact(
            70_000 + day * 20 + one, ORIGIN + timedelta(days=day), motive="m0", touchpoint="t0", effects=Effects.HISTORY
        )
        for day in range(110, 150)
        for one in range(6)
    ]
    clock = SimulatedClock(at(152))
    async with running(classification, clock=clock, data=tmp_path) as run:
        await bring_in(run, clock, facts)
        said = await verdicts(run)
        (first,) = [item for item in said if item["slice"] == {"motive": "m0", "touchpoint": "t0"}]
        async with run.services["classification"].runtime.store.unit() as unit:
            v, d, w = tables.verdicts, tables.days, tables.watermarks
            old = {
                **first,
                "evaluation": {
                    **first["evaluation"],
                    "method": "window-scan-1",
                    "parameters": {"window_days": 7.0, "p": 1e-9},
                },
            }
            await unit.connection.execute(v.delete().where(v.c.series.not_in(["touchpoint", "location", "sweep"])))
            await unit.connection.execute(update(v).where(v.c.verdict_id == first["verdict_id"]).values(data=old))
            await unit.connection.execute(d.delete().where(d.c.series.not_in(["touchpoint", "location"])))
            await unit.connection.execute(w.delete().where(w.c.name == "series"))
    async with running(classification, clock=clock, data=tmp_path) as run:
        await pass_time(run, clock, timedelta(days=1))
        assert await differences(run.environment.engine("classification"), tables.metadata) == []
        again = [item for item in await verdicts(run) if item["slice"] == {"motive": "m0", "touchpoint": "t0"}]
        assert [item["revision"] for item in again] == [first["revision"]]
        assert len((await run.client.get("/classification/v1/findings")).json()["items"]) == 1
        await projections_equal_their_folds(run)


async def test_a_restart_goes_on_from_a_snapshot_and_says_the_same_to_the_byte_R27(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With it, without it, and with one that was tampered with; a count that changes before its day removes it."""
    monkeypatch.setattr(snapshots, "LEAST", 1)
    clock, resumed = SimulatedClock(at(142)), list[bool]()
    resume = snapshots.Snapshots.resume

    async def spied(self: Any, *given: Any) -> bool:
        resumed.append(await resume(self, *given))
        return resumed[-1]

    monkeypatch.setattr(snapshots.Snapshots, "resume", spied)
    table = tables.snapshots
    async with running(classification, clock=clock, data=tmp_path) as run:
        await bring_in(run, clock, failing(8.0, 100, 140))
        async with run.services["classification"].runtime.store.reading() as connection:
            kept = (await connection.execute(select(table))).one()
    shown = []
    for body in (kept.body, None, kept.body[:-30] + b"0" * 30):
        async with running(classification, clock=clock, data=tmp_path) as run:
            store = run.services["classification"].runtime.store
            async with store.unit() as unit:
                await unit.connection.execute(table.delete())
                if body is not None:
                    await unit.connection.execute(insert(table).values(dict(kept._mapping) | {"body": body}))
            resumed.clear()
            shown.append((await run.client.get("/classification/v1/monitors", params={"limit": 500})).content)
            assert resumed == [body == kept.body]
    assert shown[0] == shown[1] == shown[2]
    async with running(classification, clock=clock, data=tmp_path) as run:
        store = run.services["classification"].runtime.store
        for day, there in ((140, True), (100, False)):
            async with store.unit() as unit:
                await unit.connection.execute(table.delete())
                await unit.connection.execute(insert(table).values(dict(kept._mapping)))
            monkeypatch.setattr(snapshots, "LEAST", 10**9)
            await emit(run, [contact(80_000 + day, ORIGIN + timedelta(days=day), touchpoint="t0", motive="m0")])
            await run.settle()
            async with store.reading() as connection:
                assert ((await connection.execute(select(table.c.name))).first() is not None) is there
        await projections_equal_their_folds(run)
