"""All slices under watch: counts by day, the days judged so far, and the episodes that came of them.

Facts may come in any order: adding a fact to a day already judged rewinds to that day, and `advance` judges again from
there. What comes out depends on the facts alone, never on when they came.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt

from services.classification.domain.borrowing import Borrowed, told
from services.classification.domain.episodes import Episode, Numbers, Signal, step
from services.classification.domain.judges import Judges
from services.classification.domain.lanes import Lane
from services.classification.domain.lots import BEHIND, GAP, GENERATION, NEW_PLACE, YOUNG
from services.classification.domain.monitor import CALM_LEVEL, Counts, Rules
from services.classification.domain.slices import PLACES, Slice, family, is_base

Key = Slice

MAX_DAYS = 1_830
"""Five years are read: what the last two of them say depends on the three before. Older facts tell nothing about today."""
_MONDAY = date(1970, 1, 5).toordinal()
DEAD_DAYS = 28
"""So many days without a single contact anywhere mean that nothing was recorded, not that nothing happened."""


@dataclass(frozen=True, slots=True)
class Sums:
    """Counts by slice and day: `row`, a number among `keys`, `day`, as `date.toordinal` has it, and what came."""

    keys: Sequence[Key]
    row: Counts
    day: Counts
    fresh: Counts
    contacts: Counts


@dataclass(slots=True)
class Watch:
    """Counts and judgements of every slice. `through`: the last judged day."""

    rules: Rules = field(default_factory=Rules)
    origin: date | None = None
    through: date | None = None
    keys: list[Key] = field(default_factory=list)
    index: dict[Key, int] = field(default_factory=dict)
    fresh: Counts = field(default_factory=lambda: np.zeros((0, 0), dtype=np.int64))
    contacts: Counts = field(default_factory=lambda: np.zeros((0, 0), dtype=np.int64))
    complete_from: date | None = None
    """Where not all is held that was ever counted: the first day of which the engine reads the whole past. Others are not judged."""
    underway: bool = False  # judging ended before its day
    _dirty: date | None = None
    _trail: dict[int, list[tuple[int, Episode]]] = field(default_factory=dict)
    _judges: Judges | None = None
    _last: tuple[int, tuple[list[int], Lane, Lane]] | None = None
    _heard: Counts = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    _family: Counts = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    _wide: npt.NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, dtype=bool))
    _opened: Counts = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    _recorded: npt.NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, dtype=bool))

    def add(self, key: Key, day: date, fresh: int, contacts: int) -> None:
        """Add to (or, negative, take from) a day's counts of a slice."""
        if not fresh and not contacts:
            return
        row, column = self._place(key, day)
        if column < 0:
            return
        self.fresh[row, column] += fresh
        self.contacts[row, column] += contacts
        if self.through is not None and day <= self.through:
            self._dirty = day if self._dirty is None else min(self._dirty, day)

    def fill(self, rows: Sequence[tuple[Key, date, int, int]]) -> None:
        """The same for many at once, before anything is judged; in whatever order."""
        if not rows:
            return
        number: dict[Key, int] = {}
        places = [(number.setdefault(key, len(number)), day.toordinal(), more, all_) for key, day, more, all_ in rows]
        self.fill_sums(Sums(list(number), *np.array(places, dtype=np.int64).T))

    def fill_sums(self, sums: "Sums") -> None:
        """The same as arrays: a restart reads millions of them."""
        if self.fresh.any():
            raise ValueError("there are counts already")
        if self.origin is None:
            self.origin = date.fromordinal(int(sums.day.min()))
        row = np.array([self.index.setdefault(key, len(self.index)) for key in sums.keys], dtype=np.int64)[sums.row]
        self.keys = list(self.index)
        column = sums.day - self.origin.toordinal()
        self._grow(len(self.keys), int(column.max()) + 1)
        np.add.at(self.fresh, (row, column), sums.fresh)
        np.add.at(self.contacts, (row, column), sums.contacts)

    def resume(
        self,
        origin: date,
        keys: Sequence[Key],
        trails: Mapping[int, list[tuple[int, Episode]]],
        judges: Judges,
        through: date,
    ) -> None:
        """Go on from what another process judged of the same counts, which are filled in next."""
        self.origin, self.keys, self._judges = origin, list(keys), judges
        self.index = {key: row for row, key in enumerate(keys)}
        self._trail = dict(trails)
        self.through = through

    def packed(self, pack: Callable[["Watch", Judges], tuple[date, bytes] | None]) -> tuple[date, bytes] | None:
        """What is kept, by whoever knows how to write it; None before anything was judged."""
        return None if self._judges is None else pack(self, self._judges)

    def newest_kept(self) -> date | None:
        """The first day not judged in the newest state that is kept."""
        state = None if self._judges is None else self._judges.newest()
        if state is None or self._judges is None:
            return None
        column = state[0] - self._ordinal(0)
        if self.through is not None and self._judges.begin != self._ordinal(self._operating_since(column)):
            # A generation's past is being read again: the days before it were judged by the former one.
            return self.through + timedelta(days=1)
        return self.day_of(column)

    def column_of(self, at: int) -> int:
        """The column of a day by its number."""
        return at - self._ordinal(0)

    def judged_days(self) -> int:
        """Slices times days."""
        return 0 if self._judges is None else len(self.keys) * (self._judges.at - self._judges.begin)

    def trails_by_row(self) -> list[tuple[int, list[tuple[int, Episode]]]]:
        return sorted(self._trail.items())

    def advance(self, through: date, enough: Callable[[], bool] | None = None) -> set[Key]:
        """Judge every day up to `through` that is not judged yet or was corrected; the slices whose episodes may differ.

        `enough`, asked after each day, ends it early: `underway` then, and the next call goes on. What comes of all calls together is what
        one would have given.
        """
        if self.origin is None:
            return set()
        target = through if self.through is None else max(through, self.through)
        start = self._column(self._dirty) if self._dirty is not None else None
        if self.through is not None and self._dirty is None:
            start = self._column(self.through) + 1
        start = max(start or 0, 0)
        self._dirty = None
        touched = self._rewind(start)
        last = self._column(target)
        self._grow(len(self.keys), last + 1)
        if start <= last:
            self._look_over()
            self._last = None
            if self._judges is not None and not self._judges.go_back(self._ordinal(start)):
                self._judges = None
        self.underway, self.through = False, target
        for day in range(start, last + 1):
            found = None if day > start and enough is not None and enough() else self._judge(day, enough)
            if found is None:
                self.underway, self.through = True, self.day_of(day - 1)
                break
            touched |= found
        return {self.keys[row] for row in touched}

    def episodes(self, key: Key) -> list[Episode]:
        """The slice's episodes as they stand, oldest first."""
        found: dict[int, Episode] = {}
        for _, episode in self._trail.get(self.index.get(key, -1), ()):
            found[episode.start] = episode
        return [found[start] for start in sorted(found)]

    def trails(self, key: Key) -> list[list[Episode]]:
        """Per episode, oldest first: its state at each new verdict, and as it stands now when only its end was added."""
        found: dict[int, list[Episode]] = {}
        for _, episode in self._trail.get(self.index.get(key, -1), ()):
            states = found.setdefault(episode.start, [])
            if states and states[-1].verdict is episode.verdict:
                # The verdict's numbers stay those of the day it was reached; only the end of the episode is news.
                states[-1] = replace(states[-1], last_alarm=episode.last_alarm, ended=episode.ended)
            else:
                states.append(episode)
        return [found[start] for start in sorted(found)]

    def day_of(self, column: int) -> date:
        assert self.origin is not None
        return self.origin + timedelta(days=column)

    def lanes(self, column: int) -> tuple[list[int], Lane, Lane]:
        """The rows heard of by that day, and that day judged by complainants and by repeats."""
        if not self.told(column):
            self._look_over()
            self._bring(column)
        assert self._last is not None
        assert self._judges is not None
        return self._last[1][0], *self._judges.whole()

    def told(self, column: int) -> bool:
        """Whether that day is the last one judged: what is said of it costs nothing to say again."""
        return self._last is not None and self._last[0] == column and self._dirty is None

    def total(self, key: Key | None, since: date, until: date) -> int:
        """Fresh complainants of a slice (None: of all) in a period, both days included."""
        if self.origin is None or (key is not None and key not in self.index):
            return 0
        first, last = max(self._column(since), 0), self._column(until) + 1
        if key is None:
            rows = self.fresh[[number for number, one in enumerate(self.keys) if is_base(one)]]
        else:
            rows = self.fresh[self.index[key] : self.index[key] + 1]
        return int(rows[:, first : max(last, first)].sum())

    def baseline(self, key: Key, column: int, lane: str, borrowed: Borrowed | None = None) -> list[float]:
        """The daily counts a judgement of that day compared with, oldest first; of a slice that `borrowed`, none from before it began."""
        counts = self.fresh if lane == "customers" else self.contacts - self.fresh
        end = column - GAP + 1
        start = max(self._operating_since(column), end - self.rules.history, 0)
        if borrowed is not None:
            start = max(start, self.column_of(borrowed.begin))
        return [float(value) for value in counts[self.index[key], start:end]]

    def calendar_at(self, column: int) -> dict[str, Any]:
        """What a judgement of that day knows of a calendar: its name, the holidays of the past the engine reads, and that day."""
        if not self.rules.holidays:
            return {}
        first, last = self._ordinal(self._operating_since(column)), self._ordinal(column)
        days = [date.fromordinal(_MONDAY + day) for day in self.rules.holidays if first // 7 * 7 <= day <= last]
        return {"calendar": self.rules.calendar, "holidays": days}

    def _look_over(self) -> None:
        """What is known of all slices before days are judged: since when each was heard of, its family, recorded days."""
        seen = self.contacts[: len(self.keys)] > 0
        self._heard = np.where(seen.any(axis=1), seen.argmax(axis=1), seen.shape[1])
        self._wide = np.array([not is_base(key) for key in self.keys], dtype=bool)
        families = [family(key) for key in self.keys]
        number = {one: place for place, one in enumerate(sorted(set(families)))}
        self._family = np.array([number[one] for one in families], dtype=np.int64)
        place: dict[tuple[str, str], int] = {}
        for key, day in zip(self.keys, self._heard, strict=True):
            for pair in key:
                place[pair] = min(place.get(pair, int(day)), int(day))
        new = [max((place[pair] for pair in key if pair[0] in PLACES and pair[1]), default=-1) for key in self.keys]
        # The day a slice's place was first heard of, where the slice was soon after; −1: it could have come before, and did not.
        self._opened = np.where(self._heard - np.array(new, dtype=np.int64) <= NEW_PLACE, new, -1)
        self._recorded = np.asarray(seen.any(axis=0))

    def _bring(
        self, column: int, told: Sequence[int] = (), enough: Callable[[], bool] | None = None
    ) -> tuple[list[int], Lane, Lane] | None:
        """The engine up to that day, and what it says of it: of slices that alarm and of those `told`. None: it was `enough` before."""
        begin = self._ordinal(self._operating_since(column))
        day = self._ordinal(column)
        judges = self._judges
        if judges is None or judges.begin != begin or not judges.go_back(day):
            judges = self._judges = Judges(
                begin, self.rules.false_alarms_per_month, self.rules.calm_days, self.rules.holidays
            )
        lanes: tuple[Lane, Lane] | None = None
        alive: npt.NDArray[np.bool_] = np.zeros(0, dtype=bool)
        first = judges.at
        while judges.at <= day:
            if judges.at > first and enough is not None and enough():
                return None
            at = judges.at - self._ordinal(0)
            if at < 0:
                fresh = contacts = np.zeros(len(self.keys))
            else:
                fresh = self.fresh[: len(self.keys), at].astype(np.float64)
                contacts = self.contacts[: len(self.keys), at].astype(np.float64)
            if judges.at < judges.begin:
                fresh = contacts = np.zeros(len(self.keys))
            alive = self._heard <= at
            opened = (self._heard == at) & (self._opened >= judges.begin - self._ordinal(0) + NEW_PLACE)
            asked = np.zeros(len(self.keys), dtype=bool)
            asked[list(told)] = True
            lanes = judges.step(fresh, contacts - fresh, alive, self._family, self._wide, asked, opened)
        assert lanes is not None
        found = ([int(row) for row in np.flatnonzero(alive)], *lanes)
        self._last = (column, found)
        return found

    def _judge(self, day: int, enough: Callable[[], bool] | None = None) -> set[int] | None:
        """The slices whose episodes that day changed; None: it was `enough` before it could be judged."""
        open_rows = [row for row, trail in self._trail.items() if trail and trail[-1][1].ended is None]
        if day + 1 < YOUNG or (self.complete_from is not None and self.day_of(day) < self.complete_from):
            return set()
        brought = self._bring(day, open_rows, enough)
        if brought is None:
            return None
        rows, fresh, repeats = brought
        if not rows or not fresh.known.any():
            return set()
        minimum = self.rules.minimum_customers
        alarm = (fresh.p <= fresh.level) & (fresh.observed >= minimum)
        # Twice the minimum: many repeats of few people are worth a word, three calls of one person are not.
        repeats_alarm = (repeats.p <= repeats.level) & (repeats.observed >= 2 * minimum)
        place = {row: number for number, row in enumerate(rows)}
        concerned = {rows[number] for number in np.flatnonzero(alarm | repeats_alarm)} | set(open_rows)
        touched: set[int] = set()
        for row in sorted(concerned):
            number = place[row]
            use_repeats = bool(repeats_alarm[number]) and not bool(alarm[number])
            lane, name = (repeats, "repeats") if use_repeats else (fresh, "customers")
            signal = Signal(
                alarm=bool(alarm[number]),
                repeats_alarm=bool(repeats_alarm[number]),
                persists=bool(fresh.going_on[number] <= fresh.level[number]),
                calm=bool(fresh.recent[number] > CALM_LEVEL) and bool(repeats.recent[number] > CALM_LEVEL),
                ordinary=bool(fresh.p[number] > CALM_LEVEL),
                numbers=numbers_of(lane, number, day, name, len(rows)),
            )
            trail = self._trail.setdefault(row, [])
            before = trail[-1][1] if trail else None
            after = step(before, day, signal)
            if after is not None and after is not before:
                trail.append((day, after))
                touched.add(row)
        return touched

    def _rewind(self, column: int) -> set[int]:
        """Forget what was judged from that day on."""
        touched: set[int] = set()
        for row, trail in list(self._trail.items()):
            kept = [(day, episode) for day, episode in trail if day < column]
            if len(kept) != len(trail):
                touched.add(row)
                self._trail[row] = kept
        return touched

    def _operating_since(self, column: int) -> int:
        """The first day the engine reads for that day: of its generation's past, that of the unbroken recording."""
        day = self._ordinal(column)
        since = max(0, (day // (7 * GENERATION) * GENERATION - BEHIND) * 7 - self._ordinal(0))
        recorded = np.flatnonzero(self._recorded[since : column + 1])
        if not len(recorded):
            return column
        breaks = np.flatnonzero(np.diff(recorded) > DEAD_DAYS)
        return since + int(recorded[breaks[-1] + 1] if len(breaks) else recorded[0])

    def _ordinal(self, column: int) -> int:
        """The number of that day since the first Monday of 1970."""
        assert self.origin is not None
        return self.origin.toordinal() + column - _MONDAY

    def _column(self, day: date) -> int:
        assert self.origin is not None
        return (day - self.origin).days

    def _place(self, key: Key, day: date) -> tuple[int, int]:
        if self.origin is None:
            self.origin = day
        row = self.index.setdefault(key, len(self.keys))
        if row == len(self.keys):
            self.keys.append(key)
        column = self._column(day)
        if column < 0:
            if self.fresh.shape[1] - column > MAX_DAYS:
                return row, -1
            self._shift(-column)
            self.origin = day
            column = 0
        self._grow(len(self.keys), column + 1)
        return row, column

    def _grow(self, rows: int, columns: int) -> None:
        have_rows, have_columns = self.fresh.shape
        if rows <= have_rows and columns <= have_columns:
            return
        shape = (max(have_rows, rows + rows // 2), max(have_columns, columns + 64))
        for name in ("fresh", "contacts"):
            grown = np.zeros(shape, dtype=np.int64)
            grown[:have_rows, :have_columns] = getattr(self, name)
            setattr(self, name, grown)

    def _shift(self, days: int) -> None:
        """Make room for earlier days. Columns are renumbered, so everything is judged again."""
        self.fresh = np.pad(self.fresh, ((0, 0), (days, 0)))
        self.contacts = np.pad(self.contacts, ((0, 0), (days, 0)))
        self._trail.clear()
        self._judges = None
        self._last = None
        if self.through is not None:
            assert self.origin is not None
            self._dirty = self.origin - timedelta(days=days)


def complete_from(since: date) -> date:
    """The first day that is judged alike whether all is held or only what is from `since` on: a generation's begin."""
    generation = 7 * GENERATION
    number = -(-(since.toordinal() - _MONDAY + 7 * BEHIND) // generation)
    return date.fromordinal(_MONDAY + number * generation)


def numbers_of(lane: Lane, number: int, day: int, name: str, slices: int) -> Numbers:
    return Numbers(
        day=day,
        window=int(lane.window[number]),
        lane=name,
        p=float(lane.p[number]),
        observed=float(lane.observed[number]),
        expected=float(lane.expected[number]),
        variance=float(lane.variance[number]),
        rate=float(lane.rate[number]),
        dispersion=float(lane.dispersion[number]),
        careful=float(lane.careful[number]),
        common=float(lane.common[number]),
        factor=float(lane.factor[number]),
        level=float(lane.level[number]),
        slices=slices,
        odds=float(lane.odds[number]),
        base=float(lane.base[number]),
        going_on=float(lane.going_on[number]),
        one_day=float(lane.one_day[number]),
        isolated=float(lane.isolated[number]),
        recent=float(lane.recent[number]),
        borrowed=told(lane.borrowed[number]),
    )


def fresh_days(days: Sequence[date]) -> set[date]:
    """Of the days on which one customer made contact, those that count: no earlier contact within the longest window."""
    found: set[date] = set()
    before: date | None = None
    for day in sorted(set(days)):
        if before is None or (day - before).days >= GAP:
            found.add(day)
        before = day
    return found


def differences(
    before: Mapping[date, tuple[int, int]], after: Mapping[date, tuple[int, int]]
) -> Iterator[tuple[date, int, int]]:
    """What to add to a day's (fresh, contacts) to come from one to the other."""
    for day in sorted(before.keys() | after.keys()):
        old, new = before.get(day, (0, 0)), after.get(day, (0, 0))
        if old != new:
            yield day, new[0] - old[0], new[1] - old[1]
