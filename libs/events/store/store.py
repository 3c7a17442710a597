"""The store: a service's append-only events, in its own database, which is also its outbox."""

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime

from sqlalchemy import MetaData, delete
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from libs.events.clock import Clock
from libs.events.engines import glancing, reading, writing
from libs.events.envelope import Event
from libs.events.log import partition_of
from libs.events.store.dialect import dialect_of
from libs.events.store.drafts import Cause
from libs.events.store.unit import Unit
from libs.events.tables import machinery
from libs.events.vault import Vault

# The machinery's own handle on its tables; a service declares the same ones in its metadata for its migrations.
TABLES = machinery(MetaData())


class Committed:
    """What a write transaction left behind, told to whoever waits for it."""

    __slots__ = ("appended", "earliest_due", "timers_changed")

    def __init__(self, appended: int, *, timers_changed: bool = False, earliest_due: datetime | None = None) -> None:
        self.appended = appended
        self.timers_changed = timers_changed
        self.earliest_due = earliest_due


class Store:
    """Appends and reads the events of one service. `partitions(topic)` says how many partitions the topic has."""

    def __init__(
        self, engine: AsyncEngine, service: str, clock: Clock, vault: Vault, partitions: Callable[[str], int]
    ) -> None:
        self.engine = engine
        self.service = service
        self.source = f"/lazo/{service}"
        self.clock = clock
        self.vault = vault
        self.tables = TABLES
        self.dialect = dialect_of(engine.dialect.name)
        self._partitions = partitions
        # On PostgreSQL several instances handle partitions of one service side by side. A handler that reads a row and
        # writes it back would lose the other's update under READ COMMITTED; here it fails with 40001 and runs again.
        self._handling = (
            engine if engine.dialect.name == "sqlite" else engine.execution_options(isolation_level="REPEATABLE READ")
        )
        self._listeners: list[Callable[[Committed], None]] = []
        self.open_units = 0  # begun and not yet told to the listeners

    def partition(self, topic: str, key: str) -> int:
        """The partition of a key in the topic, as the log will have it."""
        return partition_of(key.encode(), self._partitions(topic))

    def on_commit(self, listener: Callable[[Committed], None]) -> None:
        """Call `listener` after each commit of this process; it must be quick and must not raise."""
        self._listeners.append(listener)

    def committed(self, what: Committed) -> None:
        """Tell the listeners."""
        for listener in self._listeners:
            listener(what)

    @asynccontextmanager
    async def unit(self, *, cause: Event | Cause | None = None, handler: str | None = None) -> AsyncIterator[Unit]:
        """One write transaction: what was emitted is written and committed at exit, and the relay is woken; an exception
        leaves nothing. With `handler`, as handlers and timers have it, ids are derived from cause, handler and index.

        Raises ConcurrencyConflict at exit when a stream is not at the version expected of it.
        """
        engine = self.engine if handler is None else self._handling
        self.open_units += 1
        try:
            async with writing(engine) as connection:
                unit = Unit(self, connection, self.clock.now(), cause, handler)
                yield unit
                await unit.flush()
            self.finished(unit)
        finally:
            self.open_units -= 1

    def finished(self, unit: Unit) -> None:
        """To be called once the unit's transaction is committed."""
        self.committed(Committed(unit.appended, timers_changed=unit.timers_changed, earliest_due=unit.earliest_due))

    def handling(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A write transaction for the consumer and the timers, which make their units themselves."""
        return writing(self._handling)

    def writing(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A plain write transaction."""
        return writing(self.engine)

    def reading(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A read transaction: every statement sees the same snapshot."""
        return reading(self.engine)

    def glancing(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """For one reading statement, which needs no transaction around it."""
        return glancing(self.engine)

    async def keys_of(self, people: Iterable[str]) -> dict[str, bytes]:
        wanted = list(people)
        return await self.vault.keys(wanted) if wanted else {}

    async def take_back(self, connection: AsyncConnection, positions: Sequence[int]) -> None:
        """Remove rows that this very transaction inserted."""
        if positions:
            await connection.execute(delete(self.tables.outbox).where(self.tables.outbox.c.position.in_(positions)))
            await connection.execute(delete(self.tables.events).where(self.tables.events.c.position.in_(positions)))
