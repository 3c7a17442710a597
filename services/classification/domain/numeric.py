"""Tails of the distributions the monitor needs, for whole arrays, in numpy alone."""

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

_TINY = 1e-300
AT_ONCE = 16
# Lanczos's series for log Γ (g = 7, n = 9): Press et al., Numerical Recipes, 3rd ed., §6.1; relative error below 1e-14.
_LANCZOS = (
    0.99999999999980993,
    676.5203681218851,
    -1259.1392167224028,
    771.32342877765313,
    -176.61502916214059,
    12.507343278686905,
    -0.13857109526572012,
    9.9843695780195716e-6,
    1.5056327351493116e-7,
)


def log_gamma(x: npt.ArrayLike) -> Array:
    """log Γ(x) for x > 0."""
    value = np.asarray(x, dtype=np.float64)
    # The series holds from 0.5 on; below it Γ(x) = Γ(x + 1) / x.
    small = value < 0.5
    shifted = np.where(small, value + 1.0, value) - 1.0
    total = np.full_like(shifted, _LANCZOS[0])
    for index, coefficient in enumerate(_LANCZOS[1:], start=1):
        total += coefficient / (shifted + index)
    t = shifted + 7.5
    result = 0.5 * np.log(2 * np.pi) + (shifted + 0.5) * np.log(t) - t + np.log(total)
    logs: Array = np.where(small, result - np.log(np.where(small, value, 1.0)), result)
    return logs


def beta_regularised(x: npt.ArrayLike, a: npt.ArrayLike, b: npt.ArrayLike) -> Array:
    """I_x(a, b), the regularised incomplete beta function, by Lentz's continued fraction.

    Press et al., Numerical Recipes, 3rd ed., §6.4 (DLMF 8.17.22); absolute error below 1e-12.
    """
    x_, a_, b_ = np.broadcast_arrays(*(np.asarray(value, dtype=np.float64) for value in (x, a, b)))
    swap = x_ > (a_ + 1.0) / (a_ + b_ + 2.0)
    xs, as_, bs = np.where(swap, 1.0 - x_, x_), np.where(swap, b_, a_), np.where(swap, a_, b_)
    inside = (xs > 0.0) & (xs < 1.0)
    safe = np.where(inside, xs, 0.5)
    front = np.exp(log_gamma(as_ + bs) - log_gamma(as_) - log_gamma(bs) + as_ * np.log(safe) + bs * np.log1p(-safe))
    value = np.where(inside, front * _fraction(safe, as_, bs) / as_, np.where(xs >= 1.0, 1.0, 0.0))
    return np.clip(np.where(swap, 1.0 - value, value), 0.0, 1.0)


def _fraction(xs: Array, as_: Array, bs: Array) -> Array:
    """Each value's own number of terms: a value does not depend on which others are computed beside it."""
    x: Array = xs.ravel()
    a: Array = as_.ravel()
    b: Array = bs.ravel()
    found: Array = np.ones(len(x))
    left: npt.NDArray[np.int64] = np.arange(len(x))
    c = np.ones_like(x)
    d = 1.0 / _away_from_zero(1.0 - (a + b) * x / (a + 1.0))
    h = d.copy()
    for m in range(1, 600):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        d = 1.0 / _away_from_zero(1.0 + even * d)
        c = _away_from_zero(1.0 + even / c)
        h *= d * c
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        d = 1.0 / _away_from_zero(1.0 + odd * d)
        c = _away_from_zero(1.0 + odd / c)
        step = d * c
        h *= step
        going = ~(np.abs(step - 1.0) < 1e-13)
        if not going.all():
            found[left[~going]] = h[~going]
            left = left[going]
            x, a, b = x[going], a[going], b[going]
            c, d, h = c[going], d[going], h[going]
            if not len(left):
                break
    found[left] = h
    return found.reshape(xs.shape)


def _away_from_zero(value: Array) -> Array:
    return np.where(np.abs(value) < _TINY, _TINY, value)


def negative_binomial_tail(count: npt.ArrayLike, mean: npt.ArrayLike, variance: npt.ArrayLike) -> Array:
    """P(X ≥ count) for a negative binomial of that mean and variance; variance ≤ mean is taken as (nearly) Poisson.

    With size r = mean² / (variance − mean) and p = r / (r + mean): P(X ≥ k) = I_{1−p}(k, r) (DLMF 8.17.24).
    """
    k, mu, var = np.broadcast_arrays(*(np.asarray(value, dtype=np.float64) for value in (count, mean, variance)))
    mu = np.maximum(mu, 1e-12)
    var = np.maximum(var, mu * (1.0 + 1e-6))
    size = mu * mu / (var - mu)
    tail = beta_regularised(mu / (size + mu), np.maximum(k, 1e-12), size)
    return np.where(k <= 0, 1.0, tail)


def upper_limit(mean: float, variance: float, level: float) -> int:
    """The least count whose tail is at most `level`: seeing it or more is a signal."""
    low, high = 0, max(int(mean) * 2, 8)
    while True:
        # Many counts in one go cost little more than one: its time goes into calls for few numbers.
        tried = np.unique(np.linspace(low + 1, high, AT_ONCE).astype(np.int64))
        over = negative_binomial_tail(tried, mean, variance) > level
        if over.all():
            low, high = high, high * 2
            continue
        first = int(np.argmin(over))
        low, high = int(tried[first - 1]) if first else low, int(tried[first])
        if high - low <= 1:
            return high


def beta_quantile(level: float, a: float, b: float) -> float:
    """The x with I_x(a, b) = level, by bisection to 1e-12."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if float(beta_regularised(middle, a, b)) < level:
            low = middle
        else:
            high = middle
    return (low + high) / 2
