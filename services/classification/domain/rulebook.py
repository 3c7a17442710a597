"""The rulebook: the agreed list of motives and causes (R06) and the procedures, norms and policies behind them (R17, R22).

A rulebook is published as a whole; its codes stand for ever. This module knows its whole shape and answers questions about
it; `sections` holds the shape of its parts, `rulebook_checks` says what is wrong with one, `crosswalk` leads from one
version to another.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from functools import cached_property
from hashlib import sha256
from typing import Any, Literal

from pydantic import Field

from libs.events.catalogue.findings import Nature
from libs.events.catalogue.interactions import Kind
from services.classification.domain.sections import (
    Agreement,
    Becomes,
    Cause,
    Code,
    Coded,
    Component,
    Entry,
    Expectation,
    Factor,
    Harm,
    Item,
    KindEntry,
    Language,
    Location,
    Motive,
    Norm,
    Pillar,
    Policy,
    Procedure,
    ProcedureVersion,
    Product,
    Promise,
    Route,
    Segment,
    SeverityEntry,
    Stage,
    Standard,
    Supplier,
    Team,
    Texts,
    Touchpoint,
)

__all__ = [
    "COMPONENTS",
    "EXPECTATIONS",
    "SECTIONS",
    "UNKNOWN",
    "Agreement",
    "Becomes",
    "Cause",
    "Coded",
    "Component",
    "Entry",
    "Expectation",
    "Factor",
    "Motive",
    "Norm",
    "Pillar",
    "Policy",
    "Procedure",
    "ProcedureVersion",
    "Promise",
    "Route",
    "Rulebook",
    "Standard",
    "Supplier",
    "Texts",
    "Touchpoint",
    "checksum",
    "document_of",
]

UNKNOWN = "unknown"
COMPONENTS = ("product", "procedures", "facilities", "systems", "information", "people")
EXPECTATIONS = ("quality", "quantity", "timeliness", "cost")
SECTIONS = (
    "components",
    "factors",
    "expectations",
    "kinds",
    "severities",
    "harms",
    "teams",
    "stages",
    "touchpoints",
    "suppliers",
    "products",
    "locations",
    "segments",
    "norms",
    "policies",
    "procedures",
    "promises",
    "routes",
    "motives",
    "causes",
)


class Rulebook(Item):
    """A whole rulebook."""

    format: Literal[1]
    id: Code
    name: Texts
    languages: list[Language] = Field(min_length=1)
    time_zone: str = "UTC"
    since: date | None = Field(default=None, description="first day in force of every entry that names none")
    owner: str | None = Field(default=None, description="of every entry that names none")
    components: list[Component]
    factors: list[Factor] = Field(default_factory=list)
    expectations: list[Expectation]
    kinds: list[KindEntry] = Field(default_factory=list)
    severities: list[SeverityEntry] = Field(default_factory=list)
    harms: list[Harm] = Field(default_factory=list)
    teams: list[Team] = Field(default_factory=list)
    stages: list[Stage] = Field(default_factory=list)
    touchpoints: list[Touchpoint] = Field(default_factory=list)
    suppliers: list[Supplier] = Field(default_factory=list)
    products: list[Product] = Field(default_factory=list)
    locations: list[Location] = Field(default_factory=list)
    segments: list[Segment] = Field(default_factory=list)
    norms: list[Norm] = Field(default_factory=list)
    policies: list[Policy] = Field(default_factory=list)
    procedures: list[Procedure] = Field(default_factory=list)
    promises: list[Promise] = Field(default_factory=list)
    routes: list[Route] = Field(default_factory=list)
    required_fields: dict[Kind, list[str]] = Field(default_factory=dict)
    motives: list[Motive] = Field(min_length=1)
    causes: list[Cause] = Field(default_factory=list)

    def section(self, name: str) -> Sequence[Entry]:
        """The entries of a section, one of SECTIONS."""
        entries: Sequence[Entry] = getattr(self, name)
        return entries

    @cached_property
    def motive_by_code(self) -> Mapping[str, Motive]:
        return {motive.code: motive for motive in self.motives}

    @cached_property
    def cause_by_code(self) -> Mapping[str, Cause]:
        return {cause.code: cause for cause in self.causes}

    @cached_property
    def _procedures_of(self) -> Mapping[str, Sequence[Procedure]]:
        found: dict[str, list[Procedure]] = {}
        for procedure in self.procedures:
            for motive in procedure.motives:
                found.setdefault(motive, []).append(procedure)
        return found

    @cached_property
    def parents(self) -> frozenset[str]:
        """Codes of motives and causes that have others under them: headings, not answers."""
        return frozenset(item.parent for item in (*self.motives, *self.causes) if item.parent is not None)

    def since_of(self, entry: Entry) -> date | None:
        """First day in force, its own or the rulebook's."""
        return entry.since or self.since

    def owner_of(self, entry: Entry) -> str | None:
        """Who answers for the entry: its own owner or the rulebook's."""
        return entry.owner or self.owner

    def line(self, motive: str) -> Iterator[str]:
        """The motive and those above it, nearest first; a cycle ends where it closes."""
        return _line(self.motive_by_code, motive)

    def cause_line(self, cause: str) -> Iterator[str]:
        """The cause and those above it, nearest first."""
        return _line(self.cause_by_code, cause)

    def now_called(self, section: Literal["motives", "causes"], code: str) -> str | None:
        """The code after renamings and merges; None for one that was split, is unknown here or leads in a circle."""
        known: Mapping[str, Entry] = self.motive_by_code if section == "motives" else self.cause_by_code
        seen: set[str] = set()
        while (entry := known.get(code)) is not None and code not in seen:
            if not entry.becomes:
                return code
            if len(entry.becomes) > 1:
                return None
            seen.add(code)
            code = entry.becomes[0].code
        return None

    def procedure_for(self, motive: str, day: date) -> tuple[Procedure, ProcedureVersion] | None:
        """The procedure that answers the motive (or the nearest motive above it), in the version in force on that day."""
        for code in self.line(motive):
            for procedure in self._procedures_of.get(code, ()):
                if version := procedure.in_force(day):
                    return procedure, version
        return None

    def route_for(
        self,
        motive: str,
        day: date,
        *,
        cause: str = UNKNOWN,
        kind: Kind = Kind.UNKNOWN,
        severity: str | None = None,
        touchpoint: str | None = None,
    ) -> Route | None:
        """Who works on such a contact: the first route in force on that day that fits it (R97); None where no one does."""
        motives, causes = set(self.line(motive)) or {motive}, set(self.cause_line(cause)) or {cause}
        for route in self.routes:
            since = self.since_of(route)
            if not route.stands(day) or (since is not None and day < since):
                continue
            if (
                (not route.motives or motives.intersection(route.motives))
                and (not route.causes or causes.intersection(route.causes))
                and (not route.kinds or kind in route.kinds)
                and (not route.severities or severity in route.severities)
                and (not route.touchpoints or touchpoint in route.touchpoints)
            ):
                return route
        return None

    def nature_of(self, cause: str) -> Nature:
        """What kind of failure the cause speaks for: its own nature, else its component's."""
        found = self.cause_by_code.get(cause)
        if found is None:
            return Nature.UNKNOWN
        if found.nature is not None:
            return found.nature
        return next((item.nature for item in self.components if item.code == found.component), Nature.UNKNOWN)


def _line(known: Mapping[str, Entry], start: str) -> Iterator[str]:
    seen: set[str] = set()
    code: str | None = start
    while code is not None and code not in seen and code in known:
        seen.add(code)
        yield code
        code = known[code].parent


def document_of(rulebook: Rulebook) -> dict[str, Any]:
    """The rulebook as plain JSON values, as it stands in the published event. Defaults are left out."""
    document: dict[str, Any] = rulebook.model_dump(mode="json", exclude_defaults=True)
    return document


def checksum(document: Mapping[str, Any]) -> str:
    """sha256 (hex) of the canonical JSON: sorted keys, UTF-8, no spaces."""
    canonical = json.dumps(document, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return sha256(canonical.encode()).hexdigest()
