"""A finding's life: opened → confirmed or dismissed → investigated → action planned → implemented → judged → closed, or reopened.

`decide(state, command, now)` gives the events a command leads to (none when it was done already) or raises Refused;
`evolve(state, event)` (`finding_state`) is what the finding is after an event. Investigating is advised and not demanded.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import assert_never

from libs.events.catalogue.base import EventData
from libs.events.catalogue.finding_status import OVER, Status
from libs.events.catalogue.findings import (
    ActionCancelled,
    ActionImplemented,
    ActionJudged,
    ActionPlanned,
    FindingAssigned,
    FindingClosed,
    FindingConfirmed,
    FindingCorrected,
    FindingDismissed,
    FindingReopened,
)
from libs.events.ids import natural_id
from services.classification.domain import looks
from services.classification.domain.finding_orders import (
    REFUSALS,
    Assign,
    CancelAction,
    Close,
    Command,
    Confirm,
    Correct,
    Dismiss,
    Escalate,
    Group,
    ImplementAction,
    Investigate,
    Judge,
    PlanAction,
    Propose,
    Refused,
    Reopen,
    Restore,
    SettleProposal,
    Split,
    Withdraw,
)
from services.classification.domain.finding_state import Action, Finding, Investigation, Proposal, evolve, fold
from services.classification.domain.finding_work import SPLITS, given_reason, must, words, work

__all__ = [
    "METRICS",
    "OVER",
    "REFUSALS",
    "REOPENS",
    "SPLITS",
    "Action",
    "Assign",
    "CancelAction",
    "Close",
    "Command",
    "Confirm",
    "Correct",
    "Dismiss",
    "Escalate",
    "Finding",
    "Group",
    "ImplementAction",
    "Investigate",
    "Investigation",
    "Judge",
    "PlanAction",
    "Proposal",
    "Propose",
    "Refused",
    "Reopen",
    "Restore",
    "SettleProposal",
    "Split",
    "Status",
    "Withdraw",
    "decide",
    "evolve",
    "fold",
]

REOPENS = {"not_effective", "harmful"}
METRICS = ("complainants", "contacts", "rate")


def decide(state: Finding | None, command: Command, now: datetime) -> Sequence[EventData]:
    """The events a command leads to; none when what it asks for is so already. Raises Refused."""
    if state is None:
        raise Refused("unknown_finding")
    match command:
        case Confirm():
            return _confirm(state, command, now)
        case Correct():
            return _correct(state, command, now)
        case Dismiss():
            return _dismiss(state, command, now)
        case Assign():
            if state.owner == command.owner:
                return ()
            must(state, state.open)
            return (
                FindingAssigned(
                    finding_id=state.finding_id, at=now, by=command.by, reason=command.reason, owner=command.owner
                ),
            )
        case PlanAction():
            return _plan(state, command, now)
        case CancelAction():
            return _cancel(state, command, now)
        case ImplementAction():
            return _implement(state, command, now)
        case Judge():
            return _judge(state, command, now)
        case Close():
            return _close(state, command, now)
        case Reopen():
            if state.open:
                return ()
            reason = given_reason(command.reason)
            return (FindingReopened(finding_id=state.finding_id, at=now, by=command.by, reason=reason),)
        case Withdraw() | Restore() | Propose() | SettleProposal() | Escalate() | Group() | Split() | Investigate():
            return work(state, command, now)
        case _:
            assert_never(command)


def _confirm(state: Finding, command: Confirm, now: datetime) -> Sequence[EventData]:
    changed = command.nature is not None and command.nature is not state.nature
    # Dismissed before anybody had confirmed it, and reopened: it stands as confirmed, and yet nobody has said of what nature it is.
    if state.confirmed_by is not None and state.status is not Status.OPENED and state.open:
        if changed:
            values = {"by": state.confirmed_by, "nature": state.nature.value}
            raise Refused("confirmed_otherwise", "/nature", values=values)
        return ()
    must(state, state.open)
    return (
        FindingConfirmed(
            finding_id=state.finding_id, at=now, by=command.by, reason=command.reason, nature=command.nature
        ),
    )


def _correct(state: Finding, command: Correct, now: datetime) -> Sequence[EventData]:
    if state.nature is command.nature and state.status is not Status.OPENED and state.open:
        return ()
    must(state, state.open)
    reason = given_reason(command.reason)
    return (FindingCorrected(finding_id=state.finding_id, at=now, by=command.by, reason=reason, nature=command.nature),)


def _dismiss(state: Finding, command: Dismiss, now: datetime) -> Sequence[EventData]:
    if state.status is Status.DISMISSED:
        return ()
    must(state, state.status in {Status.OPENED, Status.CONFIRMED, Status.INVESTIGATED})
    reason = given_reason(command.reason)
    return (FindingDismissed(finding_id=state.finding_id, at=now, by=command.by, reason=reason),)


def _plan(state: Finding, command: PlanAction, now: datetime) -> Sequence[EventData]:
    if not 0 < command.expected_ratio < 1:
        raise Refused("ratio_out_of_range", "/expected_ratio", invalid=True)
    if not 7 <= command.window_days <= 365:
        raise Refused("window_out_of_range", "/window_days", invalid=True)
    if command.metric not in METRICS:
        raise Refused("unknown_metric", "/metric", invalid=True)
    if command.slice and any(command.slice.get(name) != value for name, value in state.slice.items()):
        raise Refused("slice_elsewhere", "/slice", invalid=True, values={"slice": words(state.slice)})
    action = state.action
    if action is not None and state.status is Status.PLANNED:
        if _declared(action) == _declared(command):
            return ()
        raise Refused("action_in_hand")
    if action is not None and action.implemented_at is not None and state.status is Status.IMPLEMENTED:
        # A success test written once the action is done could be fitted to what is seen already.
        raise Refused("already_implemented", values={"implemented_at": action.implemented_at.isoformat()})
    must(state, state.status in {Status.CONFIRMED, Status.INVESTIGATED, Status.JUDGED})
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
            metric=command.metric,
            slice=dict(command.slice),
        ),
    )


def _declared(one: Action | PlanAction) -> tuple[object, ...]:
    return (one.description, one.owner, one.due, one.expected_ratio, one.window_days, one.metric, dict(one.slice))


def _cancel(state: Finding, command: CancelAction, now: datetime) -> Sequence[EventData]:
    action = state.action
    if action is None:
        raise Refused("no_action")
    if action.cancelled:
        return ()
    must(state, state.status is Status.PLANNED)
    reason = given_reason(command.reason)
    return (
        ActionCancelled(finding_id=state.finding_id, at=now, by=command.by, reason=reason, action_id=action.action_id),
    )


def _implement(state: Finding, command: ImplementAction, now: datetime) -> Sequence[EventData]:
    action = state.action
    if action is not None and action.implemented_at == command.implemented_at:
        return ()
    if action is None:
        raise Refused("no_action")
    must(state, state.status is Status.PLANNED)
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
    days = None if action is None else looks.window(action)
    if action is None or action.action_id != command.action_id or days is None:
        return ()  # judged, or another action taken up in the meantime: the timer comes too late, and nobody is harmed
    # Closed by a person while undecided, the question stays open, and so does the answer: what did not work reopens it.
    if state.status not in ({Status.IMPLEMENTED} if action.judgement is None else {Status.JUDGED, Status.CLOSED}):
        return ()
    effect = command.effect
    undecided = effect.judgement == "undecided"
    judged = ActionJudged(
        finding_id=state.finding_id,
        at=now,
        by=command.by,
        action_id=action.action_id,
        days=days,
        again_at=looks.again_at(action, days, effect.weeks_needed) if undecided else None,
        metric=command.metric,
        **effect.facts(),
    )
    if effect.judgement not in REOPENS:
        return (judged,)
    return (judged, FindingReopened(finding_id=state.finding_id, at=now, by=command.by, reason=effect.judgement))


def _close(state: Finding, command: Close, now: datetime) -> Sequence[EventData]:
    if state.status is Status.CLOSED:
        return ()
    must(state, state.status in {Status.CONFIRMED, Status.INVESTIGATED, Status.JUDGED})
    if state.status is not Status.JUDGED:
        given_reason(command.reason)
    return (FindingClosed(finding_id=state.finding_id, at=now, by=command.by, reason=command.reason),)
