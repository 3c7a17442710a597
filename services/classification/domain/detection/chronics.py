"""Series of a file that are bad against their peers from the beginning: they never change, so only peers and exposure show it.

Every four weeks the complainants of the last thirteen weeks are held against those of the peers by exposure, in the funnel of
`domain.funnel` (overdispersion adjusted, two-group mixture). Strictly on-line: what is said of a period uses counts and exposure up to
it. Two looks in a row have to agree before anything is said, and the first that does not agree ends it.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from scipy import special

from services.classification.domain.chronic import look
from services.classification.domain.detection.baseline import Array
from services.classification.domain.detection.engine import CHRONIC, Asked, Series, Told
from services.classification.domain.detection.panel import Flags
from services.classification.domain.detection.settings import SETTINGS

WINDOW, EVERY, LEAST = 13, 4, 8
"""Weeks looked back over, weeks between looks, and weeks a series must have had exposure before it is judged."""
ALIKE = 0.34
"""Natural differences (coefficient of variation of rates) above which series are no peers of each other, and nothing is said. Places
compared in practice differ by 5-30 % (Spiegelhalter 2005); a file that mixes motives differs by 100 % and more."""
MOST = 0.25
"""Likewise when more than this share of them would stand out: then standing out is what they usually do."""


@dataclass(frozen=True, slots=True)
class Chronic:
    """One series: in which periods it is chronic, and the score there (−log₁₀ of the tail among usual peers; 0 elsewhere)."""

    on: Flags
    score: Array


def chronics(
    freq: str, series: Sequence[Series], asked: Asked, peers: Sequence[str] | None = None
) -> list[Chronic | None]:
    """What the peers of each series say about it; None where its exposure is not known: never by count alone.

    `peers`: a name per series, those with the same name are compared; without it all series with exposure are.
    """
    weeks = 7 if SETTINGS[freq].block == 7 else 1
    groups: dict[str, list[int]] = defaultdict(list)
    for index, one in enumerate(series):
        if one.exposed is not None:
            groups["" if peers is None else peers[index]].append(index)
    found: list[Chronic | None] = [None] * len(series)
    for members in groups.values():
        for index, told in zip(members, _group([series[index] for index in members], weeks, asked), strict=True):
            found[index] = told
    return found


def _group(series: Sequence[Series], weeks: int, asked: Asked) -> list[Chronic]:
    window, every, least = WINDOW * weeks, EVERY * weeks, LEAST * weeks
    told = [Chronic(np.zeros(len(one.counts), dtype=bool), np.zeros(len(one.counts))) for one in series]
    sums = [_Sums.of(one) for one in series]
    begins = np.array([one.begins for one in sums])
    cut = -np.log10(asked.far)
    before = np.zeros(len(series), dtype=bool)
    # The looks fall on the same dates whatever the file begins with: a longer file has the same ones, and more.
    at = -(-(int(begins.min()) + least) // every) * every
    while at <= max(one.first + len(one.counts) for one in series):
        counts = np.array([one.people(at - window, at) for one in sums])
        units = np.array([one.exposure(at - window, at) for one in sums])
        # Whether a series has ended or only has no rows for a while is not known at the time; without anybody it is left out.
        flagged, score = _look(counts, np.where((at - begins >= least) & (counts > 0), units, 0.0))
        for index in np.flatnonzero(flagged & before & (score >= cut)).tolist():
            # From the period the look ends with, whose count it knew, to the one before the next look's.
            a, b = max(0, at - 1 - series[index].first), max(0, at - 1 + every - series[index].first)
            told[index].on[a:b], told[index].score[a:b] = True, score[index]
        before, at = flagged, at + every
    return told


@dataclass(frozen=True, slots=True)
class _Sums:
    """Complainants and exposure of one series, summed up from its first period; `begins`: when its exposure was first known."""

    first: int
    begins: int
    counts: Array
    units: Array
    usual: float  # exposure of a period after its last row: as it last was

    @classmethod
    def of(cls, one: Series) -> Self:
        assert one.exposed is not None
        known = one.exposed > 0
        watched = one.counts if one.customers is None else one.customers
        # A complaint of a period before exposure was known belongs to no rate.
        counts = np.concatenate([[0.0], np.cumsum(np.where(known, watched, 0))])
        # A known zero is kept as a millionth of the first value.
        large = one.exposed[one.exposed > 1e-5 * one.exposed[known.argmax()]]
        units = np.concatenate([[0.0], np.cumsum(one.exposed)])
        return cls(one.first, one.first + int(known.argmax()), counts, units, float(large[-1]))

    def people(self, begin: int, end: int) -> float:
        last = len(self.counts) - 1
        return float(
            self.counts[min(max(end - self.first, 0), last)] - self.counts[min(max(begin - self.first, 0), last)]
        )

    def exposure(self, begin: int, end: int) -> float:
        last = len(self.units) - 1
        a, b = max(begin - self.first, 0), max(end - self.first, 0)
        beyond = max(0, b - last) - max(0, a - last)
        return float(self.units[min(b, last)] - self.units[min(a, last)] + beyond * self.usual)


def _look(counts: Array, exposure: Array) -> tuple[Flags, Array]:
    """Who stands out at one look, and how far."""
    nobody = np.zeros(len(counts), dtype=bool), np.zeros(len(counts))
    held = np.flatnonzero(exposure > 0)
    if not len(held) or not counts[held].any():
        return nobody
    # By their mean: exposures in millions and in thousandths are told alike.
    judged = look(counts[None, held], exposure[None, held] / exposure[held].mean())
    if float(judged.spread[0]) > ALIKE or judged.flagged[0].mean() > MOST:
        return nobody
    flagged, score = np.zeros(len(counts), dtype=bool), np.zeros(len(counts))
    flagged[held] = judged.flagged[0]
    score[held] = -special.log_ndtr(-judged.z[0]) / np.log(10)
    return flagged, score


def laid_over(told: Told, found: Chronic | None) -> Told:
    """The judgement by its own past with that by its peers over it. A rise within a chronic series keeps its own kind."""
    if found is None or not found.on.any():
        return told
    return replace(
        told,
        score=np.where(found.on, np.maximum(told.score, found.score), told.score),
        alarm=told.alarm | found.on,
        kind=np.where(found.on & ~told.alarm, CHRONIC, told.kind),
    )
