"""What dismissals teach: in a slice where people said "no, that is nothing", the next alarm needs more evidence.

A lesson multiplies the p-value that an alarm needs by `FACTOR`; lessons of one slice add up, to `LEAST` at most. Each is an
event, stands in the list of thresholds, and can be taken back. The verdict that it changed names the findings that taught it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import prod
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.events.catalogue.findings import Evaluation, ThresholdTaught
from libs.events.envelope import Event
from libs.events.store import Cause, Draft, Unit
from services.classification import tables
from services.classification.domain.numeric import upper_limit

FACTOR = 0.1
LEAST = 1e-4


def slice_key(slice_: Mapping[str, str]) -> str:
    return "|".join(f"{name}={slice_[name]}" for name in sorted(slice_))


@dataclass(frozen=True, slots=True)
class Lesson:
    """What holds for a slice: the factor on the p an alarm needs, and the findings whose dismissal gave it."""

    factor: float = 1.0
    taught_by: tuple[str, ...] = ()


def row_of(event: ThresholdTaught) -> dict[str, Any]:
    return {
        "finding_id": event.finding_id,
        "slice": dict(event.slice),
        "slice_key": slice_key(event.slice),
        "factor": event.factor,
        "at": event.at,
        "by": event.by,
        "reason": event.reason,
        "withdrawn": event.withdrawn,
    }


def fold(events: Iterable[ThresholdTaught]) -> dict[str, dict[str, Any]]:
    """The table as the events alone make it."""
    return {event.finding_id: row_of(event) for event in events}


async def teach(
    unit: Unit,
    finding_id: str,
    slice_: Mapping[str, str],
    by: str,
    reason: str | None,
    *,
    withdrawn: bool = False,
    cause: Event | Cause | None = None,
) -> ThresholdTaught:
    """Write a lesson down, or take it back."""
    data = ThresholdTaught(
        finding_id=finding_id,
        slice=dict(slice_),
        factor=FACTOR,
        at=unit.now,
        by=by,
        reason=reason,
        withdrawn=withdrawn,
    )
    unit.emit(Draft(stream=f"threshold/{finding_id}", data=data, key=finding_id, time=unit.now, cause=cause))
    make = sqlite_insert if unit.connection.dialect.name == "sqlite" else postgres_insert
    row = row_of(data)
    statement: Any = make(tables.thresholds)
    replaced = {name: statement.excluded[name] for name in row if name != "finding_id"}
    await unit.connection.execute(statement.on_conflict_do_update(index_elements=["finding_id"], set_=replaced), [row])
    return data


async def lesson_of(connection: AsyncConnection, slice_: Mapping[str, str]) -> Lesson:
    """What people have taught about a slice."""
    table = tables.thresholds
    query = select(table.c.finding_id, table.c.factor).where(
        table.c.slice_key == slice_key(slice_), table.c.withdrawn.is_(False)
    )
    rows = (await connection.execute(query.order_by(table.c.at, table.c.finding_id))).all()
    return Lesson(max(LEAST, prod(row.factor for row in rows)), tuple(row.finding_id for row in rows))


def held_back(evaluation: Evaluation, lesson: Lesson) -> Evaluation | None:
    """The evaluation under the taught limit where it does not reach it; None where it stands in spite of the lesson."""
    given = evaluation.parameters
    if lesson.factor >= 1.0:
        return None
    if "p" in given and "level" in given:
        level = given["level"] * lesson.factor
        if given["p"] <= level:
            return None
        variance, windows = given.get("variance", evaluation.expected), given.get("windows", 1.0)
        upper = float(upper_limit(evaluation.expected, variance, level / windows))
        more = {"level": level, "more_customers": float(max(1, upper - evaluation.observed))}
    elif "z" in given and "z_limit" in given:
        limit = _z_for(given["z_limit"], lesson.factor)
        if given["z"] >= limit:
            return None
        spread = (evaluation.observed - evaluation.expected) / given["z"] if given["z"] else 0.0
        upper = evaluation.expected + limit * spread
        more = {"z_limit": limit, "more_customers": float(max(1, round(upper - evaluation.observed)))}
    else:
        return None
    parameters = {
        **given,
        **{name: float(f"{value:.12g}") for name, value in more.items()},
        "taught_factor": lesson.factor,
    }
    return evaluation.model_copy(update={"upper": upper, "parameters": parameters})


def _z_for(limit: float, factor: float) -> float:
    """The z whose normal tail is `factor` times that of `limit`."""
    from scipy.stats import norm

    return float(norm.isf(norm.sf(limit) * factor))


def lessons_view(rows: Sequence[Any]) -> list[dict[str, Any]]:
    return [
        {
            "finding_id": row.finding_id,
            "slice": row.slice,
            "factor": row.factor,
            "at": row.at,
            "by": row.by,
            "reason": row.reason,
            "withdrawn": row.withdrawn,
        }
        for row in rows
    ]


async def lessons(connection: AsyncConnection, after: Sequence[str] | None, limit: int) -> list[Any]:
    """Every lesson, newest first, those taken back among them."""
    table = tables.thresholds
    query = select(table).order_by(table.c.at.desc(), table.c.finding_id)
    if after is not None:
        at = datetime.fromisoformat(after[0])
        query = query.where((table.c.at < at) | ((table.c.at == at) & (table.c.finding_id > after[1])))
    return list((await connection.execute(query.limit(limit + 1))).all())


__all__ = [
    "FACTOR",
    "LEAST",
    "Lesson",
    "fold",
    "held_back",
    "lesson_of",
    "lessons",
    "lessons_view",
    "row_of",
    "slice_key",
    "teach",
]
