"""Counts per motive and location over time, and the weekly look at who stands out among their peers."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, timedelta

import numpy as np

from services.classification.domain.chronic import WINDOW_DAYS, Look, look

LOOKS = 2
"""So many weekly looks in a row have to agree."""
Place = tuple[str, str]  # motive, location
Exposed = Callable[[str, date, date], float | None]
"""Contracts or orders of a location in a period, both days included; None where they are not known."""


@dataclass(frozen=True, slots=True)
class Chronic:
    """A location that stood out: when it was first said, and the numbers of that look."""

    day: date
    observed: float
    expected: float
    z: float
    upper: float
    spread: float  # natural differences between places (coefficient of variation)
    usual: float  # probability of being a usual place
    peers: int
    by_rate: bool  # exposure was known; else shares were compared


@dataclass(slots=True)
class Peers:
    """Depends on the facts alone: a correction of a week already looked at has it looked at again."""

    counts: dict[Place, dict[date, int]] = field(default_factory=dict)
    through: date | None = None
    found: dict[Place, Chronic] = field(default_factory=dict)
    first: date | None = None
    exposed: Exposed | None = None
    _dirty: date | None = None

    def expose(self, exposed: Exposed | None, since: date | None) -> None:
        """What rates divide by, from now on; looks at windows that reach `since` or later are made again with it."""
        self.exposed = exposed
        if since is not None and self.through is not None and since <= self.through:
            self._dirty = since if self._dirty is None else min(self._dirty, since)

    def add(self, motive: str, location: str, day: date, fresh: int) -> None:
        if not fresh:
            return
        series = self.counts.setdefault((motive, location), {})
        series[day] = series.get(day, 0) + fresh
        self.first = day if self.first is None else min(self.first, day)
        if self.through is not None and day <= self.through:
            self._dirty = day if self._dirty is None else min(self._dirty, day)

    def advance(self, through: date) -> set[Place]:
        """Look at every Monday up to `through` not looked at yet; the places of which something else is to be said than before:
        those that stand out now, those that do not any more, and those that do by other numbers."""
        if self.first is None:
            return set()
        before = dict(self.found)
        target = through if self.through is None else max(through, self.through)
        since = self.first + timedelta(days=WINDOW_DAYS) if self.through is None else self.through + timedelta(days=1)
        if self._dirty is not None:
            since = max(self.first + timedelta(days=WINDOW_DAYS), min(since, self._dirty))
            self.found = {place: chronic for place, chronic in self.found.items() if chronic.day < since}
        self.through, self._dirty = target, None
        monday = since + timedelta(days=-since.weekday() % 7)
        if monday > target:
            return set()
        motives = sorted({motive for motive, _ in self.counts})
        places = sorted({location for _, location in self.counts})
        agreed = self._flags(monday - timedelta(days=7), motives, places)
        while monday <= target:
            funnel = self._funnel(monday, motives, places)
            flags = set() if funnel is None else _flagged(funnel, motives, places)
            for place in sorted((flags & agreed) - self.found.keys()):
                assert funnel is not None
                self.found[place] = _chronic(
                    funnel, monday, motives.index(place[0]), places.index(place[1]), len(places)
                )
            agreed = flags
            monday += timedelta(days=7)
        return {place for place in before.keys() | self.found.keys() if before.get(place) != self.found.get(place)}

    def at(self, motive: str, location: str, monday: date) -> Chronic | None:
        """The numbers of a place at one look, whether it stands out or not; None where there was no such look."""
        motives = sorted({motive for motive, _ in self.counts})
        places = sorted({location for _, location in self.counts})
        if motive not in motives or location not in places:
            return None
        funnel = self._funnel(monday, motives, places)
        if funnel is None:
            return None
        return _chronic(funnel, monday, motives.index(motive), places.index(location), len(places))

    def total(self, motive: str, location: str, since: date, until: date) -> int:
        """Complainants of a place in a period, both days included."""
        return sum(value for day, value in self.counts.get((motive, location), {}).items() if since <= day <= until)

    def _flags(self, monday: date, motives: list[str], places: list[str]) -> set[Place]:
        funnel = self._funnel(monday, motives, places)
        return set() if funnel is None else _flagged(funnel, motives, places)

    def _funnel(self, monday: date, motives: list[str], places: list[str]) -> Look | None:
        """The look at the window that ends the day before that Monday; None where it reaches back before the first fact."""
        since = monday - timedelta(days=WINDOW_DAYS)
        if self.first is None or since < self.first:
            return None
        counts = np.zeros((len(motives), len(places)))
        for (motive, location), series in self.counts.items():
            total = sum(value for day, value in series.items() if since <= day < monday)
            counts[motives.index(motive), places.index(location)] = total
        known = [self.exposed(place, since, monday - timedelta(days=1)) for place in places] if self.exposed else []
        exposure = [amount for amount in known if amount]
        # Rates only where every place has one: a comparison of some by rate and others by share compares nothing.
        return look(counts, np.array(exposure)) if exposure and len(exposure) == len(places) else look(counts)


def _chronic(funnel: Look, monday: date, row: int, column: int, places: int) -> Chronic:
    return Chronic(
        day=monday,
        observed=float(funnel.observed[row, column]),
        expected=float(funnel.expected[row, column]),
        z=float(funnel.z[row, column]),
        upper=float(funnel.upper[row, column]),
        spread=float(funnel.spread[row]),
        usual=float(funnel.usual[row, column]),
        peers=places - 1,
        by_rate=funnel.by_rate,
    )


def _flagged(funnel: Look, motives: list[str], places: list[str]) -> set[Place]:
    rows, columns = np.nonzero(funnel.flagged)
    return {(motives[int(row)], places[int(column)]) for row, column in zip(rows, columns, strict=True)}
