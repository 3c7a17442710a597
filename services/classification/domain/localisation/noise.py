"""How much quiet counts move by themselves, learnt from quiet days of the same cube."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from services.classification.domain.localisation.cube import Cube
from services.classification.domain.numeric import Array

COMMON_PRIOR = 100.0
"""Complaints that say "as always" when the day's common factor is estimated: its own noise is then about a tenth."""
CLIP = 3.5
"""Standard deviations."""
SURE = 1.5
BIG_LEAF = 5.0


@dataclass(frozen=True, slots=True)
class Noise:
    """Var(sum of a group) = φ E + Σ leaf_spread² e² + t E + spread² E², with E the sum of its leaves' expectations e.

    φ: `dispersion`, clumps of complaints; `leaf_spread`: relative error of one leaf's expectation; t: `exposure`, tested
    window over baseline; `spread`: relative moves that all leaves of a group of that cuboid share, per cuboid.
    """

    dispersion: float = 1.2
    exposure: float = 0.0
    leaf_spread: float = 0.0
    spread: Mapping[tuple[int, ...], float] = field(default_factory=dict)
    usual_spread: float = 0.08
    """Where a cuboid has none of its own."""

    def variance(self, expected: Array) -> Array:
        """Of each leaf, the uncertainty of its expectation left out."""
        return np.asarray(max(self.dispersion, 1.0) * expected + (self.leaf_spread * expected) ** 2)

    def shared(self, dims: tuple[int, ...]) -> float:
        return self.spread.get(dims, self.usual_spread)


def common_factor(cube: Cube, counts: Array, expected: Array) -> float:
    """What a day adds to everything alike: median over attributes of the weighted median of observed over expected.

    A failure that holds less than half of an attribute's complaints does not move the weighted median over its values.
    Shrunk to 1 by `COMMON_PRIOR` complaints.
    """
    logs = []
    for cuboid in cube.cuboids:
        if len(cuboid.dims) > 1 or cuboid.size < 2:
            continue
        seen = np.bincount(cuboid.group, counts, cuboid.size)
        usual = np.bincount(cuboid.group, expected, cuboid.size)
        held = usual > 0
        if not held.any():
            continue
        ratio, weight = seen[held] / usual[held], usual[held]
        order = np.argsort(ratio, kind="stable")
        reached = np.cumsum(weight[order]) - 0.5 * weight[order]
        logs.append(float(np.interp(0.5 * weight.sum(), reached, ratio[order])))
    if not logs:
        return 1.0
    total = float(expected.sum())
    return (float(np.median(logs)) * total + COMMON_PRIOR) / (total + COMMON_PRIOR)


def learn(cube: Cube, days: Array, expected: Array, exposure: float) -> Noise:
    """The noise of quiet windows. `days`: windows × leaves, `expected`: of one such window, per leaf or per window and leaf.

    Moments over all windows: φ from the squared deviations of small leaves, `leaf_spread` from what large leaves deviate beyond
    it, `spread` of a cuboid from what its groups deviate beyond both, its standard error added: too small a spread is paid
    with false findings. Deviations beyond `CLIP` sd are taken as `CLIP` (Huber 1981, proposal 2): a past failure is no noise.
    """
    usual = np.broadcast_to(expected, days.shape)
    factor = np.array([common_factor(cube, seen, held) for seen, held in zip(days, usual, strict=True)])
    means = usual * factor[:, None]
    small = means < BIG_LEAF
    mean = np.maximum((means * small).sum(axis=1), 1e-9)
    # Per window, then the middle: in single leaves one complaint is already far out, clipping them would halve φ.
    own = ((days - means) ** 2 * small).sum(axis=1) / mean - exposure
    dispersion = max(1.0, float(np.median(own))) if small.any() else 1.0
    leaf_spread = 0.0
    if not small.all():
        big = ~small
        leaf_spread = _beyond(days[big], means[big], (dispersion + exposure) * means[big])
    spread = {}
    for cuboid in cube.cuboids:
        shape = (len(days), cuboid.size)
        place = cuboid.group[None, :] + (np.arange(len(days)) * cuboid.size)[:, None]
        seen = np.bincount(place.ravel(), days.ravel(), len(days) * cuboid.size).reshape(shape)
        mean = np.bincount(place.ravel(), means.ravel(), len(days) * cuboid.size).reshape(shape)
        # Small groups say nothing about a relative spread and cost most of the time.
        telling = mean.mean(axis=0) >= 1.0
        noise = (dispersion + exposure) * mean
        if leaf_spread:
            squares = np.bincount(place.ravel(), means.ravel() ** 2, len(days) * cuboid.size).reshape(shape)
            noise += leaf_spread**2 * squares
        parts = [np.asarray(part[:, telling], dtype=np.float64) for part in (seen, mean, noise)]
        spread[cuboid.dims] = _beyond(*parts) if telling.any() else 0.0
    return Noise(dispersion, exposure, leaf_spread, spread)


def at_a_glance(counts: Array, expected: Array) -> Noise:
    """From one look alone, where there is no history: each leaf's own relative error, from the middle of all leaves.

    1.48 times the median absolute deviation of the relative errors of the largest tenth, counting noise taken off; in small leaves
    counting noise hides it. What leaves share cannot be seen.
    """
    telling = expected >= max(BIG_LEAF, float(np.quantile(expected, 0.9))) if len(expected) else np.zeros(0, dtype=bool)
    if telling.sum() < 30:
        return Noise()
    error = (counts[telling] - expected[telling]) / expected[telling]
    spread = 1.4826 * float(np.median(np.abs(error - np.median(error))))
    return Noise(1.0, 0.0, float(np.sqrt(max(0.0, spread**2 - float(np.median(1.0 / expected[telling]))))), {}, 0.0)


def _beyond(seen: Array, mean: Array, noise: Array) -> float:
    """Relative spread beyond the known noise, and `SURE` standard errors of it.

    A moment estimate with each group's weight the inverse variance of its own (DerSimonian & Laird 1986, iterated). What all
    groups share was taken out with the common factor, and with it part of what a large group does alone: of a group that holds
    the share p of everything, 1 − 2 p + Σ p² of its own spread is left. Without that the spread came out at half.
    """
    share = mean.mean(axis=0) / max(float(mean.sum(axis=1).mean()), 1e-9) if mean.ndim == 2 else np.zeros(1)
    left = np.broadcast_to(np.maximum(1 - 2 * share + (share**2).sum(), 0.1), mean.shape)
    square = np.maximum(mean, 1e-9) ** 2
    expecting = mean > 0  # before a place opened nothing was expected of it, which tells nothing
    found, error = 0.01, 0.0
    for _ in range(8):
        variance = np.where(expecting, noise + found * square, 1.0)
        weight = np.where(expecting, (square / variance) ** 2, 0.0)
        clipped = np.minimum((seen - mean) ** 2, CLIP**2 * variance)
        below = max(float((weight * left).sum()), 1e-12)
        found = max(0.0, float((weight * (clipped - noise) / square).sum()) / below)
        error = float(np.sqrt(2.0 * (weight**2 * (variance / square) ** 2).sum())) / below
    return float(np.sqrt(found + SURE * error))
