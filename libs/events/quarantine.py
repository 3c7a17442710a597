"""The quarantine: deterministic failures, kept whole, and what waits behind them."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import orjson
from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.events import faults
from libs.events.catalogue.base import EventData
from libs.events.envelope import Event, from_record, natural_id
from libs.events.errors import ConcurrencyConflict, describe, is_conflict, is_transient
from libs.events.inbox import identity, take
from libs.events.log import Record
from libs.events.settings import MachinerySettings
from libs.events.store import Store, Unit
from libs.events.subscriptions import Routes, Subscription
from libs.events.timers import Timer, TimerHandler

logger = logging.getLogger("lazo.quarantine")

CONFLICTS = 5  # with other transactions, before a replay is given up

State = Literal["parked", "waiting", "replayed", "discarded"]
TIMERS = "timers"  # the group under which timers are parked
ENVELOPE = ""  # the handler of a record that is no event
# Asked with every batch. Put together by SQLAlchemy each time it costs twice as much.
_BLOCKED = (
    "SELECT DISTINCT handler, key FROM quarantine"
    " WHERE state IN ('parked', 'waiting') AND key IS NOT NULL AND handler <> '' AND consumer_group = "
)


class NotParked(LookupError):
    """No such item, or it is not parked (any more)."""


@dataclass(frozen=True, slots=True)
class Parked:
    """An item of the quarantine. `waiting` ones are whole; they wait behind a parked one of the same key and handler."""

    id: str
    number: int
    group: str
    handler: str
    state: State
    topic: str
    partition: int
    offset: int
    key: str | None
    event_id: str | None
    type: str | None
    headers: tuple[tuple[str, bytes], ...]
    value: bytes
    timestamp_ms: int
    attempts: int
    error: str
    code_version: str
    traceparent: str | None
    parked_at: datetime
    settled_at: datetime | None
    reason: str | None

    def record(self) -> Record:
        """The record as it came from the log."""
        key = None if self.key is None else self.key.encode()
        return Record(self.topic, self.partition, self.offset, key, self.value, self.headers, self.timestamp_ms)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a replay or a discard led to: `released` followers were handled; `error` if the item or a follower failed."""

    id: str
    state: State
    released: int = 0
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """Why something is parked."""

    handler: str
    error: str
    attempts: int
    state: State = "parked"


class Quarantine:
    """The quarantine of one service."""

    def __init__(self, store: Store, settings: MachinerySettings, partitions: Callable[[str], int]) -> None:
        self.store, self.settings = store, settings
        self._partitions = partitions
        self._routes: dict[str, Routes] = {}
        self._timers: Mapping[str, TimerHandler] = {}

    def register(self, group: str, routes: Routes) -> None:
        """Make a consumer group's handlers known, so that what they failed at can be replayed."""
        self._routes[group] = routes

    def register_timers(self, handlers: Mapping[str, TimerHandler]) -> None:
        self._timers = handlers

    # What the consumer does inside its transaction.

    async def blocked(self, connection: AsyncConnection, group: str) -> set[tuple[str, str]]:
        """(handler, key) pairs whose later events must wait."""
        mark = "?" if connection.dialect.name == "sqlite" else "$1"
        found: Any = await connection.exec_driver_sql(_BLOCKED + mark, (group,))
        return {(handler, key) for handler, key in found}

    async def park(
        self, connection: AsyncConnection, group: str, items: Sequence[tuple[Record, Event | None, Failure]]
    ) -> None:
        """Keep the records, in the transaction that moves the offset past them."""
        if not items:
            return
        now = self.store.clock.now()
        rows = [
            {
                "id": natural_id(
                    "quarantine", group, record.topic, str(record.partition), str(record.offset), failure.handler
                ),
                "consumer_group": group,
                "handler": failure.handler,
                "state": failure.state,
                "topic": record.topic,
                "partition": record.partition,
                "offset": record.offset,
                "key": _text(record.key),
                "event_id": None if event is None else event.id,
                "type": None if event is None else event.type,
                "headers": orjson.dumps([(name, value.decode("latin-1")) for name, value in record.headers]),
                "value": record.value,
                "timestamp_ms": record.timestamp_ms,
                "attempts": failure.attempts,
                "error": failure.error,
                "code_version": self.settings.code_version,
                "traceparent": None if event is None else event.traceparent,
                "parked_at": now,
            }
            for record, event, failure in items
        ]
        await connection.execute(insert(self.store.tables.quarantine), rows)
        faults.point("quarantine.parked")
        for record, _, failure in items:
            if failure.state == "parked":
                where = (record.topic, record.partition, record.offset)
                logger.error("parked %s/%s@%s for %s/%s: %s", *where, group, failure.handler, failure.error)

    # What people do.

    async def count(self, state: State = "parked") -> int:
        """How many there are in a state."""
        table = self.store.tables.quarantine
        async with self.store.reading() as connection:
            query = select(func.count()).select_from(table).where(table.c.state == state)
            return (await connection.execute(query)).scalar_one()

    async def list(
        self, after: int = 0, limit: int = 50, *, states: Sequence[State] = ("parked", "waiting")
    ) -> list[Parked]:
        """Items in the order they were parked, those with a `number` above `after`."""
        table = self.store.tables.quarantine
        query = select(table).where(table.c.number > after, table.c.state.in_(states))
        async with self.store.reading() as connection:
            rows = (await connection.execute(query.order_by(table.c.number).limit(limit))).all()
        return [_parked(row) for row in rows]

    async def get(self, item_id: str) -> Parked:
        """One item. Raises NotParked when there is none of this id."""
        table = self.store.tables.quarantine
        async with self.store.reading() as connection:
            row = (await connection.execute(select(table).where(table.c.id == item_id))).one_or_none()
        if row is None:
            raise NotParked(item_id)
        return _parked(row)

    async def replay(self, item_id: str) -> Outcome:
        """Handle the item now, with today's upcasters and handlers, then those that wait behind it, in order.

        The group's position does not move. Raises NotParked; a failure of the handler is in the outcome, and counted.
        """
        item = await self.get(item_id)
        if item.state != "parked":
            raise NotParked(f"{item_id} is {item.state}")
        error = await self._handle(item, "parked")
        if error is not None:
            return Outcome(item.id, "parked", error=error)
        released, error = await self.release(item.group, item.handler, item.key)
        return Outcome(item.id, "replayed", released, error)

    async def discard(self, item_id: str, reason: str) -> Outcome:
        """Give the item up, say why, and handle those that wait behind it. Raises NotParked, ValueError without a reason."""
        if not reason.strip():
            raise ValueError("discarding needs a reason")
        item = await self.get(item_id)
        async with self.store.writing() as connection:
            await self._settle(connection, item, "parked", "discarded", reason)
        released, error = await self.release(item.group, item.handler, item.key)
        return Outcome(item.id, "discarded", released, error)

    async def release(self, group: str, handler: str, key: str | None) -> tuple[int, str | None]:
        """Handle what waits for a key whose parked item is gone, in order; the first that fails is parked in its place."""
        table = self.store.tables.quarantine
        query = (
            select(table)
            .where(
                table.c.consumer_group == group,
                table.c.handler == handler,
                table.c.key == key,
                table.c.state.in_(("parked", "waiting")),
            )
            .order_by(table.c.number)
            .limit(1)
        )
        released = 0
        while True:
            async with self.store.reading() as connection:
                row = (await connection.execute(query)).one_or_none()
            if row is None or row.state == "parked":
                return released, None
            item = _parked(row)
            try:
                error = await self._handle(item, "waiting")
            except NotParked:  # somebody else released it a moment ago
                continue
            if error is not None:
                return released, error
            released += 1

    async def release_orphans(self, group: str) -> int:
        """Handle followers left behind when a process ended between settling their first and releasing them."""
        table = self.store.tables.quarantine
        waiting = select(table.c.handler, table.c.key).where(
            table.c.consumer_group == group, table.c.state == "waiting"
        )
        async with self.store.reading() as connection:
            keys = (await connection.execute(waiting.distinct())).all()
        return sum([(await self.release(group, handler, key))[0] for handler, key in keys])

    async def _handle(self, item: Parked, state: State) -> str | None:
        """Run the item's handler and settle it in one transaction; the error if it failed for good."""
        for _ in range(CONFLICTS):
            try:
                return await self._attempt(item, state)
            except Exception as error:
                # The consumer at work releases the same followers: whoever was too late looks again.
                if not isinstance(error, ConcurrencyConflict) and not is_conflict(error):
                    raise
                logger.info("the replay of %s meets another writer: %s", item.id, describe(error))
        return await self._attempt(item, state, last=True)

    async def _attempt(self, item: Parked, state: State, *, last: bool = False) -> str | None:
        """Raises what passes by itself; in the last attempt a handler's own conflict is its failure like any other."""
        opened: list[EventData] = []
        try:
            async with self.store.unit(handler=item.handler) as unit:
                unit.opened = opened
                await self._settle(unit.connection, item, state, "replayed", None)
                await self._run(unit, item)
            return None
        except NotParked:
            raise
        except Exception as error:
            if is_transient(error) or is_conflict(error) or (isinstance(error, ConcurrencyConflict) and not last):
                raise
            text = describe(error, opened)
            table = self.store.tables.quarantine
            async with self.store.writing() as connection:
                await connection.execute(
                    update(table)
                    .where(table.c.id == item.id, table.c.state == state)
                    .values(
                        state="parked",
                        attempts=table.c.attempts + 1,
                        error=text,
                        code_version=self.settings.code_version,
                    )
                )
            return text

    async def _run(self, unit: Unit, item: Parked) -> None:
        if item.group == TIMERS:
            await self._timers[item.handler](unit, [timer_of(item.value)])
            return
        event = from_record(item.record())
        routes = self._routes[item.group]
        if item.handler == ENVELOPE:
            mark = identity(event, self._partitions(item.topic))
            if not await take(self.store.dialect, unit.connection, item.group, [mark]):
                return  # the group had the same event from another record
        for subscription in routes.of(event.type):
            if item.handler in {ENVELOPE, subscription.name}:
                unit.handler = subscription.name
                await subscription.handle(unit, [event])

    async def _settle(
        self, connection: AsyncConnection, item: Parked, before: State, after: State, reason: str | None
    ) -> None:
        table = self.store.tables.quarantine
        moved = await connection.execute(
            update(table)
            .where(table.c.id == item.id, table.c.state == before)
            .values(state=after, settled_at=self.store.clock.now(), reason=reason)
        )
        if moved.rowcount != 1:
            raise NotParked(f"{item.id} is not {before} any more")


def timer_bytes(timer: Timer) -> bytes:
    """A parked timer's value."""
    return orjson.dumps(
        {
            "id": timer.id,
            "kind": timer.kind,
            "key": timer.key,
            "due": timer.due,
            "data": timer.data,
            "correlationid": timer.correlationid,
            "causationid": timer.causationid,
            "traceparent": timer.traceparent,
        }
    )


def timer_of(value: bytes) -> Timer:
    values = orjson.loads(value)
    return Timer(**{**values, "due": datetime.fromisoformat(values["due"])})


def _text(key: bytes | None) -> str | None:
    # A key that is no text can only stand on a record that is no event; latin-1 keeps its bytes legible.
    if key is None:
        return None
    try:
        return key.decode()
    except UnicodeDecodeError:
        return key.decode("latin-1").replace("\x00", "\ufffd")


def _parked(row: Any) -> Parked:
    values = row._asdict()
    values["group"] = values.pop("consumer_group")
    values["headers"] = tuple((name, value.encode("latin-1")) for name, value in orjson.loads(values["headers"]))
    return Parked(**values)


__all__ = ["Failure", "NotParked", "Outcome", "Parked", "Quarantine", "Subscription"]
