"""A fact goes all the way round: appended, published, consumed, acted upon, and time passes."""

import asyncio
from collections import Counter
from datetime import timedelta

import pytest

from libs.events import faults
from libs.events.catalogue.topics import FEEDBACK, INTERACTIONS
from libs.events.envelope import derived_id
from libs.events.runtime import Runtime
from tests.events.world import Crash, World


async def test_what_is_accepted_is_published_acted_upon_and_counted_once(world: World) -> None:
    """I1, I4, I5, I6."""
    intake, feedback = await world.intake(), await world.feedback()
    drafts = [world.draft(number) for number in range(40)]
    answers = await intake.group_commit.submit(drafts)
    assert {answer.status for answer in answers} == {"accepted"}
    await world.settle()
    await world.check({answer.id: 1 for answer in answers})
    world.clock.advance(timedelta(days=2))
    await world.settle()
    await world.check({answer.id: 1 for answer in answers}, acknowledged=True)
    status = await feedback.status()
    assert (status.behind, status.pending, status.parked, status.idle) == (0, 0, 0, True)
    assert await feedback.healthy() == (True, "")


async def test_ids_of_derived_events_follow_from_cause_handler_and_index(world: World) -> None:
    intake = await world.intake()
    await world.feedback()
    [answer] = await intake.group_commit.submit([world.draft(1)])
    await world.settle()
    [opened] = [event for events in (await world.published(FEEDBACK)).values() for event in events]
    assert opened.id == derived_id(answer.id, "open-case", 0)
    assert opened.causationid == answer.id
    assert opened.correlationid == answer.id


async def test_a_service_that_starts_late_catches_up_from_the_beginning(world: World) -> None:
    intake = await world.intake()
    answers = await intake.group_commit.submit([world.draft(number) for number in range(30)])
    await world.settle()
    await world.feedback()
    await world.settle()
    await world.check({answer.id: 1 for answer in answers})


async def test_stop_publishes_what_is_stored_and_the_next_start_goes_on(world: World) -> None:
    intake = await world.intake()
    first = await intake.group_commit.submit([world.draft(number) for number in range(10)])
    await intake.stop()
    world.alive.remove(intake)
    events = [event for events in (await world.published(INTERACTIONS)).values() for event in events]
    assert Counter(event.id for event in events) == Counter(answer.id for answer in first)
    again = await world.intake()
    await world.feedback()
    second = await again.group_commit.submit([world.draft(number) for number in range(5, 15)])
    assert [answer.status for answer in second] == ["duplicate"] * 5 + ["accepted"] * 5
    await world.settle()
    await world.check({answer.id: 1 for answer in [*first, *second]})


POINTS = [
    "intake.committed",
    "relay.claimed",
    "relay.acked",
    "relay.marked",
    "consumer.polled",
    "consumer.claimed",
    "consumer.inbox",
    "consumer.handled",
    "consumer.committed",
    "consumer.hinted",
    "rebalance.assigned",
    "rebalance.sought",
    "quarantine.attempted",
    "timer.claimed",
    "timer.handled",
    "timer.committed",
]


@pytest.mark.parametrize("point", POINTS)
async def test_a_crash_at_any_point_loses_nothing_and_doubles_nothing(world: World, point: str) -> None:
    """Each service dies there three times and starts again; I1, I4, I5, I6 hold in the end."""
    left = 3
    dead = asyncio.Event()

    def hook(name: str) -> None:
        nonlocal left
        if name == point and left > 0 and not dead.is_set():
            left -= 1
            dead.set()
            raise Crash(name)

    services: dict[str, Runtime] = {}

    async def watch() -> None:
        while True:
            await dead.wait()
            await asyncio.sleep(0.05)  # the dying take a moment to roll back
            for name, build in (("intake", world.intake), ("feedback", world.feedback)):
                runtime = services[name]
                if any(task.done() for task in runtime._tasks.values()) or point == "intake.committed":
                    await world.kill(runtime)
                    services[name] = await build()
            dead.clear()

    services["intake"], services["feedback"] = await world.intake(), await world.feedback()
    watcher = asyncio.create_task(watch())
    faults.hook = hook
    accepted: dict[str, int] = {}
    for round_ in range(8):
        for answer in await _submit_until_answered(services, world, range(round_ * 5, round_ * 5 + 7)):
            accepted[answer] = 1
        await asyncio.sleep(0.02)
        world.clock.advance(timedelta(hours=7))
    await _settled(world, dead, watcher)
    world.clock.advance(timedelta(days=3))  # cases that were opened only now have their day before them
    await _settled(world, dead, watcher)
    for round_ in range(8, 20):  # what is done in larger batches passes a point less often
        if left == 0:
            break
        for answer in await _submit_until_answered(services, world, range(round_ * 5, round_ * 5 + 7)):
            accepted[answer] = 1
        await _settled(world, dead, watcher)
        world.clock.advance(timedelta(days=3))
        await _settled(world, dead, watcher)
    faults.hook = None
    assert not watcher.done(), watcher
    watcher.cancel()
    assert left == 0, f"{point} was passed fewer than three times"
    await world.check(accepted, acknowledged=True)


async def _submit_until_answered(services: dict[str, Runtime], world: World, numbers: range) -> list[str]:
    while True:
        try:
            answers = await services["intake"].group_commit.submit([world.draft(number) for number in numbers])
            return [answer.id for answer in answers]
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError):
                raise
            await asyncio.sleep(0.01)


async def _settled(world: World, dead: asyncio.Event, watcher: asyncio.Task[None]) -> None:
    for _ in range(100):
        if watcher.done():
            watcher.result()  # raises why a service could not start again
        try:
            await world.settle(5)
        except TimeoutError:
            continue
        if not dead.is_set():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("the services never came to rest")
