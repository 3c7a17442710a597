"""The consumer's loop: poll, handle, tell; and what it does when any of them fails."""

import asyncio
import logging
from collections.abc import Callable, Mapping

from libs.events import faults
from libs.events.alone import alone
from libs.events.consumer.batch import read_batch
from libs.events.consumer.discipline import Discipline
from libs.events.consumer.handling import BreakerOpen, Handling
from libs.events.errors import Zombie, is_conflict
from libs.events.horizon import horizon, seen
from libs.events.log import Log, LogError, Member, Record, TopicPartition
from libs.events.pace import Pace
from libs.events.quarantine import Quarantine
from libs.events.settings import MachinerySettings
from libs.events.store import Store
from libs.events.subscriptions import ConsumerSpec, Routes

logger = logging.getLogger("lazo.consumer")

Found = Mapping[TopicPartition, list[Record]]


class Consumer:
    """One member of a service's consumer group. `run()` until cancelled or `finish()`ed."""

    def __init__(
        self,
        spec: ConsumerSpec,
        store: Store,
        log: Log,
        quarantine: Quarantine,
        settings: MachinerySettings,
        discipline: Discipline | None = None,
    ) -> None:
        self.spec, self.store, self.log, self.settings = spec, store, log, settings
        self.discipline = discipline or Discipline()
        self.routes = Routes(spec.subscriptions)
        self.quarantine = quarantine
        quarantine.register(spec.group, self.routes)
        self.handling = Handling(store, spec.group, self.routes.subscriptions, quarantine, self.discipline, settings)
        self.pace = Pace(settings)
        self.positions: dict[TopicPartition, int] = {}
        self.partitions: dict[str, int] = {}  # of each topic
        self.busy = True  # until positioned; then from the records of a poll to the commit
        self.records = 0
        self.observe: Callable[[str, int, float], None] | None = None  # told group, events, seconds of each batch
        self._stopping = False
        self._poll: asyncio.Task[dict[TopicPartition, list[Record]]] | None = None
        self._told = 0.0

    def finish(self) -> None:
        """Let the batch in hand finish, then end `run()`."""
        self._stopping = True
        self.pace.retry()
        if self._poll is not None:
            self._poll.cancel()

    @property
    def quiet(self) -> bool:
        """Positioned, nothing in hand, and at the end of the log as far as this process knows it."""
        ends = horizon(self.log)
        return not self.busy and all(at >= ends.get(tp, 0) for tp, at in self.positions.items())

    def resume(self) -> None:
        """Try again after the breaker stopped it, or end a pause early."""
        self.pace.stopped = False
        self.pace.retry()

    async def run(self) -> None:
        """Consume for ever. Any failure ends in new positions from the store, or in a new member."""
        if not self.spec.exclusive:
            await self._members()
            return
        while not self._stopping:
            try:
                async with alone(self.store, f"consumer-{self.spec.group}") as only:
                    if only:
                        await self._members()
                        continue
            except Exception as error:  # noqa: BLE001 - the database is away: the same pause as for any other failure
                logger.warning("consumer %s cannot take its lock: %s", self.spec.group, type(error).__name__)
                await self.pace.back_off(error)
            self.busy = False  # another instance has it all in hand
            await asyncio.sleep(self.settings.standby_poll)

    async def _members(self) -> None:
        while not self._stopping:
            self.busy = True
            member = self.log.member(self.spec.group, self.spec.topics)
            try:
                async with asyncio.timeout(self.settings.batch_deadline):
                    await member.start()
                    await self.quarantine.release_orphans(self.spec.group)
                await self._consume(member)
            except Exception as error:  # noqa: BLE001 - every failure is followed by a pause and a new member
                logger.warning("consumer %s starts again: %s: %s", self.spec.group, type(error).__name__, error)
                await self.pace.back_off(error)
            finally:
                try:
                    async with asyncio.timeout(5):
                        await member.stop()
                except TimeoutError:
                    logger.warning("consumer %s left its group without a goodbye", self.spec.group)

    async def _consume(self, member: Member) -> None:
        while not self._stopping:
            await self.position(member)
            found = await self._next(member)
            if found is None:
                return
            if not found:
                self.busy = bool(member.unpositioned())  # a member that owns nothing is not busy either
                self.pace.well()
                continue
            self.busy = True
            faults.point("consumer.polled")
            try:
                await self.step(member, found)
                await self.pace.rest(sum(map(len, found.values())), self.store, self.spec.patience)
            except Zombie as error:
                logger.info("consumer %s: %s", self.spec.group, error)
                await self.position(member, again=True)
            except BreakerOpen as error:
                await self._stop_until_resumed(error)
                await self.position(member, again=True)
            except LogError:
                raise
            except Exception as error:  # noqa: BLE001 - followed by a pause and new positions
                if not is_conflict(error):
                    logger.warning("consumer %s waits: %s: %s", self.spec.group, type(error).__name__, error)
                    await self.pace.back_off(error)
                # Whether the commit took effect may be unknown: the store's positions tell.
                await self.position(member, again=True)

    async def _next(self, member: Member) -> Found | None:
        """The next records; None when stopping. `finish()` interrupts the wait, never the handling."""
        self._poll = asyncio.ensure_future(member.poll(self.spec.max_records, self.settings.poll_timeout))
        try:
            async with asyncio.timeout(self.settings.poll_timeout + 30):
                return await self._poll
        except asyncio.CancelledError:
            if self._stopping and not self._cancelled_from_outside():
                return None
            raise
        finally:
            self._poll = None

    @staticmethod
    def _cancelled_from_outside() -> bool:
        task = asyncio.current_task()
        return task is not None and task.cancelling() > 0

    async def position(self, member: Member, *, again: bool = False) -> None:
        """Seek newly assigned partitions, or all of them, to where the store says."""
        owned = member.assigned()
        wanted = owned if again else member.unpositioned()
        for gone in self.positions.keys() - owned:
            del self.positions[gone]
        if not wanted:
            return
        faults.point("rebalance.assigned")
        self.busy = True
        async with asyncio.timeout(self.settings.batch_deadline):
            positions = await self.discipline.positions(self.store, self.spec.group, sorted(wanted, key=str))
            for topic in {tp.topic for tp in wanted} - self.partitions.keys():
                self.partitions[topic] = await self.log.partitions(topic)
            await member.seek(positions)
            if self.log.gapless:
                # Elsewhere the end may be a marker's, which is never reached: nobody there would be idle until the next
                # event. What is behind there is asked of the log (`Runtime.status`).
                for tp, end in (await member.ends(wanted)).items():
                    seen(self.log, tp, end)
        self.positions.update(positions)
        self.busy = False
        faults.point("rebalance.sought")

    async def step(self, member: Member, found: Found) -> None:
        """Handle what a poll gave, in one transaction unless a culprit must be found."""
        started = asyncio.get_running_loop().time()
        # A partition that was taken away while the poll was under way has no position any more, and is no longer ours.
        # What is delivered again is passed over, or it would take the position back with it.
        records = {
            tp: later
            for tp, batch in found.items()
            if (at := self.positions.get(tp)) is not None and (later := [one for one in batch if one.offset >= at])
        }
        if not records:
            self.busy = False
            return
        batch = await read_batch(records, self.positions, self.partitions, self.routes)
        reached = {tp: following for tp, (_, following) in batch.moves.items()}
        if self.discipline.hint_first:
            await member.hint(reached)
        async with asyncio.timeout(self.settings.batch_deadline):
            await self.handling.handle(batch)
        self.positions.update(reached)
        self.records += batch.size
        if self.observe is not None:
            self.observe(self.spec.group, batch.size, asyncio.get_running_loop().time() - started)
        self.pace.moved()
        self.busy = False
        await self._hint(member)

    async def _hint(self, member: Member) -> None:
        """Tell lag tools; best effort, and not more often than they look."""
        now = asyncio.get_running_loop().time()
        if now - self._told < self.settings.hint_every:
            return
        self._told = now
        try:
            async with asyncio.timeout(5):
                await member.hint(dict(self.positions))
        except (LogError, TimeoutError) as error:
            logger.debug("the hint of %s was lost: %s", self.spec.group, error)
        faults.point("consumer.hinted")

    async def _stop_until_resumed(self, error: BreakerOpen) -> None:
        logger.error("consumer %s stops: %s", self.spec.group, error)
        self.pace.stopped = True
        while self.pace.stopped and not self._stopping:
            await self.pace.back_off(error, least=3600)
