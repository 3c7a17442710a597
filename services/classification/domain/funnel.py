"""Who is bad among peers, when peers differ by nature and some of them are small.

Observed complainants y_i beside what peers make one expect, E_i. Of a usual slice y_i is Poisson about E_i μ θ_i with a θ_i of its
own: gamma, mean 1, variance τ² (the *additive* random effect of Spiegelhalter 2005, "Handling over-dispersion of performance
indicators", here exact for small counts: the counts are negative binomial with variance φ m + τ² m², m = E μ). φ ≥ 1 is clumping
within a slice (his *multiplicative* form). A chronic slice has a rate `RATIOS` times as high, a good one as much lower.

μ and the share of chronic slices are estimated by EM over this mixture (two-group model: Efron 2008), at each τ of a grid: a chronic
slice weighs only as far as it may be a usual one, which does what winsorising its z-score does, without a cut. What is said of a
slice is its probability of being usual (local false discovery rate), averaged over τ by what counts and other tables make of each
(Bayesian model averaging: Hoeting et al. 1999), because a dozen peers tell little of τ and the likeliest one alone takes its luck for
knowledge. The chronic ones are the most probable set whose mean of that stays below `rate` (Newton et al. 2004), so that of all slices
ever named about that share is named wrongly.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import betainc, gammaln, ndtri

from services.classification.domain.numeric import Array

Mask = npt.NDArray[np.bool_]
RATIOS = ((1.6, 0.2), (2.0, 0.25), (2.5, 0.2), (3.2, 0.15), (4.5, 0.12), (8.0, 0.08))
"""Rates of chronic slices over usual ones, and how often each is to be expected."""
GOOD = 0.04
SPREADS = (0.02, 0.06, 0.1, 0.15, 0.2, 0.26, 0.34, 0.46, 0.6)
USUAL_SPREAD = 0.15
"""Natural differences between slices of one kind, a priori (coefficient of variation, exponential prior)."""
SHARE, WORTH = 1 / 16, 16.0
"""Beta prior of the share of chronic slices: one in sixteen, worth sixteen slices."""
ALIKE = 4.0
"""All other tables together say as much about natural differences as so many of them: motives differ in how much places differ,
and resemble each other in it."""
STEPS = 15


@dataclass(frozen=True, slots=True)
class Funnel:
    """Tables of peers (rows), an entry per slice.

    `expected`: E μ; `usual`: probability of being a usual slice; `z`: of the exact tail among usual slices (mid-p); `upper`: the
    count from which that tail is below 0.1 %; `spread`: τ and `share`: of chronic slices, per row, as means over what τ may be.
    """

    observed: Array
    expected: Array
    usual: Array
    z: Array
    upper: Array
    spread: Array
    share: Array


def compare(observed: Array, exposed: Array, *, dispersion: float = 1.0, share: float = SHARE) -> Funnel:
    """Judge slices by complainants and exposure (contracts, orders; or what a comparison of shares makes one expect).

    Each row is a table of its own (a motive), its columns peers. Rows lend each other what they say of τ (`ALIKE`); `share`:
    of chronic slices, a priori. Slices without exposure are usual. Raises ValueError for negative or not finite numbers.
    """
    if not (np.isfinite(observed).all() and np.isfinite(exposed).all()) or (observed < 0).any() or (exposed < 0).any():
        raise ValueError("counts and exposure must be finite and not negative")
    y, e = np.atleast_2d(observed.astype(np.float64)), np.atleast_2d(exposed.astype(np.float64))
    held = e > 0
    fits = [_mixture(np.where(held, y, 0.0), e, held, spread, dispersion, share) for spread in SPREADS]
    values = np.array([fit.value for fit in fits])  # spreads × rows
    likely = values - values.max(axis=0)
    telling = held.sum(axis=1) >= 3
    pooled = likely[:, telling].sum(axis=1)[:, None] - np.where(telling, likely, 0.0)
    others = max(int(telling.sum()) - 1, 1)
    spreads = np.array(SPREADS)[:, None]
    # A priori a spread stands for as much of the line as lies nearer to it than to its neighbours.
    scored = values - spreads / USUAL_SPREAD + np.log(np.gradient(spreads, axis=0)) + pooled * min(1.0, ALIKE / others)
    weight = np.exp(scored - scored.max(axis=0))
    weight /= weight.sum(axis=0)
    mu = (weight * np.array([fit.mu for fit in fits])).sum(axis=0)
    averaged = (weight[:, :, None] * np.array([fit.usual for fit in fits])).sum(axis=0)
    usual = np.where(held & telling[:, None], averaged, 1.0)
    spread = (weight * spreads).sum(axis=0)
    mean = e * mu[:, None]
    size = _size(mean, spread[:, None], dispersion)
    tail = _tail(y, mean, size)
    middle = tail - 0.5 * np.exp(_log_mass(np.where(held, y, 0.0), np.maximum(mean, 1e-12), np.maximum(size, 1e-12)))
    z = np.where(held, -ndtri(np.clip(middle, 1e-300, 1 - 1e-15)), 0.0)
    share_of = (weight * np.array([fit.share for fit in fits])).sum(axis=0)
    return Funnel(y, mean, usual, z, _upper(mean, size), spread, share_of)


def chosen(usual: Array, rate: float) -> Array:
    """The largest set of slices whose mean probability of being usual stays at or below `rate`, as a mask of any shape."""
    flat = usual.ravel()
    order = np.argsort(flat, kind="stable")
    means = np.cumsum(flat[order]) / np.arange(1, len(flat) + 1)
    # Nobody is named who is usual more likely than not, however sure the others are.
    count = int(np.sum((means <= rate) & (flat[order] < 0.5)))
    mask = np.zeros(len(flat), dtype=bool)
    mask[order[:count]] = True
    return mask.reshape(usual.shape)


@dataclass(frozen=True, slots=True)
class _Fit:
    value: Array
    mu: Array
    share: Array
    usual: Array


def _mixture(y: Array, e: Array, held: Mask, spread: float, dispersion: float, prior: float) -> _Fit:
    """EM for μ and the share of chronic slices of each row at a given τ, with its penalised log likelihood."""
    rates = np.array([1.0, *(ratio for ratio, _ in RATIOS), 1 / 1.6, 1 / 2.5])[:, None, None]
    parts = np.array([part for _, part in RATIOS])
    rows = len(y)
    # The rate of the half of peers in the middle, by volume: a first guess chronic slices hardly move.
    mu = np.maximum(y.sum(axis=1), 0.5) / np.maximum(e.sum(axis=1), 1e-12)
    for row in range(rows):
        if held[row].any():
            rate, weight = y[row, held[row]] / e[row, held[row]], e[row, held[row]]
            order = np.argsort(rate, kind="stable")
            reached = np.cumsum(weight[order]) - 0.5 * weight[order]
            mu[row] = max(float(np.interp(0.5 * weight.sum(), reached, rate[order])), 0.2 * mu[row])
    a, b = prior * WORTH, (1 - prior) * WORTH
    share = np.full(rows, prior)
    number = held.sum(axis=1)
    value, member = np.zeros(rows), np.ones((len(rates), *y.shape))
    for _ in range(STEPS):
        good = np.full((1, rows), GOOD / 2)
        weights = np.concatenate([(1 - share - GOOD)[None], share[None] * parts[:, None], good, good])[:, :, None]
        mean = np.maximum(e * mu[:, None], 1e-12)[None] * rates
        logs = _log_mass(y[None], mean, _size(mean, spread, dispersion)) + np.log(weights)
        top = logs.max(axis=0)
        member = np.exp(logs - top)
        total = member.sum(axis=0)
        member /= total
        value = np.where(held, np.log(total) + top, 0.0).sum(axis=1) + a * np.log(share) + b * np.log1p(-share)
        chronic = np.where(held, member[1 : len(RATIOS) + 1].sum(axis=0), 0.0).sum(axis=1)
        share = np.clip((chronic + a) / (number + a + b), 1e-4, 0.4)
        # Weighted by what a count tells of μ: its mean over its variance.
        tells = np.where(held, member / (dispersion + spread**2 * mean), 0.0)
        seen, usual = (tells * y[None]).sum(axis=(0, 2)), (tells * rates * e[None]).sum(axis=(0, 2))
        mu = np.maximum(seen / np.maximum(usual, 1e-300), 1e-12)
    return _Fit(value, mu, share, member[0] + member[-2:].sum(axis=0))


def _size(mean: Array, spread: float, dispersion: float) -> Array:
    return np.asarray(mean / np.maximum(dispersion - 1.0 + spread**2 * mean, 1e-9))


def _log_mass(y: Array, mean: Array, size: Array) -> Array:
    """Negative binomial."""
    return np.asarray(
        gammaln(y + size)
        - gammaln(size)
        - gammaln(y + 1.0)
        + size * np.log(size / (size + mean))
        + y * np.log(mean / (size + mean))
    )


def _tail(y: Array, mean: Array, size: Array) -> Array:
    mean = np.maximum(mean, 1e-12)
    return np.where(y <= 0, 1.0, betainc(np.maximum(y, 1e-9), np.maximum(size, 1e-9), mean / (size + mean)))


def _upper(mean: Array, size: Array) -> Array:
    """The least counts whose tail is at most 0.1 %, by bisection."""
    low, high = np.zeros_like(mean), 10.0 + 20.0 * mean
    for _ in range(40):
        middle = np.floor((low + high) / 2)
        above = _tail(middle, mean, size) > 1e-3
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return np.ceil(high)
