"""Timers: once, in order, on the clock that was handed in."""

import asyncio
from datetime import timedelta

from libs.events.catalogue.feedback import CaseAcknowledged
from libs.events.catalogue.topics import FEEDBACK
from libs.events.clock import SystemClock
from libs.events.envelope import derived_id, natural_id
from libs.events.timers import timer_id
from tests.events.world import START, World


async def test_a_timer_fires_once_when_its_time_comes_and_not_before(world: World) -> None:
    intake, feedback = await world.intake(), await world.feedback()
    [answer] = await intake.group_commit.submit([world.draft(1)])
    await world.settle()
    world.clock.advance(timedelta(hours=23, minutes=59))
    await world.settle()
    assert CaseAcknowledged.TYPE not in await world.tallied()
    world.clock.advance(timedelta(minutes=1))
    assert not feedback.quiet(), "what is due is not idle, from the very instant on"
    await world.settle()
    events = [event for events in (await world.published(FEEDBACK)).values() for event in events]
    [acknowledged] = [event for event in events if event.type == CaseAcknowledged.TYPE]
    case = natural_id("case", answer.id)
    assert acknowledged.id == derived_id(timer_id("acknowledge", case, START + timedelta(days=1)), "acknowledge", 0)
    assert acknowledged.correlationid == acknowledged.causationid == answer.id
    await world.check({answer.id: 1}, acknowledged=True)


async def test_two_instances_fire_each_timer_once(world: World) -> None:
    intake = await world.intake()
    await world.feedback()
    await world.feedback()
    answers = await intake.group_commit.submit([world.draft(number) for number in range(40)])
    await world.settle()
    world.clock.advance(timedelta(days=2))
    for runtime in world.alive:
        runtime.alarm.wake()
    await world.settle()
    await world.check({answer.id: 1 for answer in answers}, acknowledged=True)


async def test_a_timer_whose_handler_fails_is_parked_and_holds_up_nobody(world: World) -> None:
    intake, feedback = await world.intake(), await world.feedback()
    answers = await intake.group_commit.submit([world.draft(number) for number in range(10)])
    await world.settle()
    bad = natural_id("case", answers[3].id)
    world.behaviour.poison = {bad}
    world.clock.advance(timedelta(days=2))
    await world.settle()
    assert (await world.tallied())[CaseAcknowledged.TYPE] == 9
    status = await feedback.status()
    assert (status.parked, status.idle) == (1, True)
    [parked] = await feedback.quarantine.list()
    assert (parked.group, parked.handler, parked.attempts) == ("timers", "acknowledge", 3)
    world.behaviour.poison = set()
    assert (await feedback.quarantine.replay(parked.id)).state == "replayed"
    await world.settle()
    await world.check({answer.id: 1 for answer in answers}, acknowledged=True)


async def test_what_fell_due_while_nobody_was_there_fires_at_the_next_start(world: World) -> None:
    intake, feedback = await world.intake(), await world.feedback()
    answers = await intake.group_commit.submit([world.draft(number) for number in range(5)])
    await world.settle()
    await world.kill(feedback)
    world.clock.advance(timedelta(days=30))
    await world.feedback()
    await world.settle()
    await world.check({answer.id: 1 for answer in answers}, acknowledged=True)


async def test_on_the_systems_clock_a_timer_fires_within_moments(world: World) -> None:
    system = SystemClock()
    fired = asyncio.Event()
    runtime = await world.other(clock=system, timers={"ring": lambda unit, timers: _ring(fired)})
    async with runtime.store.unit() as unit:
        unit.schedule("ring", "once", system.now() + timedelta(seconds=0.2), {})
    async with asyncio.timeout(10):
        await fired.wait()


async def _ring(fired: asyncio.Event) -> None:
    fired.set()
