"""Slices that are bad from the beginning: they never change, so only their peers show it.

With exposure (contracts, orders) places are compared by rate, motive by motive. Without it, by share: of a place's
complainants, how many came with this motive, against what motive and place alone make one expect (quasi-independence,
Goodman 1968: cells already found chronic do not teach what is usual). That says "this motive weighs more here than
elsewhere", not "people complain more here": the rate is unknown. Who stands out is judged in `funnel`.
"""

from dataclasses import dataclass

import numpy as np

from services.classification.domain.funnel import SHARE, SPREADS, chosen, compare, profile
from services.classification.domain.numeric import Array

METHOD = "funnel-2"
WINDOW_DAYS = 91
RATE = 0.05
"""Share of the places named at one look that may be usual ones; two looks in a row have to agree."""
RATIO_LIMIT = 1.3
LEAST = 5
"""Complainants beyond expectation: fewer are nobody's business, however sure."""
LEAST_PEERS = 4
ROUNDS = 3
ALIKE = 4.0
"""The other motives together say as much about natural differences as so many of them."""


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
    expected = np.broadcast_to(exposure, counts.shape).astype(np.float64) if exposure is not None else np.zeros(counts.shape)
    flagged = np.zeros(counts.shape, dtype=bool)
    usual, z, upper = np.ones(counts.shape), np.zeros(counts.shape), np.full(counts.shape, np.inf)
    fitted, spread = np.zeros(counts.shape), np.zeros(len(counts))
    share = SHARE
    for _ in range(1 if by_rate and len(counts) == 1 else ROUNDS):
        if not by_rate:
            expected = _shares(counts, flagged)
        rows = [row for row in range(len(counts)) if (expected[row] > 0).sum() > LEAST_PEERS]
        profiles = {row: profile(counts[row], expected[row], dispersion=dispersion) for row in rows} if len(rows) > 1 else {}
        total = sum(profiles.values(), np.zeros(len(SPREADS)))
        for row in rows:
            # Motives differ in how much places differ by nature, and resemble each other in it: the rest counts for a few.
            others = (total - profiles[row]) * min(1.0, ALIKE / (len(rows) - 1)) if profiles else None
            found = compare(counts[row], expected[row], dispersion=dispersion, others=others, share=share)
            usual[row], z[row], upper[row], fitted[row], spread[row] = (
                found.usual, found.z, found.upper, found.expected, found.spread,
            )
        named = chosen(usual, rate) & (counts - fitted >= LEAST) & (counts > RATIO_LIMIT * fitted)
        # One in sixteen is right for a dozen places; of many cells fewer are chronic, and they say how many.
        before, share = share, float(np.clip((1 - usual[rows]).sum() + 1.0, 0.1, None) / (usual[rows].size + 16.0)) if rows else share
        if (named == flagged).all() and abs(share - before) < 0.1 * before:
            break
        flagged = named
    return Look(counts, fitted, usual, z, upper, spread, flagged, by_rate)


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
