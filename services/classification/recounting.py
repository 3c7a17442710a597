"""Series that are watched from now on are counted from all contacts there are: after a change of the setting, after an upgrade (R27).

That is done in pieces, customer by customer, and a process that is killed goes on where it was: a million contacts take longer than a batch
may last. Which series the sums hold, and up to whom, is written down beside the watermarks. What is no longer watched is not kept up, and its sums are made anew
should it be watched again.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from typing import Any

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.events import bulk
from libs.events.bulk import rows_of
from libs.events.offload import offload
from services.classification import tables
from services.classification.bounding import FREE, MOST, OTHER
from services.classification.counting import Counted, SliceDay, fold
from services.classification.domain.slices import BASE, PEERS, Series

COUNTED = "series"
"""Name of its row among the watermarks."""
BEGUN = ">"
AT_ONCE = 4_000
"""Contacts of a piece: a third of a second."""
_NEVER = date(1970, 1, 1)

logger = logging.getLogger("lazo.classification")


Cursors = dict[str, str]
"""Per series whose sums are under way: up to which customer, in the order of code points, they are made."""


async def uncounted(connection: AsyncConnection, watched: Sequence[Series]) -> list[str]:
    """Names of series whose sums are not made, or not to their end."""
    seen, _ = await _seen(connection)
    return [one.name for one in _wanted(watched).values() if seen.get(one.counts, BEGUN)]


async def recount(
    connection: AsyncConnection, watched: Sequence[Series], enough: Callable[[], bool] = lambda: False
) -> Cursors:
    """Make the sums of series that are not kept up yet, as far as the time lasts: `enough` is asked after each piece. How far they are
    then, nothing where all are made; called again, also by another process, it goes on from there.

    Meanwhile what comes is counted in such a series only where its customer is among those that are done."""
    wanted, (seen, written) = _wanted(watched), await _seen(connection)
    new = {name: one for name, one in wanted.items() if seen.get(name, BEGUN)}
    under_way = {name: cursor for name, cursor in seen.items() if cursor}
    cursor = None
    if new:
        cursor = next(iter(under_way.values()))[1:] if under_way.keys() == new.keys() else None
        if cursor is None:
            cursor = await _begin(connection, list(new.values()))
        while cursor is not None:
            cursor = await _piece(connection, list(new.values()), cursor)
            if enough():
                break
    now = {name: BEGUN + cursor if cursor is not None and name in new else "" for name in sorted(wanted)}
    if now != seen or not written:
        await _keep(connection, now)
    return {} if cursor is None else dict.fromkeys(new, cursor)


def _wanted(watched: Sequence[Series]) -> dict[str, Series]:
    return {one.counts: one for one in sorted(watched, key=lambda each: each.counts)}


async def _seen(connection: AsyncConnection) -> tuple[dict[str, str], bool]:
    """By series: nothing where its sums are kept up, else `BEGUN` and the last customer whose are made; and whether that is written."""
    table = tables.watermarks
    row = (await connection.execute(select(table.c.seen).where(table.c.name == COUNTED))).first()
    # The first two were counted before there were others.
    return ({BASE: "", PEERS: ""}, False) if row is None else (dict(row.seen), True)


async def _keep(connection: AsyncConnection, seen: Cursors) -> None:
    table = tables.watermarks
    values: dict[str, Any] = {"stamp": "", "seen": seen, "latest": _NEVER, "through": None, "gathering": False}
    done = await connection.execute(update(table).where(table.c.name == COUNTED).values(**values))
    if not done.rowcount:
        await connection.execute(insert(table).values(name=COUNTED, **values))


async def _begin(connection: AsyncConnection, new: Sequence[Series]) -> str | None:
    """From the first customer on; None where there is nobody."""
    await connection.execute(delete(tables.days).where(tables.days.c.series.in_([one.counts for one in new])))
    if (await connection.execute(select(tables.contacts.c.interaction_id).limit(1))).first() is None:
        return None
    logger.info("counting %s from the contacts there are", ", ".join(one.name for one in new))
    await _bound(connection, {name for one in new for name in one.dims if name in FREE} - {BASE, PEERS})
    return ""


async def _bound(connection: AsyncConnection, names: Iterable[str]) -> None:
    """At most so many values of an attribute, the commonest: the past has to fit as well as what comes."""
    contacts = tables.contacts
    for name in sorted(names):
        column = contacts.c[name]
        query = select(column).where(column != "").group_by(column).order_by(func.count().desc(), column).offset(MOST)
        # SQLite wants a limit beside an offset.
        rare = list((await connection.execute(query.limit(10**9))).scalars())
        for start in range(0, len(rare), 500):
            some = rare[start : start + 500]
            await connection.execute(update(contacts).where(column.in_(some)).values({name: OTHER}))


async def _piece(connection: AsyncConnection, series: Sequence[Series], cursor: str) -> str | None:
    """The next customers, all contacts of each; the last of them, None when there are no more."""
    table = tables.contacts
    # In an order that Python has too, whatever the database's language.
    order = table.c.customer_id if connection.dialect.name == "sqlite" else table.c.customer_id.collate("C")
    some = await rows_of(connection, select(table).where(order > cursor).order_by(order).limit(AT_ONCE))
    if len(some) == AT_ONCE:
        last = some[-1].customer_id
        whole = [row for row in some if row.customer_id != last]
        some = whole or await rows_of(connection, select(table).where(table.c.customer_id == last))
    if not some:
        return None
    await _write(connection, await offload(_folded, some, series))
    return str(some[-1].customer_id)


def _folded(rows: Sequence[Any], series: Sequence[Series]) -> dict[SliceDay, tuple[int, int]]:
    return fold((Counted(*row) for row in rows), series)


async def _write(connection: AsyncConnection, sums: dict[SliceDay, tuple[int, int]]) -> None:
    rows = [
        {"series": series, "motive": motive, "place": place, "day": day, "fresh": fresh, "contacts": contacts}
        for (series, motive, place, day), (fresh, contacts) in sorted(sums.items())
    ]
    keys = ["series", "motive", "place", "day"]
    await bulk.write(connection, tables.days, rows, key=keys, replaced=(), added=("fresh", "contacts"))
