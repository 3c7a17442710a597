"""Building the read model again, holding it against the log, and the commands for both."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import delete, text, update
from typer.testing import CliRunner

from libs.events.clock import SimulatedClock
from libs.events.engines import reading, writing
from libs.service.testing import MASTER_KEY, Running, running
from services.indicators.app import build
from services.indicators.projection import digest
from services.indicators.tables import PROJECTION, facts
from services.indicators.verify import verify
from services.indicators.views.scope import live_slot
from tests.indicators.world import START, consumed, make, publish

LATE = START + timedelta(days=60)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(build, clock=SimulatedClock(LATE), data=tmp_path) as one:
        people = await one.environment.vault.resolve([{"email": f"p{number}@example.org"} for number in range(9)])
        world = make(4, contacts=90, keys=await one.environment.vault.keys(people))
        await publish(one.environment.log, world.events)
        await consumed(one.services["indicators"])
        yield one


async def slot_of(site: Running) -> str:
    async with reading(site.environment.engine("indicators")) as connection:
        return await live_slot(connection)


async def test_a_rebuild_gives_the_same_tables_and_the_service_goes_on_from_them(site: Running) -> None:
    engine = site.environment.engine("indicators")
    before = await slot_of(site)
    async with reading(engine) as connection:
        first = await digest(connection, before)
    shown = (await site.client.get("/indicators/v1/indicators/motive_share?from=2026-01-05&granularity=month")).json()
    outcome = await site.services["indicators"].runtime.rebuild(PROJECTION)
    assert outcome.switched
    assert outcome.agrees
    assert await slot_of(site) == outcome.slot != before
    async with reading(engine) as connection:
        assert await digest(connection, outcome.slot) == first
    again = (await site.client.get("/indicators/v1/indicators/motive_share?from=2026-01-05&granularity=month")).json()
    assert again == shown

    # Facts that come after the switch are counted in the new slot.
    more = make(77, contacts=20)
    await publish(
        site.environment.log, [event for event in more.events if event.type.startswith("lazo.interaction.recorded")]
    )
    async with asyncio.timeout(30):
        while True:
            await consumed(site.services["indicators"])
            async with reading(engine) as connection:
                count = await connection.scalar(text(f"SELECT count(*) FROM interactions_{outcome.slot}"))
            if count == 110:
                break
            await asyncio.sleep(0.05)
    assert await verify(site.environment) == []


async def test_the_read_model_of_an_untouched_service_agrees_with_an_independent_fold_G8(site: Running) -> None:
    assert await verify(site.environment) == []


async def test_a_deleted_and_an_altered_row_are_each_named(site: Running) -> None:
    engine, t = site.environment.engine("indicators"), facts(await slot_of(site))
    async with reading(engine) as connection:
        gone = (await connection.execute(t.cases.select().limit(1))).mappings().one()
        other = (await connection.execute(t.codings.select().limit(1))).mappings().one()
    async with writing(engine) as connection:
        await connection.execute(delete(t.cases).where(t.cases.c.case_id == gone["case_id"]))
        await connection.execute(
            update(t.codings).where(t.codings.c.event_id == other["event_id"]).values(motive="other")
        )
    found = await verify(site.environment)
    named = {(one.where, one.detail.get("row")) for one in found}
    assert (f"indicators/{t.cases.name}", gone["event_id"]) in named, found
    assert (f"indicators/{t.codings.name}", other["event_id"]) in named, found

    # Building again repairs it, and says that there was a difference.
    runtime = site.services["indicators"].runtime
    outcome = await runtime.rebuild(PROJECTION, accept_difference=True)
    assert outcome.agrees is False
    assert await verify(site.environment) == []


async def test_what_was_known_on_a_day_has_the_same_digest_in_both_slots_G2(site: Running) -> None:
    from services.indicators.domain.periods import micros

    engine, before = site.environment.engine("indicators"), await slot_of(site)
    known = micros(START + timedelta(days=20))
    async with reading(engine) as connection:
        first, whole = await digest(connection, before, known=known), await digest(connection, before)
    outcome = await site.services["indicators"].runtime.rebuild(PROJECTION)
    async with reading(engine) as connection:
        assert await digest(connection, outcome.slot, known=known) == first != whole


def test_the_command_rebuilds_what_rests_and_refuses_what_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from services.__main__ import _plug_in, app

    _plug_in()
    monkeypatch.setenv("LAZO_MASTER_KEY", MASTER_KEY)
    monkeypatch.setenv("LAZO_LANGUAGE", "en")

    async def fill() -> None:
        async with running(build, clock=SimulatedClock(LATE), data=tmp_path / "data") as one:
            await publish(one.environment.log, make(3, contacts=30).events)
            await consumed(one.services["indicators"])
            refused = await asyncio.to_thread(
                CliRunner().invoke, app, ["rebuild", "indicators", "--data", str(tmp_path / "data")]
            )
            assert refused.exit_code == 1, refused.output
            assert "Stop `lazo up`" in refused.stderr

    asyncio.run(fill())
    arguments = ["rebuild", "indicators", "--data", str(tmp_path / "data"), "--json"]
    first = CliRunner().invoke(app, arguments)
    assert first.exit_code == 0, first.output
    answer = json.loads(first.stdout)
    assert answer["agrees"] is True
    assert answer["slot"] == "b"
    second = json.loads(CliRunner().invoke(app, [*arguments, "--as-of", "2026-01-20"]).stdout)
    assert second["slot"] == "a"
    assert second["digest"] != answer["digest"]
    assert CliRunner().invoke(app, ["rebuild", "everything"]).exit_code == 2
    assert CliRunner().invoke(app, [*arguments, "--as-of", "tomorrow"]).exit_code == 2
    shutil.rmtree(tmp_path / "data")
