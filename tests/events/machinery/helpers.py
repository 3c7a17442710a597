"""What several tests of the machinery do."""

import asyncio
from collections.abc import Sequence
from typing import Any

from libs.events.log import Outgoing, TopicPartition
from libs.events.runtime import Runtime
from tests.events.world import World


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


async def consumed(runtime: Runtime) -> None:
    for _ in range(1_000):
        status = await runtime.status()
        if status.idle:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(await runtime.status())
