"""From the codes of one version of the rulebook to those of another, so that counts of both can stand side by side (G1).

Forward, a code goes where `becomes` and `successor` lead, step by step; shares multiply along the way. Backward, a code
comes from all codes that lead to it. Where a split says no shares (or backward through a merge, where they cannot be
known), the parts are given evenly and the crosswalk says that they are.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from typing import Literal

from services.classification.domain.rulebook import UNKNOWN, Entry, Rulebook

Section = Literal["motives", "causes"]


@dataclass(frozen=True, slots=True)
class Step:
    """Where one code goes: codes with shares that add up to one exactly. `even`: nobody said how they divide."""

    to: Mapping[str, Fraction]
    even: bool = False


@dataclass(frozen=True, slots=True)
class Crosswalk:
    """Every code of one version, and what stands for it in the other."""

    steps: Mapping[str, Step]

    def to(self, code: str) -> Mapping[str, Fraction]:
        """What stands for the code; `unknown` for one the first version never had."""
        step = self.steps.get(code)
        return {UNKNOWN: Fraction(1)} if step is None else step.to

    def only(self, code: str) -> str | None:
        """The one code that stands for it; None where it was split."""
        to = self.to(code)
        return next(iter(to)) if len(to) == 1 else None

    def reaches(self, code: str, other: str) -> bool:
        return other in self.to(code)

    def carried(self, counts: Mapping[str, int]) -> dict[str, int]:
        """Whole counts in the other version's codes. Their sum is the sum of what went in: what shares leave over goes to
        the parts with the largest remainders (Hamilton's method), code by code."""
        found: dict[str, int] = {}
        for code in sorted(counts):
            for target, part in _divided(counts[code], self.to(code)).items():
                found[target] = found.get(target, 0) + part
        return found


def crosswalk(
    older: Rulebook, newer: Rulebook, section: Section = "motives", *, back: bool = False, day: date | None = None
) -> Crosswalk:
    """How codes of the older version are called in the newer one; `back`: the other way round.

    `day`: as for contacts of that day, so that what was retired only later still stands; None: as of now. A code that
    the newer version does not have goes to `unknown`, which stays what it is.
    """
    old = {entry.code: entry for entry in older.section(section)}
    new = {entry.code: entry for entry in newer.section(section)}
    steps = _backward(old, new, day) if back else {code: _forward(code, new, day) for code in old}
    steps[UNKNOWN] = Step({UNKNOWN: Fraction(1)})
    return Crosswalk(steps)


def between(
    books: Sequence[tuple[int, Rulebook]], a: int, b: int, section: Section = "motives", *, day: date | None = None
) -> Crosswalk:
    """From version a to version b, in either direction, by way of every version between. Raises KeyError for an unknown one.

    `books`: (version, rulebook) as published.
    """
    known = dict(books)
    versions = sorted(version for version in known if min(a, b) <= version <= max(a, b))
    if a not in known or b not in known:
        raise KeyError(a if a not in known else b)
    pairs = list(itertools.pairwise(versions))
    steps = {
        code: Step({code: Fraction(1)}) for code in (*(entry.code for entry in known[a].section(section)), UNKNOWN)
    }
    for older, newer in pairs if a <= b else reversed(pairs):
        walk = crosswalk(known[older], known[newer], section, back=a > b, day=day)
        steps = {code: _onward(step, walk) for code, step in steps.items()}
    return Crosswalk(steps)


def _onward(step: Step, walk: Crosswalk) -> Step:
    found: dict[str, Fraction] = {}
    even = step.even
    for code, share in step.to.items():
        following = walk.steps.get(code, Step({UNKNOWN: Fraction(1)}))
        even |= following.even
        for target, weight in following.to.items():
            found[target] = found.get(target, Fraction(0)) + share * weight
    return Step(dict(sorted(found.items())), even)


def _next(entry: Entry, day: date | None) -> tuple[dict[str, Fraction], bool] | None:
    """One step on: parts and whether they were divided evenly; None for a code that stands."""
    if entry.becomes:
        shares = [part.share for part in entry.becomes]
        if len(shares) > 1 and any(share is None for share in shares):
            return {part.code: Fraction(1, len(shares)) for part in entry.becomes}, True
        exact = [Fraction(str(share)) if share is not None else Fraction(1) for share in shares]
        total = sum(exact)
        return {part.code: share / total for part, share in zip(entry.becomes, exact, strict=True)}, False
    if entry.successor is not None and entry.until is not None and (day is None or entry.until < day):
        return {entry.successor: Fraction(1)}, False
    return None


def _forward(code: str, new: Mapping[str, Entry], day: date | None) -> Step:
    found: dict[str, Fraction] = {}
    even = False
    waiting: list[tuple[str, Fraction, frozenset[str]]] = [(code, Fraction(1), frozenset())]
    while waiting:
        at, share, passed = waiting.pop()
        entry = new.get(at)
        if entry is None:
            found[UNKNOWN] = found.get(UNKNOWN, Fraction(0)) + share
            continue
        following = _next(entry, day)
        if following is None or at in passed:  # a cycle is a defect that `check` tells; here it only must end
            found[at] = found.get(at, Fraction(0)) + share
            continue
        parts, evenly = following
        even |= evenly
        waiting += [(part, share * weight, passed | {at}) for part, weight in parts.items()]
    return Step(dict(sorted(found.items())), even)


def _backward(old: Mapping[str, Entry], new: Mapping[str, Entry], day: date | None) -> dict[str, Step]:
    """What each of the newer version's codes came from; `unknown` where it came from none."""
    sources: dict[str, set[str]] = {}
    for code, entry in old.items():
        if _next(entry, day) is not None:
            continue  # ended before the older version already: nothing was called so under it
        for target in _forward(code, new, day).to:
            sources.setdefault(target, set()).add(code)
    steps: dict[str, Step] = {}
    for code in new:
        # What has ended in the newer version stood under its own name before.
        came = sources.get(code) or ({code} if code in old else {UNKNOWN})
        share = Fraction(1, len(came))
        steps[code] = Step(dict.fromkeys(sorted(came), share), even=len(came) > 1)
    return steps


def _divided(count: int, shares: Mapping[str, Fraction]) -> dict[str, int]:
    exact = {code: count * share for code, share in shares.items()}
    whole = {code: int(part) for code, part in exact.items()}
    left = count - sum(whole.values())
    for code in sorted(exact, key=lambda code: (whole[code] - exact[code], code))[:left]:
        whole[code] += 1
    return whole
