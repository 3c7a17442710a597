"""Three small services in a chain, and the plain functions that both their handlers and the oracle use.

`intake` takes updates of cases. `feedback` counts them per case in a row, assigns the case anew each time, closes it each
third time and reminds of every second one when its timer fires. `indicators` folds both topics into one row per case. Every
row carries digests of what it was made of in its order, so that a loss, a repeat or a swap is seen in one comparison.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any

from sqlalchemy import Column, Integer, MetaData, String, Table, delete, select
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.events.catalogue import decode
from libs.events.catalogue.base import EventData
from libs.events.catalogue.feedback import CaseAssigned, CaseClosed, CaseOverdue
from libs.events.catalogue.interactions import CaseStatus, CaseUpdateRecorded
from libs.events.catalogue.topics import FEEDBACK, INTERACTIONS
from libs.events.consumer import ConsumerSpec, Subscription
from libs.events.envelope import Event, natural_id
from libs.events.rebuild import Projection, digest_of
from libs.events.store import Draft, Unit
from libs.events.tables import machinery
from libs.events.timers import Timer

START = datetime(2026, 1, 5, 8, 0, tzinfo=UTC)
REMINDER = timedelta(minutes=4)
KEYS = 7
PARTITIONS = 2
SERVICES = ("intake", "feedback", "indicators")
TOPICS = (INTERACTIONS, FEEDBACK)
ASSIGN, REMIND, FOLD = "assign", "remind", "fold"

# The domain: plain values in, plain values out.


@dataclass(frozen=True, slots=True)
class Desk:
    """What feedback remembers of a case."""

    key: str
    seen: int = 0
    reminded: int = 0
    trail: str = ""


def follow(trail: str, what: str) -> str:
    return blake2b(f"{trail}/{what}".encode(), digest_size=8).hexdigest()


def take_update(desk: Desk, event_id: str, recorded: datetime) -> tuple[Desk, list[EventData], datetime | None]:
    """The desk after an update, what to say about it, and when to remind."""
    desk = replace(desk, seen=desk.seen + 1, trail=follow(desk.trail, event_id))
    common = {"case_id": desk.key, "customer_id": desk.key, "at": recorded, "by": "desk"}
    said: list[EventData] = [CaseAssigned(**common, agent=str(desk.seen), team=desk.trail)]
    if desk.seen % 3 == 0:
        said.append(CaseClosed(**common, reason=f"closed for the {desk.seen}. time"))
    return desk, said, recorded + REMINDER if desk.seen % 2 else None


def remind(desk: Desk) -> Desk:
    return replace(desk, reminded=desk.reminded + 1)


@dataclass(frozen=True, slots=True)
class Row:
    """What indicators knows of a case."""

    key: str
    updates: int = 0
    assigned: int = 0
    closed: int = 0
    overdue: int = 0
    incoming: str = ""  # digest of what intake said, in its order
    outgoing: str = ""  # digest of what feedback said, in its order


def fold(row: Row, event_id: str, data: EventData) -> Row:
    match data:
        case CaseUpdateRecorded():
            return replace(row, updates=row.updates + 1, incoming=follow(row.incoming, event_id))
        case CaseAssigned():
            row = replace(row, assigned=row.assigned + 1)
        case CaseClosed():
            row = replace(row, closed=row.closed + 1)
        case CaseOverdue():
            row = replace(row, overdue=row.overdue + 1)
    return replace(row, outgoing=follow(row.outgoing, event_id))


def draft_of(number: int) -> Draft:
    """Fact `number`; the same number is the same fact."""
    key = f"case-{number % KEYS}"
    data = CaseUpdateRecorded(
        update_id=f"u{number}",
        external_id=f"u{number}",
        origin="desk",
        case_ref=key,
        status=CaseStatus.ASSIGNED,
        occurred_at=START,
    )
    event_id = fact_id(number)
    return Draft(f"case-update/{event_id}", data, key, START, id=event_id, fingerprint=b"%d" % number)


def fact_id(number: int) -> str:
    return natural_id("case-update", "desk", f"u{number}")


# The services: tables and handlers.


def _table(metadata: MetaData, name: str, kind: type[Any]) -> Table:
    columns = [
        Column(field.name, Integer if field.type is int else String, primary_key=field.name == "key", nullable=False)
        for field in fields(kind)
    ]
    return Table(name, metadata, *columns)


metadata = MetaData()
machinery(metadata)
desks = _table(metadata, "desks", Desk)
rows_of = {slot: _table(metadata, f"cases_{slot}", Row) for slot in ("a", "b")}


class Bug(Exception):
    """A handler's mistake."""


class Handlers:
    """The handlers of one simulation. `poison`: (handler, event id) that fail until somebody repairs the handler."""

    def __init__(self) -> None:
        self.poison: set[tuple[str, str]] = set()
        self.batch = 5  # records that indicators takes at once

    def _check(self, handler: str, events: Sequence[Event]) -> None:
        for event in events:
            if (handler, event.id) in self.poison:
                raise Bug(f"{handler} cannot stand {event.id}")

    async def assign(self, unit: Unit, events: Sequence[Event]) -> None:
        """feedback's reactor."""
        state = await _load(unit.connection, desks, Desk, {event.partitionkey for event in events})
        for number, (event, data) in enumerate(zip(events, await unit.open(events), strict=True)):
            assert isinstance(data, CaseUpdateRecorded)
            # A culprit fails half-way, when its predecessors have already emitted and scheduled.
            if number == len(events) - 1 or (ASSIGN, event.id) in self.poison:
                await _save(unit.connection, desks, state)
                self._check(ASSIGN, [event])
            desk, said, due = take_update(state[event.partitionkey], event.id, event.recordedtime)
            state[desk.key] = desk
            for item in said:
                unit.emit(Draft(f"case/{desk.key}", item, desk.key, event.recordedtime, cause=event))
            if due is not None:
                unit.schedule(REMIND, f"{desk.key}/{desk.seen}", due, {"key": desk.key}, cause=event)
        await _save(unit.connection, desks, state)

    async def remind(self, unit: Unit, timers: Sequence[Timer]) -> None:
        """feedback's timer."""
        state = await _load(unit.connection, desks, Desk, {timer.data["key"] for timer in timers})
        for timer in timers:
            desk = state[timer.data["key"]] = remind(state[timer.data["key"]])
            data = CaseOverdue(case_id=desk.key, customer_id=desk.key, at=timer.due, by="timer", due_at=timer.due)
            unit.emit(Draft(f"case/{desk.key}", data, desk.key, timer.due, cause=timer))
        await _save(unit.connection, desks, state)

    def fold_into(self, slot: str) -> Any:
        """indicators' projector for a slot."""

        async def handle(unit: Unit, events: Sequence[Event]) -> None:
            self._check(FOLD, events)
            state = await _load(unit.connection, rows_of[slot], Row, {event.partitionkey for event in events})
            for event in events:
                state[event.partitionkey] = fold(state[event.partitionkey], event.id, decode(event))
            await _save(unit.connection, rows_of[slot], state)

        return handle

    def consumers(self) -> list[ConsumerSpec]:
        """Of feedback. It reads its own topic too, like a service that keeps a view of what it said."""
        wanted = [Subscription(ASSIGN, "reactor", (CaseUpdateRecorded,), self.assign)]
        return [ConsumerSpec("feedback", (INTERACTIONS,), wanted, max_records=4)]

    def projection(self) -> Projection:
        """Of indicators."""
        return Projection(
            name="cases",
            version=1,
            topics=TOPICS,
            group=lambda slot: f"indicators.cases.{slot}",
            subscriptions=lambda slot: [
                Subscription(
                    FOLD,
                    "projector",
                    (CaseUpdateRecorded, CaseAssigned, CaseClosed, CaseOverdue),
                    self.fold_into(slot),
                )
            ],
            clear=_clear,
            digest=lambda connection, slot: digest_of(connection, [rows_of[slot]]),
            max_records=self.batch,
        )


async def _clear(connection: AsyncConnection, slot: str) -> None:
    await connection.execute(delete(rows_of[slot]))


async def _load(connection: AsyncConnection, table: Table, kind: Any, keys: set[str]) -> dict[str, Any]:
    found = await connection.execute(select(table).where(table.c.key.in_(sorted(keys))))
    state = {row.key: kind(**row._asdict()) for row in found}
    return {key: state.get(key) or kind(key) for key in sorted(keys)}


async def _save(connection: AsyncConnection, table: Table, state: Mapping[str, Any]) -> None:
    statement = insert(table)
    replaced = {column.name: statement.excluded[column.name] for column in table.columns if column.name != "key"}
    await connection.execute(
        statement.on_conflict_do_update(index_elements=["key"], set_=replaced),
        [asdict(item) for item in state.values()],
    )
