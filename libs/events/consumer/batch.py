"""One batch: the records of one poll, what they hold, and who handles it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

from libs.events.envelope import Event, from_record
from libs.events.errors import describe
from libs.events.inbox import Identity, identity
from libs.events.log import Record, TopicPartition
from libs.events.offload import in_turns
from libs.events.subscriptions import Routes, Subscription


@dataclass(slots=True)
class Batch:
    """Records in log order per partition, with the positions they move: (expected, next) for each partition."""

    moves: dict[TopicPartition, tuple[int, int]]
    partitions: Mapping[str, int]  # of each topic
    events: list[tuple[Record, Event, tuple[Subscription, ...]]] = field(default_factory=list)
    broken: list[tuple[Record, str]] = field(default_factory=list)  # no events at all, and why
    size: int = 0

    def identities(self) -> list[Identity]:
        """Of the events that somebody handles."""
        return [identity(event, self.partitions[record.topic]) for record, event, wanted in self.events if wanted]


async def read_batch(
    found: Mapping[TopicPartition, Sequence[Record]],
    positions: Mapping[TopicPartition, int],
    partitions: Mapping[str, int],
    routes: Routes,
) -> Batch:
    """Read the envelopes. Raises NewerVersion: the whole batch waits for the deployment that knows the version."""
    batch = Batch({}, partitions)
    for tp, records in found.items():
        # Offsets have gaps (transaction markers): the next position follows the last record that was returned.
        batch.moves[tp] = (positions[tp], records[-1].offset + 1)
        batch.size += len(records)
    async for record in in_turns(chain.from_iterable(found.values()), every=100):
        try:
            event = from_record(record)
        except ValueError as error:
            batch.broken.append((record, describe(error)))
        else:
            batch.events.append((record, event, routes.of(event.type)))
    return batch


def by_partition(batch: Batch) -> list[Batch]:
    """The batch as one batch for each partition, in log order."""
    return [_part(batch, tp, _entries(batch, tp), move) for tp, move in batch.moves.items()]


def pieces(part: Batch, alone: int, most: int) -> list[Batch]:
    """One partition's batch in stretches: `alone` records one by one, then 1, 2, 4 … `most` together."""
    [(tp, (at, end))] = part.moves.items()
    entries = _entries(part, tp)
    result, done, size = [], 0, 1
    while done < len(entries):
        width = 1 if done < alone else size
        taken = entries[done : done + width]
        size = size if done < alone else min(size * 2, most)
        done += width
        # The last stretch ends where the batch does: transaction markers may stand behind the last record.
        following = taken[-1].record.offset + 1 if done < len(entries) else end
        result.append(_part(part, tp, taken, (at, following)))
        at = following
    return result


@dataclass(frozen=True, slots=True)
class _Entry:
    record: Record
    event: Event | None
    wanted: tuple[Subscription, ...]
    error: str


def _entries(batch: Batch, tp: TopicPartition) -> list[_Entry]:
    found = [_Entry(record, event, wanted, "") for record, event, wanted in batch.events]
    found += [_Entry(record, None, (), error) for record, error in batch.broken]
    here = [one for one in found if (one.record.topic, one.record.partition) == (tp.topic, tp.partition)]
    return sorted(here, key=lambda one: one.record.offset)


def _part(batch: Batch, tp: TopicPartition, entries: Sequence[_Entry], move: tuple[int, int]) -> Batch:
    part = Batch({tp: move}, batch.partitions, size=len(entries))
    for one in entries:
        if one.event is None:
            part.broken.append((one.record, one.error))
        else:
            part.events.append((one.record, one.event, one.wanted))
    return part
