"""The work on a finding beside its actions: investigating, proposing, escalating, grouping, splitting."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import assert_never

from libs.events.catalogue.base import EventData
from libs.events.catalogue.finding_status import RESTORED, WITHDRAWN, Status
from libs.events.catalogue.findings import (
    FindingClosed,
    FindingEscalated,
    FindingGrouped,
    FindingInvestigated,
    FindingReopened,
    FindingSplit,
    ProposalMade,
    ProposalSettled,
)
from libs.events.ids import natural_id
from services.classification.domain import cause_tree
from services.classification.domain.finding_orders import (
    Escalate,
    Group,
    Investigate,
    Propose,
    Refused,
    Restore,
    SettleProposal,
    Split,
    Withdraw,
)
from services.classification.domain.finding_state import Finding

SUBJECTS = ("norm", "policy", "procedure")
OUTCOMES = ("accepted", "rejected", "withdrawn", "enacted")
SPLITS = ("touchpoint", "location", "cause", "product", "team", "agent", "supplier", "segment", "channel", "procedure")
"""Dimensions by which a finding may be narrowed."""

Work = Investigate | Propose | SettleProposal | Escalate | Group | Split | Withdraw | Restore


def work(state: Finding, command: Work, now: datetime) -> Sequence[EventData]:
    """The events such a command leads to. Raises Refused."""
    match command:
        case Investigate():
            return _investigate(state, command, now)
        case Propose():
            return _propose(state, command, now)
        case SettleProposal():
            return _settle(state, command, now)
        case Escalate():
            if command.level in state.levels or not state.open:
                return ()
            because = dict(command.because)
            return (
                FindingEscalated(
                    finding_id=state.finding_id, at=now, by=command.by, level=command.level, because=because
                ),
            )
        case Withdraw():
            if state.status is not Status.OPENED:
                return ()
            return (FindingClosed(finding_id=state.finding_id, at=now, by=command.by, reason=WITHDRAWN),)
        case Restore():
            if state.open or not state.withdrawn:
                return ()
            return (FindingReopened(finding_id=state.finding_id, at=now, by=command.by, reason=RESTORED),)
        case Group():
            return _group(state, command, now)
        case Split():
            return _split(state, command, now)
        case _:
            assert_never(command)


def must(state: Finding, allowed: bool) -> None:
    if not allowed:
        raise Refused("not_now", values={"status": state.status.value})


def given_reason(reason: str | None) -> str:
    if not reason:
        raise Refused("reason_needed", "/reason", invalid=True)
    return reason


def words(where: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in where.items())


def _investigate(state: Finding, command: Investigate, now: datetime) -> Sequence[EventData]:
    cause_tree.check(command.method, command.nodes)
    held = state.investigation
    if held is not None and (held.method, held.nodes, held.conclusion) == (
        command.method,
        command.nodes,
        command.conclusion,
    ):
        return ()
    must(state, state.open and state.status is not Status.OPENED)
    return (
        FindingInvestigated(
            finding_id=state.finding_id,
            at=now,
            by=command.by,
            reason=command.reason,
            method=command.method,
            nodes=list(command.nodes),
            conclusion=command.conclusion,
            nature=command.nature,
        ),
    )


def _propose(state: Finding, command: Propose, now: datetime) -> Sequence[EventData]:
    if command.subject not in SUBJECTS:
        raise Refused("unknown_subject", "/subject", invalid=True)
    same = (command.subject, command.code, command.text)
    if any((one.subject, one.code, one.text) == same and one.state == "open" for one in state.proposals):
        return ()
    must(state, state.open and state.status is not Status.OPENED)
    return (
        ProposalMade(
            finding_id=state.finding_id,
            at=now,
            by=command.by,
            reason=command.reason,
            proposal_id=natural_id("proposal", state.finding_id, str(len(state.proposals) + 1)),
            subject=command.subject,
            code=command.code,
            text=command.text,
            owner=command.owner,
        ),
    )


def _settle(state: Finding, command: SettleProposal, now: datetime) -> Sequence[EventData]:
    held = next((one for one in state.proposals if one.proposal_id == command.proposal_id), None)
    if held is None:
        raise Refused("unknown_proposal")
    if command.outcome not in OUTCOMES:
        raise Refused("unknown_outcome", "/outcome", invalid=True)
    if held.state == command.outcome:
        return ()
    # What was accepted may still be enacted by a rulebook, or given up; everything else is the end of it.
    if held.state != "open" and not (held.state == "accepted" and command.outcome in {"enacted", "withdrawn"}):
        raise Refused("proposal_settled", values={"state": held.state})
    if command.outcome in {"rejected", "withdrawn"}:
        given_reason(command.reason)
    return (
        ProposalSettled(
            finding_id=state.finding_id,
            at=now,
            by=command.by,
            reason=command.reason,
            proposal_id=command.proposal_id,
            outcome=command.outcome,
            rulebook_version=command.rulebook_version,
        ),
    )


def _group(state: Finding, command: Group, now: datetime) -> Sequence[EventData]:
    if state.group == command.into:
        return ()
    if command.into is not None:
        must(state, state.open)
        if command.into == state.finding_id:
            raise Refused("group_itself", "/into", invalid=True)
        if command.leads or command.nested:
            raise Refused("group_nested", "/into")
        if command.over:
            raise Refused("group_over", "/into")
    return (
        FindingGrouped(finding_id=state.finding_id, at=now, by=command.by, reason=command.reason, into=command.into),
    )


def _split(state: Finding, command: Split, now: datetime) -> Sequence[EventData]:
    must(state, state.open)
    parts: dict[str, dict[str, str]] = {}
    for place, part in enumerate(command.parts):
        added = part.keys() - state.slice.keys()
        if not added or any(part.get(name) != value for name, value in state.slice.items()):
            values = {"slice": words(state.slice)}
            raise Refused("part_not_narrower", f"/parts/{place}", invalid=True, values=values)
        for name in sorted(added):
            if name not in SPLITS:
                raise Refused(
                    "part_unknown_dimension", f"/parts/{place}/{name}", invalid=True, values={"dimension": name}
                )
        if any(dict(held) == dict(part) for held in parts.values()):
            raise Refused("part_twice", f"/parts/{place}", invalid=True)
        if any(dict(held) == dict(part) for held in state.parts.values()):
            continue
        number = str(len(state.parts) + len(parts) + 1)
        parts[natural_id("finding-part", state.finding_id, number)] = dict(part)
    if not parts:
        return ()
    return (FindingSplit(finding_id=state.finding_id, at=now, by=command.by, reason=command.reason, parts=parts),)
