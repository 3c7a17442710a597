"""What a holiday and the day after it bring, as multiples of a usual day; learnt from the series' own, shrunk to a given or a shared factor.

Days are of one of four kinds: holidays and the days after them, those on Saturdays and Sundays apart (a Sunday has little to lose). What a
series' kind brings is f times what is usual, with f from a gamma-Poisson posterior (Gelman et al. 2013, §2.6) tempered by the dispersion φ:

    f = (Σ y + φ K c) / (Σ m + φ K),   var(log f) ≈ 1 / (Σ y / φ + K c)

over its past days of that kind, m what they would have brought as ordinary ones, c the factor it is shrunk to, K how much that weighs. So a
factor that is not known yet widens what is as usual on such a day, and one that is known moves it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from services.classification.domain.detection.baseline import Array, Ints

KINDS = 4
ALONE, AMONG = 4.0, 16.0
"""K: complainants that the factor shrunk to counts for: 1 for a series alone (standard deviation of log f: a half), what all slices together
brought where there are others (a quarter)."""
POOLED = 8.0
"""Complainants that 1 counts for in what all slices together bring."""
MEMORY = 0.98
"""Of what past days of a kind told, at each further one: of eighteen holidays a year half is forgotten in two years."""
MOST, SPARE = 4.0, 3.0
"""A day tells at most four times the usual and three complainants: an outage on a holiday makes no holiday."""


def kinds_of(days: Iterable[int]) -> dict[int, int]:
    """Kinds of holidays and of the days after them that are none; days numbered from a Monday."""
    held = set(days)
    found = {day: 2 * (day % 7 >= 5) for day in held}
    found |= {day + 1: 1 + 2 * ((day + 1) % 7 >= 5) for day in held if day + 1 not in held}
    return found


@dataclass(frozen=True, slots=True)
class Today:
    """A holiday or the day after one, as each series knows it. `unknown`: variance of the factor's logarithm."""

    kind: int
    factor: Array
    unknown: Array


class Holidays:
    """Factors of all series of a panel. `days`: the holidays, numbered since 1970-01-05, a Monday."""

    def __init__(self, days: Iterable[int], series: int, *, among: bool = False) -> None:
        """`among`: series are shrunk to what all of them bring (`pool`)."""
        self.kinds = kinds_of(days)
        self.prior, self.among = AMONG if among else ALONE, among
        self.usual = np.ones(KINDS)
        self.unsure = np.full(KINDS, 1.0 / POOLED if among else 0.0)
        self.brought, self.due = np.zeros((series, KINDS)), np.zeros((series, KINDS))

    def on(self, day: int, dispersion: Array) -> Today | None:
        """What is known of that day; None for an ordinary one."""
        kind = self.kinds.get(day)
        if kind is None:
            return None
        weight = self.prior * dispersion
        brought = self.brought[:, kind] + weight * self.usual[kind]
        return Today(kind, brought / (self.due[:, kind] + weight), dispersion / brought + self.unsure[kind])

    def plain(self, first: int, days: int) -> npt.NDArray[np.bool_]:
        """Which of so many days from `first` on are ordinary."""
        return np.array([day not in self.kinds for day in range(first, first + days)])

    def learn(self, today: Today, counts: Array, expected: Array, trusted: Array) -> None:
        """From such a day: what came, what was expected, and how likely nothing else was the matter."""
        due, kind = expected / today.factor, today.kind
        capped = np.minimum(counts, MOST * due + SPARE)
        self.brought[:, kind] = MEMORY * self.brought[:, kind] + trusted * capped
        self.due[:, kind] = MEMORY * self.due[:, kind] + trusted * due

    def pool(self, rows: Any) -> None:
        """What these rows brought together is what each is shrunk to."""
        if self.among:
            brought, due = self.brought[rows].sum(axis=0), self.due[rows].sum(axis=0)
            # Sums over slices are rounded before they are used: their last digit depends on how many rows there are.
            self.usual = np.round((brought + POOLED) / (due + POOLED), 6)
            self.unsure = np.round(1.0 / (brought + POOLED), 6)

    def keep(self, rows: Ints) -> None:
        """Go on with these rows only, in this order."""
        self.brought, self.due = self.brought[rows], self.due[rows]

    def held(self) -> dict[str, Array]:
        """What the days to come depend on."""
        return {name: getattr(self, name).copy() for name in ("usual", "unsure", "brought", "due")}

    def go_back(self, held: dict[str, Array], series: int) -> None:
        """To where it stood then; series nobody had heard of stand where the last one stood."""
        for name, value in held.items():
            missing = series - len(value) if name in {"brought", "due"} else 0
            setattr(
                self, name, np.concatenate([value, np.repeat(value[-1:], missing, axis=0)]) if missing else value.copy()
            )
