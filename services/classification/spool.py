"""Where a preview keeps its contacts while it runs: a private temporary file, nobody else's, gone when it is closed.

A year of a large operator does not fit in memory, and what is fresh depends on all contacts of a customer, which lie
anywhere in the log. Only pseudonyms, days and codes are written; never a text.
"""

import itertools
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date

from services.classification.counting import PEERS, watched_of
from services.classification.domain.monitor import Rules
from services.classification.domain.peers import Peers
from services.classification.domain.slices import ATTRIBUTES, DEFAULT, Series, parse
from services.classification.domain.watch import Watch, differences, fresh_days

BEFORE, AFTER = "before", "after"
APART = "\x1e"
_HELD = 50_000
"""Sums gathered in memory before they are added to those on disk: some 15 MB."""


@dataclass(frozen=True, slots=True)
class Line:
    """One counted contact: its values of `ATTRIBUTES` as it was coded, and as it would be."""

    customer: str
    day: date
    before: tuple[str, ...]
    after: tuple[str, ...]


class Spool:
    """Not to be shared by threads at the same time. Close it."""

    def __init__(self, series: Sequence[Series] = parse(DEFAULT), cache_kib: int = 16_384) -> None:
        self._counted, self._judged = watched_of(series), {one.counts: one for one in series}
        # The empty name is SQLite's own temporary database: on disk once it outgrows the cache, deleted when closed.
        self._base = sqlite3.connect("", check_same_thread=False, isolation_level=None)
        self._base.execute(f"PRAGMA cache_size = -{cache_kib}")
        self._base.execute("CREATE TABLE lines (customer TEXT, day INTEGER, before TEXT, after TEXT)")
        self._base.execute(
            """CREATE TABLE days (side TEXT, series TEXT, motive TEXT, place TEXT, day INTEGER, fresh INTEGER,
            contacts INTEGER, PRIMARY KEY (side, series, motive, place, day)) WITHOUT ROWID"""
        )

    def close(self) -> None:
        self._base.close()

    def add(self, lines: Iterable[Line]) -> None:
        self._base.execute("BEGIN")
        self._base.executemany(
            "INSERT INTO lines VALUES (?, ?, ?, ?)",
            ((line.customer, line.day.toordinal(), APART.join(line.before), APART.join(line.after)) for line in lines),
        )
        self._base.execute("COMMIT")

    def sum_up(self) -> None:
        """Fresh complainants and contacts by slice and day, customer by customer, as `counting` makes them."""
        self._base.execute("BEGIN")
        rows = self._base.execute("SELECT * FROM lines ORDER BY customer")
        held: dict[tuple[str, str, str, str, int], list[int]] = {}
        for _, own in itertools.groupby(rows, key=lambda row: row[0]):
            for key, fresh, contacts in _sums(own, self._counted):
                sums = held.setdefault(key, [0, 0])
                sums[0] += fresh
                sums[1] += contacts
            if len(held) > _HELD:
                self._keep(held)
        self._keep(held)
        self._base.execute("COMMIT")

    def _keep(self, held: dict[tuple[str, str, str, str, int], list[int]]) -> None:
        self._base.executemany(
            """INSERT INTO days VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET
            fresh = fresh + excluded.fresh, contacts = contacts + excluded.contacts""",
            ((*key, *sums) for key, sums in sorted(held.items())),
        )
        held.clear()

    def judges(self, side: str, rules: Rules, since: date) -> tuple[Watch, Peers]:
        """The two judges with the counts of one side from that day on, nothing judged yet."""
        watch, peers = Watch(rules=rules), Peers()
        rows = self._base.execute(
            """SELECT series, motive, place, day, fresh, contacts FROM days WHERE side = ? AND day >= ?
            ORDER BY day, motive, place""",
            (side, since.toordinal()),
        )
        for series, motive, place, ordinal, fresh, contacts in rows:
            if (one := self._judged.get(series)) is not None:
                watch.add(one.slice_of(motive, place), date.fromordinal(ordinal), fresh, contacts)
            if series == PEERS:
                peers.add(motive, place, date.fromordinal(ordinal), fresh)
        return watch, peers


def _sums(
    rows: Iterable[tuple[str, int, str, str]], watched: Sequence[Series]
) -> Iterator[tuple[tuple[str, str, str, str, int], int, int]]:
    """One customer's: slice and day, whether it is fresh there, contacts."""
    groups: dict[tuple[str, str, str, str], list[date]] = {}
    for _, ordinal, before, after in rows:
        day = date.fromordinal(ordinal)
        for side, text in ((BEFORE, before), (AFTER, after)):
            values = dict(zip(ATTRIBUTES, text.split(APART), strict=True))
            for one in watched:
                if (row := one.row_of(values)) is not None:
                    groups.setdefault((side, *row), []).append(day)
    for key, days in groups.items():
        fresh = fresh_days(days)
        sums = {day: (int(day in fresh), days.count(day)) for day in set(days)}
        for day, new, contacts in differences({}, sums):
            yield (*key, day.toordinal()), new, contacts
