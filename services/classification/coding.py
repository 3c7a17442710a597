"""The reactor that codes every interaction, the timer that codes what waited for the first rulebook, and people's labels."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import delete, insert, select
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.events.catalogue import decode
from libs.events.catalogue.classifications import InteractionClassified, Part
from libs.events.catalogue.interactions import InteractionRecorded
from libs.events.envelope import Event
from libs.events.offload import offload
from libs.events.store import Draft, Unit
from libs.events.timers import Timer
from services.classification import tables
from services.classification.books import KEY, RECODE, Books
from services.classification.domain.coder import Coder, Contact, Decision
from services.classification.domain.rulebook import UNKNOWN

RECODE_BATCH = 500
BEFORE_ANY = "none@0"
PERSON = "person"


class LabelRefused(Exception):
    """A person's coding that cannot stand. `pointer`: which field; None: the interaction itself."""

    def __init__(self, code: str, pointer: str | None = None, value: str = "") -> None:
        super().__init__(code)
        self.code, self.pointer, self.value = code, pointer, value


def stream_of(interaction_id: str) -> str:
    return f"classification/{interaction_id}"


class Coding:
    def __init__(self, books: Books) -> None:
        self._books = books

    async def code(self, unit: Unit, events: Sequence[Event]) -> None:
        """Reactor: one decision per interaction. Before the first rulebook it is *unknown*, and decided again later."""
        coder = await self._books.coder(unit.connection)
        contacts = [data for data in await unit.open(events) if isinstance(data, InteractionRecorded)]
        decided = await self._decide(coder, contacts)
        rows: list[dict[str, Any]] = []
        for event, contact, decision in zip(events, contacts, decided, strict=True):
            data = classified(contact, decision, coder, revision=1)
            unit.emit(
                Draft(
                    stream=stream_of(contact.interaction_id),
                    data=data,
                    key=contact.customer_id,
                    time=unit.now,
                    cause=event,
                )
            )
            rows.append(decision_row(data))
        await keep(unit.connection, rows)
        if coder is None:
            kept = [_kept(event, contact) for event, contact in zip(events, contacts, strict=True)]
            await unit.connection.execute(insert(tables.uncoded), kept)
        elif (await unit.connection.execute(select(tables.uncoded.c.interaction_id).limit(1))).first() is not None:
            # On PostgreSQL a batch that began before the first rulebook may commit after the timer has run.
            unit.schedule(RECODE, KEY, unit.now, {}, cause=events[0])

    async def recode(self, unit: Unit, timers: Sequence[Timer]) -> None:
        """Timer: code what was taken in before there was a rulebook, a batch a time."""
        coder = await self._books.coder(unit.connection)
        if coder is None:
            return
        table = tables.uncoded
        waiting = select(table).order_by(table.c.interaction_id).limit(RECODE_BATCH)
        rows = (await unit.connection.execute(waiting)).all()
        if not rows:
            return
        events = [_event(row) for row in rows]
        contacts = [data for data in await unit.open(events) if isinstance(data, InteractionRecorded)]
        decided = await self._decide(coder, contacts)
        streams = await unit.streams([stream_of(contact.interaction_id) for contact in contacts])
        changed: list[dict[str, Any]] = []
        for event, contact, decision in zip(events, contacts, decided, strict=True):
            before = streams[stream_of(contact.interaction_id)]
            latest = decode(before[-1]) if before else None
            if isinstance(latest, InteractionClassified) and latest.rulebook_version > 0:
                continue  # a person was quicker
            data = classified(contact, decision, coder, revision=len(before) + 1)
            # The contact is the cause, not the timer: what belongs together keeps one correlation.
            draft = Draft(
                stream=stream_of(contact.interaction_id), data=data, key=contact.customer_id, time=unit.now, cause=event
            )
            unit.emit(draft, expected=before[-1].streamversion if before else 0)
            changed.append(decision_row(data))
        await keep(unit.connection, changed)
        await unit.connection.execute(
            delete(table).where(table.c.interaction_id.in_([row.interaction_id for row in rows]))
        )
        if len(rows) == RECODE_BATCH:
            unit.schedule(RECODE, KEY, unit.now + timedelta(microseconds=1), {})

    async def label(
        self, unit: Unit, interaction_id: str, motive: str, cause: str | None, by: str
    ) -> InteractionClassified:
        """A person's coding: a revision that supersedes. The same once more changes nothing. Raises LabelRefused."""
        events = await unit.stream(stream_of(interaction_id))
        if not events:
            raise LabelRefused("unknown_interaction")
        latest = decode(events[-1])
        assert isinstance(latest, InteractionClassified)
        coder = await self._books.coder(unit.connection)
        if coder is None:
            raise LabelRefused("no_rulebook")
        day = latest.occurred_at.date()
        kept = coder.rulebook.now_called("causes", latest.cause) if motive == latest.motive else None
        chosen = cause if cause is not None else (kept or UNKNOWN)
        for pointer, code, known in (
            ("/motive", motive, coder.rulebook.motive_by_code),
            ("/cause", chosen, coder.rulebook.cause_by_code),
        ):
            if code == UNKNOWN:
                continue
            entry = known.get(code)
            if entry is None:
                raise LabelRefused("unknown_code", pointer, code)
            if not entry.stands(day):
                raise LabelRefused("retired_code", pointer, code)
        if (latest.motive, latest.cause, latest.by) == (motive, chosen, by):
            return latest
        follows = coder.consequences(motive, chosen, latest.occurred_at)
        person = Part(decided_by=PERSON, confidence=1.0)
        data = latest.model_copy(
            update={
                "motive": motive,
                "cause": chosen,
                **follows,
                "parts": {"motive": person, "cause": person} if cause is not None else {"motive": person},
                "confidence": 1.0,
                "review": False,
                "rulebook_version": coder.version,
                "model_version": PERSON,
                "evidence": [],
                "revision": latest.revision + 1,
                "by": by,
            }
        )
        draft = Draft(
            stream=stream_of(interaction_id), data=data, key=latest.customer_id, time=unit.now, cause=events[-1]
        )
        unit.emit(draft, expected=events[-1].streamversion)
        await keep(unit.connection, [decision_row(data)])
        return data

    async def _decide(self, coder: Coder | None, contacts: Sequence[InteractionRecorded]) -> list[Decision]:
        if coder is None:
            nothing = Decision(
                UNKNOWN, UNKNOWN, 0.0, review=False, parts={"motive": Part(decided_by="rule", confidence=0)}
            )
            return [nothing] * len(contacts)
        return await offload(coder.code_many, [_contact(data) for data in contacts])


def _contact(data: InteractionRecorded) -> Contact:
    text = "\n".join(part for part in (data.subject, data.text) if part)
    return Contact(text or None, data.occurred_at, data.language or data.locale, data.declared_motive, data.kind)


def classified(
    contact: InteractionRecorded, decision: Decision, coder: Coder | None, revision: int
) -> InteractionClassified:
    """The event: the decision beside the interaction's own dimensions."""
    cause = None if coder is None else coder.rulebook.cause_by_code.get(decision.cause)
    return InteractionClassified(
        interaction_id=contact.interaction_id,
        customer_id=contact.customer_id,
        occurred_at=contact.occurred_at,
        kind=contact.kind,
        channel=contact.channel,
        motive=decision.motive,
        cause=decision.cause,
        component=decision.component,
        factor=decision.factor,
        expectation=decision.expectation,
        procedure=decision.procedure,
        norm=decision.norm,
        severity=decision.severity,
        act=decision.act,
        parts=decision.parts,
        confidence=decision.confidence,
        review=decision.review,
        rulebook_version=0 if coder is None else coder.version,
        model_version=BEFORE_ANY if coder is None else coder.model_version,
        evidence=list(decision.evidence),
        revision=revision,
        touchpoint=contact.touchpoint,
        product=contact.product,
        location=contact.location,
        team=contact.team,
        agent=contact.agent,
        supplier=contact.supplier or (cause.supplier if cause is not None else None),
        segment=contact.segment,
        language=contact.language or decision.language,
        effects=contact.effects,
        origin=contact.origin,
    )


def decision_row(data: InteractionClassified) -> dict[str, Any]:
    """The row of the newest decision."""
    motive = data.parts.get("motive")
    return {
        "interaction_id": data.interaction_id,
        "customer_id": data.customer_id,
        "occurred_at": data.occurred_at,
        "kind": str(data.kind),
        "channel": str(data.channel),
        "motive": data.motive,
        "cause": data.cause,
        "confidence": data.confidence,
        "decided_by": motive.decided_by if motive is not None else "rule",
        "review": data.review,
        "rulebook_version": data.rulebook_version,
        "model_version": data.model_version,
        "revision": data.revision,
    }


async def keep(connection: AsyncConnection, rows: Sequence[dict[str, Any]]) -> None:
    """Write the rows of newest decisions over those before them."""
    if not rows:
        return
    make = sqlite_insert if connection.dialect.name == "sqlite" else postgres_insert
    statement = make(tables.decisions)
    replaced = {name: statement.excluded[name] for name in rows[0] if name != "interaction_id"}
    await connection.execute(
        statement.on_conflict_do_update(index_elements=["interaction_id"], set_=replaced), list(rows)
    )


def _kept(event: Event, contact: InteractionRecorded) -> dict[str, Any]:
    return {
        "interaction_id": contact.interaction_id,
        "event_id": event.id,
        "type": event.type,
        "correlationid": event.correlationid,
        "traceparent": event.traceparent,
        "key": event.partitionkey,
        "time": event.time,
        "recordedtime": event.recordedtime,
        "data": event.data,
    }


def _event(row: Any) -> Event:
    """The event as it was kept. Its place in intake's store is not needed again and not known here."""
    return Event(
        id=row.event_id,
        type=row.type,
        source="/lazo/intake",
        subject=f"interaction/{row.interaction_id}",
        streamversion=1,
        sequence=0,
        time=row.time,
        recordedtime=row.recordedtime,
        partitionkey=row.key,
        correlationid=row.correlationid,
        causationid=None,
        traceparent=row.traceparent,
        data=bytes(row.data),
    )
