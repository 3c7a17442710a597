"""The relay: what the store holds and the log does not, published exactly once and in order, by one relay per service.

Each step and what its failure leaves behind:

1. alone: lock of the service, then `publisher.start()`, which fences whoever had the name. Failing: nothing happened.
2. recovery scan: the service alone writes its topics, so what stands there after the offset last noted is what a former
   relay published and could not mark. It is marked now. Failing: the next scan does it again.
3. claim: the oldest unpublished rows. Never "position greater than the last one": on PostgreSQL a smaller position may
   become visible later. A row stays in the outbox until it is marked, so it is found whenever it appears.
4. publish: all or none. Failing or unknown: the publisher is thrown away; the scan learns what happened.
5. mark: rows leave the outbox and the noted offsets move, in one transaction, with a compare-and-set: a relay that was
   overtaken marks nothing. Failing: the log has them, the scan of the next round finds them.
"""

import asyncio
import contextlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

import orjson
from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.events import faults
from libs.events.alone import alone
from libs.events.chain import GENESIS, Break, Walk, chained
from libs.events.envelope import unchained
from libs.events.errors import Transient
from libs.events.horizon import seen
from libs.events.log import FencedError, Log, Outgoing, Publisher, Record, TopicPartition
from libs.events.offload import in_turns
from libs.events.pace import Pace
from libs.events.settings import MachinerySettings
from libs.events.store import Committed, Store
from libs.events.store.dialect import SELECT_EVENTS
from libs.events.store.drafts import event_of

logger = logging.getLogger("lazo.relay")

SCAN_PAGE = 2_000
PATIENCE = 2.0
"""A transaction in six partitions costs the broker 20 ms of processor time beside a relay's six, and each consumer a batch. Who
comes after the first relay of a chain is woken by it and waits for no rest of its own, so a longer one costs a contact half of
the difference once: 30 ms."""

# The join keeps the order of the outbox, whose rows are few; events are reached by their primary key.
CLAIM = SELECT_EVENTS.replace("SELECT position", "SELECT events.position").replace(
    " FROM events", ", topic, partition FROM outbox JOIN events ON events.position = outbox.position"
)


class Overtaken(Transient):
    """Another relay of the service went ahead; this one rebuilds itself and looks."""


class _Place:
    """How far one partition is published, and the chain text there."""

    __slots__ = ("chain", "noted")

    def __init__(self, noted: int, chain: str) -> None:
        self.noted, self.chain = noted, chain


class Relay:
    """Publishes one service's events. `run()` until cancelled or `stop()`ped; `wake()` after each local commit."""

    def __init__(self, store: Store, log: Log, topics: Sequence[str], settings: MachinerySettings) -> None:
        self.store, self.log, self.settings = store, log, settings
        self.name = f"lazo-{store.service}"
        self.topics = tuple(topics)
        self.pace = Pace(settings)
        self.published = 0
        self.unpublished: int | None = None  # as far as this process knows
        self.live = False
        self.standby = False  # another process, or another part of this one, has the service's relay
        self._appends = 0
        self._woken = asyncio.Event()
        self._stopping = False
        self._places: dict[TopicPartition, _Place] = {}
        store.on_commit(self._committed)

    def _committed(self, what: Committed) -> None:
        if what.appended:
            self._appends += 1
            if self.unpublished is not None:
                self.unpublished += what.appended
            self._woken.set()

    def wake(self) -> None:
        """Look at once instead of at the next poll."""
        self._woken.set()

    def finish(self) -> None:
        """Publish what is there, then end `run()`."""
        self._stopping = True
        self._woken.set()

    async def run(self) -> None:
        """Publish for ever. Every failure ends in a new start from step 1, after a pause."""
        while True:
            try:
                async with self._alone() as only:
                    self.standby = not only
                    if only:
                        await self._live()
                        return
                if self._stopping:
                    return
                self._woken.clear()  # commits are the live relay's business
                await self._wait(self.settings.standby_poll)
            except Exception as error:
                if self._stopping:
                    raise
                fenced = isinstance(error, FencedError | Overtaken)
                logger.warning("relay %s starts again: %s: %s", self.name, type(error).__name__, error)
                await self.pace.back_off(error, least=self.settings.standby_poll if fenced else 0.0)
            finally:
                self.live = False

    async def _live(self) -> None:
        publisher = self.log.publisher(self.name)
        try:
            async with asyncio.timeout(self.settings.publish_deadline):
                await publisher.start()
            await self.recover()
            self.live = True
            while True:
                self._woken.clear()
                if published := await self.step(publisher):
                    await self.pace.rest(published, self.store, PATIENCE)
                    continue
                if self._stopping:
                    return
                await self._wait(self.settings.relay_poll)
        finally:
            # Never wait for long: an idempotent producer whose broker is away would hang for ever.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(5):
                    await publisher.close()

    async def step(self, publisher: Publisher) -> int:
        """Claim, publish and mark one batch; how many."""
        before = self._appends
        rows = await self.claim()
        if not rows:
            if before == self._appends:
                self.unpublished = 0
            self.pace.well()
            return 0
        faults.point("relay.claimed")
        records = await self._chain(rows)
        await self.send(publisher, rows, records)
        self.published += len(rows)
        self.pace.moved()
        return len(rows)

    async def claim(self) -> Sequence[Any]:
        """The oldest unpublished rows, in the order of their positions."""
        async with self.store.glancing() as connection:
            return (
                await connection.execute(text(f"{CLAIM} ORDER BY outbox.position LIMIT {self.settings.relay_batch}"))
            ).all()

    async def send(self, publisher: Publisher, rows: Sequence[Any], records: Sequence[Outgoing]) -> None:
        """Publish, then mark; never the other way round."""
        async with asyncio.timeout(self.settings.publish_deadline):
            offsets = await publisher.publish(records)
        faults.point("relay.acked")
        for record, offset in zip(records, offsets, strict=True):
            seen(self.log, TopicPartition(record.topic, record.partition), offset + 1)
        await self.mark(rows, records, offsets)

    async def mark(self, rows: Sequence[Any], records: Sequence[Outgoing], offsets: Sequence[int]) -> None:
        """Note what the log has, in one transaction."""
        reached: dict[TopicPartition, tuple[int, str]] = {}
        for record, offset in zip(records, offsets, strict=True):
            reached[TopicPartition(record.topic, record.partition)] = (offset + 1, record.headers[-1][1].decode())
        await self._note(reached, [row[0] for row in rows])
        faults.point("relay.marked")

    async def _chain(self, rows: Sequence[Any]) -> list[Outgoing]:
        texts = {tp: place.chain for tp, place in self._places.items()}
        records = []
        async for row in in_turns(rows):
            tp = TopicPartition(row[-2], row[-1])
            event = event_of(row, self.store.source)
            record, texts[tp] = chained(unchained(event, tp.topic, tp.partition), texts[tp])
            records.append(record)
        return records

    async def recover(self) -> None:
        """Mark what the log already has. Raises when the log or the store is away."""
        self.unpublished = None  # known again once a claim finds nothing
        await self._read_places()
        for tp, place in list(self._places.items()):
            walk = Walk(place.chain)
            breaks: list[Break] = []
            at = place.noted
            while True:
                async with asyncio.timeout(self.settings.publish_deadline):
                    page = await self.log.read(tp, at, SCAN_PAGE)
                if not page:
                    break
                breaks += [found for record in page for found in walk.feed(record)]
                at = page[-1].offset + 1
                marked = await self._mark_found(tp, page, at, walk.last or place.chain)
                logger.info("relay %s found %d records in %s, %d of them not marked", self.name, len(page), tp, marked)
            breaks += walk.end()
            if breaks:
                logger.error("the chain of %s does not hold: %s; run `lazo verify`", tp, breaks)

    async def _read_places(self) -> None:
        table = self.store.tables.relay_positions
        wanted = [(topic, number) for topic in self.topics for number in await self.log.ends(topic)]
        insert = sqlite_insert if self.store.engine.dialect.name == "sqlite" else postgres_insert
        async with self.store.writing() as connection:
            for topic, number in wanted:
                row = {"topic": topic, "partition": number, "next_offset": 0, "chain": GENESIS}
                await connection.execute(insert(table).values(row).on_conflict_do_nothing())
            rows = (await connection.execute(select(table))).all()
        self._places = {TopicPartition(row.topic, row.partition): _Place(row.next_offset, row.chain) for row in rows}

    async def _mark_found(self, tp: TopicPartition, page: Iterable[Record], following: int, chain: str) -> int:
        ids = [value.decode("utf-8", "replace") for record in page for name, value in record.headers if name == "ce_id"]
        async with self.store.reading() as connection:
            events, outbox = self.store.tables.events, self.store.tables.outbox
            query = select(outbox.c.position).join(events, events.c.position == outbox.c.position)
            positions = (await connection.execute(query.where(events.c.id.in_(ids)))).scalars().all()
        await self._note({tp: (following, chain)}, list(positions))
        return len(positions)

    async def _note(self, reached: Mapping[TopicPartition, tuple[int, str]], positions: list[int]) -> None:
        moves = [(tp.topic, tp.partition, self._places[tp].noted, *reached[tp]) for tp in reached]
        async with asyncio.timeout(self.settings.publish_deadline), self.store.writing() as connection:
            if moves:
                there = await _move(connection, moves)
                if len(there) != len(moves):
                    raise Overtaken(f"another relay published to {min(map(str, reached.keys() - there))}")
            gone = await _delete(connection, positions)
        for tp, (following, chain) in reached.items():
            self._places[tp] = _Place(following, chain)
        if self.unpublished is not None:
            self.unpublished -= gone

    async def _wait(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._woken.wait()

    def _alone(self) -> AbstractAsyncContextManager[bool]:
        """Whether this is the service's one relay."""
        return alone(self.store, "relay")


async def _move(connection: AsyncConnection, moves: Sequence[tuple[str, int, int, int, str]]) -> set[TopicPartition]:
    """Compare-and-set of the noted offset and the chain of each partition; those that stood where they were thought to be."""
    if connection.dialect.name == "sqlite":
        found: Any = await connection.exec_driver_sql(
            "UPDATE relay_positions SET next_offset = json_extract(moved.value, '$[3]'), chain = json_extract(moved.value, '$[4]')"
            " FROM json_each(?) AS moved WHERE topic = json_extract(moved.value, '$[0]')"
            " AND partition = json_extract(moved.value, '$[1]') AND next_offset = json_extract(moved.value, '$[2]')"
            " RETURNING topic, partition",
            (orjson.dumps(moves).decode(),),
        )
    else:
        found = await connection.exec_driver_sql(
            "UPDATE relay_positions AS place SET next_offset = moved.following, chain = moved.chain"
            " FROM unnest($1::text[], $2::int[], $3::bigint[], $4::bigint[], $5::text[])"
            " AS moved(topic, partition, noted, following, chain)"
            " WHERE place.topic = moved.topic AND place.partition = moved.partition AND place.next_offset = moved.noted"
            " RETURNING place.topic, place.partition",
            tuple(map(list, zip(*moves, strict=True))),
        )
    return {TopicPartition(topic, number) for topic, number in found}


async def _delete(connection: AsyncConnection, positions: list[int]) -> int:
    if connection.dialect.name == "sqlite":
        query = "DELETE FROM outbox WHERE position IN (SELECT value FROM json_each(?))"
        found: Any = await connection.exec_driver_sql(query, (orjson.dumps(positions).decode(),))
    else:
        found = await connection.exec_driver_sql("DELETE FROM outbox WHERE position = ANY($1::bigint[])", (positions,))
    count: int = found.rowcount
    return count
