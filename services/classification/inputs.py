"""What the monitor cannot see in complaints, written down: changes in the house, and exposure (how many could complain)."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import and_, func, select, tuple_
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.events.catalogue.inputs import ChangeRecorded, Exposure, ExposureRecorded
from libs.events.store import Draft, Unit
from services.classification import tables
from services.classification.domain.agreements import UNITS
from services.classification.teaching import slice_key

CHANGES, EXPOSURE = "changes", "exposure"
KINDS = (
    "procedure", "norm", "policy", "supplier", "release", "product", "campaign", "information", "staff", "other",
)  # fmt: skip
LEVELS = {"contracts"}
"""Units that are a level on each day; the others are a flow that a period adds up."""
PER_EVENT = 1_000


def change_row(event: ChangeRecorded) -> dict[str, Any]:
    return event.model_dump()


def fold_changes(events: Iterable[ChangeRecorded]) -> dict[str, dict[str, Any]]:
    """The table as the events alone make it."""
    return {event.change_id: change_row(event) for event in events}


async def record_changes(unit: Unit, found: Sequence[ChangeRecorded]) -> list[str]:
    """Write changes down; per change what became of it: recorded, corrected or same."""
    table = tables.changes
    ids = {one.change_id for one in found}
    held = {
        row.change_id: dict(row._mapping)  # noqa: SLF001  # the public way to a row's names
        for row in await unit.connection.execute(select(table).where(table.c.change_id.in_(ids)))
    }
    done: list[str] = []
    rows: dict[str, dict[str, Any]] = {}
    for one in found:
        before, row = held.get(one.change_id), change_row(one)
        if before is not None and _but(before, "recorded_at", "by") == _but(row, "recorded_at", "by"):
            done.append("same")
            continue
        done.append("recorded" if before is None else "corrected")
        held[one.change_id] = rows[one.change_id] = row
        unit.emit(Draft(stream=f"change/{one.change_id}", data=one, key=CHANGES, time=one.recorded_at))
    if rows:
        await _write(unit.connection, table, ["change_id"], list(rows.values()))
    return done


def _but(row: Mapping[str, Any], *without: str) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in without}


async def changes(
    connection: AsyncConnection,
    *,
    since: datetime | None,
    until: datetime | None,
    kind: str | None,
    after: Sequence[str] | None,
    limit: int,
) -> list[dict[str, Any]]:
    """Newest first, those that were taken back among them."""
    table = tables.changes
    query = select(table)
    if since is not None:
        query = query.where(table.c.at >= since)
    if until is not None:
        query = query.where(table.c.at < until)
    if kind is not None:
        query = query.where(table.c.kind == kind)
    if after is not None:
        at = datetime.fromisoformat(after[0])
        query = query.where((table.c.at < at) | and_(table.c.at == at, table.c.change_id > after[1]))
    query = query.order_by(table.c.at.desc(), table.c.change_id).limit(limit + 1)
    return [dict(row._mapping) for row in await connection.execute(query)]  # noqa: SLF001  # the public way to a row's names


Place = tuple[str, str, date, date]  # unit, slice, since, until


def exposure_row(event: ExposureRecorded, figure: Exposure) -> dict[str, Any]:
    return {
        "unit": figure.unit,
        "slice_key": slice_key(figure.slice),
        "since": figure.since,
        "until": figure.until,
        "slice": dict(figure.slice),
        "amount": figure.amount,
        "recorded_at": event.recorded_at,
        "by": event.by,
    }


def _place(row: Mapping[str, Any]) -> Place:
    return row["unit"], row["slice_key"], row["since"], row["until"]


def fold_exposure(events: Iterable[ExposureRecorded]) -> dict[Place, dict[str, Any]]:
    """The table as the events alone make it."""
    found: dict[Place, dict[str, Any]] = {}
    for event in events:
        for figure in event.figures:
            row = exposure_row(event, figure)
            found[_place(row)] = row
    return found


async def record_exposure(unit: Unit, figures: Sequence[Exposure], by: str) -> tuple[int, int]:
    """Write figures down; how many are new or different, and how many were known already."""
    table = tables.exposures
    event = ExposureRecorded(recorded_at=unit.now, by=by, figures=list(figures))
    rows = fold_exposure([event])
    columns = (table.c.unit, table.c.slice_key, table.c.since, table.c.until)
    known: dict[Place, float] = {}
    places = list(rows)
    for start in range(0, len(places), 500):
        query = select(*columns, table.c.amount).where(tuple_(*columns).in_(places[start : start + 500]))
        known |= {(row[0], row[1], row[2], row[3]): row.amount for row in await unit.connection.execute(query)}
    fresh = [figure for figure in figures if known.get(_of(figure)) != figure.amount]
    for start in range(0, len(fresh), PER_EVENT):
        said = ExposureRecorded(recorded_at=unit.now, by=by, figures=fresh[start : start + PER_EVENT])
        unit.emit(Draft(stream="exposure/figures", data=said, key=EXPOSURE, time=unit.now))
        await _write(
            unit.connection,
            table,
            ["unit", "slice_key", "since", "until"],
            list(fold_exposure([said]).values()),
        )
    return len(fresh), len(figures) - len(fresh)


def _of(figure: Exposure) -> Place:
    return figure.unit, slice_key(figure.slice), figure.since, figure.until


async def exposures(
    connection: AsyncConnection, *, unit: str | None, after: Sequence[str] | None, limit: int
) -> list[dict[str, Any]]:
    """Figures in order of unit, slice and period."""
    table = tables.exposures
    columns = (table.c.unit, table.c.slice_key, table.c.since, table.c.until)
    query = select(table)
    if unit is not None:
        query = query.where(table.c.unit == unit)
    if after is not None:
        place = (after[0], after[1], date.fromisoformat(after[2]), date.fromisoformat(after[3]))
        query = query.where(tuple_(*columns) > tuple_(*place))
    query = query.order_by(*columns).limit(limit + 1)
    return [dict(row._mapping) for row in await connection.execute(query)]  # noqa: SLF001  # the public way to a row's names


@dataclass(frozen=True, slots=True)
class Exposed:
    """Exposure of one unit by slice and day: what rates divide by. A day without a figure, or with zero, is unknown."""

    by_slice: Mapping[str, Sequence[tuple[date, date, float]]]
    unit: str

    def on(self, slice_: Mapping[str, str], day: date) -> float | None:
        """Contracts on the day, or orders and contacts of it; None where it is not known. Where figures overlap, the
        shortest period counts: a day's own figure before its month's."""
        best: tuple[int, float] | None = None
        for since, until, amount in self.by_slice.get(slice_key(slice_), ()):
            if since <= day <= until:
                days = (until - since).days + 1
                if best is None or days < best[0]:
                    best = (days, amount if self.unit in LEVELS else amount / days)
        return best[1] if best is not None and best[1] > 0 else None

    def over(self, slice_: Mapping[str, str], since: date, until: date) -> tuple[float, list[date]]:
        """The sum of days (contract-days, or orders or contacts) and the days that are not known."""
        total, missing = 0.0, []
        for number in range((until - since).days + 1):
            day = since + timedelta(days=number)
            amount = self.on(slice_, day)
            if amount is None:
                missing.append(day)
            else:
                total += amount
        return total, missing


async def exposed(connection: AsyncConnection, unit: str, since: date, until: date) -> Exposed:
    """The port of the monitor and of rates: all figures of a unit that touch these days."""
    table = tables.exposures
    query = select(table).where(table.c.unit == unit, table.c.since <= until, table.c.until >= since)
    found: dict[str, list[tuple[date, date, float]]] = defaultdict(list)
    for row in await connection.execute(query.order_by(table.c.since, table.c.until)):
        found[row.slice_key].append((row.since, row.until, row.amount))
    return Exposed(found, unit)


async def places_stamp(connection: AsyncConnection) -> tuple[Any, ...]:
    """Changes whenever a figure does."""
    table = tables.exposures
    query = select(func.count(), func.max(table.c.recorded_at), func.sum(table.c.amount))
    return tuple((await connection.execute(query)).one())


async def places(connection: AsyncConnection) -> dict[tuple[str, date, date], float]:
    """Per location and period its exposure a day, in the first unit (of `UNITS`) that any location has figures in."""
    table = tables.exposures
    for unit in UNITS:
        query = select(table.c.slice, table.c.since, table.c.until, table.c.amount).where(table.c.unit == unit)
        found: dict[tuple[str, date, date], float] = {}
        for row in await connection.execute(query):
            if row.slice.keys() == {"location"}:
                days = 1 if unit in LEVELS else (row.until - row.since).days + 1
                found[row.slice["location"], row.since, row.until] = row.amount / days
        if found:
            return found
    return {}


async def _write(connection: AsyncConnection, table: Any, key: list[str], rows: list[dict[str, Any]]) -> None:
    make = sqlite_insert if connection.dialect.name == "sqlite" else postgres_insert
    statement: Any = make(table)
    replaced = {name: statement.excluded[name] for name in rows[0] if name not in key}
    await connection.execute(statement.on_conflict_do_update(index_elements=key, set_=replaced), rows)
