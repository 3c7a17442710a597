"""What became of cases, as evidence: upheld or explained, by which procedure, and whether the customer says that it helped."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.events import bulk
from libs.events.catalogue import decode
from libs.events.catalogue.base import EventData
from libs.events.catalogue.feedback import CaseOpened, CaseResolved, CaseResponded, FeedbackAnswered
from libs.events.envelope import Event
from libs.events.store import Unit
from services.classification import tables
from services.classification.joining import within

TYPES: tuple[type[EventData], ...] = (CaseOpened, CaseResponded, CaseResolved, FeedbackAnswered)
_EMPTY: Mapping[str, Any] = {column.name: None for column in tables.outcomes.c}


def evolve(row: Mapping[str, Any] | None, data: EventData) -> dict[str, Any] | None:
    """The row after one more event; in whatever order they come, the latest by its own time stands."""
    case_id: str | None = getattr(data, "case_id", None)
    if case_id is None:
        return None
    now = dict(row or _EMPTY) | {"case_id": case_id, "customer_id": data.customer_id}  # type: ignore[attr-defined]  # every type of TYPES has it
    match data:
        case CaseOpened():
            now["interaction_id"] = data.interaction_id
        case CaseResolved() if now["outcome_at"] is None or now["outcome_at"] <= data.at:
            now |= {"outcome": data.outcome, "outcome_at": data.at}
        case FeedbackAnswered() if data.helped and (now["answered_at"] is None or now["answered_at"] <= data.at):
            now |= {"helped": data.helped, "score": data.score, "answered_at": data.at}
        case _:
            pass
    procedure = getattr(data, "procedure", None)
    if procedure and (now["procedure_at"] is None or now["procedure_at"] <= data.at):  # type: ignore[attr-defined]  # what names a procedure says when
        now |= {"procedure": procedure, "procedure_at": data.at}  # type: ignore[attr-defined]  # the same
    return now


def fold(events: Iterable[EventData]) -> dict[str, dict[str, Any]]:
    """The table as the events alone make it."""
    found: dict[str, dict[str, Any]] = {}
    for data in events:
        case_id = getattr(data, "case_id", None)
        row = None if case_id is None else evolve(found.get(case_id), data)
        if row is not None:
            found[row["case_id"]] = row
    return found


async def take(unit: Unit, events: Sequence[Event]) -> None:
    """Projector: put down what is new of each case."""
    await put_down(unit, [data for data in map(decode, events) if isinstance(data, TYPES)])


async def put_down(unit: Unit, facts: Sequence[EventData]) -> None:
    """The rows of the cases these facts are about."""
    table = tables.outcomes
    ids = {case_id for data in facts if (case_id := getattr(data, "case_id", None)) is not None}
    if not ids:
        return
    held = {
        row.case_id: dict(row._mapping)  # noqa: SLF001  # the public way to a row's names
        for row in await unit.connection.execute(select(table).where(table.c.case_id.in_(ids)))
    }
    changed: dict[str, dict[str, Any]] = {}
    for data in facts:
        case_id = getattr(data, "case_id", None)
        row = None if case_id is None else evolve(held.get(case_id), data)
        if row is not None and row != held.get(row["case_id"]):
            held[row["case_id"]] = changed[row["case_id"]] = row
    await bulk.write(unit.connection, table, list(changed.values()), key=["case_id"])


async def helped(
    connection: AsyncConnection, where: Mapping[str, str], since: datetime, until: datetime
) -> tuple[int, int]:
    """Customers of a slice who said that it got better, and that it got worse (R51), of contacts in [`since`, `until`).

    One voice each, the newest. Those whose contact came before are not asked: their answer is about how things were then.
    """
    o, p = tables.outcomes, tables.particulars
    query = (
        select(o.c.customer_id, o.c.helped)
        .select_from(o.join(p, p.c.interaction_id == o.c.interaction_id))
        .where(p.c.counted, p.c.occurred_at >= since, p.c.occurred_at < until, o.c.helped.is_not(None), *within(where))
        .order_by(o.c.answered_at, o.c.case_id)
    )
    voices = {row.customer_id: row.helped for row in await connection.execute(query)}
    said = list(voices.values())
    return said.count("better"), said.count("worse")
