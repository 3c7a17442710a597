"""What is known about a window of complaints beside their number: the evidence that natures are read from.

Windows are days of the monitor's zone, both included. Everything is counted from tables that follow from events: decisions
(`particulars`), what became of cases (`outcomes`), signatures, and recorded changes.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.events.catalogue.findings import Nature
from services.classification import tables
from services.classification.domain.natures import AFTER, BEFORE, Change, Seen, Share, Spread
from services.classification.domain.rulebook import Rulebook
from services.classification.joining import within
from services.classification.waiting import Waiting

BASELINE_DAYS = 182
GAP_DAYS = 14
"""The baseline of causes ends so long before the window: an onset is dated by days, and a drift by weeks."""
LEAST_DECIDED = 2
UPHELD = {"upheld", "partly_upheld"}


@dataclass(frozen=True, slots=True)
class Window:
    """Days of a slice, and whether the slice had a past without the failure (`chronic`: it never had)."""

    where: Mapping[str, str]
    first: date
    last: date
    chronic: bool = False


async def collect(
    connection: AsyncConnection, window: Window, book: Rulebook | None, waiting: Waiting, now: datetime
) -> Seen:
    """Everything that speaks about the nature of a window's complaints, as known `now`."""
    p = tables.particulars
    start, end = waiting.midnight(window.first), waiting.midnight(window.last + timedelta(days=1))
    inside = and_(p.c.counted, p.c.occurred_at >= start, p.c.occurred_at < end, *within(window.where))
    usual_start = start - timedelta(days=BASELINE_DAYS + GAP_DAYS)
    usual_end = start - timedelta(days=GAP_DAYS)
    usual: ColumnElement[bool] | None = and_(
        p.c.counted, p.c.occurred_at >= usual_start, p.c.occurred_at < usual_end, *within(window.where)
    )
    share = ((window.last - window.first).days + 1) / BASELINE_DAYS
    if window.chronic:
        usual, share = None, 0.0  # there is nothing to compare with
    rows = (
        await connection.execute(
            select(p.c.team, p.c.agent, p.c.supplier, p.c.procedure, p.c.procedure_version, p.c.signed).where(inside)
        )
    ).all()
    supplier, name = await _supplier(connection, rows, start, end)
    explained, upheld, followed = await _outcomes(connection, inside)
    return Seen(
        causes=await _causes(connection, inside, usual, share, book),
        explained=explained,
        upheld=upheld,
        followed=followed,
        known=await _known(connection, rows),
        spread=await _spread(connection, window, rows, start, end),
        supplier=supplier,
        supplier_name=name,
        changes=[] if window.chronic else await _changes(connection, window, waiting, now),
    )


async def _causes(
    connection: AsyncConnection,
    inside: ColumnElement[bool],
    usual: ColumnElement[bool] | None,
    share: float,
    book: Rulebook | None,
) -> dict[Nature, float]:
    """Customers above usual by the nature of their cause."""
    if book is None:
        return {}
    p = tables.particulars

    async def counted(which: ColumnElement[bool]) -> dict[str, int]:
        query = select(p.c.cause, func.count(p.c.customer_id.distinct()).label("n")).where(which).group_by(p.c.cause)
        return {row.cause: row.n for row in await connection.execute(query)}

    before = {} if usual is None else await counted(usual)
    found: dict[Nature, float] = {}
    for cause, count in sorted((await counted(inside)).items()):
        nature = book.nature_of(cause)
        above = count - before.get(cause, 0) * share
        if nature is not Nature.UNKNOWN and above > 0:
            found[nature] = found.get(nature, 0.0) + above
    return found


async def _outcomes(connection: AsyncConnection, inside: ColumnElement[bool]) -> tuple[Share, Share, Share]:
    """Explained of decided, upheld of decided, procedure in force followed of those that name one."""
    p, o = tables.particulars, tables.outcomes
    query = (
        select(o.c.outcome, o.c.procedure, p.c.procedure.label("in_force"))
        .select_from(o.join(p, p.c.interaction_id == o.c.interaction_id))
        .where(inside)
    )
    rows = (await connection.execute(query)).all()
    decided = [row.outcome for row in rows if row.outcome is not None]
    named = [(row.procedure, row.in_force) for row in rows if row.procedure and row.in_force]
    if len(decided) < LEAST_DECIDED:
        decided = []
    if len(named) < LEAST_DECIDED:
        named = []
    return (
        Share(float(sum(outcome == "explained" for outcome in decided)), float(len(decided))),
        Share(float(sum(outcome in UPHELD for outcome in decided)), float(len(decided))),
        Share(float(sum(used == ruling for used, ruling in named)), float(len(named))),
    )


async def _known(connection: AsyncConnection, rows: Sequence[Any]) -> Share:
    """Contacts whose team had signed, among those of procedures that anybody signs: no signatures at all say nothing."""
    s = tables.signatures
    named = {(row.procedure, row.procedure_version) for row in rows if row.signed is not None}
    if not named:
        return Share()
    query = select(s.c.procedure, s.c.version).distinct().where(s.c.procedure.in_({name for name, _ in named}))
    signed = {(row.procedure, row.version) for row in await connection.execute(query)}
    told = [row.signed for row in rows if row.signed is not None and (row.procedure, row.procedure_version) in signed]
    return Share(float(sum(told)), float(len(told)))


async def _spread(
    connection: AsyncConnection, window: Window, rows: Sequence[Any], start: datetime, end: datetime
) -> Spread | None:
    """Who has the largest share beyond what they have of everything else in these days; agents where they are named."""
    p = tables.particulars
    for name in ("agent", "team"):
        held = Counter(getattr(row, name) for row in rows if getattr(row, name))
        of = sum(held.values())
        if name in window.where or of < 5 or of < len(rows) / 2:
            continue
        column = p.c[name]
        query = (
            select(column, func.count())
            .where(p.c.counted, p.c.occurred_at >= start, p.c.occurred_at < end, column.is_not(None))
            .group_by(column)
        )
        everywhere: dict[str, int] = {who: count for who, count in await connection.execute(query)}  # noqa: C416  # rows are no pairs to mypy
        others = {who: count - held.get(who, 0) for who, count in everywhere.items()}
        total = sum(others.values())
        if total <= 0 or len(everywhere) < 2:
            continue
        usual = {who: count / total for who, count in others.items()}
        who = max(sorted(held), key=lambda one: held[one] / of - usual.get(one, 0.0))
        return Spread(who, held[who] / of, usual.get(who, 0.0), float(of))
    return None


async def _supplier(
    connection: AsyncConnection, rows: Sequence[Any], start: datetime, end: datetime
) -> tuple[Share | None, str | None]:
    """How many of the contacts one supplier's work is behind; None where these days name no supplier at all."""
    held = Counter(row.supplier for row in rows if row.supplier)
    if held:
        name, count = min(held.items(), key=lambda item: (-item[1], item[0]))
        return Share(float(count), float(len(rows))), name
    p = tables.particulars
    used = select(p.c.supplier).where(p.c.occurred_at >= start, p.c.occurred_at < end, p.c.supplier.is_not(None))
    if not rows or (await connection.execute(used.limit(1))).first() is None:
        return None, None
    return Share(0.0, float(len(rows))), None


async def _changes(connection: AsyncConnection, window: Window, waiting: Waiting, now: datetime) -> list[Change]:
    """Changes about the onset that are about the slice: those elsewhere, by the dimensions both name, are left out."""
    table = tables.changes
    onset = waiting.midnight(window.first)
    query = select(table).where(
        table.c.withdrawn.is_(False),
        table.c.at >= onset - timedelta(days=BEFORE + 1),
        table.c.at <= onset + timedelta(days=AFTER + 1),
        table.c.recorded_at <= now,
    )
    found = []
    for row in await connection.execute(query.order_by(table.c.at, table.c.change_id)):
        elsewhere = any(window.where.get(name, value) != value for name, value in row.where.items())
        if not elsewhere:
            found.append(Change(row.change_id, row.kind, round((onset - row.at).total_seconds() / 86_400, 2), row.what))
    return found
