"""The rulebook: the agreed list of motives and causes (R06) and the procedures, norms and policies behind them (R17, R22).

A rulebook is published as a whole; its codes stand for ever. This module knows its shape and answers questions about it;
`rulebook_checks` says what is wrong with one.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from functools import cached_property
from hashlib import sha256
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from libs.events.catalogue.findings import Nature
from libs.events.catalogue.interactions import Kind

UNKNOWN = "unknown"
COMPONENTS = ("product", "procedures", "facilities", "systems", "information", "people")
EXPECTATIONS = ("quality", "quantity", "timeliness", "cost")

Code = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
Text = Annotated[str, StringConstraints(min_length=1, max_length=2000, strip_whitespace=True)]
Language = Annotated[str, StringConstraints(pattern=r"^[a-z]{2}$")]
Texts = dict[Language, Text]
TermList = dict[Language, list[Text]]


class _Item(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Entry(_Item):
    """What every entry of every section has: a code that is never reused, and names."""

    code: Code
    name: Texts


class Dated(Entry):
    since: date | None = None
    until: date | None = Field(default=None, description="last day in force")


class Component(Entry):
    nature: Nature = Nature.UNKNOWN


class Expectation(Entry):
    pass


class Touchpoint(Entry):
    channels: list[str] = Field(default_factory=list)


class Agreement(_Item):
    name: Texts
    since: date
    until: date | None = None


class Supplier(Entry):
    agreement: Agreement | None = None


class Norm(Dated):
    description: Texts = Field(default_factory=dict)


class Policy(Dated):
    description: Texts = Field(default_factory=dict)


class ProcedureVersion(_Item):
    version: int = Field(ge=1)
    since: date | None = None
    until: date | None = None
    norm: Code
    policy: Code
    steps: list[Texts] = Field(default_factory=list)

    def in_force(self, day: date) -> bool:
        return self.since is not None and self.since <= day and (self.until is None or day <= self.until)


class Procedure(Entry):
    owner: str | None = None
    audience: list[str] = Field(default_factory=list, description="teams that must know it (R24)")
    motives: list[Code]
    versions: list[ProcedureVersion] = Field(min_length=1)

    def in_force(self, day: date) -> ProcedureVersion | None:
        return next((version for version in self.versions if version.in_force(day)), None)


class _Coded(Dated):
    """Motives and causes: what the coder tells apart by its words."""

    parent: Code | None = None
    successor: Code | None = None
    description: Texts = Field(default_factory=dict)
    terms: TermList = Field(default_factory=dict)
    examples: TermList = Field(default_factory=dict)


class Motive(_Coded):
    severity: Literal["low", "medium", "high"] | None = None
    causes: list[Code] = Field(default_factory=list, description="causes that are usual for it, likeliest first")


class Cause(_Coded):
    component: Code
    expectation: Code
    act: Literal["act", "omission"] | None = None
    factor: str | None = None
    nature: Nature | None = Field(default=None, description="None: the component's")
    norm: Code | None = None
    supplier: Code | None = None


class Rulebook(_Item):
    """A whole rulebook. `extra` is forbidden everywhere: a misspelt key is a defect, not a wish that goes unheard."""

    format: Literal[1]
    id: Code
    name: Texts
    languages: list[Language] = Field(min_length=1)
    time_zone: str = "UTC"
    components: list[Component]
    expectations: list[Expectation]
    touchpoints: list[Touchpoint] = Field(default_factory=list)
    suppliers: list[Supplier] = Field(default_factory=list)
    norms: list[Norm] = Field(default_factory=list)
    policies: list[Policy] = Field(default_factory=list)
    procedures: list[Procedure] = Field(default_factory=list)
    required_fields: dict[Kind, list[str]] = Field(default_factory=dict)
    motives: list[Motive] = Field(min_length=1)
    causes: list[Cause] = Field(default_factory=list)

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

    def line(self, motive: str) -> Iterator[str]:
        """The motive and those above it, nearest first; a cycle ends where it closes."""
        seen: set[str] = set()
        code: str | None = motive
        while code is not None and code not in seen and code in self.motive_by_code:
            seen.add(code)
            yield code
            code = self.motive_by_code[code].parent

    def procedure_for(self, motive: str, day: date) -> tuple[Procedure, ProcedureVersion] | None:
        """The procedure that answers the motive (or the nearest motive above it), in the version in force on that day."""
        for code in self.line(motive):
            for procedure in self._procedures_of.get(code, ()):
                if version := procedure.in_force(day):
                    return procedure, version
        return None

    def nature_of(self, cause: str) -> Nature:
        """What kind of failure the cause speaks for: its own nature, else its component's."""
        found = self.cause_by_code.get(cause)
        if found is None:
            return Nature.UNKNOWN
        if found.nature is not None:
            return found.nature
        return next((item.nature for item in self.components if item.code == found.component), Nature.UNKNOWN)


def document_of(rulebook: Rulebook) -> dict[str, Any]:
    """The rulebook as plain JSON values, as it stands in the published event. Defaults are left out."""
    document: dict[str, Any] = rulebook.model_dump(mode="json", exclude_defaults=True)
    return document


def checksum(document: Mapping[str, Any]) -> str:
    """sha256 (hex) of the canonical JSON: sorted keys, UTF-8, no spaces."""
    canonical = json.dumps(document, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return sha256(canonical.encode()).hexdigest()
