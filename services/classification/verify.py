"""Classification's part of `lazo verify`: its tables against its own events."""

from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.events.catalogue import decode
from libs.events.catalogue.classifications import InteractionClassified
from libs.events.engines import reading
from libs.events.errors import describe
from libs.events.row_checks import row_breaks, stream_rows
from libs.events.store.drafts import events_of
from libs.events.verification import Break
from libs.service.environment import Environment
from services.classification import tables

PAGE = 2_000

_OF_STREAMS = (
    (tables.decisions, tables.decisions.c.interaction_id, "classification/"),
    (tables.second_codings, tables.second_codings.c.interaction_id, "second-coding/"),
    (tables.findings, tables.findings.c.finding_id, "finding/"),
    (tables.verdicts, tables.verdicts.c.verdict_id, "verdict/"),
    (tables.recodings, tables.recodings.c.recoding_id, "recoding/"),
)
_COMPARED = ("customer_id", "occurred_at", "motive", "cause", "confidence", "review", "revision", "rulebook_version",
             "model_version")  # fmt: skip


async def verify(environment: Environment) -> list[Break]:
    """What does not hold; an empty list when everything does. What stands for a stream is there, and a decision in force is
    the newest of its stream."""
    found: list[Break] = []
    async with reading(environment.engine("classification")) as connection:
        for table, column, prefix in _OF_STREAMS:
            found += await stream_rows(connection, "classification", table, column, prefix)
        named = {each.detail.get("row") for each in found}
        found += await _decisions(connection, named)
    return found


async def _decisions(connection: AsyncConnection, named: set[Any]) -> list[Break]:
    events, table = tables.MACHINERY.events, tables.decisions
    columns = [column for column in events.c if column.name != "fingerprint"]
    newest = (
        select(events.c.stream, func.max(events.c.version).label("version"))
        .where(events.c.stream.like("classification/%"))
        .group_by(events.c.stream)
    )
    unreadable: list[Break] = []
    wrong: list[str] = []
    after = ""
    while True:
        page = newest.where(events.c.stream > after).order_by(events.c.stream).limit(PAGE).subquery()
        query = select(*columns).join(page, (events.c.stream == page.c.stream) & (events.c.version == page.c.version))
        rows = (await connection.execute(query.order_by(events.c.stream))).all()
        if not rows:
            return unreadable + row_breaks("classification/decisions", wrong, [])
        decided: dict[str, InteractionClassified] = {}
        for event in events_of(rows, "/lazo/classification"):
            after = event.subject
            try:
                data = decode(event)
            except ValueError as error:  # an altered event
                unreadable.append(Break(f"classification/{event.subject}", "unreadable", {"error": describe(error)}))
                continue
            if isinstance(data, InteractionClassified):
                decided[data.interaction_id] = data
        there = {
            row["interaction_id"]: row
            for row in (await connection.execute(select(table).where(table.c.interaction_id.in_(decided)))).mappings()
        }
        wrong += [
            id
            for id, data in decided.items()
            if id not in named and any(there[id][name] != getattr(data, name) for name in _COMPARED)
        ]
