"""Reading anywhere, without a group."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any

from aiokafka import AIOKafkaConsumer
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError

from libs.events.log import LogUnavailable, OutOfRange, Record, TopicPartition
from libs.events.log_kafka.client import close_consumer, text_of

if TYPE_CHECKING:
    from libs.events.log_kafka import KafkaLog

PATIENCE_MS = 10  # aiokafka does not wake a waiting getmany for a marker


class Reader:
    """One consumer without a group, for reading anywhere. Calls take turns."""

    def __init__(self, log: "KafkaLog", isolation: str) -> None:
        self._log = log
        self._isolation = isolation
        self._lock = asyncio.Lock()
        self._consumer: AIOKafkaConsumer | None = None
        self._topics: set[str] = (
            set()
        )  # whose partitions are assigned, so that going from one to the other costs nothing
        self._at: dict[KafkaPartition, int] = {}  # the offset after what was handed out last
        self._void: dict[KafkaPartition, tuple[int, int]] = {}

    @contextlib.asynccontextmanager
    async def _ready(self) -> AsyncIterator[Any]:
        async with self._lock:
            try:
                async with asyncio.timeout(self._log.deadline):
                    if self._consumer is None:
                        self._topics, self._at = set(), {}
                        self._consumer = self._log.new_consumer(None, self._isolation)
                        await self._consumer.start()
                    yield self._consumer
            except BaseException as error:
                await self._drop()
                if isinstance(error, OffsetOutOfRangeError):
                    raise OutOfRange(text_of(error)) from error
                if isinstance(error, KafkaError | TimeoutError | OSError):
                    raise LogUnavailable(f"Kafka: {text_of(error)}") from error
                raise

    async def _drop(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await close_consumer(consumer)

    async def close(self) -> None:
        async with self._lock:
            await self._drop()

    async def ends(self, tps: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        async with self._ready() as consumer:
            found = await consumer.end_offsets([self._log.kafka(tp) for tp in tps])
        return {self._log.plain(tp): offset for tp, offset in found.items()}

    def void_until(self, plain: TopicPartition, start: int) -> int:
        """Up to which offset it is known that no record follows `start`; `start` itself where nothing is known."""
        first, last = self._void.get(self._log.kafka(plain), (start, start))
        return last if first <= start <= last else start

    async def _assign(self, consumer: Any, topic: str) -> None:
        """Let the consumer know all partitions of every topic that was read. A new assignment throws away what was fetched
        ahead and the metadata of other topics, which costs 100 ms until aiokafka asks again."""
        if topic in self._topics:
            return
        topics = self._topics | {topic}
        tps = [
            self._log.kafka(TopicPartition(name, number))
            for name in topics
            for number in range(await self._log.partitions(name))
        ]
        consumer.assign(tps)
        consumer.pause(*tps)
        for tp in tps:
            consumer.seek(tp, 0)  # a partition without a position holds up all others of its broker
        self._topics, self._at = topics, {}

    async def read(self, plain: TopicPartition, start: int, limit: int) -> list[Record]:
        tp = self._log.kafka(plain)
        async with self._ready() as consumer:
            await self._assign(consumer, plain.topic)
            end = (await consumer.end_offsets([tp]))[tp]
            begin = self.void_until(plain, start)
            if begin >= end:
                return []
            if self._at.get(tp) != begin:  # else what was fetched ahead is used
                consumer.seek(tp, begin)
            consumer.resume(tp)
            while True:
                found = (await consumer.getmany(tp, timeout_ms=PATIENCE_MS, max_records=limit)).get(tp, [])
                # Markers and aborted records are passed over without being returned; the position moves on.
                if found or await consumer.position(tp) >= end:
                    break
            if await consumer.position(tp) >= end:
                consumer.pause(tp)  # or it would ask the broker for more until somebody reads again
            if found:
                self._at[tp] = found[-1].offset + 1
            else:
                # Whoever asks how far behind he is asks again and again what stands behind a marker.
                self._at[tp] = await consumer.position(tp)
                self._void[tp] = (start, self._at[tp])
            return self._log.records(plain, found)
