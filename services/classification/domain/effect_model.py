"""What the slice would have done without the action, and how far what it did is from that.

Counts of n consecutive periods (weeks), the last of them after the action, are Poisson with log rate

    f_t = offset_t + b0 + b1·year_t + s1·sin + s2·cos + (γ − 1)·c_t + u_t + κ·h(t − k) + δ·[t after the action]

* offset_t = log exposure_t + c_t, with c_t what the comparison slices did (log, centred; their own counting noise is added to the
  variance): season, campaigns and price rises that moved everything move the expectation with them. Difference in differences
  with γ = 1; γ ~ N(1, 0.25²) lets the slice answer more or less than they did (a synthetic control of one series, Abadie,
  Diamond & Hainmueller 2010; the state-space form of it is Brodersen et al. 2015);
* b0, b1, s1, s2: level, trend and a season of its own, with Gaussian priors;
* u_t: an autoregressive wave (sd σ, correlation ρ^|i−j|) and weekly noise (sd ω): overdispersion. **Regression to the mean** is
  this term: an action is taken when u and the Poisson noise stand high, and the model expects both to fall back as they always
  did. That the moment was chosen because counts were high needs no further correction: the choice depends on counts that are in
  the likelihood (ignorable, Rubin 1976; Senn 2008), and the longer past holds the shrinkage (empirical Bayes: σ, ρ, ω are those
  of largest marginal likelihood);
* κ h(t − k), a step at period k or a ramp from it: the failure, which would have stayed. k is unknown, and whether there was one: all are weighed alike. The
  beginning a monitor reported is not used: it was read off the same counts, and to believe it would be to count the peak twice
  (measured: of actions at chance peaks 6.0 % judged wrongly with it, 4.5 % without; rightly 52 % and 61 %);
* δ: the log rate ratio, after with the action over after without.

Everything linear is Gaussian, so f is a Gaussian process with a Poisson likelihood, solved by Laplace's method (Rasmussen &
Williams 2006, §3.4 and algorithm 3.1). A wide prior N(0, 1) on δ is divided out of its posterior again, which leaves its
likelihood as a Gaussian (Savage & Dickey's ratio, Verdinelli & Wasserman 1995), one for each k.
"""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.special import gammaln

from services.classification.domain.numeric import Array

WIDE = 1.0
"""sd of the prior on δ that is divided out again."""
FAILURE = (0.7, 0.5)
"""Mean and sd of a failure's κ: doubled, give or take."""
NO_FAILURE = 0.4
"""Prior share of actions against something that was no lasting rise within the months before (a chronic slice, a chance peak)."""
ONSETS = 26
"""Weeks before the action in which a failure may have begun."""
GRID = tuple(
    (sigma, rho, omega) for sigma in (0.04, 0.12, 0.25, 0.45) for rho in (0.6, 0.9) for omega in (0.03, 0.15, 0.3, 0.5)
)
USUAL = (0.12, 0.6, 0.15)
"""The point of `GRID` under which failures are compared first."""
LIKELIEST = 3
"""Of them so many stand for all when the noise is fitted."""
RAMPS = (6,)
"""Weeks over which a failure grows that does not come at once: a norm reaches a customer with his next bill."""
PERIOD_DAYS = 7


@dataclass(frozen=True, slots=True)
class Series:
    """Consecutive periods, oldest first. `after`: how many of them, at the end, lie after the action.

    `exposure`: days of each, weekday pattern and known exposure included; `others`: complainants of the comparison slices (empty:
    none at hand); `year`: time of each in years, for the season.
    """

    counts: Array
    exposure: Array
    others: Array
    year: Array
    after: int


@dataclass(frozen=True, slots=True)
class Likelihood:
    """Of δ: a mixture of Gaussians. `expected_after`: complainants after the action had it done nothing."""

    weight: Array
    mean: Array
    sd: Array
    expected_after: float
    sigma: float
    rho: float
    omega: float
    rate: Array
    """Fitted mean of each period, for the chart and for looking ahead."""


@dataclass(frozen=True, slots=True)
class _Fit:
    evidence: float
    mode: Array
    gradient: Array
    delta: float
    variance: float


def likelihood(series: Series) -> Likelihood:
    """What the counts say about δ. Raises ValueError without a period after, or with fewer than four before."""
    n, after = len(series.counts), series.after
    if after < 1 or n - after < 4:
        raise ValueError("needs at least four periods before the action and one after")
    y = series.counts
    before = n - after
    common, noise = _comparison(series)
    offset = np.log(np.maximum(series.exposure, 1e-9)) + common
    centre = float(np.log((y[:before].sum() + 0.5) / np.exp(offset[:before]).sum()))
    centred = common - common.mean()
    angle = 2 * np.pi * series.year
    linear = np.column_stack([np.ones(n), series.year - series.year[before], np.sin(angle), np.cos(angle), centred])
    spread = np.array([1.5, 0.3, 0.15, 0.15, 0.25])
    base = (linear * spread**2) @ linear.T + np.diag(noise)
    effect = (np.arange(n) >= before).astype(float)
    base += WIDE**2 * np.outer(effect, effect)
    gap = np.abs(np.subtract.outer(np.arange(n), np.arange(n)))

    shapes = _shapes(n, before)
    # Which failures come into question at all, under a usual noise: were only a few beginnings tried, a failure between two of
    # them would pass for a wave, and a wave of its size would hide everything that came after.
    sigma, rho, omega = USUAL
    kernel = base + sigma**2 * rho**gap + omega**2 * np.eye(n)
    tried = [_fit(y, offset + centre, kernel, effect, shape).evidence for shape in shapes[1:]]
    some = [
        shapes[0],
        *[shapes[1 + place] for place in sorted(np.argsort(-np.array(tried), kind="stable")[:LIKELIEST])],
    ]
    best: tuple[float, tuple[float, float, float]] = (-np.inf, GRID[0])
    for sigma, rho, omega in GRID:
        kernel = base + sigma**2 * rho**gap + omega**2 * np.eye(n)
        values = [_fit(y, offset + centre, kernel, effect, shape).evidence for shape in some]
        # Small waves are commoner than large ones: exponential prior with mean 0.3 on their sds.
        value = float(np.logaddexp.reduce(values)) - (sigma + omega) / 0.3
        if value > best[0]:
            best = (value, (sigma, rho, omega))
    sigma, rho, omega = best[1]
    kernel = base + sigma**2 * rho**gap + omega**2 * np.eye(n)
    prior = np.full(len(shapes), (1 - NO_FAILURE) / max(len(shapes) - 1, 1))
    prior[0] = NO_FAILURE
    fits = [_fit(y, offset + centre, kernel, effect, shape) for shape in shapes]
    logs = np.array([fit.evidence for fit in fits]) + np.log(prior)
    weight = np.exp(logs - logs.max())
    weight /= weight.sum()
    mean, sd = np.empty(len(fits)), np.empty(len(fits))
    for place, fit in enumerate(fits):
        precision = max(1.0 / max(fit.variance, 1e-9) - 1.0 / WIDE**2, 1e-6)
        mean[place], sd[place] = fit.delta / max(fit.variance, 1e-9) / precision, precision**-0.5
    rate = np.exp(sum(w * (fit.mode) for w, fit in zip(weight, fits, strict=True)))
    delta = float((weight * [fit.delta for fit in fits]).sum())
    return Likelihood(weight, mean, sd, float(rate[before:].sum() / np.exp(delta)), sigma, rho, omega, rate)


def _shapes(n: int, before: int) -> list[Array | None]:
    """How a failure may have come: not at all, at once in some week, or growing over `RAMPS` weeks from then on."""
    weeks = np.arange(n)
    found: list[Array | None] = [None]
    for k in range(max(4, before - ONSETS), before):
        found.append((weeks >= k).astype(float))
        found += [np.clip((weeks - k + 1) / ramp, 0.0, 1.0) for ramp in RAMPS if k + ramp <= before]
    return found


def _comparison(series: Series) -> tuple[Array, Array]:
    """log of what the comparison slices did, and its counting variance (with an overdispersion of 2)."""
    n = len(series.counts)
    if not len(series.others) or series.others.sum() < 50:
        return np.zeros(n), np.zeros(n)
    level = (series.others + 0.5) / np.maximum(series.exposure, 1e-9)
    logs = np.log(level)
    return logs - logs.mean(), 2.0 / (series.others + 2.0)


def _fit(y: Array, offset: Array, kernel: Array, effect: Array, failure: Array | None) -> _Fit:
    """Laplace's method for Poisson counts with log rate offset + g, g ~ N(m, K)."""
    n = len(y)
    m = np.zeros(n)
    k = kernel
    if failure is not None:
        k = kernel + FAILURE[1] ** 2 * np.outer(failure, failure)
        m = FAILURE[0] * failure
    g = m.copy()
    a = np.zeros(n)
    value = -np.inf
    for _ in range(40):
        mu = np.exp(np.minimum(offset + g, 30.0))
        root = np.sqrt(mu)
        chol = cho_factor(np.eye(n) + root[:, None] * k * root[None, :], lower=True)
        b = mu * (g - m) + y - mu
        new = b - root * cho_solve(chol, root * (k @ b))
        trial, moved = new, m + k @ new
        objective = _poisson(y, offset + moved) - 0.5 * float(trial @ (moved - m))
        for _ in range(12):  # Newton's step, halved until it is one upwards
            if objective >= value - 1e-9:
                break
            trial = (a + trial) / 2
            moved = m + k @ trial
            objective = _poisson(y, offset + moved) - 0.5 * float(trial @ (moved - m))
        done = abs(objective - value) < 1e-6
        a, g, value = trial, moved, objective
        if done:
            break
    mu = np.exp(np.minimum(offset + g, 30.0))
    root = np.sqrt(mu)
    chol = cho_factor(np.eye(n) + root[:, None] * k * root[None, :], lower=True)
    evidence = value - float(np.log(np.diag(chol[0])).sum())
    loaded = root * effect
    variance = WIDE**2 - WIDE**4 * float(loaded @ cho_solve(chol, loaded))
    return _Fit(evidence, offset + g, a, WIDE**2 * float(effect @ a), variance)


def _poisson(y: Array, log_mean: Array) -> float:
    capped = np.minimum(log_mean, 30.0)
    return float((y * capped - np.exp(capped) - gammaln(y + 1.0)).sum())
