"""One instance of a kind at a time: the relay of a service, a consumer that needs all facts together. The others stand by.

It keeps instances from overtaking each other by turns. What is correct does not hang on it, but on the fence and the
compare-and-set: a lock is lost without notice when its connection breaks.
"""

import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import text

from libs.events.store import Store


@asynccontextmanager
async def alone(store: Store, role: str) -> AsyncIterator[bool]:
    """Whether this is the service's one instance in this role, for as long as the context lasts.

    A lock file beside SQLite, a session advisory lock on PostgreSQL. Raises OSError or what the database raises.
    """
    if store.engine.dialect.name == "sqlite":
        descriptor = os.open(f"{store.engine.url.database}.{role}", os.O_CREAT | os.O_RDWR, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True
        finally:
            os.close(descriptor)
        return
    async with store.engine.connect() as plain:
        connection = await plain.execution_options(isolation_level="AUTOCOMMIT")
        key = {"name": f"lazo-{role}-{store.service}"}
        query = "SELECT pg_try_advisory_lock(hashtextextended(current_schema() || :name, 0))"
        got = (await connection.execute(text(query), key)).scalar_one()
        try:
            yield bool(got)
        finally:
            # The session goes back to the pool; the lock must not stay with it. A broken one lost it anyway.
            await connection.invalidate()
