"""The weekly sweep on the store: what rose together though no slice rose alone becomes one verdict and one finding (R11, G3).

It is asked by the monitor as days are judged (`until`), in the order of those days, so that history brought in at once opens what
the same facts would have opened as they came. A week is swept when it is over and once more a week later; a correction that comes after that is in the
past of the weeks after, and changes no finding. Cost: one scan of the contacts of half a
year (three at most), and some seconds of arithmetic off the event loop, whatever attributes hold: the rarer values of a free text are one value, and attributes
are left out, one after another, while there are more than `MOST_LEAVES` combinations.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from math import exp, log
from typing import Any

import numpy as np
from sqlalchemy import ColumnElement, case, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.events.bulk import rows_of
from libs.events.catalogue.findings import Evaluation, FindingOpened, Verdict, VerdictReached
from libs.events.envelope import Event
from libs.events.ids import natural_id
from libs.events.offload import offload
from libs.events.store import Cause, Draft, Unit
from services.classification import tables
from services.classification.books import Books
from services.classification.counting import PEERS, WATCHED
from services.classification.desk import open_finding, open_for, slice_key
from services.classification.domain.localisation.windows import MOST_VALUES, OTHER
from services.classification.domain.natures import METHOD as NATURE_METHOD
from services.classification.domain.natures import read
from services.classification.domain.numeric import upper_limit
from services.classification.domain.sweep import (
    LASTS,
    LEFT_OUT,
    METHOD,
    REACH,
    Risen,
    Tally,
    counted,
    dimensions_of,
    lasts,
    look,
    week_of,
)
from services.classification.evidence import Window, collect
from services.classification.joining import within
from services.classification.peer_verdicts import give_back, take_back
from services.classification.teaching import lesson_of
from services.classification.titles import title
from services.classification.verdict_rows import NEWEST, keep_row, verdict_row
from services.classification.waiting import Waiting

SWEPT = "sweep"
"""Name of its row among the watermarks, and series of its verdicts."""
STEPS = (0, 3, 6)
"""So many attributes are left out in turn: each try is a scan."""
AT_ONCE = 26
"""Weeks swept from one scan."""
MOST_LEAVES = 200_000
"""Rows for half a year, a week and a combination of values each."""
WATCH = frozenset({"motive", WATCHED})
"""A slice of these attributes, or a narrower one, is the monitor's, which judges it by its own past, weekday and season."""

logger = logging.getLogger("lazo.classification")


@dataclass(frozen=True, slots=True)
class _Seen:
    """The contacts of a set in a week."""

    ids: list[str]
    customers: int
    contacts: int
    since: Any
    days: list[int]


class Sweeping:
    def __init__(self, books: Books, waiting: Waiting, least: int) -> None:
        self._books, self._waiting, self._least = books, waiting, least
        self._tally: Tally | None = None
        self._of: object | None = None

    async def until(self, unit: Unit, day: date, cause: Event | Cause) -> None:
        """Sweep every week that ended before `day` and was not swept yet. Within a unit its contacts are read once."""
        after = await self._after(unit.connection, day)
        if after is None:
            return
        end = week_of(day)
        if after >= end:
            return
        # The week before once more: what came late for it is in by now. Whatever was found in it is an open finding.
        monday = after - timedelta(days=7)
        while monday < end:
            tally = await self._read(unit, monday, day)
            if tally is not None:
                await self._week(unit, tally, monday, cause)
            monday += timedelta(days=7)
        await self._keep(unit.connection, end)

    async def _after(self, connection: AsyncConnection, day: date) -> date | None:
        """The first week not swept; None where there is nothing to look at."""
        table, p = tables.watermarks, tables.particulars
        held: date | None = (
            await connection.execute(select(table.c.through).where(table.c.name == SWEPT))
        ).scalar_one_or_none()
        if held is not None:
            return held
        first = (await connection.execute(select(func.min(p.c.occurred_at)).where(p.c.counted))).scalar_one()
        if first is None:
            return None
        began = week_of(first.astimezone(self._waiting.zone).date())
        # Where the monitor has been at work before the first sweep, what it found long ago and people closed is not found again.
        worked = (await connection.execute(select(tables.verdicts.c.verdict_id).limit(1))).first()
        return began if worked is None else max(began, week_of(day) - timedelta(days=7))

    async def _week(self, unit: Unit, tally: Tally, monday: date, cause: Event | Cause) -> None:
        table, verdicts = tables.findings, tables.verdicts
        query = select(verdicts).where(verdicts.c.series == SWEPT, verdicts.c.start == monday)
        rows = {row.verdict_id: dict(row._mapping) for row in await unit.connection.execute(query)}  # noqa: SLF001  # the public way to a row's names
        open_ = (
            select(table.c.slice, table.c.verdict_id)
            .join(verdicts, verdicts.c.verdict_id == table.c.verdict_id, isouter=True)
            # A place that was bad from the beginning is in what is expected already, and explains no rise.
            .where(table.c.open, func.coalesce(verdicts.c.series, "") != PEERS)
            .order_by(table.c.since, table.c.finding_id)
        )
        known = [dict(row.slice) for row in await unit.connection.execute(open_) if row.verdict_id not in rows]
        again: set[str] = set()
        for risen in await offload(look, tally, monday, known):
            row = rows.get(verdict_id(risen.where, monday))
            if row is not None:
                again.add(row["verdict_id"])
                if row["data"]["evaluation"]["observed"] == risen.observed and not row["withdrawn"]:
                    continue
            elif risen.where.keys() >= WATCH or await open_for(unit.connection, slice_key(risen.where)):
                continue
            lesson = await lesson_of(unit.connection, risen.where)
            seen = await self._seen(unit.connection, risen.where, monday)
            still = lasts(seen.days, risen)
            if risen.log_p > risen.limit + log(lesson.factor) or seen.customers < self._least or still > LASTS:
                again -= {row["verdict_id"]} if row is not None else set()
                continue
            await self._say(unit, risen, seen, still, monday, tally, cause, row)
        for identity in sorted(rows.keys() - again):
            row = rows[identity]
            if not row["withdrawn"] and counted(tally, row["data"]["slice"], monday) != row["steps"][0][4]:
                await self._take_back(unit, row, cause)

    async def _take_back(self, unit: Unit, row: Mapping[str, Any], cause: Event | Cause) -> None:
        """What came late took the ground away."""
        last = VerdictReached.model_validate(row["data"])
        parameters = {**last.evaluation.parameters, "withdrawn": 1.0}
        evaluation = last.evaluation.model_copy(update={"parameters": parameters})
        change = {"verdict": Verdict.NOT_ENOUGH_EVIDENCE, "revision": last.revision + 1, "evaluation": evaluation}
        data = last.model_copy(update=change)
        self._emit(unit, data, cause)
        kept = verdict_row(data, SWEPT, row["place"], row["start"], row["ended"], row["steps"])
        await keep_row(unit.connection, {**kept, "withdrawn": True})
        await take_back(unit, row, self._waiting, cause)

    @staticmethod
    def _emit(unit: Unit, data: VerdictReached, cause: Event | Cause) -> None:
        draft = Draft(
            stream=f"verdict/{data.verdict_id}",
            data=data,
            key=data.finding_id,
            time=data.evaluation.window_end,
            id=natural_id("verdict-reached", data.verdict_id, str(data.revision)),
            cause=cause,
        )
        unit.emit(draft)

    async def _say(
        self,
        unit: Unit,
        risen: Risen,
        seen: _Seen,
        still: float,
        monday: date,
        tally: Tally,
        cause: Event | Cause,
        row: Mapping[str, Any] | None,
    ) -> None:
        version = await self._books.version(unit.connection)
        book = await self._books.book(unit.connection, version) if version else None
        window = Window(risen.where, monday, monday + timedelta(days=6))
        reading = read(await collect(unit.connection, window, book, self._waiting, unit.now))
        key = slice_key(risen.where)
        finding_id = natural_id("finding", SWEPT, key, monday.isoformat())
        data = VerdictReached(
            verdict_id=verdict_id(risen.where, monday),
            finding_id=finding_id,
            slice=dict(risen.where),
            verdict=Verdict.SYSTEMIC,
            nature=reading.nature,
            evaluation=self._evaluation(risen, seen, still, monday, tally),
            since=seen.since,
            interaction_ids=seen.ids,
            rulebook_version=version,
            reasons=list(reading.terms),
            natures=dict(reading.natures),
            nature_method=NATURE_METHOD if reading.terms else None,
            revision=1 if row is None else row["revision"] + 1,
        )
        self._emit(unit, data, cause)
        step = [data.verdict.value, monday.isoformat(), window.last.isoformat(), 7, risen.observed]
        await keep_row(unit.connection, verdict_row(data, SWEPT, key, monday, window.last, [step]))
        opened = FindingOpened(
            finding_id=finding_id,
            slice=dict(risen.where),
            nature=reading.nature,
            verdict_id=data.verdict_id,
            opened_at=unit.now,
            since=seen.since,
            title=title(risen.where, book, chronic=False),
        )
        await open_finding(unit, opened, cause)
        if row is not None and row["withdrawn"]:
            await give_back(unit, row, self._waiting, cause)

    def _evaluation(self, risen: Risen, seen: _Seen, still: float, monday: date, tally: Tally) -> Evaluation:
        parameters = {
            "p": exp(risen.log_p),
            "level": exp(risen.limit),
            "variance": risen.variance,
            "ratio": risen.ratio,
            "p_without_worst_two_days": exp(still),
            "window_days": 7.0,
            "past_weeks": float(len(risen.past)),
            "leaves": float(len(tally.leaves)),
            "attributes": float(len(tally.dimensions)),
        }
        return Evaluation(
            method=METHOD,
            window_start=self._waiting.midnight(monday),
            window_end=self._waiting.midnight(monday + timedelta(days=7)),
            observed=risen.observed,
            expected=round(risen.expected, 6),
            upper=float(upper_limit(risen.expected, risen.variance, exp(risen.limit))),
            score=round(-risen.log_p / log(10), 4),
            customers=seen.customers,
            contacts=seen.contacts,
            baseline=list(risen.past),
            parameters={name: float(f"{value:.12g}") for name, value in parameters.items()},
        )

    async def _seen(self, connection: AsyncConnection, where: Mapping[str, str], monday: date) -> _Seen:
        p, zone = tables.particulars, self._waiting.zone
        start, end = self._waiting.midnight(monday), self._waiting.midnight(monday + timedelta(days=7))
        query = (
            select(p.c.interaction_id, p.c.customer_id, p.c.occurred_at)
            .where(p.c.counted, p.c.occurred_at >= start, p.c.occurred_at < end, *within(where))
            .order_by(p.c.occurred_at.desc(), p.c.interaction_id)
        )
        rows = await rows_of(connection, query)
        # Each customer on the first of their days: whoever calls every day is one, and lasts for nobody else.
        first: dict[str, int] = {
            row.customer_id: (row.occurred_at.astimezone(zone).date() - monday).days for row in rows
        }
        days = [sum(day == number for day in first.values()) for number in range(7)]
        ids = [row.interaction_id for row in rows[:NEWEST]]
        return _Seen(ids, len(first), len(rows), rows[-1].occurred_at if rows else start, days)

    async def _read(self, unit: Unit, monday: date, day: date) -> Tally | None:
        """Complainants per week and leaf of all the weeks that are swept in this unit, and of the half year before."""
        if self._of is not unit or self._tally is None or self._tally.number(monday) >= len(self._tally.counts):
            # One week before the look's own tells whether recording had begun. Of a long history so many weeks at a time.
            first, last = monday - timedelta(days=7 * REACH), min(day, monday + timedelta(days=7 * AT_ONCE))
            self._tally, self._of = await read_tally(unit.connection, first, last, self._waiting), unit
        return self._tally

    async def _keep(self, connection: AsyncConnection, monday: date) -> None:
        table = tables.watermarks
        done = await connection.execute(
            update(table).where(table.c.name == SWEPT).values(latest=monday, through=monday)
        )
        if not done.rowcount:
            row = {"name": SWEPT, "stamp": "", "seen": {}, "latest": monday, "through": monday, "gathering": False}
            await connection.execute(insert(table).values(row))


def verdict_id(where: Mapping[str, str], monday: date) -> str:
    return natural_id("verdict", SWEPT, slice_key(where), monday.isoformat())


async def read_tally(connection: AsyncConnection, first: date, until: date, waiting: Waiting) -> Tally | None:
    """Distinct complainants per week and combination of values, from the week of `first` to the last that ended before `until`."""
    p = tables.particulars
    mondays = [week_of(first) + timedelta(days=7 * number) for number in range((until - week_of(first)).days // 7)]
    if not mondays:
        return None
    start, end = waiting.midnight(mondays[0]), waiting.midnight(mondays[-1] + timedelta(days=7))
    inside = [p.c.counted, p.c.occurred_at >= start, p.c.occurred_at < end]
    various = (
        await connection.execute(select(*(func.count(p.c[name].distinct()) for name in dimensions_of())).where(*inside))
    ).one()
    sizes = dict(zip(dimensions_of(), various, strict=True))
    values: dict[str, ColumnElement[str]] = {}
    for name, size in sizes.items():
        values[name] = func.coalesce(p.c[name], "")
        if size > MOST_VALUES:
            values[name] = case(
                (values[name].in_(await _commonest(connection, name, inside)), values[name]), else_=OTHER
            )
    week = case(
        *((p.c.occurred_at >= waiting.midnight(one), place) for place, one in reversed(list(enumerate(mondays))))
    )
    most = MOST_LEAVES * max(1, len(mondays) // REACH)
    names, rows = dimensions_of(), list[Any]()
    left_out = 0
    for left_out in STEPS:
        names = dimensions_of(left_out)
        # Grouped by labels of their own: PostgreSQL takes an expression with parameters for another one each time it is written.
        columns = [values[name].label(f"of_{name}") for name in names]
        query = select(week.label("of_week"), *columns, func.count(p.c.customer_id.distinct())).where(*inside)
        grouped = query.group_by("of_week", *(column.name for column in columns)).limit(most + 1)
        rows = await rows_of(connection, grouped)
        if len(rows) <= most:
            break
    if left_out:
        logger.warning(
            "the sweep leaves out %s: with them there are more than %d combinations", LEFT_OUT[:left_out], most
        )
    return await offload(_tallied, rows[:most], mondays, names)


async def _commonest(connection: AsyncConnection, name: str, inside: Sequence[ColumnElement[bool]]) -> list[str]:
    """The commonest values of an attribute; of equals the first in the alphabet."""
    column = func.coalesce(tables.particulars.c[name], "")
    query = select(column).where(*inside).group_by(column).order_by(func.count().desc(), column).limit(MOST_VALUES)
    return list((await connection.execute(query)).scalars())


def _tallied(rows: Sequence[Any], mondays: Sequence[date], names: tuple[str, ...]) -> Tally:
    leaves = sorted({tuple(row[1:-1]) for row in rows})
    number = {leaf: place for place, leaf in enumerate(leaves)}
    counts = np.zeros((len(mondays), len(leaves)))
    for row in rows:
        counts[row[0], number[tuple(row[1:-1])]] += row[-1]
    return Tally(mondays[0], names, leaves, counts)
