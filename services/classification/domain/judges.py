"""The detection engine over all slices under watch: a day at a time, able to go back to any day and come again.

Two kinds of counts are judged by the same filter (`detection/`): *fresh complainants* and *repeats* (see `watch`). Three lanes say
something of a day: that something goes on among complainants (the filter's odds against quiet and against an incident of one day), that
this one day is too high (negative binomial tail), and that something goes on among repeats. Each has a third of the false alarms.

**What all slices share** (a holiday, a campaign, a season nobody has seen before) enters as exposure: what the *other* slices brought in
the last seven days over what was usual for them. Each is capped at three standard deviations of its week and weighs as much as it is
held to be calm, so that a failure in one is not explained away.

**False alarms.** p is how rarely a quiet slice shows such odds on a day: from the calibrated tables down to one in 1,000; beyond them from
how the operation's own quiet slices go on (`families.Quota`), and as long as they have not told enough, as the tables end (`TAIL`). Which
slices alarm is decided in families (`families.hierarchical`): a motive by Simes' p of its slices (1986, Biometrika 73:751), its slices
within it, at `false_alarms_per_month` / 30.4 a day. On a day on which all slices are quiet the chance of any alarm is at most that.

**Going back.** A day's judgement depends on the counts up to it alone, never on when they came: rows come in stacks of `ROWS` whose spare
ones stand for slices that nothing is known of yet, and what is summed over slices is rounded before it is used.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from services.classification.domain.detection.baseline import Array, Ints
from services.classification.domain.detection.families import hierarchical
from services.classification.domain.detection.panel import Flags
from services.classification.domain.lanes import Lane, merged, silent
from services.classification.domain.lots import LANES, MONTH, Lot

METHOD = "odds-1"
ORDINARY = 0.01
"""What the named window stays below but for this share of times is called ordinary in a verdict, the choice of window counted in."""
WIDE_SHARE = 0.2
"""Of the false alarms asked for, what the series beside the first may give: 0.6 a year of the usual 3, as many as the weekly sweep. A failure
raises several of them at once, so that a stricter level costs them little."""
KNOWN_DAYS = 7
FAILING_DAYS = 28
"""Slices of a family in which something alarmed so lately tell nothing of quiet ones. One failure lasts in twenty wide slices: after six
weeks of two planted ones the operation's own tail had learnt their odds as usual, and no wide slice ever alarmed again that year."""
KEPT = (0, 1, 2, 4, 8, 16, 32, 64)
"""Weeks back, roughly, of which the state is kept to go back to."""


@dataclass(frozen=True, slots=True)
class _Today:
    """The last judged day: lanes of the lots, the rows each holds, and which slices those are."""

    lanes: list[Lane]
    rows: list[Ints]  # of the first series, and beside it
    alive: Flags
    wide: Flags


class Judges:
    """Days are numbered from 1970-01-05, a Monday. `begin`: the first that is no mere zero; `at`: the next to be judged; `holidays`: days
    that are expected to be unlike others, and the days after them."""

    def __init__(self, begin: int, false_alarms_per_month: float, calm_days: int, holidays: Sequence[int] = ()) -> None:
        self.begin, self.asked, self.calm_days = begin, false_alarms_per_month, calm_days
        self.at = self.monday = begin // 7 * 7
        zero = self.monday // 7
        self.customers = Lot(begin - self.monday, zero, false_alarms_per_month / LANES, shared=True, holidays=holidays)
        self.repeats = Lot(begin - self.monday, zero, false_alarms_per_month / LANES, shared=False, holidays=holidays)
        self.wide = Lot(
            begin - self.monday, zero, false_alarms_per_month, shared=True, among=self.customers, holidays=holidays
        )
        self._kept: list[tuple[int, dict[str, Any]]] = []
        self._today: _Today | None = None

    def step(
        self,
        fresh: Array,
        again: Array,
        alive: Flags,
        family: Ints,
        wide: Flags | None = None,
        told: Flags | None = None,
        opened: Flags | None = None,
    ) -> tuple[Lane, Lane]:
        """The next day of all slices: complainants, repeats, whether the slice was heard of by then, its family's number, and whether
        it is of a series beside the first (`wide`; None: none is).

        Judged are the slices that were heard of, in their order. Of wide ones whether something goes on is asked, and nothing else.
        `opened`: slices that are heard of today for the first time, at a place that is new itself; they borrow from their family.
        `told` (None: all): of which the window, its counts and the last days are said; of those that alarm they always are. A third of the
        time went into saying them of all.
        """
        if self.at % 7 == 0 and not (self._kept and self._kept[-1][0] == self.at):
            self._keep()
        wide = np.zeros(len(alive), dtype=bool) if wide is None else wide
        opened = np.zeros(len(alive), dtype=bool) if opened is None else opened
        first, beside = np.flatnonzero(~wide), np.flatnonzero(wide)
        rate = self.asked / MONTH
        shares = (1.0 - WIDE_SHARE, WIDE_SHARE) if len(beside) else (1.0, 0.0)
        lanes = [
            self._lane(lot, counts[first], alive[first], family[first], rate * shares[0], opened[first])
            for lot, counts in ((self.customers, fresh), (self.repeats, again))
        ]
        if len(beside):
            self.wide.room_for(len(beside))
            self.wide.failing[:] = False
            recent = {
                int(one)
                for lot, where in ((self.customers, first), (self.wide, beside))
                for one in family[where[self.at - lot.alarmed[: len(where)] <= FAILING_DAYS]]
            }
            self.wide.failing[: len(beside)] = np.isin(family[beside], list(recent))
            lanes.append(
                self._lane(self.wide, fresh[beside], alive[beside], family[beside], rate * shares[1], opened[beside])
            )
        self._today = _Today(lanes, [np.flatnonzero(alive[first]), np.flatnonzero(alive[beside])], alive, wide)
        self.at += 1
        return self._told(told)

    def whole(self) -> tuple[Lane, Lane]:
        """The last judged day again, with everything that is to be said of every slice."""
        return self._told(None)

    def _told(self, told: Flags | None) -> tuple[Lane, Lane]:
        today = self._today
        assert today is not None
        customers, repeats, *wide = today.lanes
        own, other = (np.flatnonzero(part[today.alive]) for part in (~today.wide, today.wide))
        asked = np.ones(len(today.alive), dtype=bool) if told is None else told
        asked = asked[today.alive]
        some = np.flatnonzero((customers.p <= customers.level) | (repeats.p <= repeats.level) | asked[own])
        self.customers.tell(customers, today.rows[0], some, self.calm_days)
        self.repeats.tell(repeats, today.rows[0], some, self.calm_days)
        if not wide:
            return customers, repeats
        lane = wide[0]
        self.wide.tell(lane, today.rows[1], np.flatnonzero((lane.p <= lane.level) | asked[other]), self.calm_days)
        return merged(customers, own, lane, other), merged(repeats, own, silent(lane), other)

    def _lane(self, lot: Lot, counts: Array, alive: Flags, family: Ints, rate: float, opened: Flags) -> Lane:
        lot.room_for(len(counts))
        padded = np.zeros(lot.panel.series)
        padded[: len(counts)] = counts
        known = np.zeros(len(padded), dtype=bool)
        known[: len(alive)] = alive
        begins, families = np.zeros(len(padded), dtype=bool), np.full(len(padded), -1)
        begins[: len(alive)], families[: len(alive)] = opened, family
        lot.step(padded, known, begins, families)
        rows = np.flatnonzero(alive)
        lane = lot.lane(rows, by_day=lot is self.customers)
        lane.level[:] = levels(lane.p, family[rows], rate, self.at - lot.alarmed[rows] <= KNOWN_DAYS)
        lot.alarmed[rows[lane.p <= lane.level]] = self.at
        return lane

    def go_back(self, day: int) -> bool:
        """To before that day, or further; False where nothing was kept of so long ago."""
        while self._kept and self._kept[-1][0] > day:
            self._kept.pop()
        if self.at <= day:
            return True
        if not self._kept:
            return False
        self.at, lots = self._kept[-1][0], self._kept[-1][1]["lots"]
        for lot, held in zip((self.customers, self.repeats, self.wide), lots, strict=True):
            lot.go_back(held)
        self._kept.pop()
        return True

    @property
    def lots(self) -> tuple[Lot, Lot, Lot]:
        return self.customers, self.repeats, self.wide

    def newest(self) -> tuple[int, Any] | None:
        """The newest state that is kept: its day, and what the days from it on depend on."""
        return (self._kept[-1][0], self._kept[-1][1]["lots"]) if self._kept else None

    def restore(self, at: int, lots: list[dict[str, Any]], series: list[dict[str, Any]]) -> None:
        """To a state that was kept by another process, and `series`: what the blocks before it had brought."""
        for lot, held, blocks in zip(self.lots, lots, series, strict=True):
            lot.room_for(len(blocks["blocks"]) - 1)
            for name, value in blocks.items():
                setattr(lot.panel, name, value)
            lot.go_back(held)
        self.at = at
        self._kept = [(at, {"lots": lots})]

    def _keep(self) -> None:
        """One state a week of the last, fewer of those long ago."""
        self._kept.append((self.at, {"lots": (self.customers.held(), self.repeats.held(), self.wide.held())}))
        wanted: list[tuple[int, dict[str, Any]]] = []
        for number, least in enumerate(KEPT):
            most = KEPT[number + 1] if number + 1 < len(KEPT) else 10 * least
            inside = [one for one in self._kept if least <= (self.at - one[0]) // 7 < most]
            wanted += inside[:1]  # the oldest of each stretch grows into the next
        self._kept = [one for _, one in sorted({one[0]: one for one in wanted}.items())]


def levels(p: Array, family: Ints, rate: float, known: Flags) -> Array:
    """The p that each slice needed, so that p ≤ level is what `hierarchical` names: its family's rate, by how many of it were named.

    `known` slices alarm already: they are no discoveries of today. Otherwise a failure that goes on for months would for all that time
    double what is asked of everybody else.
    """
    if not len(p):
        return np.zeros(0)
    p = np.where(known, 1.0, p)
    motives, own = np.unique(family, return_inverse=True)
    sizes = np.bincount(own, minlength=len(motives)).astype(np.float64)
    named_motives = 0
    named: Array = np.zeros(len(motives))
    if (p <= rate).any():
        order = np.lexsort((p, own))
        starts = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
        rank = np.arange(len(p)) - starts[own[order]] + 1
        simes = np.minimum.reduceat(p[order] * sizes[own[order]] / rank, starts)
        tree = hierarchical(np.concatenate([simes, p]), [-1] * len(motives) + own.tolist(), rate)
        # hierarchical() numbers parents by place: motives stand first, in the order of their numbers.
        named_motives = int(tree[: len(motives)].sum())
        named = np.bincount(own, weights=tree[len(motives) :], minlength=len(motives)).astype(np.float64)
    at = rate * max(named_motives, 1) / len(motives)
    limit: Array = (at * np.maximum(named, 1.0) / sizes)[own]
    return limit
