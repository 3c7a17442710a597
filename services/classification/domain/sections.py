"""What a rulebook is made of: the shape of every section's entries."""

from collections.abc import Iterator, Mapping
from datetime import date
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from libs.events.catalogue.findings import Nature
from libs.events.catalogue.interactions import Kind

Code = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
Text = Annotated[str, StringConstraints(min_length=1, max_length=2000, strip_whitespace=True)]
Language = Annotated[str, StringConstraints(pattern=r"^[a-z]{2}$")]
Texts = dict[Language, Text]
TermList = dict[Language, list[Text]]
Severity = Literal["low", "medium", "high"]


class Item(BaseModel):
    """`extra` is forbidden everywhere: a misspelt key is a defect, not a wish that goes unheard."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Becomes(Item):
    """One part of a crosswalk: the code that takes over, and the share of the old code's contacts it takes."""

    code: Code
    share: float | None = Field(default=None, gt=0, le=1, description="of the old code's contacts; None: not known")

    @model_validator(mode="before")
    @classmethod
    def _bare(cls, value: Any) -> Any:
        """`[a, b]` may stand for `[{code: a}, {code: b}]`."""
        return {"code": value} if isinstance(value, str) else value


class Entry(Item):
    """What every entry of every section has: a code that is never reused, names, dates in force, an owner, a parent.

    A code ends in one of two ways. *Retired* (`until`, perhaps `successor`): contacts up to that day keep it. *Recast*
    (`becomes`: renamed, split or merged): this version codes the whole of history without it, and the crosswalk says where
    its contacts go.
    """

    code: Code
    name: Texts
    description: Texts = Field(default_factory=dict)
    since: date | None = Field(default=None, description="first day in force; None: the rulebook's own")
    until: date | None = Field(default=None, description="last day in force")
    owner: str | None = None
    parent: Code | None = None
    successor: Code | None = Field(default=None, description="what is used after `until`")
    becomes: list[Becomes] = Field(default_factory=list, description="crosswalk: what stands for it in this version")

    def stands(self, day: date) -> bool:
        """Whether a contact of that day may be given this code."""
        return not self.becomes and (self.until is None or day <= self.until)


class Component(Entry):
    nature: Nature = Nature.UNKNOWN


class Factor(Entry):
    """What within a component (R67): of `people`, say, training or attitude."""

    component: Code


class Expectation(Entry):
    pass


class KindEntry(Entry):
    """A kind of contact by the operation's own name and definition; the code is one of Lazo's kinds (R02)."""


class SeverityEntry(Entry):
    rank: int = Field(ge=1, description="1 is the least")


class Harm(Entry):
    """What the failure does to the customer: money, time, safety, dignity …"""

    rank: int = Field(ge=1, description="1 is the least")


class Team(Entry):
    pass


class Stage(Entry):
    """A stretch of the customer's way with the company; stages stand in the order they are lived."""


class Touchpoint(Entry):
    """A place on the service map (R70): what channels lead there, at which stages, what is in front and behind."""

    channels: list[str] = Field(default_factory=list)
    stages: list[Code] = Field(default_factory=list)
    leads_to: list[Code] = Field(default_factory=list, description="touchpoints a customer is sent on to")
    procedures: list[Code] = Field(default_factory=list, description="worked by here, in front of the customer")
    suppliers: list[Code] = Field(default_factory=list, description="who stands behind it")


class Limit(Item):
    """A number to be kept: one of `at_most`, `at_least`."""

    measure: Code | None = Field(default=None, description="what is measured, e.g. first_answer_hours")
    at_most: float | None = None
    at_least: float | None = None
    unit: str | None = None

    def kept(self, value: float) -> bool | None:
        """Whether a measured value keeps it; None where nothing can be checked."""
        if self.at_most is not None:
            return value <= self.at_most
        return None if self.at_least is None else value >= self.at_least


class Agreement(Limit):
    """What a supplier agreed to (R32). Lazo measures two of the things that can be agreed, `complainants` and
    `complainants_per_10000` of a `unit` (contracts, orders, contacts), each over `days`; the others are for people to check."""

    name: Texts
    since: date
    until: date | None = None
    days: int = Field(default=30, ge=1, le=366, description="over how many days complainants are counted")


class Supplier(Entry):
    agreement: Agreement | None = None
    agreements: list[Agreement] = Field(default_factory=list)

    def all_agreements(self) -> Iterator[tuple[tuple[str | int, ...], Agreement]]:
        """Every agreement and where it stands in the entry."""
        if self.agreement is not None:
            yield ("agreement",), self.agreement
        for index, agreement in enumerate(self.agreements):
            yield ("agreements", index), agreement


class Product(Entry):
    """What is sold: what a contact's `product` is called by people."""


class Location(Entry):
    """Where: what a contact's `location` is called by people; a place may lie in another (`parent`)."""


class Segment(Entry):
    """A kind of customer: what a contact's `segment` is called by people."""


class Norm(Entry):
    pass


class Policy(Entry):
    pass


class Standard(Entry, Limit):
    """A pillar's meaning as something anyone can check (R80). `share`: of how many cases the limit must hold."""

    share: float | None = Field(default=None, gt=0, le=1)
    motives: list[Code] = Field(default_factory=list, description="empty: all")
    touchpoints: list[Code] = Field(default_factory=list, description="empty: all")


class Pillar(Entry):
    standards: list[Standard] = Field(default_factory=list)
    roles: dict[Code, Texts] = Field(default_factory=dict, description="team to what the pillar asks of it (R82)")


class Promise(Entry):
    """The basic promise of service: a sentence, and the pillars it rests on (R79)."""

    pillars: list[Pillar] = Field(default_factory=list)


class ProcedureVersion(Item):
    version: int = Field(ge=1)
    since: date | None = None
    until: date | None = None
    norm: Code
    policy: Code
    steps: list[Texts] = Field(default_factory=list)
    demands: list[Texts] = Field(default_factory=list, description="what is asked of the customer (R19)")

    def in_force(self, day: date) -> bool:
        return self.since is not None and self.since <= day and (self.until is None or day <= self.until)


class Procedure(Entry):
    audience: list[str] = Field(default_factory=list, description="teams that must know it (R24)")
    motives: list[Code]
    versions: list[ProcedureVersion] = Field(min_length=1)

    def in_force(self, day: date) -> ProcedureVersion | None:
        return next((version for version in self.versions if version.in_force(day)), None)


class Route(Entry):
    """Who works on what (R97). A route fits when every list it has names the contact; an empty list names all."""

    team: Code
    together: list[Code] = Field(default_factory=list, description="teams that work on it with them (R62)")
    escalates_to: Code | None = None
    motives: list[Code] = Field(default_factory=list)
    causes: list[Code] = Field(default_factory=list)
    kinds: list[Kind] = Field(default_factory=list)
    severities: list[Severity] = Field(default_factory=list)
    touchpoints: list[Code] = Field(default_factory=list)


class Coded(Entry):
    """Motives and causes: what the coder tells apart by its words."""

    terms: TermList = Field(default_factory=dict)
    examples: TermList = Field(default_factory=dict)


class Motive(Coded):
    severity: Severity | None = None
    harm: Code | None = None
    causes: list[Code] = Field(default_factory=list, description="causes that are usual for it, likeliest first")


class Cause(Coded):
    component: Code
    expectation: Code
    act: Literal["act", "omission"] | None = None
    factor: str | None = None
    nature: Nature | None = Field(default=None, description="None: the component's")
    norm: Code | None = None
    policy: Code | None = None
    supplier: Code | None = None
    needless_demand: bool = Field(
        default=False, description="the customer was asked for something that adds nothing for them (R19)"
    )


REFERENCES: Mapping[str, Mapping[str, str]] = {
    # section: field (of one code or a list) to the section it names
    "motives": {"causes": "causes", "harm": "harms", "severity": "severities"},
    "causes": {
        "component": "components",
        "expectation": "expectations",
        "factor": "factors",
        "norm": "norms",
        "policy": "policies",
        "supplier": "suppliers",
    },
    "factors": {"component": "components"},
    "touchpoints": {
        "stages": "stages",
        "leads_to": "touchpoints",
        "procedures": "procedures",
        "suppliers": "suppliers",
    },
    "procedures": {"motives": "motives", "audience": "teams"},
    "routes": {
        "team": "teams",
        "together": "teams",
        "escalates_to": "teams",
        "motives": "motives",
        "causes": "causes",
        "severities": "severities",
        "touchpoints": "touchpoints",
    },
}
OPTIONAL_SECTIONS = frozenset({"teams", "factors", "severities"})
"""Where such a section is empty, what names its codes is free text, as in rulebooks written before it existed."""
