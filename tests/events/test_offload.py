"""Who works through a batch on the event loop lets others in on the way. Counted in turns of the loop, never timed."""

import asyncio
import gc
from collections.abc import Awaitable
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import pytest
from sqlalchemy import JSON, Column, MetaData, String, Table, select

from libs.events import bulk, garbage
from libs.events.consumer.batch import read_batch
from libs.events.engines import make_engine
from libs.events.envelope import Event, unchained
from libs.events.log import Record, TopicPartition
from libs.events.offload import PIECE, each, in_turns, pieces
from libs.events.subscriptions import Routes

T = TypeVar("T")


class Others:
    """Somebody else with something to do: a step in every turn of the loop."""

    def __init__(self) -> None:
        self.steps = 0

    async def _go(self) -> None:
        while True:
            self.steps += 1
            await asyncio.sleep(0)

    async def during(self, work: Awaitable[T]) -> tuple[T, int]:
        """What the work gave, and the steps others took meanwhile."""
        task = asyncio.create_task(self._go())
        await asyncio.sleep(0)
        before = self.steps
        made = await work
        taken = self.steps - before
        task.cancel()
        return made, taken


async def test_a_batch_decoded_in_pieces_lets_others_have_the_loop_between_two_of_them() -> None:
    others = Others()
    seen: list[tuple[int, int]] = []

    def decode(item: int) -> int:
        seen.append((item, others.steps))
        return -item

    made, steps = await others.during(each(decode, range(5 * PIECE)))
    assert made == [-item for item in range(5 * PIECE)]
    assert steps == 4
    by_step = [step for _, step in seen]
    assert [item for item, _ in seen] == list(range(5 * PIECE))
    assert max(by_step.count(step) for step in set(by_step)) == PIECE


async def test_a_batch_of_one_piece_takes_no_turn_at_all() -> None:
    assert await Others().during(each(str, range(PIECE))) == ([str(item) for item in range(PIECE)], 0)


async def test_what_fails_in_the_middle_of_a_batch_is_raised_and_ends_it() -> None:
    done: list[int] = []

    def fail(item: int) -> None:
        done.append(item)
        if item == PIECE + 1:
            raise ValueError(item)

    with pytest.raises(ValueError, match=str(PIECE + 1)):
        await each(fail, range(5 * PIECE))
    assert done == list(range(PIECE + 2))


async def test_pieces_and_turns_keep_the_order_and_leave_nothing_out() -> None:
    assert [list(some) async for some in pieces(range(7), 3)] == [[0, 1, 2], [3, 4, 5], [6]]
    nothing: tuple[int, ...] = ()
    assert [list(some) async for some in pieces(nothing, 3)] == []
    assert [item async for item in in_turns(range(7), every=3)] == list(range(7))


async def test_records_of_many_partitions_are_read_in_pieces_too() -> None:
    """A poll gives a few records of each of many partitions: counted by partition nobody was let in for 500 records."""
    now = datetime(2026, 3, 2, tzinfo=UTC)
    found: dict[TopicPartition, list[Record]] = {}
    for partition in range(10):
        for offset in range(50):
            event = Event(f"e-{partition}-{offset}", "t.v1", "/s", "s/1", 1, 1, now, now, "k", "c", None, None, b"{}")
            out = unchained(event, "t", partition)
            record = Record("t", partition, offset, out.key, out.value, out.headers, out.timestamp_ms)
            found.setdefault(TopicPartition("t", partition), []).append(record)
    batch, steps = await Others().during(read_batch(found, dict.fromkeys(found, 0), {"t": 10}, Routes([])))
    assert [record for record, _, _ in batch.events] == [record for records in found.values() for record in records]
    assert batch.moves == dict.fromkeys(found, (0, 50))
    assert steps >= 4


async def test_many_rows_are_written_and_asked_for_in_pieces_and_none_is_lost(tmp_path: Path) -> None:
    """Parameters of 500 rows put together in one go held the loop for 20 ms."""
    table = Table(
        "things", MetaData(), Column("id", String, primary_key=True), Column("name", String), Column("more", JSON)
    )
    engine = make_engine(tmp_path / "things.db", service="test")
    rows = [{"id": f"i{number:03}", "name": f"first {number}", "more": [number]} for number in range(250)]
    try:
        async with engine.begin() as connection:
            await connection.run_sync(table.metadata.create_all)
            _, steps = await Others().during(bulk.write(connection, table, rows, key=["id"]))
            await bulk.write(connection, table, [row | {"name": f"then {row['id']}"} for row in rows], key=["id"])
            asked = await bulk.among(
                connection, select(table).order_by(table.c.id), table.c.id, [f"i{number:03}" for number in range(500)]
            )
            there = (await connection.execute(select(table))).all()
    finally:
        await engine.dispose()
    assert [tuple(row) for row in asked] == [(row["id"], f"then {row['id']}", row["more"]) for row in rows]
    assert len(there) == 250
    assert steps >= 2


async def test_everything_is_looked_at_when_it_is_due_and_nothing_is_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    looks, quiet = 3, False
    monkeypatch.setattr(garbage, "LOOKS", 3)
    monkeypatch.setattr(gc, "get_count", lambda: (0, 0, looks))
    looked: list[int] = []
    monkeypatch.setattr(gc, "collect", lambda generation=2: looked.append(generation))
    task = asyncio.create_task(garbage.tidy(lambda: quiet, every=0))
    await _turns()
    assert looked == [], "somebody was at work"
    looks, quiet = 2, True
    await _turns()
    assert looked == [], "not due"
    looks = 3
    await _turns()
    task.cancel()
    assert set(looked) == {2}


async def _turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_a_server_looks_at_no_more_than_ten_thousand_young_containers_in_one_go() -> None:
    """A look takes 1 µs a container. With 200,000 in the middle generation one held the loop for 54 ms."""
    young, looks, _ = garbage.SERVING
    assert young * (looks + 1) <= 10_000
