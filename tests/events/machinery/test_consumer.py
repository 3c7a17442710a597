"""The consumer: zombies, copies in the log, poison, what waits behind it, and the breaker."""

import asyncio
from dataclasses import replace
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.events import faults
from libs.events.catalogue.feedback import CaseOpened
from libs.events.catalogue.interactions import InteractionRecorded
from libs.events.catalogue.topics import INTERACTIONS
from libs.events.consumer import Discipline
from libs.events.runtime import Runtime
from libs.events.store import Store
from tests.events.machinery.helpers import consumed, records, submit
from tests.events.world import FAST, Crash, World, patient


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
    await consumed(feedback)
    assert await world.tallied() == before
    accepted |= await submit(intake, world, range(20, 25))
    await world.settle()  # relayed too: on a busy machine the five were not on the log yet when it was read to its end
    await consumed(feedback)
    assert (await world.tallied())[CaseOpened.TYPE] == 25


async def test_a_store_that_was_set_back_gives_a_used_sequence_to_a_new_event_which_is_not_lost(world: World) -> None:
    intake = await world.intake()
    feedback = await world.feedback()
    await submit(intake, world, [1])
    await world.settle()
    [copy] = await records(world, INTERACTIONS)
    headers = tuple((name, b"another-id" if name == "ce_id" else value) for name, value in copy.headers)
    await world.republish([replace(copy, headers=headers)])
    await consumed(feedback)
    assert (await world.tallied())[InteractionRecorded.TYPE] == 2


# Poison.


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
    await consumed(feedback)  # nobody subscribed to it
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


async def _started_until_idle(world: World) -> tuple[Runtime, int]:
    """Feedback, started again whenever it dies, and how often it died until it came to rest."""
    deaths = 0
    feedback = await world.feedback()
    for _ in range(600):
        [consumer] = [task for name, task in feedback._tasks.items() if name.startswith("consumer")]
        if consumer.done():
            assert isinstance(consumer.exception(), Crash)
            deaths += 1
            await world.kill(feedback)
            feedback = await world.feedback()
        elif (await feedback.status()).idle:
            return feedback, deaths
        await asyncio.sleep(0.02)
    raise AssertionError(f"not idle after {deaths} deaths")


async def test_an_event_that_kills_the_process_is_known_by_its_count_and_parked(world: World) -> None:
    """No except clause ever sees it (out of memory, a crash in C): the attempts are stored before they are made."""
    intake = await world.intake()
    world.behaviour.deadly = {"x5"}
    accepted = await submit(intake, world, range(12))
    await world.settle()
    feedback, deaths = await _started_until_idle(world)
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


async def test_a_process_that_is_killed_again_and_again_soon_after_its_start_parks_nothing(world: World) -> None:
    """G7. Found by sixty kills of a slow machine: the first record of a start was taken for the one that kills."""
    intake = await world.intake()
    world.behaviour.deadly = {"x0"}
    accepted = await submit(intake, world, range(12))
    await world.settle()
    settings = replace(FAST, careful_pause=1.0)
    feedback = await world.feedback(settings=settings)
    for _ in range(3):  # the third goes record by record, and ends in one: that may have been the record, or not
        [consumer] = [task for name, task in feedback._tasks.items() if name.startswith("consumer")]
        async with asyncio.timeout(10):
            await asyncio.wait([consumer])
        await world.kill(feedback)
        feedback = await world.feedback(settings=settings)
    world.behaviour.deadly = set()
    for _ in range(5):
        await asyncio.sleep(0.1)
        await world.kill(feedback)
        feedback = await world.feedback(settings=settings)
    await world.settle()
    assert await feedback.quarantine.list() == []
    await world.check(accepted)


async def test_a_record_that_kills_deep_in_a_long_batch_is_found_in_few_deaths(world: World) -> None:
    """Two deaths of the batch, one of a stretch, and the attempts of the record itself: no more for 200 records than for 12."""
    intake = await world.intake()
    world.behaviour.deadly = {"x150"}
    accepted = await submit(intake, world, range(200))
    await world.settle()
    feedback, deaths = await _started_until_idle(world)
    assert 3 <= deaths <= 6
    items = await feedback.quarantine.list()
    assert {item.event_id for item in items if item.state == "parked"} == {world.draft(150).id}
    world.behaviour.deadly = set()
    for item in items:
        if item.state == "parked":
            await feedback.quarantine.replay(item.id)
    await world.settle()
    await world.check(accepted)


async def test_what_was_killed_in_its_first_batch_goes_through_it_in_growing_stretches(world: World) -> None:
    """G7. Found by sixty kills: record by record, a batch of 500 took longer than the minute in which all must be told."""
    intake = await world.intake()
    world.behaviour.deadly = {"x0"}
    accepted = await submit(intake, world, range(200))
    await world.settle()
    feedback = await world.feedback()
    for _ in range(2):
        [consumer] = [task for name, task in feedback._tasks.items() if name.startswith("consumer")]
        async with asyncio.timeout(10):
            await asyncio.wait([consumer])
        await world.kill(feedback)
        feedback = await world.feedback()
    world.behaviour.deadly = set()
    transactions = 0

    def hook(name: str) -> None:
        nonlocal transactions
        transactions += name == "consumer.claimed"

    faults.hook = hook
    await world.settle()
    assert transactions < 100, "record by record again"
    assert await feedback.quarantine.list() == []
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
