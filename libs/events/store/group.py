"""Group commit: concurrent requests share one short transaction, and each is answered after it."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.events import faults
from libs.events.errors import StoreBusy, StoreUnavailable, is_conflict, is_transient
from libs.events.offload import each
from libs.events.store.drafts import Draft, Pending, Row, body, new_id, people, prepare
from libs.events.store.store import Committed, Store

logger = logging.getLogger("lazo.store")


@dataclass(frozen=True, slots=True)
class Appended:
    """The answer for one draft. A duplicate carries the id and time of the fact that was first; `same_content` tells
    whether the repeat says the same, by the drafts' fingerprints."""

    id: str
    status: Literal["accepted", "duplicate"]
    same_content: bool
    recordedtime: datetime


Extra = Callable[[AsyncConnection, list[Appended]], Awaitable[None]]


@dataclass(slots=True, eq=False)
class _Request:
    items: list[Pending]
    bodies: list[bytes]
    extra: Extra | None
    answer: "asyncio.Future[list[Appended]]"


class GroupCommit:
    """Collects what concurrent callers submit and commits it together.

    `most`: drafts of one transaction; a transaction of 2,000 takes about 80 ms on PostgreSQL, which bounds what the first in
    the queue waits for. `bound`: drafts that may be queued before callers are told StoreBusy; `deadline`: seconds.
    """

    def __init__(self, store: Store, *, most: int = 2_000, bound: int = 20_000, deadline: float = 15.0) -> None:
        self._store = store
        self._most, self._bound, self._deadline = most, bound, deadline
        self._queue: deque[_Request] = deque()
        self._queued = 0
        self._loop: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def busy(self) -> bool:
        """Whether somebody still waits for an answer."""
        return self._loop is not None

    async def submit(self, drafts: Sequence[Draft], extra: Extra | None = None) -> list[Appended]:
        """Append the drafts, each as the first event of its stream, and answer once they are durable.

        `extra` runs in the same transaction with the answers in hand; when it raises, nothing of this call is kept and the
        exception goes to the caller, while the others' drafts are committed. Raises StoreBusy, StoreUnavailable, Unsealable.
        """
        self._check_room(len(drafts))
        items = [prepare(draft, draft.id or new_id(), 0) for draft in drafts]
        # Sealed here and not by the loop, so that the processor works while the database does.
        try:
            keys = await self._store.keys_of(people(items))
        except Exception as error:
            raise (_for_caller(error) if is_transient(error) else error) from error
        # Not by id: one call may repeat an id with other content.
        bodies = await each(lambda item: body(item, keys), items)
        self._check_room(len(drafts))
        request = _Request(items, bodies, extra, asyncio.get_running_loop().create_future())
        self._queue.append(request)
        self._queued += len(request.items)
        if self._loop is None:
            self._loop = asyncio.create_task(self._run(), name=f"group-commit-{self._store.service}")
            self._loop.add_done_callback(_ended)
        return await request.answer

    def _check_room(self, count: int) -> None:
        if self._closed:
            raise StoreUnavailable("the store is closing")
        if self._queued + count > self._bound and self._queued:
            raise StoreBusy(f"{self._queued} events are waiting to be stored")

    async def close(self) -> None:
        """Take nothing more, and wait until all that was taken is answered."""
        self._closed = True
        while self._loop is not None:
            await asyncio.wait([self._loop])

    async def _run(self) -> None:
        # The loop ends when the queue is empty: an idle service has no task to wake up. No await stands between the last
        # look at the queue and `_loop = None`, so that no request is left behind.
        try:
            while self._queue:
                group = self._take()
                try:
                    await self._settle(group)
                except BaseException as error:
                    for request in group:
                        if not request.answer.done():
                            request.answer.set_exception(_for_caller(error))
                    if not isinstance(error, Exception):
                        raise
        finally:
            self._loop = None
            for request in self._queue:  # only when cancelled
                if not request.answer.done():
                    request.answer.set_exception(StoreUnavailable("the store is closing"))
            self._queue.clear()
            self._queued = 0

    def _take(self) -> list[_Request]:
        group: list[_Request] = []
        size = 0
        while self._queue and (not group or size + len(self._queue[0].items) <= self._most):
            request = self._queue.popleft()
            self._queued -= len(request.items)
            if request.answer.cancelled():  # the caller went away before anything was done
                continue
            group.append(request)
            size += len(request.items)
        return group

    async def _settle(self, group: list[_Request]) -> None:
        """Commit the group, without the requests whose own part fails, and answer everybody."""
        async with asyncio.timeout(self._deadline):
            left = list(group)
            conflicts = 0
            while left:
                try:
                    refused = await self._commit(left)
                except SQLAlchemyError as error:
                    # Two instances met on the same external ids in opposite order; PostgreSQL let one of them go.
                    conflicts += 1
                    if not is_conflict(error) or conflicts > 5:
                        raise
                    continue
                left = [request for request in left if request not in refused]
                if not refused:
                    break

    async def _commit(self, group: list[_Request]) -> set[_Request]:
        """One transaction. Gives the requests whose extra part failed: then nothing was committed."""
        store, now = self._store, self._store.clock.now()
        refused: dict[_Request, Exception] = {}
        answers: list[list[Appended]] = []
        try:
            async with store.writing() as connection:
                answers, count = await self._append(connection, group, now)
                for request, answer in zip(group, answers, strict=True):
                    if request.extra is not None:
                        try:
                            async with connection.begin_nested():
                                await request.extra(connection, answer)  # noqa: S610 - no Django here
                        except Exception as error:
                            if is_transient(error):
                                raise
                            refused[request] = error
                if refused:
                    raise _Refused
        except _Refused:
            for request, reason in refused.items():
                _refuse(request, reason)
            return set(refused)
        faults.point("intake.committed")
        store.committed(Committed(count))
        for request, answer in zip(group, answers, strict=True):
            if not request.answer.done():
                request.answer.set_result(answer)
        return set()

    async def _append(
        self, connection: AsyncConnection, group: list[_Request], now: datetime
    ) -> tuple[list[list[Appended]], int]:
        store, dialect = self._store, self._store.dialect
        sqlite = connection.dialect.name == "sqlite"
        streams = {item.draft.stream for request in group for item in request.items}
        # SQLite's writer is alone: look first, insert what is missing. PostgreSQL: insert, then look at what was refused.
        there = await dialect.firsts(connection, streams) if sqlite else {}
        first: dict[str, tuple[Pending, bytes]] = {}
        for request in group:
            for item, data in zip(request.items, request.bodies, strict=True):
                if item.draft.stream not in there and item.draft.stream not in first:
                    first[item.draft.stream] = (item, data)
        recorded, time = dialect.time(now), dialect.time

        def row(entry: tuple[str, tuple[Pending, bytes]]) -> Row:
            stream, (item, data) = entry
            return (
                item.id,
                stream,
                1,
                item.draft.data.TYPE,
                item.draft.data.TOPIC,
                store.partition(item.draft.data.TOPIC, item.draft.key),
                item.draft.key,
                time(item.draft.time),
                recorded,
                item.correlationid,
                item.causationid,
                item.traceparent,
                data,
                item.draft.fingerprint,
            )

        rows = await each(row, list(first.items()), every=100)
        positions = await dialect.insert(connection, rows) if rows else {}
        refused = [row[1] for row in rows if row[0] not in positions]
        if refused:
            there = await dialect.firsts(connection, refused)
        taken: set[str] = set()
        return [
            [_answer(item, first, there, positions, taken, now) for item in request.items] for request in group
        ], len(positions)


def _ended(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.error("group commit ended with %s: %s", type(error).__name__, error)  # its waiters have it too


class _Refused(Exception):
    """Rolls the group's transaction back."""


def _answer(
    item: Pending,
    first: dict[str, tuple[Pending, bytes]],
    there: dict[str, tuple[str, bytes | None, datetime]],
    positions: dict[str, int],
    taken: set[str],
    now: datetime,
) -> Appended:
    stream = item.draft.stream
    if stream in there:
        known_id, fingerprint, recorded = there[stream]
        return Appended(known_id, "duplicate", fingerprint == item.draft.fingerprint, recorded)
    winner = first[stream][0]
    if winner.id not in positions:
        raise ValueError(f"the id {winner.id} belongs to another stream than {stream}")
    if stream in taken:
        return Appended(winner.id, "duplicate", winner.draft.fingerprint == item.draft.fingerprint, now)
    taken.add(stream)
    return Appended(item.id, "accepted", True, now)


def _refuse(request: _Request, error: Exception) -> None:
    if not request.answer.done():
        request.answer.set_exception(error)


def _for_caller(error: BaseException) -> Exception:
    """Each waiter gets an exception of its own: one object raised in many tasks would gather all their tracebacks."""
    if isinstance(error, StoreUnavailable):
        return type(error)(*error.args)
    if isinstance(error, Exception) and not is_transient(error):
        return error
    wrapped = StoreUnavailable(f"the store could not commit: {type(error).__name__}: {error}")
    wrapped.__cause__ = error
    return wrapped
