"""The store: units of work, expected versions, group commit."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.events.catalogue.feedback import CaseAcknowledged
from libs.events.catalogue.interactions import CaseStatus, CaseUpdateRecorded, InteractionRecorded
from libs.events.errors import ConcurrencyConflict, StoreBusy, StoreUnavailable, Unsealable
from libs.events.store import Appended, Draft, GroupCommit, Unit
from libs.events.timers import timer_id
from tests.events.world import START, World, tally


def acknowledged(world: World, case: str = "c1", **options: Any) -> Draft:
    data = CaseAcknowledged(case_id=case, customer_id=world.people[0], at=START, by="agent")
    return Draft(f"case/{case}", data, world.people[0], START, **options)


async def test_expected_versions_are_kept_and_streams_are_read_with_what_the_unit_emitted(world: World) -> None:
    runtime = await world.feedback()
    async with runtime.store.unit() as unit:
        unit.emit(acknowledged(world), expected=0)
        assert [event.streamversion for event in await unit.stream("case/c1")] == [1]
        unit.emit(acknowledged(world), expected=1)
        unit.emit(acknowledged(world))
    async with runtime.store.unit() as unit:
        found = await unit.streams(["case/c1", "case/none"])
        assert [event.streamversion for event in found["case/c1"]] == [1, 2, 3]
        assert found["case/none"] == []
    with pytest.raises(ConcurrencyConflict):
        async with runtime.store.unit() as unit:
            unit.emit(acknowledged(world), expected=2)
    assert len(await _stream(runtime.store, "case/c1")) == 3


async def _stream(store: Any, stream: str) -> list[Any]:
    async with store.unit() as unit:
        assert isinstance(unit, Unit)
        return list(await unit.stream(stream))


async def test_an_exception_leaves_nothing(world: World) -> None:
    runtime = await world.feedback()

    async def fail() -> None:
        async with runtime.store.unit() as unit:
            unit.emit(acknowledged(world))
            unit.schedule("acknowledge", "c1", START, {})
            await unit.flush()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail()
    assert await _stream(runtime.store, "case/c1") == []
    async with runtime.store.reading() as connection:
        assert (await connection.execute(select(runtime.store.tables.timers))).all() == []
        assert (await connection.execute(select(runtime.store.tables.outbox))).all() == []


async def test_writers_that_meet_on_one_stream_all_get_in_without_an_expected_version(world: World) -> None:
    """A unique violation never poisons the transaction; versions have no gap and no repeat (I5)."""
    runtime = await world.feedback()

    async def write() -> None:
        async with runtime.store.unit() as unit:
            unit.emit(acknowledged(world))
            await asyncio.sleep(0.001)

    await asyncio.gather(*[write() for _ in range(12)])
    assert [event.streamversion for event in await _stream(runtime.store, "case/c1")] == list(range(1, 13))


async def test_of_writers_that_expect_the_same_version_one_wins(world: World) -> None:
    runtime = await world.feedback()

    async def write() -> bool:
        try:
            async with runtime.store.unit() as unit:
                assert await unit.stream("case/c1") is not None
                unit.emit(acknowledged(world), expected=0)
        except ConcurrencyConflict:
            return False
        return True

    assert sum(await asyncio.gather(*[write() for _ in range(8)])) == 1
    assert len(await _stream(runtime.store, "case/c1")) == 1


async def test_a_derived_id_that_is_there_is_not_appended_again(world: World) -> None:
    """I4: what a handler derives from one cause happens once, however often it is done."""
    runtime = await world.feedback()
    intake = await world.intake()
    await intake.group_commit.submit([world.draft(1)])
    [cause] = await _stream(intake.store, world.draft(1).stream)
    for _ in range(3):
        async with runtime.store.unit(handler="h") as unit:
            unit.emit(acknowledged(world, cause=cause))
            unit.emit(acknowledged(world, cause=cause))
    assert len(await _stream(runtime.store, "case/c1")) == 2


async def test_a_handler_must_say_what_led_to_an_event(world: World) -> None:
    runtime = await world.feedback()
    with pytest.raises(ValueError, match="cause=event"):
        async with runtime.store.unit(handler="h") as unit:
            unit.emit(acknowledged(world))


async def test_personal_fields_are_sealed_and_null_after_erasure(world: World) -> None:
    intake = await world.intake()
    secret = "mi factura 4711 llegó mal"
    await intake.group_commit.submit([world.draft(1, text=secret)])
    [event] = await _stream(intake.store, world.draft(1).stream)
    assert secret.encode() not in event.data
    async with intake.store.unit() as unit:
        [data] = await unit.open([event])
        assert isinstance(data, InteractionRecorded)
        assert data.text == secret
    await world.vault.erase(world.draft(1).key)
    async with intake.store.unit() as unit:
        [data] = await unit.open([event])
        assert isinstance(data, InteractionRecorded)
        assert data.text is None
    later = world.draft(16, text=secret)  # the same person
    assert later.key == world.draft(1).key
    await intake.group_commit.submit([later])
    [event] = await _stream(intake.store, later.stream)
    assert "text" in event.json()
    assert event.json()["text"] is None


async def test_a_personal_field_without_a_person_is_refused(world: World) -> None:
    intake = await world.intake()
    update = CaseUpdateRecorded(
        update_id="u",
        external_id="u",
        origin="desk",
        case_ref="r",
        status=CaseStatus.CLOSED,
        occurred_at=START,
        note="Ana",
    )
    with pytest.raises(Unsealable, match="note without customer_id"):
        await intake.group_commit.submit([Draft("case-update/u", update, "r", START)])


async def test_group_commit_answers_duplicates_with_the_first_fact(world: World) -> None:
    """In one call, against the store, and across concurrent calls; other content is told."""
    intake = await world.intake()
    repeated = [world.draft(1), world.draft(2), world.draft(1), world.draft(1, text="yet other words")]
    first = await intake.group_commit.submit(repeated)
    assert [(answer.status, answer.same_content) for answer in first] == [
        ("accepted", True),
        ("accepted", True),
        ("duplicate", True),
        ("duplicate", False),
    ]
    assert first[0].id == first[2].id
    world.clock.advance(timedelta(hours=1))
    [again] = await intake.group_commit.submit([world.draft(1, text="other words")])
    assert (again.status, again.same_content, again.recordedtime) == ("duplicate", False, START)
    answers = await asyncio.gather(*[intake.group_commit.submit([world.draft(7)]) for _ in range(20)])
    statuses = sorted(answer.status for [answer] in answers)
    assert statuses == ["accepted"] + ["duplicate"] * 19
    [event] = await _stream(intake.store, world.draft(1).stream)
    async with intake.store.unit() as unit:
        [data] = await unit.open([event])
    assert isinstance(data, InteractionRecorded)
    assert data.text == "No me llega la factura"


async def test_two_instances_that_accept_the_same_facts_at_once_accept_each_once(postgres_world: World) -> None:
    world = postgres_world
    one, two = await world.intake(), await world.intake()
    calls = []
    for round_ in range(10):
        numbers = list(range(round_ * 20, round_ * 20 + 20))
        calls.append(one.group_commit.submit([world.draft(number) for number in numbers]))
        calls.append(two.group_commit.submit([world.draft(number) for number in reversed(numbers)]))
    answers = [answer for found in await asyncio.gather(*calls) for answer in found]
    accepted = [answer.id for answer in answers if answer.status == "accepted"]
    assert len(accepted) == len(set(accepted)) == 200
    await world.settle()
    await world.check_order([*(await world.published("lazo.interactions")).values()])


async def test_what_a_request_adds_is_committed_with_it_or_refuses_it_alone(world: World) -> None:
    intake = await world.intake()

    async def remember(connection: AsyncConnection, answers: list[Appended]) -> None:
        await connection.execute(insert(tally).values(type=answers[0].id, count=1))

    async def refuse(connection: AsyncConnection, answers: list[Appended]) -> None:
        await connection.execute(insert(tally).values(type="refused", count=1))
        await connection.execute(insert(tally).values(type="refused", count=1))  # a violation of the key

    good, bad, other = await asyncio.gather(
        intake.group_commit.submit([world.draft(1)], remember),
        intake.group_commit.submit([world.draft(2)], refuse),
        intake.group_commit.submit([world.draft(3)]),
        return_exceptions=True,
    )
    assert isinstance(good, Sequence)
    assert isinstance(bad, Exception)
    assert isinstance(other, Sequence)
    async with intake.store.reading() as connection:
        assert [row.type for row in await connection.execute(select(tally))] == [world.draft(1).id]
    assert await _stream(intake.store, world.draft(2).stream) == []
    [answer] = await intake.group_commit.submit([world.draft(2)])
    assert answer.status == "accepted"


async def test_a_full_queue_says_busy_and_a_closed_database_says_unavailable(world: World) -> None:
    intake = await world.intake()
    small = GroupCommit(intake.store, most=5, bound=10)
    waiting = [
        asyncio.create_task(small.submit([world.draft(number) for number in range(start, start + 5)]))
        for start in (0, 5)
    ]
    for _ in range(1_000):
        if small._queued == 5:  # the first five are under way, the others wait
            break
        await asyncio.sleep(0)
    with pytest.raises(StoreBusy):
        await small.submit([world.draft(number) for number in range(20, 26)])
    assert sum(len(found) for found in await asyncio.gather(*waiting)) == 10
    async with intake.store.writing() as connection:
        await connection.execute(text("ALTER TABLE events RENAME TO hidden"))
    with pytest.raises(Exception, match="events"):
        await small.submit([world.draft(30)])
    async with intake.store.writing() as connection:
        await connection.execute(text("ALTER TABLE hidden RENAME TO events"))
    await small.close()
    with pytest.raises(StoreUnavailable):
        await small.submit([world.draft(31)])


async def test_a_full_disk_refuses_and_leaves_nothing_half_written(sqlite_world: World) -> None:
    """I14: on SQLite `max_page_count` stands in for the end of the disk."""
    world = sqlite_world
    intake = await world.intake()
    [first] = await intake.group_commit.submit([world.draft(0)])
    await world.settle()
    await _limit_pages(intake.engine, 5)
    refused = 0
    for start in range(1, 400, 20):
        try:
            await intake.group_commit.submit([world.draft(number) for number in range(start, start + 20)])
        except StoreUnavailable:
            refused += 1
    assert refused > 0
    await intake.engine.dispose()  # connections opened from now on know no limit, whoever held one meanwhile
    async with intake.store.reading() as connection:
        events = (await connection.execute(text("SELECT count(*) FROM events"))).scalar_one()
    assert events % 20 == 1, "a part of a group was written"
    answers = [
        answer
        for start in range(1, 400, 20)
        for answer in await intake.group_commit.submit([world.draft(number) for number in range(start, start + 20)])
    ]
    await world.feedback()
    await world.settle()
    await world.check({answer.id: 1 for answer in [first, *answers]})


async def _limit_pages(engine: Any, more: int) -> None:
    """Every pooled connection may grow the file by `more` pages."""
    connections = [await engine.connect() for _ in range(8)]
    for connection in connections:
        raw = (await connection.get_raw_connection()).driver_connection
        [[pages]] = await (await raw.execute("PRAGMA page_count")).fetchall()
        cursor = await raw.execute(f"PRAGMA max_page_count={pages + more}")
        await cursor.close()
    for connection in connections:
        await connection.close()


async def test_a_timer_scheduled_again_is_replaced_and_a_cancelled_one_is_gone(world: World) -> None:
    runtime = await world.feedback(start=False)
    runtime._partitions.update({"lazo.feedback": 2})
    async with runtime.store.unit() as unit:
        unit.schedule("k", "a", START + timedelta(days=1), {"n": 1})
        unit.schedule("k", "b", START + timedelta(days=1), {})
    async with runtime.store.unit() as unit:
        unit.schedule("k", "a", START + timedelta(days=2), {"n": 2})
        unit.cancel("k", "b")
        unit.cancel("k", "never")
    async with runtime.store.reading() as connection:
        rows = (await connection.execute(select(runtime.store.tables.timers))).all()
    assert [(row.kind, row.key, row.due, row.id) for row in rows] == [
        ("k", "a", START + timedelta(days=2), timer_id("k", "a", START + timedelta(days=2)))
    ]
