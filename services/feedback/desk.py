"""The desk: loads cases, asks the domain, writes down what it decided. One way for topics, timers and people alike."""

import os
from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Table, bindparam, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.events import bulk
from libs.events.catalogue import decode
from libs.events.catalogue.base import EventData
from libs.events.catalogue.feedback import CaseOpened, CaseResolved, CaseResponded, FeedbackRequested
from libs.events.envelope import Event
from libs.events.ids import natural_id
from libs.events.offload import in_turns, pieces
from libs.events.sealing import PREFIX, open_token
from libs.events.store import Draft, Unit
from libs.events.timers import Timer
from libs.events.vault import Vault
from services.feedback import tables
from services.feedback.domain.case import Case, evolve, fold
from services.feedback.domain.decide import Command, decide, timers
from services.feedback.domain.orders import Policy
from services.feedback.domain.refusals import Refused
from services.feedback.domain.requests import TWO_WAY
from services.feedback.rows import FIXED_CASE, FIXED_REQUEST, case_row, mutable, request_row, requested_event_id
from services.feedback.tokens import token_hash, token_of
from services.feedback.wording import Wording


@dataclass(frozen=True, slots=True)
class Origin:
    """The update or request an event follows from, where the log's own event is not at hand any more."""

    id: str
    correlationid: str | None
    traceparent: str | None

    @property
    def causationid(self) -> str:
        return self.id


@dataclass(frozen=True, slots=True)
class Task:
    """One command for one case. `id` is given to the first event it leads to; without one it is derived or random."""

    case_id: str
    command: Command
    cause: Event | Timer | Origin | None = None
    id: str | None = None


CHANGED = 250
"""Rows of one UPDATE: SQLAlchemy makes the parameters of all of them ready in one go, 30 µs each."""
KEEP = 5_000
"""Cases whose fold is kept at hand, about 6 kB each. Reading and folding a stream again costs 200 µs."""


def stream_of(case_id: str) -> str:
    return f"case/{case_id}"


def opened_event_id(case_id: str) -> str:
    return natural_id("opened", case_id)


class Desk:
    """Applies commands in one unit: a handful of statements for any number of cases."""

    def __init__(self, vault: Vault, policy: Policy, wording: Wording) -> None:
        self._vault = vault
        self._policy = policy
        self._wording = wording
        # Folds of cases at hand, good only while the row carries the stamp they were written with: a transaction that was
        # rolled back, or another process's write, leaves another stamp there. Addresses in them are sealed.
        self._kept: OrderedDict[str, tuple[int, Case]] = OrderedDict()

    async def load(self, unit: Unit, case_ids: Collection[str], *, erased: bool = False) -> dict[str, Case]:
        """The cases by id; those that are not there are missing. The address stays sealed; it is None once the person was
        erased, or with `erased`, which does not wait for a cached key to be forgotten."""
        table = tables.cases
        query = select(table.c.case_id, table.c.stamp)
        rows = await bulk.among(unit.connection, query, table.c.case_id, dict.fromkeys(case_ids))
        stamps = {row[0]: row[1] for row in rows}
        states: dict[str, Case] = {}
        for case_id, stamp in stamps.items():
            kept = self._kept.get(case_id)
            if kept is not None and kept[0] == stamp:
                states[case_id] = kept[1]
        missing = [stream_of(case_id) for case_id in stamps if case_id not in states]
        if missing:
            async for events in in_turns((await unit.streams(missing)).values(), every=5):
                state = fold(decode(event) for event in events)
                assert state is not None
                states[state.case_id] = state
        keys = {} if erased else await self._vault.keys({state.opened.customer_id for state in states.values()})
        for case_id, state in states.items():
            if state.opened.address is not None and state.opened.customer_id not in keys:
                opened = state.opened.model_copy(update={"address": None})
                states[case_id] = replace(state, opened=opened)
        return states

    async def apply(
        self,
        unit: Unit,
        tasks: Sequence[Task],
        *,
        fresh: Collection[str] = (),
        erased: bool = False,
        refusals: dict[int, Refused] | None = None,
    ) -> dict[str, list[EventData]]:
        """Carry out tasks in order; the events each case's tasks led to. Raises Refused, and then nothing is written;
        with `refusals` a refused task is noted there by its place, and the others take effect.

        `fresh`: cases known not to exist yet, which need not be looked for.
        """
        wanted = dict.fromkeys(task.case_id for task in tasks)
        states = await self.load(unit, [case_id for case_id in wanted if case_id not in fresh], erased=erased)
        before = dict(states)
        led: dict[str, list[EventData]] = {case_id: [] for case_id in wanted}
        async for place, task in in_turns(enumerate(tasks)):
            state = states.get(task.case_id)
            try:
                events = decide(state, task.command, unit.now, self._policy)
            except Refused as refusal:
                if refusals is None:
                    raise
                refusals[place] = refusal
                continue
            for index, data in enumerate(events):
                expected = 0 if state is None else state.version
                state = evolve(state, data)
                if isinstance(data, FeedbackRequested):
                    data = await self._complete(unit, state, data, events)
                unit.emit(
                    Draft(
                        stream=stream_of(task.case_id),
                        data=data,
                        key=state.opened.customer_id,
                        time=_time(data),
                        id=self._id(task, data, index),
                        cause=task.cause,
                    ),
                    expected=expected,
                )
                led[task.case_id].append(data)
            if state is not None:
                states[task.case_id] = state
        touched = [case_id for case_id in wanted if led[case_id] or (erased and case_id in states)]
        await self._save(unit, [(before.get(case_id), states[case_id]) for case_id in touched])
        return led

    @staticmethod
    def _id(task: Task, data: EventData, index: int) -> str | None:
        if isinstance(data, CaseOpened):
            return opened_event_id(data.case_id)
        if isinstance(data, FeedbackRequested):
            return requested_event_id(data.request_id)
        return task.id if index == 0 else None

    async def _complete(
        self, unit: Unit, state: Case, request: FeedbackRequested, events: Iterable[EventData]
    ) -> FeedbackRequested:
        """Fill in what the domain leaves open: address, token of the page, and the text the customer reads."""
        opened = state.opened
        address = opened.address
        if address is not None and address.startswith(PREFIX):
            key = (await self._vault.keys([opened.customer_id])).get(opened.customer_id)
            address = open_token(address, key, opened_event_id(state.case_id), "address") if key else None
        outcome = said = None
        if request.purpose == "answer":
            resolved = next((data for data in events if isinstance(data, CaseResolved)), None)
            if resolved is None:  # a fact out of order made an earlier resolution the answer of its own round
                resolved = await self._last_resolution(unit, state)
            outcome, said = resolved.outcome, resolved.reason
        elif request.purpose == "response":
            said = next((data.text for data in events if isinstance(data, CaseResponded)), None)
        token = token_of(self._vault, request.request_id) if request.purpose in TWO_WAY else None
        regime = str(opened.term.get("regime", ""))
        body = self._wording.text(
            request.purpose,
            request.language,
            number=opened.case_ref or opened.case_id[:8].upper(),
            kind=str(opened.kind),
            due=state.due_at,
            zone=self._policy.calendar(regime).zone,
            outcome=outcome,
            said=said,
            token=token,
        )
        return request.model_copy(update={"address": address, "body": body, "token": token})

    async def _last_resolution(self, unit: Unit, state: Case) -> CaseResolved:
        events = await unit.stream(stream_of(state.case_id))
        opened = await unit.open([event for event in events if event.type == CaseResolved.TYPE])
        return max((data for data in opened if isinstance(data, CaseResolved)), key=lambda data: data.at)

    async def _save(self, unit: Unit, changes: Sequence[tuple[Case | None, Case]]) -> None:
        """Rows and timers follow the states: whatever a state no longer wants is cancelled, what it wants is there."""
        new_requests: list[dict[str, Any]] = []
        changed_requests: list[dict[str, Any]] = []
        async for before, after in in_turns(changes):
            known: Mapping[str, Any] = {} if before is None else before.requests
            for id, request in after.requests.items():
                if known.get(id) is not request:
                    hashed = token_hash(self._vault, token_of(self._vault, id)) if request.purpose in TWO_WAY else None
                    row = request_row(request, after.opened.language or "es", hashed)
                    (changed_requests if id in known else new_requests).append(row)
            had, wants = timers(before, self._policy), timers(after, self._policy)
            for (kind, key), due in wants.items():
                if had.get((kind, key)) != due:
                    unit.schedule(kind, key, due, {"case": after.case_id})
            for kind, key in had.keys() - wants.keys():
                unit.cancel(kind, key)
        stamp = int.from_bytes(os.urandom(7), "big")
        new_cases: list[dict[str, Any]] = []
        changed_cases: list[dict[str, Any]] = []
        async for number, (before, after) in in_turns(enumerate(changes), every=50):
            row = case_row(after) | {"stamp": stamp + number}
            (new_cases if before is None else changed_cases).append(row)
            self._keep(after, stamp + number)
        await write(unit.connection, tables.cases, new_cases, changed_cases, "case_id", FIXED_CASE)
        await write(unit.connection, tables.requests, new_requests, changed_requests, "request_id", FIXED_REQUEST)

    def _keep(self, state: Case, stamp: int) -> None:
        address = state.opened.address
        if address is not None and not address.startswith(PREFIX):
            return  # just opened, its address in the clear
        self._kept[state.case_id] = (stamp, state)
        self._kept.move_to_end(state.case_id)
        if len(self._kept) > KEEP:
            self._kept.popitem(last=False)


def _time(data: EventData) -> datetime:
    """When the fact happened, by whatever name its model has for that."""
    for name in ("at", "received_at", "requested_at"):
        value = getattr(data, name, None)
        if isinstance(value, datetime):
            return value
    raise ValueError(f"{data.TYPE} says no time")


async def write(
    connection: AsyncConnection,
    table: Table,
    new: Sequence[dict[str, Any]],
    changed: Sequence[dict[str, Any]],
    key: str,
    fixed: frozenset[str],
) -> None:
    """Insert the new rows and bring the changed ones up to date, a statement each; what is fixed is not sent again."""
    await bulk.write(connection, table, new)
    if changed:
        names = mutable(changed[0], fixed)
        # A parameter may not be called like a column that is set, hence the key's prefix.
        statement = update(table).where(table.c[key] == bindparam("the_key")).values({n: bindparam(n) for n in names})
        async for some in pieces(changed, CHANGED):
            await connection.execute(statement, [{n: row[n] for n in names} | {"the_key": row[key]} for row in some])
