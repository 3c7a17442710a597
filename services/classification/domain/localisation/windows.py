"""From contacts to a cube: what the window counts, what its past makes one expect, and how much that wanders by itself."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np

from services.classification.domain.localisation.cube import DEPTH, Cube
from services.classification.domain.localisation.noise import Noise, learn
from services.classification.domain.localisation.openings import settled, unknown, usual
from services.classification.domain.numeric import Array

LEAST_WINDOWS = 6
"""Past windows needed before anything is said: the noise of a cube cannot be learnt from fewer."""
MOST_VALUES = 500
"""Of an attribute; the rarer ones are one value, `OTHER`: a free text must not make a million slices."""
OTHER = "…"


@dataclass(frozen=True, slots=True)
class Contact:
    day: date
    customer: str
    values: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Window:
    """What `localise` takes. `counts`: distinct complainants per leaf, `contacts`: all contacts, `expected`: of complainants."""

    cube: Cube
    counts: Array
    contacts: Array
    expected: Array
    noise: Noise


def window(
    contacts: Iterable[Contact],
    dimensions: Sequence[str],
    through: date,
    *,
    days: int = 7,
    past: int = 26,
    gap: int = 1,
    depth: int = DEPTH,
) -> Window | None:
    """The `days` up to and with `through` beside the `past` windows of the same length before them, `gap` windows left out.

    A customer counts once per window and leaf, however often they called. The gap keeps the first days of a failure out of what
    it is compared with. Windows before the first contact do not count as quiet ones, nor those before a place opened; one that opened so lately
    that fewer than `LEAST_WINDOWS` tell of it is left out. None with fewer than `LEAST_WINDOWS`.
    """
    held = [(contact, (through - contact.day).days // days) for contact in contacts if contact.day <= through]
    held = [(contact, back) for contact, back in held if back == 0 or gap < back <= past + gap]
    if not held:
        return None
    oldest = max((through - contact.day).days for contact, _ in held)
    # The window in which recording began is no whole one.
    windows = min(past, (oldest + 1) // days - 1 - gap)
    if windows < LEAST_WINDOWS:
        return None
    kept = [_kept(Counter(contact.values.get(name, "") for contact, _ in held)) for name in dimensions]
    number: dict[tuple[str, ...], int] = {}
    once: set[tuple[int, int, str]] = set()
    raw: Counter[int] = Counter()
    for contact, back in held:
        values = (contact.values.get(name, "") for name in dimensions)
        leaf = tuple(value if value in known else OTHER for value, known in zip(values, kept, strict=True))
        place = number.setdefault(leaf, len(number))
        once.add((back, place, contact.customer))
        raw[place] += back == 0
    order = sorted(number)
    rank = {number[leaf]: place for place, leaf in enumerate(order)}
    counts = np.zeros((windows + 1, len(order)))
    for back, place, _ in once:
        row = 0 if back == 0 else back - gap
        if row <= windows:
            counts[row, rank[place]] += 1
    past_counts, seen = counts[:0:-1], np.array([raw[number[leaf]] for leaf in order], dtype=np.float64)
    gone = unknown(dimensions, order, past_counts, counts[0], days)
    held_on = np.flatnonzero(settled(past_counts, gone, LEAST_WINDOWS))
    if not len(held_on):
        return None
    cube = Cube.of(dimensions, [dict(zip(dimensions, order[place], strict=True)) for place in held_on], depth)
    expected, each, whole = usual(past_counts[:, held_on], gone[held_on])
    noise = learn(cube, whole, each, 1.0 / windows)
    return Window(cube, counts[0, held_on], seen[held_on], expected, noise)


def _kept(counted: Counter[str]) -> set[str]:
    """The commonest values; of equals the first in the alphabet, so that the order of contacts decides nothing."""
    ordered = sorted(counted, key=lambda value: (-counted[value], value))
    return set(ordered[:MOST_VALUES])
