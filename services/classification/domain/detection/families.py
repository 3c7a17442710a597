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
AIM = 1.4
"""Aimed at n, 1.1 to 1.8 n alarms began (12,288 and 24,576 quiet slices of levels 0.15 to 40, 50 to 118 days after the first learning): an
excursion may cross the cut twice, and there are somewhat more of them as time goes on. So less is aimed at."""
ENOUGH = 50.0
"""Excursions before they are believed: the median of fifty is uncertain by a fifth. Until then Ville's bound."""


@dataclass(slots=True)
class Quota:
    """Learns how far quiet slices exceed a threshold, and cuts so that `asked` alarms begin in `month` periods over all of them.

    Excess is a slice's odds (natural logarithm) less its own tabulated threshold. What counts is the top of each excursion above it:
    as many excursions reach a cut as alarms begin. Above a threshold excesses are exponential (Pickands 1975, Annals of Statistics
    3:119, shape 0: likelihood ratios have exponential tails); the rate comes from their median, which few real failures among them
    hardly move. What they add to the number of excursions makes the cut more careful, never less.
    """

    asked: float
    month: float
    peaks: Array  # per slice: top of the excursion under way, negative when none is
    tops: Array = field(default_factory=lambda: np.zeros(BINS))
    periods: float = 0.0

    @classmethod
    def of(cls, asked: float, month: float, slices: int) -> Self:
        """Raises ValueError unless the number asked for and the periods are positive."""
        if not asked > 0 or not month > 0:
            raise ValueError("alarms and periods of a month must be positive")
        return cls(asked, month, np.full(slices, -1.0))

    def learn(self, begin: int, excess: Array) -> None:
        """One period of the slices from `begin` on. Call `pass_` once a period when all of them are in."""
        peaks = self.peaks[begin : begin + len(excess)]
        over = np.where((peaks >= 0) & (excess < 0))[0]
        places = np.minimum((peaks[over] / WIDTH).astype(np.int64), BINS - 1)
        np.add.at(self.tops, places, 1.0)
        peaks[:] = np.where(excess < 0, -1.0, np.maximum(peaks, excess))

    def pass_(self) -> None:
        """A period of all slices has been learnt."""
        self.tops *= FADE
        self.periods = self.periods * FADE + 1.0

    def begin(self, periods: int) -> None:
        """The first so many periods have been learnt at once: all weigh alike, together as if they had come one by one."""
        self.periods = (1 - FADE**periods) / (1 - FADE)
        self.tops *= self.periods / periods

    def shift(self, bound: float) -> float:
        """What to add to each slice's threshold, from what was learnt so far; `bound` as long as that is too little."""
        scale = self.scale()
        if scale is None:
            return bound
        a_month = float(self.tops.sum()) / self.periods * self.month
        return max(0.0, float(np.log(a_month * AIM / self.asked)) * scale)

    def scale(self) -> float | None:
        """By how much more odds (natural logarithm) excursions grow e times rarer; None as long as too little was learnt to say."""
        total = float(self.tops.sum())
        if total < ENOUGH:
            return None
        sums = np.cumsum(self.tops)
        place = int(np.searchsorted(sums, total / 2))
        below = float(sums[place - 1]) if place else 0.0
        return WIDTH * (place + (total / 2 - below) / float(self.tops[place])) / float(np.log(2))


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
