"""Builds what every question shares: the facts, joined to the dimensions it names, as known at an instant."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import orjson
from sqlalchemy import (
    BigInteger,
    ColumnClause,
    ColumnElement,
    FromClause,
    Integer,
    Select,
    Text,
    and_,
    case,
    column,
    exists,
    func,
    literal,
    null,
    or_,
    select,
    values,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from services.indicators.domain.crosswalk import SECTIONS, Carried, Carry, carried
from services.indicators.domain.findings import Fact, Finding, Span, fold, spans
from services.indicators.domain.periods import Periods
from services.indicators.domain.query import Query
from services.indicators.domain.registry import CODED, JUDGED, UNKNOWN
from services.indicators.tables import PROJECTION, SLOTS, Facts, facts, machine

_OF_INTERACTION = frozenset({"touchpoint", "product", "location", "team", "agent", "supplier", "segment", "language"})
_OF_BASE = frozenset({"kind", "channel", "source"})


async def live_slot(connection: AsyncConnection) -> str:
    """The live slot; the first one while nothing was ever taken."""
    p = machine.projections
    found = await connection.scalar(select(p.c.slot).where(p.c.name == PROJECTION, p.c.state == "live"))
    return found or SLOTS[0]


async def live(connection: AsyncConnection) -> Facts:
    """The tables that answer now: the live slot's."""
    return facts(await live_slot(connection))


def bucket(at: ColumnElement[int], periods: Periods) -> ColumnElement[Any]:
    """The number of the period that an instant within the range lies in.

    Integer division where periods are equally long; else a balanced tree of comparisons, ten deep for a thousand.
    """
    if len(periods.labels) == 1:
        return literal(0, Integer)
    step = periods.step()
    if step is not None:
        origin, length = step
        return (at - literal(origin, BigInteger)) // literal(length, BigInteger)

    def tree(low: int, high: int) -> ColumnElement[Any]:
        if high - low == 1:
            return literal(low, Integer)
        middle = (low + high) // 2
        return case((at < literal(periods.edges[middle], BigInteger), tree(low, middle)), else_=tree(middle, high))

    return tree(0, len(periods.labels))


async def findings(
    connection: AsyncConnection, t: Facts, as_of: int | None, finding_id: str | None = None
) -> dict[str, Finding]:
    """Findings folded from their events, as known at `as_of`."""
    statement = select(
        t.findings.c.event_id, t.findings.c.finding_id, t.findings.c.what, t.findings.c.version, t.findings.c.at,
        t.findings.c.recorded_at, t.findings.c.data,
    )  # fmt: skip
    if as_of is not None:
        statement = statement.where(t.findings.c.recorded_at <= as_of)
    if finding_id is None:
        # Who belongs to each would be a row per batch of contacts, and no list asks for it.
        statement = statement.where(t.findings.c.what != "finding.joined")
    else:
        statement = statement.where(t.findings.c.finding_id == finding_id)
    rows = await connection.execute(statement)
    return fold(Fact(*row[:6], data=orjson.loads(row[6])) for row in rows)


async def carrying(connection: AsyncConnection, t: Facts, query: Query) -> Query:
    """The question with the crosswalk it needs: from every version known at `as_of` to the one asked about."""
    if query.rulebook is None or query.carried is not None:
        return query
    statement = select(t.rulebooks.c.version, t.rulebooks.c.document)
    if query.as_of is not None:
        statement = statement.where(t.rulebooks.c.recorded_at <= query.as_of)
    documents = {version: orjson.loads(document) for version, document in await connection.execute(statement)}
    if query.rulebook not in documents:
        return replace(query, carried=(), carry="none")
    return replace(query, carried=tuple(carried(documents, query.rulebook)))


def coding_of(
    t: Facts, interaction: ColumnElement[str], as_of: int | None, rulebook: int | None, carry: Carry = "none"
) -> tuple[FromClause, ColumnElement[bool]]:
    """The coding in force for an interaction: the newest revision known at `as_of`.

    With a rulebook version, the newest made under it; where there is none, the newest of those that may be carried over.
    """
    k, newer = t.codings.alias(), t.codings.alias()
    mine = [k.c.interaction_id == interaction]
    other = [newer.c.interaction_id == k.c.interaction_id]
    later = or_(
        newer.c.revision > k.c.revision, and_(newer.c.revision == k.c.revision, newer.c.event_id > k.c.event_id)
    )
    if as_of is not None:
        mine.append(k.c.recorded_at <= as_of)
        other.append(newer.c.recorded_at <= as_of)
    if rulebook is None:
        other.append(later)
    elif carry == "none":
        mine.append(k.c.rulebook_version == rulebook)
        other += [newer.c.rulebook_version == rulebook, later]
    else:
        if carry == "forward":
            mine.append(k.c.rulebook_version <= rulebook)
            other.append(newer.c.rulebook_version <= rulebook)
        own, others = k.c.rulebook_version == rulebook, newer.c.rulebook_version == rulebook
        other.append(or_(and_(others, ~own), and_(or_(and_(own, others), and_(~own, ~others)), later)))
    return k, and_(*mine, ~exists(select(literal(1)).where(*other)))


class Coding:
    """A coding's columns as the version asked about calls them."""

    def __init__(self, k: FromClause, query: Query) -> None:
        self.k = k
        self._maps = {
            name: _map(name, [one for one in query.carried or () if one.dimension == name]) for name in SECTIONS
        }

    def join(self, source: FromClause) -> FromClause:
        """The source with the crosswalk beside it."""
        for name, known in self._maps.items():
            if known is not None:
                on = [known.c.version == self.k.c.rulebook_version, known.c.code == self.k.c[name]]
                source = source.join(known, and_(*on, known.c.after <= self.k.c.occurred_at), isouter=True)
        return source

    def column(self, name: str) -> ColumnElement[Any]:
        """The value of a coded dimension; null where there is none."""
        motives, causes = self._maps["motive"], self._maps["cause"]
        own: ColumnElement[Any] = self.k.c[name]
        if name in SECTIONS:
            known = self._maps[name]
            return own if known is None else func.coalesce(known.c.target, own)
        if name in {"component", "factor"} and causes is not None:
            return case((causes.c.code.is_(None), own), else_=causes.c[name])
        if name == "severity" and motives is not None:
            return case((motives.c.code.is_(None), own), else_=motives.c.severity)
        if name == "procedure" and motives is not None:
            return case((func.coalesce(motives.c.target, "") == UNKNOWN, null()), else_=own)
        return own


def _map(name: str, rows: Sequence[Carried]) -> Any:
    if not rows:
        return None
    columns: list[ColumnClause[Any]] = [
        column("version", Integer),
        column("code", Text),
        column("target", Text),
        column("after", BigInteger),
        column("component", Text),
        column("factor", Text),
        column("severity", Text),
    ]
    data = [(one.version, one.code, one.target, one.after, one.component, one.factor, one.severity) for one in rows]
    return values(*columns, name=f"{name}s_carried").data(data).cte(f"{name}s_carried")


@dataclass(slots=True)
class Scope:
    """Facts about cases (`base` holds or joins `cases`), joined to further tables as dimensions are asked for."""

    t: Facts
    query: Query
    source: FromClause
    c: FromClause  # the cases
    conditions: list[ColumnElement[bool]] = field(default_factory=list)
    covered: Sequence[Span] = ()
    coded_only: bool = False
    _interaction: FromClause | None = None
    _coding: Coding | None = None
    _spans: FromClause | None = None

    @classmethod
    def cases(cls, t: Facts, query: Query, covered: Sequence[Span] = (), *, coded_only: bool = False) -> "Scope":
        c = t.cases.alias("c")
        scope = cls(t, query, c, c, covered=covered, coded_only=coded_only)
        if query.as_of is not None:
            scope.conditions.append(c.c.recorded_at <= query.as_of)
        if coded_only:
            scope.conditions.append(scope.dimension("motive") != UNKNOWN)
        return scope

    @classmethod
    def joined(
        cls, t: Facts, query: Query, base: FromClause, covered: Sequence[Span] = (), *, optional: bool = False
    ) -> "Scope":
        """`base` has a `case_id`; `optional` keeps its rows that have no case."""
        c = t.cases.alias("c")
        on = [c.c.case_id == base.c.case_id]
        if query.as_of is not None:
            on.append(c.c.recorded_at <= query.as_of)
        return cls(t, query, base.join(c, and_(*on), isouter=optional), c, covered=covered)

    def interaction(self) -> FromClause:
        if self._interaction is None:
            i = self.t.interactions.alias("i")
            on = [i.c.interaction_id == self.c.c.interaction_id]
            if self.query.as_of is not None:
                on.append(i.c.recorded_at <= self.query.as_of)
            self.source = self.source.join(i, and_(*on), isouter=True)
            self._interaction = i
        return self._interaction

    def coding(self) -> FromClause:
        """The coding in force, with its own codes; `dimension` has those of the version asked about."""
        return self._coded().k

    def _coded(self) -> Coding:
        if self._coding is None:
            q = self.query
            k, on = coding_of(self.t, self.c.c.interaction_id, q.as_of, q.rulebook, q.carry)
            self._coding = Coding(k, self.query)
            self.source = self._coding.join(self.source.join(k, on, isouter=not self.coded_only))
        return self._coding

    def dimension(self, name: str) -> ColumnElement[Any]:
        """The value of a dimension for a case; "unknown" where there is none."""
        return func.coalesce(self.raw(name), UNKNOWN)

    def raw(self, name: str) -> ColumnElement[Any]:
        if name in _OF_BASE:
            return self.c.c[name]
        if name in _OF_INTERACTION:
            return self.interaction().c[name]
        if name in CODED:
            return self._coded().column(name)
        if name in JUDGED:
            return self._judged(name)
        raise KeyError(name)

    def _judged(self, name: str) -> ColumnElement[Any]:
        """Verdict or nature of the gravest span that covers the case."""
        if not self.covered:
            return null()
        named = sorted({dimension for span in self.covered for dimension, _ in span.slice if self._usable(dimension)})
        if self._spans is None:
            columns: list[ColumnClause[Any]] = [
                column("place", Integer),
                column("verdict", Text),
                column("nature", Text),
                column("first", BigInteger),
                column("last", BigInteger),
            ]
            columns += [column(f"d_{dimension}", Text) for dimension in named]
            rows = []
            for place, span in enumerate(self.covered):
                where = dict(span.slice)
                rows.append(
                    (place, span.verdict, span.nature, span.start, span.end, *(where.get(one) for one in named))
                )
            self._spans = values(*columns, name="spans").data(rows).cte("spans")
        s = self._spans
        match = [s.c.first <= self.c.c.received_at, self.c.c.received_at < s.c.last]
        match += [
            or_(s.c[f"d_{dimension}"].is_(None), s.c[f"d_{dimension}"] == self.dimension(dimension))
            for dimension in named
        ]
        inner = select(s.c[name]).where(*match).order_by(s.c.place).limit(1)
        return inner.scalar_subquery().correlate_except(s)

    @staticmethod
    def _usable(dimension: str) -> bool:
        return dimension in _OF_BASE or dimension in _OF_INTERACTION or dimension in CODED

    def filtered(self, *, but: str | None = None) -> None:
        """Apply the question's `where`, without the dimension `but` (whose share is taken)."""
        for name, wanted in self.query.where.items():
            if name != but:
                self.conditions.append(self.dimension(name).in_(list(wanted)))

    def select(self, *columns: ColumnElement[Any]) -> Select[Any]:
        return select(*columns).select_from(self.source).where(*self.conditions)


def overlapping(found: dict[str, Finding], query: Query) -> list[Span]:
    """The spans of findings that can cover a case of the question's range."""
    return [
        span
        for span in spans(found.values())
        if span.start < query.periods.end and span.end > query.periods.start
        and all(Scope._usable(dimension) for dimension, _ in span.slice)  # noqa: SLF001 - the same module
    ]  # fmt: skip
