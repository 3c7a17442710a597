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

**Going back.** A day's judgement depends on the counts up to it alone, never on when they came: rows are panels of `ROWS` whose spare ones
stand for slices that nothing is known of yet, and what is summed over slices is rounded before it is used.
"""

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from services.classification.domain.detection import thresholds
from services.classification.domain.detection.baseline import Array, Ints
from services.classification.domain.detection.families import Quota, hierarchical
from services.classification.domain.detection.panel import Flags, Panel, spread
from services.classification.domain.detection.settings import DAYS as LONE
from services.classification.domain.lanes import Lane, merged, silent
from services.classification.domain.numeric import negative_binomial_tail

METHOD = "odds-1"
DAYS = replace(LONE, shape=replace(LONE.shape, season_sd=0.15, trend_sd=0.1, held=1.0, gap=2))
"""As for a series alone, but for how much season and trend of its own a slice is given: what all share enters as exposure. With the
0.5 and 0.25 of a series alone a young slice's season and trend swallowed a drift that quintupled it within six weeks. The newest two weeks
are under test and no part of what is usual: of slices that tripled within twelve weeks 9 of 10 were found instead of 6 (4 a day)."""
ROWS = 128
"""Slices a panel: products of one shape, so that a slice's last digit does not depend on how many others there are."""
WINDOWS = (1, 3, 7, 14)
"""Days that a verdict may name as what was counted; the one whose sum stands out most."""
GAP = WINDOWS[-1]
ORDINARY = 0.01
"""What the named window stays below but for this share of times is called ordinary in a verdict, the choice of window counted in."""
YOUNG = 42
"""Days of recording before anything is judged: four weeks to know what is usual, and two under test."""
LANES = 3
MONTH = 30.4375
FROM = 1e-3
"""Share of days down to which the calibrated tables tell how rare odds are."""
TAIL = 0.75
"""By how much more odds are e times rarer beyond the tables, until the operation's own slices have told: the upper quartile of that slope
over the tables' levels and dispersions (median 0.63). Ville's bound would be 1, which the filter's odds hardly reach where hundreds of
slices are watched: as events may end any day, they stay near 5 between days that say much."""
WIDE_SHARE = 0.2
"""Of the false alarms asked for, what the series beside the first may give: 0.6 a year of the usual 3, as many as the weekly sweep. A failure
raises several of them at once, so that a stricter level costs them little."""
MOST_SHARE = 0.6
"""A slice with more of all complainants than this is not judged beside the others: nothing is left to tell what all share."""
COMMON_DAYS, COMMON_PRIOR, COMMON_LEAST, COMMON_MOST = 7, 60.0, 0.4, 2.5
GENERATION, BEHIND = 52, 104
"""Blocks of a generation, and how many before it are read when it begins: a service started again reads three years and says the same."""
CAREFUL_Z = 1.645
"""A day alone is judged by the upper end of its slice's dispersion φ: φ (1 + z √(2 / (complainants so far + 1)))."""
KNOWN_DAYS = 7
FAILING_DAYS = 28
"""Slices of a family in which something alarmed so lately tell nothing of quiet ones. One failure lasts in twenty wide slices: after six
weeks of two planted ones the operation's own tail had learnt their odds as usual, and no wide slice ever alarmed again that year."""
LONG_AGO = -1_000_000
ROOM = (GENERATION + BEHIND + 1) * 7
KEPT = (0, 1, 2, 4, 8, 16, 32, 64)
"""Weeks back, roughly, of which the state is kept to go back to."""


@dataclass(slots=True)
class _Last:
    """A day's numbers of all rows, before they are put together."""

    expected: Array
    variance: Array
    odds: Array
    base: Array
    exact: Array
    isolated: Array
    level: Array
    dispersion: Array
    careful: Array
    vague: Array
    common: Array
    ready: Flags


NAMES = tuple(field.name for field in fields(_Last))


class Lot:
    """One kind of count of all slices. The last row of the last panel is always spare: it is what a further panel begins as."""

    def __init__(self, first: int, zero: int, asked: float, *, shared: bool, among: "Lot | None" = None) -> None:
        self.asked, self.shared, self.zero, self.among = asked, shared, zero, among
        self.total, self.usually = 0.0, 0.0
        panel = Panel(DAYS, np.full(ROWS, first, dtype=np.int64), ROOM, zero=zero)
        if shared:
            panel.offsets = np.zeros_like(panel.blocks)
        self.panels = [panel]
        self.first = first
        self.factor = 1.0
        self.seen, self.means = np.zeros((ROWS, GAP)), np.zeros((ROWS, GAP))
        self.brought, self.due = np.zeros((ROWS, COMMON_DAYS)), np.zeros((ROWS, COMMON_DAYS))
        self.quota, self.days = Quota.of(asked, MONTH, ROWS), Quota.of(asked, MONTH, ROWS)
        self.alarmed = np.full(ROWS, LONG_AGO)
        self.most = np.zeros(ROWS, dtype=bool)  # `MOST_SHARE`
        self.failing = np.zeros(ROWS, dtype=bool)  # of a family in which something alarmed lately
        self.last: _Last | None = None

    def room_for(self, rows: int) -> None:
        while len(self.panels) * ROWS <= rows:
            self.panels.append(self.panels[-1].spread())
            self._lengthen()

    def _lengthen(self) -> None:
        """What is kept by row, as long as there are rows."""
        missing = len(self.panels) * ROWS - len(self.seen)
        for name in ("seen", "means", "brought", "due"):
            held = getattr(self, name)
            setattr(self, name, np.concatenate([held, np.repeat(held[-1:], missing, axis=0)]))
        self.alarmed = np.concatenate([self.alarmed, np.full(missing, LONG_AGO)])
        self.most = np.concatenate([self.most, np.zeros(missing, dtype=bool)])
        self.failing = np.zeros(len(self.most), dtype=bool)
        for quota in (self.quota, self.days):
            quota.before = np.concatenate([quota.before, np.full(missing, -1.0)])

    def step(self, counts: Array, alive: Flags) -> None:
        """The next day: counts and whether the slice was ever heard of, of all rows."""
        usual = np.concatenate([panel.usual() for panel in self.panels])
        phi = np.concatenate([panel.dispersion for panel in self.panels])
        seen = np.concatenate([panel.noise_mean for panel in self.panels])
        started = np.concatenate([panel.base.started for panel in self.panels])
        common = self._common(counts, usual, phi, alive & started) if self.shared else np.ones(len(usual))
        found = []
        for number, panel in enumerate(self.panels):
            part = slice(number * ROWS, (number + 1) * ROWS)
            judged = panel.step(counts[part], common[part] if self.shared else None)
            base = thresholds.cut_for_share(DAYS.name, FROM, judged.level, judged.dispersion)
            exact, _ = thresholds.score(DAYS.name, judged.odds, judged.level, judged.dispersion)
            found.append((judged, base, exact))
        for held, newest in ((self.seen, counts), (self.means, np.concatenate([one[0].expected for one in found]))):
            held[:, :-1] = held[:, 1:]
            held[:, -1] = newest
        self.last = _Last(
            expected=np.concatenate([one[0].expected for one in found]),
            variance=np.concatenate([one[0].variance for one in found]),
            odds=np.concatenate([one[0].odds for one in found]),
            base=np.concatenate([one[1] for one in found]),
            exact=np.concatenate([one[2] for one in found]),
            isolated=np.concatenate([one[0].isolated for one in found]),
            level=np.concatenate([one[0].level for one in found]),
            dispersion=np.concatenate([one[0].dispersion for one in found]),
            careful=phi * (1.0 + CAREFUL_Z * np.sqrt(2.0 / (seen + 1.0))),
            vague=np.concatenate([one[0].vague for one in found]),
            common=common,
            ready=started & (self.panels[0].at - 1 - self.first >= YOUNG - 1) & ~self.most,
        )
        if self.shared and self.panels[0].at % 7 == 0:
            self._pool(alive)

    def _common(self, counts: Array, usual: Array, phi: Array, known: Flags) -> Array:
        """What the others show of a change that all share. Who is held to fail by itself tells little of the others."""
        calm = np.concatenate([1.0 - panel.posterior[:, panel.filter.event].sum(axis=1) for panel in self.panels])
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

    def _pool(self, alive: Flags) -> None:
        """The weekdays of all slices together: what a young slice's are shrunk to."""
        by_weekday = np.concatenate([panel.by_weekday for panel in self.panels])[alive].sum(axis=0)
        flat = np.concatenate([panel.flat for panel in self.panels])[alive].sum(axis=0)
        prior = DAYS.pattern_prior
        week = (by_weekday + prior) / (flat + prior)
        week = np.round(week / week.mean(), 6)
        for panel in self.panels:
            panel.usual_week = week

    def lane(self, rows: Ints, calm_days: int, *, by_day: bool) -> Lane:
        """That day of some rows; its p before families are looked at. Learns how far quiet slices go."""
        last = self.last
        assert last is not None
        part = {name: getattr(last, name)[rows] for name in NAMES}
        ready, lanes = part["ready"], LANES if self.among is None else 1
        going_on = self._rarity(self.quota, rows, part["odds"] - part["base"], ready)
        going_on = np.where(part["odds"] > part["base"], np.minimum(going_on, FROM), 10.0 ** -part["exact"])
        going_on = np.where(ready, np.minimum(1.0, lanes * going_on), 1.0)
        one_day = np.ones(len(rows))
        if by_day:
            wide = part["careful"] * part["expected"] + part["vague"] * part["expected"] ** 2
            alone = _tails(self.seen[rows, -1], part["expected"], wide)
            rare = self._rarity(self.days, rows, np.log(FROM) - np.log(np.maximum(alone, 1e-300)), ready, tail=1.0)
            alone = np.where(alone < FROM, np.minimum(rare, FROM), alone)
            one_day = np.where(ready, np.minimum(1.0, LANES * alone), 1.0)
        window, observed, expected, variance = self._window(rows, part)
        days = min(calm_days, GAP)
        lately, usually = self.seen[rows, -days:].sum(axis=1), self.means[rows, -days:].sum(axis=1)
        recent = _tails(lately, usually, part["dispersion"] * usually + part["vague"] * usually**2)
        p = np.minimum(going_on, one_day)
        return Lane(
            p=p,
            level=np.zeros(len(rows)),
            going_on=going_on,
            one_day=one_day,
            odds=part["odds"],
            base=part["base"],
            isolated=part["isolated"],
            window=window,
            observed=observed,
            expected=expected,
            variance=variance,
            recent=recent,
            rate=part["level"],
            dispersion=part["dispersion"],
            careful=part["careful"],
            common=part["common"],
            known=ready,
        )

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

    def _window(self, rows: Ints, part: dict[str, Array]) -> tuple[Ints, Array, Array, Array]:
        """The window whose sum stands out most, in standard deviations."""
        found = []
        for width in WINDOWS:
            seen, mean = self.seen[rows, -width:].sum(axis=1), self.means[rows, -width:].sum(axis=1)
            found.append((seen, mean, np.maximum(part["dispersion"] * mean + part["vague"] * mean**2, 1e-9)))
        z = np.vstack([(seen - mean) / np.sqrt(variance) for seen, mean, variance in found])
        best, each = np.round(z, 9).argmax(axis=0), np.arange(len(rows))
        observed, expected, variance = (np.vstack(values)[best, each] for values in zip(*found, strict=True))
        return np.array(WINDOWS)[best], observed, expected, variance

    def held(self) -> dict[str, Any]:
        """What the days to come depend on."""
        return {
            "panels": [panel.held() for panel in self.panels],
            "factor": self.factor,
            **{name: getattr(self, name).copy() for name in ("seen", "means", "brought", "due")},
            "alarmed": self.alarmed.copy(),
            "most": self.most.copy(),
            "quotas": [(one.before.copy(), one.crossings.copy(), one.periods) for one in (self.quota, self.days)],
        }

    def go_back(self, held: dict[str, Any]) -> None:
        kept = list(held["panels"])
        kept += [spread(kept[-1])] * (len(self.panels) - len(kept))
        for panel, state in zip(self.panels, kept, strict=True):
            panel.go_back(state)
        self.factor = held["factor"]
        for name in ("seen", "means", "brought", "due", "alarmed", "most"):
            setattr(self, name, held[name].copy())
        for quota, (before, crossings, periods) in zip((self.quota, self.days), held["quotas"], strict=True):
            quota.before, quota.crossings, quota.periods = before.copy(), crossings.copy(), periods
        self._lengthen()
        self.last = None


class Judges:
    """Days are numbered from 1970-01-05, a Monday. `begin`: the first that is no mere zero; `at`: the next to be judged."""

    def __init__(self, begin: int, false_alarms_per_month: float, calm_days: int) -> None:
        self.begin, self.asked, self.calm_days = begin, false_alarms_per_month, calm_days
        self.at = self.monday = begin // 7 * 7
        zero = self.monday // 7
        self.customers = Lot(begin - self.monday, zero, false_alarms_per_month / LANES, shared=True)
        self.repeats = Lot(begin - self.monday, zero, false_alarms_per_month / LANES, shared=False)
        self.wide = Lot(begin - self.monday, zero, false_alarms_per_month, shared=True, among=self.customers)
        self._kept: list[tuple[int, dict[str, Any]]] = []

    def step(
        self, fresh: Array, again: Array, alive: Flags, family: Ints, wide: Flags | None = None
    ) -> tuple[Lane, Lane]:
        """The next day of all slices: complainants, repeats, whether the slice was heard of by then, its family's number, and whether
        it is of a series beside the first (`wide`; None: none is).

        Judged are the slices that were heard of, in their order. Of wide ones whether something goes on is asked, and nothing else.
        """
        if self.at % 7 == 0 and not (self._kept and self._kept[-1][0] == self.at):
            self._keep()
        wide = np.zeros(len(alive), dtype=bool) if wide is None else wide
        first, beside = np.flatnonzero(~wide), np.flatnonzero(wide)
        rate = self.asked / MONTH
        shares = (1.0 - WIDE_SHARE, WIDE_SHARE) if len(beside) else (1.0, 0.0)
        lanes = [
            self._lane(lot, counts[first], alive[first], family[first], rate * shares[0])
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
            lane = self._lane(self.wide, fresh[beside], alive[beside], family[beside], rate * shares[1])
            own, other = np.flatnonzero(~wide[alive]), np.flatnonzero(wide[alive])
            lanes = [merged(lanes[0], own, lane, other), merged(lanes[1], own, silent(lane), other)]
        self.at += 1
        return lanes[0], lanes[1]

    def _lane(self, lot: Lot, counts: Array, alive: Flags, family: Ints, rate: float) -> Lane:
        lot.room_for(len(counts))
        padded = np.zeros(len(lot.panels) * ROWS)
        padded[: len(counts)] = counts
        known = np.zeros(len(padded), dtype=bool)
        known[: len(alive)] = alive
        lot.step(padded, known)
        rows = np.flatnonzero(alive)
        lane = lot.lane(rows, self.calm_days, by_day=lot is self.customers)
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

    def restore(self, at: int, lots: list[dict[str, Any]], series: list[list[dict[str, Any]]]) -> None:
        """To a state that was kept by another process, and `series`: what the blocks before it had brought, a panel each."""
        for lot, held, panels in zip(self.lots, lots, series, strict=True):
            lot.room_for(len(panels) * ROWS - 1)
            for panel, blocks in zip(lot.panels, panels, strict=True):
                for name, value in blocks.items():
                    setattr(panel, name, value)
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


def _tails(seen: Array, mean: Array, variance: Array) -> Array:
    """Upper tails; below one standard deviation over the mean the tail is above every level in use and given as 1, unseen."""
    p = np.ones(len(seen))
    above = (seen > 0) & (seen > mean + np.sqrt(variance))
    if above.any():
        p[above] = negative_binomial_tail(seen[above], mean[above], variance[above])
    return p
