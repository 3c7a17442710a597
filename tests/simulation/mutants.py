"""The machinery with one of its rules taken out each time. The simulation must notice every one of them."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.events.consumer import Discipline
from libs.events.inbox import Identity
from libs.events.log import Outgoing, Publisher, TopicPartition
from libs.events.relay import CLAIM
from libs.events.simulation.broker import SteppedLog
from libs.events.simulation.stepping import current
from libs.events.simulation.variant import Unlocked, Variant
from libs.events.store import Store

Moves = Mapping[TopicPartition, tuple[int, int]]


class NoCompare(Discipline):
    """The offset is set, whatever it was."""

    async def claim(self, store: Store, connection: AsyncConnection, group: str, moves: Moves) -> None:
        table = store.tables.offsets
        for tp, (_, following) in moves.items():
            await connection.execute(
                update(table)
                .where(table.c.consumer_group == group, table.c.topic == tp.topic, table.c.partition == tp.partition)
                .values(next=following)
            )


class BrokersOffset(NoCompare):
    """The broker is told first, and its offset is where the next one goes on."""

    hint_first = True

    async def positions(
        self, store: Store, group: str, partitions: Sequence[TopicPartition]
    ) -> dict[TopicPartition, int]:
        found = await super().positions(store, group, partitions)
        process: Any = current.get()
        log: SteppedLog = process.log
        return {tp: log.broker.hints.get((group, tp), at) for tp, at in found.items()}


class NoInbox(Discipline):
    """Every record is taken for a new event."""

    async def fresh(self, store: Store, connection: AsyncConnection, group: str, items: Sequence[Identity]) -> set[str]:
        return {item.id for item in items}


class Swallowing(Discipline):
    """A handler's failure is forgotten."""

    def failed(self, error: Exception) -> None:
        return


class MarkFirst(Unlocked):
    """Rows are marked as published before the log has them."""

    async def send(self, publisher: Publisher, rows: Sequence[Any], records: Sequence[Outgoing]) -> None:
        following = {tp: place.noted for tp, place in self._places.items()}
        offsets = []
        for record in records:
            tp = TopicPartition(record.topic, record.partition)
            offsets.append(following[tp])
            following[tp] += 1
        await self.mark(rows, records, offsets)
        await publisher.publish(records)


class AfterTheLast(Unlocked):
    """What is to be published is what has a higher position than the last published one."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._last: int | None = None

    async def recover(self) -> None:
        await super().recover()
        self._last = None

    async def claim(self) -> Sequence[Any]:
        async with self.store.reading() as connection:
            if self._last is None:  # as such a relay would have noted it
                published = (
                    "SELECT coalesce(max(position), 0) FROM events WHERE position NOT IN (SELECT position FROM outbox)"
                )
                self._last = (await connection.execute(text(published))).scalar_one()
            query = f"{CLAIM} WHERE outbox.position > {self._last} ORDER BY outbox.position"
            return (await connection.execute(text(f"{query} LIMIT {self.settings.relay_batch}"))).all()

    async def mark(self, rows: Sequence[Any], records: Sequence[Outgoing], offsets: Sequence[int]) -> None:
        await super().mark(rows, records, offsets)
        self._last = rows[-1][0]


MUTANTS = [
    Variant("no compare-and-set of the offset", discipline=NoCompare),
    Variant("marked before the acknowledgement", relay=MarkFirst),
    Variant("the broker's offset first", discipline=BrokersOffset),
    Variant("whatever is after the last position", relay=AfterTheLast),
    Variant("begin as the driver does", begin=""),
    Variant("no inbox", discipline=NoInbox),
    Variant("a handler's error swallowed", discipline=Swallowing),
    Variant("no fence", fences=False),
]
