"""Reads for the API: plain functions over the tables, and over the sealed events where a text is asked for."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, false, or_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.events.catalogue.base import EventData
from libs.events.catalogue.feedback import FeedbackRequested
from libs.events.envelope import Event
from libs.events.sealing import opened
from libs.events.store.drafts import events_of
from libs.events.vault import Vault
from services.feedback import tables
from services.feedback.domain.calendars import Calendar, Term
from services.feedback.domain.case import FINISHED, STATUSES
from services.feedback.domain.requests import RANKS

CASE_STATES = ("open", "finished", *STATUSES)
REQUEST_STATES = ("pending", "open", "closed", "all", "answered", "expired", *RANKS)

_EVENTS = [column for column in tables.MACHINERY.events.c if column.name != "fingerprint"]


async def cases(
    connection: AsyncConnection,
    *,
    now: datetime,
    state: str | None,
    customer: str | None,
    overdue: bool | None,
    after: Sequence[Any] | None,
    limit: int,
) -> list[dict[str, Any]]:
    """Cases, newest first, one more than `limit` when there are more."""
    table = tables.cases
    wanted: list[ColumnElement[bool]] = []
    if state in {"open", "finished"}:
        wanted.append(table.c.status.in_(FINISHED) if state == "finished" else table.c.status.not_in(FINISHED))
    elif state is not None:
        wanted.append(table.c.status == state)
    if customer is not None:
        wanted.append(table.c.customer_id == customer)
    if overdue is not None:
        late = and_(table.c.awaited.is_(True), table.c.due_at < now)
        wanted.append(late if overdue else ~late)
    if after is not None:
        received, case_id = datetime.fromisoformat(after[0]), after[1]
        wanted.append(
            or_(table.c.received_at < received, and_(table.c.received_at == received, table.c.case_id < case_id))
        )
    query = select(table).where(*wanted).order_by(table.c.received_at.desc(), table.c.case_id.desc()).limit(limit + 1)
    return [case_view(row, now) for row in (await connection.execute(query)).mappings()]


def case_view(row: Mapping[Any, Any], now: datetime) -> dict[str, Any]:
    """A case as the API shows it; overdue is judged at `now`."""
    shown = dict(row)
    awaited = shown.pop("awaited")
    del shown["stamp"]
    return shown | {"overdue": bool(awaited and row["due_at"] < now), "reachable": row["reply_channel"] is not None}


async def moved(connection: AsyncConnection, calendar: Callable[[str], Calendar]) -> list[dict[str, Any]]:
    """Cases still awaited whose due date the calendars of today would put elsewhere: a holiday declared late, a pack
    corrected (G9). What was promised stands in the events; what to do about the difference is for people."""
    table = tables.cases
    columns = (table.c.case_id, table.c.case_ref, table.c.received_at, table.c.due_at, table.c.term)
    # A reopened case runs its term from the reopening, which is computed anew each time.
    query = select(*columns).where(table.c.awaited.is_(True), table.c.reopenings == 0).order_by(table.c.due_at)
    found = []
    for row in (await connection.execute(query)).mappings():
        term = row["term"]
        now_due = Term(int(term["amount"]), term["unit"], bool(term.get("roll"))).end(
            row["received_at"], calendar(str(term.get("regime", "")))
        )
        if now_due != row["due_at"]:
            found.append({**row, "would_be_due_at": now_due})
    return found


def case_position(item: Mapping[str, Any]) -> list[Any]:
    return [item["received_at"].isoformat(), item["case_id"]]


async def case(connection: AsyncConnection, case_id: str, now: datetime) -> dict[str, Any] | None:
    """One case, without its history."""
    row = (await connection.execute(select(tables.cases).where(tables.cases.c.case_id == case_id))).mappings().first()
    return None if row is None else case_view(row, now)


async def history(connection: AsyncConnection, vault: Vault, case_id: str) -> list[dict[str, Any]]:
    """Everything that happened to a case, in the order it was written, texts in the clear (None where erased)."""
    table = tables.MACHINERY.events
    query = select(*_EVENTS).where(table.c.stream == f"case/{case_id}").order_by(table.c.version)
    events = events_of((await connection.execute(query)).all(), "/lazo/feedback")
    return [
        {
            "version": event.streamversion,
            "id": event.id,
            "type": event.type,
            "time": event.time,
            "recordedtime": event.recordedtime,
            # Whoever holds the token may answer in the customer's name: it goes to the channel and to nobody else.
            "data": data.model_dump(mode="json", exclude_none=True, exclude={"token", "case_id", "customer_id"}),
        }
        for event, data in zip(events, await opened(vault, events), strict=True)
    ]


async def timers(
    connection: AsyncConnection,
    *,
    kind: str | None,
    case_id: str | None,
    before: datetime | None,
    after: Sequence[Any] | None,
    limit: int,
) -> list[dict[str, Any]]:
    """What falls due, earliest first. `case_id` finds the timers of the case itself, not those of its requests."""
    table = tables.MACHINERY.timers
    wanted: list[ColumnElement[bool]] = []
    if kind is not None:
        wanted.append(table.c.kind == kind)
    if case_id is not None:
        wanted.append(table.c.key == case_id)
    if before is not None:
        wanted.append(table.c.due < before)
    if after is not None:
        due = datetime.fromisoformat(after[0])
        wanted.append(
            or_(
                table.c.due > due, and_(table.c.due == due, tuple_(table.c.kind, table.c.key) > tuple_(*map(str, after[1:])))
            )
        )  # fmt: skip
    query = (
        select(table.c.kind, table.c.key, table.c.due)
        .where(*wanted)
        .order_by(table.c.due, table.c.kind, table.c.key)
        .limit(limit + 1)
    )
    return [dict(row) for row in (await connection.execute(query)).mappings()]


def timer_position(item: Mapping[str, Any]) -> list[Any]:
    return [item["due"].isoformat(), item["kind"], item["key"]]


async def requests(
    connection: AsyncConnection,
    *,
    channel: str | None,
    state: str,
    case_id: str | None,
    now: datetime,
    after: Sequence[Any] | None,
    limit: int,
) -> list[dict[str, Any]]:
    """Rows of requests, oldest first. `pending`: to be sent now; what is past its end is not, even before its timer ran."""
    table = tables.requests
    wanted: list[ColumnElement[bool]] = []
    match state:
        case "pending":
            wanted += [table.c.pending.is_(True), or_(table.c.expires_at.is_(None), table.c.expires_at > now)]
        case "open":
            wanted.append(table.c.closed.is_(False))
        case "closed":
            wanted.append(table.c.closed.is_(True))
        case "all":
            pass
        case _ if state in REQUEST_STATES:
            wanted.append(table.c.status == state)
        case _:
            wanted.append(false())
    if channel is not None:
        wanted.append(table.c.channel == channel)
    if case_id is not None:
        wanted.append(table.c.case_id == case_id)
    if after is not None:
        at, id = datetime.fromisoformat(after[0]), after[1]
        wanted.append(or_(table.c.requested_at > at, and_(table.c.requested_at == at, table.c.request_id > id)))
    query = select(table).where(*wanted).order_by(table.c.requested_at, table.c.request_id).limit(limit + 1)
    return [dict(row) for row in (await connection.execute(query)).mappings()]


def request_position(item: Mapping[str, Any]) -> list[Any]:
    return [item["requested_at"].isoformat(), item["request_id"]]


def request_view(row: Mapping[Any, Any]) -> dict[str, Any]:
    """A request without address, text and token."""
    hidden = {"event_id", "token_hash", "pending", "closed"}
    return {name: value for name, value in row.items() if name not in hidden}


async def letters(
    connection: AsyncConnection, vault: Vault, rows: Sequence[Mapping[str, Any]]
) -> dict[str, FeedbackRequested]:
    """Address, text and token of requests, opened; an erased person's are missing."""
    events = await _events(connection, [row["event_id"] for row in rows])
    data: list[EventData] = await opened(vault, events)
    return {each.request_id: each for each in data if isinstance(each, FeedbackRequested) and each.address is not None}


async def _events(connection: AsyncConnection, ids: Sequence[str]) -> list[Event]:
    table = tables.MACHINERY.events
    rows = (await connection.execute(select(*_EVENTS).where(table.c.id.in_(ids)))).all() if ids else []
    return events_of(rows, "/lazo/feedback")


async def request_rows(connection: AsyncConnection, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    query = select(tables.requests).where(tables.requests.c.request_id.in_(ids))
    return {row["request_id"]: dict(row) for row in (await connection.execute(query)).mappings()}


async def request_by_token(connection: AsyncConnection, token_hash: bytes) -> dict[str, Any] | None:
    query = select(tables.requests).where(tables.requests.c.token_hash == token_hash)
    row = (await connection.execute(query)).mappings().first()
    return None if row is None else dict(row)
