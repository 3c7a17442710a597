"""Intervals, quantiles and working days.

Every interval is two-sided at 95 %: Wilson for proportions, exact Poisson for counts per exposure, order statistics for
quantiles. Without enough observations there is no value, and the answer says so.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final, Literal

import numpy as np

Z95: Final = 1.959963984540054  # 97.5 % point of the normal distribution
TOO_FEW: Final = "too few"
MINIMUM: Final = 5
"""Observations below which a rate or a quantile is not shown: with four, a Wilson interval spans more than half the scale."""

type_value = float | Literal["too few"] | None


@dataclass(frozen=True, slots=True)
class Measured:
    """One value with what it was made of. `value` is None when there was nothing to measure, "too few" below the minimum."""

    value: type_value
    numerator: float | None
    denominator: float | None
    low: float | None
    high: float | None


def wilson(successes: float, trials: float, z: float = Z95) -> tuple[float, float]:
    """Score interval of a proportion, both ends in 0..1. Wilson (1927), JASA 22:209.

    ValueError when there are no trials or more successes than trials.
    """
    if trials <= 0 or not 0 <= successes <= trials:
        raise ValueError(f"{successes} successes of {trials} trials have no interval")
    p = successes / trials
    spread = z * math.sqrt(p * (1 - p) / trials + z * z / (4 * trials * trials))
    centre = p + z * z / (2 * trials)
    scale = 1 + z * z / trials
    # At the ends rounding leaves 1e-17 where the formula gives 0 or 1.
    low = 0.0 if successes == 0 else (centre - spread) / scale
    high = 1.0 if successes == trials else (centre + spread) / scale
    return max(0.0, low), min(1.0, high)


def _gamma_below(a: float, x: float) -> float:
    """Regularised lower incomplete gamma function P(a, x): series below a+1, continued fraction (Lentz) above."""
    if x <= 0:
        return 0.0
    front = math.exp(a * math.log(x) - x - math.lgamma(a))
    if x < a + 1:
        term = total = 1.0 / a
        n = a
        while abs(term) > abs(total) * 1e-15:
            n += 1
            term *= x / n
            total += term
        return total * front
    tiny = 1e-300
    b = x + 1 - a
    c = 1 / tiny
    d = 1 / b
    fraction = d
    for i in range(1, 100_000):
        an = -i * (i - a)
        b += 2
        d = 1 / ((an * d + b) or tiny)
        c = (b + an / c) or tiny
        step = d * c
        fraction *= step
        if abs(step - 1) < 1e-15:
            break
    return 1.0 - front * fraction


def _gamma_quantile(a: float, probability: float) -> float:
    """x with P(a, x) = probability, by bisection: forty halvings after bracketing, relative error below 1e-10."""
    low, high = 0.0, max(1.0, a)
    while _gamma_below(a, high) < probability:
        high *= 2
    for _ in range(200):
        middle = (low + high) / 2
        if _gamma_below(a, middle) < probability:
            low = middle
        else:
            high = middle
        if high - low <= 1e-12 * high:
            break
    return (low + high) / 2


def poisson_interval(count: int, alpha: float = 0.05) -> tuple[float, float]:
    """Exact interval of a Poisson mean given one count. Garwood (1936), Biometrika 28:437."""
    if count < 0:
        raise ValueError("a count is not negative")
    low = 0.0 if count == 0 else _gamma_quantile(count, alpha / 2)
    return low, _gamma_quantile(count + 1, 1 - alpha / 2)


def quantile(values: Sequence[tuple[float, int]], share: float) -> float:
    """The `share` quantile of (value, times) pairs, interpolated linearly between neighbours (Hyndman & Fan 1996, type 7)."""
    ordered = sorted(values)
    total = sum(times for _, times in ordered)
    if total <= 0:
        raise ValueError("nothing to take a quantile of")
    position = (total - 1) * share
    below = math.floor(position)
    left = _at_rank(ordered, below)
    right = _at_rank(ordered, min(below + 1, total - 1))
    return left + (right - left) * (position - below)


def _at_rank(ordered: Sequence[tuple[float, int]], rank: int) -> float:
    seen = 0
    for value, times in ordered:
        seen += times
        if rank < seen:
            return value
    raise IndexError(rank)


def quantile_interval(values: Sequence[tuple[float, int]], share: float) -> tuple[float, float]:
    """Distribution-free interval of a quantile from order statistics, ranks by the normal approximation of the binomial.

    Conover (1999), Practical Nonparametric Statistics, 3.2. With few values the ends are the smallest and the largest.
    """
    ordered = sorted(values)
    total = sum(times for _, times in ordered)
    spread = Z95 * math.sqrt(total * share * (1 - share))
    low = max(0, math.floor(total * share - spread) - 1)
    high = min(total - 1, math.ceil(total * share + spread))
    return _at_rank(ordered, low), _at_rank(ordered, high)


def proportion(successes: int, trials: int, *, scale: float = 100.0, minimum: int = MINIMUM) -> Measured:
    """A share with its Wilson interval, times `scale` (100: per cent)."""
    if trials == 0:
        return Measured(None, successes, 0, None, None)
    if trials < minimum:
        return Measured(TOO_FEW, successes, trials, None, None)
    low, high = wilson(successes, trials)
    return Measured(scale * successes / trials, successes, trials, scale * low, scale * high)


def counted(count: int) -> Measured:
    """A count, with the exact Poisson interval of the mean behind it."""
    low, high = poisson_interval(count)
    return Measured(count, count, None, low, high)


def level(count: int) -> Measured:
    """A state at an instant (open cases): it was counted, not sampled, so it has no interval."""
    return Measured(count, count, None, None, None)


def summarised(values: Iterable[tuple[float, int]], share: float, *, minimum: int = MINIMUM) -> Measured:
    """A quantile of (value, times) pairs: the denominator is how many were measured, the numerator likewise."""
    kept = list(values)
    total = sum(times for _, times in kept)
    if total == 0:
        return Measured(None, 0, 0, None, None)
    if total < minimum:
        return Measured(TOO_FEW, total, total, None, None)
    low, high = quantile_interval(kept, share)
    return Measured(quantile(kept, share), total, total, low, high)


def business_days(start: date, end: date, holidays: Iterable[date] = ()) -> int:
    """Working days after `start` up to and including `end` (Monday to Friday less holidays): the day of receipt is day 0.

    The clock of DISP 1.5 and of Ley 1755: it begins on the day after receipt. Never negative.
    """
    if end <= start:
        return 0
    day = timedelta(days=1)
    return int(np.busday_count(start + day, end + day, holidays=np.array(sorted(holidays), dtype="datetime64[D]")))
