"""The read model as a projection that can be built again beside the live one."""

from typing import Any

from sqlalchemy import Table, delete, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.events.catalogue.topics import ALL
from libs.events.rebuild import Projection, digest_of
from services.indicators.subscriptions import subscriptions
from services.indicators.tables import PROJECTION, SLOTS, VERSION, facts


def group_of(slot: str) -> str:
    """The consumer group that fills a slot."""
    return f"indicators.{PROJECTION}.{slot}"


async def clear(connection: AsyncConnection, slot: str) -> None:
    """Empty a slot's tables."""
    tables = facts(slot).all()
    if connection.dialect.name == "postgresql":
        # Deleting ten million rows takes minutes and leaves them for the vacuum; this is instant and rolls back as well.
        await connection.execute(text(f"TRUNCATE {', '.join(table.name for table in tables)}"))
        return
    for table in tables:
        await connection.execute(delete(table))


async def digest(connection: AsyncConnection, slot: str, known: int | None = None) -> str:
    """A hash over everything in a slot's tables, in whatever order it was written; with `known` (microseconds since 1970)
    over what had been recorded by then."""
    if known is None:
        return await digest_of(connection, facts(slot).all())
    return await digest_of(connection, [_known(table, slot, known) for table in facts(slot).all()])


def _known(table: Table, slot: str, known: int) -> Any:
    statement = select(table)
    if "recorded_at" in table.c:
        return statement.where(table.c.recorded_at <= known).subquery()
    i = facts(slot).interactions  # texts stand beside their contact, which has the time
    return statement.join(i, i.c.interaction_id == table.c.interaction_id).where(i.c.recorded_at <= known).subquery()


def projection(batch: int = 5_000) -> Projection:
    """The one projection of this service; `batch` events are taken in one transaction."""
    return Projection(
        name=PROJECTION,
        version=VERSION,
        topics=ALL,
        group=group_of,
        subscriptions=subscriptions,
        clear=clear,
        digest=digest,
        slots=SLOTS,
        max_records=batch,
    )
