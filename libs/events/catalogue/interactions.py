"""`lazo.interactions`: what intake accepted from outside. Key: the customer's pseudonym."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from libs.events.catalogue.base import EventData, Personal, PersonalText, event
from libs.events.catalogue.topics import INTERACTIONS


class Kind(StrEnum):
    REQUEST = "request"  # petición
    COMPLAINT = "complaint"  # queja
    CLAIM = "claim"  # reclamo
    SUGGESTION = "suggestion"  # sugerencia
    COMPLIMENT = "compliment"  # felicitación
    INQUIRY = "inquiry"  # consulta
    UNKNOWN = "unknown"


class Channel(StrEnum):
    PHONE = "phone"
    EMAIL = "email"
    CHAT = "chat"
    WEB = "web"
    WHATSAPP = "whatsapp"
    SMS = "sms"
    SOCIAL = "social"
    BRANCH = "branch"
    LETTER = "letter"
    APP = "app"
    SURVEY = "survey"
    OTHER = "other"


class Effects(StrEnum):
    LIVE = "live"
    HISTORY = "history"  # coded, judged and counted; nobody is ever written to about it


class CaseStatus(StrEnum):
    ASSIGNED = "assigned"
    RESPONDED = "responded"
    RESOLVED = "resolved"
    REOPENED = "reopened"
    CLOSED = "closed"


class Money(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    amount: str = Field(description="decimal number as text, e.g. 12.50")
    currency: str = Field(description="ISO 4217")


@event("lazo.interaction.recorded.v1", INTERACTIONS)
class InteractionRecorded(EventData):
    """One contact as it came in; the customer's own words stay untouched for ever (R01, R101)."""

    interaction_id: str
    external_id: str
    origin: str = Field(description="id of the source that sent it")
    kind: Kind
    channel: Channel
    occurred_at: datetime
    customer_id: str = Field(description="pseudonym of the person; names the data key that seals the fields below")
    customer_name: PersonalText = None
    email: PersonalText = None
    phone: PersonalText = None
    identifiers: Annotated[dict[str, str] | str | None, Personal()] = None
    text: PersonalText = None
    subject: PersonalText = None
    attributes: Annotated[dict[str, str | int | float | bool | None] | str | None, Personal()] = None
    segment: str | None = None
    locale: str | None = None
    internal: bool = False
    language: str | None = None
    touchpoint: str | None = None
    product: str | None = None
    location: str | None = None
    team: str | None = None
    agent: str | None = None
    supplier: str | None = None
    case_ref: str | None = None
    amount: Money | None = None
    declared_motive: str | None = None
    effects: Effects = Effects.LIVE


@event("lazo.case-update.recorded.v1", INTERACTIONS)
class CaseUpdateRecorded(EventData):
    """Progress of a case in the contact centre's own system."""

    update_id: str
    external_id: str
    origin: str
    case_ref: str
    status: CaseStatus
    occurred_at: datetime
    customer_id: str | None = Field(default=None, description="None while the case's interaction is not known yet")
    interaction_id: str | None = None
    agent: str | None = None
    team: str | None = None
    procedure: str | None = None
    outcome: str | None = Field(default=None, description="upheld, partly_upheld, not_upheld, explained")
    note: PersonalText = None
    effects: Effects = Effects.LIVE


@event("lazo.customer.erased.v1", INTERACTIONS)
class CustomerErased(EventData):
    """The person's data key was destroyed: drop everything derived in the clear. Statistics stay (G5)."""

    customer_id: str
    erased_at: datetime
    reason: str | None = None


@event("lazo.source.registered.v1", INTERACTIONS)
class SourceRegistered(EventData):
    """A sender was admitted, or its settings changed (secrets never travel)."""

    source_id: str
    name: str
    form: str = Field(description="interactions or webhook adapter name")
    active: bool = True
    defaults: dict[str, str] = Field(default_factory=dict)
