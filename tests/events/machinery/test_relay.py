"""The relay: exactly once towards the log, in order, whatever fails on the way."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import delete, insert, select, text, update

from libs.events.catalogue.topics import INTERACTIONS
from libs.events.log import FencedError, Log, LogUnavailable, Outgoing, Publisher, UnknownOutcome
from libs.events.runtime import Runtime
from libs.events.store import Unit
from tests.events.world import World, patient


class Moody:
    """The real log behind a publisher that fails as told, before or after the real one did its work."""

    def __init__(self, log: Log, moods: list[str]) -> None:
        self._log, self.moods = log, moods

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    def publisher(self, name: str) -> Publisher:
        return MoodyPublisher(self._log.publisher(name), self.moods)


class MoodyPublisher:
    def __init__(self, publisher: Publisher, moods: list[str]) -> None:
        self._publisher, self._moods = publisher, moods

    async def start(self) -> None:
        await self._publisher.start()

    async def close(self) -> None:
        await self._publisher.close()

    async def publish(self, records: Sequence[Outgoing]) -> list[int]:
        mood = self._moods.pop(0) if self._moods else "well"
        match mood:
            case "away":
                raise LogUnavailable("the broker is away")
            case "unknown, done":
                await self._publisher.publish(records)
                raise UnknownOutcome("no answer")
            case "unknown, not done":
                raise UnknownOutcome("no answer")
            case "hangs":
                await asyncio.sleep(3600)
            case "hangs, done":
                await self._publisher.publish(records)
                await asyncio.sleep(3600)
            case "bug":
                raise RuntimeError("never seen before")
        return await self._publisher.publish(records)


@pytest.mark.parametrize(
    "moods",
    [
        ["away"] * 4,
        ["unknown, done"] * 4,
        ["unknown, not done"] * 4,
        ["hangs", "hangs, done"],
        ["bug", "well", "bug"],
        ["unknown, done", "away", "unknown, not done", "unknown, done", "well", "unknown, done"],
    ],
    ids=lambda moods: "-".join(moods).replace(" ", ""),
)
async def test_whatever_becomes_of_a_publish_each_event_is_in_the_log_once(world: World, moods: list[str]) -> None:
    """I1, I5: after an unknown outcome the recovery scan reads what happened."""
    log: Any = Moody(world.log, list(moods))
    intake = await world.intake(log=log, settings=patient(publish_deadline=0.3))
    await world.feedback()
    accepted: dict[str, int] = {}
    for start in range(0, 80, 10):
        answers = await intake.group_commit.submit([world.draft(number) for number in range(start, start + 10)])
        accepted |= {answer.id: 1 for answer in answers}
        await asyncio.sleep(0.02)
    for number in range(80, 400):
        if not log.moods:
            break
        accepted |= {answer.id: 1 for answer in await intake.group_commit.submit([world.draft(number)])}
        await asyncio.sleep(0.05)
    assert not log.moods
    await world.settle()
    await world.check(accepted)


async def test_of_two_relays_one_publishes_and_the_other_takes_over_when_it_dies(world: World) -> None:
    one, two = await world.intake(), await world.intake()
    await world.feedback()
    accepted: dict[str, int] = {}
    for start in range(0, 40, 10):
        for instance in (one, two):
            if instance in world.alive:
                drafts = [world.draft(number + 1000 * (instance is two)) for number in range(start, start + 10)]
                accepted |= {answer.id: 1 for answer in await instance.group_commit.submit(drafts)}
        if start == 20:
            live = [instance for instance in (one, two) if instance.relay is not None and instance.relay.live]
            assert len(live) == 1
            await world.kill(live[0])
    await world.settle()
    await world.check(accepted)


async def test_a_fenced_relay_publishes_nothing_and_marks_nothing(world: World) -> None:
    """A zombie relay that was paused beyond its lock: the fence stops its publish, the compare-and-set its marks."""
    intake = await world.intake(start=False)
    relay = intake.relay
    assert relay is not None
    intake._partitions.update({INTERACTIONS: 2})
    zombie = world.log.publisher(relay.name)
    await zombie.start()
    await relay.recover()
    await intake.group_commit.submit([world.draft(number) for number in range(5)])
    rows = await relay.claim()
    records = await relay._chain(rows)
    other = await world.intake()  # the lock is free: it goes live and fences the zombie
    await world.settle_only(other)
    with pytest.raises(FencedError):
        await relay.send(zombie, rows, records)
    events = [event for events in (await world.published(INTERACTIONS)).values() for event in events]
    assert max(Counter(event.id for event in events).values()) == 1
    with pytest.raises(Exception, match="another relay"):
        await relay.mark(rows, records, list(range(len(records))))


async def test_rows_that_become_visible_late_with_a_smaller_position_are_published(postgres_world: World) -> None:
    """Never "position greater than the last one": a transaction that began earlier may commit later."""
    world = postgres_world
    intake = await world.intake()
    await world.feedback()
    slow = await intake.engine.connect()
    begun = await slow.begin()
    positions = await _insert(intake, slow, world, range(100, 105))
    answers = await intake.group_commit.submit([world.draft(number) for number in range(10)])
    await _published(world, 10)
    events = [event for events in (await world.published(INTERACTIONS)).values() for event in events]
    assert max(positions) < min(event.sequence for event in events)
    await begun.commit()
    await slow.close()
    assert intake.relay is not None
    intake.relay.wake()
    await _published(world, 15)
    await world.settle()
    await world.check(
        {**{answer.id: 1 for answer in answers}, **{world.draft(number).id or "": 1 for number in range(100, 105)}}
    )


async def _published(world: World, count: int) -> None:
    for _ in range(500):
        if sum(len(events) for events in (await world.published(INTERACTIONS)).values()) == count:
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"{count} events were never published")


async def _insert(intake: Runtime, connection: Any, world: World, numbers: range) -> list[int]:
    """Append within an open transaction, as an instance would whose commit takes long."""
    unit = Unit(intake.store, connection, world.clock.now(), None, None)
    for number in numbers:
        unit.emit(world.draft(number), expected=0)
    await unit.flush()
    tables = intake.store.tables
    rows = await connection.execute(
        select(tables.events.c.position).where(tables.events.c.id.in_([world.draft(n).id for n in numbers]))
    )
    return [row.position for row in rows]


async def test_marks_that_were_lost_are_found_again_in_the_log(world: World) -> None:
    """The store forgets its marks and the noted offsets (a restore to a moment before): the scan repairs both."""
    intake = await world.intake()
    answers = await intake.group_commit.submit([world.draft(number) for number in range(20)])
    await world.settle()
    await world.kill(intake)
    tables = intake.store.tables
    async with intake.store.writing() as connection:
        await connection.execute(delete(tables.outbox))
        await connection.execute(insert(tables.outbox).from_select(["position"], select(tables.events.c.position)))
        await connection.execute(update(tables.relay_positions).values(next_offset=0, chain="0." + "0" * 64))
    again = await world.intake()
    await again.group_commit.submit([world.draft(20)])
    await world.feedback()
    await world.settle()
    await world.check({**{answer.id: 1 for answer in answers}, world.draft(20).id or "": 1})


async def test_pending_and_its_age_are_told_while_the_log_is_away_and_intake_goes_on(world: World) -> None:
    log: Any = Moody(world.log, ["away"] * 10_000)
    intake = await world.intake(log=log)
    await intake.group_commit.submit([world.draft(number) for number in range(3)])
    world.clock.advance(timedelta(minutes=5))
    [answer] = await intake.group_commit.submit([world.draft(4)])
    assert answer.status == "accepted"
    status = await intake.status()
    assert (status.pending, status.idle) == (4, False)
    assert status.oldest_seconds == 300
    await asyncio.sleep(0.1)
    healthy, reason = await intake.healthy()
    assert "the broker is away" in reason
    assert healthy, "not yet stuck for long"
    log.moods.clear()
    await world.settle()
    assert (await intake.status()).pending == 0


async def test_a_service_that_met_the_log_before_starts_while_it_is_away(world: World) -> None:
    intake = await world.intake()
    await intake.group_commit.submit([world.draft(1)])
    await world.settle()
    await intake.stop()
    world.alive.remove(intake)

    class Away:
        def __getattr__(self, name: str) -> Any:
            async def fail(*args: Any) -> Any:
                raise LogUnavailable("the broker is away")

            return fail

        def publisher(self, name: str) -> Publisher:
            return world.log.publisher(name)

    away: Any = Away()
    again = await world.intake(log=away)
    [answer] = await again.group_commit.submit([world.draft(2)])
    assert answer.status == "accepted"
    await world.kill(again)
    third = await world.intake()
    await world.settle_only(third)
    await world.feedback()
    await world.settle()
    await world.check({world.draft(1).id or "": 1, world.draft(2).id or "": 1})


async def test_the_lock_of_a_dead_connection_does_not_stay_in_the_pool(postgres_world: World) -> None:
    intake = await postgres_world.intake()
    await postgres_world.settle()
    await intake.stop()
    postgres_world.alive.remove(intake)
    async with intake.engine.connect() as connection:
        held = (
            await connection.execute(text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"))
        ).scalar_one()
    assert held == 0
