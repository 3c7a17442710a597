"""The rules on which "once" rests, each a method, so that a test can break one and see which invariant notices."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.events.errors import Zombie
from libs.events.inbox import Identity, take
from libs.events.log import TopicPartition
from libs.events.store import Store

# Locked in one order everywhere, or two owners of the same partitions could wait for each other.
_CLAIM_POSTGRES = """
WITH held AS (
    SELECT o.topic, o.partition, moved.following
    FROM unnest($2::text[], $3::int[], $4::bigint[], $5::bigint[]) AS moved(topic, partition, expected, following)
    JOIN offsets AS o ON o.consumer_group = $1 AND o.topic = moved.topic AND o.partition = moved.partition
        AND o.next = moved.expected
    ORDER BY o.topic COLLATE "C", o.partition FOR UPDATE OF o
)
UPDATE offsets SET next = held.following FROM held
WHERE offsets.consumer_group = $1 AND offsets.topic = held.topic AND offsets.partition = held.partition
RETURNING offsets.topic, offsets.partition
"""
# `json_extract` and not `->>`, which SQLite has from 3.38 on: Python 3.11 is also found with 3.37.
_CLAIM_SQLITE = """
UPDATE offsets SET next = json_extract(moved.value, '$[3]') FROM json_each(?2) AS moved
WHERE consumer_group = ?1 AND topic = json_extract(moved.value, '$[0]') AND partition = json_extract(moved.value, '$[1]')
    AND next = json_extract(moved.value, '$[2]')
RETURNING topic, partition
"""


class Discipline:
    """What a consumer does to its offsets and its inbox, in the transaction of the batch."""

    hint_first = False
    """Whether lag tools are told before the commit. They must not: an event would be lost with the database down."""

    async def positions(
        self, store: Store, group: str, partitions: Sequence[TopicPartition]
    ) -> dict[TopicPartition, int]:
        """Where to go on; a partition seen for the first time gets its row, at the log's beginning."""
        table = store.tables.offsets
        query = select(table.c.topic, table.c.partition, table.c.next).where(table.c.consumer_group == group)
        async with store.reading() as connection:
            found = {TopicPartition(topic, number): at for topic, number, at in await connection.execute(query)}
        missing = [tp for tp in partitions if tp not in found]
        if missing:
            insert = sqlite_insert if store.engine.dialect.name == "sqlite" else postgres_insert
            rows = [
                {"consumer_group": group, "topic": tp.topic, "partition": tp.partition, "next": 0} for tp in missing
            ]
            async with store.writing() as connection:
                await connection.execute(insert(table).values(rows).on_conflict_do_nothing())
            return await self.positions(store, group, partitions)
        return {tp: found[tp] for tp in partitions}

    async def claim(
        self, store: Store, connection: AsyncConnection, group: str, moves: Mapping[TopicPartition, tuple[int, int]]
    ) -> None:
        """Compare-and-set of each partition's offset, (expected, next). Raises Zombie: another owner went ahead."""
        # One statement: one for each partition, put together by SQLAlchemy, took a seventh of what indicators did.
        wanted = [(tp.topic, tp.partition, *moves[tp]) for tp in sorted(moves, key=lambda tp: (tp.topic, tp.partition))]
        if connection.dialect.name == "sqlite":
            given: tuple[Any, ...] = (group, orjson.dumps(wanted).decode())
            found: Any = await connection.exec_driver_sql(_CLAIM_SQLITE, given)
        else:
            given = (group, *map(list, zip(*wanted, strict=True)))
            found = await connection.exec_driver_sql(_CLAIM_POSTGRES, given)
        there = {TopicPartition(topic, number) for topic, number in found}
        if len(there) != len(moves):
            gone = min(moves.keys() - there, key=str)
            raise Zombie(f"{group} is not at offset {moves[gone][0]} of {gone} any more")

    async def fresh(self, store: Store, connection: AsyncConnection, group: str, items: Sequence[Identity]) -> set[str]:
        """Ids of those this group has not had, over all partitions and ever."""
        return await take(store.dialect, connection, group, items)

    def failed(self, error: Exception) -> None:
        """A handler failed. The failure must go on; swallowing it here would lose an effect."""
        raise error


def upsert_for(connection: AsyncConnection) -> Any:
    """The `insert` that knows `on_conflict_…` on this database."""
    return sqlite_insert if connection.dialect.name == "sqlite" else postgres_insert
