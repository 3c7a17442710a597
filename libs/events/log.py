"""The log: the port that Kafka and the SQLite file both fill, and the words every part uses about it.

Promises of every adapter (`tests/events/log` runs them on each):

* a publish is all or nothing, in the order given; readers see it only once it is whole;
* of the publishers of one name the one started last is alone: every earlier one gets `FencedError` and changes nothing;
* offsets rise within a partition and may have gaps, so the next position is `last.offset + 1` of what was returned;
* a member delivers nothing from a partition until somebody has said, by `seek`, where to go on from.
"""

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol


class LogError(Exception):
    """Anything the log refuses or cannot do. Unless said otherwise, waiting and trying again is right."""


class LogUnavailable(LogError):
    """Nothing was published, or nothing could be read: the broker or the disk is away, full, or too slow."""


class UnknownOutcome(LogError):
    """The publish may or may not have happened. Start the publisher anew and read the tail to learn which."""


class FencedError(LogError):
    """Another publisher of this name was started later; nothing this one sends from now on is kept. It stops, or takes the
    service's lock again before it starts anew. What became of its last publish, its successor finds in the log's tail."""


class PublisherSpent(LogError):
    """The publisher failed before, or was never started. `start()` makes it usable again, and fences its former self."""


class UnknownTopic(LogError):
    """No such topic or partition. `lazo topics apply` creates what is missing."""


class RecordTooLarge(LogError):
    """A record is larger than the log takes. Nothing was published; trying again does not help."""


class OutOfRange(LogError):
    """A position outside of what the log holds: it was truncated under us. An incident, never a reason to start over."""


@dataclass(frozen=True, slots=True)
class TopicPartition:
    topic: str
    partition: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}"


@dataclass(frozen=True, slots=True)
class Record:
    """One record as the log keeps it. `timestamp_ms`: milliseconds since 1970 in UTC, as the publisher gave it."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes
    headers: tuple[tuple[str, bytes], ...]
    timestamp_ms: int


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One record to publish; whoever makes it has chosen the partition with `partition_of`."""

    topic: str
    partition: int
    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...]
    timestamp_ms: int


class Publisher(Protocol):
    """Writes to the log under a name; exactly one is alive per name, over all processes.

    After any error the publisher is spent: `start()` it again, read the tail of what it writes, go on from there.
    """

    async def start(self) -> None:
        """Take the name over and fence whoever had it. Raises LogUnavailable."""

    async def publish(self, records: Sequence[Outgoing]) -> list[int]:
        """Publish all of them or none, in order, and give their offsets in the same order.

        They are durable now: `read` and `ends` see them, members are handed them within milliseconds.
        Raises FencedError, LogUnavailable, UnknownTopic (nothing was published), UnknownOutcome, PublisherSpent.
        """

    async def close(self) -> None:
        """Let go, within seconds, even when the log is away. Never raises LogError."""


class Member(Protocol):
    """One member of a consumer group. Not to be shared by tasks: one loop owns it."""

    async def start(self) -> None: ...

    def assigned(self) -> set[TopicPartition]:
        """What this member owns at the moment; changes between two calls of `poll`."""

    def unpositioned(self) -> set[TopicPartition]:
        """What it owns and nobody has said `seek` for. Such partitions deliver nothing."""

    async def seek(self, positions: Mapping[TopicPartition, int]) -> None:
        """Deliver from these offsets on, and resume if paused. Partitions lost in the meantime are passed over."""

    async def pause(self, partitions: Iterable[TopicPartition]) -> None: ...

    async def resume(self, partitions: Iterable[TopicPartition]) -> None:
        """Undo `pause`. An unpositioned partition stays silent."""

    async def poll(self, max_records: int, timeout: float) -> dict[TopicPartition, list[Record]]:
        """Up to `max_records` in all, by partition in order; waits up to `timeout` seconds when there is nothing.

        Raises OutOfRange (the partition becomes unpositioned), LogUnavailable, and whatever went wrong in a rebalance.
        """

    async def ends(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """The offset that the next record will get or pass, for each. Less the position it is the lag: 0 if and only if
        everything published was delivered."""

    async def hint(self, positions: Mapping[TopicPartition, int]) -> None:
        """Tell lag tools where this group is. Best effort: the true position is in the consumer's database."""

    async def stop(self) -> None:
        """Leave the group, within seconds. Never raises LogError."""


class Log(Protocol):
    gapless: bool
    """Whether every offset is a record's, so that the end is reached by reading. Kafka's markers of transactions take
    offsets that nobody is ever given."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def ensure_topics(self, partitions: Mapping[str, int]) -> None:
        """Create what is missing, with so many partitions. A topic that is there stays as it is: a change of its number
        of partitions would send the same key elsewhere and lose the order of its facts."""

    async def partitions(self, topic: str) -> int:
        """How many partitions the topic has. Raises UnknownTopic."""

    def publisher(self, name: str) -> Publisher: ...

    def member(self, group: str, topics: Sequence[str]) -> Member: ...

    async def read(self, tp: TopicPartition, start: int, limit: int) -> list[Record]:
        """Whole, committed records from offset `start` on, at most `limit`; empty at the end. No group is involved."""

    async def ends(self, topic: str) -> dict[int, int]:
        """Next offset by partition; Kafka's markers of transactions count. Raises UnknownTopic."""


_M = 0x5BD1E995
_MASK = 0xFFFFFFFF


def murmur2(data: bytes) -> int:
    """Kafka's hash of a key: MurmurHash2, 32 bits, seed 0x9747b28c, little-endian.

    Source: Apache Kafka, `org.apache.kafka.common.utils.Utils.murmur2`.
    """
    length = len(data)
    words = length >> 2
    h = 0x9747B28C ^ length
    for k in struct.unpack_from(f"<{words}I", data):
        k = (k * _M) & _MASK
        k = ((k ^ (k >> 24)) * _M) & _MASK
        h = ((h * _M) & _MASK) ^ k
    rest = data[words << 2 :]
    if rest:
        h = ((h ^ int.from_bytes(rest, "little")) * _M) & _MASK
    h = ((h ^ (h >> 13)) * _M) & _MASK
    return h ^ (h >> 15)


@lru_cache(maxsize=65_536)  # customers come back: a hit costs 0.1 µs, a hash of 36 bytes 3 µs
def partition_of(key: bytes, partitions: int) -> int:
    """The partition of a key, the same as Kafka's default partitioner gives, on every adapter."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions
