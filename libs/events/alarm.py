"""The loop that fires timers: one per instance of a service, on the clock that was handed in."""

import asyncio
import contextlib
import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.events import faults
from libs.events.clock import Clock
from libs.events.errors import ConcurrencyConflict, describe, is_conflict, is_transient
from libs.events.log import Record
from libs.events.pace import Pace
from libs.events.quarantine import TIMERS, Failure, Quarantine, timer_bytes
from libs.events.settings import MachinerySettings
from libs.events.store import Committed, Store, Unit
from libs.events.timers import Timer, TimerHandler

logger = logging.getLogger("lazo.timers")

# A system clock may be set back or forth; nobody notices but by looking.
LONGEST_SLEEP = 60.0


class _Culprit(Exception):
    def __init__(self, timer: Timer, error: str) -> None:
        super().__init__(error)
        self.timer, self.error = timer, error


class Alarm:
    """Fires the timers of one service that are due. Firing deletes the row and calls the handler in one transaction; rows
    another instance is firing are passed over. A handler that fails for good has its timer parked after `attempts`."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        handlers: Mapping[str, TimerHandler],
        quarantine: Quarantine,
        settings: MachinerySettings,
    ) -> None:
        self.store, self.clock, self.settings = store, clock, settings
        self.handlers, self.quarantine = dict(handlers), quarantine
        quarantine.register_timers(self.handlers)
        self.pace = Pace(settings)
        self.busy = False
        self.fired = 0
        self.next_due: datetime | None = None  # as far as this process knows
        self.known = False  # whether next_due is what was read
        self._woken = asyncio.Event()
        self._stopping = False
        store.on_commit(self._committed)

    def _committed(self, what: Committed) -> None:
        if self._lower(what.earliest_due):
            self._woken.set()

    def _lower(self, instant: datetime | None) -> bool:
        if instant is None or (self.next_due is not None and self.next_due <= instant):
            return False
        self.next_due = instant
        return True

    @property
    def due(self) -> bool:
        """Whether something is due now, as far as this process knows."""
        return not self.known or (self.next_due is not None and self.next_due <= self.clock.now())

    def wake(self) -> None:
        """Look again: the clock was moved, or another process scheduled something."""
        self._woken.set()

    def finish(self) -> None:
        """End `run()` once the batch in hand is done."""
        self._stopping = True
        self._woken.set()
        self.pace.retry()

    async def run(self) -> None:
        """Fire what falls due, for ever."""
        while not self._stopping:
            try:
                self._woken.clear()
                await self.fire_due()
                self.pace.well()
                if not self._stopping:
                    await self._wait()
            except Exception as error:  # noqa: BLE001 - followed by a pause and another try
                logger.warning("timers of %s wait: %s: %s", self.store.service, type(error).__name__, error)
                await self.pace.back_off(error)

    async def fire_due(self) -> int:
        """Fire everything that is due now, earliest first; how many."""
        fired = 0
        try:
            while count := await self._batch():
                fired += count
                self.fired += count
                self.pace.moved()
                if self._stopping:
                    return fired  # a handler that always has something due would never let go
            await self._look()
        finally:
            self.busy = False
        return fired

    async def _batch(self) -> int:
        for _ in range(5):
            try:
                return await self._fire(self.settings.timers_batch)
            except ConcurrencyConflict as conflict:
                logger.info("timers of %s meet another writer: %s", self.store.service, conflict)
            except Exception as error:
                if is_conflict(error):
                    continue
                if is_transient(error):
                    raise
                logger.warning("timers of %s look for the culprit: %s", self.store.service, describe(error))
                break
        return await self._one_by_one()

    async def _fire(self, most: int) -> int:
        async with asyncio.timeout(self.settings.batch_deadline):
            async with self.store.handling() as connection:
                timers = await self._take(connection, most)
                if not timers:
                    return 0
                self.busy = True  # from here to the commit; looking in vain is not being busy
                faults.point("timer.claimed")
                unit = Unit(self.store, connection, self.clock.now(), None, "")
                for kind, group in _runs(timers):
                    unit.handler = kind
                    await self._handler(kind)(unit, group)
                await unit.flush()
                faults.point("timer.handled")
            faults.point("timer.committed")
            self.store.finished(unit)
            return len(timers)

    def _handler(self, kind: str) -> TimerHandler:
        try:
            return self.handlers[kind]
        except KeyError:
            raise LookupError(f"no handler for timers of kind {kind!r}") from None

    async def _one_by_one(self) -> int:
        """The first due timer alone, its attempt stored before; parked when its attempts are used up."""
        table = self.store.tables.timers
        async with self.store.writing() as connection:
            found = await self._peek(connection, 1)
            if not found:
                return 0
            timer = found[0]
            place = (table.c.kind == timer.kind, table.c.key == timer.key, table.c.id == timer.id)
            counted = update(table).where(*place).values(attempts=table.c.attempts + 1).returning(table.c.attempts)
            attempts = int((await connection.execute(counted)).scalar_one())
        faults.point("quarantine.attempted")
        error = f"the process ended while handling it, {attempts - 1} times"
        if attempts <= self.settings.attempts:
            opened: list[Any] = []
            try:
                async with asyncio.timeout(self.settings.batch_deadline):
                    async with self.store.unit(handler=timer.kind) as unit:
                        unit.opened = opened
                        gone = await unit.connection.execute(delete(table).where(*place))
                        if gone.rowcount:
                            await self._handler(timer.kind)(unit, [timer])
                return 1
            except Exception as failure:
                if is_transient(failure) or is_conflict(failure):
                    raise
                error = describe(failure, opened)
                if attempts < self.settings.attempts:
                    return 1  # and on to its next attempt
        async with self.store.writing() as connection:
            if (await connection.execute(delete(table).where(*place))).rowcount:
                due_ms = int(timer.due.timestamp() * 1000)
                record = Record(TIMERS, 0, due_ms, timer.id.encode(), timer_bytes(timer), (), due_ms)
                await self.quarantine.park(connection, TIMERS, [(record, None, Failure(timer.kind, error, attempts))])
        return 1

    async def _take(self, connection: AsyncConnection, most: int) -> list[Timer]:
        timers = await self._peek(connection, most)
        if timers:
            table = self.store.tables.timers
            await connection.execute(delete(table).where(table.c.id.in_([timer.id for timer in timers])))
        return timers

    async def _peek(self, connection: AsyncConnection, most: int) -> list[Timer]:
        table = self.store.tables.timers
        query = (
            select(table)
            .where(table.c.due <= self.clock.now())
            .order_by(table.c.due, table.c.kind, table.c.key)
            .limit(most)
            .with_for_update(skip_locked=True)  # left out on SQLite, whose writer is alone
        )
        return [
            Timer(
                row.id,
                row.kind,
                row.key,
                row.due,
                orjson.loads(row.data),
                row.correlationid,
                row.causationid,
                row.traceparent,
            )
            for row in await connection.execute(query)
        ]

    async def _look(self) -> None:
        """Learn when the next one is due."""
        self.next_due = None  # a commit from here on lowers it; what was committed before is in the answer
        self.known = False  # a clock that is moved meanwhile makes due what nobody knows of yet
        async with self.store.reading() as connection:
            found = (await connection.execute(select(func.min(self.store.tables.timers.c.due)))).scalar_one()
        self._lower(found)
        self.known = True

    async def _wait(self) -> None:
        """Until the next one is due by the clock, or somebody wakes the loop."""
        tasks: list[asyncio.Task[Any]] = [asyncio.create_task(self._woken.wait())]
        if self.next_due is not None:
            tasks.append(asyncio.create_task(self._sleep_until(self.next_due)))
        try:
            await asyncio.wait(tasks, timeout=LONGEST_SLEEP, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task

    async def _sleep_until(self, due: datetime) -> None:
        # How long is asked when the sleep begins, not when its task is made: a clock that is moved in between (a simulated
        # one jumps) would be slept past.
        left = (due - self.clock.now()).total_seconds()
        if left > 0:
            await self.clock.sleep(max(left, 0.001))


def _runs(timers: Sequence[Timer]) -> list[tuple[str, list[Timer]]]:
    """Neighbours of one kind together, so that kinds keep their order in time."""
    result: list[tuple[str, list[Timer]]] = []
    for timer in timers:
        if result and result[-1][0] == timer.kind:
            result[-1][1].append(timer)
        else:
            result.append((timer.kind, [timer]))
    return result
