"""The same cases under two versions of the rulebook: what moved from code to code (G1)."""

from dataclasses import dataclass

import orjson
from sqlalchemy import and_, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from services.indicators.domain.crosswalk import SECTIONS, leads
from services.indicators.domain.query import Query
from services.indicators.domain.registry import UNKNOWN
from services.indicators.tables import Facts
from services.indicators.views.scope import Scope, coding_of


@dataclass(frozen=True, slots=True)
class Move:
    """Cases that one version calls so and the other so; None: never decided under that version. `declared`: the crosswalk
    of the newer version leads from one to the other."""

    before: str | None
    after: str | None
    cases: int
    declared: bool


class NoVersion(LookupError):
    """That version was not published, as far as was known then."""


async def moves(
    connection: AsyncConnection, t: Facts, query: Query, dimension: str, before: int, after: int
) -> list[Move]:
    """Cases of the range by their code under each version, only as decided, nothing carried over. Raises NoVersion.

    Every case is in exactly one row, so rows add up to the cases, and each code's rows to its count under its version.
    """
    documents = {}
    for version in (before, after):
        statement = select(t.rulebooks.c.document).where(t.rulebooks.c.version == version)
        if query.as_of is not None:
            statement = statement.where(t.rulebooks.c.recorded_at <= query.as_of)
        found = (await connection.execute(statement)).scalar_one_or_none()
        if found is None:
            raise NoVersion(version)
        documents[version] = orjson.loads(found)
    scope = Scope.cases(t, query)
    scope.filtered()
    columns = []
    for version in (before, after):
        k, on = coding_of(t, scope.c.c.interaction_id, query.as_of, version)
        scope.source = scope.source.join(k, and_(on), isouter=True)
        columns.append(k.c[dimension])
    received = scope.c.c.received_at
    counted = (
        scope.select(columns[0].label("was"), columns[1].label("is"), func.count())
        .where(received >= query.periods.start, received < query.periods.end)
        .group_by(columns[0], columns[1])
    )
    old, new = sorted((before, after))

    def declared(one: str | None, other: str | None) -> bool:
        if one is None or other is None:
            return False
        first, second = (one, other) if before == old else (other, one)
        return second in ((UNKNOWN,) if first == UNKNOWN else leads(documents[new], dimension, first).to)

    rows = [Move(was, now, int(cases), declared(was, now)) for was, now, cases in await connection.execute(counted)]
    return sorted(rows, key=lambda one: (-one.cases, one.before or "", one.after or ""))


__all__ = ["SECTIONS", "Move", "NoVersion", "moves"]
