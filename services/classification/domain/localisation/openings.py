"""Places that opened within the past that is looked at: what comes from there could not come before, and is no rise. Pure."""

from collections.abc import Sequence

import numpy as np

from services.classification.domain.localisation.cube import Codes, Mask
from services.classification.domain.numeric import Array
from services.classification.domain.slices import PLACES

SETTLED_DAYS = 28
"""What is first heard of so long after the first window, or later, was not there before: as the monitor has it (`lots.NEW_PLACE`)."""
MISSED = 7.0
"""Complainants that a place would have brought before it was first heard of, had it always been what it is since: that there was none by
chance has odds of one in 1,000 (e⁻⁷). Of a rare value nobody knows."""


def unknown(dimensions: Sequence[str], leaves: Sequence[Sequence[str]], past: Array, now: Array, days: int) -> Codes:
    """Per leaf, the number of past windows that tell nothing of it: up to and with the one in which the newest of its places opened; 0
    where none did.

    `leaves`: values in the order of `dimensions`; `past`: windows of so many `days` × leaves, oldest first; `now`: complainants per leaf
    since then, the tested ones among them.
    """
    found = np.zeros(len(leaves), dtype=np.int64)
    settled = -(-SETTLED_DAYS // days)
    for place, name in enumerate(dimensions):
        if name not in PLACES:
            continue
        number: dict[str, int] = {}
        code = np.array([number.setdefault(leaf[place], len(number)) for leaf in leaves], dtype=np.int64)
        values = list(number)
        told = np.array([np.bincount(code, row, len(values)) for row in past])
        heard = told.any(axis=0)
        first = np.where(heard, (told > 0).argmax(axis=0), len(past))
        rate = told.sum(axis=0) / np.maximum(len(past) - first, 1)
        new = np.where(heard, (first >= settled) & (rate * first > MISSED), np.bincount(code, now, len(values)) > 0)
        new &= np.array([value != "" for value in values])
        found = np.maximum(found, np.where(new, first + 1, 0)[code])
    return found


def usual(past: Array, gone: Codes) -> tuple[Array, Array, Array]:
    """What a window brings of each leaf, the mean of those that tell of it; the same per window and leaf; and the past without what tells
    nothing. `gone`: as `unknown` has it."""
    if not gone.any():
        expected = past.mean(axis=0)
        return expected, np.broadcast_to(expected, past.shape), past
    told = np.arange(len(past))[:, None] >= gone[None, :]
    whole = np.where(told, past, 0.0)
    expected = whole.sum(axis=0) / np.maximum(told.sum(axis=0), 1)
    return expected, np.where(told, expected, 0.0), whole


def settled(past: Array, gone: Codes, least: int) -> Mask:
    """Leaves of which enough windows tell for anything to be said; the others are left out."""
    return np.asarray((gone == 0) | (len(past) - gone >= least))
