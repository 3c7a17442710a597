"""The unit of work: what a handler, a timer or a command reads, emits and schedules in one write transaction."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy import delete, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.events import bulk
from libs.events.catalogue.base import EventData
from libs.events.envelope import Event, derived_id
from libs.events.errors import ConcurrencyConflict
from libs.events.offload import each, in_turns
from libs.events.sealing import opened
from libs.events.store.drafts import Cause, Draft, Pending, Row, body, event_of, new_id, people, prepare
from libs.events.timers import Timer, timer_id

if TYPE_CHECKING:
    from libs.events.store.store import Store

# From the second round on the stream's writers queue; only those in their first round can still come in between.
ROUNDS = 20
_REPLACED = ("id", "due", "data", "correlationid", "causationid", "traceparent", "attempts")


@dataclass(slots=True)
class _Scheduled:
    kind: str
    key: str
    due: datetime
    data: dict[str, Any]
    cause: Event | Cause | None


class Unit:
    """One write transaction. What is emitted and scheduled is written when it ends, or when it is read before that."""

    def __init__(
        self,
        store: "Store",
        connection: AsyncConnection,
        now: datetime,
        cause: Event | Cause | None,
        handler: str | None,
    ) -> None:
        self.connection = connection
        self.now = now
        self.handler = handler  # whose ids are derived; None in commands
        self.appended = 0
        self.earliest_due: datetime | None = None
        self.timers_changed = False
        self.opened: list[EventData] = []  # what an error message must not repeat
        self._store = store
        self._cause = cause
        self._pending: list[Pending] = []
        self._known: set[str] = set()  # ids emitted in this unit
        self._versions: dict[str, int] = {}
        self._indexes: dict[tuple[str, str], int] = {}
        self._timers: dict[tuple[str, str], _Scheduled | None] = {}

    def emit(self, draft: Draft, *, expected: int | None = None) -> None:
        """Append the draft when the unit ends. `expected`: version of the stream before this event, 0 for a new stream;
        None appends after whatever is there. An id that the store has already is not appended again."""
        if draft.cause is None:
            draft.cause = self._cause
        event_id = draft.id or self._derive(draft)
        if event_id in self._known:
            return
        self._known.add(event_id)
        self._pending.append(prepare(draft, event_id, expected))

    def _derive(self, draft: Draft) -> str:
        if self.handler is None:
            return new_id()
        if draft.cause is None:
            raise ValueError(f"{self.handler} emits {draft.data.TYPE} without an id: say cause=event (or cause=timer)")
        place = (draft.cause.id, self.handler)
        index = self._indexes.get(place, 0)
        self._indexes[place] = index + 1
        return derived_id(draft.cause.id, self.handler, index)

    async def stream(self, stream: str) -> list[Event]:
        """The events of one stream, what this unit emitted included."""
        return (await self.streams([stream]))[stream]

    async def streams(self, streams: Sequence[str]) -> dict[str, list[Event]]:
        """The events of several streams with one query, what this unit emitted included; an unknown stream is empty."""
        await self._append()
        found: dict[str, list[Event]] = {stream: [] for stream in streams}
        if found:
            rows = await self._store.dialect.streams(self.connection, list(found))
            async for row in in_turns(rows, every=100):
                event = event_of(row, self._store.source)
                found[event.subject].append(event)
            # Nobody else can append behind our back on SQLite; on PostgreSQL the unique key decides at the insert.
            self._versions.update(
                {stream: events[-1].streamversion if events else 0 for stream, events in found.items()}
            )
        return found

    def schedule(
        self, kind: str, key: str, due: datetime, data: dict[str, Any], *, cause: Event | Cause | None = None
    ) -> None:
        """Have the handler of `kind` called once `due` has come; a timer of the same kind and key is replaced."""
        if due.tzinfo is None:
            raise ValueError(f"timer {kind}/{key} is due at a time without a zone: {due}")
        self._timers[kind, key] = _Scheduled(kind, key, due, data, cause or self._cause)

    def cancel(self, kind: str, key: str) -> None:
        """Forget the timer, if there is one."""
        self._timers[kind, key] = None

    async def open(self, events: Sequence[Event]) -> list[EventData]:
        """The events' data as their newest models, personal fields in the clear, None where the person was erased."""
        found = await opened(self._store.vault, events)
        self.opened.extend(found)
        return found

    async def flush(self) -> None:
        """Write what was emitted and scheduled so far. Raises ConcurrencyConflict, Unsealable."""
        await self._append()
        await self._write_timers()

    async def _append(self) -> None:
        pending, self._pending = self._pending, []
        if not pending:
            return
        keys = await self._store.keys_of(people(pending))
        written = await each(lambda item: body(item, keys), pending)
        bodies = {item.id: data for item, data in zip(pending, written, strict=True)}
        for _ in range(ROUNDS):
            rows = await self._rows(pending, bodies)
            if not rows:
                return
            positions = await self._store.dialect.insert(self.connection, rows)
            if len(positions) == len(rows):
                for row in rows:
                    self._versions[row[1]] = row[2]
                self.appended += len(rows)
                return
            # Somebody else appended between our look and our insert. Take back the part that went in, look again.
            await self._store.take_back(self.connection, list(positions.values()))
            for row in rows:
                self._versions.pop(row[1], None)
            await self._store.dialect.queue(self.connection, {row[1] for row in rows if row[0] not in positions})
        raise ConcurrencyConflict(pending[0].draft.stream, pending[0].expected, None)

    async def _rows(self, pending: Sequence[Pending], bodies: dict[str, bytes]) -> list[Row]:
        """Rows with their versions for what is not in the store yet."""
        unknown = {item.draft.stream for item in pending if item.draft.stream not in self._versions}
        # A random id cannot be there already; a derived or natural one is looked up, since this may be a second time.
        asked = [item.id for item in pending if item.draft.id is not None or self.handler is not None]
        there: set[str] = set()
        if unknown or asked:
            versions, there = await self._store.dialect.versions(self.connection, unknown, asked)
            for stream in unknown:
                self._versions[stream] = versions.get(stream, 0)
        time, recorded = self._store.dialect.time, self._store.dialect.time(self.now)
        current = dict(self._versions)
        rows: list[Row] = []
        async for item in in_turns(pending, every=100):
            if item.id in there:
                continue
            draft, data = item.draft, item.draft.data
            version = current[draft.stream]
            if item.expected is not None and item.expected != version:
                raise ConcurrencyConflict(draft.stream, item.expected, version)
            current[draft.stream] = version + 1
            rows.append(
                (
                    item.id,
                    draft.stream,
                    version + 1,
                    data.TYPE,
                    data.TOPIC,
                    self._store.partition(data.TOPIC, draft.key),
                    draft.key,
                    time(draft.time),
                    recorded,
                    item.correlationid,
                    item.causationid,
                    item.traceparent,
                    bodies[item.id],
                    draft.fingerprint,
                )
            )
        return rows

    async def _write_timers(self) -> None:
        changes, self._timers = self._timers, {}
        if not changes:
            return
        self.timers_changed = True
        timers = self._store.tables.timers
        gone = [place for place, timer in changes.items() if timer is None]
        if gone:
            await self.connection.execute(delete(timers).where(tuple_(timers.c.kind, timers.c.key).in_(gone)))
        rows = [self._timer_row(timer) for timer in changes.values() if timer is not None]
        if not rows:
            return
        await bulk.write(self.connection, timers, rows, key=["kind", "key"], replaced=_REPLACED)
        earliest = min(row["due"] for row in rows)
        self.earliest_due = earliest if self.earliest_due is None else min(self.earliest_due, earliest)

    def _timer_row(self, timer: _Scheduled) -> dict[str, Any]:
        cause = timer.cause
        return {
            "kind": timer.kind,
            "key": timer.key,
            "id": timer_id(timer.kind, timer.key, timer.due),
            "due": timer.due,
            "data": orjson.dumps(timer.data),
            "correlationid": None if cause is None else cause.correlationid,
            "causationid": cause.id if isinstance(cause, Event) else getattr(cause, "causationid", None),
            "traceparent": None if cause is None else cause.traceparent,
            "attempts": 0,
        }


__all__ = ["Timer", "Unit"]
