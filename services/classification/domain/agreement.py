"""Do two people who code the same contact, neither seeing the other's answer, give the same code? (R07, indicator 26)"""

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

Z = 1.959964
"""Of a 95 % interval."""


@dataclass(frozen=True, slots=True)
class Pair:
    """One contact coded twice. `first`, `second`: the codes; `first_by`, `second_by`: who gave them."""

    first: str
    second: str
    first_by: str
    second_by: str


@dataclass(frozen=True, slots=True)
class Kappa:
    """`value`: -1 to 1, None where chance alone would always agree (a single code) or nothing was coded twice; `low`, `high`: its
    95 % interval; `observed`: share of pairs that agree; `expected`: the share that chance gives; `pairs`: how many."""

    value: float | None
    low: float | None
    high: float | None
    observed: float | None
    expected: float | None
    pairs: int


def kappa(pairs: Sequence[tuple[Hashable, Hashable]]) -> Kappa:
    """Cohen's kappa: (po - pe) / (1 - pe), pe from both sides' own shares (Cohen 1960, Educ. Psychol. Meas. 20:37-46).

    Standard error sqrt(po (1 - po) / n) / (1 - pe), the large-sample approximation of the same paper. The two sides are the
    first and the second coding: where people take turns, they stand for "a person" and "another person".
    """
    n = len(pairs)
    if n == 0:
        return Kappa(None, None, None, None, None, 0)
    observed = sum(first == second for first, second in pairs) / n
    firsts, seconds = Counter(first for first, _ in pairs), Counter(second for _, second in pairs)
    expected = sum(count * seconds[code] for code, count in firsts.items()) / (n * n)
    if 1 - expected < 1e-12:
        return Kappa(None, None, None, observed, expected, n)
    value = (observed - expected) / (1 - expected)
    error = math.sqrt(observed * (1 - observed) / n) / (1 - expected)
    return Kappa(value, max(value - Z * error, -1.0), min(value + Z * error, 1.0), observed, expected, n)


def by_code(pairs: Iterable[Pair]) -> dict[str, Kappa]:
    """Kappa of each code against all others: both said it or both did not (Fleiss 1981, Statistical Methods, ch. 13.1)."""
    found = list(pairs)
    codes = sorted({code for pair in found for code in (pair.first, pair.second)})
    return {code: kappa([(pair.first == code, pair.second == code) for pair in found]) for code in codes}


def by_person(pairs: Iterable[Pair]) -> dict[str, Kappa]:
    """Kappa of each person against everybody else: pairs where the person was one of the two, the person's code on one side."""
    found = list(pairs)
    people = sorted({person for pair in found for person in (pair.first_by, pair.second_by)})
    return {
        person: kappa(
            [(pair.first, pair.second) for pair in found if pair.first_by == person]
            + [(pair.second, pair.first) for pair in found if pair.second_by == person]
        )
        for person in people
    }
