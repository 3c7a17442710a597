"""Handling one batch: one transaction, and what follows when a handler fails."""

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from libs.events import faults
from libs.events.consumer.attempts import BATCH, RECORD, STRETCH, Attempts, Place
from libs.events.consumer.batch import Batch, by_partition, pieces
from libs.events.consumer.discipline import Discipline
from libs.events.envelope import Event
from libs.events.errors import ConcurrencyConflict, describe, is_conflict, is_transient
from libs.events.log import Record, TopicPartition
from libs.events.quarantine import ENVELOPE, Failure, Quarantine
from libs.events.settings import MachinerySettings
from libs.events.store import Store, Unit
from libs.events.subscriptions import Subscription

logger = logging.getLogger("lazo.consumer")

# Conflicts with other transactions settle by going again at once; a handler that always conflicts has a bug.
CONFLICTS = 5
STARTS = 2  # of a batch, by different processes, that are let go by before it is gone through record by record
STRETCH_MOST = 64  # records: what the next process goes through one by one when this one ends in them


class BreakerOpen(Exception):
    """Most of what was handled would be parked: a mistake in the deployment, not in the events."""


class _Rerun(Exception):
    """Roll back; count the attempts; go again."""


@dataclass(slots=True)
class _Failed:
    record: Record
    event: Event
    handler: str
    error: str


class Handling:
    """The transactions of one consumer group.

    A batch goes through three modes. *Together*: every subscription gets all its events of the batch at once. When that
    fails for good, *isolated*: event by event in savepoints of one transaction, so that the culprit is found while the rest
    takes effect; it is tried `attempts` times, each counted before it is made, then parked in the transaction that moves
    the offset. When processes died in the middle of the batch, *carefully*: one record, then two, four … up to 64 together,
    each stretch stored before it is begun. Whoever dies in one leaves it to the next process, which goes through just that
    stretch record by record, each attempt stored before, so that a record that kills the process is known by its count.
    """

    def __init__(
        self,
        store: Store,
        group: str,
        subscriptions: Sequence[Subscription],
        quarantine: Quarantine,
        discipline: Discipline,
        settings: MachinerySettings,
    ) -> None:
        self.store, self.group, self.quarantine = store, group, quarantine
        self.discipline, self.settings = discipline, settings
        self._subscriptions = tuple(subscriptions)
        self._counted: set[TopicPartition] = set()  # whose first batch this process has counted
        self._attempts = Attempts(store, group)
        self._careful: dict[TopicPartition, int] = {}  # to be gone through carefully, up to this offset
        self._suspect: dict[TopicPartition, int] = {}  # how many records at its start are gone through one by one
        self._outcomes: dict[str, deque[bool]] = {}  # of the last events that a handler tried: did it fail?

    async def handle(self, batch: Batch) -> None:
        """Bring the batch to its end: handled, or its culprits parked. Raises Transient and the like (nothing happened, come
        again), Zombie, BreakerOpen."""
        self._check_broken(batch)
        try:
            await self._begin(batch)
            if not any(expected < self._careful.get(tp, 0) for tp, (expected, _) in batch.moves.items()):
                await self._together(batch)
                return
            for part in by_partition(batch):
                [(tp, (expected, _))] = part.moves.items()
                await (self._carefully(part) if expected < self._careful.get(tp, 0) else self._together(part))
        except Exception:
            self._counted.difference_update(await self._attempts.lived())
            raise

    async def _together(self, batch: Batch) -> None:
        for _ in range(CONFLICTS):
            try:
                await self._once(batch)
                return
            except ConcurrencyConflict as conflict:
                logger.info("%s meets another writer: %s", self.group, conflict)
            except Exception as error:
                if is_conflict(error):
                    continue
                if isinstance(error, BreakerOpen) or is_transient(error):
                    raise
                logger.warning("%s isolates the culprit of a batch of %d: %s", self.group, batch.size, describe(error))
                break
        await self._isolate(batch)

    async def _once(self, batch: Batch) -> None:
        async with self.store.handling() as connection:
            new, blocked = await self._open(connection, batch)
            unit = Unit(self.store, connection, self.store.clock.now(), None, "")
            parked: list[tuple[Record, Event | None, Failure]] = []
            by_handler: dict[str, list[Event]] = {}
            for record, event, wanted in batch.events:
                if event.id not in new:
                    continue
                new.discard(event.id)  # a second record of the same event in this batch
                for subscription in wanted:
                    if (subscription.name, event.partitionkey) in blocked:
                        parked.append((record, event, _behind(subscription)))
                    else:
                        by_handler.setdefault(subscription.name, []).append(event)
            for subscription in self._subscriptions:
                events = by_handler.get(subscription.name)
                if events:
                    await self._call(subscription, unit, events)
            await unit.flush()
            await self._close(connection, batch, parked)
        tried = {handler: len(events) for handler, events in by_handler.items()}
        await self._committed(batch, [unit], parked, tried, Counter())

    async def _call(self, subscription: Subscription, unit: Unit, events: Sequence[Event]) -> None:
        unit.handler = subscription.name
        try:
            await subscription.handle(unit, events)
        except Exception as error:  # noqa: BLE001 - the discipline raises it again
            self.discipline.failed(error)

    async def _open(self, connection: AsyncConnection, batch: Batch) -> tuple[set[str], set[tuple[str, str]]]:
        """The start of every transaction: compare-and-set, inbox, what is blocked."""
        await self.discipline.claim(self.store, connection, self.group, batch.moves)
        faults.point("consumer.claimed")
        new = await self.discipline.fresh(self.store, connection, self.group, batch.identities())
        faults.point("consumer.inbox")
        return new, await self.quarantine.blocked(connection, self.group)

    async def _close(
        self, connection: AsyncConnection, batch: Batch, parked: list[tuple[Record, Event | None, Failure]]
    ) -> None:
        """The end of every transaction: what is parked, and the attempts that are over."""
        items = [*parked, *((record, None, Failure(ENVELOPE, error, 1)) for record, error in batch.broken)]
        await self.quarantine.park(connection, self.group, items)
        await self._attempts.forget(connection, batch.moves)
        faults.point("consumer.handled")

    async def _committed(
        self,
        batch: Batch,
        units: Sequence[Unit],
        parked: Sequence[tuple[Record, Event | None, Failure]],
        tried: Mapping[str, int],
        failed: Counter[str],
    ) -> None:
        faults.point("consumer.committed")
        self._attempts.over(batch.moves)
        for unit in units:
            self.store.finished(unit)
        for handler, count in tried.items():
            self._remember(handler, count, failed[handler])
        # Somebody may have replayed the first of a key while this transaction parked a follower behind it.
        behind = {
            (failure.handler, event.partitionkey)
            for _, event, failure in parked
            if event and failure.state == "waiting"
        }
        for handler, key in behind:
            await self.quarantine.release(self.group, handler, key)

    # Isolation.

    async def _isolate(self, batch: Batch) -> None:
        counts: dict[Place, int] = {}
        while True:
            if counts:
                counts = await self._count(counts)
            try:
                await self._isolated(batch, counts)
                return
            except _Rerun:
                continue
            except Exception as error:
                if not is_conflict(error):
                    raise

    async def _isolated(self, batch: Batch, counts: dict[Place, int]) -> None:
        """Event by event in savepoints. Raises _Rerun with `counts` grown while a culprit has attempts left."""
        units: list[Unit] = []
        failed: list[_Failed] = []
        parked: list[tuple[Record, Event | None, Failure]] = []
        tried: Counter[str] = Counter()
        handled = 0
        async with self.store.handling() as connection:
            new, blocked = await self._open(connection, batch)
            for record, event, wanted in batch.events:
                if event.id not in new:
                    continue
                new.discard(event.id)
                handled += bool(wanted)
                for subscription in wanted:
                    if (subscription.name, event.partitionkey) in blocked:
                        parked.append((record, event, _behind(subscription)))
                        continue
                    tried[subscription.name] += 1
                    error = await self._in_savepoint(connection, subscription, event, units)
                    if error is not None:
                        failed.append(_Failed(record, event, subscription.name, error))
                        blocked.add((subscription.name, event.partitionkey))
            again = False
            for item in failed:
                place = (item.record.topic, item.record.partition, item.record.offset, item.handler)
                made = counts.setdefault(place, 1)
                again = again or made < self.settings.attempts
                parked.append((item.record, item.event, Failure(item.handler, item.error, made)))
            if again:
                raise _Rerun
            self._check_breaker(failed, handled, tried)
            await self._close(connection, batch, _in_order(parked))
        await self._committed(batch, units, parked, tried, Counter(item.handler for item in failed))

    async def _in_savepoint(
        self, connection: AsyncConnection, subscription: Subscription, event: Event, units: list[Unit]
    ) -> str | None:
        unit = Unit(self.store, connection, self.store.clock.now(), None, subscription.name)
        try:
            async with connection.begin_nested():
                await self._call(subscription, unit, [event])
                await unit.flush()
        except Exception as error:
            if is_transient(error) or is_conflict(error):
                raise
            return describe(error, unit.opened)
        units.append(unit)
        return None

    async def _count(self, counts: dict[Place, int]) -> dict[Place, int]:
        """Store one more attempt for each culprit before it is made."""
        grown = {place: count + 1 for place, count in counts.items()}
        await self._attempts.store_counts(grown)
        faults.point("quarantine.attempted")
        return grown

    # What killed a process.

    async def _begin(self, batch: Batch) -> None:
        """Before the first batch that this process has of a partition: count the processes that began at this offset. The
        third one goes record by record, since two did not live to commit; the second may only be a new owner beside a
        zombie. In the steady state nothing is written: a record that kills is met again by a process that does count."""
        for tp, (expected, following) in batch.moves.items():
            if tp in self._counted:
                continue
            starts = await self._attempts.began(tp, expected, BATCH)
            left = await self._attempts.found(tp, expected)
            ended = left.get(RECORD, 0)
            if starts > STARTS or ended or STRETCH in left:
                logger.warning("%s begins %s@%d for the %d. time: carefully", self.group, tp, expected, starts)
                self._careful[tp] = following
                self._suspect[tp] = max(1, left.get(STRETCH, 0))
            if ended and self.settings.careful_pause:
                # Processes are killed for other reasons too, again and again soon after their start (memory, a deployment
                # that does not come up). Whoever outlives the pause and then ends in this very record ends because of it.
                await asyncio.sleep(self.settings.careful_pause * ended)
            self._counted.add(tp)
        faults.point("quarantine.attempted")

    async def _carefully(self, part: Batch) -> None:
        """One partition. What nobody ended in doubles: a process that is killed from outside again and again would otherwise
        never be through a batch of 500, at two transactions a record."""
        [tp] = part.moves
        for piece in pieces(part, self._suspect.pop(tp, 1), STRETCH_MOST):
            if piece.size == 1:
                await self._one_by_one(piece)
                continue
            await self._attempts.began_stretch(tp, piece.moves[tp][0], piece.size)
            faults.point("quarantine.attempted")
            await self._together(piece)

    async def _one_by_one(self, one: Batch) -> None:
        tp, (expected, _) = next(iter(one.moves.items()))
        made = await self._attempts.began(tp, expected, RECORD)
        faults.point("quarantine.attempted")
        if made < self.settings.attempts or not one.events:  # the starts of the batch are attempts too
            await self._together(one)
            return
        record, event, wanted = one.events[0]
        error = f"the process ended while handling it, {made - 1} times"
        parked: list[tuple[Record, Event | None, Failure]] = [
            (record, event, Failure(subscription.name, error, made - 1)) for subscription in wanted
        ]
        async with self.store.handling() as connection:
            await self._open(connection, one)
            await self._close(connection, one, parked)
        await self._committed(one, [], parked, {}, Counter())

    # The breaker.

    def _check_broken(self, batch: Batch) -> None:
        if batch.size >= self.settings.breaker_least and len(batch.broken) > batch.size * self.settings.breaker_share:
            raise BreakerOpen(f"{len(batch.broken)} of {batch.size} records are no events: {batch.broken[0][1]}")

    def _check_breaker(self, failed: Sequence[_Failed], handled: int, tried: Mapping[str, int]) -> None:
        """Of the events that a handler tried, most failed. What only waits behind another says nothing about the deployment,
        and one angry customer's events are no deployment either. Small batches are judged together with the last ones."""
        for handler, culprits in Counter(item.handler for item in failed).items():
            seen, attempted = handled, tried[handler]
            if seen < self.settings.breaker_least:
                missing = self.settings.breaker_least - attempted
                earlier = list(self._outcomes.get(handler, ()))[-missing:] if missing > 0 else []
                seen, attempted, culprits = seen + len(earlier), attempted + len(earlier), culprits + sum(earlier)
            if seen < self.settings.breaker_least or culprits < self.settings.breaker_culprits:
                continue
            if culprits > attempted * self.settings.breaker_share:
                last = next(item.error for item in reversed(failed) if item.handler == handler)
                raise BreakerOpen(
                    f"{culprits} of {attempted} events of {handler} would be parked, the last for: {last}"
                )

    def _remember(self, handler: str, tried: int, failed: int) -> None:
        outcomes = self._outcomes.setdefault(handler, deque(maxlen=2 * self.settings.breaker_least))
        outcomes.extend([False] * min(tried - failed, self.settings.breaker_least * 2))
        outcomes.extend([True] * failed)


def _behind(subscription: Subscription) -> Failure:
    return Failure(subscription.name, "waits behind an earlier event of the same key", 0, "waiting")


def _in_order(
    parked: list[tuple[Record, Event | None, Failure]],
) -> list[tuple[Record, Event | None, Failure]]:
    """Each key's parked event before those that wait behind it: the quarantine's numbers are the order of release."""
    return sorted(parked, key=lambda item: item[2].state != "parked")


__all__ = ["BreakerOpen", "Handling"]
