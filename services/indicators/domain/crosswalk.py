"""Decisions made under one version of the rulebook, asked about under another (G1).

A decision stays its version's for ever. Where an interaction was never decided under the version asked about, the decision it
has is carried over where the crosswalk leaves no doubt: renamed, merged, or (backward) come from one code alone. Where it was
split, nobody can say without reading the text again, and the answer is "unknown" until the past is coded again. By itself only
what older versions decided is carried: so nothing decided under a newer version ever changes an older one's report.

The crosswalk travels in the rulebook itself: an entry that was renamed, split or merged says in `becomes` what stands for it,
one that was retired names its `successor` after its last day (`until`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo

from services.indicators.domain.periods import micros, midnight
from services.indicators.domain.registry import UNKNOWN

Carry = Literal["forward", "both", "none"]
SECTIONS = {"motive": "motives", "cause": "causes"}
Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Carried:
    """How a code of one version is called in the version asked about, for contacts from `after` on (microseconds)."""

    dimension: str  # motive or cause
    version: int
    code: str
    target: str
    after: int = 0
    component: str | None = None  # of the target, where it is a cause
    factor: str | None = None
    severity: str | None = None  # of the target, where it is a motive


@dataclass(frozen=True, slots=True)
class Leads:
    """Where a code of an older version leads in a newer one: the codes it became, and since when."""

    to: tuple[str, ...]
    after: int = 0


def leads(newer: Document, dimension: str, code: str) -> Leads:
    """Step by step through the newer version's entries; "unknown" for a code it does not have."""
    entries = _entries(newer, dimension)
    found: set[str] = set()
    after = 0
    waiting: list[tuple[str, frozenset[str]]] = [(code, frozenset())]
    while waiting:
        at, passed = waiting.pop()
        entry = entries.get(at)
        if entry is None:
            found.add(UNKNOWN)
            continue
        parts = [part["code"] if isinstance(part, Mapping) else part for part in entry.get("becomes", ())]
        if not parts and entry.get("successor") and entry.get("until"):
            parts = [entry["successor"]]
            after = max(after, _end(newer, entry["until"]))
        if not parts or at in passed:
            found.add(at)
            continue
        waiting += [(part, passed | {at}) for part in parts]
    return Leads(tuple(sorted(found)), after)


def carried(documents: Mapping[int, Document], version: int) -> list[Carried]:
    """What is called otherwise under `version`, of every other version's codes. Codes that stay themselves are left out."""
    asked = documents.get(version)
    if asked is None:
        return []
    result: list[Carried] = []
    for other, document in sorted(documents.items()):
        for dimension in SECTIONS:
            if other < version:
                found = {code: leads(asked, dimension, code) for code in _entries(document, dimension)}
            elif other > version:
                found = _backward(asked, document, dimension)
            else:
                continue
            for code, led in sorted(found.items()):
                target = led.to[0] if len(led.to) == 1 else UNKNOWN
                if target != code:
                    result.append(_named(asked, dimension, other, code, target, led.after))
    return result


def _backward(older: Document, newer: Document, dimension: str) -> dict[str, Leads]:
    sources: dict[str, dict[str, int]] = {}
    for code in _entries(older, dimension):
        led = leads(newer, dimension, code)
        for target in led.to:
            sources.setdefault(target, {})[code] = led.after
    found: dict[str, Leads] = {}
    for code in _entries(newer, dimension):
        came = sources.get(code, {})
        if not came and code not in _entries(older, dimension):
            found[code] = Leads((UNKNOWN,))
        elif came:
            # A code that stood before and took others in may be any of them; before they ended it was only itself.
            found[code] = Leads(tuple(sorted(came)), max(came.values()) if code in came else 0)
    return found


def _named(asked: Document, dimension: str, version: int, code: str, target: str, after: int) -> Carried:
    entry = _entries(asked, dimension).get(target, {})
    return Carried(
        dimension, version, code, target, after, entry.get("component"), entry.get("factor"), entry.get("severity")
    )


def _entries(document: Document, dimension: str) -> dict[str, Mapping[str, Any]]:
    return {str(entry["code"]): entry for entry in document.get(SECTIONS[dimension], ())}


def _end(document: Document, until: str) -> int:
    """The instant a last day is over, by the rulebook's own calendar."""
    following = date.fromisoformat(until) + timedelta(days=1)
    return micros(midnight(following, ZoneInfo(document.get("time_zone", "UTC"))))
