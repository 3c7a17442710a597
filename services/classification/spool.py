"""Where a preview keeps its contacts while it runs: a private temporary file, nobody else's, gone when it is closed.

A year of a large operator does not fit in memory, and what is fresh depends on all contacts of a customer, which lie
anywhere in the log. Only pseudonyms, days and codes are written; never a text.
"""

import itertools
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date

from services.classification.domain.monitor import Rules
from services.classification.domain.peers import Peers
from services.classification.domain.slices import at
from services.classification.domain.watch import Watch, differences, fresh_days

BEFORE, AFTER = "before", "after"
_HELD = 50_000
"""Sums gathered in memory before they are added to those on disk: some 15 MB."""


@dataclass(frozen=True, slots=True)
class Line:
    """One counted contact: what it was coded and what it would be."""

    customer: str
    day: date
    touchpoint: str
    location: str
    before: str
    after: str


class Spool:
    """Not to be shared by threads at the same time. Close it."""

    def __init__(self, cache_kib: int = 16_384) -> None:
        # The empty name is SQLite's own temporary database: on disk once it outgrows the cache, deleted when closed.
        self._base = sqlite3.connect("", check_same_thread=False, isolation_level=None)
        self._base.execute(f"PRAGMA cache_size = -{cache_kib}")
        self._base.execute(
            "CREATE TABLE lines (customer TEXT, day INTEGER, touchpoint TEXT, location TEXT, before TEXT, after TEXT)"
        )
        self._base.execute(
            """CREATE TABLE days (side TEXT, series TEXT, motive TEXT, place TEXT, day INTEGER, fresh INTEGER,
            contacts INTEGER, PRIMARY KEY (side, series, motive, place, day)) WITHOUT ROWID"""
        )

    def close(self) -> None:
        self._base.close()

    def add(self, lines: Iterable[Line]) -> None:
        self._base.execute("BEGIN")
        self._base.executemany(
            "INSERT INTO lines VALUES (?, ?, ?, ?, ?, ?)",
            (
                (line.customer, line.day.toordinal(), line.touchpoint, line.location, line.before, line.after)
                for line in lines
            ),
        )
        self._base.execute("COMMIT")

    def sum_up(self) -> None:
        """Fresh complainants and contacts by slice and day, customer by customer, as `counting` makes them."""
        self._base.execute("BEGIN")
        rows = self._base.execute("SELECT * FROM lines ORDER BY customer")
        held: dict[tuple[str, str, str, str, int], list[int]] = {}
        for _, own in itertools.groupby(rows, key=lambda row: row[0]):
            for key, fresh, contacts in _sums(own):
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
            if series == "touchpoint":
                watch.add(at(motive, place), date.fromordinal(ordinal), fresh, contacts)
            else:
                peers.add(motive, place, date.fromordinal(ordinal), fresh)
        return watch, peers


def _sums(
    rows: Iterable[tuple[str, int, str, str, str, str]],
) -> Iterator[tuple[tuple[str, str, str, str, int], int, int]]:
    """One customer's: slice and day, whether it is fresh there, contacts."""
    groups: dict[tuple[str, str, str, str], list[date]] = {}
    for _, ordinal, touchpoint, location, before, after in rows:
        day = date.fromordinal(ordinal)
        for side, motive in ((BEFORE, before), (AFTER, after)):
            groups.setdefault((side, "touchpoint", motive, touchpoint), []).append(day)
            if location:
                groups.setdefault((side, "location", motive, location), []).append(day)
    for key, days in groups.items():
        fresh = fresh_days(days)
        sums = {day: (int(day in fresh), days.count(day)) for day in set(days)}
        for day, one, contacts in differences({}, sums):
            yield (*key, day.toordinal()), one, contacts
