"""How many slices the monitor counts at most: a free text sent as a contact point must not make a million of them.

Every contact is counted. Once a series holds its most slices, what would be a new one is counted at the value `OTHER`, which has a
slice for each motive: complaints that rise behind ever new words still rise there. What has a slice keeps it. It is said in the log
and by `GET /classification/v1/monitors` (`bounded`).
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from sqlalchemy import and_, distinct, func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.events.offload import each
from services.classification import tables
from services.classification.domain.localisation.windows import OTHER
from services.classification.domain.slices import Series

if TYPE_CHECKING:
    from services.classification.counting import Counted

MOST_SLICES = {"touchpoint": 20_000, "location": 5_000}
"""Per series of counts. A slice of three watched years is 18 kB in memory, and places are compared motive by motive in one table."""
MOST = 2_000
"""Of any other series: they find what is wide, and a slice among two thousand of an attribute is not."""
FREE = ("touchpoint", "location", "product", "team", "supplier", "procedure", "segment")
"""Attributes that come from outside as they are; of a motive or a cause there are as many as the rulebook has."""
CHUNK = 400

__all__ = ["FREE", "MOST", "MOST_SLICES", "OTHER", "Bounds", "most_of"]

logger = logging.getLogger("lazo.classification")

Key = tuple[str, str, str]  # series of counts, motive, place


def most_of(series: Series) -> int:
    return MOST_SLICES.get(series.counts, MOST)


class Bounds:
    """Remembers which slices there are, which only ever become more: one that is known costs no question."""

    def __init__(self) -> None:
        self._known: set[Key] = set()
        self._said: set[str] = set()

    async def apply(
        self, connection: AsyncConnection, facts: Sequence["Counted"], watched: Sequence[Series]
    ) -> list["Counted"]:
        """The facts, those that would make a slice too many at `OTHER`."""
        free = [one for one in watched if any(name in FREE for name in one.dims)]
        keys = await each(lambda fact: set(fact.slices(free)), facts, every=25)
        new = set().union(*keys) - self._known
        if new:
            found = await _known(connection, sorted(new))
            self._known |= found
            new -= found
        for one in free:
            # What is at `OTHER` already has a slice there, or makes one that is not counted as one.
            mine = sorted(key for key in new if key[0] == one.counts and _free(key, one))
            if not mine:
                continue
            over = set(mine[max(0, most_of(one) - await _count(connection, one.counts)) :])
            if over:
                if one.name not in self._said:  # once: every batch of an import would say it again
                    self._said.add(one.name)
                    logger.warning(
                        "%s has %d slices already: new ones are counted as %r", one.name, most_of(one), OTHER
                    )
                facts = [_moved(fact, one) if own & over else fact for fact, own in zip(facts, keys, strict=True)]
        return list(facts)


def _free(key: Key, series: Series) -> bool:
    return not any(value in {"", OTHER} for name, value in series.slice_of(*key[1:]) if name in FREE)


def _moved(fact: "Counted", series: Series) -> "Counted":
    for name in series.dims:
        if name in FREE:
            fact = _MOVES[name](fact)
    return fact


_MOVES: dict[str, Callable[["Counted"], "Counted"]] = {
    "touchpoint": lambda fact: replace(fact, touchpoint=OTHER),
    "location": lambda fact: replace(fact, location=OTHER),
    "product": lambda fact: replace(fact, product=OTHER),
    "team": lambda fact: replace(fact, team=OTHER),
    "supplier": lambda fact: replace(fact, supplier=OTHER),
    "procedure": lambda fact: replace(fact, procedure=OTHER),
    "segment": lambda fact: replace(fact, segment=OTHER),
}


async def _known(connection: AsyncConnection, wanted: Sequence[Key]) -> set[Key]:
    table = tables.days
    found: set[Key] = set()
    name = tuple_(table.c.series, table.c.motive, table.c.place)
    for start in range(0, len(wanted), CHUNK):
        query = select(table.c.series, table.c.motive, table.c.place).distinct()
        rows = await connection.execute(query.where(name.in_(wanted[start : start + CHUNK])))
        found |= {(row.series, row.motive, row.place) for row in rows}
    return found


async def _count(connection: AsyncConnection, counts: str) -> int:
    """Slices of a series, those at `OTHER` left out: they are as many as motives."""
    table = tables.days
    name = table.c.motive + "|" + table.c.place
    query = select(func.count(distinct(name))).where(and_(table.c.series == counts, table.c.place != OTHER))
    return int((await connection.execute(query)).scalar_one())
