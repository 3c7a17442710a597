"""Many slices: a stated number of alarms a month, and a stated share of false ones among what is named.

One cut for all would need the far tail of a quiet slice's odds. At 20 alarms a month of 100,000 slices that is one period in 150,000; the
tables end at one in 2,000, and beyond them a likelihood ratio only has Ville's bound, which quiet slices stay far below. So the operation's
own slices say how their tail goes on (an empirical null: Efron 2004, JASA 99:96): nearly all of them are quiet nearly always.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import numpy.typing as npt

from services.classification.domain.detection.baseline import Array

WIDTH, BINS = 0.05, 400
FADE = 0.99
"""Of what was learnt, a period: excursions of half a year ago weigh a sixth."""
AIM = 1.2
"""Tails fall off a little more slowly than their first half says, and excursions grow more frequent while fits go on. Fitted to three sets
of 20,480 quiet slices (levels from 0.15 to 60; flat, or with weekdays, seasons, trends and φ 1 to 3), four months after the history each;
on three sets drawn afterwards 0.8 to 0.9 as many alarms began as were asked for (20, 60 and 200 a month of 100,000), and .7 of 20 on two
draws of 100,000 slices."""
ENOUGH = 50.0
"""Excursions before they are believed: the median of fifty is uncertain by a fifth. Until then Ville's bound."""


@dataclass(slots=True)
class Quota:
    """Learns how far quiet slices exceed a threshold, and cuts so that `asked` alarms begin in `month` periods over all of them.

    Excess is a slice's odds (natural logarithm) less its own tabulated threshold. What counts is how often each level above it is
    crossed upwards, which is how often an alarm with that cut begins, twice where an excursion crosses it twice. Above a threshold
    excesses are exponential (Pickands 1975, Annals of Statistics 3:119, shape 0: likelihood ratios have exponential tails); the rate
    comes from the level that half of the crossings reach, which few real failures among them hardly move. What they add to the number
    of crossings makes the cut more careful, never less.
    """

    asked: float
    month: float
    before: Array  # per slice: the excess of the last period, negative when there was none
    crossings: Array = field(default_factory=lambda: np.zeros(BINS + 1))  # summed up from the left: of each level
    periods: float = 0.0

    @classmethod
    def of(cls, asked: float, month: float, slices: int) -> Self:
        """Raises ValueError unless the number asked for and the periods are positive."""
        if not asked > 0 or not month > 0:
            raise ValueError("alarms and periods of a month must be positive")
        return cls(asked, month, np.full(slices, -1.0))

    def learn(self, begin: int, excess: Array) -> None:
        """One period of the slices from `begin` on. Call `pass_` once a period when all of them are in."""
        before = self.before[begin : begin + len(excess)]
        up = np.flatnonzero((excess >= 0) & (excess > before))
        lowest = np.where(before[up] < 0, 0, np.floor(before[up] / WIDTH) + 1).astype(np.int64)
        np.add.at(self.crossings, np.minimum(lowest, BINS), 1.0)
        np.add.at(self.crossings, np.minimum(np.floor(excess[up] / WIDTH).astype(np.int64) + 1, BINS), -1.0)
        before[:] = np.where(excess < 0, -1.0, excess)

    def pass_(self) -> None:
        """A period of all slices has been learnt."""
        self.crossings *= FADE
        self.periods = self.periods * FADE + 1.0

    def begin(self, periods: int) -> None:
        """The first so many periods have been learnt at once: all weigh alike, together as if they had come one by one."""
        self.periods = (1 - FADE**periods) / (1 - FADE)
        self.crossings *= self.periods / periods

    def shift(self, bound: float) -> float:
        """What to add to each slice's threshold, from what was learnt so far; `bound` as long as that is too little."""
        scale = self.scale()
        if scale is None:
            return bound
        a_month = float(self._reached()[0]) / self.periods * self.month
        return max(0.0, float(np.log(a_month * AIM / self.asked)) * scale)

    def scale(self) -> float | None:
        """By how much more odds (natural logarithm) crossings grow e times rarer; None as long as too little was learnt to say."""
        reached = self._reached()
        total = float(reached[0])
        if total < ENOUGH:
            return None
        place = max(1, int(np.searchsorted(-reached, -total / 2, side="right")))
        part = np.log(reached[place - 1] / (total / 2)) / np.log(reached[place - 1] / reached[place])
        return WIDTH * (place - 1 + float(part)) / float(np.log(2))

    def _reached(self) -> Array:
        reached: Array = np.maximum(np.cumsum(self.crossings)[:BINS], 1e-9)
        return reached


def by_rate(p: Array, rate: float) -> npt.NDArray[np.bool_]:
    """Benjamini & Hochberg (1995), JRSS B 57:289: the set with at most a share `rate` of false ones in expectation."""
    order = np.argsort(p, kind="stable")
    passed = np.flatnonzero(p[order] <= rate * np.arange(1, len(p) + 1) / max(len(p), 1))
    chosen = np.zeros(len(p), dtype=bool)
    if len(passed):
        chosen[order[: passed[-1] + 1]] = True
    return chosen


def hierarchical(p: Array, parents: Sequence[int], rate: float) -> npt.NDArray[np.bool_]:
    """Slices named in a tree (motive, motive and contact point, further pairs): false ones among the named of each family stay rare.

    `parents`: the place of each slice's parent, −1 for the first level; a parent stands before its children. Families are the children
    of one parent. A family is looked into only when its parent is named, at a rate scaled down by how many families of that level were
    (Benjamini & Bogomolov 2014, JRSS B 76:297; tree of Yekutieli 2008, JASA 103:309). ValueError for a parent that stands after its child.
    """
    families: dict[int, list[int]] = {}
    for child, parent in enumerate(parents):
        if parent >= child:
            raise ValueError("a parent stands before its children")
        families.setdefault(parent, []).append(child)
    named = np.zeros(len(p), dtype=bool)
    level = [(-1, rate)] if -1 in families else []
    while level:
        following: list[int] = []
        open_, scale = 0, 0.0
        for parent, at in level:
            members = np.array(families[parent])
            found = members[by_rate(p[members], at)]
            named[found] = True
            heads = [int(one) for one in members if int(one) in families]
            open_ += len(heads)
            following += [int(one) for one in found if int(one) in families]
            scale = at
        level = [(parent, scale * len(following) / max(open_, 1)) for parent in following]
    return named
