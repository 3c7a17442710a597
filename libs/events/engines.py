"""Database engines under the rules on which the store's promises rest.

SQLite: WAL, `synchronous=FULL` (NORMAL may lose the last commits when power fails), `busy_timeout`, foreign keys,
`secure_delete` (erased keys are overwritten), and writers that begin with `BEGIN IMMEDIATE`: the driver's default begins
late and loses updates silently when two connections read, then write. Readers say `execution_options(lazo_read=True)`,
get plain `BEGIN` and one snapshot. PostgreSQL: a schema per service by `search_path`, timeouts on statements and on idle
transactions, and the same one snapshot for readers.
"""

import asyncio
import re
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, event, make_url
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from libs.events import sqlite_driver

BUSY_TIMEOUT_MS = 10_000
STATEMENT_TIMEOUT_MS = 30_000
IDLE_IN_TRANSACTION_TIMEOUT_MS = 60_000
LOCK_TIMEOUT_MS = 10_000

_NAME = re.compile(r"^[a-z][a-z0-9_]{0,40}$")
_locks: WeakKeyDictionary[AsyncEngine, asyncio.Lock] = WeakKeyDictionary()


def make_engine(
    target: str | Path,
    *,
    service: str,
    pool_size: int = 8,
    for_migrations: bool = False,
    echo: bool = False,
) -> AsyncEngine:
    """An engine for a SQLite file (a path, or `sqlite:///…`) or a PostgreSQL URL, in which `service` has its own schema.

    `for_migrations` lifts the statement timeout and, on SQLite, foreign keys (a table that is rebuilt is dropped first);
    whoever asks for it runs `PRAGMA foreign_key_check` before committing. Raises ValueError for any other database.
    """
    if not _NAME.match(service):
        raise ValueError(f"a service's name is lower case letters, digits and _, not {service!r}")
    if isinstance(target, Path) or "://" not in target:
        return _sqlite(URL.create("sqlite+aiosqlite", database=str(target)), pool_size, for_migrations, echo)
    url = make_url(target)
    match url.get_backend_name():
        case "sqlite":
            return _sqlite(url.set(drivername="sqlite+aiosqlite"), pool_size, for_migrations, echo)
        case "postgresql":
            return _postgres(url.set(drivername="postgresql+asyncpg"), service, pool_size, for_migrations, echo)
        case other:
            raise ValueError(f"{other} is not supported: use postgresql+asyncpg://… or a SQLite file")


def _patiently(cursor: Any, statement: str) -> None:
    """Processes that open a new file at once switch it to WAL at once; SQLite refuses all but one without asking the busy
    handler. The others come again, a second at most."""
    for _ in range(50):
        try:
            cursor.execute(statement)
        except sqlite3.OperationalError as error:
            if "locked" not in str(error):
                raise
            time.sleep(0.02)
        else:
            return
    cursor.execute(statement)


def _sqlite(url: URL, pool_size: int, for_migrations: bool, echo: bool) -> AsyncEngine:
    if not url.database or url.database == ":memory:":
        raise ValueError("SQLite databases are files here: several connections must see the same one")
    pool: dict[str, Any] = (
        {"poolclass": NullPool} if for_migrations else {"pool_size": pool_size, "max_overflow": 8, "pool_timeout": 10}
    )
    engine = create_async_engine(
        url,
        connect_args={
            "isolation_level": None,
            "timeout": BUSY_TIMEOUT_MS / 1000,
            "async_creator_fn": sqlite_driver.connect,
        },
        hide_parameters=True,
        echo=echo,
        **pool,
    )

    @event.listens_for(engine.sync_engine, "connect")
    def configure(connection: Any, record: Any) -> None:
        cursor = connection.cursor()
        for pragma in (
            f"busy_timeout={BUSY_TIMEOUT_MS}",  # first: switching to WAL itself may have to wait
            "journal_mode=WAL",
            "synchronous=FULL",
            f"foreign_keys={'OFF' if for_migrations else 'ON'}",
            "secure_delete=ON",
            "temp_store=MEMORY",  # a spilled sort must not leave a person's words in a temporary file
            "cache_size=-16000",
        ):
            _patiently(cursor, f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Connection) -> None:
        options = connection.get_execution_options()
        if not options.get("lazo_glance", False):
            connection.exec_driver_sql("BEGIN" if options.get("lazo_read", False) else "BEGIN IMMEDIATE")

    return engine


def _postgres(url: URL, service: str, pool_size: int, for_migrations: bool, echo: bool) -> AsyncEngine:
    pool: dict[str, Any] = (
        {"poolclass": NullPool}
        if for_migrations
        else {"pool_size": pool_size, "max_overflow": 4, "pool_timeout": 10, "pool_recycle": 1800}
    )
    engine = create_async_engine(
        url,
        connect_args={
            "server_settings": {
                "application_name": f"lazo-{service}",
                "search_path": service,
                "statement_timeout": "0" if for_migrations else str(STATEMENT_TIMEOUT_MS),
                "idle_in_transaction_session_timeout": str(IDLE_IN_TRANSACTION_TIMEOUT_MS),
                "lock_timeout": "0" if for_migrations else str(LOCK_TIMEOUT_MS),
                "jit": "off",  # compiling costs tens of milliseconds on statements that take one
                "timezone": "UTC",
            },
            "timeout": 10,
        },
        hide_parameters=True,
        echo=echo,
        **pool,
    )

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Connection) -> None:
        if connection.get_execution_options().get("lazo_read", False):
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")

    return engine


@asynccontextmanager
async def writing(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """One write transaction, committed at exit.

    On SQLite the writers of one process queue here, first come first served. Its own busy handler polls with pauses of up
    to 100 ms and starves the unlucky; it remains for writers in other processes.
    """
    if engine.dialect.name != "sqlite":
        async with engine.begin() as connection:
            yield connection
        return
    lock = _locks.get(engine)
    if lock is None:
        lock = _locks[engine] = asyncio.Lock()
    async with lock, engine.begin() as connection:
        yield connection


@asynccontextmanager
async def reading(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """One read transaction: every statement sees the same snapshot."""
    async with engine.connect() as plain:
        connection = await plain.execution_options(lazo_read=True)
        async with connection.begin():
            yield connection


@asynccontextmanager
async def glancing(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """For one reading statement, or several that need not agree: each sees a snapshot of its own. On PostgreSQL this is one
    trip to the server instead of four, on SQLite one to the thread instead of three."""
    async with engine.connect() as plain:
        options: dict[str, Any] = {"lazo_glance": True}
        if engine.dialect.name != "sqlite":
            options["isolation_level"] = "AUTOCOMMIT"
        yield await plain.execution_options(**options)


async def truncate_wal(engine: AsyncEngine, *, attempts: int = 20, pause: float = 0.05) -> bool:
    """Copy the write-ahead log into the SQLite file and empty it, so that overwritten pages are gone from disk.

    False when readers held it back throughout (`attempts` × `pause` seconds); True on PostgreSQL, which has no such file.
    """
    if engine.dialect.name != "sqlite":
        return True
    async with engine.connect() as connection:
        raw = await connection.get_raw_connection()
        driver = raw.driver_connection
        assert driver is not None
        await driver.execute("PRAGMA busy_timeout=100")
        try:
            for _ in range(attempts):
                cursor = await driver.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                row = await cursor.fetchone()
                await cursor.close()
                if row is not None and row[0] == 0:
                    return True
                await asyncio.sleep(pause)
            return False
        finally:
            await driver.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
