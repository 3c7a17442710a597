"""Findings that resemble a finding: this happened before; what was done, and did it work? (R96)"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from libs.events.catalogue.findings import Nature
from services.classification.domain.finding_state import Finding

MOTIVE, FAMILY, PLACE, NATURE, CAUSES = 0.40, 0.15, 0.15, 0.20, 0.25
"""Judged weights; they add up to one where the motive is the same and every other thing is too."""
AT_LEAST = 0.3
PLACES = ("touchpoint", "location", "team", "product", "supplier", "channel", "segment", "agent", "procedure")


@dataclass(frozen=True, slots=True)
class Portrait:
    """A finding as it is compared: `causes` are shares of its contacts, those people named in its tree counted in."""

    finding: Finding
    family: str | None = None  # the motive above its own
    causes: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Alike:
    finding: Finding
    score: float
    same: tuple[str, ...]


def alike(one: Portrait, other: Portrait) -> Alike:
    """How alike two findings are, 0 to 1, and in what."""
    score = 0.0
    same: list[str] = []
    a, b = one.finding, other.finding
    if a.slice.get("motive") == b.slice.get("motive"):
        score, same = score + MOTIVE, [*same, "motive"]
    elif one.family is not None and one.family == other.family:
        score, same = score + FAMILY, [*same, "family"]
    named = [name for name in PLACES if name in a.slice or name in b.slice]
    agreed = [name for name in named if a.slice.get(name) == b.slice.get(name)]
    if named and agreed:
        score, same = score + PLACE * len(agreed) / len(named), [*same, *agreed]
    if a.nature is b.nature and a.nature is not Nature.UNKNOWN:
        score, same = score + NATURE, [*same, "nature"]
    shared = sum(min(share, other.causes.get(cause, 0.0)) for cause, share in one.causes.items())
    if shared > 0:
        score += CAUSES * min(1.0, shared)
        if shared >= 0.5:
            same.append("causes")
    return Alike(b, round(score, 4), tuple(same))


def nearest(one: Portrait, others: Sequence[Portrait], most: int = 10) -> list[Alike]:
    """The most alike among those opened before it, likest first."""
    found = [
        alike(one, other)
        for other in others
        if other.finding.finding_id != one.finding.finding_id and other.finding.opened_at <= one.finding.opened_at
    ]
    kept = [item for item in found if item.score >= AT_LEAST]
    return sorted(kept, key=lambda item: (-item.score, -item.finding.opened_at.timestamp(), item.finding.finding_id))[
        :most
    ]


def worked(finding: Finding) -> bool | None:
    """Whether what was done in the end worked; None while nobody knows."""
    judged = [action.judgement for action in finding.actions if action.judgement is not None]
    if not judged or judged[-1] == "undecided":
        return None
    return judged[-1] == "effective"
