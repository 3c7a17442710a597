"""The rules on which "once" rests, each a method, so that a test can break one and see which invariant notices."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.events.errors import Zombie
from libs.events.inbox import Identity, take
from libs.events.log import TopicPartition
from libs.events.store import Store


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
        table = store.tables.offsets
        # In one order everywhere, or two owners of the same partitions could wait for each other.
        for tp in sorted(moves, key=lambda tp: (tp.topic, tp.partition)):
            expected, following = moves[tp]
            moved = await connection.execute(
                update(table)
                .where(
                    table.c.consumer_group == group,
                    table.c.topic == tp.topic,
                    table.c.partition == tp.partition,
                    table.c.next == expected,
                )
                .values(next=following)
            )
            if moved.rowcount != 1:
                raise Zombie(f"{group} is not at offset {expected} of {tp} any more")

    async def fresh(self, store: Store, connection: AsyncConnection, group: str, items: Sequence[Identity]) -> set[str]:
        """Ids of those this group has not had, over all partitions and ever."""
        return await take(store.dialect, connection, group, items)

    def failed(self, error: Exception) -> None:
        """A handler failed. The failure must go on; swallowing it here would lose an effect."""
        raise error


def upsert_for(connection: AsyncConnection) -> Any:
    """The `insert` that knows `on_conflict_…` on this database."""
    return sqlite_insert if connection.dialect.name == "sqlite" else postgres_insert
