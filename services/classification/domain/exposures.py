"""Contracts or orders of every location over any period, from figures that hold for periods of their own. Pure.

Days are put down once and summed up from the front, so that a look at a window costs two subtractions a place.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from itertools import groupby

import numpy as np

from services.classification.domain.numeric import Array

MOST_MISSING = 0.1
"""Of a window's days; a rate over days of which a tenth is unknown is still one, over fewer it is a guess."""


@dataclass(frozen=True, slots=True)
class Figure:
    """`amount` a day, on each day from `since` to `until`. Zero is unknown."""

    place: str
    since: date
    until: date
    amount: float


class Exposures:
    """As `peers.Exposed`: the exposure of a place in a period, both days included; None where too many days are not known."""

    def __init__(self, figures: Iterable[Figure]) -> None:
        self._sums: dict[str, tuple[date, Array, Array]] = {}
        ordered = sorted(figures, key=lambda one: (one.place, one.since, one.until))
        for place, own in groupby(ordered, key=lambda one: one.place):
            self._sums[place] = _summed(list(own))

    def __call__(self, place: str, since: date, until: date) -> float | None:
        held = self._sums.get(place)
        days = (until - since).days + 1
        if held is None or days <= 0:
            return None
        first, amounts, known = held
        low = min(max((since - first).days, 0), len(amounts) - 1)
        high = min(max((until - first).days + 1, 0), len(amounts) - 1)
        there = float(known[high] - known[low])
        if there < (1 - MOST_MISSING) * days:
            return None
        return float(amounts[high] - amounts[low]) * days / there


def _summed(own: list[Figure]) -> tuple[date, Array, Array]:
    first, last = min(one.since for one in own), max(one.until for one in own)
    days = np.zeros((last - first).days + 1)
    # The shortest period is written last: a day's own figure stands before its month's.
    for one in sorted(own, key=lambda figure: (-(figure.until - figure.since).days, figure.since)):
        days[(one.since - first).days : (one.until - first).days + 1] = one.amount
    return first, np.concatenate([[0.0], days.cumsum()]), np.concatenate([[0.0], (days > 0).cumsum()])


def changed(
    before: Mapping[tuple[str, date, date], float], after: Mapping[tuple[str, date, date], float]
) -> date | None:
    """The first day on which two sets of figures differ; None where they do not."""
    differing = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
    return min((since for _, since, _ in differing), default=None)
