"""One batch: the records of one poll, what they hold, and who handles it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from libs.events.envelope import Event, from_record
from libs.events.errors import describe
from libs.events.inbox import Identity, identity
from libs.events.log import Record, TopicPartition
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


def read_batch(
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
        for record in records:
            try:
                event = from_record(record)
            except ValueError as error:
                batch.broken.append((record, describe(error)))
            else:
                batch.events.append((record, event, routes.of(event.type)))
    return batch


def single(batch: Batch) -> list[Batch]:
    """The batch as batches of one record each, in log order per partition."""
    following = {tp: expected for tp, (expected, _) in batch.moves.items()}
    result = []
    entries: list[tuple[Record, Event | None, tuple[Subscription, ...], str]] = [
        *((record, event, wanted, "") for record, event, wanted in batch.events),
        *((record, None, (), error) for record, error in batch.broken),
    ]
    for record, event, wanted, error in sorted(entries, key=lambda entry: entry[0].offset):
        tp = TopicPartition(record.topic, record.partition)
        one = Batch({tp: (following[tp], record.offset + 1)}, batch.partitions, size=1)
        if event is None:
            one.broken.append((record, error))
        else:
            one.events.append((record, event, wanted))
        following[tp] = record.offset + 1
        result.append(one)
    return result
