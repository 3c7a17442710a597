"""Feedback's part of `lazo verify`: cases and requests as they stand against a fold of the events they follow from."""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from sqlalchemy import Column, Table, select
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.events.catalogue import decode
from libs.events.engines import reading
from libs.events.errors import describe
from libs.events.row_checks import row_breaks, stream_rows
from libs.events.store.drafts import events_of
from libs.events.verification import Break
from libs.service.environment import Environment
from services.feedback import tables
from services.feedback.domain.case import Case, fold
from services.feedback.rows import case_row, request_row

PAGE = 500  # cases at a time

# Not of the fold: the address is gone with the person, the hash is keyed, the stamp is of the writing.
_NOT_COMPARED = frozenset({"reply_channel", "token_hash", "stamp"})


async def verify(environment: Environment) -> list[Break]:
    """What does not hold; an empty list when everything does. Memory grows with the page, not with the cases."""
    cases, requests, events = tables.cases, tables.requests, tables.MACHINERY.events
    async with reading(environment.engine("feedback")) as connection:
        found = await stream_rows(connection, "feedback", cases, cases.c.case_id, "case/")
        named = {each.detail.get("row") for each in found}
        unreadable: list[Break] = []
        wrong_cases: list[str] = []
        wrong_requests: list[str] = []
        async for states in _folded(connection, unreadable):
            wanted = {state.case_id: case_row(state) for state in states if state.case_id not in named}
            wrong_cases += await _wrong(connection, cases, cases.c.case_id, wanted)
            wrong_requests += await _wrong(connection, requests, requests.c.request_id, dict(_request_rows(states)))
        event = select(events.c.id).where(events.c.id == requests.c.event_id).exists()
        foreign = (await connection.execute(select(requests.c.request_id).where(~event))).scalars().all()
        found += unreadable
        found += row_breaks("feedback/cases", wrong_cases, [])
        found += row_breaks("feedback/requests", wrong_requests, list(foreign))
        return found


async def _wrong(
    connection: AsyncConnection, table: Table, key: Column[str], wanted: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    query = select(table).where(key.in_(wanted))
    there = {row[key.name]: row for row in (await connection.execute(query)).mappings()}
    return [id for id, row in wanted.items() if _differs(there.get(id), row)]


def _differs(stored: Mapping[Any, Any] | None, wanted: Mapping[str, Any]) -> bool:
    return stored is None or any(stored[name] != value for name, value in wanted.items() if name not in _NOT_COMPARED)


def _request_rows(states: Sequence[Case]) -> Iterator[tuple[str, dict[str, Any]]]:
    for state in states:
        for id, request in state.requests.items():
            yield id, request_row(request, state.opened.language or "es", None)


async def _folded(connection: AsyncConnection, unreadable: list[Break]) -> AsyncIterator[list[Case]]:
    """Every case there are events of, a page at a time, by a fold; a stream that cannot be folded is noted instead."""
    events = tables.MACHINERY.events
    columns = [column for column in events.c if column.name != "fingerprint"]
    after = ""
    while True:
        openings = select(events.c.stream).where(events.c.version == 1, events.c.stream > after)
        openings = openings.where(events.c.stream.like("case/%")).order_by(events.c.stream).limit(PAGE)
        streams = list((await connection.execute(openings)).scalars())
        if not streams:
            return
        query = select(*columns).where(events.c.stream.in_(streams)).order_by(events.c.stream, events.c.version)
        rows = (await connection.execute(query)).all()
        states = []
        for stream, of_stream in groupby(events_of(rows, "/lazo/feedback"), key=lambda event: event.subject):
            try:
                state = fold(decode(event) for event in of_stream)
            except (ValueError, LookupError) as error:  # an altered event, or one that another needs is gone
                unreadable.append(Break(f"feedback/{stream}", "unreadable", {"error": describe(error)}))
            else:
                assert state is not None  # there is an opening
                states.append(state)
        yield states
        after = streams[-1]
