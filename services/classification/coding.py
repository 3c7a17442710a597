"""The reactor that codes every interaction, the timer that codes what waited for the first rulebook, and people's labels."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Integer, bindparam, select
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.events import bulk
from libs.events.catalogue import decode
from libs.events.catalogue.classifications import InteractionClassified, Part
from libs.events.catalogue.interactions import InteractionRecorded
from libs.events.envelope import Event
from libs.events.offload import in_turns, offload
from libs.events.store import Draft, Unit
from libs.events.timers import Timer
from services.classification import archive, tables
from services.classification.books import KEY, RECODE, Books
from services.classification.domain.coder import Coder, Contact, Decision
from services.classification.domain.review import gain, sample
from services.classification.domain.rulebook import UNKNOWN
from services.classification.emerging import Emerging
from services.classification.keeping import Keeping
from services.classification.learner import Lessons
from services.classification.measuring import Measuring
from services.classification.modelling import Modelling

RECODE_BATCH = 500
BEFORE_ANY = "none@0"
PERSON = "person"


_UNCODED = (
    select(tables.sealed)
    .join(tables.decisions, tables.decisions.c.interaction_id == tables.sealed.c.interaction_id)
    .where(tables.decisions.c.rulebook_version == 0)
    .order_by(tables.decisions.c.interaction_id)
    .limit(bindparam("most", type_=Integer))
)


class LabelRefused(Exception):
    """A person's coding that cannot stand. `pointer`: which field; None: the interaction itself."""

    def __init__(self, code: str, pointer: str | None = None, value: str = "") -> None:
        super().__init__(code)
        self.code, self.pointer, self.value = code, pointer, value


def stream_of(interaction_id: str) -> str:
    return f"classification/{interaction_id}"


class Coding:
    def __init__(
        self,
        books: Books,
        lessons: Lessons,
        modelling: Modelling,
        emerging: Emerging | None = None,
        measuring: Measuring | None = None,
    ) -> None:
        self._books, self._emerging = books, emerging
        self._lessons, self._modelling, self._measuring = lessons, modelling, measuring or Measuring()
        self.keeping = Keeping()

    async def code(self, unit: Unit, events: Sequence[Event]) -> None:
        """Reactor: one decision per interaction. Before the first rulebook it is *unknown*, and decided again later."""
        coder = await self._books.coder(unit.connection)
        contacts = [data for data in await unit.open(events) if isinstance(data, InteractionRecorded)]
        await self.keeping.refresh(unit)
        decided, coder = await self._decide(unit, coder, contacts, shadowed=True)
        await self.keeping.learn(contacts, decided)
        self._measuring.coded(Counter(decision.parts["motive"].decided_by for decision in decided))
        rows: list[dict[str, Any]] = []
        async for event, contact, decision in in_turns(zip(events, contacts, decided, strict=True)):
            data = self.classified(contact, decision, coder, revision=1)
            unit.emit(
                Draft(
                    stream=stream_of(contact.interaction_id),
                    data=data,
                    key=contact.customer_id,
                    time=unit.now,
                    cause=event,
                )
            )
            rows.append(decision_row(data, unit.now))
        await keep(unit.connection, rows)
        await archive.store(unit.connection, events, contacts)
        if self._emerging is not None and any(decision.unknown_because == "no_match" for decision in decided):
            self._emerging.await_search(unit, events[0])
        if coder is not None and await self._uncoded(unit.connection, 1):
            # On PostgreSQL a batch that began before the first rulebook may commit after the timer has run.
            unit.schedule(RECODE, KEY, unit.now, {}, cause=events[0])

    async def recode(self, unit: Unit, timers: Sequence[Timer]) -> None:
        """Timer: code what was taken in before there was a rulebook, a batch a time."""
        coder = await self._books.coder(unit.connection)
        if coder is None:
            return
        rows = await self._uncoded(unit.connection, RECODE_BATCH)
        if not rows:
            return
        await self.keeping.refresh(unit)
        events = [archive.event_of(row) for row in rows]
        contacts = [data for data in await unit.open(events) if isinstance(data, InteractionRecorded)]
        decided, coder = await self._decide(unit, coder, contacts)
        assert coder is not None
        streams = await unit.streams([stream_of(contact.interaction_id) for contact in contacts])
        changed: list[dict[str, Any]] = []
        async for event, contact, decision in in_turns(zip(events, contacts, decided, strict=True)):
            before = streams[stream_of(contact.interaction_id)]
            latest = decode(before[-1]) if before else None
            if isinstance(latest, InteractionClassified) and latest.rulebook_version > 0:
                continue  # a person was quicker
            data = self.classified(contact, decision, coder, revision=len(before) + 1)
            # The contact is the cause, not the timer: what belongs together keeps one correlation.
            draft = Draft(
                stream=stream_of(contact.interaction_id), data=data, key=contact.customer_id, time=unit.now, cause=event
            )
            unit.emit(draft, expected=before[-1].streamversion if before else 0)
            changed.append(decision_row(data, unit.now))
        await keep(unit.connection, changed)
        if len(rows) == RECODE_BATCH:
            unit.schedule(RECODE, KEY, unit.now + timedelta(microseconds=1), {})

    async def label(
        self, unit: Unit, interaction_id: str, motive: str, cause: str | None, by: str, act: str | None = None
    ) -> InteractionClassified:
        """A person's coding: a revision that supersedes. The same once more changes nothing. Raises LabelRefused.

        `act`: act or omission, where this case differs from what its cause usually is (R16); None: as the cause says, or as a
        person said of the same cause before."""
        events = await unit.stream(stream_of(interaction_id))
        if not events:
            raise LabelRefused("unknown_interaction")
        latest = decode(events[-1])
        assert isinstance(latest, InteractionClassified)
        coder = await self._books.coder(unit.connection)
        if coder is None:
            raise LabelRefused("no_rulebook")
        chosen = allowed(coder, latest, motive, cause)
        said = act or (latest.act if "act" in latest.parts and chosen == latest.cause else None)
        if (latest.motive, latest.cause, latest.by) == (motive, chosen, by) and act in {None, latest.act}:
            return latest
        follows = coder.consequences.of(motive, chosen, latest.occurred_at, latest.kind, latest.touchpoint)
        await self.keeping.refresh_signatures(unit.connection)
        person = Part(decided_by=PERSON, confidence=1.0, by=by)
        # What the person did not touch stays as it was decided, and says by what.
        parts = {
            name: part.model_copy(
                update={
                    "rulebook_version": part.rulebook_version or latest.rulebook_version,
                    "model_version": part.model_version or latest.model_version,
                }
            )
            for name, part in latest.parts.items()
            if name in {"kind", "need"}
            or (name == "act" and said is not None)
            or (name == "cause" and cause is None and chosen != UNKNOWN)
        }
        parts |= {"motive": person} if cause is None else {"motive": person, "cause": person}
        if act is not None:
            parts["act"] = person
        data = latest.model_copy(
            update={
                "motive": motive,
                "cause": chosen,
                **asdict(follows) | {"together": list(follows.together)},
                "act": said or follows.act,
                "signed": self.keeping.signatures.had_signed(
                    follows.procedure, follows.procedure_version, latest.team, latest.occurred_at
                ),
                "parts": parts,
                "confidence": 1.0,
                "review": False,
                "rulebook_version": coder.version,
                "model_version": PERSON,
                "evidence": [],
                "precedents": [],
                "unknown_because": PERSON if motive == UNKNOWN else None,
                "revision": latest.revision + 1,
                "by": by,
                "recoding": None,
            }
        )
        draft = Draft(
            stream=stream_of(interaction_id), data=data, key=latest.customer_id, time=unit.now, cause=events[-1]
        )
        unit.emit(draft, expected=events[-1].streamversion)
        await keep(unit.connection, [decision_row(data, unit.now)])
        await self.keeping.learn_label(unit, interaction_id, motive)
        return data

    async def decide(
        self, unit: Unit, coder: Coder, contacts: Sequence[InteractionRecorded]
    ) -> tuple[list[Decision], Coder]:
        """What the coder says of these contacts with what was learnt beside it, and that coder; nothing is written."""
        await self.keeping.refresh(unit)
        decided, heard = await self._decide(unit, coder, contacts)
        assert heard is not None
        return decided, heard

    async def _uncoded(self, connection: AsyncConnection, most: int) -> Sequence[Any]:
        """Interactions decided before there was a rulebook, as they came."""
        return (await connection.execute(_UNCODED, {"most": most})).all()

    async def _decide(
        self, unit: Unit, coder: Coder | None, contacts: Sequence[InteractionRecorded], *, shadowed: bool = False
    ) -> tuple[list[Decision], Coder | None]:
        """The decisions, and the coder that made them."""
        if coder is None:
            return [_nothing(contact) for contact in contacts], None
        asked = [contact_of(data) for data in contacts]
        async with self._lessons.listening(unit, coder) as heard:
            decided = await offload(self.keeping.code, heard, asked)
            if shadowed:
                await self._modelling.compare(unit, coder, contacts, asked, decided)
            return decided, heard

    def classified(
        self, contact: InteractionRecorded, decision: Decision, coder: Coder | None, revision: int
    ) -> InteractionClassified:
        """The event: the decision beside the interaction's own dimensions, and what its team had signed (G10)."""
        follows = decision.follows
        signed = self.keeping.signatures.had_signed(
            follows.procedure, follows.procedure_version, contact.team, contact.occurred_at
        )
        return classified(contact, decision, coder, revision, signed=signed)


def _nothing(contact: InteractionRecorded) -> Decision:
    part = Part(decided_by="rule", confidence=0)
    return Decision(
        UNKNOWN, UNKNOWN, 0.0, review=False, kind=contact.kind, parts={"motive": part}, unknown_because="no_rulebook"
    )


def contact_of(data: InteractionRecorded) -> Contact:
    """What the coder needs of an interaction whose personal fields are open."""
    text = "\n".join(part for part in (data.subject, data.text) if part)
    language = data.language or data.locale
    return Contact(text or None, data.occurred_at, language, data.declared_motive, data.kind, data.touchpoint)


def classified(
    contact: InteractionRecorded, decision: Decision, coder: Coder | None, revision: int, *, signed: bool | None = None
) -> InteractionClassified:
    """The event without looking up what a team had signed."""
    cause = None if coder is None else coder.rulebook.cause_by_code.get(decision.cause)
    follows = decision.follows
    return InteractionClassified(
        interaction_id=contact.interaction_id,
        customer_id=contact.customer_id,
        occurred_at=contact.occurred_at,
        kind=decision.kind,
        channel=contact.channel,
        motive=decision.motive,
        cause=decision.cause,
        component=follows.component,
        factor=follows.factor,
        expectation=follows.expectation,
        procedure=follows.procedure,
        procedure_version=follows.procedure_version,
        norm=follows.norm,
        policy=follows.policy,
        signed=signed,
        severity=follows.severity,
        harm=follows.harm,
        act=follows.act,
        need=decision.need,
        route=follows.route if coder is not None else None,
        routed_to=follows.routed_to,
        together=list(follows.together),
        parts=decision.parts,
        confidence=decision.confidence,
        review=decision.review,
        rulebook_version=0 if coder is None else coder.version,
        model_version=BEFORE_ANY if coder is None else coder.model_version,
        evidence=list(decision.evidence),
        precedents=list(decision.precedents),
        unknown_because=decision.unknown_because,
        cautions=list(decision.cautions),
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


def allowed(coder: Coder, latest: InteractionClassified, motive: str, cause: str | None) -> str:
    """The cause that a person's coding means, both codes found fit for the contact's day. Raises LabelRefused."""
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
    return chosen


def decision_row(data: InteractionClassified, at: datetime) -> dict[str, Any]:
    """The row of the newest decision; `at`: the time of its event."""
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
        "by": data.by,
        "decided_at": at,
        "gain": gain(data, at),
        "sample": sample(data.interaction_id),
    }


async def keep(connection: AsyncConnection, rows: Sequence[dict[str, Any]]) -> None:
    """Write the rows of newest decisions over those before them."""
    await bulk.write(connection, tables.decisions, rows, key=["interaction_id"])
