"""The cube as a sparse log-linear model, and the search for the one set that explains most of what it leaves; see `search`."""

from dataclasses import dataclass, replace
from math import log

import numpy as np

from services.classification.domain.localisation.cube import Choice, Codes, Cube, Cuboid, Mask, penalty
from services.classification.domain.localisation.evidence import gain, log_tail
from services.classification.domain.localisation.noise import Noise, common_factor
from services.classification.domain.numeric import Array

UNEVEN = 0.3
"""A failure does not hit all its leaves alike: an excess already explained may vary by so much within it."""
STARTS = 5
TRIED = 40
"""Best groups of all cuboids that are tested at all."""
MAX_VALUES = 8
SIBLINGS = 8.0
"""Nats by which two failures that differ in the value of one attribute alone must explain more than one failure with both
values does: "internet in Pasto and in Cali" is one failure that hits both unevenly, until the odds are 3000 to 1."""
ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Rules:
    """`false_findings_per_year`: over the whole cube, with so many evaluations a year. `least`: distinct complainants.

    `protected` attributes name single people (agent, customer): a set with one of them needs `least_protected` complainants
    and passes a limit `protected_factor` times stricter.
    """

    false_findings_per_year: float = 2.0
    evaluations_per_year: float = 365.0
    least: int = 5
    least_ratio: float = 1.25
    protected: frozenset[str] = frozenset()
    least_protected: int = 12
    protected_factor: float = 0.01
    extra: float = 5.0
    most: int = 8

    @property
    def log_level(self) -> float:
        return log(self.false_findings_per_year / self.evaluations_per_year)


@dataclass(slots=True)
class Set:
    """One failure in the model. `log_p`: its tail probability with all others explained; `score`: nats beyond its price."""

    choice: Choice
    mask: Mask
    ratio: float = 1.0
    score: float = 0.0
    log_p: float = 0.0
    limit: float = 0.0
    held: bool = False  # named before: it stays as long as it explains anything


@dataclass(frozen=True, slots=True)
class _Open:
    """The groups of a cuboid with complainants enough for a finding, and their leaves: all others are never looked at."""

    cuboid: Cuboid
    groups: Codes
    leaves: Codes
    group: Codes
    """Of each of these leaves, the place of its group in `groups`."""
    seen: Array
    price: float


@dataclass(slots=True)
class Model:
    cube: Cube
    counts: Array
    expected: Array
    noise: Noise
    rules: Rules
    sizes: dict[tuple[int, ...], int]
    weight: Array
    weighted: Array
    usual_weighted: Array
    sets: list[Set]
    common: float
    open: tuple[_Open, ...]
    masks: dict[tuple[int, tuple[int, ...]], Mask]
    worth: float = 0.0
    uneven: float = 0.0

    @classmethod
    def of(cls, cube: Cube, counts: Array, expected: Array, noise: Noise, rules: Rules) -> "Model":
        usual = np.maximum(expected, _floor(cube, expected, noise.exposure))
        weight = usual / np.maximum(noise.variance(usual), 1e-12)
        common = common_factor(cube, counts, usual)
        weighted, sizes = weight * counts, cube.sizes()
        opened = tuple(_opened(cube, cuboid, counts, weighted, sizes, rules) for cuboid in cube.cuboids)
        return cls(
            cube,
            counts,
            usual,
            noise,
            rules,
            sizes,
            weight,
            weighted,
            weight * usual,
            [],
            common,
            tuple(each for each in opened if len(each.groups)),
            {},
        )

    def mask(self, choice: Choice) -> Mask:
        """The leaves of a choice; each attribute's part is kept, the ascent asks for the same ones again and again."""
        found: Mask | None = None
        for dim, allowed in choice.items():
            part = self.masks.get((dim, allowed))
            if part is None:
                part = self.masks[dim, allowed] = self.cube.mask({dim: allowed})
            found = part if found is None else found & part
        return np.ones(self.cube.leaves, dtype=bool) if found is None else found

    def mean(self, without: int | None = None) -> Array:
        mean = self.expected * self.common
        for number, each in enumerate(self.sets):
            if number != without:
                mean[each.mask] *= each.ratio
        return mean

    def fit(self) -> None:
        """All ratios together, then what the day adds to everything, from the rest; then the ratios once more."""
        for last in (False, True):
            self._ratios()
            if not last:
                self.common = common_factor(self.cube, self.counts, self.mean() / self.common)
        self.uneven = self._unevenness()

    def _unevenness(self) -> float:
        """Squared coefficient of variation of what single leaves of the found failures have of their excess, by moments."""
        mean = self.mean()
        explained = mean - self.expected * self.common
        inside = explained > 0
        seen, mu, excess = self.counts[inside], mean[inside], explained[inside]
        square = float((excess**2).sum())
        found = 0.0
        for _ in range(4):
            variance = self.noise.variance(mu)
            clipped = np.minimum((seen - mu) ** 2, 16.0 * (variance + found * excess**2))
            found = max(0.0, float((clipped - variance).sum()) / square) if square > 0 else 0.0
        return min(found, 1.0)

    def _ratios(self) -> None:
        """Leaves with the same sets have the same factor: all is done on the few patterns of membership there are."""
        pattern = np.zeros(self.cube.leaves, dtype=np.int64)
        for number, each in enumerate(self.sets):
            pattern |= each.mask.astype(np.int64) << number
        size = 1 << len(self.sets)
        seen = np.bincount(pattern, self.weighted, size)
        usual = np.bincount(pattern, self.usual_weighted, size) * self.common
        members = [(np.arange(size) >> number & 1).astype(bool) for number in range(len(self.sets))]
        factor = np.ones(size)
        ratios = np.ones(len(self.sets))
        for _ in range(60):
            moved = 0.0
            for number, inside in enumerate(members):
                # Half a complaint on both sides keeps a set nobody expected anything of finite.
                step = (seen[inside].sum() + 0.5) / ((usual * factor)[inside].sum() + 0.5)
                after = min(max(ratios[number] * step, 1.0), 1e4)
                factor[inside] *= after / ratios[number]
                moved = max(moved, abs(log(after / ratios[number])))
                ratios[number] = after
            if moved < 1e-5:
                break
        for each, ratio in zip(self.sets, ratios, strict=True):
            each.ratio = float(ratio)
        # Weighted Poisson log likelihood, constants of the leaves left out, less what the sets cost.
        log_factor = np.log(factor * self.common)
        self.worth = float((seen * log_factor - usual * factor).sum()) - sum(
            self.price(each.choice) for each in self.sets
        )
        self.worth -= SIBLINGS * len(siblings(self.sets))

    def tried(self, sets: list[Set]) -> "Model":
        """The same cube explained by other sets, fitted."""
        other = replace(self, sets=[replace(each) for each in sets])
        other.fit()
        return other

    def price(self, choice: Choice) -> float:
        return penalty(self.cube, self.sizes, choice, self.rules.extra)

    def score(self, choice: Choice, mask: Mask, mean: Array) -> float:
        seen, usual = self.weighted[mask].sum(), (self.weight * mean)[mask].sum()
        return float(gain(seen, usual, self.noise.exposure)) - self.price(choice)

    def judge(self, choice: Choice, mask: Mask, mean: Array, explained: Array) -> tuple[float, float]:
        """log of the set's tail probability, and the limit it has to pass."""
        seen, usual = float(self.counts[mask].sum()), float(mean[mask].sum())
        t, dims = self.noise.exposure, tuple(sorted(choice))
        variance = float(self.noise.variance(mean[mask]).sum())
        # What the other sets multiply, they multiply with its uncertainty.
        t *= max(1.0, usual / max(usual - float(explained[mask].sum()), 1e-12))
        usual += 0.5 * t  # Jeffreys' prior: what was never seen before is rare, not impossible
        variance += 0.5 * t * self.noise.dispersion + t * usual + (self.noise.shared(dims) * usual) ** 2
        variance += (UNEVEN * float(explained[mask].sum())) ** 2 + self.uneven * float((explained[mask] ** 2).sum())
        limit = self.rules.log_level - self.price(choice)
        if self._protected(choice):
            limit += log(self.rules.protected_factor)
        return float(log_tail(seen, usual, variance)), limit

    def _protected(self, choice: Choice) -> bool:
        return any(self.cube.dimensions[dim] in self.rules.protected for dim in choice)

    def enough(self, choice: Choice, mask: Mask, mean: Array) -> bool:
        least = self.rules.least_protected if self._protected(choice) else self.rules.least
        seen, usual = float(self.counts[mask].sum()), float(mean[mask].sum())
        return seen >= least and seen - usual >= 0.5 * least and seen >= self.rules.least_ratio * usual

    def passes(self, choice: Choice, mask: Mask, mean: Array, explained: Array) -> bool:
        if not self.enough(choice, mask, mean):
            return False
        log_p, limit = self.judge(choice, mask, mean, explained)
        return log_p <= limit

    def best(self, without: int | None = None) -> Set | None:
        """The set that explains most of what the others leave, if it is a finding."""
        mean = self.mean(without)
        explained = mean - self.expected * self.common
        starts = self._starts(mean, explained)
        found: list[tuple[float, Choice, Mask]] = []
        tried: list[Choice] = []
        for start in starts:
            choice = self._ascend(start, mean)
            if choice in tried or not choice:
                continue
            tried.append(choice)
            mask = self.mask(choice)
            if self.passes(choice, mask, mean, explained):
                found.append((self.score(choice, mask, mean), choice, mask))
        if not found:
            return None
        score, choice, mask = max(found, key=lambda item: item[0])
        return Set(choice, mask, score=score) if score > 0 else None

    def _starts(self, mean: Array, explained: Array) -> list[Choice]:
        """The best groups of the best cuboids; those that pass by themselves before those that do not."""
        usual_weighted = self.weight * mean
        rows: list[tuple[float, Cuboid, int]] = []
        for each in self.open:
            usual = np.bincount(each.group, usual_weighted[each.leaves], len(each.groups))
            gains = gain(each.seen, usual, self.noise.exposure)
            top = np.argsort(-gains, kind="stable")[:3]
            rows += [(float(gains[place]) - each.price, each.cuboid, int(each.groups[place])) for place in top]
        rows.sort(key=lambda row: -row[0])
        passing: list[Choice] = []
        others: list[Choice] = []
        for score, cuboid, group in rows[:TRIED]:
            if len(passing) >= STARTS or score < 0.2 * rows[0][0]:
                break
            choice = self.cube.choice(cuboid, group)
            if self.passes(choice, self.mask(choice), mean, explained):
                passing.append(choice)
            elif len(others) < STARTS // 2:
                others.append(choice)
        return passing + others

    def _ascend(self, start: Choice, mean: Array) -> Choice:
        """Coordinate ascent: for one attribute at a time the best selection of its values, or none, given the others."""
        choice = dict(start)
        usual_weighted = self.weight * mean
        for _ in range(ROUNDS):
            before = dict(choice)
            for dim in range(len(self.cube.dimensions)):
                choice = self._coordinate(choice, dim, usual_weighted)
            if choice == before:
                break
        return choice

    def _coordinate(self, choice: Choice, dim: int, usual_weighted: Array) -> Choice:
        rest = {other: values for other, values in choice.items() if other != dim}
        mask = self.mask(rest)
        codes, size = self.cube.codes[mask, dim], len(self.cube.values[dim])
        seen = np.bincount(codes, self.weighted[mask], size)
        usual = np.bincount(codes, usual_weighted[mask], size)
        t = self.noise.exposure
        options: list[tuple[float, Choice]] = []
        if rest:
            options.append((float(gain(seen.sum(), usual.sum(), t)) - self.price(rest), rest))
        if len(rest) < max(len(cuboid.dims) for cuboid in self.cube.cuboids):
            alone = gain(seen, usual, t)
            promising = np.flatnonzero(alone > 0.5)
            for key in ((seen + 1.0) / (usual + 1.0), alone):
                order = promising[np.argsort(-key[promising], kind="stable")][:MAX_VALUES]
                sums, usuals = np.cumsum(seen[order]), np.cumsum(usual[order])
                for count, value in enumerate(gain(sums, usuals, t)):
                    if count + 1 < size:
                        option = rest | {dim: tuple(sorted(int(code) for code in order[: count + 1]))}
                        options.append((float(value) - self.price(option), option))
        if not options:
            return choice
        # The present choice first: equals do not move.
        now = self.mask(choice)
        held = float(gain(self.weighted[now].sum(), usual_weighted[now].sum(), t)) - self.price(choice)
        value, option = max(options, key=lambda item: item[0])
        return option if value > held + 1e-9 else choice


def _floor(cube: Cube, expected: Array, exposure: float) -> Array:
    """The least that is expected of a leaf: a twentieth of what its values alone would make likely (independence), and no
    more than a quarter of a complaint in the whole baseline. Without it a leaf never seen before is infinitely surprising."""
    total = max(float(expected.sum()), 1e-9)
    share = np.full(cube.leaves, total)
    for cuboid in cube.cuboids:
        if len(cuboid.dims) == 1:
            share *= np.bincount(cuboid.group, expected, cuboid.size)[cuboid.group] / total
    return np.asarray(np.maximum(np.minimum(0.05 * share, 0.25 * max(exposure, 1e-4)), 1e-9))


def _opened(
    cube: Cube, cuboid: Cuboid, counts: Array, weighted: Array, sizes: dict[tuple[int, ...], int], rules: Rules
) -> _Open:
    groups = np.flatnonzero(np.bincount(cuboid.group, counts, cuboid.size) >= rules.least)
    place = np.full(cuboid.size, -1, dtype=np.int64)
    place[groups] = np.arange(len(groups))
    group = place[cuboid.group]
    leaves = np.flatnonzero(group >= 0)
    group = group[leaves]
    price = penalty(cube, sizes, cube.choice(cuboid, 0), rules.extra)
    seen = np.asarray(np.bincount(group, weighted[leaves], len(groups)), dtype=np.float64)
    return _Open(cuboid, groups, leaves, group, seen, price)


def siblings(sets: list[Set]) -> list[tuple[int, int, int]]:
    """Pairs of sets over the same attributes that differ in the values of one alone, and that one."""
    found = []
    for one in range(len(sets)):
        for other in range(one):
            a, b = sets[one].choice, sets[other].choice
            differing = [dim for dim in a if a[dim] != b.get(dim)]
            if a.keys() == b.keys() and len(differing) == 1:
                found.append((other, one, differing[0]))
    return found
