"""One request to a channel: what the channel says became of it, what the customer answered, when it is over."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from libs.events.catalogue.base import EventData
from libs.events.catalogue.feedback import FeedbackAnswered, FeedbackExpired, FeedbackReported, FeedbackRequested
from libs.events.catalogue.interactions import Channel
from libs.events.ids import natural_id
from services.feedback.domain.refusals import Refused

RANKS: Mapping[str, int] = {"requested": 0, "accepted": 10, "sent": 20, "failed": 30, "delivered": 40, "complained": 50}
"""Delivery states by rank: the highest reported one stands, whatever the order of arrival. `delivered` outranks `failed`,
because a channel that tries again under the same key may still get through."""

REPORTABLE = tuple(status for status in RANKS if status != "requested")

TWO_WAY = frozenset({"answer", "survey"})
"""Purposes that carry an answer page (R50); the others only tell."""


@dataclass(frozen=True, slots=True)
class Request:
    """A fold of one request's events."""

    request_id: str
    case_id: str | None
    customer_id: str
    channel: Channel
    purpose: str
    requested_at: datetime
    expires_at: datetime | None
    reports: Mapping[str, datetime] = field(default_factory=dict)
    answered_at: datetime | None = None
    expired_at: datetime | None = None
    expired_reason: str | None = None

    @property
    def delivery(self) -> str:
        return max(self.reports, key=RANKS.__getitem__, default="requested")

    @property
    def closed(self) -> bool:
        """Nothing more is waited for. A one-way message is done once it left; a question waits for its answer."""
        if self.answered_at is not None or self.expired_at is not None:
            return True
        return self.purpose not in TWO_WAY and bool(self.reports.keys() & {"sent", "delivered", "complained"})

    @property
    def status(self) -> str:
        if self.answered_at is not None:
            return "answered"
        return "expired" if self.expired_at is not None else self.delivery

    @property
    def pending(self) -> bool:
        """No channel has taken it yet and it may still be sent."""
        return not self.reports and not self.closed


def begun(data: FeedbackRequested) -> Request:
    return Request(
        request_id=data.request_id,
        case_id=data.case_id,
        customer_id=data.customer_id,
        channel=data.channel,
        purpose=data.purpose,
        requested_at=data.requested_at,
        expires_at=data.expires_at,
    )


def evolve(state: Request, data: EventData) -> Request:
    """What one more event of the request makes of it; the first answer and the first expiry stand."""
    match data:
        case FeedbackReported():
            if data.status in state.reports:
                return state
            return replace(state, reports={**state.reports, data.status: data.at})
        case FeedbackAnswered():
            return state if state.answered_at is not None else replace(state, answered_at=data.at)
        case FeedbackExpired():
            if state.expired_at is not None:
                return state
            return replace(state, expired_at=data.at, expired_reason=data.reason)
        case _:
            return state


@dataclass(frozen=True, slots=True)
class Report:
    """A channel tells what became of a request."""

    request_id: str
    status: str
    at: datetime
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """The customer answers: did it help or harm (R51), how good was it, is something else needed (R52)."""

    request_id: str
    at: datetime
    score: int | None = None
    helped: str | None = None
    comment: str | None = None
    new_need: bool = False
    need: str | None = None


@dataclass(frozen=True, slots=True)
class Expire:
    """A request's time is up, or its customer was erased."""

    request_id: str
    reason: str = "time"


def report(state: Request, command: Report) -> list[EventData]:
    """A state already reported changes nothing. Taking a request that is over is refused; what already happened is kept."""
    if command.status not in REPORTABLE:
        raise Refused("unknown_delivery_status", status=command.status, allowed=", ".join(REPORTABLE))
    if command.status in state.reports:
        return []
    if command.status == "accepted" and state.expired_at is not None:
        raise Refused("request_expired")
    return [
        FeedbackReported(
            request_id=state.request_id,
            customer_id=state.customer_id,
            status=command.status,
            at=command.at,
            channel=state.channel,
            detail=command.detail,
        )
    ]


def answer_id(request_id: str) -> str:
    """One answer per request, whoever brings it."""
    return natural_id("answer", request_id)


def answer(state: Request, command: Answer) -> list[EventData]:
    """The first answer stands; a second one changes nothing. An answer given after the request's end is refused."""
    if state.purpose not in TWO_WAY:
        raise Refused("not_a_question", purpose=state.purpose)
    new_need = command.new_need or bool(command.need)
    if command.score is None and command.helped is None and not command.comment and not new_need:
        raise Refused("empty_answer")
    if state.answered_at is not None:
        return []
    late = state.expires_at is not None and command.at > state.expires_at
    if late or (state.expired_at is not None and (state.expired_reason != "time" or command.at >= state.expired_at)):
        raise Refused("request_expired")
    return [
        FeedbackAnswered(
            answer_id=answer_id(state.request_id),
            request_id=state.request_id,
            case_id=state.case_id,
            customer_id=state.customer_id,
            at=command.at,
            score=command.score,
            helped=command.helped,
            comment=command.comment,
            new_need=new_need,
            need=command.need,
        )
    ]


def expire(state: Request, command: Expire, now: datetime) -> list[EventData]:
    """Ends what is still waited for; whatever is already over stays as it is."""
    if state.closed:
        return []
    if command.reason == "time" and (state.expires_at is None or now < state.expires_at):
        return []
    return [
        FeedbackExpired(
            request_id=state.request_id,
            case_id=state.case_id,
            customer_id=state.customer_id,
            at=now,
            reason=command.reason,
        )
    ]
