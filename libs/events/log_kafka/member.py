"""Consuming in a group: paused when assigned, positioned by the loop, rebuilt after any failure."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.errors import IllegalStateError, KafkaError, OffsetOutOfRangeError

from libs.events.log import LogUnavailable, OutOfRange, Record, TopicPartition
from libs.events.log_kafka.client import close_consumer, logger, text_of

if TYPE_CHECKING:
    from libs.events.log_kafka import KafkaLog

ASK_AHEAD = 500
"""Records from which what follows is fetched while they are handled: a group that far behind wants all it can get."""


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    def __init__(self, member: "KafkaMember", consumer: AIOKafkaConsumer) -> None:
        self._member = member
        self._consumer = consumer

    def on_partitions_revoked(self, revoked: set[KafkaPartition]) -> None:
        self._member.reassigned(None)

    def on_partitions_assigned(self, assigned: set[KafkaPartition]) -> None:
        try:
            # Paused before the fetcher can ask for the committed offset, which is a hint and no position. The seek keeps
            # it from asking at all: one partition without a position holds up all others of its broker.
            self._consumer.pause(*assigned)
            for tp in assigned:
                self._consumer.seek(tp, 0)
            self._member.reassigned(None)
        except Exception as error:  # noqa: BLE001 - aiokafka would log it and deliver; `poll` raises it
            self._member.reassigned(error)


class KafkaMember:
    def __init__(self, log: "KafkaLog", group: str, topics: Sequence[str]) -> None:
        self._log = log
        self._group = group
        self._topics = tuple(topics)
        self._consumer: AIOKafkaConsumer | None = None
        self._positioned: set[KafkaPartition] = set()
        self._next: dict[KafkaPartition, int] = {}
        self._quiet: set[KafkaPartition] = set()  # paused by `poll` until the next one
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
            await close_consumer(consumer)
            if isinstance(error, KafkaError | TimeoutError | OSError):
                raise LogUnavailable(f"group {self._group!r}: {text_of(error)}") from error
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
                self._next[tp] = position

    async def pause(self, partitions: Iterable[TopicPartition]) -> None:
        wanted = {self._log.kafka(tp) for tp in partitions} & self._assigned()
        self._quiet -= wanted
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
                raise LogUnavailable(f"group {self._group!r}: a rebalance failed: {text_of(failed)}") from failed
            consumer = self._consumer or await self._open()
            self._listen(consumer)
            left = max(0.0, deadline - loop.time())
            found = await self._getmany(consumer, max_records, left)
            if found and sum(map(len, found.values())) < ASK_AHEAD:
                self._be_quiet(consumer)
            batch = {}
            for tp, records in found.items():
                if tp in self._positioned:
                    plain = self._log.plain(tp)
                    batch[plain] = self._log.records(plain, records)
                    self._next[tp] = records[-1].offset + 1
            if batch or deadline <= loop.time():
                return batch

    def _be_quiet(self, consumer: AIOKafkaConsumer) -> None:
        """Ask the broker for nothing until the next poll.

        aiokafka asks again as soon as something was handed out. While that is being handled the broker answers with the
        first partition that anything arrives in, and the next poll gets just that: a batch, with its transaction, for
        every partition. Asked when somebody wants it, the broker tells of all partitions in one answer.
        """
        self._quiet = {tp for tp in self._positioned & self._assigned() if tp not in consumer.paused()}
        consumer.pause(*self._quiet)

    def _listen(self, consumer: AIOKafkaConsumer) -> None:
        wanted, self._quiet = self._quiet & self._positioned & self._assigned(), set()
        if wanted:
            consumer.resume(*wanted)

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
        except OffsetOutOfRangeError as error:
            lost = dict(error.args[0])
            self._positioned -= set(lost)
            consumer.pause(*(set(lost) & self._assigned()))
            what = ", ".join(f"{self._log.plain(tp)} has no offset {offset}" for tp, offset in lost.items())
            raise OutOfRange(what) from error
        except (KafkaError, OSError) as error:
            if self._failed is not None:
                return {}  # a consequence; `poll` raises what came first
            # A consumer may never come back by itself (aio-libs/aiokafka#625); the next poll opens another.
            await self._give_up()
            raise LogUnavailable(f"group {self._group!r}: {text_of(error)}") from error

    async def ends(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        # The end of what is written, not of what is committed: a publish that returned may become visible a few
        # milliseconds later, and a lag of 0 in between would be a lie.
        found = await self._log.latest.ends(list(partitions))
        consumer, owned = self._consumer, self._assigned() & self._positioned
        for plain, end in found.items():
            tp = self._log.kafka(plain)
            # Transaction markers take offsets too; whoever was given every record is not behind because of them.
            if consumer is not None and tp in owned and await consumer.position(tp) >= end:
                found[plain] = self._next[tp]
        return found

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
                logger.debug("the hint of group %s was not taken: %s", self._group, text_of(error))

    async def _give_up(self) -> None:
        consumer, self._consumer = self._consumer, None
        self._positioned = set()
        if self._hinting is not None:
            self._hinting.cancel()
            await asyncio.wait([self._hinting])
            self._hinting = None
        if consumer is not None:
            await close_consumer(consumer)

    async def stop(self) -> None:
        await self._give_up()
