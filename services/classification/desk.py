"""Findings on the store: commands decided on their stream, and the rows, lessons and timers that follow from them."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from pydantic_core import to_jsonable_python
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.events.catalogue import decode
from libs.events.catalogue.base import EventData
from libs.events.catalogue.findings import (
    ActionCancelled,
    ActionImplemented,
    ActionJudged,
    ActionPlanned,
    FindingClosed,
    FindingDismissed,
    FindingOpened,
    FindingReopened,
    FindingSplit,
)
from libs.events.envelope import Event
from libs.events.ids import natural_id
from libs.events.store import Cause, Draft, Unit
from services.classification import tables
from services.classification.books import Books
from services.classification.domain import looks
from services.classification.domain.findings import (
    Command,
    Finding,
    Group,
    Status,
    decide,
    evolve,
    fold,
)
from services.classification.domain.rulebook import Rulebook
from services.classification.teaching import slice_key, teach
from services.classification.titles import part_title
from services.classification.waiting import Waiting

JUDGE_ACTION = "judge-action"
JOIN = "join-finding"
ESCALATE = "escalate-finding"


def stream_of(finding_id: str) -> str:
    return f"finding/{finding_id}"


async def load(unit: Unit, finding_id: str) -> Finding | None:
    return fold([decode(event) for event in await unit.stream(stream_of(finding_id))])


async def carry_out(
    unit: Unit, finding_id: str, command: Command, waiting: Waiting, *, cause: Event | Cause | None = None
) -> Finding:
    """Decide and write down; the finding afterwards. Raises Refused, ConcurrencyConflict."""
    state = await load(unit, finding_id)
    if isinstance(command, Group) and command.into is not None and state is not None:
        command = await _looked_into(unit, state, command)
    for data in decide(state, command, unit.now):
        assert state is not None
        draft = Draft(stream=stream_of(finding_id), data=data, key=finding_id, time=unit.now, cause=cause)
        unit.emit(draft, expected=state.version)
        before, state = state, evolve(state, data)
        assert state is not None
        await _follow(unit, before, state, data, waiting, cause)
    assert state is not None
    await unit.flush()
    await keep(unit.connection, state)
    return state


async def _looked_into(unit: Unit, state: Finding, command: Group) -> Group:
    """The order with what it takes to know of the other finding."""
    assert command.into is not None
    other = await load(unit, command.into)
    table = tables.findings
    members = select(table.c.finding_id).where(table.c.part_of == state.finding_id).limit(1)
    leads = (await unit.connection.execute(members)).first() is not None
    return replace(
        command,
        leads=leads,
        nested=other is not None and other.group is not None,
        over=other is None or not other.open,
    )


async def _follow(
    unit: Unit, before: Finding, state: Finding, data: EventData, waiting: Waiting, cause: Event | Cause | None
) -> None:
    """What an event of a finding brings with it."""
    match data:
        case ActionImplemented() | ActionJudged() if state.action is not None:
            due = looks.due(state.action, waiting.quiet)
            if due is not None:
                told = {"finding": state.finding_id}
                unit.schedule(JUDGE_ACTION, state.action.action_id, max(due, unit.now), told, cause=cause)
        case ActionPlanned() if before.action is not None:
            unit.cancel(JUDGE_ACTION, before.action.action_id)
        case ActionCancelled():
            unit.cancel(JUDGE_ACTION, data.action_id)
        case FindingDismissed():
            unit.cancel(ESCALATE, state.finding_id)
            await teach(unit, state.finding_id, state.slice, data.by, data.reason, cause=cause)
        case FindingClosed():
            unit.cancel(ESCALATE, state.finding_id)
        case FindingReopened():
            if state.action is not None:
                unit.cancel(JUDGE_ACTION, state.action.action_id)
            unit.schedule(JOIN, state.finding_id, unit.now, {})
            unit.schedule(ESCALATE, state.finding_id, unit.now, {})
            if before.status is Status.DISMISSED:
                await teach(unit, state.finding_id, state.slice, data.by, data.reason, withdrawn=True, cause=cause)
        case FindingSplit():
            books = Books()
            book = await books.book(unit.connection, await books.version(unit.connection))
            for identity, where in data.parts.items():
                await open_finding(unit, _part(state, identity, where, book, unit), cause)
            unit.schedule(JOIN, state.finding_id, unit.now, {})
        case _:
            pass


def _part(state: Finding, identity: str, where: Mapping[str, str], book: Rulebook | None, unit: Unit) -> FindingOpened:
    return FindingOpened(
        finding_id=identity,
        slice=dict(where),
        nature=state.nature,
        verdict_id=state.verdict_id,
        opened_at=unit.now,
        since=state.since,
        title=part_title(state.title, state.slice, where, book),
        split_from=state.finding_id,
    )


async def open_finding(unit: Unit, opened: FindingOpened, cause: Event | Cause | None) -> bool:
    """Open a finding unless it was opened before; whether it is new."""
    known = select(tables.findings.c.finding_id).where(tables.findings.c.finding_id == opened.finding_id)
    if (await unit.connection.execute(known)).first() is not None:
        return False
    draft = Draft(
        stream=stream_of(opened.finding_id),
        data=opened,
        key=opened.finding_id,
        time=unit.now,
        id=natural_id("finding-opened", opened.finding_id),
        cause=cause,
    )
    unit.emit(draft, expected=0)
    state = evolve(None, opened)
    assert state is not None
    await keep(unit.connection, state)
    unit.schedule(JOIN, opened.finding_id, unit.now, {}, cause=cause)
    unit.schedule(ESCALATE, opened.finding_id, unit.now, {}, cause=cause)
    return True


async def open_for(connection: AsyncConnection, key: str) -> str | None:
    """The finding that is open for a slice: there is one at most."""
    table = tables.findings
    query = (
        select(table.c.finding_id).where(table.c.slice_key == key, table.c.open).order_by(table.c.opened_at).limit(1)
    )
    found: str | None = (await connection.execute(query)).scalar_one_or_none()
    return found


def finding_row(state: Finding) -> dict[str, Any]:
    """The row, as the fold alone makes it."""
    return {
        "finding_id": state.finding_id,
        "slice": dict(state.slice),
        "slice_key": slice_key(state.slice),
        "status": state.status.value,
        "open": state.open,
        "nature": state.nature.value,
        "verdict_id": state.verdict_id,
        "opened_at": state.opened_at,
        "since": state.since,
        "title": dict(state.title),
        "owner": state.owner,
        "reopened": state.reopened,
        "actions": to_jsonable_python([asdict(action) for action in state.actions]),
        "version": state.version,
        "confirmed_by": state.confirmed_by,
        "investigation": None if state.investigation is None else to_jsonable_python(asdict(state.investigation)),
        "proposals": to_jsonable_python([asdict(proposal) for proposal in state.proposals]),
        "levels": list(state.levels),
        "part_of": state.group,
        "parts": {identity: dict(where) for identity, where in state.parts.items()},
        "split_from": state.split_from,
        "ended_at": state.ended_at,
    }


async def keep(connection: AsyncConnection, state: Finding) -> None:
    make = sqlite_insert if connection.dialect.name == "sqlite" else postgres_insert
    row = finding_row(state)
    statement: Any = make(tables.findings)
    replaced = {name: statement.excluded[name] for name in row if name != "finding_id"}
    await connection.execute(statement.on_conflict_do_update(index_elements=["finding_id"], set_=replaced), [row])


__all__ = [
    "ESCALATE",
    "JOIN",
    "JUDGE_ACTION",
    "carry_out",
    "finding_row",
    "keep",
    "load",
    "open_finding",
    "open_for",
    "slice_key",
    "stream_of",
]
