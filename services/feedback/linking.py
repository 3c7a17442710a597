"""Open cases of a systemic cause are told so (DISP 1.3.3R): a finding names contacts, and each one's case learns of it."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import and_, delete, select
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.events.catalogue import decode
from libs.events.catalogue.findings import FindingJoined
from libs.events.envelope import Event
from libs.events.ids import natural_id
from libs.events.offload import each
from libs.events.store import Unit
from services.feedback import tables
from services.feedback.desk import Desk, Origin, Task
from services.feedback.domain.decide import Link
from services.feedback.meeting import meet


class Linking:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def take(self, unit: Unit, events: Sequence[Event]) -> None:
        """Reactor: tell the cases there are; what has no case yet waits for it."""
        decoded = zip(events, await each(decode, events), strict=True)
        told = [(event, data) for event, data in decoded if isinstance(data, FindingJoined)]
        contacts = {identity for _, data in told for identity in data.interaction_ids}
        await meet(unit, (), contacts)
        for event, data in told:
            await self._write(unit.connection, event, data)
        table = tables.cases
        query = select(table.c.case_id, table.c.interaction_id).where(
            table.c.interaction_id.in_(contacts), table.c.open.is_(True)
        )
        cases = {row.interaction_id: row.case_id for row in await unit.connection.execute(query)} if contacts else {}
        tasks = [
            link_of(cases[identity], data.finding_id, data.nature.value, data.title, event)
            for event, data in told
            for identity in data.interaction_ids
            if identity in cases
        ]
        if tasks:
            await self._desk.apply(unit, tasks)

    @staticmethod
    async def _write(connection: AsyncConnection, event: Event, data: FindingJoined) -> None:
        table = tables.links
        if data.left:
            gone = and_(table.c.finding_id == data.finding_id, table.c.interaction_id.in_(data.left))
            await connection.execute(delete(table).where(gone))
        if not data.interaction_ids:
            return
        rows = [
            {
                "interaction_id": identity,
                "finding_id": data.finding_id,
                "nature": data.nature.value,
                "title": dict(data.title),
                "event_id": event.id,
                "correlationid": event.correlationid,
                "traceparent": event.traceparent,
            }
            for identity in data.interaction_ids
        ]
        insert = sqlite_insert if connection.dialect.name == "sqlite" else postgres_insert
        await connection.execute(insert(table).on_conflict_do_nothing(), rows)


async def waiting(connection: AsyncConnection, contacts: dict[str, str]) -> list[Task]:
    """What findings have said already of contacts whose cases (by interaction) are being opened."""
    table = tables.links
    query = select(table).where(table.c.interaction_id.in_(contacts))
    return [
        link_of(
            contacts[row.interaction_id],
            row.finding_id,
            row.nature,
            row.title,
            Origin(row.event_id, row.correlationid, row.traceparent),
        )
        for row in await connection.execute(query.order_by(table.c.interaction_id, table.c.finding_id))
    ]


def link_of(case_id: str, finding_id: str, nature: str | None, title: Any, cause: Event | Origin) -> Task:
    """Taking it again gives the same event again."""
    return Task(case_id, Link(finding_id, nature, title), cause, natural_id("case-link", case_id, finding_id))
