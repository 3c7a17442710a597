"""A finding's life: opened → confirmed or dismissed → action planned → implemented → judged → closed, or reopened.

`decide(state, command, now)` gives the events a command leads to (none when it was done already) or raises Refused;
`evolve(state, event)` is what the finding is after an event.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import assert_never

from libs.events.catalogue.base import EventData
from libs.events.catalogue.findings import (
    ActionImplemented,
    ActionJudged,
    ActionPlanned,
    FindingAssigned,
    FindingClosed,
    FindingConfirmed,
    FindingDismissed,
    FindingOpened,
    FindingReopened,
    Nature,
)
from libs.events.ids import natural_id
from services.classification.domain.effect import Effect

REOPENS = {"not_effective", "harmful"}


class Status(StrEnum):
    OPENED = "opened"
    CONFIRMED = "confirmed"
    DISMISSED = "dismissed"
    PLANNED = "action_planned"
    IMPLEMENTED = "implemented"
    JUDGED = "judged"
    CLOSED = "closed"


OVER = {Status.DISMISSED, Status.CLOSED}


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

    @property
    def action(self) -> Action | None:
        """The newest action."""
        return self.actions[-1] if self.actions else None

    @property
    def open(self) -> bool:
        return self.status not in OVER


@dataclass(frozen=True, slots=True)
class Confirm:
    by: str
    reason: str | None = None
    nature: Nature | None = None


@dataclass(frozen=True, slots=True)
class Dismiss:
    by: str
    reason: str | None


@dataclass(frozen=True, slots=True)
class Assign:
    by: str
    owner: str
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class PlanAction:
    by: str
    description: str
    owner: str
    due: date
    expected_ratio: float
    window_days: int
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class ImplementAction:
    by: str
    implemented_at: datetime
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Judge:
    """The window after the action has passed; `effect` is what was seen."""

    action_id: str
    effect: Effect
    by: str = "monitor"


@dataclass(frozen=True, slots=True)
class Close:
    by: str
    reason: str | None = None


Command = Confirm | Dismiss | Assign | PlanAction | ImplementAction | Judge | Close

REFUSALS: dict[str, tuple[str, str]] = {
    "unknown_finding": ("ese hallazgo no existe", "there is no such finding"),
    "not_now": ("no se puede: el hallazgo está en «{status}»", "not possible: the finding is '{status}'"),
    "reason_needed": ("diga por qué", "say why"),
    "ratio_out_of_range": (
        "la razón esperada es mayor que 0 y menor que 1 (0.5: la mitad que antes)",
        "the expected ratio is above 0 and below 1 (0.5: half of before)",
    ),
    "window_out_of_range": ("la ventana es de 7 a 365 días", "the window is 7 to 365 days"),
    "due_in_the_past": ("la fecha límite ya pasó", "the due date has passed"),
    "in_the_future": ("la fecha está por venir", "the time lies ahead"),
    "test_after_the_fact": (
        "la acción se hizo antes de declarar cómo se mediría ({planned_at})",
        "the action was done before its success test was declared ({planned_at})",
    ),
    "action_in_hand": ("ya hay una acción en curso", "an action is in hand already"),
    "no_action": ("no hay ninguna acción planeada", "no action is planned"),
}


@dataclass
class Refused(Exception):
    """The command cannot be carried out. `invalid`: it never could; else not in this state."""

    code: str
    pointer: str = ""
    invalid: bool = False
    values: Mapping[str, str] = field(default_factory=dict)

    def text(self, language: str) -> str:
        es, en = REFUSALS[self.code]
        return (es if language == "es" else en).format(**self.values)


def decide(state: Finding | None, command: Command, now: datetime) -> Sequence[EventData]:
    """The events a command leads to; none when what it asks for is so already. Raises Refused."""
    if state is None:
        raise Refused("unknown_finding")
    match command:
        case Confirm():
            return _confirm(state, command, now)
        case Dismiss():
            return _dismiss(state, command, now)
        case Assign():
            if state.owner == command.owner:
                return ()
            _must(state, state.open)
            return (
                FindingAssigned(
                    finding_id=state.finding_id, at=now, by=command.by, reason=command.reason, owner=command.owner
                ),
            )
        case PlanAction():
            return _plan(state, command, now)
        case ImplementAction():
            return _implement(state, command, now)
        case Judge():
            return _judge(state, command, now)
        case Close():
            if state.status is Status.CLOSED:
                return ()
            _must(state, state.status in {Status.CONFIRMED, Status.JUDGED})
            if state.status is Status.CONFIRMED and not command.reason:
                raise Refused("reason_needed", "/reason", invalid=True)
            return (FindingClosed(finding_id=state.finding_id, at=now, by=command.by, reason=command.reason),)
        case _:
            assert_never(command)


def _must(state: Finding, allowed: bool) -> None:
    if not allowed:
        raise Refused("not_now", values={"status": state.status.value})


def _confirm(state: Finding, command: Confirm, now: datetime) -> Sequence[EventData]:
    changed = command.nature is not None and command.nature is not state.nature
    if state.status is not Status.OPENED and state.open and not changed:
        return ()
    _must(state, state.open)
    return (
        FindingConfirmed(
            finding_id=state.finding_id, at=now, by=command.by, reason=command.reason, nature=command.nature
        ),
    )


def _dismiss(state: Finding, command: Dismiss, now: datetime) -> Sequence[EventData]:
    if state.status is Status.DISMISSED:
        return ()
    _must(state, state.status in {Status.OPENED, Status.CONFIRMED})
    if not command.reason:
        raise Refused("reason_needed", "/reason", invalid=True)
    return (FindingDismissed(finding_id=state.finding_id, at=now, by=command.by, reason=command.reason),)


def _plan(state: Finding, command: PlanAction, now: datetime) -> Sequence[EventData]:
    if not 0 < command.expected_ratio < 1:
        raise Refused("ratio_out_of_range", "/expected_ratio", invalid=True)
    if not 7 <= command.window_days <= 365:
        raise Refused("window_out_of_range", "/window_days", invalid=True)
    action = state.action
    if action is not None and state.status is Status.PLANNED:
        if (action.description, action.owner, action.due, action.expected_ratio, action.window_days) == (
            command.description,
            command.owner,
            command.due,
            command.expected_ratio,
            command.window_days,
        ):
            return ()
        raise Refused("action_in_hand")
    if state.status is Status.IMPLEMENTED:
        raise Refused("action_in_hand")
    _must(state, state.status in {Status.CONFIRMED, Status.JUDGED})
    if command.due < now.date():
        raise Refused("due_in_the_past", "/due", invalid=True)
    return (
        ActionPlanned(
            finding_id=state.finding_id,
            at=now,
            by=command.by,
            reason=command.reason,
            action_id=natural_id("action", state.finding_id, str(len(state.actions) + 1)),
            description=command.description,
            owner=command.owner,
            due=command.due,
            expected_ratio=command.expected_ratio,
            window_days=command.window_days,
        ),
    )


def _implement(state: Finding, command: ImplementAction, now: datetime) -> Sequence[EventData]:
    action = state.action
    if action is not None and action.implemented_at == command.implemented_at:
        return ()
    if action is None:
        raise Refused("no_action")
    _must(state, state.status is Status.PLANNED)
    if command.implemented_at > now:
        raise Refused("in_the_future", "/implemented_at", invalid=True)
    if command.implemented_at < action.planned_at:
        raise Refused(
            "test_after_the_fact", "/implemented_at", invalid=True, values={"planned_at": action.planned_at.isoformat()}
        )
    return (
        ActionImplemented(
            finding_id=state.finding_id,
            at=now,
            by=command.by,
            reason=command.reason,
            action_id=action.action_id,
            implemented_at=command.implemented_at,
        ),
    )


def _judge(state: Finding, command: Judge, now: datetime) -> Sequence[EventData]:
    action = state.action
    if action is None or action.action_id != command.action_id or state.status is not Status.IMPLEMENTED:
        return ()  # closed or judged in the meantime: the timer comes too late, and nobody is harmed
    effect = command.effect
    judged = ActionJudged(
        finding_id=state.finding_id,
        at=now,
        by=command.by,
        action_id=action.action_id,
        **effect.facts(),
    )
    if effect.judgement not in REOPENS:
        return (judged,)
    return (judged, FindingReopened(finding_id=state.finding_id, at=now, by=command.by, reason=effect.judgement))


def judgement_due(action: Action, lateness: timedelta) -> datetime | None:
    """When the window after the action has passed and its last facts are in."""
    if action.implemented_at is None:
        return None
    return action.implemented_at + timedelta(days=action.window_days) + lateness


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
        )
    if state is None:
        return None
    version = state.version + 1
    match event:
        case FindingConfirmed():
            status = Status.CONFIRMED if state.status is Status.OPENED else state.status
            return replace(state, status=status, nature=event.nature or state.nature, version=version)
        case FindingDismissed():
            return replace(state, status=Status.DISMISSED, version=version)
        case FindingAssigned():
            return replace(state, owner=event.owner, version=version)
        case ActionPlanned():
            action = Action(
                event.action_id,
                event.description,
                event.owner,
                event.due,
                event.expected_ratio,
                event.window_days,
                event.at,
            )
            return replace(state, status=Status.PLANNED, actions=(*state.actions, action), version=version)
        case ActionImplemented():
            return _with_action(state, Status.IMPLEMENTED, version, implemented_at=event.implemented_at)
        case ActionJudged():
            return _with_action(
                state,
                Status.JUDGED,
                version,
                judgement=event.judgement,
                ratio=event.ratio,
                low=event.low,
                high=event.high,
            )
        case FindingReopened():
            return replace(state, status=Status.CONFIRMED, reopened=state.reopened + 1, version=version)
        case FindingClosed():
            return replace(state, status=Status.CLOSED, version=version)
        case _:
            return state


def _with_action(state: Finding, status: Status, version: int, **changes: object) -> Finding:
    actions = (*state.actions[:-1], replace(state.actions[-1], **changes)) if state.actions else ()  # type: ignore[arg-type]  # the fields' own types are checked where they are named
    return replace(state, status=status, actions=actions, version=version)


def fold(events: Sequence[EventData]) -> Finding | None:
    """The finding after all its events."""
    state: Finding | None = None
    for event in events:
        state = evolve(state, event)
    return state
