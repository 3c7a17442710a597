"""Everything of one service that runs beside HTTP: store, relay, consumers, timers, quarantine."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from libs.events.alarm import Alarm
from libs.events.catalogue.topics import OWNER
from libs.events.clock import Clock
from libs.events.consumer import Consumer, ConsumerSpec, Discipline
from libs.events.errors import StoreUnavailable
from libs.events.following import Following
from libs.events.garbage import collecting_seldom
from libs.events.log import Log, LogError, TopicPartition
from libs.events.offload import offload
from libs.events.pace import Pace
from libs.events.quarantine import Quarantine
from libs.events.rebuild import Progress, Projection, Rebuild, Rebuilt
from libs.events.relay import Relay
from libs.events.settings import MachinerySettings
from libs.events.store import Committed, GroupCommit, Store
from libs.events.subscriptions import Routes
from libs.events.timers import TimerHandler
from libs.events.vault import Vault

__all__ = ["MachinerySettings", "Runtime", "Status", "offload", "settle"]

logger = logging.getLogger("lazo.runtime")


@dataclass(frozen=True, slots=True)
class Status:
    """`behind`: log events not yet consumed; `pending`: own events not yet published; `parked`: in quarantine;
    `oldest_seconds`: age of the oldest of these; `idle`: nothing left to do, no timer due, nothing in hand."""

    behind: int
    pending: int
    parked: int
    oldest_seconds: float
    idle: bool


class Runtime:
    """One service's machinery; `start()` after the database is migrated and the log is started."""

    def __init__(
        self,
        *,
        service: str,
        engine: AsyncEngine,
        log: Log,
        vault: Vault,
        clock: Clock,
        consumers: Sequence[ConsumerSpec] = (),
        timers: Mapping[str, TimerHandler] | None = None,
        settings: MachinerySettings = MachinerySettings(),
        publishes: Sequence[str] | None = None,
        projections: Sequence[Projection] = (),
        discipline: Discipline | None = None,
    ) -> None:
        """`publishes`: the topics this service alone writes; by default those the catalogue gives to it. `projections` are
        consumed for in their live slot and can be rebuilt (`rebuild`)."""
        self.service, self.engine, self.log, self.vault, self.clock = service, engine, log, vault, clock
        self.settings = settings
        self.publishes = tuple(topic for topic, owner in OWNER.items() if owner == service)
        if publishes is not None:
            self.publishes = tuple(publishes)
        self._partitions: dict[str, int] = {}
        self.store = Store(engine, service, clock, vault, self._partitions_of)
        self.group_commit = GroupCommit(
            self.store, most=settings.group_most, bound=settings.group_bound, deadline=settings.group_deadline
        )
        self.quarantine = Quarantine(self.store, settings, self._consumed_partitions)
        self.relay = Relay(self.store, log, self.publishes, settings) if self.publishes else None

        def consumer(spec: ConsumerSpec) -> Consumer:
            made = Consumer(spec, self.store, log, self.quarantine, settings, discipline)
            made.observe = self._observed
            return made

        self._consumers = [consumer(spec) for spec in consumers]
        self._following = {
            projection.name: Following(
                Rebuild(projection, self.store, log, self.quarantine, settings, discipline), consumer
            )
            for projection in projections
        }
        for projection in projections:
            for slot in projection.slots:  # what was parked in a slot that is not live can be replayed too
                self.quarantine.register(projection.group(slot), Routes(projection.spec(slot).subscriptions))
        self.alarm = Alarm(self.store, clock, timers or {}, self.quarantine, settings)
        self.commits = 0
        self.observe: Callable[[str, int, float], None] | None = None
        """Told of each batch: consumer group, events, seconds."""
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.store.on_commit(self._count)

    @property
    def consumers(self) -> list[Consumer]:
        """Those of the specs and those of the projections' live slots."""
        return [*self._consumers, *(one.consumer for one in self._following.values() if one.consumer is not None)]

    async def rebuild(self, name: str, *, progress: Progress | None = None, accept_difference: bool = False) -> Rebuilt:
        """Build a projection again beside the live one and switch to it. Raises Differs, KeyError."""
        with collecting_seldom():
            return await self._following[name].rebuild(progress=progress, accept_difference=accept_difference)

    def _observed(self, group: str, events: int, seconds: float) -> None:
        if self.observe is not None:
            self.observe(group, events, seconds)

    def _count(self, what: Committed) -> None:
        self.commits += 1

    def _partitions_of(self, topic: str) -> int:
        try:
            return self._partitions[topic]
        except KeyError:
            raise LookupError(f"{self.service} does not publish to {topic}, or was not started") from None

    def _consumed_partitions(self, topic: str) -> int:
        counts = [consumer.partitions[topic] for consumer in self.consumers if topic in consumer.partitions]
        if not counts:
            raise StoreUnavailable(f"{self.service} has not met {topic} yet")
        return counts[0]

    async def start(self) -> None:
        """Start relay, consumers and timers. The log may be away when this service has met it before; LogError otherwise."""
        await self._learn_partitions()
        if self.relay is not None:
            self._run("relay", self.relay.run())
        for consumer in self._consumers:
            self._run(f"consumer {consumer.spec.group}", consumer.run())
        for name, following in self._following.items():
            await following.begin()
            self._run(f"projection {name}", following.run())
        self._run("timers", self.alarm.run())

    def _run(self, name: str, work: Coroutine[None, None, None]) -> None:
        self._tasks[name] = asyncio.create_task(work, name=f"{self.service} {name}")

    async def _learn_partitions(self) -> None:
        for topic in self.publishes:
            try:
                async with asyncio.timeout(10):
                    self._partitions[topic] = await self.log.partitions(topic)
            except (LogError, TimeoutError) as error:
                # The relay has noted every partition when it first met the log. Topics do not change their number.
                table = self.store.tables.relay_positions
                async with self.store.reading() as connection:
                    query = select(func.count()).select_from(table).where(table.c.topic == topic)
                    known = (await connection.execute(query)).scalar_one()
                if not known:
                    raise
                logger.warning("the log is away (%s); %s goes on from its store", error, self.service)
                self._partitions[topic] = known

    async def stop(self, deadline: float = 20.0) -> None:
        """Finish what is in hand, publish what is stored, let go; at most `deadline` seconds.

        In this order: consumers and timers end their batch and commit, group commits are answered, the relay flushes. What
        does not make it in time is cut off, which loses nothing: the next start goes on from the store.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + deadline
        for consumer in self._consumers:
            consumer.finish()
        for following in self._following.values():
            following.finish()
        self.alarm.finish()
        first = [task for name, task in self._tasks.items() if name != "relay"]
        closing = asyncio.create_task(self.group_commit.close())
        await asyncio.wait([*first, closing], timeout=max(end - loop.time() - deadline / 4, 0.1))
        if self.relay is not None:
            self.relay.finish()
            await asyncio.wait(
                [self._tasks["relay"]] if "relay" in self._tasks else [closing], timeout=max(end - loop.time(), 0.1)
            )
        late = [task for task in [*self._tasks.values(), closing] if not task.done()]
        for task in late:
            logger.warning("%s was cut off at the deadline", task.get_name())
            task.cancel()
        for task in [*self._tasks.values(), closing]:
            if task in late:
                await asyncio.wait([task], timeout=5)
            elif not task.cancelled() and (error := task.exception()) is not None:
                logger.warning("%s ended with %s: %s", task.get_name(), type(error).__name__, error)
        self._tasks.clear()

    async def status(self) -> Status:
        """Where the service stands. Raises when its database or the log is away."""
        moves = self.moves()
        quiet = self.quiet()
        behind, oldest_unread = await self._behind()
        pending, parked, oldest = await self._stored()
        age = [instant for instant in (oldest_unread, oldest) if instant is not None]
        seconds = max((self.clock.now() - min(age)).total_seconds(), 0.0) if age else 0.0
        # Idle holds for one instant, so nothing may have moved while the others were asked.
        still = quiet and self.quiet() and self.moves() == moves
        return Status(behind, pending, parked, seconds, still and behind == 0 and pending == 0)

    def quiet(self) -> bool:
        """Whether there is nothing left to do, as far as this process knows, which is all there is to know in the embedded
        mode. It asks nobody and does not wait, so that several services can be asked at one instant (`settle`)."""
        if not self._tasks or self._busy() or self.alarm.due:
            return False
        if self.relay is not None and self.relay.unpublished != 0 and not self.relay.standby:
            return False
        return all(consumer.quiet for consumer in self.consumers)

    @property
    def embedded(self) -> bool:
        """Whether the database is a file that only this process has open."""
        return self.engine.dialect.name == "sqlite"

    def _busy(self) -> bool:
        return (
            self.store.open_units > 0
            or self.group_commit.busy
            or any(consumer.busy for consumer in self.consumers)
            or self.alarm.busy
        )

    def moves(self) -> tuple[int, int, int]:
        """Counters that change whenever this process does something."""
        published = 0 if self.relay is None else self.relay.published
        return self.commits, published, sum(consumer.records for consumer in self.consumers)

    async def _behind(self) -> tuple[int, datetime | None]:
        """Log events not yet consumed, by the positions in the store, and when the oldest of them was recorded."""
        table = self.store.tables.offsets
        groups = [consumer.spec.group for consumer in self.consumers]
        if not groups:
            return 0, None
        async with self.store.reading() as connection:
            query = select(table).where(table.c.consumer_group.in_(groups))
            positions = {
                (row.consumer_group, TopicPartition(row.topic, row.partition)): row.next
                for row in await connection.execute(query)
            }
        ends = {
            TopicPartition(topic, number): end
            for topic in dict.fromkeys(topic for consumer in self.consumers for topic in consumer.spec.topics)
            for number, end in (await self.log.ends(topic)).items()
        }
        behind, oldest = 0, None
        for consumer in self.consumers:
            for tp, end in ends.items():
                if tp.topic in consumer.spec.topics:
                    at = positions.get((consumer.spec.group, tp), 0)
                    if at < end and (first := await self._first_after(tp, at, end)) is not None:
                        behind += end - at
                        oldest = first if oldest is None else min(oldest, first)
        return behind, oldest

    async def _first_after(self, tp: TopicPartition, at: int, end: int) -> datetime | None:
        """When the record at or after the offset was recorded; None where only transaction markers are left, which Kafka
        counts as offsets."""
        records = await self.log.read(tp, at, 1)
        return datetime.fromtimestamp(records[0].timestamp_ms / 1000, self.clock.now().tzinfo) if records else None

    async def _stored(self) -> tuple[int, int, datetime | None]:
        tables = self.store.tables
        async with self.store.reading() as connection:
            pending = (await connection.execute(select(func.count()).select_from(tables.outbox))).scalar_one()
            parked_query = select(func.count(), func.min(tables.quarantine.c.parked_at)).where(
                tables.quarantine.c.state == "parked"
            )
            parked, oldest = (await connection.execute(parked_query)).one()
            if pending:
                first = select(tables.events.c.recordedtime).join(
                    tables.outbox, tables.outbox.c.position == tables.events.c.position
                )
                unsent = (
                    await connection.execute(first.order_by(tables.outbox.c.position).limit(1))
                ).scalar_one_or_none()
                oldest = min((instant for instant in (oldest, unsent) if instant is not None), default=None)
        return pending, parked, oldest

    async def healthy(self) -> tuple[bool, str]:
        """Unhealthy is behind and not moving (or stopped by the breaker); being behind alone is work in progress."""
        for name, task in self._tasks.items():
            if task.done():
                return False, f"{name} has ended"
        paces: list[tuple[str, Pace]] = [
            (f"consumer {consumer.spec.group}", consumer.pace) for consumer in self.consumers
        ]
        paces.append(("timers", self.alarm.pace))
        if self.relay is not None:
            paces.append(("relay", self.relay.pace))
        for name, pace in paces:
            if pace.stopped:
                return False, f"{name} stopped: {pace.reason}"
        try:
            status = await self.status()
        except Exception as error:  # noqa: BLE001 - the answer is the reason
            return False, f"{type(error).__name__}: {error}"
        reasons = [f"{name}: {pace.reason}" for name, pace in paces if pace.reason is not None]
        still = min((pace.idle_seconds for _, pace in paces), default=0.0)
        if (status.behind or status.pending or self.alarm.due) and still > self.settings.stuck_after:
            return False, "; ".join(reasons) or f"behind and not moving for {still:.0f} s"
        return True, "; ".join(reasons)


async def settle(runtimes: Sequence[Runtime], timeout: float = 60.0) -> None:
    """Wait until nothing is left to do in any of these services; TimeoutError tells who is still at it.

    In one process on SQLite one look at all of them is an instant, so nothing can slip from one to the other in between.
    With other processes about, two looks at their databases and the log must agree that nothing moved.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + timeout
    alone = len({runtime.service for runtime in runtimes}) == len(runtimes)
    while True:
        if all(runtime.quiet() for runtime in runtimes):
            if alone and all(runtime.embedded for runtime in runtimes):
                return
            before = [runtime.moves() for runtime in runtimes]
            statuses = [await runtime.status() for runtime in runtimes for _ in range(2)]
            if all(status.idle for status in statuses) and before == [runtime.moves() for runtime in runtimes]:
                return
        if loop.time() > end:
            late = {runtime.service: await runtime.status() for runtime in runtimes if not runtime.quiet()}
            raise TimeoutError(f"not settled after {timeout} s: {late}")
        await asyncio.sleep(0.001)
