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


class Part(BaseModel):
    """Who decided one part of the coding, and how sure."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    decided_by: str = Field(description="rule, model or person")
    confidence: float = Field(ge=0, le=1)


@event("lazo.interaction.classified.v1", CLASSIFICATIONS)
class InteractionClassified(EventData):
    """Motive, cause and what follows from them, with the versions that decided and the evidence."""

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
    norm: str | None = None
    severity: str | None = None
    act: str | None = Field(default=None, description="act or omission (R16)")
    parts: dict[str, Part] = Field(default_factory=dict)
    confidence: float = Field(ge=0, le=1)
    review: bool = Field(default=False, description="a person should look")
    rulebook_version: int
    model_version: str
    evidence: list[Evidence] = Field(default_factory=list)
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
