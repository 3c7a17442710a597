"""Walks the log and the stores and says where they do not hold: what `lazo verify` shows.

The log by itself: every record an event of the topic's owner, keyed and placed as its partition key says, streams in order,
nothing twice, the chain of hashes whole. Each store by itself: streams without gap or repeat, positions without gap where
the database numbers without gaps. Both together: what was published is what is stored, and no side has more than the other
but for the outbox. May run beside a living Lazo: stores are read first, at one snapshot each, then the log; whatever was
published since is looked up in the store afterwards.
"""

import hashlib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import case, func, inspect, select
from sqlalchemy.exc import DatabaseError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from libs.events import chain
from libs.events.catalogue import topics
from libs.events.engines import reading
from libs.events.envelope import Event, InvalidCloudEvent, chainhash_of, from_record
from libs.events.errors import is_transient
from libs.events.log import Log, LogError, Record, TopicPartition, UnknownTopic, partition_of
from libs.events.log_sqlite import SqliteLog
from libs.events.store.store import TABLES

PAGE = 2_000


@dataclass(frozen=True, slots=True)
class Break:
    """One thing that does not hold. `where`: `topic/partition/offset` or `service/stream/version` or another place that
    can be looked up; `kind`: a word per sort of break; `detail`: what goes with it, for the message."""

    where: str
    kind: str
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Report:
    """What was walked, and every break in the order of being found."""

    records: int = 0
    partitions: int = 0
    events: int = 0
    services: list[str] = field(default_factory=list)  # whose stores were found
    breaks: list[Break] = field(default_factory=list)
    _places: set[tuple[str, str]] = field(default_factory=set)

    @property
    def stores(self) -> int:
        return len(self.services)

    def add(self, where: str, kind: str, **detail: Any) -> None:
        """Note a break; the same sort at the same place once."""
        if (where, kind) not in self._places:
            self._places.add((where, kind))
            self.breaks.append(Break(where, kind, detail))


@dataclass(slots=True)
class _Known:
    """A store at its snapshot: digest of each event by position, and what the relay noted."""

    digests: dict[int, bytes] = field(default_factory=dict)
    pending: set[int] = field(default_factory=set)
    noted: dict[TopicPartition, tuple[int, str]] = field(default_factory=dict)
    seen: set[int] = field(default_factory=set)
    unknown: dict[int, tuple[str, Event, TopicPartition]] = field(default_factory=dict)
    # Reported at the end, and only where the log does not know better what is gone.
    gaps: list[range] = field(default_factory=list)
    torn: list[Break] = field(default_factory=list)


async def verify(log: Log, engines: Mapping[str, AsyncEngine], walked: Callable[[int], None] | None = None) -> Report:
    """Walk everything. `engines`: each service's database; one without our tables is passed over. `walked` is told how
    many events and records have been read since it was last called."""
    report, tell = Report(), walked or (lambda count: None)
    stores: dict[str, _Known] = {}
    for service, engine in engines.items():
        try:
            async with reading(engine) as connection:
                if not await connection.run_sync(lambda sync: inspect(sync).has_table(TABLES.events.name)):
                    continue
                report.services.append(service)
                for damage in await _damage(connection):
                    report.add(service, "damaged", error=damage)
                stores[service] = await _store(service, connection, report, tell)
        except (DatabaseError, ValueError) as error:  # a page that is none, a time that is none
            if is_transient(error):
                raise
            report.add(service, "unreadable", error=str(getattr(error, "orig", error)))
    if isinstance(log, SqliteLog):
        for damage in await log.damage():
            report.add("log.db", "damaged", error=damage)
    for topic in topics.ALL:
        await _topic(log, topic, stores, report, tell)
    for service, known in stores.items():
        # What was published since its snapshot is looked up in the store now.
        await _both(service, engines[service], known, report)
        await _positions(service, engines[service], log, report)
    return report


# The stores ---------------------------------------------------------------------------------------------------------


def _digest(event: Event, tp: TopicPartition) -> bytes:
    """Everything the store and the log both hold of an event."""
    parts = (
        event.id,
        event.type,
        event.source,
        event.subject,
        str(event.streamversion),
        event.time.isoformat(),
        event.recordedtime.isoformat(),
        event.partitionkey,
        event.correlationid,
        event.causationid or "",
        event.traceparent or "",
        str(tp),
    )
    return hashlib.blake2b("\x1f".join(parts).encode() + b"\x1f" + event.data, digest_size=16).digest()


def _event(row: Any, service: str) -> Event:
    return Event(
        id=row.id,
        type=row.type,
        source=f"/lazo/{service}",
        subject=row.stream,
        streamversion=row.version,
        sequence=row.position,
        time=row.time,
        recordedtime=row.recordedtime,
        partitionkey=row.key,
        correlationid=row.correlationid,
        causationid=row.causationid,
        traceparent=row.traceparent,
        data=bytes(row.data),
    )


async def _damage(connection: AsyncConnection) -> list[str]:
    """What SQLite's own check finds: pages, indexes, constraints. PostgreSQL has its checksums."""
    if connection.dialect.name != "sqlite":
        return []
    found = (await connection.exec_driver_sql("PRAGMA integrity_check(20)")).scalars().all()
    return [] if found == ["ok"] else [str(line) for line in found]


async def _store(service: str, connection: AsyncConnection, report: Report, tell: Callable[[int], None]) -> _Known:
    known, events = _Known(), TABLES.events
    known.pending = set((await connection.execute(select(TABLES.outbox.c.position))).scalars())
    for row in await connection.execute(select(TABLES.relay_positions)):
        known.noted[TopicPartition(row.topic, row.partition)] = (row.next_offset, row.chain)
    # Positions have no gaps on SQLite, where one writer counts them; PostgreSQL's sequences skip what was rolled back.
    gapless, expected = connection.dialect.name == "sqlite", 1
    async for row in _rows(connection):
        tp = TopicPartition(row.topic, row.partition)
        known.digests[row.position] = _digest(_event(row, service), tp)
        if gapless and row.position > expected:
            known.gaps.append(range(expected, row.position))
        expected = row.position + 1
        report.events += 1
        if report.events % PAGE == 0:
            tell(PAGE)
    for position in sorted(known.pending - known.digests.keys()):
        report.add(f"{service}/{position}", "outbox-of-nothing")
    counted = func.count().label("counted")
    first, last = func.min(events.c.version).label("first"), func.max(events.c.version).label("last")
    torn = select(events.c.stream, counted, first, last).group_by(events.c.stream)
    torn = torn.having((first != 1) | (last != counted)).order_by(events.c.stream)
    for row in (await connection.execute(torn)).all():
        await _stream(service, row.stream, connection, known.torn)
    return known


async def _rows(connection: AsyncConnection) -> AsyncIterator[Any]:
    events, after = TABLES.events, -1
    while True:
        query = select(events).where(events.c.position > after).order_by(events.c.position).limit(PAGE)
        page = (await connection.execute(query)).all()
        for row in page:
            yield row
        if len(page) < PAGE:
            return
        after = page[-1].position


async def _stream(service: str, stream: str, connection: AsyncConnection, torn: list[Break]) -> None:
    """Name what is wrong in a stream whose count does not fit its versions."""
    events = TABLES.events
    query = select(events.c.version).where(events.c.stream == stream).order_by(events.c.version)
    expected = 1
    for version in (await connection.execute(query)).scalars():
        if version < expected:
            torn.append(Break(f"{service}/{stream}/{version}", "version-twice"))
            continue
        torn += [Break(f"{service}/{stream}/{missing}", "version-missing") for missing in range(expected, version)]
        expected = version + 1


async def _positions(service: str, engine: AsyncEngine, log: Log, report: Report) -> None:
    """No consumer is further than the log. Read last: positions move on while we walk, ends were read after them."""
    async with reading(engine) as connection:
        rows = (await connection.execute(select(TABLES.offsets))).all()
    ends: dict[str, dict[int, int]] = {}
    for row in rows:
        if row.topic not in ends:
            try:
                ends[row.topic] = await log.ends(row.topic)
            except UnknownTopic:
                ends[row.topic] = {}
        end = ends[row.topic].get(row.partition, 0)
        if row.next > end:
            where = f"{service}/{row.consumer_group}/{row.topic}/{row.partition}"
            report.add(where, "offset-ahead", next=row.next, end=end)


# The log ------------------------------------------------------------------------------------------------------------


async def _topic(
    log: Log, topic: str, stores: Mapping[str, _Known], report: Report, tell: Callable[[int], None]
) -> None:
    try:
        ends = await log.ends(topic)
    except UnknownTopic:
        return
    for number, end in sorted(ends.items()):
        report.partitions += 1
        walk = _Partition(TopicPartition(topic, number), len(ends), end, stores.get(topics.OWNER[topic]), report)
        at = 0
        try:
            while at < end and (page := await log.read(walk.tp, at, PAGE)):
                for record in page:
                    walk.feed(record)
                at = page[-1].offset + 1
                report.records += len(page)
                tell(len(page))
        except LogError as error:
            report.add(str(walk.tp), "unreadable", error=str(error))
        else:
            walk.finish()


class _Partition:
    """The walk along one partition."""

    def __init__(self, tp: TopicPartition, partitions: int, end: int, store: _Known | None, report: Report) -> None:
        self.tp, self._partitions, self._end, self._store, self._report = tp, partitions, end, store, report
        self._owner = topics.OWNER[tp.topic]
        self._walk = chain.Walk()
        self._versions: dict[str, int] = {}
        self._noted = store.noted.get(tp, (0, chain.GENESIS)) if store else (0, chain.GENESIS)
        self._noted_seen = self._noted[0] == 0

    def _broken(self, found: chain.Break) -> None:
        where = f"{found.topic}/{found.partition}/{found.offset}"
        self._report.add(where, f"chain-{found.kind}", count=found.missing)

    def feed(self, record: Record) -> None:
        for found in self._walk.feed(record):
            self._broken(found)
        where = f"{self.tp}/{record.offset}"
        if record.offset + 1 == self._noted[0]:
            self._noted_seen = True
            if chainhash_of(record) != self._noted[1]:
                self._report.add(where, "chain-not-noted", service=self._owner)
        try:
            event = from_record(record)
        except InvalidCloudEvent as error:
            self._report.add(where, "not-an-event", error=str(error))
            return
        if event.source != f"/lazo/{self._owner}":
            self._report.add(where, "foreign", source=event.source, owner=self._owner)
            return
        if record.key != event.partitionkey.encode():
            self._report.add(where, "wrong-key")
        elif partition_of(record.key, self._partitions) != self.tp.partition:
            self._report.add(where, "wrong-partition")
        if event.streamversion <= self._versions.get(event.subject, 0):
            self._report.add(where, "out-of-order", stream=event.subject, version=event.streamversion)
        self._versions[event.subject] = max(event.streamversion, self._versions.get(event.subject, 0))
        if self._store is not None:
            self._compare(self._store, event, where)

    def _compare(self, store: _Known, event: Event, where: str) -> None:
        sequence = event.sequence
        if sequence in store.seen:
            self._report.add(where, "published-twice", stream=event.subject, version=event.streamversion, id=event.id)
            return
        store.seen.add(sequence)
        digest = store.digests.get(sequence)
        if digest is None:
            store.unknown[sequence] = (where, event, self.tp)
        elif digest != _digest(event, self.tp):
            stream, version = event.subject, event.streamversion
            self._report.add(where, "differs-from-store", service=self._owner, stream=stream, version=version)

    def finish(self) -> None:
        for found in self._walk.end():
            self._broken(found)
        if not self._noted_seen:
            self._report.add(f"{self.tp}/{self._noted[0] - 1}", "end-missing", service=self._owner)


# Both sides ---------------------------------------------------------------------------------------------------------


async def _both(service: str, engine: AsyncEngine, known: _Known, report: Report) -> None:
    events = TABLES.events
    # Published and not stored: unless the store learnt of it only after its snapshot.
    positions = sorted(known.unknown)
    for start in range(0, len(positions), 500):
        part = positions[start : start + 500]
        async with reading(engine) as connection:
            rows = (await connection.execute(select(events).where(events.c.position.in_(part)))).all()
        later = {row.position: _digest(_event(row, service), TopicPartition(row.topic, row.partition)) for row in rows}
        for position in part:
            where, event, tp = known.unknown[position]
            if position not in later:
                place = f"{service}/{event.subject}/{event.streamversion}"
                report.add(place, "not-stored", record=where, id=event.id)
            elif later[position] != _digest(event, tp):
                stream, version = event.subject, event.streamversion
                report.add(where, "differs-from-store", service=service, stream=stream, version=version)
    told = {found.where for found in report.breaks}
    for found in known.torn:
        if found.where not in told:
            report.add(found.where, found.kind)
    for gap in known.gaps:
        for position in gap:
            # A row that was published is named by its record; one that waited in the outbox is known by its number alone.
            if position not in known.unknown and position not in known.seen:
                report.add(f"{service}/{position}", "position-missing")
    # Stored, and neither published nor waiting to be.
    missing = sorted(known.digests.keys() - known.seen - known.pending)
    for start in range(0, len(missing), 500):
        part = missing[start : start + 500]
        waiting = case((TABLES.outbox.c.position.is_(None), 0), else_=1)
        query = select(events.c.stream, events.c.version, events.c.topic, events.c.partition, events.c.id, waiting)
        query = query.outerjoin(TABLES.outbox, TABLES.outbox.c.position == events.c.position)
        async with reading(engine) as connection:
            rows = (
                await connection.execute(query.where(events.c.position.in_(part)).order_by(events.c.position))
            ).all()
        for row in rows:
            place = f"{service}/{row.stream}/{row.version}"
            report.add(place, "not-published", partition=f"{row.topic}/{row.partition}", id=row.id)
