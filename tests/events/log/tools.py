"""What the tests of the logs send, and how they read it."""

import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from libs.events.log import (
    Log,
    Member,
    Outgoing,
    Record,
    TopicPartition,
)

Opener = Callable[[], AbstractAsyncContextManager[Log]]
"""Opens one more log object on the same engine, as another process would."""

T0, T1 = TopicPartition("facts", 0), TopicPartition("facts", 1)


def outgoing(number: int, partition: int = 0, topic: str = "facts", size: int = 0) -> Outgoing:
    headers = (("content-type", b"application/json"), ("ce_id", b"%d" % number), ("raw", bytes([0, 255, number % 256])))
    return Outgoing(
        topic, partition, b"k%d" % (number % 7), b"%d" % number + b" " * size, headers, 1_700_000_000_000 + number
    )


def numbers(records: list[Record]) -> list[int]:
    return [int(record.value) for record in records]


async def settled(member: Member, *, within: float = 20.0) -> set[TopicPartition]:
    """Poll until the group has given the member its partitions; they wait for `seek`."""
    deadline = time.monotonic() + within
    while not member.unpositioned():
        assert time.monotonic() < deadline, "the group never settled"
        assert await member.poll(10, 0.1) == {}
    return member.unpositioned()


async def drain(member: Member, count: int, *, within: float = 20.0) -> dict[TopicPartition, list[Record]]:
    """Poll until so many records came, then once more to see that no other comes."""
    got: dict[TopicPartition, list[Record]] = {}
    deadline = time.monotonic() + within
    while sum(map(len, got.values())) < count:
        assert time.monotonic() < deadline, f"{sum(map(len, got.values()))} of {count} records came"
        for tp, records in (await member.poll(100, 1.0)).items():
            got.setdefault(tp, []).extend(records)
    assert await member.poll(100, 0.2) == {}
    return got


async def all_of(log: Log, tp: TopicPartition, limit: int = 1000) -> list[Record]:
    found: list[Record] = []
    while batch := await log.read(tp, found[-1].offset + 1 if found else 0, limit):
        found += batch
    return found
