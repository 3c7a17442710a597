"""The consumer: zombies, copies in the log, poison, what waits behind it, and the breaker."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.events import faults
from libs.events.catalogue.feedback import CaseOpened
from libs.events.catalogue.interactions import InteractionRecorded
from libs.events.catalogue.topics import FEEDBACK, INTERACTIONS
from libs.events.consumer import Discipline
from libs.events.envelope import Event
from libs.events.errors import Transient
from libs.events.log import Outgoing, TopicPartition
from libs.events.quarantine import NotParked
from libs.events.runtime import Runtime
from libs.events.store import Store
from tests.events.world import Crash, World, patient


async def submit(intake: Runtime, world: World, numbers: Sequence[int], **options: Any) -> dict[str, int]:
    answers = await intake.group_commit.submit([world.draft(number, **options) for number in numbers])
    return {answer.id: 1 for answer in answers}


async def records(world: World, topic: str) -> list[Outgoing]:
    """Everything in a topic, ready to be published again."""
    return [
        Outgoing(record.topic, record.partition, record.key or b"", record.value, record.headers, record.timestamp_ms)
        for number in range(2)
        for record in await world.log.read(TopicPartition(topic, number), 0, 10_000)
    ]


# Two owners.


async def test_of_two_owners_of_the_same_partitions_each_event_takes_effect_once(world: World) -> None:
    """I7: both poll everything; the compare-and-set decides, and the loser's batch leaves no row."""
    intake = await world.intake()
    await world.feedback()
    await world.feedback()
    accepted: dict[str, int] = {}
    for start in range(0, 120, 10):
        accepted |= await submit(intake, world, range(start, start + 10))
    await world.settle()
    await world.check(accepted)


async def test_a_zombie_that_wakes_up_with_an_old_batch_rolls_back_and_reads_its_positions_again(world: World) -> None:
    intake = await world.intake()
    reached, released = asyncio.Event(), asyncio.Event()

    class Slow(Discipline):
        async def claim(self, store: Store, connection: AsyncConnection, group: str, moves: Any) -> None:
            await super().claim(store, connection, group, moves)

        async def positions(self, store: Store, group: str, partitions: Any) -> Any:
            found = await super().positions(store, group, partitions)
            if not reached.is_set():
                reached.set()
                await released.wait()
            return found

    await world.feedback(discipline=Slow())
    await reached.wait()  # it knows its positions, then sleeps
    await world.feedback()
    accepted = await submit(intake, world, range(20))
    for _ in range(500):
        if sum((await world.tallied()).values()) == 40:
            break
        await asyncio.sleep(0.02)
    released.set()
    accepted |= await submit(intake, world, range(20, 30))
    await world.settle()
    await world.check(accepted)


# Copies in the log.


async def test_copies_in_the_same_and_in_another_partition_have_no_second_effect(world: World) -> None:
    """The harness publishes records again behind everybody's back; the inbox drops them."""
    intake = await world.intake()
    feedback = await world.feedback()
    accepted = await submit(intake, world, range(20))
    await world.settle()
    before = await world.tallied()
    copies = await records(world, INTERACTIONS)
    elsewhere = [replace(copy, partition=1 - copy.partition) for copy in copies]
    await world.republish([*copies, *elsewhere, *copies])
    await _consumed(feedback)
    assert await world.tallied() == before
    accepted |= await submit(intake, world, range(20, 25))
    await _consumed(feedback)
    assert (await world.tallied())[CaseOpened.TYPE] == 25


async def _consumed(runtime: Runtime) -> None:
    for _ in range(1_000):
        status = await runtime.status()
        if status.idle:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(await runtime.status())


async def test_a_store_that_was_set_back_gives_a_used_sequence_to_a_new_event_which_is_not_lost(world: World) -> None:
    intake = await world.intake()
    feedback = await world.feedback()
    await submit(intake, world, [1])
    await world.settle()
    [copy] = await records(world, INTERACTIONS)
    headers = tuple((name, b"another-id" if name == "ce_id" else value) for name, value in copy.headers)
    await world.republish([replace(copy, headers=headers)])
    await _consumed(feedback)
    assert (await world.tallied())[InteractionRecorded.TYPE] == 2


# Poison.


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
    await _consumed(feedback)
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


async def test_a_newer_version_of_a_known_type_waits_for_its_deployment_and_says_so(world: World) -> None:
    intake = await world.intake()
    feedback = await world.feedback()
    await submit(intake, world, [1])
    await world.settle()
    [record] = await records(world, INTERACTIONS)
    headers = tuple(
        (name, {"ce_id": b"n1", "ce_type": b"lazo.interaction.recorded.v9"}.get(name, value))
        for name, value in record.headers
    )
    unknown = tuple(
        (name, {"ce_id": b"n2", "ce_type": b"lazo.unheard.of.v1"}.get(name, value)) for name, value in record.headers
    )
    await world.republish([replace(record, headers=unknown)])
    await _consumed(feedback)  # nobody subscribed to it
    await world.republish([replace(record, headers=headers)])
    await asyncio.sleep(0.3)
    status = await feedback.status()
    assert (status.behind, status.parked) == (1, 0)
    _, reason = await feedback.healthy()
    assert "lazo.interaction.recorded.v9" in reason


async def test_an_unknown_outcome_of_a_commit_is_settled_by_reading_the_positions(world: World) -> None:
    """The commit takes effect, the answer is lost: I3 for the consumer."""
    intake = await world.intake()
    left = 4

    def hook(name: str) -> None:
        nonlocal left
        if name == "consumer.committed" and left > 0:
            left -= 1
            raise OperationalError("COMMIT", {}, ConnectionError("connection lost"), connection_invalidated=True)

    faults.hook = hook
    await world.feedback()
    accepted: dict[str, int] = {}
    for start in range(0, 1_000, 10):
        if not left:
            break
        accepted |= await submit(intake, world, range(start, start + 10))
        await asyncio.sleep(0.05)
    assert left == 0
    await world.settle()
    await world.check(accepted)


# What kills.


async def test_an_event_that_kills_the_process_is_known_by_its_count_and_parked(world: World) -> None:
    """No except clause ever sees it (out of memory, a crash in C): the attempts are stored before they are made."""
    intake = await world.intake()
    world.behaviour.deadly = {"x5"}
    accepted = await submit(intake, world, range(12))
    await world.settle()
    deaths = 0
    feedback = await world.feedback()
    for _ in range(400):
        [consumer] = [task for name, task in feedback._tasks.items() if name.startswith("consumer")]
        if consumer.done():
            assert isinstance(consumer.exception(), Crash)
            deaths += 1
            await world.kill(feedback)
            feedback = await world.feedback()
        elif (await feedback.status()).idle:
            break
        await asyncio.sleep(0.02)
    assert 3 <= deaths <= 6
    items = await feedback.quarantine.list()
    parked = [item for item in items if item.state == "parked"]
    # Nobody lived to tell which of the two handlers it was.
    assert [(item.event_id, item.handler) for item in parked] == [
        (world.draft(5).id, "open-case"),
        (world.draft(5).id, "tally"),
    ]
    assert "the process ended" in parked[0].error
    world.behaviour.deadly = set()
    for item in parked:
        await feedback.quarantine.replay(item.id)
    await world.settle()
    await world.check(accepted)


async def test_attempts_are_forgotten_once_the_offset_moved_on(world: World) -> None:
    intake = await world.intake()
    feedback = await world.feedback()
    world.behaviour.poison = {"x3"}
    await submit(intake, world, range(20))
    await world.settle()
    async with feedback.store.reading() as connection:
        assert (await connection.execute(select(feedback.store.tables.attempts))).all() == []


async def test_stop_lets_the_batch_in_hand_finish(world: World) -> None:
    """Cancellation is not a handled message, and a stop is not a cancellation."""
    intake = await world.intake()
    inside, go = asyncio.Event(), asyncio.Event()

    class Held(Discipline):
        async def fresh(self, store: Store, connection: AsyncConnection, group: str, items: Any) -> set[str]:
            inside.set()
            await go.wait()
            return await super().fresh(store, connection, group, items)

    feedback = await world.feedback(discipline=Held())
    accepted = await submit(intake, world, range(5))
    await inside.wait()
    stopping = asyncio.create_task(feedback.stop(10))
    await asyncio.sleep(0.05)
    go.set()
    await stopping
    world.alive.remove(feedback)
    assert sum((await world.tallied()).values()) > 0
    await world.feedback()
    await world.settle()
    await world.check(accepted)


async def test_a_stop_beyond_its_deadline_cuts_off_and_loses_nothing(world: World) -> None:
    intake = await world.intake()
    inside = asyncio.Event()

    class Stuck(Discipline):
        async def fresh(self, store: Store, connection: AsyncConnection, group: str, items: Any) -> set[str]:
            inside.set()
            await asyncio.sleep(3600)
            return set()

    feedback = await world.feedback(discipline=Stuck(), settings=patient())
    accepted = await submit(intake, world, range(5))
    await inside.wait()
    began = asyncio.get_running_loop().time()
    await feedback.stop(1)
    assert asyncio.get_running_loop().time() - began < 8
    world.alive.remove(feedback)
    await world.feedback()
    await world.settle()
    await world.check(accepted)
