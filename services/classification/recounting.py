"""Series that are watched from now on are counted from all contacts there are: after a change of the setting, after an upgrade (R27).

Which series the sums hold is written down beside the watermarks. What is no longer watched is not kept up, and its sums are made anew
should it be watched again.
"""

import logging
from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.events import bulk
from services.classification import tables
from services.classification.bounding import FREE, MOST, OTHER
from services.classification.counting import Counted, SliceDay, fold
from services.classification.domain.slices import BASE, PEERS, Series

COUNTED = "series"
"""Name of its row among the watermarks."""
AT_ONCE = 20_000
_NEVER = date(1970, 1, 1)

logger = logging.getLogger("lazo.classification")


async def recount(connection: AsyncConnection, watched: Sequence[Series]) -> list[str]:
    """Make the sums of series that are not kept up yet; their names."""
    table = tables.watermarks
    row = (await connection.execute(select(table.c.seen).where(table.c.name == COUNTED))).first()
    # The first two were counted before there were others.
    held = {BASE, PEERS} if row is None else set(row.seen)
    wanted = {one.counts: one for one in watched}
    new = [one for name, one in sorted(wanted.items()) if name not in held]
    contacts = tables.contacts
    if new:
        await connection.execute(delete(tables.days).where(tables.days.c.series.in_([one.counts for one in new])))
        if (await connection.execute(select(contacts.c.interaction_id).limit(1))).first() is not None:
            logger.info("counting %s from the contacts there are", ", ".join(one.name for one in new))
            await _bound(connection, {name for one in new for name in one.dims if name in FREE} - {BASE, PEERS})
            await _sum_up(connection, new)
    if row is None or set(row.seen) != wanted.keys():
        seen = dict.fromkeys(sorted(wanted), "")
        values: dict[str, Any] = {"stamp": "", "seen": seen, "latest": _NEVER, "through": None, "gathering": False}
        if row is None:
            await connection.execute(insert(table).values(name=COUNTED, **values))
        else:
            await connection.execute(update(table).where(table.c.name == COUNTED).values(**values))
    return [one.name for one in new]


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


async def _sum_up(connection: AsyncConnection, series: Sequence[Series]) -> None:
    """Customer by customer, a part of them in memory at a time."""
    table = tables.contacts
    rows = await connection.stream(select(table).order_by(table.c.customer_id))
    held: list[Counted] = []
    async for row in rows:
        fact = Counted(*row)
        if len(held) >= AT_ONCE and held[-1].customer_id != fact.customer_id:
            await _write(connection, fold(held, series))
            held = []
        held.append(fact)
    await _write(connection, fold(held, series))


async def _write(connection: AsyncConnection, sums: dict[SliceDay, tuple[int, int]]) -> None:
    rows = [
        {"series": series, "motive": motive, "place": place, "day": day, "fresh": fresh, "contacts": contacts}
        for (series, motive, place, day), (fresh, contacts) in sorted(sums.items())
    ]
    keys = ["series", "motive", "place", "day"]
    await bulk.write(connection, tables.days, rows, key=keys, replaced=(), added=("fresh", "contacts"))
