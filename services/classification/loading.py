"""The counts that a watch is made from, read where none is in memory: at a start, after another process was at work, after a rollback.

The transaction that needs them waits, and on SQLite whoever else writes waits with it. So they come in pieces, in no order that the
database would have to make, and each becomes a few arrays in a thread before the next is asked for: neither the event loop is held by
millions of rows nor memory. All pieces are of one transaction, which sees the counts as they stood under one stamp.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import numpy as np
from sqlalchemy import String, select, type_coerce
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.events.offload import offload
from services.classification import tables
from services.classification.counting import PEERS
from services.classification.domain.peers import Peers
from services.classification.domain.slices import Series, Slice
from services.classification.domain.watch import Sums, Watch

PIECE = 20_000
"""Rows that are held as such at once."""


async def load(
    connection: AsyncConnection, since: date, watched: Mapping[str, Series], watch: Watch, peers: Peers
) -> None:
    """All counts from a day on, into a watch and peers that hold none. `watched`: series by the name of their counts."""
    table = tables.days
    # SQLite keeps days as text, and there are 1,830 of them: each is read once and not once a row.
    day = type_coerce(table.c.day, String) if connection.dialect.name == "sqlite" else table.c.day
    columns = (table.c.series, table.c.motive, table.c.place, day, table.c.fresh, table.c.contacts)
    result = await connection.stream(select(*columns).where(table.c.day >= since))
    read = _Read(watched, peers)
    async for piece in result.partitions(PIECE):
        await offload(read.take, piece)
    await offload(read.give, watch)


class _Read:
    def __init__(self, watched: Mapping[str, Series], peers: Peers) -> None:
        self._watched, self._peers = watched, peers
        self._rows: dict[tuple[str, str, str], int] = {}
        self._keys: list[tuple[tuple[str, str, str], Slice]] = []
        self._days: dict[Any, int] = {}
        self._pieces: list[np.ndarray] = []

    def take(self, piece: Sequence[Any]) -> None:
        """Rows as numbers: which slice, which day, how many."""
        rows, days = self._rows, self._days
        found = []
        for counts, motive, place, written, more, contacts in piece:
            day = days.get(written)
            if day is None:
                day = days[written] = _ordinal(written)
            if counts == PEERS:
                self._peers.add(motive, place, date.fromordinal(day), more)
            row = rows.get((counts, motive, place))
            if row is None:
                row = rows[counts, motive, place] = self._new(counts, motive, place)
            if row >= 0:
                found.append((row, day, more, contacts))
        if found:
            self._pieces.append(np.array(found, dtype=np.int64))

    def _new(self, counts: str, motive: str, place: str) -> int:
        series = self._watched.get(counts)
        if series is None:
            return -1
        self._keys.append(((motive, place, counts), series.slice_of(motive, place)))
        return len(self._keys) - 1

    def give(self, watch: Watch) -> None:
        """In the order in which the slices were first heard of, as if they had come by themselves."""
        if not self._pieces:
            return
        row, day, fresh, contacts = np.concatenate(self._pieces).T
        self._pieces = []
        first = np.full(len(self._keys), np.iinfo(np.int64).max)
        np.minimum.at(first, row, day)
        order = sorted(range(len(self._keys)), key=lambda number: (first[number], self._keys[number][0]))
        rank = np.empty(len(order), dtype=np.int64)
        rank[order] = np.arange(len(order))
        watch.fill_sums(Sums([self._keys[number][1] for number in order], rank[row], day, fresh, contacts))


def _ordinal(written: Any) -> int:
    return (date.fromisoformat(written) if isinstance(written, str) else written).toordinal()
