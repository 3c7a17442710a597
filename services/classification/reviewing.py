"""People at the review queue: claims, decisions one by one and in bulk, second codings that do not see the first."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, insert, select
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.events.catalogue import decode
from libs.events.catalogue.classifications import InteractionClassified
from libs.events.catalogue.coding import SecondCodingRecorded
from libs.events.catalogue.interactions import InteractionRecorded
from libs.events.store import Draft, Unit
from services.classification import archive, tables
from services.classification.books import Books
from services.classification.coding import PERSON, Coding, LabelRefused, allowed, stream_of
from services.classification.domain.candidates import ByWords, Proposer
from services.classification.domain.review import second_gain
from services.classification.learner import Lessons

REVIEW, SECOND = "review", "second"


@dataclass(frozen=True, slots=True)
class Claim:
    """An item that is a person's until then."""

    interaction_id: str
    purpose: str
    person: str
    until: datetime


class Reviewing:
    """What people do, each in one unit. `share`: of people's decisions that a second person codes too; `hold`: how long a claim
    lasts; `proposer`: who ranks the codes for a text."""

    def __init__(
        self,
        books: Books,
        coding: Coding,
        lessons: Lessons,
        *,
        share: float,
        hold: timedelta,
        proposer: Proposer | None = None,
    ) -> None:
        self._books, self._coding, self._lessons = books, coding, lessons
        self.share, self.hold, self.proposer = share, hold, proposer or ByWords()

    async def claim(
        self,
        unit: Unit,
        person: str,
        count: int,
        *,
        motive: str | None = None,
        purpose: str | None = None,
        without: Sequence[str] = (),
    ) -> list[Claim]:
        """The next items for this person, nobody else's until the claims run out; what the person holds already counts as free.

        `purpose`: None takes reviews and second codings as their gain says; `without`: items the person passed over.
        """
        connection, until = unit.connection, unit.now + self.hold
        await connection.execute(delete(tables.claims).where(tables.claims.c.until <= unit.now))
        claims: list[Claim] = []
        tried = set(without)
        while len(claims) < count:
            offered: list[tuple[float, str, str]] = []
            if purpose in {None, REVIEW}:
                offered += await _reviews(connection, person, motive, tried, count)
            if purpose in {None, SECOND}:
                offered += await self._seconds(connection, person, motive, tried, count)
            offered.sort(key=lambda one: (-one[0], one[1]))
            if not offered:
                break
            for _, interaction_id, wanted in offered[: count - len(claims)]:
                tried.add(interaction_id)
                if await _take(connection, interaction_id, wanted, person, unit.now, until):
                    claims.append(Claim(interaction_id, wanted, person, until))
        return claims

    async def release(self, unit: Unit, person: str, interaction_ids: Sequence[str] | None) -> int:
        """Give claims back, all of the person's without ids; how many."""
        table = tables.claims
        mine = delete(table).where(table.c.person == person)
        if interaction_ids is not None:
            mine = mine.where(table.c.interaction_id.in_(interaction_ids))
        return (await unit.connection.execute(mine)).rowcount

    async def held(self, connection: AsyncConnection, interaction_id: str, purpose: str, now: datetime) -> Claim | None:
        """Who has this item now."""
        table = tables.claims
        query = select(table).where(
            table.c.interaction_id == interaction_id, table.c.purpose == purpose, table.c.until > now
        )
        row = (await connection.execute(query)).one_or_none()
        return None if row is None else Claim(row.interaction_id, row.purpose, row.person, row.until)

    async def label(
        self,
        unit: Unit,
        interaction_id: str,
        motive: str,
        cause: str | None,
        by: str,
        revision: int | None = None,
        act: str | None = None,
    ) -> InteractionClassified:
        """A person's decision: it supersedes at once, ends the claim, and is learnt from.

        `revision`: the decision the person saw. Raises LabelRefused: `claimed` by somebody else, `moved_on` where another
        decision came first, `erased` where the words are gone, and as `Coding.label` does.
        """
        events = await unit.stream(stream_of(interaction_id))
        if not events:
            raise LabelRefused("unknown_interaction")
        claim = await self.held(unit.connection, interaction_id, REVIEW, unit.now)
        if claim is not None and claim.person != by:
            raise LabelRefused("claimed", value=claim.person)
        before = decode(events[-1])
        assert isinstance(before, InteractionClassified)
        if revision is not None and revision != before.revision:
            raise LabelRefused("moved_on")
        await self._readable(unit, interaction_id)
        data = await self._coding.label(unit, interaction_id, motive, cause, by, act)
        if claim is not None:
            await self.release(unit, by, [interaction_id])
        if data.revision != before.revision:
            await self._lessons.note(unit, data)
        return data

    async def second(
        self, unit: Unit, interaction_id: str, motive: str, cause: str | None, by: str
    ) -> SecondCodingRecorded:
        """What a second person says, beside the decision in force, which stays. Raises LabelRefused.

        Only whoever claimed it may: the claim is what kept the first decision from being shown.
        """
        events = await unit.stream(stream_of(interaction_id))
        if not events:
            raise LabelRefused("unknown_interaction")
        claim = await self.held(unit.connection, interaction_id, SECOND, unit.now)
        if claim is None or claim.person != by:
            raise LabelRefused("not_claimed")
        past = [data for data in map(decode, events) if isinstance(data, InteractionClassified)]
        first = past[-1]
        if first.by is None or first.by == by or await unit.stream(second_stream(interaction_id)):
            raise LabelRefused("moved_on")
        coder = await self._books.coder(unit.connection)
        assert coder is not None  # somebody decided under it
        await self._readable(unit, interaction_id)
        chosen = allowed(coder, first.model_copy(update={"motive": "", "cause": ""}), motive, cause)
        machine = next((data for data in reversed(past) if data.by is None), None)
        data = SecondCodingRecorded(
            interaction_id=interaction_id,
            customer_id=first.customer_id,
            at=unit.now,
            by=by,
            motive=motive,
            cause=chosen,
            first_by=first.by,
            first_motive=first.motive,
            first_cause=first.cause,
            first_revision=first.revision,
            machine_motive=machine.motive if machine is not None else None,
            machine_cause=machine.cause if machine is not None else None,
            rulebook_version=coder.version,
        )
        unit.emit(
            Draft(
                stream=second_stream(interaction_id), data=data, key=first.customer_id, time=unit.now, cause=events[-1]
            ),
            expected=0,
        )
        await unit.flush()
        await unit.connection.execute(insert(tables.second_codings), [second_row(data)])
        await self.release(unit, by, [interaction_id])
        return data

    async def _readable(self, unit: Unit, interaction_id: str) -> None:
        kept = (await archive.fetch(unit.connection, [interaction_id])).get(interaction_id)
        if kept is None:
            return
        opened = (await unit.open([kept]))[0]
        if isinstance(opened, InteractionRecorded) and archive.erased(kept, opened):
            raise LabelRefused("erased")

    async def _seconds(
        self, connection: AsyncConnection, person: str, motive: str | None, tried: set[str], most: int
    ) -> list[tuple[float, str, str]]:
        if self.share <= 0:
            return []
        table, done, claims = tables.decisions, tables.second_codings, tables.claims
        query = (
            select(table.c.decided_at, table.c.interaction_id)
            .outerjoin(done, done.c.interaction_id == table.c.interaction_id)
            .outerjoin(claims, (claims.c.interaction_id == table.c.interaction_id) & (claims.c.purpose == SECOND))
            .where(
                table.c.decided_by == PERSON,
                table.c.sample < self.share,
                table.c.by != person,
                done.c.interaction_id.is_(None),
                claims.c.person.is_(None) | (claims.c.person == person),
                table.c.interaction_id.not_in(sorted(tried)),
            )
            .order_by(table.c.decided_at, table.c.interaction_id)
            .limit(most)
        )
        if motive is not None:
            query = query.where(table.c.motive == motive)
        return [(second_gain(row.decided_at), row.interaction_id, SECOND) for row in await connection.execute(query)]


def second_stream(interaction_id: str) -> str:
    return f"second-coding/{interaction_id}"


def second_row(data: SecondCodingRecorded) -> dict[str, Any]:
    """The row of a second coding: a plain function of its event."""
    return {
        "interaction_id": data.interaction_id,
        "at": data.at,
        "person": data.by,
        "motive": data.motive,
        "cause": data.cause,
        "first_person": data.first_by,
        "first_motive": data.first_motive,
        "first_cause": data.first_cause,
        "machine_motive": data.machine_motive,
        "machine_cause": data.machine_cause,
        "rulebook_version": data.rulebook_version,
        "agreed": (data.motive, data.cause) == (data.first_motive, data.first_cause),
    }


async def _reviews(
    connection: AsyncConnection, person: str, motive: str | None, tried: set[str], most: int
) -> list[tuple[float, str, str]]:
    table, claims = tables.decisions, tables.claims
    query = (
        select(table.c.gain, table.c.interaction_id)
        .outerjoin(claims, (claims.c.interaction_id == table.c.interaction_id) & (claims.c.purpose == REVIEW))
        .where(
            table.c.review,
            claims.c.person.is_(None) | (claims.c.person == person),
            table.c.interaction_id.not_in(sorted(tried)),
        )
        .order_by(table.c.gain.desc(), table.c.interaction_id.desc())
        .limit(most)
    )
    if motive is not None:
        query = query.where(table.c.motive == motive)
    return [(row.gain, row.interaction_id, REVIEW) for row in await connection.execute(query)]


async def _take(
    connection: AsyncConnection, interaction_id: str, purpose: str, person: str, now: datetime, until: datetime
) -> bool:
    """Claim one, unless somebody else just did: on PostgreSQL the row that two insert is decided by its key."""
    make = sqlite_insert if connection.dialect.name == "sqlite" else postgres_insert
    table = tables.claims
    statement = make(table).values(
        interaction_id=interaction_id, purpose=purpose, person=person, claimed_at=now, until=until
    )
    taken = await connection.execute(
        statement.on_conflict_do_update(
            index_elements=["interaction_id", "purpose"],
            set_={"person": person, "claimed_at": now, "until": until},
            where=(table.c.person == person) | (table.c.until <= now),
        ).returning(table.c.interaction_id)
    )
    return taken.one_or_none() is not None
