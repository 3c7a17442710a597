"""SQLite without threads: a statement runs where it is asked for, after the schedule let it. What is on disk is real."""

import asyncio
import sqlite3
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from libs.events.sqlite_driver import QuickConnection, QuickCursor

if TYPE_CHECKING:
    from libs.events.simulation.process import Process

BUSY_SECONDS = 10.0


class Disk:
    """One database file: who waits for its writer, and who looks at every commit."""

    def __init__(self, service: str, path: str, committed: Callable[[str], None]) -> None:
        self.service, self.path = service, path
        self._committed = committed
        self._waiting: list[asyncio.Future[None]] = []

    def changed(self, *, committed: bool = False) -> None:
        """A transaction ended."""
        if committed:
            self._committed(self.service)
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    async def freed(self, deadline: float) -> None:
        """Wait until another transaction ended, or until the deadline."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        try:
            async with asyncio.timeout_at(deadline):
                await future
        except TimeoutError:
            pass


class SteppedCursor(QuickCursor):
    _connection: "SteppedConnection"

    async def execute(self, sql: str, parameters: Any = ()) -> QuickCursor:
        if sql.startswith("PRAGMA busy_timeout"):
            return self  # a real wait would stop everybody; `SteppedConnection` waits in simulated time
        if sql == "BEGIN IMMEDIATE":
            sql = self._connection.process.variant.begin
            if not sql:
                return self  # the driver begins by itself, before the first write
        self._connection.gated = not sql.startswith("PRAGMA")
        return await super().execute(sql, parameters)


class SteppedConnection(QuickConnection):
    """One connection of a simulated process."""

    def __init__(self, process: "Process", disk: Disk, database: str, options: dict[str, Any]) -> None:
        options = {**options, "timeout": 0, "isolation_level": None if process.variant.begin else "DEFERRED"}
        super().__init__(lambda: sqlite3.connect(database, **options), iter_chunk_size=64)
        self.process, self.disk = process, disk
        self.gated = False
        self._written = 0  # total_changes at the last begin
        process.connections.append(self)

    def __await__(self) -> Any:
        if self.process.dead:  # nobody would close it
            raise asyncio.CancelledError
        self._connection = self._connector()
        yield from ()  # a generator, as whoever awaits wants one
        return self

    async def _execute(self, fn: Any, *args: Any, **kwargs: Any) -> Any:
        """What SQLAlchemy does to a new connection; everything else comes by `trip`."""
        return fn(*args, **kwargs)

    def cursor(self) -> Any:
        return SteppedCursor(self)

    async def trip(self, run: Any) -> Any:
        database = self._conn
        if self.gated and not database.in_transaction:
            await self.process.gate(f"{self.disk.service} begins")
            if self.process.fault("begin"):
                raise _disk_error()
            self._written = database.total_changes
        deadline = asyncio.get_running_loop().time() + BUSY_SECONDS
        while True:
            try:
                return run(self._conn)
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or asyncio.get_running_loop().time() >= deadline:
                    raise
            await self.disk.freed(deadline)
            await self.process.gate(f"{self.disk.service} was busy")

    async def commit(self) -> None:
        database = self._conn
        if not database.in_transaction:
            return
        if database.total_changes == self._written:
            database.commit()
            self.disk.changed()
            return
        try:
            await self.process.gate(f"{self.disk.service} commits")
        except asyncio.CancelledError:
            if not self.process.dead and self.process.coin():
                # The caller gave up; the database did not hear of it.
                database.commit()
                self.disk.changed(committed=True)
            raise
        fault = self.process.fault("commit")
        if fault == "lost":
            database.rollback()
            self.disk.changed()
            raise _disk_error()
        database.commit()
        self.disk.changed(committed=True)
        if fault == "unknown":
            raise _disk_error()

    async def rollback(self) -> None:
        if self._connection is not None and self._connection.in_transaction:
            self._connection.rollback()
            self.disk.changed()

    async def close(self) -> None:
        self.stop()

    def stop(self) -> None:
        """Close at once, as the end of a process does: what is not committed is gone."""
        database, self._connection = self._connection, None
        self._running = False
        if database is not None:
            database.close()
            self.disk.changed()


def _disk_error() -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR
    error.sqlite_errorname = "SQLITE_IOERR"
    return error
