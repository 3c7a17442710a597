"""Reads for the API."""

from datetime import datetime
from typing import Any

from sqlalchemy import Integer, Select, and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.events.catalogue import decode
from libs.events.catalogue.classifications import InteractionClassified
from libs.events.envelope import Event
from services.classification import tables


async def rulebook(connection: AsyncConnection, version: int | None) -> dict[str, Any] | None:
    """One version as published; the newest without a number."""
    table = tables.rulebooks
    query = select(table).order_by(table.c.version.desc()).limit(1)
    if version is not None:
        query = query.where(table.c.version == version)
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else _plain(row)


async def rulebook_versions(connection: AsyncConnection) -> list[dict[str, Any]]:
    table = tables.rulebooks
    columns = (table.c.version, table.c.name, table.c.published_at, table.c.published_by, table.c.checksum)
    return [_plain(row) for row in await connection.execute(select(*columns).order_by(table.c.version.desc()))]


def decision_view(events: list[Event]) -> dict[str, Any]:
    """An interaction's newest decision, its evidence and all decisions before it, oldest first."""
    decisions = []
    for event in events:
        data = decode(event)
        assert isinstance(data, InteractionClassified)
        decisions.append((event, data))
    newest = decisions[-1][1]
    history = [
        {
            "revision": data.revision,
            "at": event.time,
            "kind": data.kind,
            "motive": data.motive,
            "cause": data.cause,
            "confidence": data.confidence,
            "parts": parts_of(data),
            "rulebook_version": data.rulebook_version,
            "model_version": data.model_version,
            "by": data.by,
            "event_id": event.id,
        }
        for event, data in decisions
    ]
    return {**newest.model_dump(mode="json"), "parts": parts_of(newest), "history": history}


FOLLOWS = {
    "cause": ("component", "factor", "expectation", "act"),
    "motive": ("severity", "harm", "procedure", "procedure_version", "norm", "policy", "route"),
}
"""What the rulebook makes follow from which part: it is as sure as that part, and a rule decided it."""


def parts_of(data: InteractionClassified) -> dict[str, dict[str, Any]]:
    """Every part of a decision: its value, who decided, how sure, under which versions, and what weighed."""
    shown: dict[str, dict[str, Any]] = {}
    for name, part in data.parts.items():
        shown[name] = {
            "value": getattr(data, name, None),
            "decided_by": part.decided_by,
            "confidence": part.confidence,
            "rulebook_version": part.rulebook_version or data.rulebook_version,
            "model_version": part.model_version or data.model_version,
            "by": part.by,
            "evidence": [one.model_dump() for one in data.evidence if one.code == getattr(data, name, None)],
        }
    if "motive" in shown:
        shown["motive"]["precedents"] = [one.model_dump() for one in data.precedents]
    for source, names in FOLLOWS.items():
        if source not in shown:
            continue
        for name in names:
            value = getattr(data, name)
            if value is not None and name not in shown:  # a person may have said it of this contact alone
                shown[name] = {
                    **{key: shown[source][key] for key in ("confidence", "rulebook_version")},
                    "value": value,
                    "decided_by": "rule",
                    "follows_from": source,
                }
    return shown


async def models(connection: AsyncConnection) -> list[dict[str, Any]]:
    """The versions of the coder that decisions stand on, newest decisions only, with what can be counted of each."""
    table = tables.decisions
    query = (
        select(
            table.c.model_version,
            func.max(table.c.rulebook_version).label("rulebook_version"),
            func.count().label("decisions"),
            func.avg(table.c.confidence).label("mean_confidence"),
            func.sum(func.coalesce(table.c.review.cast(Integer), 0)).label("review"),
        )
        .group_by(table.c.model_version)
        .order_by(func.max(table.c.rulebook_version).desc(), table.c.model_version)
    )
    return [_plain(row) for row in await connection.execute(query)]


async def corrections(connection: AsyncConnection) -> int:
    """How many corrections there are to learn from."""
    return int((await connection.execute(select(func.count()).select_from(tables.corrections))).scalar_one())


def fit_of(row: Any) -> dict[str, Any]:
    """The fit that was asked for, is at work or has ended, without who holds it."""
    return {name: value for name, value in _plain(row).items() if name not in {"name", "holder", "until"}}


async def findings(
    connection: AsyncConnection, *, state: str | None, nature: str | None, after: Any, limit: int
) -> list[dict[str, Any]]:
    """Newest first. `state`: a status, or `open`."""
    table = tables.findings
    query: Select[Any] = select(table)
    if state == "open":
        query = query.where(table.c.open)
    elif state is not None:
        query = query.where(table.c.status == state)
    if nature is not None:
        query = query.where(table.c.nature == nature)
    if after is not None:
        opened, identity = datetime.fromisoformat(after[0]), after[1]
        query = query.where(
            or_(table.c.opened_at < opened, and_(table.c.opened_at == opened, table.c.finding_id > identity))
        )
    query = query.order_by(table.c.opened_at.desc(), table.c.finding_id).limit(limit + 1)
    return [_finding(row) for row in await connection.execute(query)]


async def finding(connection: AsyncConnection, finding_id: str) -> dict[str, Any] | None:
    """One finding with the verdicts that speak for it, newest numbers first."""
    table = tables.findings
    row = (await connection.execute(select(table).where(table.c.finding_id == finding_id))).one_or_none()
    if row is None:
        return None
    verdicts = tables.verdicts
    spoken = select(verdicts.c.data).where(verdicts.c.finding_id == finding_id).order_by(verdicts.c.start.desc())
    return {**_finding(row), "verdicts": list((await connection.execute(spoken)).scalars())}


async def verdicts(connection: AsyncConnection) -> dict[tuple[str, str, str], dict[str, Any]]:
    """The newest verdict of every slice that ever had one."""
    table = tables.verdicts
    rows = await connection.execute(select(table).order_by(table.c.start))
    return {
        (row.series, row.motive, row.place): {
            "verdict": row.verdict,
            "nature": row.nature,
            "since": row.start,
            "ended": row.ended,
            "verdict_id": row.verdict_id,
            "finding_id": row.finding_id,
        }
        for row in rows
        if not row.withdrawn
    }


def _finding(row: Any) -> dict[str, Any]:
    found = _plain(row)
    del found["slice_key"]
    return found


def _plain(row: Any) -> dict[str, Any]:
    return dict(row._mapping)  # noqa: SLF001  # the public way to a row's names
