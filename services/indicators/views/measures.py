"""Points of an indicator: per period and group a value, what it was made of, and how sure it is."""

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import numpy as np
from sqlalchemy import case, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from services.indicators.domain.arithmetic import (
    MINIMUM,
    Measured,
    business_days,
    counted,
    level,
    proportion,
    quantile,
    quantile_interval,
    summarised,
)
from services.indicators.domain.findings import Finding
from services.indicators.domain.periods import DAY_US, HOUR_US, instant
from services.indicators.domain.query import Group, Query
from services.indicators.domain.registry import UNKNOWN, Indicator
from services.indicators.tables import Facts
from services.indicators.views.facts_of import FactSet, case_scope, changes, fact_set
from services.indicators.views.scope import bucket, carrying, findings

Holidays = Callable[[str, int, int], frozenset[date]]
"""Holidays of a country (ISO 3166-1) from one year to another."""

FILL_LIMIT = 10_000  # points; beyond it only what exists is listed


@dataclass(frozen=True, slots=True)
class Point:
    """One value. `group` follows the question's `group_by` (for shares, the split dimension last)."""

    period: int  # place among the question's periods
    group: Group
    measured: Measured


@dataclass(frozen=True, slots=True)
class Answer:
    indicator: Indicator
    query: Query  # `group_by` as answered
    points: list[Point]


async def measure(
    connection: AsyncConnection,
    t: Facts,
    indicator: Indicator,
    query: Query,
    holidays: Holidays,
    *,
    minimum: int = MINIMUM,
) -> Answer:
    """Answer a question about one indicator from the facts.

    Shares over a dimension (motives, components) are always split by it, and filtering by it picks among the shares instead
    of changing what they are shares of. Ages and levels are those at the end of each period, or at the instant known.
    """
    query = await carrying(connection, t, query)
    if indicator.by is not None and indicator.by not in query.group_by:
        query = replace(query, group_by=(*query.group_by, indicator.by))
    match indicator.form:
        case "count" | "distinct":
            found = await _counts(connection, t, indicator, query)
        case "share" if indicator.by is not None:
            found = await _split(connection, t, indicator, query, minimum)
        case "share":
            found = await _shares(connection, t, indicator, query, minimum)
        case "duration":
            found = await _durations(connection, t, indicator, query, holidays, minimum)
        case "level":
            found = await _levels(connection, t, query)
        case "age":
            found = await _ages(connection, t, indicator, query, minimum)
        case _:
            found = await _delays(connection, t, indicator, query, minimum)
    return Answer(indicator, query, _points(indicator, query, found, minimum))


Found = dict[tuple[int, Group], Measured]


def _points(indicator: Indicator, query: Query, found: Found, minimum: int) -> list[Point]:
    """Every period of every group, empty ones too, in order."""
    groups = {group for _, group in found}
    if not query.group_by:
        groups.add(())
    last = sum(1 for edge in query.periods.edges[:-1] if edge < query.known)  # the future has no values
    if len(groups) * last <= FILL_LIMIT and indicator.form not in {"level", "age"}:
        empty = counted(0) if indicator.form in {"count", "distinct"} else proportion(0, 0, minimum=minimum)
        for group in groups:
            for period in range(last):
                found.setdefault((period, group), empty)
    return [Point(period, group, found[period, group]) for period, group in sorted(found)]


def _grouped(facts: FactSet, query: Query, *columns: Any) -> Any:
    labels = [facts.scope.dimension(name).label(f"g{number}") for number, name in enumerate(query.group_by)]
    return (
        facts.within(query)
        .with_only_columns(bucket(facts.at, query.periods).label("bucket"), *labels, *columns)
        .select_from(facts.scope.source)
        .where(*facts.scope.conditions)
    )


def _names(query: Query) -> list[str]:
    return ["bucket", *(f"g{number}" for number in range(len(query.group_by)))]


async def _rows(connection: AsyncConnection, statement: Any, groups: int) -> Iterable[tuple[int, Group, Any]]:
    rows = (await connection.execute(statement)).all()
    return [(int(row[0]), tuple(row[1 : 1 + groups]), row[1 + groups :]) for row in rows]


async def _counts(connection: AsyncConnection, t: Facts, indicator: Indicator, query: Query) -> Found:
    facts = await fact_set(connection, t, indicator, query)
    number = func.count(facts.unit.distinct()) if indicator.form == "distinct" else func.count()
    statement = _grouped(facts, query, number).group_by(*_names(query))
    return {
        (period, group): counted(int(value)) for period, group, (value,) in await _rows(connection, statement, len(query.group_by))
    }  # fmt: skip


async def _shares(connection: AsyncConnection, t: Facts, indicator: Indicator, query: Query, minimum: int) -> Found:
    facts = await fact_set(connection, t, indicator, query)
    assert facts.hit is not None
    hits = func.sum(case((facts.hit, 1), else_=0))
    statement = _grouped(facts, query, hits, func.count()).group_by(*_names(query))
    return {
        (period, group): proportion(int(hit), int(total), minimum=minimum)
        for period, group, (hit, total) in await _rows(connection, statement, len(query.group_by))
    }


async def _split(connection: AsyncConnection, t: Facts, indicator: Indicator, query: Query, minimum: int) -> Found:
    """Shares of one dimension's values: the denominator is the sum over that dimension within the period and other groups."""
    facts = await fact_set(connection, t, indicator, query)
    assert indicator.by is not None
    place = query.group_by.index(indicator.by)
    statement = _grouped(facts, query, func.count()).group_by(*_names(query))
    rows = list(await _rows(connection, statement, len(query.group_by)))
    totals: dict[tuple[int, Group], int] = defaultdict(int)
    counts: dict[Group, dict[int, int]] = defaultdict(dict)
    for period, group, (number,) in rows:
        totals[period, group[:place] + group[place + 1 :]] += int(number)
        counts[group][period] = int(number)
    wanted = query.where.get(indicator.by)
    found: Found = {}
    for group, by_period in counts.items():
        if wanted is not None and group[place] not in wanted:
            continue
        rest = group[:place] + group[place + 1 :]
        for period in range(len(query.periods.labels)):
            total = totals.get((period, rest), 0)
            if total:
                found[period, group] = proportion(by_period.get(period, 0), total, minimum=minimum)
    return found


async def _durations(
    connection: AsyncConnection, t: Facts, indicator: Indicator, query: Query, holidays: Holidays, minimum: int
) -> Found:
    facts = await fact_set(connection, t, indicator, query)
    assert facts.began is not None
    assert indicator.quantile is not None
    measured: dict[tuple[int, Group], dict[float, int]] = defaultdict(lambda: defaultdict(int))
    groups = len(query.group_by)
    if facts.calendar is None:
        statement = _grouped(facts, query, (facts.at - facts.began).label("took"), func.count()).group_by(
            *_names(query), "took"
        )
        for period, group, (took, times) in await _rows(connection, statement, groups):
            measured[period, group][int(took) / HOUR_US] += int(times)
    else:
        statement = _grouped(facts, query, facts.began, facts.at, facts.calendar)
        days: dict[tuple[date, date, str], int] = {}
        for period, group, (began, ended, calendar) in await _rows(connection, statement, groups):
            key = (instant(began).astimezone(query.zone).date(), instant(ended).astimezone(query.zone).date(), calendar)
            if key not in days:
                days[key] = business_days(key[0], key[1], holidays(calendar, key[0].year, key[1].year))
            measured[period, group][float(days[key])] += 1
    return {
        place: summarised(values.items(), indicator.quantile, minimum=minimum) for place, values in measured.items()
    }


def instants(query: Query) -> list[int]:
    """At which instant the state of each period is taken: its end, for the running one what is known; none for the future."""
    edges = query.periods.edges
    return [min(end, query.known) for start, end in itertools.pairwise(edges) if start < query.known]


async def _levels(connection: AsyncConnection, t: Facts, query: Query) -> Found:
    """Open cases at each instant: what opened less what closed before it, from the beginning of time."""
    moments = instants(query)
    if not moments:
        return {}
    step = changes(t, query).subquery("change")
    scope = await case_scope(connection, t, query, step)
    before = step.c.at < query.periods.start
    # One more period at the front gathers everything before the range.
    place = case((before, -1), else_=bucket(step.c.at, query.periods)).label("bucket")
    labels = [scope.dimension(name).label(f"g{number}") for number, name in enumerate(query.group_by)]
    statement = (
        scope.select(place, *labels, func.sum(step.c.delta)).where(step.c.at < moments[-1]).group_by(*_names(query))
    )
    deltas: dict[Group, dict[int, int]] = defaultdict(dict)
    for period, group, (delta,) in await _rows(connection, statement, len(query.group_by)):
        deltas[group][period] = int(delta)
    if not query.group_by:
        deltas.setdefault((), {})
    found: Found = {}
    for group, by_period in deltas.items():
        open_now = by_period.get(-1, 0)
        for period in range(len(moments)):
            open_now += by_period.get(period, 0)
            found[period, group] = level(open_now)
    return found


async def _ages(connection: AsyncConnection, t: Facts, indicator: Indicator, query: Query, minimum: int) -> Found:
    """Ages in days of what is open at each instant. Cases are read once; the instants are then counted in memory."""
    assert indicator.quantile is not None
    moments = instants(query)
    if not moments:
        return {}
    step = changes(t, query).subquery("step")
    ends = func.lead(step.c.at).over(partition_by=step.c.case_id, order_by=step.c.at)
    stretch = select(step.c.case_id, step.c.at, step.c.delta, ends.label("until")).subquery("stretch")
    scope = await case_scope(connection, t, query, stretch)
    labels = [scope.dimension(name).label(f"g{number}") for number, name in enumerate(query.group_by)]
    statement = scope.select(*labels, stretch.c.at, stretch.c.until, scope.c.c.received_at).where(
        stretch.c.delta == 1,
        stretch.c.at < moments[-1],
        func.coalesce(stretch.c.until, 2**62) >= query.periods.start,
    )
    stretches: dict[Group, list[tuple[int, int, int]]] = defaultdict(list)
    groups = len(query.group_by)
    for row in await connection.execute(statement):
        stretches[tuple(row[:groups])].append(
            (row[groups], 2**62 if row[groups + 1] is None else row[groups + 1], row[groups + 2])
        )
    if not query.group_by:
        stretches.setdefault((), [])
    found: Found = {}
    for group, open_cases in stretches.items():
        table = np.array(open_cases, dtype=np.int64).reshape(-1, 3)
        for period, moment in enumerate(moments):
            ages = (moment - table[(table[:, 0] < moment) & (table[:, 1] >= moment), 2]) / DAY_US
            found[period, group] = summarised([(float(age), 1) for age in ages], indicator.quantile, minimum=minimum)
    return found


async def _delays(connection: AsyncConnection, t: Facts, indicator: Indicator, query: Query, minimum: int) -> Found:
    """From the first case of the cause to the first systemic verdict, per finding, in the period of that verdict."""
    assert indicator.quantile is not None
    measured: dict[tuple[int, Group], list[float]] = defaultdict(list)
    for one in detections(await findings(connection, t, query.as_of), query):
        measured[one.period, one.group].append((one.at - one.since) / DAY_US)
    found: Found = {}
    for place, values in measured.items():
        pairs = [(value, 1) for value in values]
        # Findings are few and each was examined: three of them do say something about the delay.
        if 0 < len(values) < minimum:
            low, high = quantile_interval(pairs, indicator.quantile)
            found[place] = Measured(quantile(pairs, indicator.quantile), len(values), len(values), low, high)
        else:
            found[place] = summarised(pairs, indicator.quantile, minimum=minimum)
    return found


@dataclass(frozen=True, slots=True)
class Detection:
    period: int
    group: Group
    finding: str
    event: str
    at: int
    since: int


def detections(found: dict[str, Finding], query: Query) -> list[Detection]:
    """The first systemic verdict of each finding within the question. Dismissed findings detected nothing."""
    result = []
    for one in found.values():
        verdicts = [
            fact for fact in one.history if fact.what == "verdict.reached" and fact.data["verdict"] == "systemic"
        ]
        if not verdicts or one.state == "dismissed":
            continue
        first = min(verdicts, key=lambda fact: (fact.at, fact.version))
        values = {**one.slice, "nature": one.nature, "verdict": one.verdict}
        if any(values.get(name, UNKNOWN) not in wanted for name, wanted in query.where.items()):
            continue
        period = query.periods.index(first.at)
        if period is not None:
            group = tuple(values.get(name, UNKNOWN) for name in query.group_by)
            since = min(fact.data["since_us"] for fact in verdicts)
            result.append(Detection(period, group, one.finding_id, first.event_id, first.at, since))
    return sorted(result, key=lambda one: (one.at, one.event))
