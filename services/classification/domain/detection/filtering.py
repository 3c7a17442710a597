"""Evidence that something is going on now: a hidden Markov filter over quiet levels, isolated incidents and events.

At each period a series is in one of these states: *quiet*, at one of five levels around its baseline (so that a baseline that is a
little off is no event); in an *isolated* incident of a period, of some size; in an *event* (short or lasting) of some size, or in an
event's *tail*. Each state says a negative binomial mean; the filter (Hamilton 1989, eq. 4) turns the past posterior, the transition
matrix and today's count into today's posterior. Its odds of event against the rest are a likelihood ratio mixed over all start times,
sizes and ends: memory that forgets by itself. Isolated states are the trimming: a single period, however high, is explained by
them, and two that stand apart have to be explained twice.

Negative binomial with size k = μ/(φ − 1); a state whose mean is m μ has size k m^c: c = 0 lets the noise of an event grow as its
size does (the log ratio is then y log m − (y + k) log((k + mμ)/(k + μ)), which needs no gamma function), c = 2 adds Poisson cases.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

Array = npt.NDArray[np.float64]

LEVELS = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
LEVEL_WEIGHTS = np.exp(-0.5 * LEVELS**2) / np.exp(-0.5 * LEVELS**2).sum()


@dataclass(frozen=True, slots=True)
class Kinds:
    """Sizes in standard deviations of a period, and how things begin and end per period."""

    short: tuple[float, ...] = (1.0, 2.0, 3.5, 6.0)
    lasting: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0)
    isolated: tuple[float, ...] = ()
    begin_short: float = 0.01
    begin_lasting: float = 0.004
    begin_isolated: float = 0.0
    profile: tuple[float, ...] = (1.0,)  # of a short event's phases, times its size
    stay_short: float = 0.5  # in a phase; otherwise on to the next, or to the end
    tail: float = 0.3  # of an ending short event goes into its tail
    skip: float = 0.0  # of a phase's leaving goes to the end at once
    stay_tail: float = 0.4
    tail_size: float = 0.2  # standard deviations
    stay_lasting: float = 0.97
    stay_isolated: float = 0.1
    resize: float = 0.1  # of an event's staying, to a neighbouring size
    stay_level: float = 0.95
    wander: float = 0.04  # standard deviation of the logarithm of the level, beside what the fit does not know
    crowding: float = 0.0  # c above
    fresh: float = 1.0  # weight of an event that begins now
    cases: float = (
        0.0  # the more cases an event has, the longer until its last: standard deviation at which half of the way to
    )
    tail_many: float = 0.0  # these instead of `tail`
    stay_many: float = 0.0  # and `stay_tail` is gone; 0 periods: one for all
    stay_after: float = 0.0  # a period, in the aftermath of an event; 0: none is told from other quiet
    after: float = 1.0  # share of the aftermath that speaks against an event
    unseen: float = 0.0  # further weight of an event in so far as the period before showed none


class Filter:
    """The state table of one frequency. Posteriors are arrays series × states."""

    def __init__(self, kinds: Kinds) -> None:
        self.kinds = kinds
        quiet, isolated, short, lasting = (
            len(LEVELS),
            len(kinds.isolated),
            len(kinds.short) * len(kinds.profile),
            len(kinds.lasting),
        )
        self.quiet = slice(0, quiet)
        self.isolated = slice(quiet, quiet + isolated)
        self.short = slice(self.isolated.stop, self.isolated.stop + short)
        self.lasting = slice(self.short.stop, self.short.stop + lasting)
        self.tail = self.lasting.stop
        self.event = slice(self.short.start, self.tail + 1)
        self.after = slice(self.tail + 1, self.tail + 1 + (quiet if kinds.stay_after else 0))
        self.states = self.after.stop
        self.sizes = np.zeros(self.states)
        self.sizes[self.isolated] = kinds.isolated
        self.sizes[self.short] = np.outer(kinds.profile, kinds.short).ravel()
        self.sizes[self.lasting] = kinds.lasting
        self.sizes[self.tail] = kinds.tail_size
        self.transition = self._transition(kinds.tail, kinds.stay_tail)
        self.many = self._transition(kinds.tail_many, kinds.stay_many) if kinds.cases else None
        self.start = np.zeros(self.states)
        self.start[self.quiet] = LEVEL_WEIGHTS

    def _transition(self, tail: float, stay_tail: float) -> Array:
        kinds, size = self.kinds, self.states
        matrix = np.zeros((size, size))
        begin = kinds.begin_short + kinds.begin_lasting + (kinds.begin_isolated if kinds.isolated else 0.0)
        quiet = np.zeros(size)
        quiet[self.quiet] = LEVEL_WEIGHTS
        onset = np.zeros(size)
        onset[self.short.start : self.short.start + len(kinds.short)] = kinds.begin_short / len(kinds.short)
        onset[self.lasting] = kinds.begin_lasting / len(kinds.lasting)
        if kinds.isolated:
            onset[self.isolated] = kinds.begin_isolated / len(kinds.isolated)
        self.onset = onset
        for row in range(size)[self.quiet]:
            matrix[row] = (1 - begin) * (1 - kinds.stay_level) * quiet + onset
            matrix[row, row] += (1 - begin) * kinds.stay_level
        for row in range(size)[self.isolated]:
            matrix[row] = (1 - kinds.stay_isolated) * ((1 - begin) * quiet + onset)
            matrix[row, self.isolated] += kinds.stay_isolated / len(kinds.isolated)
        phases, sizes = len(kinds.profile), len(kinds.short)
        for phase in range(phases):
            for number in range(sizes):
                row = self.short.start + phase * sizes + number
                self._stay(matrix, row, range(row - number, row - number + sizes), kinds.stay_short)
                leaving = 1 - kinds.stay_short
                if phase + 1 < phases:
                    matrix[row, row + sizes] += leaving * (1 - kinds.skip)
                    leaving *= kinds.skip
                matrix[row, self.tail] += leaving * tail
                matrix[row] += leaving * (1 - tail) * quiet
        rows = range(size)[self.lasting]
        for row in rows:
            self._stay(matrix, row, rows, kinds.stay_lasting)
            matrix[row] += (1 - kinds.stay_lasting) * quiet
        matrix[self.tail, self.tail] = stay_tail
        matrix[self.tail] += (1 - stay_tail) * quiet
        if kinds.stay_after:
            self._aftermath(matrix)
        assert np.allclose(matrix.sum(axis=1), 1.0)
        return matrix

    def _aftermath(self, matrix: Array) -> None:
        """Ends lead to levels of their own, from where it goes on as from the quiet ones, and which are left for those."""
        quiet, after, event = self.quiet, self.after, self.event
        matrix[event, after] = matrix[event, quiet]
        matrix[event, quiet] = 0.0
        matrix[after] = matrix[quiet]
        matrix[after, after] = self.kinds.stay_after * matrix[quiet, quiet]
        matrix[after, quiet] = (1.0 - self.kinds.stay_after) * matrix[quiet, quiet]

    def _stay(self, matrix: Array, row: int, rows: range, stay: float) -> None:
        """Staying, and growing or shrinking to a neighbouring size."""
        neighbours = [other for other in (row - 1, row + 1) if other in rows]
        matrix[row, row] += stay * (1 - self.kinds.resize * (len(neighbours) > 0))
        for other in neighbours:
            matrix[row, other] += stay * self.kinds.resize / len(neighbours)

    def ratios(self, mean: Array, dispersion: Array, variance: Array) -> Array:
        """Each state's mean over the baseline's, series × states. `variance`: of the logarithm of the baseline."""
        spread = np.sqrt(variance + self.kinds.wander**2)
        deviation = np.sqrt(dispersion / np.maximum(mean, 1e-9) + spread**2)
        found = 1.0 + self.sizes[None, :] * deviation[:, None]
        found[:, self.quiet] = np.exp(LEVELS[None, :] * spread[:, None])
        if self.kinds.stay_after:
            found[:, self.after] = found[:, self.quiet]
        ratios: Array = found
        return ratios

    def ahead(self, posterior: Array, mean: Array, dispersion: Array) -> Array:
        """The posterior carried one period on, before its count is known."""
        if self.many is None:
            prior: Array = posterior @ self.transition
            return prior
        deviation = np.sqrt(dispersion * mean)
        share = (deviation / (deviation + self.kinds.cases))[:, None]
        return posterior @ self.transition * (1.0 - share) + posterior @ self.many * share

    def step(
        self, posterior: Array, count: Array, mean: Array, dispersion: Array, ratios: Array
    ) -> tuple[Array, Array]:
        """The posterior after one more period, and the natural logarithm of the weighed odds of an event.

        The odds weigh an event that begins now by `fresh`: an alarm in its first period is worth more than one more in its third. They
        are against quiet that follows no event, and `after` of the quiet that does: false alarms are counted on series that had none.
        """
        prior = self.ahead(posterior, mean, dispersion)
        mean, count = np.maximum(mean, 1e-9)[:, None], count[:, None]
        # Beyond the largest event there is only "very much": otherwise the larger isolated sizes would explain day after day.
        count = np.minimum(count, mean * ratios[:, self.short].max(axis=1, keepdims=True) + 1.0)
        base = mean / np.maximum(dispersion - 1.0, 0.02)[:, None]
        if self.kinds.crowding:
            means, size = ratios * mean, base * ratios**self.kinds.crowding
            log = special.gammaln(count + size) - special.gammaln(size)
            log += count * np.log(means / (size + means)) - size * np.log1p(means / size)
        else:
            log = count * np.log(ratios) - (count + base) * np.log((base + ratios * mean) / (base + mean))
        log -= log.max(axis=1, keepdims=True)
        found = prior * np.exp(np.maximum(log, -60.0))
        found /= found.sum(axis=1, keepdims=True)
        event = found[:, self.event]
        total = event.sum(axis=1)
        calm = 1.0 - posterior[:, self.event].sum(axis=1)
        new = (event * (calm[:, None] * self.onset[self.event] / np.maximum(prior[:, self.event], 1e-300))).sum(axis=1)
        weighed = total + (self.kinds.fresh - 1.0) * new
        against = 1.0 - total
        if self.kinds.stay_after:
            weighed += self.kinds.unseen * total * (calm - posterior[:, self.after].sum(axis=1))
            against -= (1.0 - self.kinds.after) * found[:, self.after].sum(axis=1)
        odds: Array = np.log(np.maximum(weighed, 1e-12)) - np.log(np.maximum(against, 1e-12))
        return found, odds
