"""Rebuilding a projection beside the live one."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.events import faults
from libs.events.catalogue.feedback import CaseOpened
from libs.events.catalogue.interactions import InteractionRecorded
from libs.events.catalogue.topics import FEEDBACK, INTERACTIONS
from libs.events.errors import StoreUnavailable, Transient
from libs.events.rebuild import Differs, Projection, Rebuild, digest_of
from libs.events.runtime import Runtime
from libs.events.subscriptions import Subscription
from tests.events.world import Crash, World, slotted, sums


def projection(version: int = 1, subscriptions: Any = slotted) -> Projection:
    async def clear(connection: AsyncConnection, slot: str) -> None:
        await connection.execute(delete(sums[slot]))

    async def digest(connection: AsyncConnection, slot: str) -> str:
        return await digest_of(connection, [sums[slot]])

    return Projection(
        "sums",
        version,
        (INTERACTIONS, FEEDBACK),
        lambda slot: f"sums.{slot}",
        subscriptions,
        clear,
        digest,
        max_records=7,
    )


async def watching(world: World, **options: Any) -> Runtime:
    return await world.other(projections=[projection(**options)])


async def stored(world: World, runtime: Runtime, slot: str) -> dict[str, int]:
    async with runtime.store.reading() as connection:
        return {row[0]: row[1] for row in (await connection.execute(select(sums[slot]))).all()}


async def test_a_rebuild_agrees_with_the_live_slot_and_takes_over_while_events_come_in(world: World) -> None:
    """I8: equal digests at equal positions; the old slot answers meanwhile; the new one goes on from where it was built."""
    intake = await world.intake()
    await world.feedback()
    reading = await watching(world)
    await intake.group_commit.submit([world.draft(number) for number in range(50)])
    await world.settle()
    live = await stored(world, reading, "a")
    assert live == {InteractionRecorded.TYPE: 50, CaseOpened.TYPE: 50}

    async def traffic() -> None:
        for number in range(50, 80):
            await intake.group_commit.submit([world.draft(number)])
            await asyncio.sleep(0.01)

    seen: list[tuple[int, int]] = []
    busy = asyncio.create_task(traffic())
    outcome = await reading.rebuild("sums", progress=lambda done, total: seen.append((done, total)))
    await busy
    assert (outcome.slot, outcome.switched, outcome.agrees) == ("b", True, True)
    assert seen
    await world.settle()
    await intake.group_commit.submit([world.draft(number) for number in range(80, 90)])
    for _ in range(300):  # it takes a look to notice that the other slot is live
        await world.settle()
        if (await stored(world, reading, "b")).get(CaseOpened.TYPE) == 90:
            break
        await asyncio.sleep(0.02)
    assert await stored(world, reading, "b") == {InteractionRecorded.TYPE: 90, CaseOpened.TYPE: 90}
    again = await reading.rebuild("sums")
    assert (again.slot, again.agrees) == ("a", True)
    assert await stored(world, reading, "a") == {InteractionRecorded.TYPE: 90, CaseOpened.TYPE: 90}


async def test_a_live_slot_that_is_wrong_is_found_out_and_not_replaced_unasked(world: World) -> None:
    intake = await world.intake()
    reading = await watching(world)
    await intake.group_commit.submit([world.draft(number) for number in range(10)])
    await world.settle()
    async with reading.store.writing() as connection:
        await connection.execute(sums["a"].update().values(count=11))
    with pytest.raises(Differs):
        await reading.rebuild("sums")
    assert await reading._following["sums"].rebuild_.live() == "a"
    outcome = await reading.rebuild("sums", accept_difference=True)
    assert (outcome.slot, outcome.agrees) == ("b", False)
    assert await stored(world, reading, "b") == {InteractionRecorded.TYPE: 10}


async def test_an_interrupted_build_goes_on_where_it_was_and_a_cancelled_one_can_be_dropped(world: World) -> None:
    intake = await world.intake()
    reading = await watching(world)
    await intake.group_commit.submit([world.draft(number) for number in range(40)])
    await world.settle()
    passed = 0

    def hook(name: str) -> None:
        nonlocal passed
        if name == "consumer.committed":
            passed += 1
            if passed == 3:
                raise Crash(name)

    faults.hook = hook
    with pytest.raises(Crash):
        await reading.rebuild("sums")
    faults.hook = None
    half = sum((await stored(world, reading, "b")).values())
    assert 0 < half < 40
    outcome = await reading.rebuild("sums")
    assert outcome.events == 40 - half
    assert outcome.agrees
    await world.settle()
    faults.hook = hook
    passed = 0
    with pytest.raises(Crash):
        await reading.rebuild("sums")
    faults.hook = None
    rebuild: Rebuild = reading._following["sums"].rebuild_
    assert await rebuild.drop()
    assert not await rebuild.drop()
    assert await rebuild.live() == "b"
    assert await stored(world, reading, "a") == {}
    assert sum((await stored(world, reading, "b")).values()) == 40


async def test_a_crash_between_building_and_switching_leaves_the_old_one_live(world: World) -> None:
    intake = await world.intake()
    reading = await watching(world)
    await intake.group_commit.submit([world.draft(number) for number in range(20)])
    await world.settle()

    def hook(name: str) -> None:
        if name == "projection.built":
            raise Crash(name)

    faults.hook = hook
    with pytest.raises(Crash):
        await reading.rebuild("sums")
    faults.hook = None
    assert await reading._following["sums"].rebuild_.live() == "a"
    outcome = await reading.rebuild("sums")
    assert (outcome.events, outcome.agrees) == (0, True)


class _Late(Rebuild):
    """Looks which slot is live, and before it does anything about it another process builds the other one and switches."""

    other_process: Rebuild

    async def live(self) -> str:
        found = await super().live()
        await self.other_process.run()
        return found


def late(world: World, reading: Runtime) -> _Late:
    parts = (projection(), reading.store, world.log, reading.quarantine, reading.settings)
    made = _Late(*parts)
    made.other_process = Rebuild(*parts)
    return made


async def test_a_rebuild_never_empties_the_slot_that_another_process_has_just_made_live(world: World) -> None:
    """I8: found by the simulation. The slot was cleared as one to be built, and then none was live."""
    intake = await world.intake()
    reading = await watching(world)
    await intake.group_commit.submit([world.draft(number) for number in range(20)])
    await world.settle()
    outcome = await late(world, reading).run()
    assert (outcome.slot, outcome.agrees) == ("a", True)  # since b is live by now
    following = reading._following["sums"].rebuild_
    assert await following.live() == "a"
    for slot in "ab":
        assert await stored(world, reading, slot) == {InteractionRecorded.TYPE: 20}


async def test_giving_a_build_up_never_empties_the_slot_that_another_process_has_just_made_live(world: World) -> None:
    intake = await world.intake()
    reading = await watching(world)
    await intake.group_commit.submit([world.draft(number) for number in range(20)])
    await world.settle()
    await late(world, reading).drop()
    following = reading._following["sums"].rebuild_
    assert await following.live() == "b"
    assert await stored(world, reading, "b") == {InteractionRecorded.TYPE: 20}


async def test_of_two_rebuilds_at_once_the_slower_one_comes_again(world: World) -> None:
    intake = await world.intake()
    reading = await watching(world)
    await intake.group_commit.submit([world.draft(number) for number in range(20)])
    await world.settle()
    parts = (projection(), reading.store, world.log, reading.quarantine, reading.settings)
    slower, quicker = Rebuild(*parts), Rebuild(*parts)
    switch = slower._switch

    async def overtaken(*arguments: Any, **options: Any) -> Any:
        assert (await quicker.run()).slot == "b"
        return await switch(*arguments, **options)

    slower._switch = overtaken  # type: ignore[method-assign] # the other process comes just before
    with pytest.raises(Transient, match="slot b is live"):
        await slower.run()
    assert (await quicker.run()).slot == "a"
    assert await stored(world, reading, "a") == {InteractionRecorded.TYPE: 20}


async def test_the_consumer_goes_over_to_the_new_slot_though_the_store_is_away_just_then(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I13: its task ended, and the projection stood still until the next start."""
    intake = await world.intake()
    reading = await watching(world)
    await intake.group_commit.submit([world.draft(number) for number in range(5)])
    await world.settle()
    following = reading._following["sums"]
    begin, failures = following.begin, [StoreUnavailable("away"), StoreUnavailable("still away")]

    async def failing() -> None:
        if failures:
            raise failures.pop()
        await begin()

    monkeypatch.setattr(following, "begin", failing)
    await reading.rebuild("sums")
    await intake.group_commit.submit([world.draft(5)])
    for _ in range(300):
        if (await stored(world, reading, "b")).get(InteractionRecorded.TYPE) == 6:
            break
        await asyncio.sleep(0.02)
    assert not failures
    assert await stored(world, reading, "b") == {InteractionRecorded.TYPE: 6}
    assert (await reading.healthy())[0]


async def test_another_version_of_a_projection_begins_anew_and_may_differ(world: World) -> None:
    intake = await world.intake()
    reading = await watching(world)
    await intake.group_commit.submit([world.draft(number) for number in range(20)])
    await world.settle()
    newer = Rebuild(
        projection(2, lambda slot: slotted(slot, only=(CaseOpened,))),
        reading.store,
        world.log,
        reading.quarantine,
        reading.settings,
    )
    outcome = await newer.run()
    assert (outcome.agrees, outcome.switched) == (False, True)


async def test_a_service_started_with_newer_projectors_builds_again_by_itself_and_goes_over(world: World) -> None:
    """Nobody has to think of `lazo rebuild` after an upgrade."""
    intake = await world.intake()
    await world.feedback()
    older = await watching(world)
    await intake.group_commit.submit([world.draft(number) for number in range(20)])
    await world.settle()
    await older.stop()
    world.alive.remove(older)
    newer = await watching(world, version=2, subscriptions=lambda slot: slotted(slot, only=(CaseOpened,)))
    async with asyncio.timeout(20):
        while await newer._following["sums"].rebuild_.live() == "a":  # noqa: ASYNC110 - nobody is told of it
            await asyncio.sleep(0.01)
    await intake.group_commit.submit([world.draft(20)])
    await world.settle()
    assert await newer._following["sums"].rebuild_.outdated() is None
    assert await stored(world, newer, "b") == {CaseOpened.TYPE: 21}


async def test_reactors_are_never_part_of_a_rebuild(world: World) -> None:
    async def react(unit: Any, events: Any) -> None:
        raise AssertionError

    def mixed(slot: str) -> list[Subscription]:
        return [*slotted(slot), Subscription("r", "reactor", (CaseOpened,), react)]

    with pytest.raises(ValueError, match="must not be replayed: r"):
        await watching(world, subscriptions=mixed)
