"""For each indicator, the facts behind it: one select per form, whose rows are what is counted.

Every fact set offers `at` (which decides the period), `event` (the id that G8 opens to) and `unit` (the distinct thing
counted), and for durations the two ends. Totals and drill-down are made from the same set, so that they agree.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Integer, Select, and_, case, exists, func, literal, or_, select, union_all
from sqlalchemy.ext.asyncio import AsyncConnection

from services.indicators.domain.findings import Finding
from services.indicators.domain.query import Query
from services.indicators.domain.registry import INDICATORS, JUDGED, UNKNOWN, Indicator
from services.indicators.tables import Facts
from services.indicators.views.scope import Scope, findings, overlapping


@dataclass(slots=True)
class FactSet:
    """Columns of a scope that stand for an indicator's facts."""

    scope: Scope
    at: ColumnElement[int]
    event: ColumnElement[str]
    unit: ColumnElement[str]
    hit: ColumnElement[bool] | None = None  # shares: which facts make the numerator
    began: ColumnElement[int] | None = None  # durations: from here to `at`
    calendar: ColumnElement[str] | None = None

    def within(self, query: Query) -> Select[Any]:
        """Conditions on the range are set here, once, for totals and for drill-down."""
        return self.scope.select(literal(1)).where(self.at >= query.periods.start, self.at < query.periods.end)


async def fact_set(connection: AsyncConnection, t: Facts, indicator: Indicator, query: Query) -> FactSet:
    """The facts of an indicator under a question, its filters applied."""
    found: Mapping[str, Finding] = {}
    if indicator.code == "systemic_share" or JUDGED & ({*query.group_by} | {*query.where}):
        found = await findings(connection, t, query.as_of)
    covered = overlapping(dict(found), query)
    match indicator.code:
        case "complaints_received" | "complainants":
            scope = Scope.cases(t, query, covered)
            unit = scope.c.c.case_id if indicator.code == "complaints_received" else scope.c.c.customer_id
            result = FactSet(scope, scope.c.c.received_at, scope.c.c.event_id, unit)
        case "motive_share" | "component_balance":
            scope = Scope.cases(t, query, covered, coded_only=True)
            result = FactSet(
                scope, scope.c.c.received_at, scope.coding().c.event_id, scope.c.c.case_id, literal(1) == 1
            )
        case "systemic_share":
            scope = Scope.cases(t, query, covered)
            hit = scope.dimension("verdict") == "systemic"
            result = FactSet(scope, scope.c.c.received_at, scope.c.c.event_id, scope.c.c.case_id, hit)
        case "acknowledgement_in_target":
            scope = Scope.cases(t, query, covered)
            first = _first(t, query, by_case=True).subquery("first")
            scope.source = scope.source.join(first, first.c.case_id == scope.c.c.case_id, isouter=True)
            result = FactSet(
                scope, scope.c.c.acknowledge_by, func.coalesce(first.c.event_id, scope.c.c.event_id), scope.c.c.case_id,
                func.coalesce(first.c.at, 2**62) <= scope.c.c.acknowledge_by,
            )  # fmt: skip
            # What is not due yet is neither kept nor broken.
            scope.conditions.append(
                or_(scope.c.c.acknowledge_by <= query.known, result.hit if result.hit is not None else literal(0) == 1)
            )
        case "acknowledgement_time" | "acknowledgement_time_p90":
            m = _first(t, query).subquery("first")
            scope = Scope.joined(t, query, m, covered)
            result = FactSet(scope, m.c.at, m.c.event_id, scope.c.c.case_id, began=scope.c.c.received_at)
        case "resolution_time" | "resolution_time_p90":
            m = _last_closing(t, query).subquery("closing")
            scope = Scope.joined(t, query, m, covered)
            result = FactSet(
                scope, m.c.at, m.c.event_id, scope.c.c.case_id, began=scope.c.c.received_at, calendar=scope.c.c.calendar
            )  # fmt: skip
        case "csat":
            f = t.feedback.alias("f")
            scope = Scope.joined(t, query, f, covered, optional=True)
            scope.conditions += [f.c.what == "answered", f.c.score.is_not(None)]
            if query.as_of is not None:
                scope.conditions.append(f.c.recorded_at <= query.as_of)
            result = FactSet(scope, f.c.at, f.c.event_id, f.c.event_id, f.c.score >= 4)
        case _:
            raise LookupError(f"{indicator.code} is not a set of single facts")
    result.scope.filtered(but=indicator.by)
    return result


def _known(table: Any, query: Query) -> list[ColumnElement[bool]]:
    return [] if query.as_of is None else [table.c.recorded_at <= query.as_of]


def _looked_up(what: ColumnElement[str], *values: str) -> ColumnElement[bool]:
    """`what` is one of the values, said so that rows are looked up by their case and not by `what`.

    SQLite keeps no statistics of its own, takes (what, at) to be as selective as (case_id, event_id), and reads all 16,000
    acknowledgements of the demo's year once for each of its 17,000 cases: 44 s instead of 0.1 s. An expression has no index.
    """
    return what.op("||")("").in_(values)


def _first(t: Facts, query: Query, *, by_case: bool = False) -> Select[Any]:
    """The first acknowledgement of each case; `by_case` where it is joined to cases and not chosen by its own time."""
    m, earlier = t.milestones.alias("m"), t.milestones.alias("earlier")
    before = or_(earlier.c.at < m.c.at, and_(earlier.c.at == m.c.at, earlier.c.event_id < m.c.event_id))
    none_earlier = ~exists(
        select(literal(1)).where(
            earlier.c.case_id == m.c.case_id,
            _looked_up(earlier.c.what, "acknowledged"),
            before,
            *_known(earlier, query),
        )
    )
    acknowledged = _looked_up(m.c.what, "acknowledged") if by_case else m.c.what == "acknowledged"
    return select(m.c.case_id, m.c.event_id, m.c.at).where(acknowledged, none_earlier, *_known(m, query))


def _after(later: Any, m: Any) -> ColumnElement[bool]:
    """Later in the life of the case: by time, by place in the stream within the same instant."""
    return or_(
        later.c.at > m.c.at,
        and_(later.c.at == m.c.at, or_(later.c.version > m.c.version, and_(later.c.version == m.c.version, later.c.event_id > m.c.event_id))),
    )  # fmt: skip


def _last_closing(t: Facts, query: Query) -> Select[Any]:
    """The closing of each case that no reopening and no other closing followed."""
    m, later = t.milestones.alias("m"), t.milestones.alias("later")
    none_later = ~exists(
        select(literal(1)).where(
            later.c.case_id == m.c.case_id,
            _looked_up(later.c.what, "closed", "reopened"),
            _after(later, m),
            *_known(later, query),
        )
    )
    return select(m.c.case_id, m.c.event_id, m.c.at).where(m.c.what == "closed", none_later, *_known(m, query))


def changes(t: Facts, query: Query) -> Any:
    """Every change between open and closed of every case: (case_id, at, delta) with delta 1 or -1.

    Closing twice, or reopening what is open, changes nothing.
    """
    c, m = t.cases.alias("opened"), t.milestones.alias("m")
    states = union_all(
        select(c.c.case_id, c.c.received_at.label("at"), literal(0, Integer).label("version"), c.c.event_id, literal(1, Integer).label("open"))
        .where(*_known(c, query)),
        select(m.c.case_id, m.c.at, m.c.version, m.c.event_id, case((m.c.what == "reopened", 1), else_=0))
        .where(m.c.what.in_(["closed", "reopened"]), *_known(m, query)),
    ).subquery("states")  # fmt: skip
    order = (states.c.at, states.c.version, states.c.event_id)
    previous = func.lag(states.c.open, 1, 0).over(partition_by=states.c.case_id, order_by=order)
    stepped = select(states.c.case_id, states.c.at, (states.c.open - previous).label("delta")).subquery("stepped")
    return select(stepped.c.case_id, stepped.c.at, stepped.c.delta).where(stepped.c.delta != 0)


async def case_scope(connection: AsyncConnection, t: Facts, query: Query, base: Any) -> Scope:
    """Cases joined to `base` (which has `case_id`), the question's filters applied."""
    covered = []
    if JUDGED & ({*query.group_by} | {*query.where}):
        covered = overlapping(await findings(connection, t, query.as_of), query)
    scope = Scope.joined(t, query, base, covered)
    scope.filtered()
    return scope


def indicator_of(code: str) -> Indicator:
    """By code, or by number (its main form). Raises KeyError."""
    if code in INDICATORS:
        return INDICATORS[code]
    for one in INDICATORS.values():
        if code == str(one.number):
            return one
    raise KeyError(code)


__all__ = ["UNKNOWN", "FactSet", "case_scope", "changes", "fact_set", "indicator_of"]
