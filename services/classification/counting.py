"""The monitor's counts in the database: one row per contact, and sums by slice and day that follow from them."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.events import bulk
from libs.events.catalogue.classifications import InteractionClassified
from libs.events.catalogue.interactions import Kind
from libs.events.offload import in_turns
from services.classification import tables
from services.classification.bounding import Bounds
from services.classification.domain.slices import ATTRIBUTES, BASE, DEFAULT, FIRST, PEERED, Series, parse
from services.classification.domain.watch import differences, fresh_days

WATCHED, PEERS = BASE, PEERED.counts
MONITOR = "monitor"
"""Name of its row among the watermarks; the sweep has one of its own."""
NO_PROBLEM = {Kind.COMPLIMENT, Kind.SUGGESTION}

SliceDay = tuple[str, str, str, date]  # series, motive, place, day
Group = tuple[str, str, str, str]  # series, motive, place, customer
Key = tuple[str, str, str]  # series, motive, place


@dataclass(frozen=True, slots=True)
class Counted:
    """A contact as the monitor sees it."""

    interaction_id: str
    revision: int
    counted: bool
    motive: str
    touchpoint: str
    location: str
    customer_id: str
    day: date
    occurred_at: datetime
    cause: str
    supplier: str | None
    product: str = ""
    team: str = ""
    procedure: str = ""
    component: str = ""

    def slices(self, watched: Sequence[Series]) -> list[Key]:
        """Where it is counted."""
        if not self.counted:
            return []
        values = {name: getattr(self, name) or "" for name in ATTRIBUTES}
        return [row for series in watched if (row := series.row_of(values)) is not None]


def counted_of(data: InteractionClassified, now: datetime, zone: ZoneInfo) -> Counted:
    """A contact dated ahead of the clock counts today: no fact of tomorrow may close today."""
    occurred = min(data.occurred_at, now)
    return Counted(
        interaction_id=data.interaction_id,
        revision=data.revision,
        counted=data.kind not in NO_PROBLEM,
        motive=data.motive,
        touchpoint=data.touchpoint or "",
        location=data.location or "",
        customer_id=data.customer_id,
        day=occurred.astimezone(zone).date(),
        occurred_at=occurred,
        cause=data.cause,
        supplier=data.supplier,
        product=data.product or "",
        team=data.team or "",
        procedure=data.procedure or "",
        component="" if data.component is None else str(data.component),
    )


def watched_of(series: Sequence[Series]) -> tuple[Series, ...]:
    """What is counted: the first series, places for their comparison, and what is watched beside them; each count once."""
    return tuple({one.counts: one for one in (FIRST, PEERED, *series)}.values())


USUAL = watched_of(parse(DEFAULT))


async def count(
    connection: AsyncConnection,
    facts: Sequence[Counted],
    watched: Sequence[Series] = USUAL,
    bounds: Bounds | None = None,
) -> dict[SliceDay, tuple[int, int]]:
    """Write contacts down and move the sums; what was added to each (fresh, contacts). Older revisions change nothing."""
    table = tables.contacts
    newest: dict[str, Counted] = {}
    for fact in facts:
        held = newest.get(fact.interaction_id)
        if held is None or held.revision < fact.revision:
            newest[fact.interaction_id] = fact
    if not newest:
        return {}
    known = await _customers(connection, {fact.customer_id for fact in newest.values()})
    changes = [
        fact
        for fact in newest.values()
        if fact.interaction_id not in known or known[fact.interaction_id].revision < fact.revision
    ]
    if not changes:
        return {}
    changes = await (bounds or Bounds()).apply(connection, changes, watched)
    after = {**known, **{fact.interaction_id: fact for fact in changes}}
    concerned: set[Group] = set()
    async for fact in in_turns(changes, every=25):
        for each in (fact, known.get(fact.interaction_id)):
            if each is not None:
                concerned.update((*key, each.customer_id) for key in each.slices(watched))
    old = await _in_turns(known.values(), watched)
    new = await _in_turns(after.values(), watched)
    added: dict[SliceDay, tuple[int, int]] = {}
    async for group in in_turns(concerned, every=50):
        series, motive, place, _ = group
        for day, fresh, contacts in differences(_sums(old.get(group, ())), _sums(new.get(group, ()))):
            held_fresh, held_contacts = added.get((series, motive, place, day), (0, 0))
            added[series, motive, place, day] = (held_fresh + fresh, held_contacts + contacts)
    added = {place: values for place, values in added.items() if values != (0, 0)}
    await _write(connection, table, ["interaction_id"], [_row(fact) for fact in changes])
    await _add(connection, added)
    return added


async def _customers(connection: AsyncConnection, customers: set[str]) -> dict[str, Counted]:
    """All contacts of these customers: what is fresh depends on the others of the same person."""
    table = tables.contacts
    found = await bulk.among(connection, select(table), table.c.customer_id, sorted(customers))
    return {row.interaction_id: Counted(*row) async for row in in_turns(found, every=100)}


async def _in_turns(facts: Iterable[Counted], watched: Sequence[Series]) -> Mapping[Group, list[date]]:
    """The days of each group's contacts, others let in on the way."""
    found: dict[Group, list[date]] = defaultdict(list)
    async for fact in in_turns(facts, every=25):
        _note(found, fact, watched)
    return found


def _note(found: dict[Group, list[date]], fact: Counted, watched: Sequence[Series]) -> None:
    for key in fact.slices(watched):
        found[*key, fact.customer_id].append(fact.day)


def _sums(days: Sequence[date]) -> dict[date, tuple[int, int]]:
    if len(days) == 1:
        return {days[0]: (1, 1)}
    fresh = fresh_days(days)
    return {day: (int(day in fresh), days.count(day)) for day in set(days)}


def _row(fact: Counted) -> dict[str, Any]:
    return {name: getattr(fact, name) for name in Counted.__dataclass_fields__}


async def _write(connection: AsyncConnection, table: Any, key: list[str], rows: list[dict[str, Any]]) -> None:
    await bulk.write(connection, table, rows, key=key)


async def _add(connection: AsyncConnection, added: Mapping[SliceDay, tuple[int, int]]) -> None:
    if not added:
        return
    rows = [
        {"series": series, "motive": motive, "place": place, "day": day, "fresh": fresh, "contacts": contacts}
        for (series, motive, place, day), (fresh, contacts) in sorted(added.items())
    ]
    keys = ["series", "motive", "place", "day"]
    await bulk.write(connection, tables.days, rows, key=keys, replaced=(), added=("fresh", "contacts"))


def fold(facts: Iterable[Counted], watched: Sequence[Series] = USUAL) -> dict[SliceDay, tuple[int, int]]:
    """The sums as the contacts alone make them, newest revision of each: what the table must hold."""
    newest: dict[str, Counted] = {}
    for fact in facts:
        if fact.interaction_id not in newest or newest[fact.interaction_id].revision < fact.revision:
            newest[fact.interaction_id] = fact
    groups: dict[Group, list[date]] = defaultdict(list)
    for fact in newest.values():
        _note(groups, fact, watched)
    total: dict[SliceDay, tuple[int, int]] = {}
    for (series, motive, place, _), days in groups.items():
        for day, (fresh, contacts) in _sums(days).items():
            held = total.get((series, motive, place, day), (0, 0))
            total[series, motive, place, day] = (held[0] + fresh, held[1] + contacts)
    return total
