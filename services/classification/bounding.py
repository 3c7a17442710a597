"""How many slices the monitor counts at most: a free text sent as a contact point must not make a million of them (R57).

Every contact is counted. Once a series holds its most slices, what would be a new one is counted at the place `OTHER`, which has a
slice for each motive: complaints that rise behind ever new words still rise there. What has a slice keeps it. It is said in the log
and by `GET /classification/v1/monitors` (`bounded`).
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from sqlalchemy import distinct, func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from services.classification import tables
from services.classification.domain.localisation.windows import OTHER

if TYPE_CHECKING:
    from services.classification.counting import Counted

MOST_SLICES = {"touchpoint": 20_000, "location": 5_000}
"""Per series. A slice of three watched years is 18 kB in memory, and places are compared motive by motive in one table."""
CHUNK = 400

__all__ = ["MOST_SLICES", "OTHER", "bounded"]

logger = logging.getLogger("lazo.classification")


async def bounded(connection: AsyncConnection, facts: Sequence["Counted"]) -> list["Counted"]:
    """The facts, those that would make a slice too many at `OTHER`."""
    for series, most in MOST_SLICES.items():
        wanted = {(fact.motive, getattr(fact, series)) for fact in facts if fact.counted and getattr(fact, series)}
        known = await _known(connection, series, sorted(wanted))
        new = sorted(wanted - known)
        if not new:
            continue
        over = set(new[max(0, most - await _count(connection, series)) :])
        if over:
            logger.warning("%s has %d slices already: %d new ones are counted as %r", series, most, len(over), OTHER)
            facts = [_moved(fact, series) if (fact.motive, getattr(fact, series)) in over else fact for fact in facts]
    return list(facts)


def _moved(fact: "Counted", series: str) -> "Counted":
    return replace(fact, touchpoint=OTHER) if series == "touchpoint" else replace(fact, location=OTHER)


async def _known(connection: AsyncConnection, series: str, wanted: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
    table = tables.days
    found: set[tuple[str, str]] = set()
    for start in range(0, len(wanted), CHUNK):
        some = wanted[start : start + CHUNK]
        query = select(table.c.motive, table.c.place).distinct().where(table.c.series == series)
        rows = await connection.execute(query.where(tuple_(table.c.motive, table.c.place).in_(some)))
        found |= {(row.motive, row.place) for row in rows}
    return found


async def _count(connection: AsyncConnection, series: str) -> int:
    """Slices of a series, those at `OTHER` left out: they are as many as motives."""
    table = tables.days
    name = table.c.motive + "|" + table.c.place
    query = select(func.count(distinct(name))).where(table.c.series == series, table.c.place != OTHER)
    return int((await connection.execute(query)).scalar_one())
