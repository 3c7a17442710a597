"""The log on Apache Kafka 4, by aiokafka 0.14.

What aiokafka does not promise is made up for here: every call has a deadline (its idempotent batches never expire, so a
send and even `stop()` can hang for ever while the broker is away); after any failure producers and consumers are thrown away
and built anew (a producer can stay broken until restart after a hiccup, aio-libs/aiokafka#1017); what goes wrong in a
rebalance callback reaches the loop (aiokafka only logs it).
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.abc import AbstractTokenProvider
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.codec import has_lz4
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.errors import KafkaError, for_code

from libs.events.log import LogUnavailable, Record, TopicPartition, UnknownTopic
from libs.events.log_kafka.client import patiently, text_of
from libs.events.log_kafka.member import KafkaMember
from libs.events.log_kafka.publisher import KafkaPublisher
from libs.events.log_kafka.reader import Reader

__all__ = ["TOPIC_SETTINGS", "KafkaLog", "KafkaMember", "KafkaPublisher"]

BATCH_BYTES = 262_144  # measured: 405,000 records of 500 bytes a second, against 167,000 with aiokafka's 16 KiB
VISIBLE_TRIES, VISIBLE_PAUSE = 50, 0.01  # seconds; markers take 1 to 30 ms on an idle broker
ALREADY_THERE, UNKNOWN_TOPIC = 36, 3

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


class KafkaLog:
    """The log on a Kafka cluster. Nothing connects before it is needed, so a service starts while the broker is away.

    `prefix` stands before topics, groups and transactional ids on the wire and nowhere else. `deadline`: seconds that any
    one call may take. `replication`: of topics created here; None leaves it to the broker. The security settings are
    aiokafka's own, one to one.
    """

    gapless = False

    def __init__(
        self,
        bootstrap: str,
        *,
        prefix: str = "",
        deadline: float = 15.0,
        replication: int | None = None,
        session_timeout: float = 15.0,
        security_protocol: str = "PLAINTEXT",
        ssl_context: ssl.SSLContext | None = None,
        sasl_mechanism: str = "PLAIN",
        sasl_plain_username: str | None = None,
        sasl_plain_password: str | None = None,
        sasl_oauth_token_provider: AbstractTokenProvider | None = None,
    ) -> None:
        self.prefix = prefix
        self.deadline = deadline
        self._replication = replication
        self._session_timeout = session_timeout
        self._common = {
            "bootstrap_servers": bootstrap.split(","),
            "request_timeout_ms": int(deadline * 1000),
            "metadata_max_age_ms": 60_000,
            "security_protocol": security_protocol,
            "ssl_context": ssl_context,
            "sasl_mechanism": sasl_mechanism,
            "sasl_plain_username": sasl_plain_username,
            "sasl_plain_password": sasl_plain_password,
            "sasl_oauth_token_provider": sasl_oauth_token_provider,
        }
        self.reader = Reader(self, "read_committed")
        self.latest = Reader(self, "read_uncommitted")
        self._partitions: dict[str, int] = {}

    async def start(self) -> None:
        """Nothing to do: see the class."""

    async def stop(self) -> None:
        await self.reader.close()
        await self.latest.close()

    async def ensure_topics(self, partitions: Mapping[str, int]) -> None:
        # -1 leaves the number of replicas to the broker; aiokafka takes it only beside an (empty) list of replicas.
        replicas: dict[int, list[int]] | None
        copies, replicas = (-1, {}) if self._replication is None else (self._replication, None)
        topics = [
            NewTopic(self.prefix + topic, number, copies, replicas, TOPIC_SETTINGS)
            for topic, number in partitions.items()
        ]
        async with self._admin() as admin:
            response = await admin.create_topics(topics, timeout_ms=int(self.deadline * 1000))
            for topic, code, *message in response.topic_errors:
                if code not in {0, ALREADY_THERE}:
                    raise LogUnavailable(f"{topic} was not created: {for_code(code).__name__} {message}")
            names = [topic.name for topic in topics]
            while any(entry["error_code"] for entry in await admin.describe_topics(names)):  # noqa: ASYNC110 - a broker
                await asyncio.sleep(0.05)  # learns of a topic a moment after the controller, and tells nobody

    async def partitions(self, topic: str) -> int:
        if topic not in self._partitions:
            async with self._admin() as admin:
                entry = (await admin.describe_topics([self.prefix + topic]))[0]
            if entry["error_code"] == UNKNOWN_TOPIC:
                raise UnknownTopic(topic)
            if entry["error_code"]:
                raise LogUnavailable(f"{topic}: {for_code(entry['error_code']).__name__}")
            self._partitions[topic] = len(entry["partitions"])
        return self._partitions[topic]

    def publisher(self, name: str) -> KafkaPublisher:
        return KafkaPublisher(self, name)

    def member(self, group: str, topics: Sequence[str]) -> KafkaMember:
        return KafkaMember(self, group, topics)

    async def read(self, tp: TopicPartition, start: int, limit: int) -> list[Record]:
        await self.check(tp)
        found = await self.reader.read(tp, start, limit)
        if not found and await self._becomes_visible(tp, start):
            found = await self.reader.read(tp, start, limit)
        return found

    async def _becomes_visible(self, tp: TopicPartition, start: int) -> bool:
        """A commit is durable some milliseconds before its markers let readers see it. Whoever asks for what was just
        published waits for them here; waiting in `publish` halves what a relay can send (10,000 records a second instead
        of 20,000 in batches of 500). Not for ever: the transaction of a killed publisher stays open until it expires."""
        written = (await self.latest.ends([tp]))[tp]
        if written <= self.reader.void_until(tp, start):
            return False
        for _ in range(VISIBLE_TRIES):
            committed = (await self.reader.ends([tp]))[tp]
            if committed >= written:
                return True
            await asyncio.sleep(VISIBLE_PAUSE)
        return True

    async def ends(self, topic: str) -> dict[int, int]:
        # Of what is written, not of what is committed: a publish that returned has moved its partition's end.
        tps = [TopicPartition(topic, number) for number in range(await self.partitions(topic))]
        return {tp.partition: end for tp, end in (await self.latest.ends(tps)).items()}

    async def check(self, tp: TopicPartition) -> None:
        if not 0 <= tp.partition < await self.partitions(tp.topic):
            raise UnknownTopic(str(tp))

    @contextlib.asynccontextmanager
    async def _admin(self) -> AsyncIterator[Any]:
        admin = AIOKafkaAdminClient(**self._common)
        try:
            async with asyncio.timeout(self.deadline):
                await admin.start()
                yield admin
        except (KafkaError, TimeoutError, OSError) as error:
            raise LogUnavailable(f"Kafka: {text_of(error)}") from error
        finally:
            await patiently(admin.close())

    # What this module's classes need.

    def kafka(self, tp: TopicPartition) -> KafkaPartition:
        return KafkaPartition(self.prefix + tp.topic, tp.partition)

    def plain(self, tp: KafkaPartition) -> TopicPartition:
        return TopicPartition(tp.topic[len(self.prefix) :], tp.partition)

    def records(self, tp: TopicPartition, found: Sequence[Any]) -> list[Record]:
        """aiokafka's records of one partition."""
        topic, number = tp.topic, tp.partition
        return [Record(topic, number, r.offset, r.key, r.value or b"", r.headers, r.timestamp) for r in found]

    def new_producer(self, name: str) -> AIOKafkaProducer:
        return AIOKafkaProducer(
            transactional_id=self.prefix + name,
            # What a killed publisher left open keeps readers waiting for so long, unless its successor starts before.
            transaction_timeout_ms=int(self.deadline * 2000),
            acks="all",
            max_batch_size=BATCH_BYTES,
            compression_type="lz4" if has_lz4() else None,
            **self._common,
        )

    def new_consumer(self, group: str | None, isolation: str = "read_committed") -> AIOKafkaConsumer:
        session = int(self._session_timeout * 1000)
        return AIOKafkaConsumer(
            group_id=None if group is None else self.prefix + group,
            enable_auto_commit=False,
            auto_offset_reset="none",
            isolation_level=isolation,
            # A reader that turns to another partition waits for the answer about the one before.
            fetch_max_wait_ms=30 if group is None else 500,
            fetch_max_bytes=8 * 1024 * 1024,
            # Who reads a whole log goes from partition to partition and wants much of each.
            max_partition_fetch_bytes=(4 if group is None else 1) * 1024 * 1024,
            session_timeout_ms=session,
            heartbeat_interval_ms=session // 5,
            rebalance_timeout_ms=60_000,
            max_poll_interval_ms=300_000,
            # aiokafka's sticky assignor keeps its memory in the class, shared by every group of the process.
            partition_assignment_strategy=(RoundRobinPartitionAssignor,),
            **self._common,
        )
