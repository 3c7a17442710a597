"""Reads of the review: the queue, one item with its words and what is near it, agreement between people."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import and_, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.events.catalogue.interactions import InteractionRecorded
from libs.events.offload import offload
from libs.events.sealing import opened
from libs.events.vault import Vault
from services.classification import archive, tables
from services.classification.coding import PERSON, contact_of
from services.classification.domain.agreement import Kappa, Pair, by_code, by_person, kappa
from services.classification.domain.alike import likeness
from services.classification.domain.candidates import Candidate, Proposer
from services.classification.domain.coder import Coder
from services.classification.domain.review import waiting
from services.classification.reviewing import REVIEW

COMPARED = 200
"""Texts opened and compared for one look: 0.1 ms each."""
ALIKE = 0.35
"""Likeness from which an item is offered for deciding together; the person sees each and may leave it out."""
BEST = 3
PRECEDENTS = 5


async def queue(
    connection: AsyncConnection, now: datetime, motive: str | None, after: Any, limit: int
) -> list[dict[str, Any]]:
    """Contacts a person should look at, largest expected gain first, with who is at it."""
    table, claims = tables.decisions, tables.claims
    live = and_(claims.c.interaction_id == table.c.interaction_id, claims.c.purpose == REVIEW, claims.c.until > now)
    query = select(table, claims.c.person.label("claimed_by"), claims.c.until.label("claimed_until"))
    query = query.outerjoin(claims, live).where(table.c.review)
    if motive is not None:
        query = query.where(table.c.motive == motive)
    if after is not None:
        stored, identity = after
        query = query.where(or_(table.c.gain < stored, and_(table.c.gain == stored, table.c.interaction_id < identity)))
    query = query.order_by(table.c.gain.desc(), table.c.interaction_id.desc()).limit(limit + 1)
    return [dict(row._mapping) for row in await connection.execute(query)]  # noqa: SLF001  # the public way to a row's names


async def decision(connection: AsyncConnection, interaction_id: str) -> dict[str, Any] | None:
    """The row of the newest decision."""
    query = select(tables.decisions).where(tables.decisions.c.interaction_id == interaction_id)
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else dict(row._mapping)  # noqa: SLF001  # the public way to a row's names


def shown(row: dict[str, Any], now: datetime) -> dict[str, Any]:
    """A queue's row as the API gives it: the gain as it stands now; who is picked to be coded twice is left out."""
    item = {name: value for name, value in row.items() if name != "sample"}
    return item | {"gain": round(waiting(row["gain"], now), 4)}


async def item(
    connection: AsyncConnection,
    vault: Vault,
    coder: Coder | None,
    proposer: Proposer,
    interaction_id: str,
) -> dict[str, Any]:
    """Words, best codes and precedents of one contact. Nothing in it tells what a person decided about it."""
    kept = (await archive.fetch(connection, [interaction_id])).get(interaction_id)
    if kept is None:
        return {"kept": False, "erased": False, "contact": None, "candidates": [], "precedents": []}
    contact = (await opened(vault, [kept]))[0]
    assert isinstance(contact, InteractionRecorded)
    best: list[Candidate] = []
    if coder is not None:
        best = await offload(proposer.best, coder, contact_of(contact), BEST)
    text = archive.words_of(contact)
    return {
        "kept": True,
        "erased": archive.erased(kept, contact),
        "contact": contact.model_dump(
            mode="json",
            include={
                "interaction_id", "kind", "channel", "occurred_at", "subject", "text", "language", "touchpoint", "product",
                "location", "team", "supplier", "declared_motive",
            },
        ),
        "candidates": [
            {**asdict(one), "evidence": [term.model_dump() for term in one.evidence]} for one in best
        ],
        "precedents": await precedents(connection, vault, interaction_id, text, [one.motive for one in best]),
    }  # fmt: skip


async def precedents(
    connection: AsyncConnection, vault: Vault, interaction_id: str, text: str, motives: Sequence[str]
) -> list[dict[str, Any]]:
    """Contacts like this one that people decided (R96), most alike first; among the newest of the likely motives."""
    if not text or not motives:
        return []
    table = tables.decisions
    query = (
        select(table.c.interaction_id, table.c.motive, table.c.cause, table.c.by, table.c.decided_at)
        .where(table.c.decided_by == PERSON, table.c.motive.in_(motives), table.c.interaction_id != interaction_id)
        .order_by(table.c.decided_at.desc(), table.c.interaction_id)
        .limit(COMPARED)
    )
    return await _near(connection, vault, text, (await connection.execute(query)).all(), 0.05, PRECEDENTS)


async def alike(
    connection: AsyncConnection, vault: Vault, now: datetime, interaction_id: str, person: str, limit: int
) -> list[dict[str, Any]]:
    """Others in the queue that read like this one and are nobody else's now, most alike first."""
    kept = (await archive.fetch(connection, [interaction_id])).get(interaction_id)
    if kept is None:
        return []
    contact = (await opened(vault, [kept]))[0]
    assert isinstance(contact, InteractionRecorded)
    text = archive.words_of(contact)
    table, claims = tables.decisions, tables.claims
    own = select(table.c.motive).where(table.c.interaction_id == interaction_id).scalar_subquery()
    live = and_(claims.c.interaction_id == table.c.interaction_id, claims.c.purpose == REVIEW, claims.c.until > now)
    query = (
        select(table.c.interaction_id, table.c.motive, table.c.cause, table.c.revision, table.c.confidence)
        .outerjoin(claims, live)
        .where(
            table.c.review,
            table.c.motive == own,
            table.c.interaction_id != interaction_id,
            claims.c.person.is_(None) | (claims.c.person == person),
        )
        .order_by(table.c.gain.desc(), table.c.interaction_id.desc())
        .limit(COMPARED)
    )
    return await _near(connection, vault, text, (await connection.execute(query)).all(), ALIKE, limit) if text else []


async def _near(
    connection: AsyncConnection, vault: Vault, text: str, rows: Sequence[Any], least: float, most: int
) -> list[dict[str, Any]]:
    events = await archive.fetch(connection, [row.interaction_id for row in rows])
    there = [row for row in rows if row.interaction_id in events]
    contacts = await opened(vault, [events[row.interaction_id] for row in there])
    texts = [archive.words_of(one) if isinstance(one, InteractionRecorded) else "" for one in contacts]
    scores = await offload(likeness, text, texts)
    ranked = sorted(zip(scores, there, texts, strict=True), key=lambda one: (-one[0], one[1].interaction_id))
    return [
        {**row._mapping, "likeness": round(score, 3), "text": words}  # noqa: SLF001  # the public way to a row's names
        for score, row, words in ranked[:most]
        if score >= least and words
    ]


async def second_codings(
    connection: AsyncConnection, *, disagreed: bool, person: str | None, after: Any, limit: int
) -> list[dict[str, Any]]:
    """Contacts coded twice, newest first."""
    table = tables.second_codings
    query = select(table)
    if disagreed:
        query = query.where(table.c.agreed.is_(False))
    if person is not None:
        query = query.where(or_(table.c.person == person, table.c.first_person == person))
    if after is not None:
        at, identity = datetime.fromisoformat(after[0]), after[1]
        query = query.where(or_(table.c.at < at, and_(table.c.at == at, table.c.interaction_id < identity)))
    query = query.order_by(table.c.at.desc(), table.c.interaction_id.desc()).limit(limit + 1)
    return [dict(row._mapping) for row in await connection.execute(query)]  # noqa: SLF001  # the public way to a row's names


async def agreement(connection: AsyncConnection, since: datetime | None, until: datetime | None) -> dict[str, Any]:
    """Cohen's kappa over contacts coded twice: of motives, of causes, by motive, by person, and of the machine with people."""
    table = tables.second_codings
    query = select(table)
    if since is not None:
        query = query.where(table.c.at >= since)
    if until is not None:
        query = query.where(table.c.at < until)
    rows = (await connection.execute(query)).all()
    pairs = [Pair(row.first_motive, row.motive, row.first_person, row.person) for row in rows]
    machine = [(row.machine_motive, row.motive) for row in rows if row.machine_motive is not None]
    return {
        "pairs": len(rows),
        "disagreements": sum(not row.agreed for row in rows),
        "motive": asdict(kappa([(pair.first, pair.second) for pair in pairs])),
        "cause": asdict(kappa([(row.first_cause, row.cause) for row in rows])),
        "machine": asdict(kappa(machine)),
        "by_motive": _listed("motive", by_code(pairs)),
        "by_person": _listed("person", by_person(pairs)),
    }


def _listed(name: str, found: dict[str, Kappa]) -> list[dict[str, Any]]:
    return [{name: key, **asdict(value)} for key, value in found.items()]
