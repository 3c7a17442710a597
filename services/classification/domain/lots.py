"""One kind of count of all slices under watch, a day at a time: what `judges` puts together."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from services.classification.domain.borrowing import lend, nothing
from services.classification.domain.detection.baseline import Array, Ints
from services.classification.domain.detection.families import Quota
from services.classification.domain.detection.holidays import Holidays
from services.classification.domain.detection.panel import Flags
from services.classification.domain.detection.settings import DAYS as LONE
from services.classification.domain.detection.stacked import ROWS, Rarities, Stack
from services.classification.domain.lanes import Lane
from services.classification.domain.numeric import negative_binomial_tail

DAYS = replace(LONE, shape=replace(LONE.shape, season_sd=0.15, trend_sd=0.1, held=1.0, gap=2), young=14)
"""As for a series alone, but for how much season and trend of its own a slice is given: what all share enters as exposure. With the
0.5 and 0.25 of a series alone a young slice's season and trend swallowed a drift that quintupled it within six weeks. The newest two weeks
are under test and no part of what is usual: of slices that tripled within twelve weeks 9 of 10 were found instead of 6 (4 a day)."""
WINDOWS = (1, 3, 7, 14)
"""Days that a verdict may name as what was counted; the one whose sum stands out most."""
GAP = WINDOWS[-1]
YOUNG = 42
"""Days of recording before anything is judged: four weeks to know what is usual, and two under test."""
LEARNT = 14
"""The same where a slice borrows its level and noise: two whole weeks of its own."""
NEW_PLACE = 28
"""Days of recording before a place that is first heard of is a new one, and days after that in which what begins there is new with it. A
motive or a cause that turns up is no new place: it could have come before, and did not."""
NEAR = 3
"""Blocks up to which a young slice is fitted to all it has but its newest week; after them the newest two are under test like everybody's.
Fitted to all it had for six blocks, of slices that began to fail after three weeks half were never told."""
LANES = 3
MONTH = 30.4375
FROM = 1e-3
"""Share of days down to which the calibrated tables tell how rare odds are."""
TAIL = 0.75
"""By how much more odds are e times rarer beyond the tables, until the operation's own slices have told: the upper quartile of that slope
over the tables' levels and dispersions (median 0.63). Ville's bound would be 1, which the filter's odds hardly reach where hundreds of
slices are watched: as events may end any day, they stay near 5 between days that say much."""
MOST_SHARE = 0.6
"""A slice with more of all complainants than this is not judged beside the others: nothing is left to tell what all share."""
COMMON_DAYS, COMMON_PRIOR, COMMON_LEAST, COMMON_MOST = 7, 60.0, 0.4, 2.5
GENERATION, BEHIND = 52, 104
"""Blocks of a generation, and how many before it are read when it begins: a service started again reads three years and says the same."""
CAREFUL_Z = 1.645
"""A day alone is judged by the upper end of its slice's dispersion φ: φ (1 + z √(2 / (complainants so far + 1)))."""
LONG_AGO = -1_000_000
ROOM = (GENERATION + BEHIND + 1) * 7


@dataclass(slots=True)
class _Last:
    """A day's numbers of all rows, before they are put together."""

    expected: Array
    odds: Array
    base: Array
    isolated: Array
    level: Array
    dispersion: Array
    careful: Array
    vague: Array
    common: Array
    unknown: Array
    factor: Array
    ready: Flags


NAMES = tuple(field.name for field in fields(_Last))


class Lot:
    """One kind of count of all slices. The last row is always spare: it is what further ones begin as."""

    def __init__(
        self,
        first: int,
        zero: int,
        asked: float,
        *,
        shared: bool,
        among: "Lot | None" = None,
        holidays: Sequence[int] = (),
    ) -> None:
        self.asked, self.shared, self.zero, self.among = asked, shared, zero, among
        self.total, self.usually = 0.0, 0.0
        self.panel = Stack(DAYS, np.full(ROWS, first, dtype=np.int64), ROOM, zero=zero)
        if holidays:
            self.panel.holidays = Holidays(holidays, ROWS, among=True)
        if shared or holidays:
            self.panel.offsets = np.zeros_like(self.panel.blocks)
        self.rarities = Rarities(DAYS.name, FROM)
        self.first = first
        self.factor = 1.0
        self.seen, self.means = np.zeros((ROWS, GAP)), np.zeros((ROWS, GAP))
        self.brought, self.due = np.zeros((ROWS, COMMON_DAYS)), np.zeros((ROWS, COMMON_DAYS))
        self.quota, self.days = Quota.of(asked, MONTH, ROWS), Quota.of(asked, MONTH, ROWS)
        self.alarmed = np.full(ROWS, LONG_AGO)
        self.most = np.zeros(ROWS, dtype=bool)  # `MOST_SHARE`
        self.borrowed = nothing(ROWS)
        self.failing = np.zeros(ROWS, dtype=bool)  # of a family in which something alarmed lately
        self.last: _Last | None = None

    def room_for(self, rows: int) -> None:
        while self.panel.series <= rows:
            self.panel.grow()
            self._lengthen()

    def _lengthen(self) -> None:
        """What is kept by row, as long as there are rows."""
        missing = self.panel.series - len(self.seen)
        for name in ("seen", "means", "brought", "due", "borrowed"):
            held = getattr(self, name)
            setattr(self, name, np.concatenate([held, np.repeat(held[-1:], missing, axis=0)]))
        self.alarmed = np.concatenate([self.alarmed, np.full(missing, LONG_AGO)])
        self.most = np.concatenate([self.most, np.zeros(missing, dtype=bool)])
        self.failing = np.zeros(len(self.most), dtype=bool)
        for quota in (self.quota, self.days):
            quota.before = np.concatenate([quota.before, np.full(missing, -1.0)])

    def step(self, counts: Array, alive: Flags, opened: Flags | None = None, family: Ints | None = None) -> None:
        """The next day: counts and whether the slice was ever heard of, of all rows; `opened`: those that begin today with a new place."""
        panel = self.panel
        if opened is not None and opened.any():
            assert family is not None
            self._lend(np.flatnonzero(opened), alive, family)
        usual, phi, seen, started = panel.usual(), panel.dispersion, panel.noise_mean, panel.base.started.copy()
        common = self._common(counts, usual, phi, alive & started) if self.shared else np.ones(len(usual))
        careful = phi * (1.0 + CAREFUL_Z * np.sqrt(2.0 / (seen + 1.0)))
        judged = panel.step(counts, common if self.shared else None)
        self.rarities.at(judged.level, judged.dispersion)
        for held, newest in ((self.seen, counts), (self.means, judged.expected)):
            held[:, :-1] = held[:, 1:]
            held[:, -1] = newest
        self.last = _Last(
            expected=judged.expected,
            odds=judged.odds,
            base=self.rarities.base,
            isolated=judged.isolated,
            level=judged.level,
            dispersion=judged.dispersion,
            careful=careful,
            vague=judged.vague,
            common=common,
            unknown=judged.unknown,
            factor=judged.factor,
            ready=started & (panel.at - panel.first >= np.where(panel.first > self.first, LEARNT, YOUNG)) & ~self.most,
        )
        if self.shared and panel.at % 7 == 0:
            self._pool(alive)
        if panel.holidays is not None and panel.at % 7 == 0:
            panel.holidays.pool(alive)

    def _common(self, counts: Array, usual: Array, phi: Array, known: Flags) -> Array:
        """What the others show of a change that all share. Who is held to fail by itself tells little of the others."""
        calm = 1.0 - self.panel.posterior[:, self.panel.filter.event].sum(axis=1)
        weight = np.where(known, calm, 0.0)
        for held, newest in ((self.brought, counts), (self.due, usual)):
            held[:, :-1] = held[:, 1:]
            held[:, -1] = np.where(known, newest, 0.0)
        expected = self.due.sum(axis=1)
        limit = self.factor * expected
        limit += 3.0 * np.sqrt(phi * limit) + 1.0
        if self.among is None:
            seen, expected = weight * np.minimum(self.brought.sum(axis=1), limit), weight * expected
            self.total, self.usually = round(float(seen.sum()), 6), round(float(expected.sum()), 6)
            total, usually = self.total, self.usually
        else:
            # Each contact is in one slice of the first series: what the others brought is all of that, less one's own.
            total, usually, held = self.among.total, self.among.usually, expected
            seen, expected = np.minimum(self.brought.sum(axis=1), limit), np.minimum(expected, usually)
            seen = np.minimum(seen, total)
            self.most = held > MOST_SHARE * usually
        self.factor = float(np.clip((total + COMMON_PRIOR) / (usually + COMMON_PRIOR), COMMON_LEAST, COMMON_MOST))
        others: Array = (total - seen + COMMON_PRIOR) / (usually - expected + COMMON_PRIOR)
        return np.clip(others, COMMON_LEAST, COMMON_MOST)

    def _lend(self, rows: Ints, alive: Flags, family: Ints) -> None:
        """What new slices borrow: the level that a slice of their family has, and its noise; without a family, of all slices."""
        panel = self.panel
        levels = panel.base.typical(np.ones(panel.series)) / panel.setting.block
        known = alive & panel.base.started & (panel.first == self.first)
        known[rows] = False  # they have stood for nothing so far
        today = self.zero * panel.setting.block + panel.at
        lent = lend(rows, known, family, levels, panel.noise_mean, panel.dispersion, today)
        self.borrowed[rows] = lent
        _, level, weight, phi = lent[:, :4].T
        panel.begin(rows, level, weight, phi, NEAR)

    def _pool(self, alive: Flags) -> None:
        """The weekdays of all slices together: what a young slice's are shrunk to."""
        by_weekday, flat = self.panel.by_weekday[alive].sum(axis=0), self.panel.flat[alive].sum(axis=0)
        prior = DAYS.pattern_prior
        week = (by_weekday + prior) / (flat + prior)
        self.panel.usual_week = np.round(week / week.mean(), 6)

    def lane(self, rows: Ints, *, by_day: bool) -> Lane:
        """That day of some rows; its p before families are looked at. Learns how far quiet slices go. `tell` says the rest."""
        last = self.last
        assert last is not None
        part = {name: getattr(last, name)[rows] for name in NAMES}
        ready, lanes = part["ready"], LANES if self.among is None else 1
        going_on = self._rarity(self.quota, rows, part["odds"] - part["base"], ready)
        within = np.flatnonzero(ready & ~(part["odds"] > part["base"]))
        going_on = np.minimum(going_on, FROM)
        going_on[within] = 10.0 ** -self.rarities.exact(last.odds, rows[within])
        going_on = np.where(ready, np.minimum(1.0, lanes * going_on), 1.0)
        one_day = np.ones(len(rows))
        if by_day:
            wide = part["careful"] * part["expected"] + (part["vague"] + part["unknown"]) * part["expected"] ** 2
            alone = _tails(self.seen[rows, -1], part["expected"], wide)
            rare = self._rarity(self.days, rows, np.log(FROM) - np.log(np.maximum(alone, 1e-300)), ready, tail=1.0)
            alone = np.where(alone < FROM, np.minimum(rare, FROM), alone)
            one_day = np.where(ready, np.minimum(1.0, LANES * alone), 1.0)
        return Lane(
            p=np.minimum(going_on, one_day),
            level=np.zeros(len(rows)),
            going_on=going_on,
            one_day=one_day,
            odds=part["odds"],
            base=part["base"],
            isolated=part["isolated"],
            window=np.zeros(len(rows), dtype=np.int64),
            observed=np.zeros(len(rows)),
            expected=np.zeros(len(rows)),
            variance=np.zeros(len(rows)),
            recent=np.ones(len(rows)),
            rate=part["level"],
            dispersion=part["dispersion"],
            careful=part["careful"],
            common=part["common"],
            factor=part["factor"],
            known=ready,
            borrowed=self.borrowed[rows],
        )

    def tell(self, lane: Lane, rows: Ints, some: Ints, calm_days: int) -> None:
        """What some of the lane's slices (places in `rows`) brought in the window that says most, and whether their last days are as usual."""
        last = self.last
        assert last is not None
        rows = rows[some]
        dispersion, vague = last.dispersion[rows], last.vague[rows]
        lane.window[some], lane.observed[some], lane.expected[some], lane.variance[some] = self._window(
            rows, dispersion, vague
        )
        days = min(calm_days, GAP)
        lately, usually = self.seen[rows, -days:].sum(axis=1), self.means[rows, -days:].sum(axis=1)
        lane.recent[some] = _tails(lately, usually, dispersion * usually + vague * usually**2)

    def _rarity(self, quota: Quota, rows: Ints, excess: Array, ready: Flags, tail: float = TAIL) -> Array:
        """How rarely a quiet slice goes so far beyond what one shows on one day in 1,000 (natural logarithm); learns from that day."""
        scale = quota.scale()
        if scale is None:
            found = FROM * np.exp(-np.maximum(excess, 0.0) / tail)
        else:
            found = self.asked / MONTH / len(rows) * np.exp(-(excess - quota.shift(0.0)) / scale)
        learnt = np.full(len(quota.before), -1.0)
        # Failures tell nothing of quiet slices, and one raises many wide ones: what alarmed lately is left out.
        learnt[rows] = np.where(ready & ~self.failing[rows], excess, -1.0)
        if ready.any():
            quota.learn(0, learnt)
            quota.pass_()
        return found

    def _window(self, rows: Ints, dispersion: Array, vague: Array) -> tuple[Ints, Array, Array, Array]:
        """The window whose sum stands out most, in standard deviations."""
        found = []
        for width in WINDOWS:
            seen, mean = self.seen[rows, -width:].sum(axis=1), self.means[rows, -width:].sum(axis=1)
            found.append((seen, mean, np.maximum(dispersion * mean + vague * mean**2, 1e-9)))
        z = np.vstack([(seen - mean) / np.sqrt(variance) for seen, mean, variance in found])
        best, each = np.round(z, 9).argmax(axis=0), np.arange(len(rows))
        observed, expected, variance = (np.vstack(values)[best, each] for values in zip(*found, strict=True))
        return np.array(WINDOWS)[best], observed, expected, variance

    def held(self) -> dict[str, Any]:
        """What the days to come depend on."""
        return {
            "panel": self.panel.held(),
            "factor": self.factor,
            **{name: getattr(self, name).copy() for name in ("seen", "means", "brought", "due", "borrowed")},
            "alarmed": self.alarmed.copy(),
            "most": self.most.copy(),
            "quotas": [(one.before.copy(), one.crossings.copy(), one.periods) for one in (self.quota, self.days)],
        }

    def go_back(self, held: dict[str, Any]) -> None:
        self.panel.go_back(held["panel"])
        self.factor = held["factor"]
        for name in ("seen", "means", "brought", "due", "borrowed", "alarmed", "most"):
            setattr(self, name, held[name].copy())
        for quota, (before, crossings, periods) in zip((self.quota, self.days), held["quotas"], strict=True):
            quota.before, quota.crossings, quota.periods = before.copy(), crossings.copy(), periods
        self._lengthen()
        self.last = None


def _tails(seen: Array, mean: Array, variance: Array) -> Array:
    """Upper tails; below one standard deviation over the mean the tail is above every level in use and given as 1, unseen."""
    p = np.ones(len(seen))
    above = (seen > 0) & (seen > mean + np.sqrt(variance))
    if above.any():
        p[above] = negative_binomial_tail(seen[above], mean[above], variance[above])
    return p
