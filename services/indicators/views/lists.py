"""Lists for people: Pareto, contact points, contacts, names of codes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import and_, case, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from services.indicators.domain.arithmetic import MINIMUM, Measured, proportion
from services.indicators.domain.query import Query
from services.indicators.domain.registry import CODED, UNKNOWN
from services.indicators.tables import Facts
from services.indicators.views.scope import Coding, Scope, carrying, coding_of, findings, overlapping


@dataclass(frozen=True, slots=True)
class Bar:
    """One value of a Pareto: its cases, its share and the share of it and all before it (per cent)."""

    value: str
    measured: Measured
    cumulative: float
    customers: int
    first: int
    last: int


async def pareto(
    connection: AsyncConnection, t: Facts, query: Query, by: str, *, minimum: int = MINIMUM
) -> tuple[list[Bar], int, int]:
    """Values of a dimension by their cases, most first; with all cases, and the least number of values that hold 80 %.

    Besides how many: whom (distinct customers) and since when (R04).
    """
    query = await carrying(connection, t, query)
    covered = overlapping(await findings(connection, t, query.as_of), query) if by not in CODED or query.where else []
    scope = Scope.cases(t, query, covered, coded_only=by in CODED)
    scope.filtered()
    c = scope.c.c
    value = scope.dimension(by).label("value")
    statement = (
        scope.select(value, func.count().label("cases"), func.count(c.customer_id.distinct()), func.min(c.received_at), func.max(c.received_at))
        .where(c.received_at >= query.periods.start, c.received_at < query.periods.end)
        .group_by("value")
    )  # fmt: skip
    rows = sorted((await connection.execute(statement)), key=lambda row: (-row[1], row[0]))
    total = sum(row[1] for row in rows)
    bars, running, vital = [], 0, 0
    for name, cases, customers, first, last in rows:
        if running < 0.8 * total:
            vital += 1
        running += cases
        share = proportion(cases, total, minimum=minimum)
        bars.append(Bar(name, share, 100 * running / total, customers, first, last))
    return bars, total, vital


@dataclass(frozen=True, slots=True)
class Touchpoint:
    """One contact point: problems and good contacts side by side (R28)."""

    touchpoint: str
    contacts: int
    compliments: int
    cases: int
    share: Measured  # cases per contact, per cent
    answers: int
    mean_score: float | None


async def touchpoints(
    connection: AsyncConnection, t: Facts, query: Query, *, minimum: int = MINIMUM
) -> list[Touchpoint]:
    """Contact points by how many of their contacts are problems, with the mean score of the answers about them."""
    i = t.interactions.alias("i")
    name = func.coalesce(i.c.touchpoint, UNKNOWN).label("point")
    within = [i.c.occurred_at >= query.periods.start, i.c.occurred_at < query.periods.end]
    if query.as_of is not None:
        within.append(i.c.recorded_at <= query.as_of)
    contacts = (
        select(name, func.count(), func.sum(case((i.c.kind == "compliment", 1), else_=0)))
        .where(*within)
        .group_by("point")
    )
    counted = {row[0]: (int(row[1]), int(row[2])) for row in (await connection.execute(contacts))}

    scope = Scope.cases(t, query)
    received, problem = scope.c.c.received_at, scope.dimension("touchpoint").label("point")
    cases = (
        scope.select(problem, func.count())
        .where(received >= query.periods.start, received < query.periods.end)
        .group_by("point")
    )
    problems = {row[0]: int(row[1]) for row in (await connection.execute(cases))}

    f = t.feedback.alias("f")
    scope = Scope.joined(t, query, f)
    point = scope.dimension("touchpoint").label("point")
    scope.conditions += [
        f.c.what == "answered",
        f.c.score.is_not(None),
        f.c.at >= query.periods.start,
        f.c.at < query.periods.end,
    ]
    if query.as_of is not None:
        scope.conditions.append(f.c.recorded_at <= query.as_of)
    scored = scope.select(point, func.count(), func.sum(f.c.score)).group_by("point")
    scores = {row[0]: (int(row[1]), int(row[2])) for row in (await connection.execute(scored))}

    result = []
    for point_name in {*counted, *problems, *scores}:
        total, good = counted.get(point_name, (0, 0))
        bad = problems.get(point_name, 0)
        answers, points = scores.get(point_name, (0, 0))
        share = proportion(bad, max(total, bad), minimum=minimum)
        mean = points / answers if answers >= minimum else None
        result.append(Touchpoint(point_name, total, good, bad, share, answers, mean))
    return sorted(result, key=lambda one: (-one.cases, one.touchpoint))


Place = tuple[int, str]
_CODED_COLUMNS = ("motive", "cause", "component", "factor", "expectation", "severity", "procedure")


async def contacts(
    connection: AsyncConnection,
    t: Facts,
    query: Query,
    *,
    customer: str | None = None,
    ids: list[str] | None = None,
    before: Place | None = None,
    limit: int = 50,
) -> list[Mapping[str, Any]]:
    """Contacts of the range, newest first, before a place (occurred_at, id); with their sealed words beside them."""
    query = await carrying(connection, t, query)
    i, w, c = t.interactions.alias("i"), t.texts.alias("w"), t.cases.alias("c")
    k, on = coding_of(t, i.c.interaction_id, query.as_of, query.rulebook, query.carry)
    coded = Coding(k, query)
    case_on = [c.c.interaction_id == i.c.interaction_id]
    conditions = [i.c.occurred_at >= query.periods.start, i.c.occurred_at < query.periods.end]
    if query.as_of is not None:
        conditions.append(i.c.recorded_at <= query.as_of)
        case_on.append(c.c.recorded_at <= query.as_of)
    if customer is not None:
        conditions.append(i.c.customer_id == customer)
    if ids is not None:
        conditions.append(i.c.interaction_id.in_(ids))
    for name, wanted in query.where.items():
        column = coded.column(name) if name in CODED else i.c[name]
        conditions.append(func.coalesce(column, UNKNOWN).in_(list(wanted)))
    if before is not None:
        at, last = before
        conditions.append(or_(i.c.occurred_at < at, and_(i.c.occurred_at == at, i.c.interaction_id < last)))
    statement = (
        select(
            i, c.c.case_id, *(coded.column(name).label(name) for name in _CODED_COLUMNS),
            k.c.rulebook_version, k.c.confidence, k.c.review, w.c.subject, w.c.body,
        )
        .select_from(
            coded.join(i.outerjoin(k, on)).outerjoin(c, and_(*case_on)).outerjoin(w, w.c.interaction_id == i.c.interaction_id)
        )
        .where(*conditions)
        .order_by(i.c.occurred_at.desc(), i.c.interaction_id.desc())
        .limit(limit)
    )  # fmt: skip
    return [dict(row) for row in (await connection.execute(statement)).mappings()]


Names = dict[str, dict[str, dict[str, str]]]


async def names(connection: AsyncConnection, t: Facts, version: int | None = None) -> tuple[int | None, Names]:
    """Names of the rulebook's codes in every language it has, by section and code; the newest version's unless one is named.

    A code that a newer version dropped keeps the name it had.
    """
    r = t.rulebooks
    statement = select(r.c.version, r.c.document).order_by(r.c.version)
    if version is not None:
        statement = statement.where(r.c.version <= version)
    found: Names = {}
    newest = None
    for number, document in await connection.execute(statement):
        newest = number
        for section, entries in orjson.loads(document).items():
            known = found.setdefault(section, {})
            for code, entry in _entries(entries):
                text = _names_of(entry)
                if text:
                    known[code] = text
    return newest, found


def _entries(section: Any) -> list[tuple[str, Mapping[str, Any]]]:
    if isinstance(section, Mapping):
        return [(str(code), entry) for code, entry in section.items() if isinstance(entry, Mapping)]
    if isinstance(section, list):
        return [(str(entry["code"]), entry) for entry in section if isinstance(entry, Mapping) and "code" in entry]
    return []


def _names_of(entry: Mapping[str, Any]) -> dict[str, str]:
    for key in ("names", "name", "label", "labels", "title"):
        value = entry.get(key)
        if isinstance(value, Mapping):
            return {str(language): str(text) for language, text in value.items()}
        if isinstance(value, str):
            return {"es": value, "en": value}
    return {}
