"""Publishing: one Kafka transaction for one call."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    InvalidProducerEpoch,
    KafkaError,
    MessageSizeTooLargeError,
    ProducerFenced,
    UnknownTopicOrPartitionError,
)

from libs.events.log import (
    FencedError,
    LogUnavailable,
    Outgoing,
    PublisherSpent,
    RecordTooLarge,
    TopicPartition,
    UnknownOutcome,
    UnknownTopic,
)
from libs.events.log_kafka.client import CLOSE_SECONDS, among_causes, patiently, retrieved, text_of

if TYPE_CHECKING:
    from libs.events.log_kafka import KafkaLog


class KafkaPublisher:
    """A transactional producer: Kafka fences the one before when the next one of the name starts.

    A publisher that slept longer than the transaction timeout in the middle of a publish (SIGSTOP) is told the same by the
    broker, though nobody took its place: start it anew if the service's lock is still held.
    """

    def __init__(self, log: "KafkaLog", name: str) -> None:
        self._log = log
        self._name = name
        self._producer: AIOKafkaProducer | None = None

    async def start(self) -> None:
        await self.close()
        producer = self._log.new_producer(self._name)
        try:
            async with asyncio.timeout(self._log.deadline):
                await producer.start()
        except BaseException as error:
            await self._discard(producer)
            if isinstance(error, KafkaError | TimeoutError | OSError):
                raise LogUnavailable(f"publisher {self._name!r} cannot start: {text_of(error)}") from error
            raise
        self._producer = producer

    async def publish(self, records: Sequence[Outgoing]) -> list[int]:
        producer = self._producer
        if producer is None:
            raise PublisherSpent(f"publisher {self._name!r} must be started")
        if not records:
            return []
        for topic, partition in {(record.topic, record.partition) for record in records}:
            await self._log.check(TopicPartition(topic, partition))
        self._producer = None  # spent, unless all goes well
        sent: list[tuple[asyncio.Future[Any], list[int]]] = []
        committing = False
        try:
            async with asyncio.timeout(self._log.deadline):
                await producer.begin_transaction()
                await self._send(producer, records, sent)
                acknowledged = await asyncio.gather(*(future for future, _ in sent))
                committing = True
                await producer.commit_transaction()
        except BaseException as error:
            for future, _ in sent:
                future.add_done_callback(retrieved)
            await self._discard(producer)
            raise self._failure(error, committing) from error
        self._producer = producer
        offsets = [0] * len(records)
        for (_, places), metadata in zip(sent, acknowledged, strict=True):
            for index, place in enumerate(places):
                offsets[place] = metadata.offset + index
        return offsets

    async def _send(
        self,
        producer: AIOKafkaProducer,
        records: Sequence[Outgoing],
        sent: list[tuple[asyncio.Future[Any], list[int]]],
    ) -> None:
        by_partition: dict[tuple[str, int], list[int]] = {}
        for place, record in enumerate(records):
            by_partition.setdefault((record.topic, record.partition), []).append(place)

        async def submit(batch: Any, topic: str, partition: int, places: list[int]) -> None:
            batch.close()
            future = await producer.send_batch(batch, self._log.prefix + topic, partition=partition)
            sent.append((future, places))

        for (topic, partition), waiting in by_partition.items():
            places: list[int] = []
            batch = producer.create_batch()
            for place in waiting:
                record = records[place]
                given = {
                    "timestamp": record.timestamp_ms,
                    "key": record.key,
                    "value": record.value,
                    "headers": list(record.headers),
                }
                if batch.append(**given) is None:  # full; an empty batch takes any record
                    await submit(batch, topic, partition, places)
                    batch, places = producer.create_batch(), []
                    batch.append(**given)
                places.append(place)
            await submit(batch, topic, partition, places)

    def _failure(self, error: BaseException, committing: bool) -> BaseException:
        if among_causes(error, (ProducerFenced, InvalidProducerEpoch)):
            return FencedError(f"another publisher of {self._name!r} was started, or its transaction expired")
        if not isinstance(error, KafkaError | TimeoutError | OSError):
            return error  # cancelled, or a fault of ours
        if committing:
            return UnknownOutcome(f"the commit of {self._name!r} was not acknowledged: {text_of(error)}")
        # Never committed: the producer is gone, and its transaction dies with the next `start()` or by its timeout.
        if among_causes(error, (MessageSizeTooLargeError,)):
            return RecordTooLarge(text_of(error))
        if among_causes(error, (UnknownTopicOrPartitionError,)):
            return UnknownTopic(text_of(error))
        return LogUnavailable(f"{self._name!r} could not publish: {text_of(error)}")

    async def close(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            await self._discard(producer)

    async def _discard(self, producer: AIOKafkaProducer) -> None:
        """Cut it off. `stop()` would first try to deliver what is buffered, for ever if need be; here nothing may follow."""
        producer._closed = True  # noqa: SLF001 - pinned aiokafka: no public way to drop a producer without flushing
        task = producer._sender.sender_task  # noqa: SLF001 - as above
        await patiently(producer.client.close())  # requests in flight fail now, not after their timeout
        if task is not None:
            task.cancel()
            await asyncio.wait([task], timeout=CLOSE_SECONDS)
        accumulator = producer._message_accumulator  # noqa: SLF001 - as above
        queued = accumulator._batches.values()  # noqa: SLF001 - as above
        for batch in [*accumulator._pending_batches, *(b for queue in queued for b in queue)]:  # noqa: SLF001 - as above
            if batch._drain_waiter.done():  # noqa: SLF001 - as above
                retrieved(batch._drain_waiter)  # noqa: SLF001 - failed by aiokafka for nobody
