"""What a slice of a place that opens takes over from others, as long as its own days do not say otherwise. Pure.

The level is one that a slice of its family has, as a gamma distribution by its moments (Robbins 1956; Gelman et al. 2013, §2.6), no
narrower than what four complainants tell; the noise is those slices' together. What was borrowed is kept beside the slice and stated
in its verdicts, so that they can be computed again (`Borrowed`).
"""

from dataclasses import dataclass

import numpy as np

from services.classification.domain.detection.baseline import Array, Ints
from services.classification.domain.detection.panel import LENT, Flags

LEAST_LEVEL = 0.01
"""A day."""
LEAST_WEIGHT, MOST_WEIGHT, ALONE = 0.3, 4.0, 0.5
"""Complainants that a borrowed level weighs; of a family of one nobody knows how alike its slices are."""
UNKNOWN = (0.1, 0.2, 1.5)
"""Level, weight and dispersion where nothing is known of any slice."""
NOISE_WEIGHT = LENT
"""Complainants that a borrowed dispersion weighs."""


@dataclass(frozen=True, slots=True)
class Borrowed:
    """`begin`: days since 1970-01-05; `level`: complainants a day, `weight`: how many of its own it weighs as much as; `dispersion`:
    variance over mean; `slices`: how many lent (0: nothing was known, and fixed values stand); `kin`: they are the slice's family, its
    motive's or its attribute's, and not all there are."""

    begin: int
    level: float
    weight: float
    dispersion: float
    slices: int
    kin: bool


def nothing(rows: int) -> Array:
    """A row per slice, its columns those of `Borrowed`: none has borrowed."""
    found = np.zeros((rows, len(Borrowed.__dataclass_fields__)))
    found[:, 0] = -1.0
    return found


def told(row: Array) -> Borrowed | None:
    """What such a row says; None where nothing was borrowed."""
    begin, level, weight, dispersion, slices, kin = (float(value) for value in row)
    return None if begin < 0 else Borrowed(int(begin), level, weight, dispersion, int(slices), kin > 0)


def lend(rows: Ints, known: Flags, family: Ints, levels: Array, noise: Array, dispersion: Array, begin: int) -> Array:
    """What the slices `rows` borrow that begin on the day `begin`, as `nothing` has it, from those of their family that are `known`, or
    else from all. `levels`: of an average day; `noise`: complainants that each slice's `dispersion` is known from."""
    lent = nothing(len(rows))
    lent[:, 0] = begin
    for place, row in enumerate(rows):
        mine = np.flatnonzero(known & (family == family[row]))
        kin = len(mine) > 0
        mine = mine if kin else np.flatnonzero(known)
        if not len(mine):
            lent[place, 1:4] = UNKNOWN
            continue
        mean, spread = float(levels[mine].mean()), float(levels[mine].var())
        counted = noise[mine] + 1.0
        phi = float((counted * dispersion[mine]).sum() / counted.sum())
        weight = min(max(mean**2 / max(spread, 1e-9), LEAST_WEIGHT), MOST_WEIGHT) if len(mine) > 1 else ALONE
        lent[place, 1:] = (*np.round([max(mean, LEAST_LEVEL), weight, phi], 6), len(mine), kin)
    return lent
