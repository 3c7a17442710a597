"""One trip to the thread per statement.

aiosqlite makes four: cursor, execute, fetchall, close. Each wakes a thread and then the loop (50-100 µs, and far more while the
loop is busy), so a transaction of eight statements spent two milliseconds on trips. Here a statement is executed, its rows
are fetched and its cursor is closed in one go.
"""

import sqlite3
from collections.abc import Iterable
from functools import partial
from typing import Any, Self, cast

import aiosqlite

# Rows that come along with the statement. Whoever streams a large result has the rest fetched as it goes.
FIRST_ROWS = 1_000


class QuickCursor:
    """A cursor that holds the first rows of its last statement. Made without a trip, and closed without one as a rule."""

    def __init__(self, connection: "QuickConnection") -> None:
        self._connection = connection
        self._open: sqlite3.Cursor | None = None  # there may be more rows
        self._rows: list[Any] = []
        self._at = 0
        self.description: Any = None
        self.rowcount = -1
        self.lastrowid: int | None = None
        self.arraysize = 1

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    async def execute(self, sql: str, parameters: Any = ()) -> "QuickCursor":
        def run(database: sqlite3.Connection) -> tuple[sqlite3.Cursor | None, list[Any], Any, int, int | None]:
            cursor = database.execute(sql, parameters)
            rows = cursor.fetchmany(FIRST_ROWS) if cursor.description else []
            found = rows, cursor.description, cursor.rowcount, cursor.lastrowid
            if len(rows) == FIRST_ROWS:
                return cursor, *found
            cursor.close()
            return None, *found

        await self.close()
        found = await self._connection.trip(run)
        self._open, self._rows, self.description, self.rowcount, self.lastrowid = found
        return self

    async def executemany(self, sql: str, parameters: Iterable[Any]) -> "QuickCursor":
        def run(database: sqlite3.Connection) -> int:
            cursor = database.executemany(sql, parameters)
            try:
                return cursor.rowcount
            finally:
                cursor.close()

        await self.close()
        self.rowcount = await self._connection.trip(run)
        self.description = None
        return self

    async def fetchone(self) -> Any:
        found = await self.fetchmany(1)
        return found[0] if found else None

    async def fetchmany(self, size: int | None = None) -> list[Any]:
        wanted = size or self.arraysize
        if self._open is not None and len(self._rows) - self._at < wanted:
            cursor = self._open
            more = await self._connection.trip(lambda _: cursor.fetchmany(max(wanted, FIRST_ROWS)))
            self._rows = self._rows[self._at :] + more
            self._at = 0
            if len(more) < max(wanted, FIRST_ROWS):
                await self._finish()
        start, self._at = self._at, self._at + wanted
        return self._rows[start : self._at]

    async def fetchall(self) -> list[Any]:
        found = self._rows[self._at :]
        if self._open is not None:
            cursor = self._open
            found += await self._connection.trip(lambda _: cursor.fetchall())
            await self._finish()
        self._rows, self._at = [], 0
        return found

    async def close(self) -> None:
        self._rows, self._at = [], 0
        if self._open is not None:
            await self._finish()

    async def _finish(self) -> None:
        cursor, self._open = self._open, None
        if cursor is not None:
            await self._connection.trip(lambda _: cursor.close())


class QuickConnection(aiosqlite.Connection):
    """aiosqlite's connection and thread, with cursors of one trip."""

    # Trips asked for (written by the loop alone) and done (written by the thread alone).
    _asked = 0
    _done = 0

    def cursor(self) -> Any:
        return QuickCursor(self)

    async def trip(self, run: Any) -> Any:
        """Run a function of the SQLite connection in its thread."""
        self._asked += 1

        def counted(database: sqlite3.Connection) -> Any:
            try:
                return run(database)
            finally:
                self._done += 1

        execute: Any = self._execute  # untyped in aiosqlite
        return await execute(counted, self._conn)

    async def rollback(self) -> None:
        # The pool rolls back whatever comes home; mostly there is nothing to roll back, which can be seen from here. Not
        # while a statement is under way whose caller was cancelled: a BEGIN that the thread has not come to yet would leave
        # a write transaction open in the pool, and every writer after it would wait in vain.
        if self._asked != self._done or self._conn.in_transaction:
            await super().rollback()


def connect(database: str, **options: Any) -> QuickConnection:
    """For SQLAlchemy's `async_creator_fn`: awaited by it, like `aiosqlite.connect`."""
    connection = QuickConnection(cast("Any", partial(sqlite3.connect, database, **options)), iter_chunk_size=64)
    connection._thread.daemon = True  # noqa: SLF001 - as SQLAlchemy does with the connections it makes
    return connection
