"""Who is bad among peers, when peers differ by nature and some of them are small.

Observed complainants y_i beside what peers make one expect, E_i. Of a usual slice y_i is Poisson about E_i μ θ_i with a θ_i of its
own: gamma, mean 1, variance τ² (the *additive* random effect of Spiegelhalter 2005, "Handling over-dispersion of performance
indicators", here exact for small counts: the counts are negative binomial with variance φ m + τ² m², m = E μ). φ ≥ 1 is clumping
within a slice (his *multiplicative* form). A chronic slice has a rate `RATIOS` times as high, a good one as much lower.

μ, τ and the share of chronic slices are estimated together by EM over this mixture (two-group model: Efron 2008): a chronic slice
weighs in τ only as far as it may be a usual one, which does what winsorising its z-score does, without a cut. What is said of a
slice is its probability of being usual (local false discovery rate); the chronic ones are the most probable set whose mean of
that stays below `rate` (Newton et al. 2004), so that of all slices ever named about that share is named wrongly.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import betainc, gammaln, ndtri

from services.classification.domain.numeric import Array

RATIOS = ((1.6, 0.2), (2.0, 0.25), (2.5, 0.2), (3.2, 0.15), (4.5, 0.12), (8.0, 0.08))
"""Rates of chronic slices over usual ones, and how often each is to be expected."""
GOOD = 0.04
SPREADS = (0.02, 0.05, 0.08, 0.12, 0.16, 0.2, 0.25, 0.3, 0.38, 0.48, 0.6)
USUAL_SPREAD = 0.15
"""Natural differences between slices of one kind, a priori (coefficient of variation, exponential prior)."""
SHARE, WORTH = 1 / 16, 16.0
"""Beta prior of the share of chronic slices: one in sixteen, worth sixteen slices."""
STEPS = 25


@dataclass(frozen=True, slots=True)
class Funnel:
    """One look at peers, an entry per slice.

    `expected`: E μ; `usual`: probability of being a usual slice; `z`: of the exact tail among usual slices (mid-p); `upper`: the
    count from which that tail is below 0.1 %; `spread`: τ; `share`: of chronic slices.
    """

    observed: Array
    expected: Array
    usual: Array
    z: Array
    upper: Array
    spread: float
    share: float


def compare(
    observed: Array, exposed: Array, *, dispersion: float = 1.0, others: Array | None = None, share: float = SHARE
) -> Funnel:
    """Judge slices by complainants and exposure (contracts, orders; or what a comparison of shares makes one expect).

    Slices without exposure are usual. `others`: what tables of the same kind say of τ (`profile` of each, summed), a prior worth
    some of them; `share`: of chronic slices, a priori. Raises ValueError for negative or not finite numbers.
    """
    if not (np.isfinite(observed).all() and np.isfinite(exposed).all()) or (observed < 0).any() or (exposed < 0).any():
        raise ValueError("counts and exposure must be finite and not negative")
    y, e = observed.astype(np.float64), exposed.astype(np.float64)
    held = e > 0
    if held.sum() < 3:
        one = np.ones(len(y))
        return Funnel(y, e, one, np.zeros(len(y)), np.full(len(y), np.inf), 0.0, 0.0)
    fits = [_mixture(y[held], e[held], spread, dispersion, share) for spread in SPREADS]
    values = np.array([fit[0] for fit in fits]) - np.array(SPREADS) / USUAL_SPREAD
    if others is not None:
        values = values + others
    best = int(values.argmax())
    spread, (_, mu, found, inside) = SPREADS[best], fits[best]
    usual = np.ones(len(y))
    usual[held] = inside
    mean = e * mu
    size = _size(mean, spread, dispersion)
    tail = _tail(y, mean, size)
    middle = tail - 0.5 * np.exp(_log_mass(y, np.maximum(mean, 1e-12), size))
    z = -ndtri(np.clip(middle, 1e-300, 1 - 1e-15))
    return Funnel(y, mean, usual, np.where(held, z, 0.0), _upper(mean, size), spread, found)


def profile(observed: Array, exposed: Array, *, dispersion: float = 1.0) -> Array:
    """log likelihood of each of `SPREADS` less that of the best: what this table says of τ."""
    held = exposed > 0
    if held.sum() < 3:
        return np.zeros(len(SPREADS))
    y, e = observed[held].astype(np.float64), exposed[held].astype(np.float64)
    values = np.array([_mixture(y, e, spread, dispersion, SHARE)[0] for spread in SPREADS])
    return values - values.max()


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


def _mixture(y: Array, e: Array, spread: float, dispersion: float, prior: float) -> tuple[float, float, float, Array]:
    """EM for μ and the share of chronic slices at a given τ: penalised log likelihood, μ, share, probability of usual."""
    rates = np.array([1.0, *(ratio for ratio, _ in RATIOS), 1 / 1.6, 1 / 2.5])
    # The rate of the half of peers in the middle, by volume: a first guess chronic slices hardly move.
    order = np.argsort(y / e, kind="stable")
    weight = np.cumsum(e[order]) / e.sum()
    mu = float(np.interp(0.5, weight, (y / e)[order]))
    mu = max(mu, 0.2 * float((y.sum() + 0.5) / e.sum()), 1e-12)
    share, a, b = prior, prior * WORTH, (1 - prior) * WORTH
    value, member = -np.inf, np.zeros((len(rates), len(y)))
    for _ in range(STEPS):
        weights = np.array([1 - share - GOOD, *(share * part for _, part in RATIOS), GOOD / 2, GOOD / 2])
        mean = np.maximum(e * mu, 1e-12)[None, :] * rates[:, None]
        logs = _log_mass(y[None, :], mean, _size(mean, spread, dispersion)) + np.log(weights)[:, None]
        top = logs.max(axis=0)
        parts = np.exp(logs - top)
        total = parts.sum(axis=0)
        member = parts / total
        value = float((np.log(total) + top).sum()) + a * np.log(share) + b * np.log1p(-share)
        chronic = float(member[1 : len(RATIOS) + 1].sum())
        share = float(np.clip((chronic + a) / (len(y) + a + b), 1e-4, 0.4))
        # Weighted by what a count tells of μ: its mean over its variance.
        scale = rates[:, None] * e[None, :]
        tells = member / (dispersion + spread**2 * mean)
        mu = max(float((tells * y[None, :]).sum() / max((tells * scale).sum(), 1e-300)), 1e-12)
    return value, mu, share, member[0] + member[-2:].sum(axis=0)


def _size(mean: Array, spread: float, dispersion: float) -> Array:
    return np.asarray(mean / np.maximum(dispersion - 1.0 + spread**2 * mean, 1e-9))


def _log_mass(y: Array, mean: Array, size: Array) -> Array:
    """Negative binomial."""
    return np.asarray(
        gammaln(y + size) - gammaln(size) - gammaln(y + 1.0) + size * np.log(size / (size + mean)) + y * np.log(mean / (size + mean))
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
