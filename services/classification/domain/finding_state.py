"""What a finding is: a fold over its events."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime

from libs.events.catalogue.base import EventData
from libs.events.catalogue.finding_status import OVER, WITHDRAWN, Status, after
from libs.events.catalogue.findings import (
    ActionCancelled,
    ActionImplemented,
    ActionJudged,
    ActionPlanned,
    CauseNode,
    FindingAssigned,
    FindingClosed,
    FindingConfirmed,
    FindingCorrected,
    FindingDismissed,
    FindingEscalated,
    FindingGrouped,
    FindingInvestigated,
    FindingOpened,
    FindingReopened,
    FindingSplit,
    Nature,
    ProposalMade,
    ProposalSettled,
)

MONITOR = "monitor"


@dataclass(frozen=True, slots=True)
class Action:
    action_id: str
    description: str
    owner: str
    due: date
    expected_ratio: float
    window_days: int
    planned_at: datetime
    implemented_at: datetime | None = None
    judgement: str | None = None
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    metric: str = "complainants"
    slice: Mapping[str, str] = field(default_factory=dict)
    cancelled: bool = False
    weeks_needed: int | None = None
    days: int | None = None  # after the action, of the newest judgement
    looks: int = 0  # judgements
    again_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Investigation:
    method: str
    nodes: tuple[CauseNode, ...]
    conclusion: str | None
    by: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Proposal:
    """`state`: open, accepted, rejected, withdrawn or enacted."""

    proposal_id: str
    subject: str
    code: str
    text: str
    owner: str | None
    by: str
    made_at: datetime
    state: str = "open"
    settled_at: datetime | None = None
    settled_by: str | None = None
    rulebook_version: int | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    finding_id: str
    slice: Mapping[str, str]
    status: Status
    nature: Nature
    verdict_id: str
    opened_at: datetime
    since: datetime
    title: Mapping[str, str]
    owner: str | None = None
    reopened: int = 0
    actions: tuple[Action, ...] = ()
    version: int = 1
    confirmed_by: str | None = None
    investigation: Investigation | None = None
    proposals: tuple[Proposal, ...] = ()
    levels: tuple[str, ...] = ()  # it was escalated to, lowest first
    group: str | None = None
    parts: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    split_from: str | None = None
    ended_at: datetime | None = None
    withdrawn: bool = False  # closed by the monitor, because what it was opened on holds no longer

    @property
    def action(self) -> Action | None:
        """The newest action."""
        return self.actions[-1] if self.actions else None

    @property
    def open(self) -> bool:
        return self.status not in OVER


def evolve(state: Finding | None, event: EventData) -> Finding | None:
    """The finding after an event. Events of others leave it as it is."""
    if isinstance(event, FindingOpened):
        return Finding(
            event.finding_id,
            event.slice,
            Status.OPENED,
            event.nature,
            event.verdict_id,
            event.opened_at,
            event.since,
            event.title,
            split_from=event.split_from,
        )
    if state is None:
        return None
    version = state.version + 1
    match event:
        case FindingConfirmed():
            return replace(
                state,
                status=_after(state, event),
                nature=event.nature or state.nature,
                confirmed_by=event.by,
                version=version,
            )
        case FindingCorrected():
            by = event.by if state.confirmed_by is None else state.confirmed_by
            return replace(state, status=_after(state, event), nature=event.nature, confirmed_by=by, version=version)
        case FindingDismissed():
            return replace(state, status=_after(state, event), ended_at=event.at, version=version)
        case FindingAssigned():
            return replace(state, owner=event.owner, version=version)
        case FindingInvestigated():
            found = Investigation(event.method, tuple(event.nodes), event.conclusion, event.by, event.at)
            status = _after(state, event)
            nature = event.nature or state.nature
            return replace(state, status=status, investigation=found, nature=nature, version=version)
        case FindingReopened():
            return replace(
                state,
                status=_after(state, event),
                reopened=state.reopened + 1,
                ended_at=None,
                withdrawn=False,
                actions=_settled(state.actions),
                version=version,
            )
        case FindingClosed():
            gone = event.reason == WITHDRAWN and event.by == MONITOR
            return replace(state, status=_after(state, event), ended_at=event.at, withdrawn=gone, version=version)
        case FindingEscalated():
            return replace(state, levels=(*state.levels, event.level), version=version)
        case FindingGrouped():
            return replace(state, group=event.into, version=version)
        case FindingSplit():
            return replace(state, parts={**state.parts, **event.parts}, version=version)
        case ActionPlanned() | ActionCancelled() | ActionImplemented() | ActionJudged():
            return _acted(state, event, version)
        case ProposalMade() | ProposalSettled():
            return replace(state, proposals=_proposed(state.proposals, event), version=version)
        case _:
            return state


def _after(state: Finding, event: EventData) -> Status:
    what = event.TYPE.removeprefix("lazo.").rsplit(".", 1)[0]
    reason = event.reason if isinstance(event, FindingReopened) else None
    return after(state.status, what, investigated=state.investigation is not None, reason=reason)


def _acted(
    state: Finding, event: ActionPlanned | ActionCancelled | ActionImplemented | ActionJudged, version: int
) -> Finding:
    match event:
        case ActionPlanned():
            action = Action(
                event.action_id,
                event.description,
                event.owner,
                event.due,
                event.expected_ratio,
                event.window_days,
                event.at,
                metric=event.metric,
                slice=event.slice,
            )
            actions = (*_settled(state.actions), action)
            return replace(state, status=_after(state, event), actions=actions, version=version)
        case ActionCancelled():
            return _with_action(state, _after(state, event), version, cancelled=True)
        case ActionImplemented():
            return _with_action(state, _after(state, event), version, implemented_at=event.implemented_at)
        case ActionJudged():
            return _with_action(
                state,
                _after(state, event),
                version,
                judgement=event.judgement,
                ratio=event.ratio,
                low=event.low,
                high=event.high,
                weeks_needed=event.weeks_needed,
                days=event.days,
                looks=state.actions[-1].looks + 1 if state.actions else 1,
                again_at=event.again_at,
            )


def _settled(actions: tuple[Action, ...]) -> tuple[Action, ...]:
    """What was still to be judged again is not any more: the work began anew."""
    return tuple(action if action.again_at is None else replace(action, again_at=None) for action in actions)


def _with_action(state: Finding, status: Status, version: int, **changes: object) -> Finding:
    actions = (*state.actions[:-1], replace(state.actions[-1], **changes)) if state.actions else ()  # type: ignore[arg-type]  # the fields' own types are checked where they are named
    return replace(state, status=status, actions=actions, version=version)


def _proposed(held: tuple[Proposal, ...], event: ProposalMade | ProposalSettled) -> tuple[Proposal, ...]:
    if isinstance(event, ProposalMade):
        made = Proposal(event.proposal_id, event.subject, event.code, event.text, event.owner, event.by, event.at)
        return (*held, made)
    return tuple(
        replace(
            one,
            state=event.outcome,
            settled_at=event.at,
            settled_by=event.by,
            rulebook_version=event.rulebook_version,
        )
        if one.proposal_id == event.proposal_id
        else one
        for one in held
    )


def fold(events: Sequence[EventData]) -> Finding | None:
    """The finding after all its events."""
    state: Finding | None = None
    for event in events:
        state = evolve(state, event)
    return state
