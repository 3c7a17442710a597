"""`lazo.feedback`: cases, what customers must be told, and what they answer. Key: the customer's pseudonym."""

from datetime import datetime
from typing import Any

from pydantic import Field

from libs.events.catalogue.base import EventData, PersonalText, event
from libs.events.catalogue.interactions import Channel, Effects, Kind
from libs.events.catalogue.topics import FEEDBACK


@event("lazo.case.opened.v1", FEEDBACK)
class CaseOpened(EventData):
    """A complaint, claim or request became a case with a due date."""

    case_id: str
    interaction_id: str
    customer_id: str
    kind: Kind
    channel: Channel
    origin: str
    case_ref: str | None = None
    received_at: datetime
    acknowledge_by: datetime
    due_at: datetime
    calendar: str = Field(description="ISO 3166-1 country whose holidays count, e.g. CO")
    term: dict[str, Any] = Field(description="amount and unit that gave due_at")
    effects: Effects = Effects.LIVE
    reply_channel: Channel | None = Field(default=None, description="how the customer is written to")
    address: PersonalText = None  # of the reply channel: e-mail or phone
    language: str | None = Field(default=None, description="es or en: what the customer is written in")


class _CaseEvent(EventData):
    case_id: str
    customer_id: str
    at: datetime
    by: str = Field(description="agent or system part that did it")
    effects: Effects = Effects.LIVE


@event("lazo.case.acknowledged.v1", FEEDBACK)
class CaseAcknowledged(_CaseEvent):
    pass


@event("lazo.case.assigned.v1", FEEDBACK)
class CaseAssigned(_CaseEvent):
    agent: str | None = None
    team: str | None = None


@event("lazo.case.responded.v1", FEEDBACK)
class CaseResponded(_CaseEvent):
    procedure: str | None = None
    text: PersonalText = None


@event("lazo.case.resolved.v1", FEEDBACK)
class CaseResolved(_CaseEvent):
    outcome: str = Field(description="upheld, partly_upheld, not_upheld or explained (R100)")
    reason: PersonalText = None
    procedure: str | None = None


@event("lazo.case.reopened.v1", FEEDBACK)
class CaseReopened(_CaseEvent):
    reason: PersonalText = None
    due_at: datetime | None = Field(default=None, description="the same term again, counted from the reopening")


@event("lazo.case.closed.v1", FEEDBACK)
class CaseClosed(_CaseEvent):
    reason: str | None = None


@event("lazo.case.referred.v1", FEEDBACK)
class CaseReferred(_CaseEvent):
    to: str
    reason: PersonalText = None


@event("lazo.case.overdue.v1", FEEDBACK)
class CaseOverdue(_CaseEvent):
    due_at: datetime


@event("lazo.case.unacknowledged.v1", FEEDBACK)
class CaseUnacknowledged(_CaseEvent):
    """The acknowledgement's target passed and the customer had heard nothing."""

    acknowledge_by: datetime


@event("lazo.case.linked.v1", FEEDBACK)
class CaseLinked(_CaseEvent):
    """What the customer complains of happens to others too: whoever works on the case is told of the finding (DISP 1.3.3R)."""

    finding_id: str
    nature: str | None = None
    title: dict[str, str] = Field(default_factory=dict, description="language to text")


@event("lazo.feedback.requested.v1", FEEDBACK)
class FeedbackRequested(EventData):
    """A channel must send this. The request id is the idempotency key of every attempt."""

    request_id: str
    case_id: str | None = None
    customer_id: str
    channel: Channel
    purpose: str = Field(description="acknowledgement, answer, survey, systemic_notice")
    template: str
    language: str
    address: PersonalText = None
    body: PersonalText = None
    token: PersonalText = None  # of the answer page: whoever holds it may answer
    requested_at: datetime
    expires_at: datetime | None = None


@event("lazo.feedback.reported.v1", FEEDBACK)
class FeedbackReported(EventData):
    """What the channel says became of a request."""

    request_id: str
    customer_id: str
    status: str = Field(description="accepted, sent, delivered, failed, complained")
    at: datetime
    channel: Channel
    detail: str | None = None


@event("lazo.feedback.answered.v1", FEEDBACK)
class FeedbackAnswered(EventData):
    """What the customer answered: did it help or harm (R51)?"""

    answer_id: str
    request_id: str
    case_id: str | None = None
    customer_id: str
    at: datetime
    score: int | None = Field(default=None, ge=1, le=5, description="satisfaction, 1 worst to 5 best")
    helped: str | None = Field(default=None, description="better, same or worse")
    comment: PersonalText = None
    new_need: bool = False
    need: PersonalText = None  # in the customer's words (R52)


@event("lazo.feedback.expired.v1", FEEDBACK)
class FeedbackExpired(EventData):
    request_id: str
    case_id: str | None = None
    customer_id: str
    at: datetime
    reason: str | None = Field(default=None, description="time, erased or superseded")
