"""Slices that are bad from the beginning: they never change, so only their peers show it.

For one motive, locations are compared by a funnel (Spiegelhalter 2005): of a location's complainants, how many came with
this motive, against the share the motive has in the other locations. Without exposure (contracts, orders) this is the
honest comparison at hand: it says "this motive weighs more here than elsewhere", not "people complain more here".
Natural differences between locations widen the limits: φ is the mean of the squared z-scores winsorised at 10 %.
"""

from dataclasses import dataclass

import numpy as np

from services.classification.domain.numeric import Array

METHOD = "funnel-1"
WINDOW_DAYS = 91
Z_LIMIT = 4.0
"""About one false alarm in 30,000 slices and looks where the limits hold; looks are weekly and strongly dependent."""
RATIO_LIMIT = 1.5
LEAST_EXPECTED = 5.0
LEAST_PEERS = 4


@dataclass(frozen=True, slots=True)
class Funnel:
    """One look, motives × locations."""

    observed: Array
    expected: Array
    z: Array  # adjusted for overdispersion
    dispersion: Array  # per motive
    flagged: Array


def look(counts: Array) -> Funnel:
    """Judge complainants per motive (rows) and location (columns) of one window."""
    places, total = counts.sum(axis=0), counts.sum()
    motives = counts.sum(axis=1)
    others_total = np.maximum(total - places, 1e-9)
    share = (motives[:, None] - counts) / others_total[None, :]
    expected = np.maximum(share * places[None, :], 1e-9)
    # The share elsewhere is an estimate too: its variance adds expected² / count elsewhere.
    elsewhere = np.maximum(motives[:, None] - counts, 1.0)
    deviation = np.sqrt(np.maximum(expected * (1 - np.minimum(share, 0.99)) + expected**2 / elsewhere, 1e-9))
    raw = (counts - expected) / deviation
    usable = expected >= LEAST_EXPECTED
    dispersion = np.ones(counts.shape[0])
    for row in range(counts.shape[0]):
        scores = raw[row, usable[row]]
        if len(scores) >= LEAST_PEERS:
            low, high = np.quantile(scores, (0.1, 0.9))
            dispersion[row] = max(1.0, float((np.clip(scores, low, high) ** 2).mean()))
    z = raw / np.sqrt(dispersion)[:, None]
    enough = usable & (usable.sum(axis=1) >= LEAST_PEERS)[:, None]
    flagged = enough & (z > Z_LIMIT) & (counts > RATIO_LIMIT * expected)
    return Funnel(counts, expected, z, dispersion, flagged.astype(np.float64))
