"""What a case answers to a command: the events it leads to, or a refusal.

Two kinds of commands change a case. *Orders* (people, through the API) are checked against the standing and may be
refused. *Facts* (the contact centre's own system) already happened: they are kept whatever the standing, and the fold puts
them in their place. After either, whatever the customer is owed and has not been asked for yet is requested.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import assert_never

from libs.events.catalogue.base import EventData
from libs.events.catalogue.feedback import (
    CaseAcknowledged,
    CaseAssigned,
    CaseClosed,
    CaseLinked,
    CaseOpened,
    CaseOverdue,
    CaseReopened,
    CaseResolved,
    CaseResponded,
    CaseUnacknowledged,
    FeedbackReported,
    FeedbackRequested,
)
from libs.events.catalogue.interactions import CaseStatus, CaseUpdateRecorded, Channel, Effects
from libs.events.ids import natural_id
from services.feedback.domain import requests
from services.feedback.domain.case import OUTCOMES, Case, evolve
from services.feedback.domain.orders import (
    Order,
    Policy,
    ordered,
    term_again,
)
from services.feedback.domain.refusals import Refused
from services.feedback.domain.requests import Answer, Expire, Report


@dataclass(frozen=True, slots=True)
class Due:
    """The due date passed."""


@dataclass(frozen=True, slots=True)
class AcknowledgementDue:
    """The acknowledgement's target passed."""


@dataclass(frozen=True, slots=True)
class SurveyDue:
    """It is time to ask whether it helped."""


@dataclass(frozen=True, slots=True)
class Link:
    """Others complain of the same: a finding says so (DISP 1.3.3R)."""

    finding_id: str
    nature: str | None
    title: Mapping[str, str]


Passing = Due | AcknowledgementDue | SurveyDue
Command = CaseOpened | Order | CaseUpdateRecorded | Report | Answer | Expire | Link | Passing


def request_id(case_id: str, purpose: str, occasion: str = "") -> str:
    """One request per obligation: the same case and purpose always give the same id (and so the same idempotency key)."""
    parts = ("request", case_id, purpose, occasion) if occasion else ("request", case_id, purpose)
    return natural_id(*parts)


def decide(state: Case | None, command: Command, now: datetime, policy: Policy) -> list[EventData]:
    """The events a command leads to, in order; raises Refused. Opening a case twice gives nothing."""
    if isinstance(command, CaseOpened):
        return [] if state is not None else _then([command], None, now, policy)
    if state is None:
        raise Refused("unknown_case")
    match command:
        case CaseUpdateRecorded():
            events = [_happened(state, command, policy)]
        case Report():
            events = _reported(state, command)
        case Answer():
            events = requests.answer(_request(state, command.request_id), command)
        case Expire():
            events = requests.expire(_request(state, command.request_id), command, now)
        case Due() | AcknowledgementDue() | SurveyDue():
            return _passed(state, command, now, policy)
        case Link():
            return _linked(state, command, now)
        case _:
            events = ordered(state, command, now, policy)
    return _then(events, state, now, policy)


def _linked(state: Case, command: Link, now: datetime) -> list[EventData]:
    """Whoever works on an open case is told once; one that is settled already was answered without it."""
    if not state.standing.open or command.finding_id in state.findings:
        return []
    return [
        CaseLinked(
            case_id=state.opened.case_id,
            customer_id=state.opened.customer_id,
            at=now,
            by="classification",
            effects=state.opened.effects,
            finding_id=command.finding_id,
            nature=command.nature,
            title=dict(command.title),
        )
    ]


def _then(events: list[EventData], state: Case | None, now: datetime, policy: Policy) -> list[EventData]:
    for data in events:
        state = evolve(state, data)
    assert state is not None
    return [*events, *_owed(state, events, now, policy)]


def _owed(state: Case, events: list[EventData], now: datetime, policy: Policy) -> list[EventData]:
    """What the customer must be told and nobody has been asked to tell: an acknowledgement, and each round's resolution.

    A function of the whole state and not of the event at hand, so that facts out of order owe the same requests.
    """
    if not state.live or not state.reachable:
        return []
    there = [request.purpose for request in state.requests.values()]
    wanted: list[tuple[str, str]] = [] if "acknowledgement" in there else [("acknowledgement", "")]
    if there.count("answer") < len(state.standing.answerable):
        wanted += [
            ("answer", occasion)
            for round_ in sorted(state.standing.answerable)
            if request_id(state.case_id, "answer", occasion := str(round_) if round_ else "") not in state.requests
        ]
    wanted += [
        # Each response sent by the API carries its own text, so each is an obligation of its own, known by its place.
        ("response", str(state.version - len(events) + place + 1))
        for place, data in enumerate(events)
        if isinstance(data, CaseResponded) and data.text is not None
    ]
    return [_request_for(state, purpose, occasion, now, policy) for purpose, occasion in wanted]


def _request_for(state: Case, purpose: str, occasion: str, now: datetime, policy: Policy) -> FeedbackRequested:
    opened = state.opened
    lifetime = policy.acknowledgement_lifetime if purpose == "acknowledgement" else policy.lifetime
    return FeedbackRequested(
        request_id=request_id(opened.case_id, purpose, occasion),
        case_id=opened.case_id,
        customer_id=opened.customer_id,
        channel=opened.reply_channel or Channel.OTHER,
        purpose=purpose,
        template=purpose,
        language=opened.language or "es",
        requested_at=now,
        expires_at=now + lifetime,
    )


def _request(state: Case, id: str) -> requests.Request:
    try:
        return state.requests[id]
    except KeyError:
        raise Refused("unknown_request") from None


def _reported(state: Case, command: Report) -> list[EventData]:
    request = _request(state, command.request_id)
    events = requests.report(request, command)
    told = any(isinstance(data, FeedbackReported) and data.status in ("sent", "delivered") for data in events)
    if told and request.purpose == "acknowledgement" and state.standing.acknowledged_at is None:
        opened = state.opened
        by = f"channel:{request.channel}"
        events.append(CaseAcknowledged(case_id=opened.case_id, customer_id=opened.customer_id, at=command.at, by=by))
    return events


def _passed(state: Case, command: Passing, now: datetime, policy: Policy) -> list[EventData]:
    """Time passing is no order: where nothing is outstanding any more, nothing happens."""
    opened = state.opened
    match command:
        case Due():
            if not state.standing.open or state.in_time is not None or now < state.due_at:
                return []
            return [
                CaseOverdue(
                    case_id=opened.case_id, customer_id=opened.customer_id, at=now, by="feedback", due_at=state.due_at
                )
            ]
        case AcknowledgementDue():
            if state.heard or state.unacknowledged or not state.standing.open or now < opened.acknowledge_by:
                return []
            return [
                CaseUnacknowledged(
                    case_id=opened.case_id,
                    customer_id=opened.customer_id,
                    at=now,
                    by="feedback",
                    acknowledge_by=opened.acknowledge_by,
                )
            ]
        case SurveyDue():
            when = survey_at(state, policy)
            return [] if when is None or now < when else [_request_for(state, "survey", "", now, policy)]
        case _:
            assert_never(command)


def survey_at(state: Case, policy: Policy) -> datetime | None:
    """When to ask whether it helped: some days after the closing, or the resolution where nobody closes. None: never.

    One survey per case; who has already answered on the answer's own page is not asked again.
    """
    standing = state.standing
    done = standing.closed_at or standing.resolved_at
    if not state.live or not state.reachable or standing.open or done is None:
        return None
    if any(request.purpose == "survey" or request.answered_at is not None for request in state.requests.values()):
        return None
    return done + policy.survey_after


def timers(state: Case | None, policy: Policy) -> dict[tuple[str, str], datetime]:
    """The timers a case wants, by kind and key. The shell schedules and cancels what differs after each change."""
    if state is None:
        return {}
    wanted: dict[tuple[str, str], datetime] = {}
    if state.live and state.standing.open:
        if not state.heard and not state.unacknowledged:
            wanted["acknowledge", state.case_id] = state.opened.acknowledge_by
        if state.in_time is None:
            wanted["due", state.case_id] = state.due_at
    when = survey_at(state, policy)
    if when is not None:
        wanted["survey", state.case_id] = when
    for request in state.requests.values():
        if not request.closed and request.expires_at is not None:
            wanted["expire", request.request_id] = request.expires_at
    return wanted


def _happened(state: Case, update: CaseUpdateRecorded, policy: Policy) -> EventData:
    """The contact centre's word as an event of the case, at the time it happened there."""
    case_id, customer_id = state.opened.case_id, state.opened.customer_id
    at, by = update.occurred_at, update.agent or f"source:{update.origin}"
    effects = Effects.HISTORY if update.effects is Effects.HISTORY else Effects.LIVE
    match update.status:
        case CaseStatus.ASSIGNED:
            return CaseAssigned(
                case_id=case_id,
                customer_id=customer_id,
                at=at,
                by=by,
                effects=effects,
                agent=update.agent,
                team=update.team,
            )
        case CaseStatus.RESPONDED:
            # The contact centre has already written to the customer: the fact alone is kept, nothing is sent again.
            return CaseResponded(
                case_id=case_id, customer_id=customer_id, at=at, by=by, effects=effects, procedure=update.procedure
            )
        case CaseStatus.RESOLVED:
            return CaseResolved(
                case_id=case_id,
                customer_id=customer_id,
                at=at,
                by=by,
                effects=effects,
                outcome=update.outcome if update.outcome in OUTCOMES else "explained",
                reason=update.note,
                procedure=update.procedure,
            )
        case CaseStatus.REOPENED:
            return CaseReopened(
                case_id=case_id,
                customer_id=customer_id,
                at=at,
                by=by,
                effects=effects,
                reason=update.note,
                due_at=term_again(state, at, policy),
            )
        case CaseStatus.CLOSED:
            return CaseClosed(case_id=case_id, customer_id=customer_id, at=at, by=by, effects=effects)
        case _:
            assert_never(update.status)
