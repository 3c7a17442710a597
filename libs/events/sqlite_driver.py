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


class QuickCursor:
    """A cursor that holds the rows of its last statement. Made and closed without a trip."""

    def __init__(self, connection: "QuickConnection") -> None:
        self._connection = connection
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
        def run(database: sqlite3.Connection) -> tuple[list[Any], Any, int, int | None]:
            cursor = database.execute(sql, parameters)
            try:
                rows = cursor.fetchall() if cursor.description else []
                return rows, cursor.description, cursor.rowcount, cursor.lastrowid
            finally:
                cursor.close()

        self._rows, self.description, self.rowcount, self.lastrowid = await self._connection.trip(run)
        self._at = 0
        return self

    async def executemany(self, sql: str, parameters: Iterable[Any]) -> "QuickCursor":
        def run(database: sqlite3.Connection) -> int:
            cursor = database.executemany(sql, parameters)
            try:
                return cursor.rowcount
            finally:
                cursor.close()

        self.rowcount = await self._connection.trip(run)
        self._rows, self.description, self._at = [], None, 0
        return self

    async def fetchone(self) -> Any:
        found = await self.fetchmany(1)
        return found[0] if found else None

    async def fetchmany(self, size: int | None = None) -> list[Any]:
        start, self._at = self._at, self._at + (size or self.arraysize)
        return self._rows[start : self._at]

    async def fetchall(self) -> list[Any]:
        start, self._at = self._at, len(self._rows)
        return self._rows[start:]

    async def close(self) -> None:
        self._rows = []


class QuickConnection(aiosqlite.Connection):
    """aiosqlite's connection and thread, with cursors of one trip."""

    def cursor(self) -> Any:
        return QuickCursor(self)

    async def trip(self, run: Any) -> Any:
        """Run a function of the SQLite connection in its thread."""
        execute: Any = self._execute  # untyped in aiosqlite
        return await execute(run, self._conn)

    async def rollback(self) -> None:
        # The pool rolls back whatever comes home; mostly there is nothing to roll back. Nobody else uses the connection
        # meanwhile, so asking from this thread is safe.
        if self._conn.in_transaction:
            await super().rollback()


def connect(database: str, **options: Any) -> QuickConnection:
    """For SQLAlchemy's `async_creator_fn`: awaited by it, like `aiosqlite.connect`."""
    connection = QuickConnection(cast("Any", partial(sqlite3.connect, database, **options)), iter_chunk_size=64)
    connection._thread.daemon = True  # noqa: SLF001 - as SQLAlchemy does with the connections it makes
    return connection
