"""Which contacts belong to which finding: those that were there when it opened, and each one that comes later.

Before the monitor counts a batch, what the decisions say of each contact is written down (`particulars`), and contacts join
the findings that are open for them or leave those they were coded out of. When a finding opens, a timer brings in what came
before. Both publish `lazo.finding.joined.v1`, which tells open cases of it (DISP 1.3.3R) and lists the complaints behind it.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, exists, false, func, not_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.events import bulk
from libs.events.catalogue import decode
from libs.events.catalogue.classifications import InteractionClassified
from libs.events.catalogue.findings import FindingJoined, Nature
from libs.events.catalogue.interactions import Kind
from libs.events.envelope import Event
from libs.events.ids import natural_id
from libs.events.offload import each, in_turns
from libs.events.store import Cause, Draft, Unit
from libs.events.timers import Timer
from services.classification import tables
from services.classification.bounding import FREE, OTHER
from services.classification.desk import JOIN
from services.classification.escalating import Escalating

NO_PROBLEM = {Kind.COMPLIMENT, Kind.SUGGESTION}
DIMENSIONS = (
    "motive", "cause", "channel", "touchpoint", "location", "product", "team", "agent", "supplier", "segment", "procedure",
    "norm", "severity", "component",
)  # fmt: skip
"""What a finding's slice may name."""
CHUNK = 500
"""Contacts of one event: about 20 kB."""


def particulars_row(data: InteractionClassified) -> dict[str, Any]:
    """What a decision says of its contact."""
    return {
        "interaction_id": data.interaction_id,
        "revision": data.revision,
        "customer_id": data.customer_id,
        "occurred_at": data.occurred_at,
        "counted": data.kind not in NO_PROBLEM,
        "channel": str(data.channel),
        "procedure_version": data.procedure_version,
        "signed": data.signed,
        "act": data.act,
        **{name: getattr(data, name) for name in DIMENSIONS if name != "channel"},
    }


def newest(facts: Iterable[InteractionClassified]) -> dict[str, InteractionClassified]:
    """The last decision about each contact, in whatever order they come."""
    found: dict[str, InteractionClassified] = {}
    for data in facts:
        held = found.get(data.interaction_id)
        if held is None or held.revision < data.revision:
            found[data.interaction_id] = data
    return found


def fold_particulars(facts: Iterable[InteractionClassified]) -> dict[str, dict[str, Any]]:
    """The table as the events alone make it."""
    return {identity: particulars_row(data) for identity, data in newest(facts).items()}


def belongs(
    where: Mapping[str, str], since: datetime, parts: Mapping[str, Mapping[str, str]], row: Mapping[str, Any]
) -> bool:
    """Whether a contact is of a finding: in its slice since it began, and in none of the parts split off."""
    inside = row["counted"] and row["occurred_at"] >= since and _within(where, row)
    return bool(inside and not any(_within(part, row) for part in parts.values()))


def _within(where: Mapping[str, str], row: Mapping[str, Any]) -> bool:
    return all((row.get(name) or "") == value for name, value in where.items())


def within(where: Mapping[str, str]) -> list[ColumnElement[bool]]:
    """The same as conditions on the table, and for what is beyond the bound: what the monitor counts there."""
    table, counted = tables.particulars, tables.contacts
    found: list[ColumnElement[bool]] = []
    for name, value in where.items():
        if value == OTHER and name in FREE:
            same = counted.c.interaction_id == table.c.interaction_id
            found.append(exists().where(same, counted.c[name] == OTHER))
        else:
            found.append(func.coalesce(table.c[name], "") == value if name in DIMENSIONS else false())
    return found


class Joining:
    def __init__(self, escalating: Escalating) -> None:
        self._escalating = escalating

    async def take(self, unit: Unit, events: Sequence[Event]) -> None:
        """Reactor: write particulars down; contacts join open findings, or leave them."""
        facts = newest(data for data in await each(decode, events) if isinstance(data, InteractionClassified))
        made = await each(particulars_row, list(facts.values()), every=50)
        rows = await _newer(unit.connection, dict(zip(facts, made, strict=True)))
        if not rows:
            return
        await _write(unit.connection, tables.particulars, ["interaction_id"], list(rows.values()))
        table = tables.findings
        motives = {row["motive"] for row in rows.values()}
        linked = await _linked(unit.connection, list(rows))
        open_ = [
            row
            for row in await unit.connection.execute(select(table).where(table.c.open).order_by(table.c.finding_id))
            if row.slice.get("motive") in {None, *motives} or row.finding_id in linked
        ]
        async for finding in in_turns(open_, every=4):
            if OTHER in finding.slice.values():
                # Whether a value is beyond the bound is known once the monitor has counted it, later in this transaction.
                unit.schedule(JOIN, finding.finding_id, unit.now, {}, cause=events[-1])
                continue
            held = linked.get(finding.finding_id, set())
            now = {
                identity for identity, row in rows.items() if belongs(finding.slice, finding.since, finding.parts, row)
            }
            await self._say(unit, finding, sorted(now - held), sorted(held - now), events[-1])

    async def gather(self, unit: Unit, timers: Sequence[Timer]) -> None:
        """Timer: a finding has opened, or was split: who belongs to it?"""
        table, p, links = tables.findings, tables.particulars, tables.links
        for timer in timers:
            query = select(table).where(table.c.finding_id == timer.key)
            finding = (await unit.connection.execute(query)).one_or_none()
            if finding is None or not finding.open:
                continue
            others = [not_(and_(*within(part))) for part in finding.parts.values()]
            wanted = select(p.c.interaction_id).where(
                p.c.counted, p.c.occurred_at >= finding.since, *within(finding.slice), *others
            )
            now = set((await unit.connection.execute(wanted)).scalars())
            query_held = select(links.c.interaction_id).where(links.c.finding_id == finding.finding_id)
            held = set((await unit.connection.execute(query_held)).scalars())
            await self._say(unit, finding, sorted(now - held), sorted(held - now), timer)
            await self._escalating.look(unit, finding.finding_id, timer)

    @staticmethod
    async def _say(unit: Unit, finding: Any, joined: Sequence[str], left: Sequence[str], cause: Event | Cause) -> None:
        for start in range(0, max(len(joined), len(left)), CHUNK):
            data = FindingJoined(
                finding_id=finding.finding_id,
                at=unit.now,
                nature=Nature(finding.nature),
                title=finding.title,
                interaction_ids=list(joined[start : start + CHUNK]),
                left=list(left[start : start + CHUNK]),
            )
            stream = f"finding-links/{finding.finding_id}"
            # By what it says: two timers of one instant have one id, and would be taken for each other.
            told = natural_id("joined", cause.id, stream, ",".join(data.interaction_ids), ",".join(data.left))
            draft = Draft(stream=stream, data=data, key=finding.finding_id, time=unit.now, id=told, cause=cause)
            unit.emit(draft)
        links = tables.links
        if left:
            gone = delete(links).where(links.c.finding_id == finding.finding_id, links.c.interaction_id.in_(left))
            await unit.connection.execute(gone)
        if joined:
            rows = [
                {"finding_id": finding.finding_id, "interaction_id": identity, "joined_at": unit.now}
                for identity in joined
            ]
            await _write(unit.connection, links, ["finding_id", "interaction_id"], rows)


def fold_links(events: Iterable[FindingJoined]) -> set[tuple[str, str]]:
    """The table's keys as the events alone make them."""
    found: set[tuple[str, str]] = set()
    for event in events:
        found |= {(event.finding_id, identity) for identity in event.interaction_ids}
        found -= {(event.finding_id, identity) for identity in event.left}
    return found


async def _newer(connection: AsyncConnection, rows: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    table = tables.particulars
    query = select(table.c.interaction_id, table.c.revision)
    found = await bulk.among(connection, query, table.c.interaction_id, rows)
    known = {row.interaction_id: row.revision for row in found}
    return {identity: row for identity, row in rows.items() if known.get(identity, 0) < row["revision"]}


async def _linked(connection: AsyncConnection, identities: Sequence[str]) -> Mapping[str, set[str]]:
    table = tables.links
    found: dict[str, set[str]] = defaultdict(set)
    for row in await bulk.among(connection, select(table), table.c.interaction_id, identities):
        found[row.finding_id].add(row.interaction_id)
    return found


async def _write(connection: AsyncConnection, table: Any, key: list[str], rows: list[dict[str, Any]]) -> None:
    await bulk.write(connection, table, rows, key=key)


__all__ = ["DIMENSIONS", "JOIN", "Joining", "belongs", "fold_links", "fold_particulars", "particulars_row", "within"]
