"""Is a slice's stream of complainants still what its own past makes likely? Pure numpy, strictly on-line.

What is counted is *fresh complainants*: customers whose contact in the slice is their first within `WINDOWS[-1]` days, so
that sums over any window count each customer once, however often one person calls. The others, *repeats*, are watched beside
them with the same arithmetic: that is how one customer calling forty times is seen, and seen to be one.

For day d the baseline is the `history` days up to d − 14 (the last 14 are under test). Its parts:

* level and weekday pattern per slice, the pattern shrunk to that of all slices (gamma-Poisson, κ complainants);
* past outbreaks down-weighted by Anscombe residuals above 3 (Farrington et al. 1996; Noufaily et al. 2013, §3.4, there 2.58);
* overdispersion φ as Pearson's χ² / d.f. by day and by blocks of a week, the larger, shrunk to that of all slices;
* a factor for what all slices share in the tested window (season, a campaign, a holiday): observed over expected of the
  other slices, each capped at three standard deviations, so that a failure in one is not explained away.

The sum of the last 1, 3, 7 and 14 days is compared with a negative binomial of mean μ and variance
φ μ (1 + e/T) + (0.05 μ)²: the noise, the uncertainty of the level (e and T: exposure of window and baseline) and of the
pattern. **False alarms**: with S slices under watch, a slice and day is an alarm when 4 · min p ≤ far / S (Bonferroni over
windows and slices), so quiet streams give at most `far` alarms a day over *all* slices together, in expectation.

**Persistence**: without the two neighbouring days that stand out most, is the rest of the last 7 or 14 days still above?
(p ≤ 0.001.) An outage of a day is not; a change in how things work is.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from services.classification.domain.numeric import Array, negative_binomial_tail

WINDOWS = (1, 3, 7, 14)
TRIMMED = (7, 14)
GAP = WINDOWS[-1]
MIN_HISTORY = 28
KAPPA = 15.0
COMMON_PRIOR = 60.0
RESIDUAL_LIMIT = 3.0
PATTERN_CV = 0.05
DISPERSION_Z = 1.645
PERSISTENCE_LEVEL = 0.001
CALM_LEVEL = 0.05
METHOD = "window-scan-1"

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Rules:
    """How the monitor is set. `false_alarms_per_month`: expected alarms over all quiet slices together."""

    false_alarms_per_month: float = 0.25
    minimum_customers: int = 5
    history: int = 182
    calm_days: int = 5

    def level(self, slices: int) -> float:
        """The p-value at which one slice on one day is an alarm, windows already counted in."""
        return self.false_alarms_per_month / 30.4375 / max(slices, 1)


@dataclass(frozen=True, slots=True)
class Lane:
    """One evaluated day of one kind of count, an entry per slice. The window is the one with the least p."""

    p: Array  # 4 · min over windows, at most 1
    window: Counts
    observed: Array
    expected: Array
    variance: Array
    rate: Array
    dispersion: Array
    common: Array
    persistence: Array  # p of the trimmed rest
    recent: Array  # p of the last calm_days days
    known: npt.NDArray[np.bool_]  # enough history to judge


def evaluate(counts: Counts, day: int, first_weekday: int, rules: Rules) -> Lane:
    """Judge day `day` (a column) of every slice (a row); columns after it are not looked at.

    `first_weekday`: weekday of column 0, Monday = 0.
    """
    slices = counts.shape[0]
    end = day - GAP + 1  # first column under test
    start = max(0, end - rules.history)
    if end - start < MIN_HISTORY or slices == 0:
        return _nothing(slices)
    weekdays = (first_weekday + np.arange(day + 1)) % 7
    base = counts[:, start:end].astype(np.float64)
    base_days = weekdays[start:end]
    rate, pattern, weights, phi_day = _level(base, base_days)
    means = rate[:, None] * pattern[:, base_days]
    phi_block = _block_dispersion(base, means, weights)
    exposure = (weights * pattern[:, base_days]).sum(axis=1)
    tested = counts[:, end : day + 1].astype(np.float64)
    shape = pattern[:, weekdays[end : day + 1]]
    plain = rate[:, None] * shape

    phi_window = np.maximum(phi_day, phi_block)
    tests: list[_Test] = []
    commons: list[Array] = []
    for width in WINDOWS:
        phi = phi_day if width == 1 else phi_window
        seen, usual = tested[:, -width:].sum(axis=1), plain[:, -width:].sum(axis=1)
        commons.append(_common(seen, usual, phi))
        tests.append(_test(seen, usual * commons[-1], phi, shape[:, -width:].sum(axis=1), exposure))
    shared = plain * commons[-1][:, None]
    tests += [_trimmed(tested, shared, shape, phi_window, exposure, width) for width in TRIMMED]
    recent = slice(-rules.calm_days, None)
    recent_usual, recent_shape = shared[:, recent].sum(axis=1), shape[:, recent].sum(axis=1)
    tests.append(_test(tested[:, recent].sum(axis=1), recent_usual, phi_window, recent_shape, exposure))

    p = _tails(tests)
    windows, rest = p[: len(WINDOWS)], p[len(WINDOWS) : -1]
    best, rows = windows.argmin(axis=0), np.arange(slices)
    observed, expected, variance = (
        np.vstack(values)[best, rows] for values in zip(*tests[: len(WINDOWS)], strict=True)
    )
    return Lane(
        p=np.minimum(1.0, len(WINDOWS) * windows[best, rows]),
        window=np.array(WINDOWS)[best],
        observed=observed,
        expected=expected,
        variance=variance,
        rate=rate,
        dispersion=np.where(best == 0, phi_day, phi_window),
        common=np.vstack(commons)[best, rows],
        persistence=np.minimum(1.0, len(TRIMMED) * rest.min(axis=0)),
        recent=p[-1],
        known=np.ones(slices, dtype=bool),
    )


def _nothing(slices: int) -> Lane:
    zero, one = np.zeros(slices), np.ones(slices)
    window = np.ones(slices, dtype=np.int64)
    return Lane(one, window, zero, zero, one, zero, one, one, one, one, np.zeros(slices, dtype=bool))


def _level(base: Array, days: npt.NDArray[np.int64]) -> tuple[Array, Array, Array, Array]:
    """Rate a day, weekday pattern (mean 1 over the days seen), weights and daily overdispersion of every slice."""
    weights = np.ones_like(base)
    each = np.eye(7)[days]  # day × weekday
    per_weekday = each.sum(axis=0)
    rate = np.zeros(base.shape[0])
    pattern = np.ones((base.shape[0], 7))
    phi = np.ones(base.shape[0])
    for _ in range(3):
        held = weights * base
        total = held.sum(axis=0)
        pooled = _pattern(
            total @ each, np.ones(1) * weights.mean(axis=0) @ each, total.sum() / max(weights.mean(axis=0).sum(), 1e-9)
        )
        flat = held.sum(axis=1) / weights.sum(axis=1)
        by_weekday, days_weighed = held @ each, weights @ each
        pattern = (by_weekday + KAPPA * pooled) / (flat[:, None] * days_weighed + KAPPA)
        pattern /= (pattern @ per_weekday / per_weekday.sum())[:, None]
        # Half a complainant more than was seen (Jeffreys' prior): a slice never seen before is rare, not impossible.
        rate = (held.sum(axis=1) + 0.5) / (weights * pattern[:, days]).sum(axis=1)
        means = rate[:, None] * pattern[:, days]
        phi = _dispersion((base - means) ** 2 / means * weights, weights.sum(axis=1) - 1.0, rate, prior=30.0)
        anscombe = 1.5 * (base ** (2 / 3) * means ** (-1 / 6) - np.sqrt(means)) / np.sqrt(phi)[:, None]
        # At a mean far below one a single complaint is already a large residual; it is no outbreak.
        outlying = (anscombe > RESIDUAL_LIMIT) & (base >= 3)
        weights = np.where(outlying, (RESIDUAL_LIMIT / np.where(outlying, anscombe, 1.0)) ** 2, 1.0)
    return rate, pattern, weights, phi


def _pattern(totals: Array, days: Array, mean: float) -> Array:
    """Weekday factors of all slices together, shrunk a little to flat."""
    return np.asarray((totals + KAPPA) / (mean * days + KAPPA))


def _dispersion(squares: Array, freedom: Array, rate: Array, prior: float) -> Array:
    """Pearson's χ² / d.f., shrunk to the pooled value with the weight of `prior` degrees of freedom, never below 1."""
    own = squares.sum(axis=1)
    telling = rate > 0.02
    pooled = own[telling].sum() / max(freedom[telling].sum(), 1.0) if telling.any() else 1.0
    estimate = (own + prior * max(pooled, 1.0)) / (freedom + prior)
    # χ²/ν has a relative standard error of sqrt(2/ν). The upper end stands in for the value: far in the tail too small a
    # φ costs many false alarms (3 times too many with the plain estimate), too large a one costs a day's delay.
    limit: Array = np.maximum(1.0, estimate * (1.0 + DISPERSION_Z * np.sqrt(2.0 / (freedom + prior))))
    return limit


def _block_dispersion(base: Array, means: Array, weights: Array) -> Array:
    """Overdispersion of sums over a week: days that resemble their neighbours add up to more noise than days alone show."""
    blocks = base.shape[1] // 7
    used = blocks * 7
    steadied = (weights * base + (1 - weights) * means)[:, -used:]
    seen = steadied.reshape(base.shape[0], blocks, 7).sum(axis=2)
    usual = means[:, -used:].reshape(base.shape[0], blocks, 7).sum(axis=2)
    freedom = np.full(base.shape[0], max(blocks - 1.0, 1.0))
    return _dispersion((seen - usual) ** 2 / usual, freedom, usual.mean(axis=1), prior=12.0)


def _common(seen: Array, usual: Array, phi: Array) -> Array:
    """What the other slices show of a change that all share, between a half and double."""
    capped = np.minimum(seen, usual + 3.0 * np.sqrt(phi * usual))
    others_seen, others_usual = capped.sum() - capped, usual.sum() - usual
    factor: Array = np.clip((others_seen + COMMON_PRIOR) / (others_usual + COMMON_PRIOR), 0.5, 2.0)
    return factor


_Test = tuple[Array, Array, Array]  # seen, expected, variance: an entry per slice


def _test(seen: Array, mu: Array, phi: Array, tested: Array, exposure: Array) -> _Test:
    """A sum beside what the negative binomial expects; `tested` and `exposure` in days of an average weekday."""
    return seen, mu, phi * mu * (1.0 + tested / np.maximum(exposure, 1e-9)) + (PATTERN_CV * mu) ** 2


def _trimmed(tested: Array, means: Array, shape: Array, phi: Array, exposure: Array, width: int) -> _Test:
    """The last `width` days without the two neighbouring days of the largest excess."""
    rows = np.arange(tested.shape[0])
    seen, mu, form = tested[:, -width:], means[:, -width:], shape[:, -width:]
    excess = seen - mu
    first = (excess[:, :-1] + excess[:, 1:]).argmax(axis=1)
    rest, usual, exposed = (part.sum(axis=1) - part[rows, first] - part[rows, first + 1] for part in (seen, mu, form))
    return _test(rest, usual, phi, exposed, exposure)


def _tails(tests: Sequence[_Test]) -> Array:
    """Upper tails of all tests (rows) and slices (columns), computed in one go.

    Below one standard deviation over the expectation the tail is above every level in use; it is given as 1, unseen.
    """
    seen, mu, variance = (np.vstack(values) for values in zip(*tests, strict=True))
    p = np.ones_like(mu)
    above = (seen > 0) & (seen > mu + np.sqrt(variance))
    if above.any():
        p[above] = negative_binomial_tail(seen[above], mu[above], variance[above])
    return p
