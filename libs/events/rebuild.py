"""Rebuilding a projection beside the live one, and switching to it.

A projection has two slots, each with tables and a consumer group of its own. One is live; the other is built from the log's
beginning by the projectors alone. When both stand at the same positions their digests are compared, and one transaction
makes the new one live. Whoever serves reads the live slot's tables; whoever consumes looks now and then which one it is.
"""

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.events import faults
from libs.events.consumer.batch import read_batch
from libs.events.consumer.discipline import Discipline, upsert_for
from libs.events.consumer.handling import Handling
from libs.events.errors import Transient
from libs.events.log import Log, Record, TopicPartition
from libs.events.quarantine import Quarantine
from libs.events.settings import MachinerySettings
from libs.events.store import Store
from libs.events.subscriptions import ConsumerSpec, Routes, Subscription

logger = logging.getLogger("lazo.rebuild")

OnSlot = Callable[[AsyncConnection, str], Awaitable[None]]
Digest = Callable[[AsyncConnection, str], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class Projection:
    """A projection that can be rebuilt. `version` rises when its tables or projectors change; `clear` empties a slot's
    tables; `digest` is a hash over everything in them, equal for equal contents in whatever order they came about."""

    name: str
    version: int
    topics: tuple[str, ...]
    group: Callable[[str], str]
    subscriptions: Callable[[str], Sequence[Subscription]]
    clear: OnSlot
    digest: Digest
    slots: tuple[str, str] = ("a", "b")
    max_records: int = 2_000

    def spec(self, slot: str) -> ConsumerSpec:
        """The consumer group of a slot. Reactors are never part of it."""
        everyone = self.subscriptions(slot)
        reactors = [subscription.name for subscription in everyone if subscription.kind == "reactor"]
        if reactors:
            raise ValueError(f"{self.name} holds reactors, which must not be replayed: {', '.join(reactors)}")
        return ConsumerSpec(self.group(slot), self.topics, everyone, self.max_records)


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What became of a rebuild. `agrees`: the digests were equal; None when there was nothing to compare with."""

    slot: str
    switched: bool
    agrees: bool | None
    events: int


class Differs(Exception):
    """The rebuilt projection differs from the live one of the same version; it was not switched to."""


Progress = Callable[[int, int], None]
"""Called with the log events folded so far and the number to fold, as far as it is known."""


class Rebuild:
    """Builds, compares, switches; at most one at a time per projection."""

    def __init__(
        self,
        projection: Projection,
        store: Store,
        log: Log,
        quarantine: Quarantine,
        settings: MachinerySettings,
        discipline: Discipline | None = None,
    ) -> None:
        self.projection, self.store, self.log = projection, store, log
        self.quarantine, self.settings = quarantine, settings
        self.discipline = discipline or Discipline()

    async def live(self) -> str:
        """The live slot; on a new database the first one becomes it."""
        table = self.store.tables.projections
        query = select(table.c.slot).where(table.c.name == self.projection.name, table.c.state == "live")
        async with self.store.reading() as connection:
            slot = (await connection.execute(query)).scalar_one_or_none()
        if slot is None:
            async with self.store.writing() as connection:
                statement = upsert_for(connection)(table).values(self._row(self.projection.slots[0], "live"))
                await connection.execute(statement.on_conflict_do_nothing())
                slot = (await connection.execute(query)).scalar_one()  # of another process, where it was quicker
        return str(slot)

    async def outdated(self) -> int | None:
        """The live slot's version where the code's is newer: it is to be built again."""
        table = self.store.tables.projections
        query = select(table.c.version).where(table.c.name == self.projection.name, table.c.state == "live")
        async with self.store.reading() as connection:
            version = (await connection.execute(query)).scalar_one_or_none()
        return None if version is None or version >= self.projection.version else int(version)

    def _row(self, slot: str, state: str) -> dict[str, Any]:
        return {
            "name": self.projection.name,
            "slot": slot,
            "version": self.projection.version,
            "state": state,
            "changed_at": self.store.clock.now(),
        }

    def other(self, slot: str) -> str:
        first, second = self.projection.slots
        return second if slot == first else first

    async def run(self, *, progress: Progress | None = None, accept_difference: bool = False) -> Rebuilt:
        """Build the other slot and switch to it. An interrupted build is gone on with; one of another version begins anew.
        Of two processes that rebuild at once, one gets Transient; it can come again.

        Raises Differs when live and rebuilt are of one version and do not agree, unless `accept_difference`; the built slot
        stays, to be looked at, until the next run or `drop()`.
        """
        await self.live()
        live, slot = await self._prepare()
        routes = Routes(self.projection.spec(slot).subscriptions)
        group = self.projection.group(slot)
        self.quarantine.register(group, routes)
        handling = Handling(self.store, group, routes.subscriptions, self.quarantine, self.discipline, self.settings)
        events = 0
        for attempt in range(1_000):
            events += await self._fold(slot, live, routes, handling, progress)
            faults.point("projection.built")
            outcome = await self._switch(live, slot, events, accept_difference=accept_difference)
            if outcome is not None:
                faults.point("projection.flipped")
                return outcome
            await asyncio.sleep(min(0.01 * (attempt + 1), 0.5))  # the live one moved on meanwhile; follow it
        raise Transient(f"{self.projection.name}: live and rebuilt never stood at the same place")

    async def drop(self) -> bool:
        """Forget a build that was given up; False when there is none."""
        table = self.store.tables.projections
        await self.live()
        async with self.store.writing() as connection:
            _, slot, _ = await self._slots(connection)
            gone = await connection.execute(
                delete(table).where(table.c.name == self.projection.name, table.c.slot == slot)
            )
            await self._clear(connection, slot)
        return bool(gone.rowcount)

    async def _slots(self, connection: AsyncConnection) -> tuple[str, str, dict[str, Any]]:
        """The live slot, the other one, and the rows of both, which stay so until the transaction ends: another process may
        have switched since somebody last looked, and what it made live must not be taken for what is to be built."""
        table = self.store.tables.projections
        query = select(table).where(table.c.name == self.projection.name).order_by(table.c.slot)
        await connection.execute(query.with_for_update())  # the live row is always there to wait for
        rows = {row.slot: row for row in await connection.execute(query)}
        [live] = [slot for slot, row in rows.items() if row.state == "live"]
        return live, self.other(live), rows

    async def _prepare(self) -> tuple[str, str]:
        """Make ready the slot that is not live: the live one, and that one."""
        table = self.store.tables.projections
        async with self.store.writing() as connection:
            live, slot, rows = await self._slots(connection)
            found = rows.get(slot)
            if found is not None and found.state == "building" and found.version == self.projection.version:
                logger.info("going on with the build of %s in slot %s", self.projection.name, slot)
                return live, slot
            await self._clear(connection, slot)
            await connection.execute(delete(table).where(table.c.name == self.projection.name, table.c.slot == slot))
            await connection.execute(table.insert().values(self._row(slot, "building")))
        return live, slot

    async def _clear(self, connection: AsyncConnection, slot: str) -> None:
        group, tables = self.projection.group(slot), self.store.tables
        for table in (tables.offsets, tables.inbox, tables.attempts, tables.quarantine):
            await connection.execute(delete(table).where(table.c.consumer_group == group))
        await self.projection.clear(connection, slot)

    async def _positions(self, connection: AsyncConnection, group: str) -> dict[TopicPartition, int]:
        table = self.store.tables.offsets
        query = select(table.c.topic, table.c.partition, table.c.next).where(table.c.consumer_group == group)
        return {TopicPartition(topic, number): at for topic, number, at in await connection.execute(query)}

    async def _fold(self, slot: str, live: str, routes: Routes, handling: Handling, progress: Progress | None) -> int:
        """Follow the log up to where the live slot stands (a live slot that never consumed: up to the log's end)."""
        partitions = {topic: await self.log.partitions(topic) for topic in self.projection.topics}
        everywhere = [TopicPartition(topic, number) for topic, count in partitions.items() for number in range(count)]
        positions = await self.discipline.positions(self.store, self.projection.group(slot), everywhere)
        async with self.store.reading() as connection:
            until = await self._positions(connection, self.projection.group(live))
        if not any(until.values()):
            until = {
                TopicPartition(topic, number): end
                for topic in partitions
                for number, end in (await self.log.ends(topic)).items()
            }
        total = sum(until.values())
        folded = 0
        async for found in self._batches(positions, until):
            batch = await read_batch(found, positions, partitions, routes)
            await handling.handle(batch)
            positions.update({tp: following for tp, (_, following) in batch.moves.items()})
            folded += batch.size
            if progress is not None:
                progress(sum(positions.values()), total)
        # Offsets may end in transaction markers, which no record stands for: then the positions are the live one's.
        await self._skip_markers(slot, positions, until)
        return folded

    async def _batches(
        self, positions: Mapping[TopicPartition, int], until: Mapping[TopicPartition, int]
    ) -> AsyncIterator[dict[TopicPartition, list[Record]]]:
        """Batches in something like the order of time: the next one is read while this one is handled, and of all
        partitions the one furthest behind its end comes first."""
        at = dict(positions)
        done: set[TopicPartition] = set()
        reading: asyncio.Task[tuple[TopicPartition, list[Record]]] | None = None

        def start() -> "asyncio.Task[tuple[TopicPartition, list[Record]]] | None":
            open_ = [tp for tp in at if tp not in done and at[tp] < until.get(tp, 0)]
            if not open_:
                return None
            tp = max(open_, key=lambda tp: (until[tp] - at[tp], str(tp)))
            return asyncio.create_task(self._read(tp, at[tp], until[tp]))

        reading = start()
        try:
            while reading is not None:
                tp, records = await reading
                if records:
                    at[tp] = records[-1].offset + 1
                else:
                    done.add(tp)
                reading = start()
                if records:
                    yield {tp: records}
        finally:
            if reading is not None:
                reading.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await reading

    async def _read(self, tp: TopicPartition, start: int, until: int) -> tuple[TopicPartition, list[Record]]:
        async with asyncio.timeout(self.settings.batch_deadline):
            records = await self.log.read(tp, start, self.projection.max_records)
        if records and records[-1].offset >= until:
            records = [record for record in records if record.offset < until]
        return tp, records

    async def _skip_markers(
        self, slot: str, positions: Mapping[TopicPartition, int], until: Mapping[TopicPartition, int]
    ) -> None:
        table = self.store.tables.offsets
        async with self.store.writing() as connection:
            for tp, at in positions.items():
                if at < until.get(tp, 0):
                    await connection.execute(
                        update(table)
                        .where(
                            table.c.consumer_group == self.projection.group(slot),
                            table.c.topic == tp.topic,
                            table.c.partition == tp.partition,
                            table.c.next == at,
                        )
                        .values(next=until[tp])
                    )

    async def _switch(self, live: str, slot: str, events: int, *, accept_difference: bool) -> Rebuilt | None:
        """Compare and flip in one transaction in which neither slot can move; None when they stand at different places.
        Raises Transient when another process switched, or gave the build up, meanwhile."""
        tables = self.store.tables
        groups = (self.projection.group(live), self.projection.group(slot))
        async with self.store.writing() as connection:
            current, _, states = await self._slots(connection)
            if current != live or slot not in states or states[slot].state != "building":
                raise Transient(f"{self.projection.name}: another process went ahead, slot {current} is live")
            # On PostgreSQL this holds the live consumer at its compare-and-set; SQLite's writer is alone anyway.
            await connection.execute(
                select(tables.offsets.c.next).where(tables.offsets.c.consumer_group.in_(groups)).with_for_update()
            )
            there, here = [await self._positions(connection, group) for group in groups]
            agrees: bool | None = None
            if any(there.values()):
                if any(here.get(tp, 0) != at for tp, at in there.items()):
                    return None
                agrees = await self.projection.digest(connection, live) == await self.projection.digest(
                    connection, slot
                )
            same_version = states[live].version == self.projection.version
            if agrees is False and same_version and not accept_difference:
                raise Differs(f"{self.projection.name}: slot {slot} does not agree with the live slot {live}")
            for name, state in ((live, "retired"), (slot, "live")):
                await connection.execute(
                    update(tables.projections)
                    .where(tables.projections.c.name == self.projection.name, tables.projections.c.slot == name)
                    .values(state=state, changed_at=self.store.clock.now())
                )
            # An explicit `run` clears the retired slot when it builds there again; until then it is the way back.
        return Rebuilt(slot, switched=True, agrees=agrees, events=events)


async def digest_of(connection: AsyncConnection, tables: Sequence[Any], ignore: Sequence[str] = ()) -> str:
    """A hash over the rows of some tables, whatever order they were written in: the sum of the rows' hashes, per table.

    For projections whose tables hold nothing that depends on when they were filled; `ignore` names columns that do.
    """
    total = hashlib.sha256()
    for number, table in enumerate(tables):
        columns = [column for column in table.columns if column.name not in ignore]
        summed = count = 0
        result = await connection.stream(select(*columns))
        async for rows in result.partitions(2_000):
            for row in rows:
                summed += int.from_bytes(hashlib.blake2b(repr(tuple(row)).encode(), digest_size=16).digest(), "big")
                count += 1
        total.update(f"{number}:{count}:{summed % 2**128}\n".encode())
    return total.hexdigest()


__all__ = ["Differs", "Projection", "Rebuild", "Rebuilt", "digest_of"]
