"""Findings on the store: commands decided on their stream, and the row that follows from it."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from pydantic_core import to_jsonable_python
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.events.catalogue import decode
from libs.events.catalogue.findings import ActionImplemented, FindingOpened
from libs.events.envelope import Event
from libs.events.ids import natural_id
from libs.events.store import Cause, Draft, Unit
from services.classification import tables
from services.classification.domain.findings import Command, Finding, decide, evolve, fold, judgement_due
from services.classification.waiting import Waiting

JUDGE_ACTION = "judge-action"


def stream_of(finding_id: str) -> str:
    return f"finding/{finding_id}"


def slice_key(slice_: Mapping[str, str]) -> str:
    return "|".join(f"{name}={slice_[name]}" for name in sorted(slice_))


async def load(unit: Unit, finding_id: str) -> Finding | None:
    return fold([decode(event) for event in await unit.stream(stream_of(finding_id))])


async def carry_out(
    unit: Unit, finding_id: str, command: Command, waiting: Waiting, *, cause: Event | Cause | None = None
) -> Finding:
    """Decide and write down; the finding afterwards. Raises Refused, ConcurrencyConflict."""
    state = await load(unit, finding_id)
    for data in decide(state, command, unit.now):
        assert state is not None
        draft = Draft(stream=stream_of(finding_id), data=data, key=finding_id, time=unit.now, cause=cause)
        unit.emit(draft, expected=state.version)
        state = evolve(state, data)
        assert state is not None
        if isinstance(data, ActionImplemented) and state.action is not None:
            due = judgement_due(state.action, waiting.quiet)
            assert due is not None
            unit.schedule(JUDGE_ACTION, state.action.action_id, max(due, unit.now), {"finding": finding_id})
    assert state is not None
    await unit.flush()
    await keep(unit.connection, state)
    return state


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
    }


async def keep(connection: AsyncConnection, state: Finding) -> None:
    make = sqlite_insert if connection.dialect.name == "sqlite" else postgres_insert
    row = finding_row(state)
    statement: Any = make(tables.findings)
    replaced = {name: statement.excluded[name] for name in row if name != "finding_id"}
    await connection.execute(statement.on_conflict_do_update(index_elements=["finding_id"], set_=replaced), [row])
