"""Quarantine: what fails for good is parked whole, what follows it waits, the breaker stops what is broken (I9)."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from libs.events.catalogue.feedback import CaseOpened
from libs.events.catalogue.topics import FEEDBACK, INTERACTIONS
from libs.events.envelope import Event
from libs.events.errors import Transient
from libs.events.log import Outgoing
from libs.events.quarantine import NotParked
from libs.events.runtime import Runtime
from tests.events.machinery.helpers import consumed, records, submit
from tests.events.world import World


async def test_one_poison_event_is_parked_whole_and_everything_else_takes_effect(world: World) -> None:
    """I9: its attempts are counted before they are made; the batch around it is handled."""
    intake = await world.intake()
    world.behaviour.poison = {"x13"}
    accepted = await submit(intake, world, range(30))
    feedback = await world.feedback()
    await world.settle()
    await world.check(accepted, cases=30 - len(_behind(world, 13, range(30))))
    status = await feedback.status()
    assert (status.parked, status.behind, status.idle) == (1, 0, True)
    assert status.oldest_seconds >= 0
    items = await feedback.quarantine.list()
    [parked] = [item for item in items if item.state == "parked"]
    assert (parked.handler, parked.attempts, parked.topic) == ("open-case", 3, INTERACTIONS)
    assert "Bug" in parked.error
    assert parked.event_id == world.draft(13).id
    assert b"ce_type" in b"".join(name.encode() for name, _ in parked.headers)
    [stored] = [record for record in await records(world, INTERACTIONS) if record.value == parked.value]
    assert stored.headers == parked.headers


def _behind(world: World, number: int, numbers: Sequence[int]) -> list[int]:
    """The number and those of the same key after it."""
    return [other for other in numbers if other >= number and world.draft(other).key == world.draft(number).key]


async def test_later_events_of_the_key_wait_and_are_released_in_order(world: World) -> None:
    intake = await world.intake()
    feedback = await world.feedback()
    world.behaviour.poison = {"x0"}
    accepted = await submit(intake, world, range(10), person=0)
    await world.settle()
    accepted |= await submit(intake, world, range(10, 20), person=0)
    accepted |= await submit(intake, world, range(20, 25), person=1)
    await world.settle()
    items = await feedback.quarantine.list(limit=100)
    assert Counter(item.state for item in items) == {"parked": 1, "waiting": 19}
    assert (await world.tallied())[CaseOpened.TYPE] == 5
    [parked] = [item for item in items if item.state == "parked"]
    outcome = await feedback.quarantine.replay(parked.id)  # the bug is still there
    assert (outcome.state, outcome.released) == ("parked", 0)
    assert "Bug" in (outcome.error or "")
    assert (await feedback.quarantine.get(parked.id)).attempts == 4
    world.behaviour.poison = {"x7"}
    outcome = await feedback.quarantine.replay(parked.id)
    assert (outcome.state, outcome.released) == ("replayed", 6)
    assert "x7" in (outcome.error or "")
    world.behaviour.poison = set()
    [parked] = [item for item in await feedback.quarantine.list() if item.state == "parked"]
    assert (await feedback.quarantine.replay(parked.id)).released == 12
    await world.settle()
    await world.check(accepted)
    opened = [event for events in (await world.published(FEEDBACK)).values() for event in events]
    order = [event.causationid for event in opened if event.partitionkey == world.people[0]]
    assert order == [world.draft(number).id for number in range(20)]
    with pytest.raises(NotParked):
        await feedback.quarantine.replay(parked.id)


async def test_a_discarded_event_lets_the_others_go_on_and_keeps_the_reason(world: World) -> None:
    intake = await world.intake()
    feedback = await world.feedback()
    world.behaviour.poison = {"x0"}
    await submit(intake, world, range(5), person=0)
    await world.settle()
    [parked] = [item for item in await feedback.quarantine.list() if item.state == "parked"]
    with pytest.raises(ValueError, match="reason"):
        await feedback.quarantine.discard(parked.id, " ")
    outcome = await feedback.quarantine.discard(parked.id, "entered by mistake")
    assert (outcome.state, outcome.released) == ("discarded", 4)
    assert (await feedback.quarantine.get(parked.id)).reason == "entered by mistake"
    await world.settle()
    await world.check(cases=4)
    assert (await feedback.status()).parked == 0


async def test_followers_left_by_a_crash_between_replay_and_release_are_released_at_the_next_start(
    world: World,
) -> None:
    intake = await world.intake()
    feedback = await world.feedback()
    world.behaviour.poison = {"x0"}
    accepted = await submit(intake, world, range(5), person=0)
    await world.settle()
    [parked] = [item for item in await feedback.quarantine.list() if item.state == "parked"]
    world.behaviour.poison = set()
    assert await feedback.quarantine._handle(parked, "parked") is None  # and there the process ends
    await world.kill(feedback)
    await world.feedback()
    await world.settle()
    await world.check(accepted)


async def test_what_is_no_event_is_parked_by_itself(world: World) -> None:
    intake = await world.intake()
    feedback = await world.feedback()
    garbage = Outgoing(INTERACTIONS, 0, b"\xff\x00", b"\x00\x01", (("x", b"\xfe"),), 0)
    no_json = Outgoing(INTERACTIONS, 1, b"k", b"not json", (await _headers(intake, world))[0].headers, 0)
    await world.republish([garbage])
    await submit(intake, world, range(5))
    await consumed(feedback)
    [parked] = await feedback.quarantine.list()
    assert (parked.handler, parked.value, parked.headers) == ("", b"\x00\x01", (("x", b"\xfe"),))
    assert no_json.value == b"not json"
    assert (await world.tallied())[CaseOpened.TYPE] == 6


async def _headers(intake: Runtime, world: World) -> list[Outgoing]:
    await submit(intake, world, [99])
    await world.settle()
    return await records(world, INTERACTIONS)


async def test_personal_text_in_an_error_is_withheld(world: World) -> None:
    intake = await world.intake()
    feedback = await world.feedback(start=False)
    secret = "la señora Quintana llamó tres veces"

    async def leak(unit: Any, events: Sequence[Event]) -> None:
        [data, *_] = await unit.open(events)
        raise ValueError(f"cannot parse {data.text[3:30]!r}")

    consumer = feedback.consumers[0]
    broken = tuple(
        replace(one, handle=leak) if one.name == "open-case" else one for one in consumer.routes.subscriptions
    )
    consumer.handling._subscriptions = consumer.routes.subscriptions = broken
    consumer.routes._known.clear()
    await feedback.start()
    await submit(intake, world, [1], text=secret)
    await world.settle()
    [parked] = await feedback.quarantine.list()
    assert "ValueError" in parked.error
    assert "Quintana" not in parked.error


async def test_the_breaker_stops_a_consumer_whose_deployment_is_broken(world: World) -> None:
    """Most of a batch would be parked: nothing is, the lag grows, health tells why; after the repair it goes on."""
    intake = await world.intake()
    world.behaviour.everything = True
    accepted = await submit(intake, world, range(30))
    await world.settle()
    feedback = await world.feedback()
    healthy, reason = True, ""
    for _ in range(500):
        healthy, reason = await feedback.healthy()
        if not healthy:
            break
        await asyncio.sleep(0.02)
    assert not healthy
    assert "would be parked" in reason
    status = await feedback.status()
    assert (status.parked, status.idle) == (0, False)
    assert status.behind == 30
    world.behaviour.everything = False
    feedback.consumers[0].resume()
    await world.settle()
    await world.check(accepted)
    assert (await feedback.healthy())[0]


async def test_a_few_poison_events_one_at_a_time_do_not_open_the_breaker_but_many_do(world: World) -> None:
    intake = await world.intake()
    feedback = await world.feedback()
    world.behaviour.everything = True
    for number in range(20):
        await submit(intake, world, [number], person=number)
        for _ in range(300):
            if (await feedback.status()).idle or feedback.consumers[0].pace.stopped:
                break
            await asyncio.sleep(0.01)
        if feedback.consumers[0].pace.stopped:
            break
    assert feedback.consumers[0].pace.stopped
    assert (await feedback.status()).parked < 10


# Transient failures.


@pytest.mark.parametrize(
    "error", [Transient("later"), ConnectionError("gone"), TimeoutError(), OSError(28, "no space")]
)
async def test_what_passes_by_itself_is_waited_for_and_never_parked(world: World, error: Exception) -> None:
    intake = await world.intake()
    feedback = await world.feedback(start=False)
    failures = 12

    consumer = feedback.consumers[0]
    handle = world.open_case

    async def sometimes(unit: Any, events: Sequence[Event]) -> None:
        nonlocal failures
        failures -= 1
        if failures > 0:
            raise error
        await handle(unit, events)

    wrapped = tuple(
        replace(one, handle=sometimes) if one.name == "open-case" else one for one in consumer.routes.subscriptions
    )
    consumer.handling._subscriptions = consumer.routes.subscriptions = wrapped
    await feedback.start()
    accepted = await submit(intake, world, range(5))
    await world.settle()
    assert failures <= 0
    await world.check(accepted)
    assert await feedback.quarantine.count() == 0
