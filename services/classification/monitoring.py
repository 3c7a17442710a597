"""The reactor that watches slices, in a consumer group of its own, and the timers that let time pass for it.

Counts live in the database; the judgements are kept in memory beside them and made again when they are missing (a restart)
or stale (another instance was active, or a transaction was rolled back): `stamp` tells. What is published depends on the
counts alone, so making them again publishes nothing new.

**Judging goes in stretches** where there is much of it: years of history, many slices, a late fact of long ago. Each ends after `stretch`
seconds, long before a batch's deadline, and commits; a timer that is due at once goes on. First all days are judged, kept in memory and
from time to time as a snapshot, so that a process that is killed goes on from there; then what they came to is said, in the order of the days,
as far as the time lasts. So it is what one go would have said. A stretch that was cut all the same is tried again at half its length.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import uuid4

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.events.catalogue import decode
from libs.events.catalogue.classifications import InteractionClassified
from libs.events.catalogue.interactions import Effects
from libs.events.envelope import Event
from libs.events.offload import each, in_turns, offload
from libs.events.store import Cause, Unit
from libs.events.timers import Timer
from services.classification import inputs, tables
from services.classification.bounding import Bounds
from services.classification.counting import PEERS, SliceDay, count, counted_of, watched_of
from services.classification.domain.exposures import Exposures, Figure, changed
from services.classification.domain.monitor import Rules
from services.classification.domain.peers import Peers
from services.classification.domain.slices import DEFAULT, Series, Slice, parse
from services.classification.domain.watch import MAX_DAYS, Watch, complete_from
from services.classification.loading import load
from services.classification.recounting import Cursors, recount, uncounted
from services.classification.snapshots import Snapshots
from services.classification.verdict_rows import said_of
from services.classification.verdicts import Publisher
from services.classification.waiting import SHARE, Coming, Waiting

NAME = "monitor"
DAY, GATHER = "monitor-day", "monitor-gather"
STRETCH, SHORTEST = 2.0, 0.05
"""Seconds of judging in one transaction: whoever writes meanwhile waits as long."""
AFTERMATH = timedelta(days=45)
"""Days judged after the last fact: by then every episode has ended, and empty days tell nothing more."""


@dataclass(slots=True)
class Mark:
    """How far the monitor has come, as stored."""

    stamp: str
    seen: dict[str, datetime]
    latest: date
    through: date | None
    gathering: bool


@dataclass(slots=True)
class Unsaid:
    """Slices and places whose judgements changed and were not looked through for something to say yet."""

    keys: set[Slice] = field(default_factory=set)
    places: set[tuple[str, str]] = field(default_factory=set)
    everything: bool = False
    said_under: str | None = None  # all of it, in the transaction of that stamp


class Monitor:
    """One service's monitor. Handlers of one consumer group and the timers call it, one at a time (they share a database)."""

    def __init__(
        self,
        rules: Rules,
        waiting: Waiting,
        publisher: Publisher,
        series: Sequence[Series] = parse(DEFAULT),
        stretch: float = STRETCH,
    ) -> None:
        """`stretch`: seconds that judging may go on in one transaction."""
        self._rules, self._waiting, self._publisher = rules, waiting, publisher
        self._coming = Coming(waiting.gather)
        self._counted = watched_of(series)
        self._watched = {one.counts: one for one in series}
        self._bounds = Bounds()
        self._snapshots = Snapshots(rules, series, str(waiting.zone))
        self._watch: Watch | None = None
        self._peers: Peers | None = None
        self._stamp: str | None = None
        self._before: str | None = None  # where the tables' counts are the same as under `_stamp`
        self._stretch = self._longest = stretch
        self._unsaid = Unsaid()
        self.until: date | None = None  # of judging that is under way
        self._figures: dict[tuple[str, date, date], float] = {}
        self._figures_stamp: tuple[Any, ...] | None = None
        self._lock = asyncio.Lock()  # readers of the judgements, while a thread makes new ones

    async def take(self, unit: Unit, events: Sequence[Event]) -> None:
        """Reactor: count, and judge the days that are over."""
        async with self._lock:
            await self._take(unit, events)

    async def _take(self, unit: Unit, events: Sequence[Event]) -> None:
        decoded = await each(decode, events)
        facts = [data for data in decoded if isinstance(data, InteractionClassified)]
        mark = await self._mark(unit.connection)
        fresh = self._is_fresh(mark)
        counted = await each(lambda fact: counted_of(fact, unit.now, self._waiting.zone), facts)
        under_way = await self._complete_counts(unit.connection)
        added = await count(unit.connection, counted, self._counted, self._bounds, under_way)
        if added:
            await self._snapshots.spoil(unit.connection, min(day for *_, day in added))
        if not facts:
            return
        latest = max(min(fact.occurred_at, unit.now) for fact in facts).astimezone(self._waiting.zone).date()
        if mark is None:
            mark = Mark("", {}, latest, None, False)
            unit.schedule(DAY, NAME, self._waiting.next_close(unit.now), {}, cause=events[-1])
        mark.latest = max(mark.latest, latest)
        for fact in facts:
            source, at = fact.origin or "", min(fact.occurred_at, unit.now)
            mark.seen[source] = max(mark.seen.get(source, at), at)
        if under_way:
            await self._go_on_counting(unit, mark, events[-1])
            return
        await self._bring_up(unit.connection, added, fresh=fresh, first=mark.stamp == "")
        done = False
        if any(fact.effects is Effects.HISTORY for fact in facts):
            self._coming.heard(unit.now)
            if not mark.gathering:
                unit.schedule(GATHER, NAME, unit.now + self._waiting.gather, {}, cause=events[-1])
                mark.gathering = True
        elif not mark.gathering:
            done = await self._judge(unit, mark, events[-1])
        await self._keep(unit.connection, mark, done)

    async def pass_day(self, unit: Unit, timers: Sequence[Timer]) -> None:
        """Timer: a day is over by the clock."""
        await self._pass(unit, timers[-1])
        unit.schedule(DAY, NAME, self._waiting.next_close(unit.now), {}, cause=timers[-1])

    async def gathered(self, unit: Unit, timers: Sequence[Timer]) -> None:
        """Timer: judge what was gathered, once nothing more of it comes."""
        if self._coming.wait(unit.now):
            unit.schedule(GATHER, timers[-1].key, unit.now + self._waiting.gather, {}, cause=timers[-1])
            return
        await self._pass(unit, timers[-1], gathered=True)

    @asynccontextmanager
    async def reading(self, connection: AsyncConnection) -> AsyncIterator[tuple[Watch, Peers, Mark | None]]:
        """The judgements as they stand, nobody changing them meanwhile. What waits for its day to end waits."""
        async with self._lock:
            mark = await self._mark(connection)
            if mark is None or await uncounted(connection, self._counted):
                yield Watch(rules=self._rules), Peers(), None
                return
            if not self._is_fresh(mark):
                self._watch, self._peers = await self._load(connection)
                self._figures, self._figures_stamp = {}, None
                self._stamp, self._before = mark.stamp, None
                self._unsaid = Unsaid(everything=mark.gathering)
            watch, peers = self._watch, self._peers
            assert watch is not None
            assert peers is not None
            if (
                mark.through is not None
                and (watch.through is None or watch.through < mark.through)
                and not watch.underway
            ):
                self._unsaid.keys |= await self._stretched(watch, mark.through)
            yield watch, peers, mark

    async def _pass(self, unit: Unit, timer: Timer, *, gathered: bool = False) -> None:
        async with self._lock:
            mark = await self._mark(unit.connection)
            if mark is None:
                return
            if await self._complete_counts(unit.connection):
                mark.gathering = mark.gathering and not gathered
                await self._go_on_counting(unit, mark, timer)
                return
            await self._bring_up(unit.connection, {}, fresh=self._is_fresh(mark), first=False)
            if gathered:
                mark.gathering = False
            done = await self._judge(unit, mark, timer)
            await self._keep(unit.connection, mark, done)

    def _is_fresh(self, mark: Mark | None) -> bool:
        return mark is not None and self._watch is not None and mark.stamp in {self._stamp, self._before}

    async def _bring_up(
        self, connection: AsyncConnection, added: Mapping[SliceDay, tuple[int, int]], *, fresh: bool, first: bool
    ) -> None:
        """Memory as the tables now are. Until the commit it belongs to no stamp, so a rollback makes it stale."""
        if added or first or not fresh:
            self._stamp = self._before = None
        if first or not fresh:
            self._figures, self._figures_stamp, self._unsaid = {}, None, Unsaid()
        if fresh or first:
            if first:
                self._watch, self._peers = Watch(rules=self._rules), Peers()
            assert self._watch is not None
            assert self._peers is not None
            async for (series, motive, place, day), (more, contacts) in in_turns(sorted(added.items()), every=100):
                self._add(self._watch, self._peers, series, motive, place, day, more, contacts)
        else:
            mark = await self._mark(connection)
            self._watch, self._peers = await self._load(connection)
            # What another process had still to say, or what the counts just added take back, is not known here.
            self._unsaid.everything = bool(added) or (mark is not None and mark.gathering)
            if not added:
                self._stamp = None if mark is None else mark.stamp

    async def _load(self, connection: AsyncConnection) -> tuple[Watch, Peers]:
        table = tables.days
        mark = await self._mark(connection)
        watch, peers = Watch(rules=self._rules), Peers()
        if mark is None:
            return watch, peers
        since = mark.latest - timedelta(days=MAX_DAYS)
        if (await connection.execute(select(table.c.day).where(table.c.day < since).limit(1))).first() is not None:
            watch.complete_from = complete_from(since)
        await self._snapshots.resume(connection, watch)
        await load(connection, since, self._watched, watch, peers)
        return watch, peers

    def _add(
        self, watch: Watch, peers: Peers, counts: str, motive: str, place: str, day: date, more: int, contacts: int
    ) -> None:
        if (series := self._watched.get(counts)) is not None:
            watch.add(series.slice_of(motive, place), day, more, contacts)
        if counts == PEERS:
            peers.add(motive, place, day, more)

    async def _complete_counts(self, connection: AsyncConnection) -> Cursors:
        """Series that were not watched before are counted from the contacts there are, a stretch of it."""
        over = time.monotonic() + self._stretch
        return await recount(connection, self._counted, lambda: time.monotonic() > over)

    async def _go_on_counting(self, unit: Unit, mark: Mark, cause: Event | Cause) -> None:
        """Nothing is judged before all is counted; a timer that is due at once goes on."""
        self._watch = self._peers = self._stamp = self._before = None
        self.until = mark.latest
        if not mark.gathering:
            unit.schedule(GATHER, f"{NAME}/{mark.stamp}", unit.now, {}, cause=cause)
            mark.gathering = True
        await self._keep(unit.connection, mark, False)

    async def _judge(self, unit: Unit, mark: Mark, cause: Event | Cause) -> bool:
        """A stretch of it; whether nothing is left to do."""
        target = min(self._waiting.closed(mark.seen, unit.now), mark.latest + AFTERMATH)
        if mark.through is not None:
            target = max(target, mark.through)
        watch, peers = self._watch, self._peers
        assert watch is not None
        assert peers is not None
        unsaid, done = self._unsaid, False
        if unsaid.said_under == mark.stamp:  # and that was committed
            unsaid.keys, unsaid.places = set(), set()
        unsaid.said_under = None
        self.until = target
        await self._expose(unit.connection, peers)
        over = time.monotonic() + self._stretch
        try:
            unsaid.keys |= await self._stretched(watch, target)
            await self._snapshots.keep(unit.connection, watch)
            if not watch.underway:
                unsaid.places |= await offload(peers.advance, target)
                if unsaid.everything:
                    unsaid.keys |= await said_of(unit.connection, watch)
                    unsaid.places |= peers.found.keys()
                    unsaid.everything = False
                done = await self._publisher.publish(
                    unit,
                    watch,
                    sorted(unsaid.keys),
                    peers,
                    sorted(unsaid.places),
                    cause,
                    lambda: time.monotonic() > over,
                )
        except BaseException:
            self._stretch = max(SHORTEST, self._stretch / 2)
            raise
        self._stretch = min(self._longest, self._stretch * 1.2)
        if done:
            self.until, mark.through = None, target
            self._coming.judged()
        elif not mark.gathering:
            # A key of its own: what is said from then on has the timer for its cause.
            pause = timedelta(seconds=SHARE * self._stretch) if self._coming.comes(unit.now) else timedelta()
            unit.schedule(GATHER, f"{NAME}/{mark.stamp}", unit.now + pause, {}, cause=cause)
            mark.gathering = True
        return done

    async def _stretched(self, watch: Watch, through: date) -> set[Slice]:
        """Judge in a thread, as far as the time lasts."""
        over, cut = time.monotonic() + self._stretch, False

        def enough() -> bool:
            return cut or time.monotonic() > over

        try:
            return await offload(watch.advance, through, enough)
        except BaseException:
            # A thread may still be at it: that watch is nobody's any more.
            cut = True
            self._watch = self._stamp = self._before = None
            raise

    async def _expose(self, connection: AsyncConnection, peers: Peers) -> None:
        """Places are compared by rate where contracts or orders are known; a figure that came late has its weeks looked at again."""
        stamp = await inputs.places_stamp(connection)
        if stamp == self._figures_stamp:
            return
        figures = await inputs.places(connection)
        since = changed(self._figures, figures)
        if since is not None:
            known = [Figure(place, first, last, amount) for (place, first, last), amount in figures.items()]
            peers.expose(Exposures(known) if known else None, since)
        self._figures, self._figures_stamp = figures, stamp

    async def _mark(self, connection: AsyncConnection) -> Mark | None:
        table = tables.watermarks
        row = (await connection.execute(select(table).where(table.c.name == NAME))).one_or_none()
        if row is None:
            return None
        seen = {source: datetime.fromisoformat(at) for source, at in row.seen.items()}
        return Mark(row.stamp, seen, row.latest, row.through, row.gathering)

    async def _keep(self, connection: AsyncConnection, mark: Mark, done: bool) -> None:
        """`done`: what there was to say is said, once this is committed."""
        table = tables.watermarks
        first = mark.stamp == ""
        before, mark.stamp = None if self._stamp is None else mark.stamp, str(uuid4())
        values: dict[str, Any] = {
            "stamp": mark.stamp,
            "seen": _sources(mark.seen),
            "latest": mark.latest,
            "through": mark.through,
            "gathering": mark.gathering,
        }
        if first:
            await connection.execute(insert(table).values(name=NAME, **values))
        else:
            await connection.execute(update(table).where(table.c.name == NAME).values(**values))
        # Should this transaction be rolled back, the tables stand under the former stamp again, and so does what is held here of them.
        self._before, self._stamp = before, mark.stamp
        if done:
            self._unsaid.said_under = mark.stamp


def _sources(seen: Mapping[str, datetime]) -> dict[str, str]:
    return {source: at.astimezone(UTC).isoformat() for source, at in sorted(seen.items())}
