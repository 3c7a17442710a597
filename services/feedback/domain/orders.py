"""Orders: what people do with a case through the API, checked against its standing."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import assert_never

from libs.events.catalogue.base import EventData
from libs.events.catalogue.feedback import (
    CaseAcknowledged,
    CaseAssigned,
    CaseClosed,
    CaseReferred,
    CaseReopened,
    CaseResolved,
    CaseResponded,
)
from services.feedback.domain.calendars import Calendar, Term
from services.feedback.domain.case import OUTCOMES, Case
from services.feedback.domain.refusals import Refused


@dataclass(frozen=True, slots=True)
class Policy:
    """What the operator settled: how long requests live, when to ask, whose days count."""

    calendar: Callable[[str], Calendar]  # regime code to its calendar
    survey_after: timedelta = timedelta(days=3)
    lifetime: timedelta = timedelta(days=30)
    acknowledgement_lifetime: timedelta = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """Orders say who did it and when; `at` None is now."""

    by: str
    at: datetime | None


@dataclass(frozen=True, slots=True)
class Assign:
    by: str
    at: datetime | None
    agent: str | None = None
    team: str | None = None


@dataclass(frozen=True, slots=True)
class Respond:
    by: str
    at: datetime | None
    text: str | None = None
    procedure: str | None = None


@dataclass(frozen=True, slots=True)
class Resolve:
    by: str
    at: datetime | None
    outcome: str
    reason: str | None = None
    procedure: str | None = None


@dataclass(frozen=True, slots=True)
class Reopen:
    by: str
    at: datetime | None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Close:
    by: str
    at: datetime | None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Refer:
    by: str
    at: datetime | None
    to: str
    reason: str | None = None


Order = Acknowledge | Assign | Respond | Resolve | Reopen | Close | Refer


def ordered(state: Case, order: Order, now: datetime, policy: Policy) -> list[EventData]:
    opened, standing = state.opened, state.standing
    at = _when(state, order, now)
    match order:
        case Acknowledge():
            if standing.acknowledged_at is not None:
                raise Refused("already_acknowledged", at=standing.acknowledged_at.isoformat())
            _must_not_be(state, "closed", "referred")
            return [CaseAcknowledged(case_id=opened.case_id, customer_id=opened.customer_id, at=at, by=order.by)]
        case Assign():
            if not order.agent and not order.team:
                raise Refused("nobody_named")
            _must_not_be(state, "closed", "referred")
            return [
                CaseAssigned(
                    case_id=opened.case_id,
                    customer_id=opened.customer_id,
                    at=at,
                    by=order.by,
                    agent=order.agent,
                    team=order.team,
                )
            ]
        case Respond():
            _must_not_be(state, "resolved", "closed", "referred")
            return [
                CaseResponded(
                    case_id=opened.case_id,
                    customer_id=opened.customer_id,
                    at=at,
                    by=order.by,
                    text=order.text,
                    procedure=order.procedure,
                )
            ]
        case Resolve():
            if order.outcome not in OUTCOMES:
                raise Refused("unknown_outcome", outcome=order.outcome, allowed=", ".join(OUTCOMES))
            if order.outcome != "upheld" and not order.reason:
                raise Refused("reason_required")
            _must_not_be(state, "resolved", "closed", "referred")
            return [
                CaseResolved(
                    case_id=opened.case_id,
                    customer_id=opened.customer_id,
                    at=at,
                    by=order.by,
                    outcome=order.outcome,
                    reason=order.reason,
                    procedure=order.procedure,
                )
            ]
        case Reopen():
            if standing.open:
                raise Refused("not_finished", status=standing.status)
            return [
                CaseReopened(
                    case_id=opened.case_id,
                    customer_id=opened.customer_id,
                    at=at,
                    by=order.by,
                    reason=order.reason,
                    due_at=term_again(state, at, policy),
                )
            ]
        case Close():
            _must_not_be(state, "closed")
            if standing.open and not order.reason:
                raise Refused("unresolved", status=standing.status)
            return [
                CaseClosed(
                    case_id=opened.case_id,
                    customer_id=opened.customer_id,
                    at=at,
                    by=order.by,
                    reason=order.reason,
                )
            ]
        case Refer():
            _must_not_be(state, "closed", "referred")
            return [
                CaseReferred(
                    case_id=opened.case_id,
                    customer_id=opened.customer_id,
                    at=at,
                    by=order.by,
                    to=order.to,
                    reason=order.reason,
                )
            ]
        case _:
            assert_never(order)


def _when(state: Case, order: Order, now: datetime) -> datetime:
    """When an order took effect: as told, between reception and now; else now."""
    if order.at is not None and order.at > now:
        raise Refused("in_the_future")
    if order.at is not None and order.at < state.opened.received_at:
        raise Refused("before_reception", received=state.opened.received_at.isoformat())
    if order.at is None and state.facts and state.facts[-1].at >= now:
        # Orders follow one another even within one tick of the clock; facts of equal time would be sorted by life cycle.
        return state.facts[-1].at + timedelta(microseconds=1)
    return order.at or now


def _must_not_be(state: Case, *statuses: str) -> None:
    status = state.standing.status
    if status not in statuses:
        return
    if status == "referred":
        raise Refused("already_referred", to=state.standing.referred_to or "?")
    raise Refused("already_resolved" if status == "resolved" else "already_closed")


def term_again(state: Case, at: datetime, policy: Policy) -> datetime:
    """The case's own term once more, counted from a reopening."""
    term = state.opened.term
    return Term(int(term["amount"]), term["unit"], bool(term.get("roll"))).end(
        at, policy.calendar(str(term.get("regime", "")))
    )
