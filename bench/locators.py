"""The published locators as peers, written after their papers, vectorised over a cube's groups.

* Adtributor (Bhagwan et al., NSDI 2014): one attribute at a time, explanatory power and surprise (Jensen-Shannon divergence).
* Squeeze (Li et al., ISSRE 2019): leaves filtered at a knee of their anomaly amount, clustered by deviation score; per cluster the
  cuboid and elements of best generalised potential score.
* RiskLoc (Kalander 2022): leaves parted at a cut of the deviation score, weighted; elements by high and low risk, repeatedly.

Each returns root causes as mappings from attribute to values. They take values and forecasts and know nothing of noise.
"""

from __future__ import annotations

import numpy as np

from services.classification.domain.localisation import Cube
from services.classification.domain.localisation.cube import Cuboid

PRICE = 0.1
Where = dict[str, tuple[str, ...]]


def _element(cube: Cube, cuboid: Cuboid, group: int) -> Where:
    return cube.named(cube.choice(cuboid, group))


def adtributor(
    cube: Cube, real: np.ndarray, predict: np.ndarray, element: float = 0.1, whole: float = 0.67
) -> list[Where]:
    """The dimension of greatest surprise; thresholds as in the paper (10 % an element, 67 % together)."""
    change = real.sum() - predict.sum()
    best: tuple[float, Where] | None = None
    for cuboid in cube.cuboids:
        if len(cuboid.dims) > 1 or change == 0:
            continue
        now, usual = np.bincount(cuboid.group, real, cuboid.size), np.bincount(cuboid.group, predict, cuboid.size)
        power = (now - usual) / change
        p, q = np.maximum(usual / max(predict.sum(), 1e-12), 1e-12), np.maximum(now / max(real.sum(), 1e-12), 1e-12)
        surprise = 0.5 * (p * np.log(2 * p / (p + q)) + q * np.log(2 * q / (p + q)))
        taken, explained = [], 0.0
        for group in np.argsort(-surprise):
            if power[group] > element:
                taken.append(int(group))
                explained += power[group]
            if explained > whole:
                break
        if explained > whole:
            total = float(surprise[taken].sum())
            if best is None or total > best[0]:
                values = sorted(
                    cube.values[cuboid.dims[0]][cube.codes[cuboid.member[group], cuboid.dims[0]]] for group in taken
                )
                best = (total, {cube.dimensions[cuboid.dims[0]]: tuple(values)})
    return [] if best is None else [best[1]]


def _deviation(real: np.ndarray, predict: np.ndarray) -> np.ndarray:
    total = real + predict
    return np.where(total > 0, 2 * (predict - real) / np.maximum(total, 1e-12), 0.0)


def riskloc(cube: Cube, real: np.ndarray, predict: np.ndarray, risk: float = 0.5, power: float = 0.02) -> list[Where]:
    deviation = _deviation(real, predict)
    distinct = np.unique(deviation)
    low, high = distinct[min(5, len(distinct) - 1)], distinct[max(-6, -len(distinct))]
    cut = -min(low, high, key=abs)
    odd = deviation > cut if cut >= 0 else deviation < cut
    weight = np.minimum(np.where(odd, np.abs(deviation), np.abs(cut - deviation)), 1.0)
    weight[(real == 0) & (predict == 0)] = 0
    change = real - predict
    explains = change / (change.sum() or 1.0)
    if explains[odd].sum() < 0:
        explains = -explains
    least = explains[odd].sum() * power
    left = np.ones(cube.leaves, dtype=bool)
    both = (real > 0) & (predict > 0)
    found: list[Where] = []
    while explains[left & odd].sum() >= least and len(found) < 20:
        best: tuple[float, Cuboid, int] | None = None
        depth = 0
        for cuboid in cube.cuboids:
            if len(cuboid.dims) > depth:
                if best is not None:
                    break
                depth = len(cuboid.dims)
            group, size = cuboid.group[left], cuboid.size
            total = np.bincount(group, explains[left], size)
            floor = least if best is None else best[0]
            open_ = (np.bincount(group, odd[left], size) > 0) & (total > floor)
            if not open_.any():
                continue
            bad = np.bincount(group, (weight * odd)[left], size)
            good = np.bincount(group, (weight * ~odd)[left], size) + 1
            used = left & both
            inside = cuboid.group[used]
            now, usual = np.bincount(inside, real[used], size), np.bincount(inside, predict[used], size)
            scaled = predict[used] * (now / np.maximum(usual, 1e-12))[inside]
            spread = np.bincount(inside, np.abs(_deviation(real[used], scaled)), size)
            own = np.bincount(inside, np.abs(deviation[used]), size)
            score = bad / (bad + good) - np.where(own > 0, spread / np.maximum(own, 1e-12), 0.0)
            passing = np.flatnonzero(open_ & (score >= risk))
            if len(passing):
                top = int(passing[np.argmax(total[passing])])
                best = (float(total[top]), cuboid, top)
        if best is None:
            break
        _, cuboid, group_ = best
        found.append(_element(cube, cuboid, group_))
        left &= cuboid.group != group_
    return found


def squeeze(cube: Cube, real: np.ndarray, predict: np.ndarray, most: int = 60) -> list[Where]:
    deviation = _deviation(real, predict)
    amount = np.abs(real - predict)
    kept = amount > _knee(amount)
    if not kept.any():
        return []
    found: list[Where] = []
    clusters = _clusters(deviation, kept)
    for inside in clusters:
        coverage = inside.sum() / cube.leaves
        odds = len(clusters) * coverage / np.log(len(clusters) + 1)
        scale = sum(np.log(len(values)) for values in cube.values) / np.log(max(cube.leaves, 2))
        weight = max(-float(np.log(max(odds, 1e-9))) * scale, 1.0)
        best: tuple[float, list[Where]] | None = None
        for cuboid in cube.cuboids:
            size = cuboid.size
            leaves = np.bincount(cuboid.group, minlength=size)
            share = np.bincount(cuboid.group, inside, size) / leaves
            order = np.lexsort((-leaves, -share))
            order = order[share[order] > 0][:most]
            if not len(order):
                continue
            now, usual = np.bincount(cuboid.group, real, size), np.bincount(cuboid.group, predict, size)
            score, count = _potential(cuboid, order, deviation, inside, real, predict, now, usual, amount)
            depth = len(cuboid.dims)
            value = score * weight - PRICE * count * depth * depth
            if best is None or value > best[0]:
                best = (value, [_element(cube, cuboid, int(group)) for group in order[:count]])
            if score > 0.95 and depth > 1:
                break
        if best is not None:
            found += [element for element in best[1] if element not in found]
    return found


def _potential(
    cuboid: Cuboid,
    order: np.ndarray,
    deviation: np.ndarray,
    inside: np.ndarray,
    real: np.ndarray,
    predict: np.ndarray,
    now: np.ndarray,
    usual: np.ndarray,
    amount: np.ndarray,
) -> tuple[float, int]:
    """Best generalised potential score over the first j elements, and that j; only the cluster and what is usual count."""
    place = np.full(cuboid.size, len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    rank = place[cuboid.group]
    scaled = predict * (now / np.maximum(usual, 1e-12))[cuboid.group]
    used = inside | (np.abs(deviation) < 0.2) | (rank < len(order))
    error = np.bincount(rank[used], np.abs(real - scaled)[used], len(order) + 1)
    before = np.bincount(rank[used], amount[used], len(order) + 1)
    number = np.bincount(rank[used], minlength=len(order) + 1)
    taken, taken_error, taken_before = np.cumsum(number)[:-1], np.cumsum(error)[:-1], np.cumsum(before)[:-1]
    rest, rest_before = number.sum() - taken, before.sum() - taken_before
    one, other = taken_error / np.maximum(taken, 1), rest_before / np.maximum(rest, 1)
    alone = taken_before / np.maximum(taken, 1)
    score = 1 - (one + other) / np.maximum(alone + other, 1e-12)
    best = int(np.argmax(score))
    return float(score[best]), best + 1


def _knee(amount: np.ndarray) -> float:
    """Where the sorted amounts, cumulated in logarithms, bend most: farthest from the chord."""
    values = np.sort(amount[amount > 0])
    if len(values) < 3:
        return 0.0
    curve = np.cumsum(np.log1p(values[::-1]))
    x, y = np.linspace(0, 1, len(curve)), curve / curve[-1]
    return float(values[::-1][int(np.argmax(y - x))])


def _clusters(deviation: np.ndarray, kept: np.ndarray) -> list[np.ndarray]:
    """Between the minima of a smoothed histogram of deviation scores, one cluster per maximum."""
    counts, edges = np.histogram(deviation[kept], bins=60, range=(-2, 2))
    smooth = np.convolve(np.concatenate([[0, 0], counts, [0, 0]]), np.ones(3) / 3, mode="same")
    peaks = [
        k
        for k in range(1, len(smooth) - 1)
        if smooth[k] > 0 and smooth[k] >= smooth[k - 1] and smooth[k] > smooth[k + 1]
    ]
    found = []
    for number, peak in enumerate(peaks):
        low = 0 if number == 0 else peaks[number - 1] + int(np.argmin(smooth[peaks[number - 1] : peak + 1]))
        high = (
            len(smooth) - 1 if number == len(peaks) - 1 else peak + int(np.argmin(smooth[peak : peaks[number + 1] + 1]))
        )
        left, right = edges[max(0, min(low - 2, 60))], edges[max(0, min(high - 1, 60))]
        inside = kept & (deviation >= left) & (deviation < right + 1e-12)
        if inside.any() and abs(deviation[inside].mean()) > 0.05:
            found.append(inside)
    return found
