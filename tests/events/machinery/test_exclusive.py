"""An exclusive consumer: one instance has all partitions, the others stand by and take over."""

import asyncio
from collections.abc import Sequence

from libs.events.catalogue.interactions import InteractionRecorded
from libs.events.catalogue.topics import INTERACTIONS
from libs.events.consumer import ConsumerSpec, Subscription
from libs.events.envelope import Event
from libs.events.runtime import Runtime
from libs.events.store import Unit
from tests.events.world import World


async def test_of_two_instances_of_an_exclusive_consumer_one_sees_every_fact_and_the_other_takes_over(
    world: World,
) -> None:
    """What a monitor needs: all facts of a slice together. The one that stands by is idle, not behind for ever."""
    seen: dict[str, list[str]] = {"first": [], "second": []}
    taken_over = asyncio.Event()

    async def instance(name: str) -> Runtime:
        async def note(unit: Unit, events: Sequence[Event]) -> None:
            seen[name] += [event.id for event in events]
            if len(seen["second"]) == 20:
                taken_over.set()

        subscription = Subscription("note", "projector", (InteractionRecorded,), note)
        return await world.other(
            consumers=[ConsumerSpec("other.only", (INTERACTIONS,), [subscription], exclusive=True)]
        )

    async def append(numbers: range) -> list[str]:
        return [one.id for one in await intake.group_commit.submit([world.draft(number) for number in numbers])]

    intake = await world.intake()
    first = await instance("first")
    sent = await append(range(20))
    await world.settle_only(first)
    await instance("second")
    sent += await append(range(20, 40))
    await world.settle()
    assert sorted(seen["first"]) == sorted(sent)
    assert seen["second"] == []

    await world.kill(first)
    later = await append(range(40, 60))
    await asyncio.wait_for(taken_over.wait(), 20)
    assert sorted(seen["second"]) == sorted(later)
