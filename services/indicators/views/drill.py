"""From a number to the events behind it (G8)."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from services.indicators.domain.query import Query
from services.indicators.domain.registry import Indicator
from services.indicators.tables import Facts
from services.indicators.views.facts_of import case_scope, changes, fact_set
from services.indicators.views.measures import detections, instants
from services.indicators.views.scope import Scope, carrying, findings


@dataclass(frozen=True, slots=True)
class Behind:
    """One event behind a number. Distinct `unit`s of the part asked for are as many as its numerator or denominator."""

    event_id: str
    unit: str
    at: int
    case_id: str | None
    interaction_id: str | None
    customer_id: str | None


Place = tuple[int, str]


async def behind(
    connection: AsyncConnection,
    t: Facts,
    indicator: Indicator,
    query: Query,
    *,
    denominator: bool = False,
    after: Place | None = None,
    limit: int = 100,
) -> list[Behind]:
    """Events of the numerator (or the denominator) over the whole range, oldest first, after a place (at, event id)."""
    query = await carrying(connection, t, query)
    match indicator.form:
        case "delay":
            found = detections(await findings(connection, t, query.as_of), query)
            listed = [Behind(one.event, one.finding, one.at, None, None, None) for one in found]
            return [one for one in listed if after is None or (one.at, one.event_id) > after][:limit]
        case "level" | "age":
            scope, statement, at, event = await _open(connection, t, query)
            unit: Any = scope.c.c.case_id
        case _:
            facts = await fact_set(connection, t, indicator, query)
            if indicator.by is not None and not denominator and indicator.by in query.where:
                facts.scope.conditions.append(facts.scope.dimension(indicator.by).in_(list(query.where[indicator.by])))
            if facts.hit is not None and indicator.by is None and not denominator:
                facts.scope.conditions.append(facts.hit)
            scope, at, event, unit = facts.scope, facts.at, facts.event, facts.unit
            statement = facts.within(query).where(*scope.conditions)
    statement = statement.with_only_columns(
        event.label("event"), unit.label("unit"), at.label("at"), scope.c.c.case_id, scope.c.c.interaction_id, scope.c.c.customer_id
    ).select_from(scope.source)  # fmt: skip
    if after is not None:
        statement = statement.where(or_(at > after[0], and_(at == after[0], event > after[1])))
    rows = await connection.execute(statement.order_by(at, event).limit(limit))
    return [Behind(*row) for row in rows]


async def _open(connection: AsyncConnection, t: Facts, query: Query) -> tuple[Scope, Any, Any, Any]:
    """Cases open at the end of the range (or at the instant known): those whose changes sum to one."""
    moments = instants(query)
    moment = moments[-1] if moments else query.periods.start
    step = changes(t, query).subquery("change")
    still = (
        select(step.c.case_id).where(step.c.at < moment).group_by(step.c.case_id).having(func.sum(step.c.delta) > 0).subquery("still")
    )  # fmt: skip
    scope = await case_scope(connection, t, query, still)
    return scope, scope.select(scope.c.c.event_id), scope.c.c.received_at, scope.c.c.event_id
