"""Cubes with planted failures, for D3: complaint-like (sparse, Zipf, overdispersed) and the dense kind the papers use."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from services.classification.domain.localisation import Cube, Noise, Rules, learn
from services.classification.domain.localisation.cube import penalty
from services.classification.domain.localisation.evidence import log_tail

NAMES = ("cause", "touchpoint", "product", "location", "team", "channel")
CARDINALITY = {"cause": 30, "touchpoint": 9, "product": 12, "location": 32, "team": 18, "channel": 5}
HISTORY = 56
RULES = Rules()


@dataclass(frozen=True, slots=True)
class Failure:
    where: dict[str, tuple[str, ...]]
    ratio: float
    strength: float  # expected excess in standard deviations of the set's own noise
    excess: float
    detectable: bool
    """Whether somebody who knows the set and its true noise, and tests that set alone, would pass the limit in 19 of 20 days."""


@dataclass(slots=True)
class World:
    """A quiet operation: what is usual per leaf and day, how it varies, and what was learnt from its history."""

    cube: Cube
    usual: np.ndarray
    dispersion: float
    shocks: dict[int, float]  # attribute -> coefficient of variation of a day's factor per value
    common: float
    expected: np.ndarray = field(default_factory=lambda: np.zeros(0))
    noise: Noise = field(default_factory=Noise)

    def rate(self, random: np.random.Generator) -> np.ndarray:
        rate = self.usual * random.lognormal(-(self.common**2) / 2, self.common)
        for dim, cv in self.shocks.items():
            rate = rate * random.lognormal(-(cv**2) / 2, cv, len(self.cube.values[dim]))[self.cube.codes[:, dim]]
        return rate

    def day(self, random: np.random.Generator, effect: np.ndarray | None = None) -> np.ndarray:
        rate = self.rate(random)
        return counts(random, rate if effect is None else rate * effect, self.dispersion)

    def spread(self, mask: np.ndarray) -> float:
        """Standard deviation of the true noise of a set of leaves on one day (common factor left out)."""
        total = self.usual[mask].sum()
        variance = self.dispersion * total
        for dim, cv in self.shocks.items():
            by_value = np.bincount(self.cube.codes[mask, dim], self.usual[mask])
            variance += (cv * by_value).dot(cv * by_value)
        return float(np.sqrt(variance))


def counts(random: np.random.Generator, mean: np.ndarray, dispersion: float) -> np.ndarray:
    """Negative binomial with variance `dispersion` x mean."""
    if dispersion <= 1:
        return random.poisson(mean).astype(float)
    return random.poisson(random.gamma(np.maximum(mean, 1e-12) / (dispersion - 1), dispersion - 1)).astype(float)


def world(random: np.random.Generator, leaves: int, daily: float, dimensions: int) -> World:
    picked = (
        sorted(random.choice(len(NAMES), dimensions, replace=False)) if dimensions < len(NAMES) else range(len(NAMES))
    )
    names = [NAMES[place] for place in picked]
    sizes = [CARDINALITY[name] for name in names]
    shares = []
    for size in sizes:
        share = 1.0 / np.arange(1, size + 1) ** random.uniform(0.6, 1.2)
        shares.append(random.permutation(share / share.sum()))
    codes = np.zeros((0, dimensions), dtype=np.int64)
    possible = int(np.prod(sizes))
    while len(codes) < min(leaves, int(0.8 * possible)):
        # Half by their weight, half anywhere: large combinations exist, and a long tail of rare ones.
        drawn = np.column_stack(
            [
                np.where(
                    random.random(leaves) < 0.5, random.choice(size, leaves, p=share), random.integers(0, size, leaves)
                )
                for size, share in zip(sizes, shares, strict=True)
            ]
        )
        codes = np.unique(np.vstack([codes, drawn]), axis=0)
    codes = codes[np.sort(random.permutation(len(codes))[:leaves])]
    weight = np.prod([share[codes[:, dim]] for dim, share in enumerate(shares)], axis=0) * random.lognormal(
        0, 0.7, len(codes)
    )
    usual = weight / weight.sum() * daily
    cube = Cube.coded(
        names,
        [[f"{name}-{value:02d}" for value in range(size)] for name, size in zip(names, sizes, strict=True)],
        codes,
    )
    shocks = {int(dim): float(random.uniform(0.02, 0.12)) for dim in range(dimensions)}
    found = World(cube, usual, float(random.uniform(1.0, 1.8)), shocks, float(random.uniform(0.03, 0.12)))
    past = np.array([found.day(random) for _ in range(HISTORY)])
    found.expected = past.mean(axis=0)
    found.noise = learn(cube, past, found.expected, 1 / HISTORY)
    return found


def plant(
    random: np.random.Generator, held: World, number: int, strengths: tuple[float, float], uneven: float = 0.2
) -> tuple[list[Failure], np.ndarray]:
    """Failures whose excess is so many standard deviations of their own noise, and the factor on each leaf."""
    cube, effect = held.cube, np.ones(held.cube.leaves)
    failures: list[Failure] = []
    for _ in range(10_000):
        if len(failures) == number:
            break
        depth = int(random.choice([1, 2, 3], p=[0.3, 0.45, 0.25]))
        leaf = cube.codes[random.choice(cube.leaves, p=held.usual / held.usual.sum())]
        dims = sorted(random.choice(len(cube.dimensions), depth, replace=False).tolist())
        choice = {dim: (int(leaf[dim]),) for dim in dims}
        if random.random() < 0.2:
            dim = int(random.choice(dims))
            size = len(cube.values[dim])
            more = random.choice(size, min(int(random.integers(2, 4)), size - 2), replace=False).tolist()
            choice[dim] = tuple(sorted({int(leaf[dim]), *more}))
        mask = cube.mask(choice)
        usual = float(held.usual[mask].sum())
        strength = float(np.exp(random.uniform(*np.log(strengths))))
        excess = max(strength * held.spread(mask), strength**2 / 4)  # of rare things single complaints decide
        ratio = 1 + excess / usual
        # Half of everything that happens is no slice; a rate thirty times higher is no case for a bench.
        if usual > 0.4 * held.usual.sum() or not 1.3 <= ratio <= 40 or excess < 8 or mask.sum() < 2:
            continue
        if not _each_counts(held, choice, mask):
            continue
        if any(_like(choice, cube.chosen(other.where) or {}) for other in failures):
            continue
        factor = 1 + (ratio - 1) * random.lognormal(-(uneven**2) / 2, uneven, int(mask.sum()))
        effect[mask] *= factor
        price = penalty(cube, cube.sizes(), choice, RULES.extra)
        little = usual + excess - 1.645 * float(np.sqrt(held.dispersion * (usual + excess) + (0.15 * excess) ** 2))
        detectable = float(log_tail(little, usual, held.spread(mask) ** 2 + usual / HISTORY)) <= RULES.log_level - price
        failures.append(Failure(cube.named(choice), ratio, strength, excess, detectable))
    return failures, effect


def _each_counts(held: World, choice: dict[int, tuple[int, ...]], mask: np.ndarray) -> bool:
    """Each named value holds a share of the set: a value with nothing in it could not be found by anybody.

    And leaving an attribute out changes the set: two attributes that always come together are one name.
    """
    cube = held.cube
    total = held.usual[mask].sum()
    for dim, values in choice.items():
        shares = np.bincount(cube.codes[mask, dim], held.usual[mask], len(cube.values[dim]))[list(values)] / total
        if (shares < 0.5 / len(values)).any():
            return False
        if held.usual[cube.mask(choice, without=dim)].sum() < 1.5 * total:
            return False
    return True


def _like(one: dict[int, tuple[int, ...]], other: dict[int, tuple[int, ...]]) -> bool:
    """Sets that differ in the values of one attribute only are one failure with several values, or the same one."""
    return one.keys() == other.keys() and sum(one[dim] != other[dim] for dim in one) <= 1


def dense(random: np.random.Generator) -> tuple[Cube, np.ndarray, np.ndarray, list[dict[str, str]]]:
    """One case after the description of the synthetic set S in the RiskLoc paper: values, forecasts, root cause elements.

    Noise of forecasts is 0-10 %, as in the paper's set L; severities as in S.
    """
    sizes = (10, 12, 10, 8, 5)
    codes = np.indices(sizes).reshape(len(sizes), -1).T.astype(np.int64)
    names = "abcde"
    cube = Cube.coded(
        names,
        [[f"{name}{value}" for value in range(size)] for name, size in zip(names, sizes, strict=True)],
        codes,
        depth=5,
    )
    value = random.weibull(random.uniform(0.5, 1.0), len(codes)) * 100
    value[random.random(len(codes)) < random.uniform(0, 0.25)] = 0
    level = random.uniform(0, 0.1)
    other = np.maximum(value * (1 + random.normal(0, level, len(codes))), 0)
    swap = random.random(len(codes)) < 0.5
    real, predict = np.where(swap, value, other), np.where(swap, other, value)
    elements: list[dict[str, str]] = []
    used: list[tuple[int, ...]] = []
    taken = np.zeros(len(codes), dtype=bool)
    for _ in range(int(random.integers(1, 4))):
        severity, deviation = random.uniform(0.2, 1.0) + level, random.uniform(0, 0.1)
        for _ in range(200):
            depth = int(random.integers(1, 6))
            dims = tuple(sorted(random.choice(5, depth, replace=False).tolist()))
            if dims in used and depth < 5:
                continue
            picked = [
                {dim: (int(random.integers(sizes[dim])),) for dim in dims} for _ in range(int(random.integers(1, 4)))
            ]
            masks = [cube.mask(choice) for choice in picked]
            if len({str(choice) for choice in picked}) < len(picked) or any((mask & taken).any() for mask in masks):
                continue
            if any(predict[mask].sum() == 0 for mask in masks):
                continue
            for choice, mask in zip(picked, masks, strict=True):
                taken |= mask
                # The paper lowers values; complaints rise, by the same severities.
                rise = np.maximum(random.normal(severity, deviation, int(mask.sum())), 0)
                real[mask] = predict[mask] * (1 + rise)
                elements.append({name: values[0] for name, values in cube.named(choice).items()})
            used.append(dims)
            break
    return cube, real, predict, elements


def pairs(where: dict[str, Any]) -> set[tuple[str, str]]:
    return {
        (name, value)
        for name, values in where.items()
        for value in (values if isinstance(values, tuple) else (values,))
    }
