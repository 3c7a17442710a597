"""A case as a fold over its events.

Facts reach a case out of order (a contact centre reports late, topics interleave), so the fold keeps them sorted by the
time they happened and derives the standing from that order: every interleaving gives the same state.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import reduce

from libs.events.catalogue.base import EventData
from libs.events.catalogue.feedback import (
    CaseAcknowledged,
    CaseAssigned,
    CaseClosed,
    CaseLinked,
    CaseOpened,
    CaseOverdue,
    CaseReferred,
    CaseReopened,
    CaseResolved,
    CaseResponded,
    CaseUnacknowledged,
    FeedbackAnswered,
    FeedbackExpired,
    FeedbackReported,
    FeedbackRequested,
)
from libs.events.catalogue.interactions import Effects
from services.feedback.domain import requests
from services.feedback.domain.requests import Request

OUTCOMES = ("upheld", "partly_upheld", "not_upheld", "explained")
FINISHED = frozenset({"resolved", "closed", "referred"})
STATUSES = ("received", "acknowledged", "assigned", "responded", "resolved", "closed", "reopened", "referred")

_RANKS = {"acknowledged": 1, "assigned": 2, "responded": 3, "referred": 4, "resolved": 5, "closed": 6, "reopened": 7}
"""Order of facts with the same time (systems that know only the day): a case lives its life in this order."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that happened to a case. Sorted by time, then life cycle, then content, never by arrival."""

    at: datetime
    verb: str
    by: str = ""
    agent: str | None = None
    team: str | None = None
    outcome: str | None = None
    to: str | None = None
    due_at: datetime | None = None
    live: bool = True

    @property
    def order(self) -> tuple[datetime, int, str, str, str, str, str, bool]:
        return (
            self.at, _RANKS[self.verb], self.by, self.agent or "", self.team or "", self.outcome or "", self.to or "", self.live,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a case stands, derived from its facts."""

    status: str = "received"
    acknowledged_at: datetime | None = None
    responded_at: datetime | None = None  # first response ever
    resolved_at: datetime | None = None  # None again while reopened
    closed_at: datetime | None = None  # None again while reopened
    settled_at: datetime | None = None  # first response or resolution since the last reopening: what the term asks for
    outcome: str | None = None
    agent: str | None = None
    team: str | None = None
    referred_to: str | None = None
    reopenings: int = 0
    due_at: datetime | None = None  # set by a reopening
    answerable: frozenset[int] = frozenset()  # rounds (0 = before any reopening) with a resolution the customer is owed

    @property
    def open(self) -> bool:
        return self.status not in FINISHED


def step(now: Standing, fact: Fact) -> Standing:
    """The standing after the next fact. Nothing is refused here: the contact centre's word is kept as it came."""
    match fact.verb:
        case "acknowledged":
            status = "acknowledged" if now.status == "received" else now.status
            return replace(now, acknowledged_at=now.acknowledged_at or fact.at, status=status)
        case "assigned":
            status = "assigned" if now.status in {"received", "acknowledged"} else now.status
            return replace(now, agent=fact.agent or now.agent, team=fact.team or now.team, status=status)
        case "responded":
            return replace(
                now,
                status="responded" if now.open else now.status,
                responded_at=now.responded_at or fact.at,
                settled_at=now.settled_at or fact.at,
            )
        case "resolved":
            return replace(
                now,
                status="closed" if now.status == "closed" else "resolved",
                resolved_at=fact.at,
                settled_at=now.settled_at or fact.at,
                outcome=fact.outcome or now.outcome,
                answerable=now.answerable | {now.reopenings} if fact.live else now.answerable,
            )
        case "referred":
            return replace(now, status="closed" if now.status == "closed" else "referred", referred_to=fact.to)
        case "closed":
            return replace(now, status="closed", closed_at=fact.at)
        case "reopened":
            return replace(
                now,
                status="reopened",
                reopenings=now.reopenings + 1,
                resolved_at=None,
                closed_at=None,
                settled_at=None,
                outcome=None,
                due_at=fact.due_at,
            )
        case _:
            raise ValueError(f"{fact.verb} is no fact of a case")


def stand(facts: Iterable[Fact]) -> Standing:
    """Facts in order of happening to a standing."""
    return reduce(step, facts, Standing())


@dataclass(frozen=True)
class Case:
    """A complaint, claim or request on its way to an answer."""

    opened: CaseOpened
    version: int = 1
    facts: tuple[Fact, ...] = ()
    standing: Standing = Standing()  # stand(facts), kept along so that a fold costs one step per event
    requests: Mapping[str, Request] = field(default_factory=dict)
    overdue: frozenset[datetime] = frozenset()  # due dates that passed unanswered
    unacknowledged: bool = False
    findings: tuple[str, ...] = ()  # systemic causes that whoever works on it was told of

    @property
    def case_id(self) -> str:
        return self.opened.case_id

    @property
    def live(self) -> bool:
        """False for history: it is counted, and nobody is written to about it."""
        return self.opened.effects is Effects.LIVE

    @property
    def reachable(self) -> bool:
        return self.opened.address is not None and self.opened.reply_channel is not None

    @property
    def due_at(self) -> datetime:
        return self.standing.due_at or self.opened.due_at

    @property
    def heard(self) -> bool:
        """The customer has heard from somebody, by whatever name."""
        return (self.standing.acknowledged_at or self.standing.settled_at) is not None or self.standing.reopenings > 0

    @property
    def in_time(self) -> bool | None:
        """Answered inside the term (of the last reopening, if any); None while neither answered nor past it."""
        if self.standing.settled_at is not None:
            return self.standing.settled_at <= self.due_at
        return False if self.due_at in self.overdue else None


def _next(state: Case, facts: tuple[Fact, ...], standing: Standing, requests_: Mapping[str, Request]) -> Case:
    """The case one version on; a third of what `dataclasses.replace` costs, and this runs for every event of a fold."""
    return Case(
        state.opened, state.version + 1, facts, standing, requests_, state.overdue, state.unacknowledged, state.findings
    )


def _fact(data: EventData) -> Fact | None:
    match data:
        case CaseAcknowledged():
            return Fact(data.at, "acknowledged", data.by)
        case CaseAssigned():
            return Fact(data.at, "assigned", data.by, agent=data.agent, team=data.team)
        case CaseResponded():
            return Fact(data.at, "responded", data.by)
        case CaseResolved():
            return Fact(data.at, "resolved", data.by, outcome=data.outcome, live=data.effects is Effects.LIVE)
        case CaseReopened():
            return Fact(data.at, "reopened", data.by, due_at=data.due_at)
        case CaseClosed():
            return Fact(data.at, "closed", data.by)
        case CaseReferred():
            return Fact(data.at, "referred", data.by, to=data.to)
        case _:
            return None


def evolve(state: Case | None, data: EventData) -> Case:
    """The case after one more of its events; raises ValueError when a stream does not begin with its opening."""
    if state is None:
        if not isinstance(data, CaseOpened):
            raise ValueError(f"a case begins with {CaseOpened.TYPE}, not {data.TYPE}")
        return Case(opened=data)
    match data:
        case FeedbackRequested():
            return _next(state, state.facts, state.standing, {**state.requests, data.request_id: requests.begun(data)})
        case FeedbackReported() | FeedbackAnswered() | FeedbackExpired():
            request = requests.evolve(state.requests[data.request_id], data)
            return _next(state, state.facts, state.standing, {**state.requests, data.request_id: request})
        case CaseOverdue():
            return replace(state, version=state.version + 1, overdue=state.overdue | {data.due_at})
        case CaseUnacknowledged():
            return replace(state, version=state.version + 1, unacknowledged=True)
        case CaseLinked():
            return replace(state, version=state.version + 1, findings=(*state.findings, data.finding_id))
        case _:
            fact = _fact(data)
            if fact is None:
                raise ValueError(f"{data.TYPE} is no event of a case")
            facts = (*state.facts, fact)
            if len(facts) > 1 and fact.order < facts[-2].order:
                facts = tuple(sorted(facts, key=lambda each: each.order))
                return _next(state, facts, stand(facts), state.requests)
            return _next(state, facts, step(state.standing, fact), state.requests)


def fold(events: Iterable[EventData]) -> Case | None:
    """The case its events tell; None for none."""
    state: Case | None = None
    for data in events:
        state = evolve(state, data)
    return state
