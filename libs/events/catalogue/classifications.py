"""`lazo.classifications`: one coding decision per interaction, appended and never edited. Key: the customer's pseudonym."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from libs.events.catalogue.base import EventData, event
from libs.events.catalogue.interactions import Channel, Effects, Kind
from libs.events.catalogue.topics import CLASSIFICATIONS


class Evidence(BaseModel):
    """A term of the rulebook that weighed in the decision. Never the customer's own words, which are sealed."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    code: str
    term: str
    weight: float


class Precedent(BaseModel):
    """An earlier interaction that reads much like this one (R96), by its id; never its words."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    interaction_id: str
    motive: str
    similarity: float = Field(ge=0, le=1, description="cosine of the weighted words both have")


class Part(BaseModel):
    """Who decided one part of the coding, and how sure."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    decided_by: str = Field(description="rule, model or person")
    confidence: float = Field(ge=0, le=1)
    rulebook_version: int | None = Field(default=None, description="None: the decision's")
    model_version: str | None = Field(default=None, description="None: the decision's")
    by: str | None = Field(default=None, description="the person, where one decided this part")


@event("lazo.interaction.classified.v1", CLASSIFICATIONS)
class InteractionClassified(EventData):
    """Motive, cause and what follows from them, with the versions that decided and the evidence.

    `parts` tells who decided kind, motive, cause and need, and act where a person said it of this contact. The rest follows by the rulebook: component, factor, expectation
    and act from the cause; severity, harm, procedure, norm, policy and route from the motive.
    """

    interaction_id: str
    customer_id: str
    occurred_at: datetime
    kind: Kind
    channel: Channel
    motive: str = Field(description="rulebook code, or unknown")
    cause: str = Field(description="rulebook code, or unknown")
    component: str | None = None
    factor: str | None = None
    expectation: str | None = Field(default=None, description="quality, quantity, timeliness or cost (R64)")
    procedure: str | None = Field(default=None, description="in force at the time of the contact (G10)")
    procedure_version: int | None = Field(
        default=None, description="of the procedure, in force at the time of the contact"
    )
    norm: str | None = None
    policy: str | None = None
    signed: bool | None = Field(
        default=None,
        description="whether the contact's team had signed that version by then (G10); None: no team or no procedure",
    )
    severity: str | None = None
    harm: str | None = None
    act: str | None = Field(
        default=None, description="act or omission (R16): as its cause says, or as a person did (`parts`)"
    )
    need: str | None = Field(default=None, description="stated or unsaid (R65)")
    route: str | None = Field(default=None, description="the rulebook's route, or default where none fits (R97)")
    routed_to: str | None = Field(default=None, description="the team that works on it")
    together: list[str] = Field(default_factory=list, description="teams that work on it with them (R62)")
    parts: dict[str, Part] = Field(default_factory=dict)
    confidence: float = Field(ge=0, le=1)
    review: bool = Field(default=False, description="a person should look")
    rulebook_version: int
    model_version: str
    evidence: list[Evidence] = Field(default_factory=list)
    precedents: list[Precedent] = Field(default_factory=list, description="nearest earlier interactions")
    unknown_because: str | None = Field(
        default=None, description="why no motive: no_rulebook, empty, masked, short, language, no_match or person"
    )
    cautions: list[str] = Field(
        default_factory=list,
        description="what made the text hard to judge: empty, masked (XXXX alone), short, long, language, mixed, quoted, instruction",
    )
    revision: int = Field(default=1, description="1 for the first decision about the interaction, then rising")
    touchpoint: str | None = None
    product: str | None = None
    location: str | None = None
    team: str | None = None
    agent: str | None = None
    supplier: str | None = None
    segment: str | None = None
    language: str | None = None
    effects: Effects = Effects.LIVE
    origin: str | None = Field(default=None, description="id of the source that sent the contact")
    by: str | None = Field(default=None, description="the person who decided, where one did")
    recoding: str | None = Field(default=None, description="id of the job that coded the past again, where one did")
