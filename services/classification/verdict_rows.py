"""Rows behind verdicts: what was said of an episode, and the contacts of its window."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.events.catalogue.findings import VerdictReached
from services.classification import tables
from services.classification.domain.slices import PEERED, by_name
from services.classification.domain.watch import Key, Watch

NEWEST = 500


@dataclass(frozen=True, slots=True)
class Contacts:
    newest: list[str]
    customers: int
    contacts: int
    since: Any


async def contacts_of(
    connection: AsyncConnection, series: str, motive: str, place_: str, first: date, last: date
) -> Contacts:
    """What a slice's window holds: both days included."""
    table = tables.contacts
    where = (by_name(series) or PEERED).slice_of(motive, place_)
    within = (table.c.counted, *(table.c[name] == value for name, value in where))
    window = (*within, table.c.day >= first, table.c.day <= last)
    newest = select(table.c.interaction_id).where(*window).order_by(table.c.occurred_at.desc(), table.c.interaction_id)
    ids = list((await connection.execute(newest.limit(NEWEST))).scalars())
    sums = select(func.count(table.c.customer_id.distinct()), func.count(), func.min(table.c.occurred_at)).where(
        *window
    )
    customers, contacts, since = (await connection.execute(sums)).one()
    return Contacts(ids, customers, contacts, since)


async def said_of(connection: AsyncConnection, watch: Watch) -> set[Key]:
    """The slices of which something was said that stands, or of which something is to be said."""
    table = tables.verdicts
    query = select(table.c.series, table.c.motive, table.c.place).where(table.c.withdrawn.is_(False)).distinct()
    found = {watch.keys[row] for row, _ in watch.trails_by_row()}
    for name, motive, place in await connection.execute(query):
        series = by_name(name)
        if series is not None and (key := series.slice_of(motive, place)) in watch.index:
            found.add(key)
    return found


async def rows_of(connection: AsyncConnection, series: str, motive: str, place: str) -> list[dict[str, Any]]:
    table = tables.verdicts
    query = select(table).where(table.c.series == series, table.c.motive == motive, table.c.place == place)
    return [dict(row._mapping) for row in await connection.execute(query.order_by(table.c.start))]  # noqa: SLF001  # the public way to a row's names


def verdict_row(
    data: VerdictReached, series: str, place: str, start: date, ended: date | None, steps: Sequence[Any]
) -> dict[str, Any]:
    """The row of a verdict's newest revision."""
    return {
        "verdict_id": data.verdict_id,
        "finding_id": data.finding_id,
        "series": series,
        "motive": data.slice.get("motive", ""),
        "place": place,
        "start": start,
        "ended": ended,
        "verdict": data.verdict.value,
        "nature": data.nature.value,
        "revision": data.revision,
        "withdrawn": False,
        "steps": list(steps),
        "data": data.model_dump(mode="json"),
    }


async def keep_row(connection: AsyncConnection, row: dict[str, Any]) -> None:
    make = sqlite_insert if connection.dialect.name == "sqlite" else postgres_insert
    statement: Any = make(tables.verdicts)
    replaced = {name: statement.excluded[name] for name in row if name != "verdict_id"}
    await connection.execute(statement.on_conflict_do_update(index_elements=["verdict_id"], set_=replaced), [row])
