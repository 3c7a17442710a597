"""Slices that are bad from the beginning: they never change, so only their peers show it.

With exposure (contracts, orders) places are compared by rate, motive by motive. Without it, by share: of a place's
complainants, how many came with this motive, against what motive and place alone make one expect (quasi-independence,
Goodman 1968: cells already found chronic do not teach what is usual). That says "this motive weighs more here than
elsewhere", not "people complain more here": the rate is unknown. Who stands out is judged in `funnel`.
"""

from dataclasses import dataclass

import numpy as np

from services.classification.domain.funnel import SHARE, Funnel, chosen, compare
from services.classification.domain.numeric import Array

METHOD = "funnel-3"
WINDOW_DAYS = 91
Z_LIMIT = 3.09
"""Of the count drawn as the funnel's limit: a tail of 0.1 % among usual places."""
RATE = 0.07
"""Share of the places named at one look that may be usual ones; two looks in a row have to agree."""
RATIO_LIMIT = 1.3
LEAST = 5
"""Complainants beyond expectation: fewer are nobody's business, however sure."""
LEAST_PEERS = 4
ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Look:
    """One look, motives × places. `by_rate`: exposure was known; else shares were compared, and the rate is unknown."""

    observed: Array
    expected: Array
    usual: Array  # probability of being a usual place
    z: Array
    upper: Array
    spread: Array  # natural differences between places, per motive (coefficient of variation)
    flagged: Array
    by_rate: bool


def look(counts: Array, exposure: Array | None = None, *, dispersion: float = 1.0, rate: float = RATE) -> Look:
    """Judge complainants per motive (rows) and place (columns) of one window. `exposure`: per place, or per motive and place."""
    by_rate = exposure is not None
    fixed = None if exposure is None else np.broadcast_to(exposure, counts.shape).astype(np.float64)
    flagged = np.zeros(counts.shape, dtype=bool)
    share = SHARE
    found: Funnel | None = None
    for _ in range(1 if by_rate and len(counts) == 1 else ROUNDS):
        expected = _shares(counts, flagged) if fixed is None else fixed
        # Without peers nobody stands out among them.
        peered = (expected > 0).sum(axis=1) > LEAST_PEERS
        found = compare(counts, np.where(peered[:, None], expected, 0.0), dispersion=dispersion, share=share)
        beyond = (counts - found.expected >= LEAST) & (counts > RATIO_LIMIT * found.expected) & peered[:, None]
        named = chosen(found.usual, rate) & beyond
        # One in sixteen is right for a dozen places; of many cells fewer are chronic, and they say how many.
        cells = int(peered.sum()) * counts.shape[1]
        before, share = share, float((1 - found.usual).sum() + 1.0) / (cells + 16.0)
        if (named == flagged).all() and abs(share - before) < 0.1 * before:
            break
        flagged = named
    assert found is not None
    return Look(counts, found.expected, found.usual, found.z, found.upper, found.spread, flagged, by_rate)


def _shares(counts: Array, left_out: Array) -> Array:
    """What independence of motive and place makes one expect, cells left out aside (iterative proportional fitting)."""
    kept = ~left_out.astype(bool)
    seen = np.where(kept, counts, 0.0)
    rows, columns = np.ones(counts.shape[0]), np.ones(counts.shape[1])
    for _ in range(50):
        below = (kept * columns[None, :]).sum(axis=1)
        rows = np.where(below > 0, seen.sum(axis=1) / np.maximum(below, 1e-12), 0.0)
        beside = (kept * rows[:, None]).sum(axis=0)
        columns = np.where(beside > 0, seen.sum(axis=0) / np.maximum(beside, 1e-12), 0.0)
    return np.asarray(rows[:, None] * columns[None, :])
