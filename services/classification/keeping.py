"""What the coder holds beside the rulebook: who had signed which procedure, and earlier interactions that read alike."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy import func, or_, select
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.events.catalogue.interactions import CustomerErased, InteractionRecorded
from libs.events.catalogue.rulebook import ProcedureSigned
from libs.events.envelope import Event
from libs.events.offload import in_turns, offload
from libs.events.store import Draft, Unit
from services.classification import archive, tables
from services.classification.domain.coder import Coder, Contact, Decision
from services.classification.domain.normalise import folded, guess_language, plain
from services.classification.domain.precedents import Precedents, Vector, vector_of
from services.classification.domain.rulebook import UNKNOWN, Rulebook
from services.classification.domain.signatures import Signatures

SURE = 0.8
"""Confidence from which a machine's decision is a precedent; a person's always is."""
PRECEDENTS_READ = 2_000
PERSON = "person"
_SIGNED = select(func.count(), func.max(tables.signatures.c.changed_at))


class SignatureRefused(Exception):
    """`code`: unknown_code, unknown_version or in_future."""

    def __init__(self, code: str, pointer: str, value: str) -> None:
        super().__init__(code)
        self.code, self.pointer, self.value = code, pointer, value


class Keeping:
    """Read from the database: signatures whenever there are more than before, precedents once a process."""

    def __init__(self) -> None:
        self.signatures = Signatures()
        self.precedents = Precedents()
        self._stamp: tuple[object, ...] = ()
        self._loaded = False

    async def refresh(self, unit: Unit) -> None:
        """Bring both up to what this transaction sees."""
        await self.refresh_signatures(unit.connection)
        if not self._loaded:
            await self._load(unit)
            self._loaded = True

    async def refresh_signatures(self, connection: AsyncConnection) -> None:
        summary = (await connection.execute(_SIGNED)).one()
        if tuple(summary) != self._stamp:
            rows = await connection.execute(select(tables.signatures))
            self.signatures = Signatures({(row.procedure, row.version, row.team): row.signed_at for row in rows})
            self._stamp = tuple(summary)

    async def _load(self, unit: Unit) -> None:
        table = tables.decisions
        query = (
            select(table.c.interaction_id, table.c.motive, table.c.decided_by)
            .where(
                table.c.motive != UNKNOWN,
                or_(table.c.decided_by == PERSON, table.c.confidence >= SURE),
                ~table.c.review,
            )
            .order_by((table.c.decided_by == PERSON).desc(), table.c.occurred_at.desc(), table.c.interaction_id)
            .limit(PRECEDENTS_READ)
        )
        rows = (await unit.connection.execute(query)).all()
        held = await archive.fetch(unit.connection, [row.interaction_id for row in rows])
        opened = dict(zip(held, await unit.open(list(held.values())), strict=True))
        texts = [
            (row, archive.words_of(contact), contact.customer_id)
            for row in reversed(rows)  # the newest last, as they would have come
            if isinstance(contact := opened.get(row.interaction_id), InteractionRecorded)
        ]
        vectors = await offload(lambda: [_vector(text) for _, text, _ in texts])
        for (row, _, customer), vector in zip(texts, vectors, strict=True):
            if vector is not None:
                self.precedents.add(
                    row.interaction_id, customer, row.motive, vector, by_person=row.decided_by == PERSON
                )

    def code(self, coder: Coder, contacts: Sequence[Contact]) -> list[Decision]:
        """The decisions with their nearest precedents. Takes the processor; touches nothing that others change in place."""
        decided = coder.code_many(contacts)
        return [
            replace(
                decision,
                precedents=self.precedents.nearest(
                    vector_of(decision.read, decision.language), None if decision.motive == UNKNOWN else decision.motive
                ),
            )
            if decision.read
            else decision
            for decision in decided
        ]

    async def learn(self, contacts: Sequence[InteractionRecorded], decided: Sequence[Decision]) -> None:
        """Keep sure decisions as precedents while their motive has few. Their vectors are made in a thread (50 µs each), their
        rows written here, where everybody else changes the shelves."""
        sure = [
            (contact, decision)
            for contact, decision in zip(contacts, decided, strict=True)
            if decision.motive != UNKNOWN and decision.confidence >= SURE and not decision.review
        ]
        wanted = [pair for pair in sure if self.precedents.wants(pair[1].motive)]
        if not wanted:
            return
        vectors = await offload(lambda: [vector_of(decision.read, decision.language) for _, decision in wanted])
        async for (contact, decision), vector in in_turns(zip(wanted, vectors, strict=True), every=100):
            if vector is not None and self.precedents.wants(decision.motive):
                self.precedents.add(
                    contact.interaction_id, contact.customer_id, decision.motive, vector, by_person=False
                )

    async def learn_label(self, unit: Unit, interaction_id: str, motive: str) -> None:
        """A person's decision is a precedent at once."""
        held = await archive.fetch(unit.connection, [interaction_id])
        for contact in await unit.open(list(held.values())):
            if isinstance(contact, InteractionRecorded) and motive != UNKNOWN:
                vector = _vector(archive.words_of(contact))
                if vector is not None:
                    self.precedents.add(interaction_id, contact.customer_id, motive, vector, by_person=True)

    async def forget(self, unit: Unit, events: Sequence[Event]) -> None:
        """Reactor: who is erased leaves no likeness behind."""
        erased = {data.customer_id for data in await unit.open(events) if isinstance(data, CustomerErased)}
        self.precedents.forget(erased)


async def sign(
    unit: Unit, book: Rulebook, procedure: str, version: int, team: str, at: datetime, by: str
) -> ProcedureSigned | None:
    """A team signs a version of a procedure; None when it had signed it by then already. Raises SignatureRefused."""
    held = next((one for one in book.procedures if one.code == procedure), None)
    if held is None:
        raise SignatureRefused("unknown_code", "/procedure", procedure)
    if version not in {one.version for one in held.versions}:
        raise SignatureRefused("unknown_version", "/version", str(version))
    if at > unit.now:
        raise SignatureRefused("in_future", "/signed_at", at.isoformat())
    table = tables.signatures
    mine = (table.c.procedure == procedure, table.c.version == version, table.c.team == team)
    before = (await unit.connection.execute(select(table.c.signed_at).where(*mine))).scalar_one_or_none()
    if before is not None and before <= at:
        return None
    event = ProcedureSigned(procedure=procedure, version=version, team=team, signed_at=at, by=by)
    unit.emit(Draft(stream=f"procedure/{procedure}", data=event, key="procedures", time=at))
    make = sqlite_insert if unit.connection.dialect.name == "sqlite" else postgres_insert
    statement = make(table).values(**signature_row(event), changed_at=unit.now)
    replaced = {name: statement.excluded[name] for name in ("signed_at", "by", "changed_at")}
    await unit.connection.execute(
        statement.on_conflict_do_update(index_elements=["procedure", "version", "team"], set_=replaced)
    )
    return event


def signature_row(event: ProcedureSigned) -> dict[str, object]:
    return event.model_dump(include={"procedure", "version", "team", "signed_at", "by"})


def _vector(text: str) -> Vector | None:
    read = folded(plain(text).text)
    return vector_of(read, guess_language(read))
