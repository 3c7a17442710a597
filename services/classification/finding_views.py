"""Reads about findings: precedents, the contacts behind one, chains of contacts."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from pydantic_core import to_jsonable_python
from sqlalchemy import ColumnElement, and_, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.events import bulk
from libs.events.catalogue.finding_status import Status
from libs.events.catalogue.findings import CauseNode, Nature
from services.classification import tables
from services.classification.domain.chains import Chain, Link, chains, measured
from services.classification.domain.finding_state import Action, Finding, Investigation
from services.classification.domain.likeness import Portrait, nearest, worked
from services.classification.domain.relations import Answer, Relation, at_risk
from services.classification.domain.rulebook import Rulebook


def state_of(row: Any) -> Finding:
    """The finding as its row tells it: what a list of many can be made from without reading every stream."""
    held = row.investigation
    investigation = None
    if held is not None:
        nodes = tuple(CauseNode.model_validate(node) for node in held["nodes"])
        investigation = Investigation(
            held["method"], nodes, held["conclusion"], held["by"], datetime.fromisoformat(held["at"])
        )
    return Finding(
        finding_id=row.finding_id,
        slice=row.slice,
        status=Status(row.status),
        nature=Nature(row.nature),
        verdict_id=row.verdict_id,
        opened_at=row.opened_at,
        since=row.since,
        title=row.title,
        owner=row.owner,
        actions=tuple(_action(item) for item in row.actions),
        version=row.version,
        investigation=investigation,
        ended_at=row.ended_at,
    )


def _action(item: Mapping[str, Any]) -> Action:
    values = dict(item)
    for name in ("planned_at", "implemented_at", "again_at"):
        values[name] = datetime.fromisoformat(values[name]) if values.get(name) else None
    values["due"] = datetime.fromisoformat(values["due"]).date()
    known = Action.__dataclass_fields__
    return Action(**{name: value for name, value in values.items() if name in known})


async def precedents(
    connection: AsyncConnection, finding_id: str, book: Rulebook | None, most: int = 10
) -> list[dict[str, Any]] | None:
    """Earlier findings that resemble this one, with what was done and whether it worked; None for no such finding."""
    table = tables.findings
    mine = (await connection.execute(select(table).where(table.c.finding_id == finding_id))).one_or_none()
    if mine is None:
        return None
    earlier = select(table).where(table.c.opened_at <= mine.opened_at).order_by(table.c.opened_at.desc()).limit(2_000)
    rows = (await connection.execute(earlier)).all()
    causes = await _causes(connection, [row.finding_id for row in rows])
    portraits = {row.finding_id: _portrait(state_of(row), causes.get(row.finding_id, {}), book) for row in rows}
    found = nearest(portraits[finding_id], list(portraits.values()), most)
    return [
        {
            "finding_id": item.finding.finding_id,
            "title": dict(item.finding.title),
            "slice": dict(item.finding.slice),
            "nature": item.finding.nature.value,
            "status": item.finding.status.value,
            "opened_at": item.finding.opened_at,
            "ended_at": item.finding.ended_at,
            "score": item.score,
            "same": list(item.same),
            "actions": to_jsonable_python([asdict(action) for action in item.finding.actions]),
            "conclusion": None if item.finding.investigation is None else item.finding.investigation.conclusion,
            "worked": worked(item.finding),
        }
        for item in found
    ]


def _portrait(state: Finding, causes: Mapping[str, int], book: Rulebook | None) -> Portrait:
    motive = None if book is None else book.motive_by_code.get(state.slice.get("motive", ""))
    counted: dict[str, float] = {cause: float(count) for cause, count in causes.items()}
    if state.investigation is not None:
        most = max(counted.values(), default=1.0)
        for node in state.investigation.nodes:
            if node.cause is not None:
                counted[node.cause] = counted.get(node.cause, 0.0) + most
    total = sum(counted.values())
    shares = {cause: count / total for cause, count in counted.items()} if total else {}
    return Portrait(state, motive.parent if motive is not None else None, shares)


async def _causes(connection: AsyncConnection, ids: Sequence[str]) -> dict[str, dict[str, int]]:
    links, p = tables.links, tables.particulars
    query = (
        select(links.c.finding_id, p.c.cause, func.count())
        .select_from(links.join(p, p.c.interaction_id == links.c.interaction_id))
        .where(links.c.finding_id.in_(ids), p.c.cause != "unknown")
        .group_by(links.c.finding_id, p.c.cause)
    )
    found: dict[str, dict[str, int]] = {}
    for finding_id, cause, count in await connection.execute(query):
        found.setdefault(finding_id, {})[cause] = count
    return found


async def behind(
    connection: AsyncConnection, finding_id: str, *, after: Sequence[str] | None, limit: int
) -> list[dict[str, Any]]:
    """The contacts that belong to a finding, newest first, with what became of their cases."""
    links, p, o = tables.links, tables.particulars, tables.outcomes
    query = (
        select(
            p.c.interaction_id, p.c.customer_id, p.c.occurred_at, p.c.motive, p.c.cause, p.c.touchpoint, p.c.location, p.c.team,
            p.c.supplier, links.c.joined_at, o.c.case_id, o.c.outcome, o.c.helped,
        )
        .select_from(
            links.join(p, p.c.interaction_id == links.c.interaction_id).join(
                o, o.c.interaction_id == links.c.interaction_id, isouter=True
            )
        )
        .where(links.c.finding_id == finding_id)
    )  # fmt: skip
    if after is not None:
        at = datetime.fromisoformat(after[0])
        query = query.where((p.c.occurred_at < at) | and_(p.c.occurred_at == at, p.c.interaction_id > after[1]))
    query = query.order_by(p.c.occurred_at.desc(), p.c.interaction_id).limit(limit + 1)
    return [dict(row._mapping) for row in await connection.execute(query)]  # noqa: SLF001  # the public way to a row's names


async def all_chains(
    connection: AsyncConnection,
    *,
    since: datetime,
    until: datetime,
    gap: timedelta,
    least: int,
    motive: str | None,
    finding_id: str | None,
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Chains with a contact in the period, longest first, and what they measure together."""
    p, links = tables.particulars, tables.links
    inside = _coded(since, until)
    if motive is not None:
        inside.append(p.c.motive == motive)
    if finding_id is not None:
        inside.append(p.c.interaction_id.in_(select(links.c.interaction_id).where(links.c.finding_id == finding_id)))
    found = await _chains(connection, inside, gap, least)
    contacts = (await connection.execute(select(func.count()).select_from(p).where(*inside))).scalar_one()
    items = [
        {
            "customer_id": chain.customer_id,
            "motive": chain.motive,
            "contacts": chain.length,
            "days": round(chain.days, 2),
            "first_at": chain.links[0].at,
            "last_at": chain.links[-1].at,
            "touchpoints": chain.touchpoints,
            "interaction_ids": [link.interaction_id for link in chain.links],
        }
        for chain in found
    ]
    return items, measured(found, contacts)


def _coded(since: datetime, until: datetime) -> list[ColumnElement[bool]]:
    p = tables.particulars
    return [p.c.counted, p.c.motive != "unknown", p.c.occurred_at >= since, p.c.occurred_at < until]


async def _chains(
    connection: AsyncConnection, inside: Sequence[ColumnElement[bool]], gap: timedelta, least: int
) -> list[Chain]:
    p = tables.particulars
    groups = (
        select(p.c.customer_id, p.c.motive)
        .where(*inside)
        .group_by(p.c.customer_id, p.c.motive)
        .having(func.count() >= least)
        .subquery()
    )
    columns = (p.c.customer_id, p.c.motive, p.c.interaction_id, p.c.occurred_at, p.c.touchpoint, p.c.channel)
    on = and_(p.c.customer_id == groups.c.customer_id, p.c.motive == groups.c.motive)
    rows = await connection.execute(select(*columns).select_from(p.join(groups, on)).where(*inside))
    return chains((Link(*row) for row in rows), gap, least)


async def relations_at_risk(
    connection: AsyncConnection, *, since: datetime, until: datetime, gap: timedelta, least: int, segment: str | None
) -> tuple[list[tuple[Relation, str | None]], int]:
    """Customers who show that they may leave, each with the segment of the newest contact; and how many have answered at all."""
    p, o = tables.particulars, tables.outcomes
    answered = o.c.helped.is_not(None) & (o.c.answered_at >= since) & (o.c.answered_at < until)
    answers = [
        Answer(*row)
        for row in await connection.execute(
            select(o.c.customer_id, o.c.case_id, o.c.answered_at, o.c.helped, o.c.interaction_id).where(answered)
        )
    ]
    found = at_risk(await _chains(connection, _coded(since, until), gap, least), answers, until, gap)
    newest = (
        select(p.c.customer_id, p.c.segment)
        .where(p.c.occurred_at < until)
        .order_by(p.c.occurred_at, p.c.interaction_id)
    )
    rows = await bulk.among(connection, newest, p.c.customer_id, [one.customer_id for one in found])
    segments = {row.customer_id: row.segment for row in rows if row.segment}
    known = [(one, segments.get(one.customer_id)) for one in found]
    chosen = [(one, marked) for one, marked in known if segment is None or marked == segment]
    return chosen, len({answer.customer_id for answer in answers})
