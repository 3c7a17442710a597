"""Topics on the store: a timer looks for them among what fits nothing, people say what becomes of them (R73)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.events.catalogue import decode
from libs.events.catalogue.interactions import InteractionRecorded
from libs.events.catalogue.rulebook import TopicEmerged, TopicSettled
from libs.events.envelope import Event
from libs.events.ids import natural_id
from libs.events.offload import offload
from libs.events.store import Cause, Draft, Unit
from libs.events.timers import Timer
from services.classification import archive, tables
from services.classification.books import Books
from services.classification.domain.rulebook import UNKNOWN
from services.classification.domain.topics import MOST_TEXTS, Text, Topic, group

TOPICS = "topics"
KEY = "topics"
OTHERS = 500
EXAMPLES = 5
GREW = 0.1
"""Share of new texts from which a search is worth its quarter of a second."""
EMERGING, PROPOSED, DISMISSED = "emerging", "proposed", "dismissed"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class TopicRefused(Exception):
    """`code`: unknown_topic, or code_taken for a motive that the rulebook has already."""

    def __init__(self, code: str, value: str = "") -> None:
        super().__init__(code)
        self.code, self.value = code, value


@dataclass(frozen=True, slots=True)
class Standing:
    """What people said of a topic: the fold of its stream."""

    state: str = EMERGING
    motive: str | None = None
    by: str | None = None
    settled_at: datetime | None = None


def evolve(state: Standing | None, data: object) -> Standing | None:
    if isinstance(data, TopicEmerged):
        return state or Standing()
    if isinstance(data, TopicSettled):
        return Standing(data.outcome, data.motive, data.by, data.at)
    return state


def stream_of(topic_id: str) -> str:
    return f"topic/{topic_id}"


class Emerging:
    def __init__(self, books: Books, every: timedelta) -> None:
        self._books, self._every = books, every
        self._seen = 0

    def await_search(self, unit: Unit, cause: Event | None = None) -> None:
        """Search at the next full period. Asked again before it, that is the same timer."""
        periods = (unit.now - _EPOCH) // self._every + 1
        unit.schedule(TOPICS, KEY, _EPOCH + periods * self._every, {}, cause=cause)

    async def due(self, unit: Unit, timers: Sequence[Timer]) -> None:
        """Timer: search again once there is enough that was not there before."""
        waiting = await _count(unit.connection)
        if abs(waiting - self._seen) >= max(1, GREW * min(self._seen, MOST_TEXTS)):
            await self.search(unit, timers[0])

    async def search(self, unit: Unit, cause: Event | Cause | None = None) -> list[Topic]:
        """Group the texts that fit nothing, write down what was found, and say what is new."""
        texts = await _texts(unit, unplaced=True, most=MOST_TEXTS)
        others = await _texts(unit, unplaced=False, most=OTHERS)
        table = tables.topics
        held = {row.topic_id: row for row in await unit.connection.execute(select(table))}
        before = {topic_id: frozenset(row.members) for topic_id, row in held.items()}
        found = await offload(_grouped, texts, others, before)
        version = await self._books.version(unit.connection)
        await unit.connection.execute(update(table).values(current=False))
        for topic in found:
            if topic.topic_id in held:
                changed = update(table).where(table.c.topic_id == topic.topic_id).values(**_found(topic, unit.now))
                await unit.connection.execute(changed)
                continue
            data = TopicEmerged(
                topic_id=topic.topic_id,
                size=topic.size,
                customers=topic.customers,
                examples=list(topic.members[:EXAMPLES]),
                words=list(topic.words),
                first_at=topic.first_at,
                last_at=topic.last_at,
                rulebook_version=version,
            )
            known = natural_id("topic-emerged", topic.topic_id)
            draft = Draft(stream_of(topic.topic_id), data, KEY, unit.now, id=known, cause=cause)
            unit.emit(draft, expected=0)
            row = {"topic_id": topic.topic_id, "state": EMERGING, **_found(topic, unit.now)}
            await unit.connection.execute(insert(table).values(**row))
        self._seen = await _count(unit.connection)
        return found

    async def settle(self, unit: Unit, topic_id: str, outcome: str, motive: str | None, by: str) -> Standing:
        """Propose a topic as a motive, dismiss it, or take it up again. The same once more changes nothing. Raises TopicRefused."""
        events = await unit.stream(stream_of(topic_id))
        state: Standing | None = None
        for event in events:
            state = evolve(state, decode(event))
        if state is None:
            raise TopicRefused("unknown_topic", topic_id)
        version = await self._books.version(unit.connection)
        book = await self._books.book(unit.connection, version)
        if outcome == PROPOSED and motive is not None and book is not None and motive in book.motive_by_code:
            raise TopicRefused("code_taken", motive)
        if (state.state, state.motive) == (outcome, motive):
            return state
        data = TopicSettled(topic_id=topic_id, outcome=outcome, motive=motive, at=unit.now, by=by)
        draft = Draft(stream=stream_of(topic_id), data=data, key=KEY, time=unit.now, cause=events[-1])
        unit.emit(draft, expected=events[-1].streamversion)
        changed = evolve(state, data)
        assert changed is not None
        table = tables.topics
        await unit.connection.execute(
            update(table)
            .where(table.c.topic_id == topic_id)
            .values(state=changed.state, motive=changed.motive, by=changed.by, settled_at=changed.settled_at)
        )
        return changed


def _found(topic: Topic, now: datetime) -> dict[str, Any]:
    return {
        "current": True,
        "size": topic.size,
        "customers": topic.customers,
        "words": list(topic.words),
        "members": list(topic.members),
        "first_at": topic.first_at,
        "last_at": topic.last_at,
        "found_at": now,
    }


def _grouped(
    texts: Sequence[tuple[str, str, datetime, str]],
    others: Sequence[tuple[str, str, datetime, str]],
    before: Mapping[str, frozenset[str]],
) -> list[Topic]:
    return group([Text.of(*one) for one in texts], [Text.of(*one) for one in others], before)


async def _count(connection: AsyncConnection) -> int:
    table = tables.decisions
    query = select(func.count()).where(table.c.motive == UNKNOWN, table.c.rulebook_version > 0)
    return int((await connection.execute(query)).scalar_one())


async def _texts(unit: Unit, *, unplaced: bool, most: int) -> list[tuple[str, str, datetime, str]]:
    """The newest texts without a motive, or with one, opened; those of erased people are not among them."""
    table = tables.decisions
    query = (
        select(table.c.interaction_id)
        .where((table.c.motive == UNKNOWN) if unplaced else (table.c.motive != UNKNOWN), table.c.rulebook_version > 0)
        .order_by(table.c.occurred_at.desc(), table.c.interaction_id)
        .limit(most)
    )
    ids = list((await unit.connection.execute(query)).scalars())
    held = await archive.fetch(unit.connection, ids)
    return [
        (contact.interaction_id, contact.customer_id, contact.occurred_at, words)
        for contact in await unit.open(list(held.values()))
        if isinstance(contact, InteractionRecorded) and (words := archive.words_of(contact))
    ]
