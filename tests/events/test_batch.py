"""A batch cut into what is handled together."""

import itertools

from libs.events.consumer.batch import Batch, by_partition, pieces
from libs.events.log import Record, TopicPartition

HERE, THERE = TopicPartition("t", 0), TopicPartition("t", 1)


def record(tp: TopicPartition, offset: int) -> Record:
    return Record(tp.topic, tp.partition, offset, b"k", b"{}", (), 0)


def broken(moves: dict[TopicPartition, tuple[int, int]], offsets: dict[TopicPartition, list[int]]) -> Batch:
    batch = Batch(moves, {"t": 2})
    batch.broken = [(record(tp, offset), "no event") for tp, all_ in offsets.items() for offset in reversed(all_)]
    batch.size = len(batch.broken)
    return batch


def test_stretches_double_and_meet_without_a_gap() -> None:
    """Offsets have gaps where transaction markers stand; the last stretch ends where the batch does."""
    offsets = [3, 4, 7, 8, 9, 12, 13, 14, 15, 20, 21]
    [part] = by_partition(broken({HERE: (2, 23)}, {HERE: offsets}))
    found = pieces(part, alone=2, most=4)
    assert [piece.size for piece in found] == [1, 1, 1, 2, 4, 2]
    moves = [piece.moves[HERE] for piece in found]
    assert moves[0][0] == 2
    assert moves[-1][1] == 23
    assert all(before[1] == after[0] for before, after in itertools.pairwise(moves))
    assert [one.offset for piece in found for one, _ in piece.broken] == offsets


def test_a_batch_falls_into_its_partitions() -> None:
    whole = broken({HERE: (0, 5), THERE: (7, 9)}, {HERE: [0, 4], THERE: [8]})
    assert [(part.moves, part.size) for part in by_partition(whole)] == [({HERE: (0, 5)}, 2), ({THERE: (7, 9)}, 1)]
