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
    segment: str = ""

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
        segment=data.segment or "",
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
    under_way: Mapping[str, str] | None = None,
) -> dict[SliceDay, tuple[int, int]]:
    """Write contacts down and move the sums; what was added to each (fresh, contacts). Older revisions change nothing.

    `under_way`: series that are counted from the contacts written down, and up to which customer (`recounting`)."""
    table = tables.contacts
    newest: dict[str, Counted] = {}
    for fact in facts:
        held = newest.get(fact.interaction_id)
        if held is None or held.revision < fact.revision:
            newest[fact.interaction_id] = fact
    if not newest:
        return {}
    before = await _held(connection, table.c.interaction_id, newest)
    changes = [
        fact
        for fact in newest.values()
        if fact.interaction_id not in before or before[fact.interaction_id].revision < fact.revision
    ]
    if not changes:
        return {}
    changes = await (bounds or Bounds()).apply(connection, changes, watched)
    concerned: set[Group] = set()
    async for fact in in_turns(changes, every=25):
        concerned.update(_concerned(fact, before.get(fact.interaction_id), watched))
    if under_way:
        concerned = {group for group in concerned if group[-1] <= under_way.get(group[0], group[-1])}
    # What is fresh depends on the other contacts of the same person. Coded again, nine in ten stay where they were: nobody is looked up for these.
    known = await _held(connection, table.c.customer_id, {customer for *_, customer in concerned})
    changed = {fact.interaction_id: fact for fact in changes}
    old: dict[Group, list[date]] = defaultdict(list)
    new: dict[Group, list[date]] = defaultdict(list)
    async for fact in in_turns(known.values(), every=25):
        _note(old, fact, watched)
        if fact.interaction_id not in changed:
            _note(new, fact, watched)
    async for fact in in_turns(changes, every=25):
        _note(new, fact, watched)
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


def _concerned(fact: Counted, before: Counted | None, watched: Sequence[Series]) -> set[Group]:
    """The groups whose sums a contact, as it is now instead of as it was, may change."""
    now = {(*key, fact.customer_id) for key in fact.slices(watched)}
    if before is None:
        return now
    then = {(*key, before.customer_id) for key in before.slices(watched)}
    return now | then if fact.day != before.day else now ^ then


async def _held(connection: AsyncConnection, column: Any, values: Iterable[str]) -> dict[str, Counted]:
    """Contacts written down, by their id: those with one of these values in the column."""
    found = await bulk.among(connection, select(tables.contacts), column, sorted(values))
    return {row.interaction_id: Counted(*row) async for row in in_turns(found, every=100)}


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
