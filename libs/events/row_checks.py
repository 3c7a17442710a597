"""Whether a service's tables are what its own events account for: the part of `lazo verify` that services share.

A table whose rows stand for streams (a case, a finding, a source) has a row for each stream and none besides.
"""

from collections.abc import Sequence

from sqlalchemy import Column, Table, func, literal, select
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.events.store.store import TABLES
from libs.events.verification import Break

FEW = 5  # rows of a table named one by one; more of the same say nothing new


def row_breaks(
    where: str, missing: Sequence[str], foreign: Sequence[str], foreign_count: int | None = None
) -> list[Break]:
    """The breaks of one table: rows that are missing or differ, by the event or key they stand for, and rows that nothing
    accounts for (`foreign` may be the first few of `foreign_count`)."""
    found = [Break(where, "row-differs", {"row": row}) for row in missing[:FEW]]
    if len(missing) > FEW:
        found.append(Break(where, "rows-differ", {"count": len(missing) - FEW}))
    if foreign:
        count = len(foreign) if foreign_count is None else foreign_count
        found.append(Break(where, "rows-foreign", {"rows": ", ".join(foreign[:FEW]), "count": count}))
    return found


async def stream_rows(
    connection: AsyncConnection, service: str, table: Table, column: Column[str], prefix: str
) -> list[Break]:
    """Every stream `prefix<id>` has its row in the table and every row its stream. Two anti-joins in the database: what they
    cost grows with the streams, what is read with the breaks."""
    streams, start = TABLES.events.c.stream, len(prefix) + 1
    of_stream = func.substr(streams, start)
    row = select(literal(1)).where(column == of_stream).correlate(TABLES.events).exists()
    # LIKE would read the underscores and percent signs of a prefix its own way.
    own = (func.substr(streams, 1, len(prefix)) == prefix) & (TABLES.events.c.version == 1)
    missing = select(of_stream).where(own, ~row).order_by(of_stream)
    event = select(literal(1)).where(streams == literal(prefix).concat(column)).correlate(table).exists()
    foreign = select(column).where(~event).order_by(column)
    return row_breaks(
        f"{service}/{table.name}",
        [str(value) for value in (await connection.execute(missing)).scalars()],
        [str(value) for value in (await connection.execute(foreign)).scalars()],
    )
