"""How often a handling was begun: stored before it is made, so that a process that dies in the middle of it is counted too."""

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.events.consumer.discipline import upsert_for
from libs.events.errors import describe, is_conflict, is_transient
from libs.events.log import TopicPartition
from libs.events.store import Store

logger = logging.getLogger("lazo.consumer")

BATCH = "*batch"  # how many processes began a whole batch here
RECORD = "*record"  # how many processes began this one record alone and have not ended it
STRETCH = "*stretch"  # a process began so many records here together, carefully, and has not ended them

Place = tuple[str, int, int, str]  # topic, partition, offset, handler


class Attempts:
    """The attempts of one consumer group that are not over.

    `clean`: partitions that have none stored, so that nothing need be deleted at the end of a batch.
    """

    def __init__(self, store: Store, group: str) -> None:
        self._store, self._group = store, group
        self._standing: dict[tuple[TopicPartition, int, str], int] = {}  # what this process began
        self.clean: set[TopicPartition] = set()

    async def began(self, tp: TopicPartition, offset: int, handler: str) -> int:
        """Count one more process that begins here, and say how many there were. Once a process."""
        if (standing := self._standing.get((tp, offset, handler))) is not None:
            return standing
        table = self._store.tables.attempts
        self.clean.discard(tp)
        async with self._store.writing() as connection:
            statement = upsert_for(connection)(table).values(**self._row(tp, offset), handler=handler, count=1)
            counted = statement.on_conflict_do_update(
                index_elements=list(table.primary_key.columns), set_={"count": table.c["count"] + 1}
            )
            made = int((await connection.execute(counted.returning(table.c["count"]))).scalar_one())
        self._standing[tp, offset, handler] = made
        return made

    async def began_stretch(self, tp: TopicPartition, offset: int, size: int) -> None:
        """Say that the next `size` records from here are handled together. Whoever finds this knows who is suspect."""
        await self.store_counts({(tp.topic, tp.partition, offset, STRETCH): size})
        self._standing[tp, offset, STRETCH] = size

    async def found(self, tp: TopicPartition, offset: int) -> Mapping[str, int]:
        """What former processes left here, by handler."""
        table = self._store.tables.attempts
        query = select(table.c.handler, table.c["count"]).where(self._here(tp), table.c.offset == offset)
        async with self._store.reading() as connection:
            return {row["handler"]: int(row["count"]) for row in (await connection.execute(query)).mappings()}

    async def store_counts(self, counts: Mapping[Place, int]) -> None:
        """Put these counts in the place of what is stored."""
        table = self._store.tables.attempts
        self.clean.difference_update(TopicPartition(topic, partition) for topic, partition, _, _ in counts)
        rows = [
            {"consumer_group": self._group, "topic": t, "partition": p, "offset": o, "handler": h, "count": count}
            for (t, p, o, h), count in counts.items()
        ]
        async with self._store.writing() as connection:
            statement = upsert_for(connection)(table)
            await connection.execute(
                statement.on_conflict_do_update(
                    index_elements=list(table.primary_key.columns), set_={"count": statement.excluded.count}
                ),
                rows,
            )

    async def forget(self, connection: AsyncConnection, moves: Mapping[TopicPartition, tuple[int, int]]) -> None:
        """In the transaction that moves the offsets: what was begun before them is over."""
        if self.clean.issuperset(moves):
            return
        table = self._store.tables.attempts
        for tp, (_, following) in moves.items():
            await connection.execute(delete(table).where(self._here(tp), table.c.offset < following))

    def over(self, moves: Mapping[TopicPartition, tuple[int, int]]) -> None:
        """The offsets are moved."""
        self.clean.update(moves)
        for place in [place for place in self._standing if place[1] < moves.get(place[0], (0, 0))[1]]:
            del self._standing[place]

    async def lived(self) -> Iterable[TopicPartition]:
        """The attempt failed and the process lived on, so what it began is taken back: a store that is away for a while must
        not look like records that kill. Where that cannot be stored either, the process at least does not count itself
        again. The partitions whose batch was taken back."""
        if not self._standing:
            return ()
        table = self._store.tables.attempts
        try:
            async with self._store.writing() as connection:
                for tp, offset, handler in self._standing:
                    place = (self._here(tp), table.c.offset == offset, table.c.handler == handler)
                    if handler == STRETCH:
                        await connection.execute(delete(table).where(*place))
                        continue
                    await connection.execute(update(table).where(*place).values(count=table.c["count"] - 1))
                    await connection.execute(delete(table).where(*place, table.c["count"] <= 0))
        except Exception as error:
            if not is_transient(error) and not is_conflict(error):
                raise
            logger.info("%s cannot take back its attempts: %s", self._group, describe(error))
            return ()
        taken = [tp for tp, _, handler in self._standing if handler == BATCH]
        self._standing.clear()
        return taken

    def _here(self, tp: TopicPartition) -> ColumnElement[bool]:
        table = self._store.tables.attempts
        return and_(table.c.consumer_group == self._group, table.c.topic == tp.topic, table.c.partition == tp.partition)

    def _row(self, tp: TopicPartition, offset: int) -> dict[str, Any]:
        return {"consumer_group": self._group, "topic": tp.topic, "partition": tp.partition, "offset": offset}


__all__ = ["BATCH", "RECORD", "STRETCH", "Attempts", "Place"]
