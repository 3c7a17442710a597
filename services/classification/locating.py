"""Which finding a systemic slice belongs to: one failure, one finding, by the narrowest name; the others are its members (R11)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import Select, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.events.bulk import rows_of
from libs.events.catalogue.findings import Verdict, VerdictReached
from libs.events.offload import offload
from services.classification import tables
from services.classification.counting import PEERS
from services.classification.desk import open_for, slice_key
from services.classification.domain.localisation import Contact
from services.classification.domain.narrowing import DIMENSIONS, holds, member_of, narrow, placed, reach
from services.classification.domain.natures import Reading
from services.classification.domain.slices import WHY
from services.classification.joining import DIMENSIONS as HELD
from services.classification.joining import within
from services.classification.waiting import Waiting

LATELY = 28
"""Days after its beginning in which a wide finding may turn out to be of one narrow slice; later that is another failure."""


@dataclass(frozen=True, slots=True)
class Moved:
    """A watched slice that rose: its series, motive and place there, as attribute values, and the window that says so."""

    series: str
    motive: str
    place: str
    where: Mapping[str, str]
    first: date
    last: date
    chronic: bool
    wide: bool = False


@dataclass(frozen=True, slots=True)
class Home:
    """The finding and the values it is named by. `known`: it was opened before."""

    finding_id: str
    where: Mapping[str, str]
    known: bool


class Locating:
    """Contacts of a window are read once for all slices that moved in it on that day: one failure moves twenty."""

    def __init__(self, waiting: Waiting) -> None:
        self._waiting = waiting
        self._of: tuple[object, date, int] | None = None
        self._held: Sequence[Contact] = ()

    async def home(self, connection: AsyncConnection, moved: Moved, finding_id: str) -> Home:
        """The finding of a slice: its own, the open one it is a member of, the open one that explains it; else a new one,
        `finding_id`."""
        table = tables.findings
        own = (await connection.execute(select(table).where(table.c.finding_id == finding_id))).one_or_none()
        if own is not None:
            return Home(finding_id, own.slice, known=True)
        verdicts = tables.verdicts
        member = _member(moved.series, moved.motive, moved.place).where(table.c.open)
        row = (await connection.execute(member.order_by(verdicts.c.start, table.c.finding_id).limit(1))).first()
        if row is not None:
            return Home(row.finding_id, row.slice, known=True)
        held = await open_for(connection, slice_key(moved.where))
        if held is not None:
            return Home(held, moved.where, known=True)
        # In an order that the facts give, not the moment of opening: what is imported opens all at once.
        query = (
            select(table.c.finding_id, table.c.slice, table.c.since, verdicts.c.series)
            .join(verdicts, verdicts.c.verdict_id == table.c.verdict_id, isouter=True)
            .where(table.c.open)
            .order_by(table.c.since, table.c.finding_id)
        )
        open_ = [one for one in await connection.execute(query) if one.slice.keys() <= set(DIMENSIONS)]
        if moved.chronic:
            # A place that stands out among its peers is explained by what is known to fail there; a rise everywhere explains nothing.
            for one in open_:
                if all(one.slice.get(name) == value for name, value in moved.where.items()):
                    return Home(one.finding_id, one.slice, known=True)
            return Home(finding_id, moved.where, known=False)
        # A place that was bad from the beginning is in what is expected already, and explains no rise.
        open_ = [one for one in open_ if one.series != PEERS]
        days = (moved.last - moved.first).days + 1
        where = moved.where
        if moved.wide:
            of_slice = await _contacts(connection, moved.last, reach(days), self._waiting, where)
            told = [one.slice for one in open_]
            number = await offload(member_of, of_slice, moved.last, days, where, told)
            if number is not None:
                return Home(open_[number].finding_id, open_[number].slice, known=True)
            if where.keys() & WHY or where.keys() in ({"motive"}, {"touchpoint"}):
                where = await offload(placed, of_slice, moved.last, days, where)
                held = await open_for(connection, slice_key(where))
                if held is not None:
                    return Home(held, where, known=True)
            if where.keys() & WHY:
                return Home(finding_id, where, known=False)
        contacts = await self._contacts(connection, moved.last, reach(days))
        found = await offload(narrow, contacts, moved.last, days, where, [one.slice for one in open_])
        if found.known is not None:
            one = open_[found.known]
            return Home(one.finding_id, one.slice, known=True)
        # A wide slice with much of everything may have spoken before the narrow one in which it fails.
        lately = self._waiting.midnight(moved.last - timedelta(days=LATELY))
        wider = [one for one in open_ if one.since >= lately and one.slice.items() < where.items()]
        if wider:
            told = [one.slice for one in wider]
            number = await offload(holds, contacts, moved.last, days, where, told)
            if number is not None:
                return Home(wider[number].finding_id, wider[number].slice, known=True)
        held = await open_for(connection, slice_key(found.where))
        return Home(held or finding_id, found.where, known=held is not None)

    async def _contacts(self, connection: AsyncConnection, through: date, days: int) -> Sequence[Contact]:
        if self._of is None or self._of[0] is not connection or self._of[1:] != (through, days):
            self._held = await _contacts(connection, through, days, self._waiting)
            self._of = (connection, through, days)
        return self._held


async def is_member(connection: AsyncConnection, series: str, motive: str, place: str, day: datetime) -> bool:
    """Whether a slice belongs to a finding that is open, or was on that day."""
    table = tables.findings
    query = _member(series, motive, place).where(or_(table.c.open, table.c.ended_at >= day)).limit(1)
    return (await connection.execute(query)).first() is not None


def _member(series: str, motive: str, place: str) -> Select[Any]:
    table, verdicts = tables.findings, tables.verdicts
    return (
        select(table)
        .join(verdicts, verdicts.c.finding_id == table.c.finding_id)
        .where(
            verdicts.c.series == series,
            verdicts.c.motive == motive,
            verdicts.c.place == place,
            verdicts.c.verdict == Verdict.SYSTEMIC.value,
        )
    )


async def read_before(connection: AsyncConnection, finding_id: str) -> Reading | None:
    """What the evidence of a finding's own verdict said of its nature: its members are not read again one by one."""
    table, v = tables.findings, tables.verdicts
    query = select(v.c.data).join(table, table.c.verdict_id == v.c.verdict_id).where(table.c.finding_id == finding_id)
    row = (await connection.execute(query)).first()
    if row is None:
        return None
    said = VerdictReached.model_validate(row.data)
    return Reading(said.nature, said.natures, said.reasons)


async def _contacts(
    connection: AsyncConnection, through: date, days: int, waiting: Waiting, where: Mapping[str, str] | None = None
) -> Sequence[Contact]:
    p = tables.particulars
    start, end = waiting.midnight(through - timedelta(days=days - 1)), waiting.midnight(through + timedelta(days=1))
    query = select(p.c.occurred_at, p.c.customer_id, *(p.c[name] for name in HELD)).where(
        p.c.counted, p.c.occurred_at >= start, p.c.occurred_at < end, *within(where or {})
    )
    rows = await rows_of(connection, query.order_by(p.c.interaction_id))
    return await offload(_made, rows, waiting)


def _made(rows: Sequence[Any], waiting: Waiting) -> list[Contact]:
    return [
        Contact(
            row.occurred_at.astimezone(waiting.zone).date(),
            row.customer_id,
            {name: value for name, value in zip(HELD, row[2:], strict=True) if value},
        )
        for row in rows
    ]
