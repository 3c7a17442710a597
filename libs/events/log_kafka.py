"""The log on Apache Kafka 4, by aiokafka 0.14.

What aiokafka does not promise is made up for here: every call has a deadline (its idempotent batches never expire, so a
send and even `stop()` can hang for ever while the broker is away); after any failure producers and consumers are thrown away
and built anew (a producer can stay broken until restart after a hiccup, aio-libs/aiokafka#1017); what goes wrong in a
rebalance callback reaches the loop (aiokafka only logs it).
"""

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.codec import has_lz4
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.errors import (
    IllegalStateError,
    InvalidProducerEpoch,
    KafkaError,
    MessageSizeTooLargeError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
    ProducerFenced,
    UnknownTopicOrPartitionError,
    for_code,
)

from libs.events.log import (
    FencedError,
    LogUnavailable,
    Outgoing,
    OutOfRange,
    PublisherSpent,
    Record,
    RecordTooLarge,
    TopicPartition,
    UnknownOutcome,
    UnknownTopic,
)

_log = logging.getLogger(__name__)

BATCH_BYTES = 262_144  # measured: 405,000 records of 500 bytes a second, against 167,000 with aiokafka's 16 KiB
CLOSE_SECONDS = 5.0
_ALREADY_THERE, _UNKNOWN_TOPIC = 36, 3

TOPIC_SETTINGS = {
    "cleanup.policy": "delete",
    "retention.ms": "-1",  # the topics are the archive
    "retention.bytes": "-1",
    "message.timestamp.type": "CreateTime",
    # Since Kafka 3.6 a broker refuses times more than an hour ahead, which a simulated clock may well be.
    "message.timestamp.after.max.ms": str(2**63 - 1),
    "message.timestamp.before.max.ms": str(2**63 - 1),
    "max.message.bytes": str(16 * 1024 * 1024),
}


@dataclass(frozen=True, slots=True)
class KafkaSecurity:
    """Kafka's own security settings, one to one. Passwords never appear in the representation."""

    protocol: str = "PLAINTEXT"  # SSL, SASL_PLAINTEXT, SASL_SSL
    mechanism: str = "PLAIN"  # SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER, GSSAPI
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_file: str | None = None
    certificate_file: str | None = None
    key_file: str | None = None
    key_password: str | None = field(default=None, repr=False)
    token_provider: Any = field(default=None, repr=False)  # aiokafka.abc.AbstractTokenProvider, for OAUTHBEARER

    def settings(self) -> dict[str, Any]:
        """Arguments of every aiokafka client. Raises OSError or ssl.SSLError for files that cannot be read."""
        given: dict[str, Any] = {"security_protocol": self.protocol}
        if self.protocol in {"SSL", "SASL_SSL"}:
            context = ssl.create_default_context(cafile=self.ca_file)
            if self.certificate_file:
                context.load_cert_chain(self.certificate_file, self.key_file, self.key_password)
            given["ssl_context"] = context
        if self.protocol.startswith("SASL_"):
            given |= {
                "sasl_mechanism": self.mechanism,
                "sasl_plain_username": self.username,
                "sasl_plain_password": self.password,
                "sasl_oauth_token_provider": self.token_provider,
            }
        return given


class KafkaLog:
    """The log on a Kafka cluster. Nothing connects before it is needed, so a service starts while the broker is away.

    `prefix` stands before topics, groups and transactional ids on the wire and nowhere else. `deadline`: seconds that any
    one call may take. `replication`: of topics created here; None leaves it to the broker.
    """

    def __init__(
        self,
        bootstrap: str,
        *,
        prefix: str = "",
        security: KafkaSecurity = KafkaSecurity(),
        deadline: float = 15.0,
        replication: int | None = None,
        session_timeout: float = 15.0,
    ) -> None:
        self.prefix = prefix
        self.deadline = deadline
        self._replication = replication
        self._session_timeout = session_timeout
        self._common = {
            "bootstrap_servers": bootstrap.split(","),
            "request_timeout_ms": int(deadline * 1000),
            "metadata_max_age_ms": 60_000,
            **security.settings(),
        }
        self._reader = _Reader(self)
        self._partitions: dict[str, int] = {}

    async def start(self) -> None:
        """Nothing to do: see the class."""

    async def stop(self) -> None:
        await self._reader.close()

    async def ensure_topics(self, partitions: Mapping[str, int]) -> None:
        replication = self._replication or -1
        topics = [
            NewTopic(self.prefix + topic, number, replication, topic_configs=TOPIC_SETTINGS)
            for topic, number in partitions.items()
        ]
        async with self._admin() as admin:
            response = await admin.create_topics(topics, timeout_ms=int(self.deadline * 1000))
            for topic, code, *message in response.topic_errors:
                if code not in {0, _ALREADY_THERE}:
                    raise LogUnavailable(f"{topic} was not created: {for_code(code).__name__} {message}")
            names = [topic.name for topic in topics]
            while any(entry["error_code"] for entry in await admin.describe_topics(names)):  # noqa: ASYNC110 - a broker
                await asyncio.sleep(0.05)  # learns of a topic a moment after the controller, and tells nobody

    async def partitions(self, topic: str) -> int:
        if topic not in self._partitions:
            async with self._admin() as admin:
                entry = (await admin.describe_topics([self.prefix + topic]))[0]
            if entry["error_code"] == _UNKNOWN_TOPIC:
                raise UnknownTopic(topic)
            if entry["error_code"]:
                raise LogUnavailable(f"{topic}: {for_code(entry['error_code']).__name__}")
            self._partitions[topic] = len(entry["partitions"])
        return self._partitions[topic]

    def publisher(self, name: str) -> "KafkaPublisher":
        return KafkaPublisher(self, name)

    def member(self, group: str, topics: Sequence[str]) -> "KafkaMember":
        return KafkaMember(self, group, topics)

    async def read(self, tp: TopicPartition, start: int, limit: int) -> list[Record]:
        await self._check(tp)
        return await self._reader.read(tp, start, limit)

    async def ends(self, topic: str) -> dict[int, int]:
        tps = [TopicPartition(topic, number) for number in range(await self.partitions(topic))]
        return {tp.partition: end for tp, end in (await self._reader.ends(tps)).items()}

    async def _check(self, tp: TopicPartition) -> None:
        if not 0 <= tp.partition < await self.partitions(tp.topic):
            raise UnknownTopic(str(tp))

    @contextlib.asynccontextmanager
    async def _admin(self) -> Any:
        admin = AIOKafkaAdminClient(**self._common)
        try:
            async with asyncio.timeout(self.deadline):
                await admin.start()
                yield admin
        except (KafkaError, TimeoutError, OSError) as error:
            raise LogUnavailable(f"Kafka: {_text(error)}") from error
        finally:
            await _patiently(admin.close())

    # What this module's classes need.

    def kafka(self, tp: TopicPartition) -> KafkaPartition:
        return KafkaPartition(self.prefix + tp.topic, tp.partition)

    def plain(self, tp: KafkaPartition) -> TopicPartition:
        return TopicPartition(tp.topic[len(self.prefix) :], tp.partition)

    def record(self, found: Any) -> Record:
        topic = found.topic[len(self.prefix) :]
        return Record(
            topic, found.partition, found.offset, found.key, found.value or b"", found.headers, found.timestamp
        )

    def new_producer(self, name: str) -> AIOKafkaProducer:
        return AIOKafkaProducer(
            transactional_id=self.prefix + name,
            transaction_timeout_ms=int(
                self.deadline * 2000
            ),  # what a killed publisher left open stalls readers so long
            acks="all",
            max_batch_size=BATCH_BYTES,
            compression_type="lz4" if has_lz4() else None,
            **self._common,
        )

    def new_consumer(self, group: str | None) -> AIOKafkaConsumer:
        session = int(self._session_timeout * 1000)
        return AIOKafkaConsumer(
            group_id=None if group is None else self.prefix + group,
            enable_auto_commit=False,
            auto_offset_reset="none",
            isolation_level="read_committed",
            fetch_max_bytes=8 * 1024 * 1024,
            max_partition_fetch_bytes=1024 * 1024,
            session_timeout_ms=session,
            heartbeat_interval_ms=session // 5,
            rebalance_timeout_ms=60_000,
            max_poll_interval_ms=300_000,
            # aiokafka's sticky assignor keeps its memory in the class, shared by every group of the process.
            partition_assignment_strategy=(RoundRobinPartitionAssignor,),
            **self._common,
        )


def _text(error: BaseException) -> str:
    return str(error) or type(error).__name__


async def _patiently(closing: Any) -> None:
    """Close something that may hang or fail; it is given up after CLOSE_SECONDS."""
    try:
        async with asyncio.timeout(CLOSE_SECONDS):
            await closing
    except (KafkaError, TimeoutError, OSError) as error:
        _log.warning("a Kafka client did not close: %s", _text(error))


async def _close_consumer(consumer: AIOKafkaConsumer) -> None:
    await _patiently(consumer.stop())
    await _patiently(consumer._client.close())  # noqa: SLF001 - `stop()` may have been given up before its last step


class KafkaPublisher:
    """A transactional producer: Kafka fences the one before when the next one of the name starts.

    A publisher that slept longer than the transaction timeout in the middle of a publish (SIGSTOP) is told the same by the
    broker, though nobody took its place: start it anew if the service's lock is still held.
    """

    def __init__(self, log: KafkaLog, name: str) -> None:
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
                raise LogUnavailable(f"publisher {self._name!r} cannot start: {_text(error)}") from error
            raise
        self._producer = producer

    async def publish(self, records: Sequence[Outgoing]) -> list[int]:
        producer = self._producer
        if producer is None:
            raise PublisherSpent(f"publisher {self._name!r} must be started")
        if not records:
            return []
        for topic, partition in {(record.topic, record.partition) for record in records}:
            await self._log._check(TopicPartition(topic, partition))  # noqa: SLF001 - one module
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
                future.add_done_callback(_retrieved)
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
                    "headers": record.headers,
                }
                if batch.append(**given) is None:  # full; an empty batch takes any record
                    await submit(batch, topic, partition, places)
                    batch, places = producer.create_batch(), []
                    batch.append(**given)
                places.append(place)
            await submit(batch, topic, partition, places)

    def _failure(self, error: BaseException, committing: bool) -> BaseException:
        if _among_causes(error, (ProducerFenced, InvalidProducerEpoch)):
            return FencedError(f"another publisher of {self._name!r} was started, or its transaction expired")
        if not isinstance(error, KafkaError | TimeoutError | OSError):
            return error  # cancelled, or a fault of ours
        if committing:
            return UnknownOutcome(f"the commit of {self._name!r} was not acknowledged: {_text(error)}")
        # Never committed: the producer is gone, and its transaction dies with the next `start()` or by its timeout.
        if _among_causes(error, (MessageSizeTooLargeError,)):
            return RecordTooLarge(_text(error))
        if _among_causes(error, (UnknownTopicOrPartitionError,)):
            return UnknownTopic(_text(error))
        return LogUnavailable(f"{self._name!r} could not publish: {_text(error)}")

    async def close(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            await self._discard(producer)

    async def _discard(self, producer: AIOKafkaProducer) -> None:
        """Cut it off. `stop()` would first try to deliver what is buffered, for ever if need be; here nothing may follow."""
        producer._closed = True  # noqa: SLF001 - pinned aiokafka: no public way to drop a producer without flushing
        task = producer._sender.sender_task  # noqa: SLF001
        await _patiently(producer.client.close())  # requests in flight fail now, not after their timeout
        if task is not None:
            task.cancel()
            await asyncio.wait([task], timeout=CLOSE_SECONDS)


def _retrieved(future: asyncio.Future[Any]) -> None:
    # The first failure was raised; the others of the same transaction say the same and must not be reported as forgotten.
    if not future.cancelled():
        future.exception()


def _among_causes(error: BaseException | None, kinds: tuple[type[BaseException], ...]) -> bool:
    while error is not None:
        if isinstance(error, kinds):
            return True
        error = error.__cause__
    return False


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    def __init__(self, member: "KafkaMember", consumer: AIOKafkaConsumer) -> None:
        self._member = member
        self._consumer = consumer

    def on_partitions_revoked(self, revoked: set[KafkaPartition]) -> None:
        self._member.reassigned(None)

    def on_partitions_assigned(self, assigned: set[KafkaPartition]) -> None:
        try:
            # Paused before the fetcher can ask for the committed offset, which is a hint and no position.
            self._consumer.pause(*assigned)
            self._member.reassigned(None)
        except Exception as error:  # noqa: BLE001 - aiokafka would log it and deliver; `poll` raises it
            self._member.reassigned(error)


class KafkaMember:
    def __init__(self, log: KafkaLog, group: str, topics: Sequence[str]) -> None:
        self._log = log
        self._group = group
        self._topics = tuple(topics)
        self._consumer: AIOKafkaConsumer | None = None
        self._positioned: set[KafkaPartition] = set()
        self._failed: BaseException | None = None
        self._hint: dict[KafkaPartition, int] = {}
        self._hinting: asyncio.Task[None] | None = None

    async def start(self) -> None:
        for topic in self._topics:
            await self._log.partitions(topic)
        await self._open()

    async def _open(self) -> AIOKafkaConsumer:
        consumer = self._log.new_consumer(self._group)
        try:
            async with asyncio.timeout(self._log.deadline):
                await consumer.start()
            self._positioned = set()
            topics = [self._log.prefix + topic for topic in self._topics]
            consumer.subscribe(topics, listener=_Listener(self, consumer))
        except BaseException as error:
            await _close_consumer(consumer)
            if isinstance(error, KafkaError | TimeoutError | OSError):
                raise LogUnavailable(f"group {self._group!r}: {_text(error)}") from error
            raise
        self._consumer = consumer
        return consumer

    def reassigned(self, failure: BaseException | None) -> None:
        """Called by the listener: whatever was positioned no longer is."""
        self._positioned = set()
        self._failed = failure

    def _assigned(self) -> set[KafkaPartition]:
        return set() if self._consumer is None else set(self._consumer.assignment())

    def assigned(self) -> set[TopicPartition]:
        return {self._log.plain(tp) for tp in self._assigned()}

    def unpositioned(self) -> set[TopicPartition]:
        return {self._log.plain(tp) for tp in self._assigned() - self._positioned}

    async def seek(self, positions: Mapping[TopicPartition, int]) -> None:
        consumer = self._consumer
        for plain, position in positions.items():
            tp = self._log.kafka(plain)
            if consumer is not None and tp in self._assigned():
                consumer.seek(tp, position)
                consumer.resume(tp)
                self._positioned.add(tp)

    async def pause(self, partitions: Iterable[TopicPartition]) -> None:
        wanted = {self._log.kafka(tp) for tp in partitions} & self._assigned()
        if self._consumer is not None and wanted:
            self._consumer.pause(*wanted)

    async def resume(self, partitions: Iterable[TopicPartition]) -> None:
        wanted = {self._log.kafka(tp) for tp in partitions} & self._assigned() & self._positioned
        if self._consumer is not None and wanted:
            self._consumer.resume(*wanted)

    async def poll(self, max_records: int, timeout: float) -> dict[TopicPartition, list[Record]]:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        while True:
            if self._failed is not None:
                failed, self._failed = self._failed, None
                await self._give_up()
                raise LogUnavailable(f"group {self._group!r}: a rebalance failed: {_text(failed)}") from failed
            consumer = self._consumer or await self._open()
            left = max(0.0, deadline - loop.time())
            found = await self._getmany(consumer, max_records, left)
            batch = {
                self._log.plain(tp): [self._log.record(record) for record in records]
                for tp, records in found.items()
                if tp in self._positioned
            }
            if batch or deadline <= loop.time():
                return batch

    async def _getmany(
        self, consumer: AIOKafkaConsumer, max_records: int, left: float
    ) -> dict[KafkaPartition, list[Any]]:
        try:
            async with asyncio.timeout(left + 0.1):  # it waits for the end of a rebalance, however long that takes
                found: dict[KafkaPartition, list[Any]] = await consumer.getmany(
                    timeout_ms=int(left * 1000), max_records=max_records
                )
                return found
        except TimeoutError:
            return {}
        except NoOffsetForPartitionError:  # not positioned yet: every group without hints says so until `seek`
            await asyncio.sleep(min(left, 0.02))
            return {}
        except OffsetOutOfRangeError as error:
            lost = dict(error.args[0])
            self._positioned -= set(lost)
            consumer.pause(*(set(lost) & self._assigned()))
            what = ", ".join(f"{self._log.plain(tp)} has no offset {offset}" for tp, offset in lost.items())
            raise OutOfRange(what) from error
        except (KafkaError, OSError) as error:
            await (
                self._give_up()
            )  # a consumer may never come back by itself (aio-libs/aiokafka#625); the next poll opens another
            raise LogUnavailable(f"group {self._group!r}: {_text(error)}") from error

    async def ends(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        return await self._log._reader.ends(list(partitions))  # noqa: SLF001 - one module

    async def hint(self, positions: Mapping[TopicPartition, int]) -> None:
        self._hint |= {self._log.kafka(tp): position for tp, position in positions.items()}
        if self._hinting is None or self._hinting.done():
            self._hinting = asyncio.create_task(self._send_hints(), name=f"hint-{self._group}")

    async def _send_hints(self) -> None:
        # In a task of its own: a commit retries for as long as the coordinator is away, and nobody waits for a hint.
        while self._hint and self._consumer is not None:
            given, self._hint = self._hint, {}
            given = {tp: position for tp, position in given.items() if tp in self._assigned()}
            try:
                async with asyncio.timeout(self._log.deadline):
                    if given:
                        await self._consumer.commit(given)
            except (KafkaError, TimeoutError, IllegalStateError, OSError) as error:
                _log.debug("the hint of group %s was not taken: %s", self._group, _text(error))

    async def _give_up(self) -> None:
        consumer, self._consumer = self._consumer, None
        self._positioned = set()
        if self._hinting is not None:
            self._hinting.cancel()
            await asyncio.wait([self._hinting])
            self._hinting = None
        if consumer is not None:
            await _close_consumer(consumer)

    async def stop(self) -> None:
        await self._give_up()


class _Reader:
    """One consumer without a group, for reading anywhere. Calls take turns."""

    def __init__(self, log: KafkaLog) -> None:
        self._log = log
        self._lock = asyncio.Lock()
        self._consumer: AIOKafkaConsumer | None = None
        self._at: tuple[KafkaPartition, int] | None = None

    @contextlib.asynccontextmanager
    async def _ready(self) -> Any:
        async with self._lock:
            try:
                async with asyncio.timeout(self._log.deadline):
                    if self._consumer is None:
                        self._consumer, self._at = self._log.new_consumer(None), None
                        await self._consumer.start()
                    yield self._consumer
            except BaseException as error:
                await self._drop()
                if isinstance(error, OffsetOutOfRangeError):
                    raise OutOfRange(_text(error)) from error
                if isinstance(error, KafkaError | TimeoutError | OSError):
                    raise LogUnavailable(f"Kafka: {_text(error)}") from error
                raise

    async def _drop(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await _close_consumer(consumer)

    async def close(self) -> None:
        async with self._lock:
            await self._drop()

    async def ends(self, tps: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        async with self._ready() as consumer:
            found = await consumer.end_offsets([self._log.kafka(tp) for tp in tps])
        return {self._log.plain(tp): offset for tp, offset in found.items()}

    async def read(self, plain: TopicPartition, start: int, limit: int) -> list[Record]:
        tp = self._log.kafka(plain)
        async with self._ready() as consumer:
            end = (await consumer.end_offsets([tp]))[tp]
            if start >= end:
                return []
            if self._at != (tp, start):  # else what was fetched ahead is used
                consumer.assign([tp])
                consumer.seek(tp, start)
            while True:
                found = (await consumer.getmany(tp, timeout_ms=200, max_records=limit)).get(tp, [])
                # Markers and aborted records are passed over without being returned; the position moves on.
                if found or await consumer.position(tp) >= end:
                    break
            self._at = (tp, found[-1].offset + 1 if found else start)
            return [self._log.record(record) for record in found]
