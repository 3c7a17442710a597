"""What feedback does with the log: a case per complaint, the contact centre's updates, erasure. All are reactors: they lead
to messages to people, so they are never replayed; the read models are written beside the events they follow from."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import or_, select, tuple_, update

from libs.events import bulk
from libs.events.catalogue import decode
from libs.events.catalogue.feedback import CaseOpened
from libs.events.catalogue.findings import FindingJoined
from libs.events.catalogue.interactions import CaseUpdateRecorded, CustomerErased, InteractionRecorded, Kind
from libs.events.consumer import Subscription
from libs.events.envelope import Event
from libs.events.ids import natural_id
from libs.events.offload import each, in_turns
from libs.events.sealing import open_fields
from libs.events.store import Unit
from libs.events.timers import Timer, TimerHandler
from libs.events.vault import Vault
from services.feedback import tables
from services.feedback.desk import Desk, Origin, Task
from services.feedback.domain.decide import AcknowledgementDue, Due, SurveyDue
from services.feedback.domain.reach import language, reach
from services.feedback.domain.requests import Expire
from services.feedback.linking import Linking, waiting
from services.feedback.meeting import meet
from services.feedback.regimes import Regimes

SKEW = timedelta(days=1)
"""An update may be dated this much before its case (systems that know only the day, clocks that differ)."""


@dataclass(frozen=True)
class Dependencies:
    """What the handlers are made with."""

    vault: Vault
    desk: Desk
    regimes: Regimes
    kinds: frozenset[Kind]
    default_language: str


def subscriptions(deps: Dependencies) -> list[Subscription]:
    """The table: every event type feedback acts upon."""
    reactions = Reactions(deps)
    return [
        Subscription("feedback.open-cases", "reactor", (InteractionRecorded,), reactions.open_cases),
        Subscription("feedback.case-updates", "reactor", (CaseUpdateRecorded,), reactions.take_updates),
        Subscription("feedback.erasure", "reactor", (CustomerErased,), reactions.forget),
    ]


def about_findings(deps: Dependencies) -> list[Subscription]:
    """The same for what classification finds."""
    return [Subscription("feedback.findings", "reactor", (FindingJoined,), Linking(deps.desk).take)]


def timer_handlers(deps: Dependencies) -> dict[str, TimerHandler]:
    """What happens when time passes; every timer carries its case."""

    async def due(unit: Unit, timers: Sequence[Timer]) -> None:
        await deps.desk.apply(unit, [Task(timer.data["case"], Due(), timer) for timer in timers])

    async def acknowledge(unit: Unit, timers: Sequence[Timer]) -> None:
        await deps.desk.apply(unit, [Task(timer.data["case"], AcknowledgementDue(), timer) for timer in timers])

    async def survey(unit: Unit, timers: Sequence[Timer]) -> None:
        await deps.desk.apply(unit, [Task(timer.data["case"], SurveyDue(), timer) for timer in timers])

    async def expire(unit: Unit, timers: Sequence[Timer]) -> None:
        await deps.desk.apply(unit, [Task(timer.data["case"], Expire(timer.key), timer) for timer in timers])

    return {"due": due, "acknowledge": acknowledge, "survey": survey, "expire": expire}


class Reactions:
    def __init__(self, deps: Dependencies) -> None:
        self._deps = deps

    async def open_cases(self, unit: Unit, events: Sequence[Event]) -> None:
        """A case per complaint, claim or request, with the updates that were already waiting for it."""
        decoded = zip(events, await each(decode, events), strict=True)
        contacts = [
            (event, data)
            for event, data in decoded
            if isinstance(data, InteractionRecorded) and data.kind in self._deps.kinds
        ]
        if not contacts:
            return
        ids = {case_id_of(contact.interaction_id) for _, contact in contacts}
        known = await bulk.among(unit.connection, select(tables.cases.c.case_id), tables.cases.c.case_id, sorted(ids))
        there = {row.case_id for row in known}
        contacts = [pair for pair in contacts if case_id_of(pair[1].interaction_id) not in there]
        updates = await self._updates_for(unit, [contact for _, contact in contacts])
        keys = await self._deps.vault.keys({contact.customer_id for _, contact in contacts})
        tasks: list[Task] = []
        fresh: set[str] = set()
        async for event, contact in in_turns(contacts):
            case_id = case_id_of(contact.interaction_id)
            if case_id in fresh:
                continue
            fresh.add(case_id)
            tasks.append(Task(case_id, self._opening(event, contact, keys.get(contact.customer_id)), event))
            tasks += [
                Task(case_id, update_, origin, fact_id(case_id, origin.id))
                for update_, origin in updates.get(contact.interaction_id, ())
            ]
        tasks += await waiting(
            unit.connection, {contact.interaction_id: case_id_of(contact.interaction_id) for _, contact in contacts}
        )
        await self._deps.desk.apply(unit, tasks, fresh=fresh)

    def _opening(self, event: Event, contact: InteractionRecorded, key: bytes | None) -> CaseOpened:
        reachable: dict[str, Any] = {"email": contact.email, "phone": contact.phone}
        # The two fields alone: opening the customer's own words as well would cost five times as much and is not needed.
        open_fields(reachable, ("email", "phone"), key, event.id)
        reply = reach(contact.channel, reachable["email"], reachable["phone"])
        regime = self._deps.regimes.of(contact.origin)
        dates = regime.deadlines(contact.occurred_at, contact.kind, contact.declared_motive)
        return CaseOpened(
            case_id=case_id_of(contact.interaction_id),
            interaction_id=contact.interaction_id,
            customer_id=contact.customer_id,
            kind=contact.kind,
            channel=contact.channel,
            origin=contact.origin,
            case_ref=contact.case_ref,
            received_at=contact.occurred_at,
            acknowledge_by=dates.acknowledge_by,
            due_at=dates.due_at,
            calendar=regime.calendar.code,
            term=dates.term,
            effects=contact.effects,
            reply_channel=reply[0] if reply else None,
            address=reply[1] if reply else None,
            language=language(contact.locale, contact.language, self._deps.default_language),
        )

    async def _updates_for(
        self, unit: Unit, contacts: Sequence[InteractionRecorded]
    ) -> dict[str, list[tuple[CaseUpdateRecorded, Origin]]]:
        """By interaction: the updates that came before its case. They are marked as taken."""
        refs = {(contact.origin, contact.case_ref) for contact in contacts if contact.case_ref is not None}
        places = {contact.interaction_id for contact in contacts}
        await meet(unit, refs, places)
        table = tables.updates
        found = (
            await unit.connection.execute(
                select(table).where(
                    or_(tuple_(table.c.origin, table.c.case_ref).in_(refs), table.c.interaction_id.in_(places))
                )
            )
        ).all()
        if not found:
            return {}
        cases = await self._cases_of(unit, refs, ())
        new: dict[str, str] = {}
        for contact in contacts:
            place = (contact.occurred_at, case_id_of(contact.interaction_id))
            cases.setdefault((contact.origin, contact.case_ref), []).append(place)
            cases.setdefault(contact.interaction_id, []).append(place)
            new[place[1]] = contact.interaction_id
        taken: dict[str, list[tuple[CaseUpdateRecorded, Origin]]] = {}
        marked: set[str] = set()
        for row in found:
            candidates = [*cases.get((row.origin, row.case_ref), ()), *cases.get(row.interaction_id or "", ())]
            takers = [case_id for case_id in taking(row.occurred_at, candidates) if case_id in new]
            if takers:
                data = await self._opened_update(event_of(row))
                origin = Origin(row.event_id, row.correlationid, row.traceparent)
                marked.add(row.event_id)
                for case_id in takers:
                    taken.setdefault(new[case_id], []).append((data, origin))
        await unit.connection.execute(update(table).where(table.c.event_id.in_(marked)).values(waiting=False))
        return taken

    async def take_updates(self, unit: Unit, events: Sequence[Event]) -> None:
        """The contact centre's progress, put to its case, or kept until the case is there."""
        decoded = zip(events, await each(decode, events), strict=True)
        updates = [(event, data) for event, data in decoded if isinstance(data, CaseUpdateRecorded)]
        refs = {(data.origin, data.case_ref) for _, data in updates}
        places = {data.interaction_id for _, data in updates if data.interaction_id is not None}
        await meet(unit, refs, places)
        cases = await self._cases_of(unit, refs, places)
        tasks: list[Task] = []
        rows: list[dict[str, Any]] = []
        async for event, data in in_turns(updates):
            takers = taking(
                data.occurred_at,
                [*cases.get((data.origin, data.case_ref), ()), *cases.get(data.interaction_id or "", ())],
            )
            rows.append(update_row(event, data, waiting=not takers))
            if takers:
                opened = await self._opened_update(event)
                tasks += [Task(case_id, opened, event, fact_id(case_id, event.id)) for case_id in takers]
        await bulk.write(unit.connection, tables.updates, rows, key=["event_id"], replaced=())
        if tasks:
            await self._deps.desk.apply(unit, tasks)

    async def _cases_of(
        self, unit: Unit, refs: Iterable[tuple[str, str | None]], interactions: Iterable[str]
    ) -> dict[Any, list[tuple[datetime, str]]]:
        """Reception and id of the cases there are, by (origin, reference) and by interaction."""
        table = tables.cases
        wanted, places = list(refs), list(interactions)
        condition = or_(tuple_(table.c.origin, table.c.case_ref).in_(wanted), table.c.interaction_id.in_(places))
        columns = (table.c.case_id, table.c.origin, table.c.case_ref, table.c.interaction_id, table.c.received_at)
        found: dict[Any, list[tuple[datetime, str]]] = {}
        for row in await unit.connection.execute(select(*columns).where(condition)):
            place = (row.received_at, row.case_id)
            if row.case_ref is not None:
                found.setdefault((row.origin, row.case_ref), []).append(place)
            found.setdefault(row.interaction_id, []).append(place)
        return found

    async def _opened_update(self, event: Event) -> CaseUpdateRecorded:
        """The update with its note in the clear; None where the person was erased."""
        data = decode(event)
        assert isinstance(data, CaseUpdateRecorded)
        if data.note is None or data.customer_id is None:
            return data
        keys = await self._deps.vault.keys([data.customer_id])
        values: dict[str, Any] = {"note": data.note}
        open_fields(values, ("note",), keys.get(data.customer_id), event.id)
        return data.model_copy(update=values)

    async def forget(self, unit: Unit, events: Sequence[Event]) -> None:
        """Nobody writes to an erased person: what waits for them ends, with its reason, so that every count still adds up."""
        people: dict[str, Event] = {}
        for event in events:
            data = decode(event)
            if isinstance(data, CustomerErased):
                people[data.customer_id] = event
        table = tables.cases
        rows = (
            await unit.connection.execute(
                select(table.c.case_id, table.c.customer_id).where(table.c.customer_id.in_(people))
            )
        ).all()
        if not rows:
            return
        for row in rows:
            unit.cancel("survey", row.case_id)
        waiting = select(tables.requests.c.request_id, tables.requests.c.case_id, tables.requests.c.customer_id).where(
            tables.requests.c.customer_id.in_(people), tables.requests.c.closed.is_(False)
        )
        tasks = [
            Task(row.case_id, Expire(row.request_id, "erased"), people[row.customer_id])
            for row in await unit.connection.execute(waiting)
            if row.case_id is not None
        ]
        await self._deps.desk.apply(unit, tasks, erased=True)
        await unit.connection.execute(update(table).where(table.c.customer_id.in_(people)).values(reply_channel=None))


def case_id_of(interaction_id: str) -> str:
    return natural_id("case", interaction_id)


def fact_id(case_id: str, update_id: str) -> str:
    """The id of what an update says about a case: taking it again gives it again."""
    return natural_id("case-fact", case_id, update_id)


def taking(at: datetime, cases: Iterable[tuple[datetime, str]]) -> list[str]:
    """Which cases of its reference an update is about: those received by then, else the eldest. A contact that comes back
    under the same reference months later is not resolved by what was settled before it."""
    ordered = sorted(set(cases))
    there = [case_id for received, case_id in ordered if received <= at + SKEW]
    return there or [case_id for _, case_id in ordered[:1]]


def update_row(event: Event, data: CaseUpdateRecorded, *, waiting: bool) -> dict[str, Any]:
    return {
        "event_id": event.id,
        "origin": data.origin,
        "case_ref": data.case_ref,
        "interaction_id": data.interaction_id,
        "occurred_at": data.occurred_at,
        "waiting": waiting,
        "type": event.type,
        "correlationid": event.correlationid,
        "traceparent": event.traceparent,
        "data": event.data,
    }


def event_of(row: Any) -> Event:
    """A kept update as the event it was; where it stood in its log does not matter any more."""
    at = row.occurred_at.astimezone(UTC)
    return Event(
        id=row.event_id,
        type=row.type,
        source="/lazo/intake",
        subject="",
        streamversion=0,
        sequence=0,
        time=at,
        recordedtime=at,
        partitionkey="",
        correlationid=row.correlationid,
        causationid=None,
        traceparent=row.traceparent,
        data=row.data,
    )
