"""How much a sum of counts says against what was expected of it, when the expectation itself was counted once.

`exposure` t is the tested window over the length of the baseline: an expectation E that comes from B = E / t counted
complaints is as uncertain as B is. All functions take arrays of any one shape.
"""

import numpy as np
import numpy.typing as npt
from scipy.special import betainc

from services.classification.domain.numeric import Array

LEAST_EXPOSURE = 1e-4
"""An expectation said to be known exactly is taken as counted over ten thousand windows: no division by nothing."""


def gain(count: npt.ArrayLike, expected: npt.ArrayLike, exposure: float) -> Array:
    """Log likelihood ratio of "this sum has a rate of its own, higher" against "as expected"; 0 where it is not higher.

    Two Poisson counts, C now and B = E / t before, against one common rate: C log(C / m) + B log(E / m) with the common mean
    m = (C t + E) / (1 + t) (Przyborowski & Wilenski 1940; for t → 0 it is Kulldorff's 1997 scan statistic
    C log(C / E) − (C − E)). Sums weighted by 1 / φ make it a quasi-likelihood ratio (McCullagh & Nelder 1989, ch. 9).
    """
    c, e = np.asarray(count, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    t = max(exposure, LEAST_EXPOSURE)
    mean = (c * t + e) / (1.0 + t)
    safe = np.maximum(mean, 1e-300)
    now = c * np.log(np.maximum(c, 1e-300) / safe)
    before = e / t * np.log(np.maximum(e, 1e-300) / safe)
    return np.where((c > e) & (c > 0), np.maximum(now + before, 0.0), 0.0)


def log_tail(count: npt.ArrayLike, mean: npt.ArrayLike, variance: npt.ArrayLike) -> Array:
    """log P(X ≥ count) of a negative binomial with that mean and variance (DLMF 8.17.24), not below −690."""
    c, mu, var = (np.asarray(value, dtype=np.float64) for value in (count, mean, variance))
    mu = np.maximum(mu, 1e-9)
    var = np.maximum(var, mu * (1.0 + 1e-6))
    size = mu * mu / (var - mu)
    tail = betainc(np.maximum(c, 1e-9), size, mu / (size + mu))
    return np.asarray(np.where(c <= 0, 0.0, np.log(np.maximum(tail, 1e-300))))
