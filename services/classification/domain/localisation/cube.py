"""A cube of counts: its leaves (combinations of attribute values that occur) and every way to sum them up.

A *cuboid* is a choice of attributes, a *group* of it one combination of their values: {product, location} is a cuboid,
{product: internet, location: pasto} a group. The groups of all cuboids up to a depth are numbered once; after that, every
sum over all of them is one `bincount` per cuboid.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb, lgamma, log

import numpy as np
import numpy.typing as npt

Codes = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Choice = dict[int, tuple[int, ...]]
"""Dimension to the values allowed in it, both as numbers; what is not named is free."""

DEPTH = 4
"""Attributes a finding may name: a failure that needs five to be told is rarer than the noise of 10⁵ leaves."""
TABLE = 4_000_000
"""Up to so many possible keys are numbered by a table, more by sorting (8 ms for 10⁵ leaves instead of 1)."""


@dataclass(frozen=True, slots=True)
class Cuboid:
    dims: tuple[int, ...]
    group: npt.NDArray[np.int32]
    """Group of each leaf."""
    size: int
    member: Codes
    """One leaf of each group, from which its values can be read."""


@dataclass(frozen=True, slots=True)
class Cube:
    """`codes`: leaves × dimensions, the number of each leaf's value; `values`: what the numbers stand for."""

    dimensions: tuple[str, ...]
    values: tuple[tuple[str, ...], ...]
    codes: Codes
    cuboids: tuple[Cuboid, ...]

    @classmethod
    def of(cls, dimensions: Sequence[str], leaves: Iterable[Mapping[str, str]], depth: int = DEPTH) -> "Cube":
        """From leaves as mappings; an absent attribute counts as the value "". Raises ValueError without dimensions."""
        rows = [tuple(leaf.get(name, "") for name in dimensions) for leaf in leaves]
        values = tuple(tuple(sorted({row[place] for row in rows})) for place in range(len(dimensions)))
        number = [{value: code for code, value in enumerate(names)} for names in values]
        codes = np.array([[number[place][value] for place, value in enumerate(row)] for row in rows], dtype=np.int64)
        return cls.coded(dimensions, values, codes.reshape(len(rows), len(dimensions)), depth)

    @classmethod
    def coded(
        cls, dimensions: Sequence[str], values: Sequence[Sequence[str]], codes: Codes, depth: int = DEPTH
    ) -> "Cube":
        if not dimensions or codes.shape[1] != len(dimensions):
            raise ValueError(f"codes of {codes.shape[1]} dimensions, names of {len(dimensions)}")
        held: dict[tuple[int, ...], Cuboid] = {}
        for size in range(1, min(depth, len(dimensions)) + 1):
            for dims in combinations(range(len(dimensions)), size):
                last, cardinality = dims[-1], len(values[dims[-1]])
                key = codes[:, last]
                if size > 1:
                    above = held[dims[:-1]]
                    key = above.group.astype(np.int64) * cardinality + key
                    held[dims] = _numbered(dims, key, above.size * cardinality)
                else:
                    held[dims] = _numbered(dims, key, cardinality)
        return cls(tuple(dimensions), tuple(tuple(names) for names in values), codes, tuple(held.values()))

    @property
    def leaves(self) -> int:
        return len(self.codes)

    def mask(self, choice: Choice, without: int | None = None) -> Mask:
        """The leaves a choice holds for; `without`: as if that dimension were free."""
        found = np.ones(self.leaves, dtype=bool)
        for dim, allowed in choice.items():
            if dim != without:
                table = np.zeros(len(self.values[dim]), dtype=bool)
                table[list(allowed)] = True
                found &= table[self.codes[:, dim]]
        return found

    def choice(self, cuboid: Cuboid, group: int) -> Choice:
        leaf = self.codes[cuboid.member[group]]
        return {dim: (int(leaf[dim]),) for dim in cuboid.dims}

    def named(self, choice: Choice) -> dict[str, tuple[str, ...]]:
        """The choice in words, in the cube's order of dimensions."""
        return {self.dimensions[dim]: tuple(self.values[dim][code] for code in choice[dim]) for dim in sorted(choice)}

    def chosen(self, named: Mapping[str, Iterable[str]]) -> Choice | None:
        """Words back to a choice; None where the cube does not have them."""
        found: Choice = {}
        for name, values in named.items():
            if name not in self.dimensions:
                return None
            dim = self.dimensions.index(name)
            known = [self.values[dim].index(value) for value in values if value in self.values[dim]]
            if not known:
                return None
            found[dim] = tuple(sorted(known))
        return found

    def sizes(self) -> dict[tuple[int, ...], int]:
        return {cuboid.dims: cuboid.size for cuboid in self.cuboids}


def penalty(cube: Cube, sizes: Mapping[tuple[int, ...], int], choice: Choice, extra: float) -> float:
    """Nats a set has to earn before it counts as an explanation: −log of its prior share.

    The wanted error is shared evenly over depths, over the cuboids of a depth, over the groups of a cuboid (a weighted
    Bonferroni correction, Holm 1979; the same numbers are the code length of the set, Rissanen 1978). Of several values of one
    attribute all selections of so many are counted, and each value beyond the first costs `extra` on top (Speakman et al.
    2016 penalise the members of a scanned subset in the same way).
    """
    dims = tuple(sorted(choice))
    if not dims:
        return 0.0
    dimensions = len(cube.dimensions)
    total = log(dimensions) + log(comb(dimensions, len(dims)))
    product = 1.0
    for dim in dims:
        product *= len(cube.values[dim])
    total += log(max(min(sizes.get(dims, cube.leaves), product), 1.0))
    for dim in dims:
        n, k = len(cube.values[dim]), len(choice[dim])
        if k > 1:
            total += _log_comb(n, k) - log(n) + extra * (k - 1)
    return total


def _log_comb(n: int, k: int) -> float:
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)


def _numbered(dims: tuple[int, ...], key: Codes, possible: int) -> Cuboid:
    if possible <= TABLE:
        present = np.zeros(possible, dtype=bool)
        present[key] = True
        place = np.cumsum(present) - 1
        group = place[key].astype(np.int32)
        size = int(present.sum())
    else:
        kept, inverse = np.unique(key, return_inverse=True)
        group, size = inverse.astype(np.int32), len(kept)
    member = np.zeros(size, dtype=np.int64)
    member[group] = np.arange(len(key))
    return Cuboid(dims, group, size, member)
