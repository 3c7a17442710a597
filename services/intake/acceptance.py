"""From well-formed elements to facts that are durable: sources, people, group commit, and one answer per element."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import orjson
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.events import faults as crash
from libs.events.catalogue.interactions import Effects
from libs.events.clock import Clock
from libs.events.errors import StoreUnavailable, is_transient
from libs.events.offload import in_turns
from libs.events.store import Appended, Draft, GroupCommit, Store
from libs.events.vault import Vault
from services.intake import cases
from services.intake.domain import case_updates, interactions
from services.intake.domain.faults import Fault, Refused
from services.intake.domain.reading import Read
from services.intake.domain.sources import Source
from services.intake.people import People
from services.intake.phones import read_phone
from services.intake.sources import Sources

Settle = Callable[[AsyncConnection, list["Result"]], Awaitable[None]]
"""What a caller wants done in the transaction of its facts, with the answers in hand."""

CHUNK = 50  # elements between two looks at what else the event loop has to do: about 3 ms
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Result:
    """The answer for one element; pointers of `faults` are relative to the element."""

    id: str | None
    status: Literal["accepted", "duplicate", "rejected"]
    faults: tuple[Fault, ...] = ()


DIFFERENT = (Fault("", "different-content"),)


class Acceptance:
    """Intake's one way in, for HTTP, webhooks, replays and files alike."""

    def __init__(
        self, *, store: Store, group_commit: GroupCommit, vault: Vault, clock: Clock, sources: Sources, people: People
    ) -> None:
        self._store, self._group_commit, self._vault, self._clock = store, group_commit, vault, clock
        self._sources, self._people = sources, people

    async def record(
        self, reads: Sequence[Read], *, effects: Effects, bound: str | None, settle: Settle | None = None
    ) -> list[Result]:
        """Keep every element that is a valid fact. Returns once they are durable; raises StoreUnavailable.

        `bound`: the only source the caller may send for. `settle` is not called when no element is valid.
        """
        results: list[Result | None] = [None] * len(reads)
        prepared: list[tuple[int, interactions.Prepared]] = []
        prints: list[bytes] = []
        now = self._clock.now()
        for index, read in enumerate(reads):
            if index % CHUNK == CHUNK - 1:
                await asyncio.sleep(0)
            try:
                element = _readable(read)
                ready = interactions.prepare(element, await self._source(element, bound), now, effects, read_phone)
            except Refused as refusal:
                results[index] = Result(None, "rejected", refusal.faults)
                continue
            prepared.append((index, ready))
            prints.append(self._fingerprint(element, ready.values["occurred_at"]))
        if prepared:
            crash.point("intake.validated")
            people = await self._people.resolve([ready.identifiers for _, ready in prepared])
            drafts = [
                Draft(
                    stream="interaction/" + ready.id,
                    data=interactions.recorded(ready, person),
                    key=person,
                    time=ready.values["occurred_at"],
                    id=ready.id,
                    fingerprint=fingerprint,
                )
                async for (_, ready), person, fingerprint in in_turns(
                    zip(prepared, people, prints, strict=True), every=CHUNK
                )
            ]
            remember = cases.remember_interactions if any(ready.case_ref for _, ready in prepared) else None
            return await self._submit(drafts, [index for index, _ in prepared], results, remember, settle)
        return _whole(results)

    async def record_updates(
        self, reads: Sequence[Read], *, effects: Effects, bound: str | None, settle: Settle | None = None
    ) -> list[Result]:
        """Keep every update that is a valid fact, tied to its case's interaction where that is known."""
        results: list[Result | None] = [None] * len(reads)
        prepared: list[tuple[int, case_updates.PreparedUpdate, bytes]] = []
        now = self._clock.now()
        for index, read in enumerate(reads):
            if index % CHUNK == CHUNK - 1:
                await asyncio.sleep(0)
            try:
                element = _readable(read)
                ready = case_updates.prepare(element, await self._source(element, bound), now, effects)
            except Refused as refusal:
                results[index] = Result(None, "rejected", refusal.faults)
                continue
            prepared.append((index, ready, self._fingerprint(element, ready.values["occurred_at"])))
        if prepared:
            drafts, remember = await self._update_drafts([(ready, mark) for _, ready, mark in prepared])
            return await self._submit(drafts, [index for index, _, _ in prepared], results, remember, settle)
        return _whole(results)

    async def _source(self, element: Mapping[str, Any], bound: str | None) -> Source:
        name = element["source"]
        if bound is not None and name != bound:
            raise Refused(Fault("/source", "foreign-source", {"bound": bound}))
        source = self._sources.known(name)
        if source is None:
            source = await _answering(self._sources.find(name))
        if source is None:
            raise Refused(Fault("/source", "unknown-source", {"source": name}))
        if not source.active:
            raise Refused(Fault("/source", "inactive-source", {"source": name}))
        return source

    def _fingerprint(self, element: Mapping[str, Any], occurred_at: Any) -> bytes:
        """A keyed digest of what the sender said: the order of members, nulls and the zone's spelling do not count."""
        content = dict(element)
        if None in content.values():
            content = {name: value for name, value in content.items() if value is not None}
        content["occurred_at"] = occurred_at
        return self._vault.hash(orjson.dumps(content, option=orjson.OPT_SORT_KEYS).decode())

    async def _update_drafts(
        self, prepared: Sequence[tuple[case_updates.PreparedUpdate, bytes]]
    ) -> tuple[list[Draft], cases.Remember | None]:
        places = {(ready.values["origin"], ready.case_ref) for ready, _ in prepared}
        known = await _answering(cases.find(self._store, places))
        # What was said about a case whose customer nobody knows yet must be sealed all the same: with the key of a person
        # made up for the case, who is erased together with the customer once that one is known.
        noted = [
            place
            for place in places
            if place not in known and any(ready.values["note"] for ready, _ in prepared if _place(ready) == place)
        ]
        found = await self._people.resolve([{f"case@{source}": case_ref} for source, case_ref in noted])
        holders = dict(zip(noted, found, strict=True))
        drafts = []
        for ready, fingerprint in prepared:
            place = _place(ready)
            interaction_id, customer_id = known.get(place, (None, None))
            holder = holders.get(place) if ready.values["note"] else None
            drafts.append(
                Draft(
                    stream=f"case-update/{ready.id}",
                    data=case_updates.recorded(ready, interaction_id, customer_id or holder),
                    key=customer_id or case_updates.case_key(*place),
                    time=ready.values["occurred_at"],
                    id=ready.id,
                    fingerprint=fingerprint,
                )
            )
        return drafts, cases.remember_holders(holders) if holders else None

    async def _submit(
        self,
        drafts: list[Draft],
        indexes: list[int],
        results: list[Result | None],
        remember: cases.Remember | None,
        settle: Settle | None,
    ) -> list[Result]:
        def whole(answers: Sequence[Appended]) -> list[Result]:
            filled = list(results)
            for index, answer in zip(indexes, answers, strict=True):
                filled[index] = _result(answer)
            return _whole(filled)

        async def run(connection: AsyncConnection, answers: list[Appended]) -> None:
            fresh = [draft for draft, answer in zip(drafts, answers, strict=True) if answer.status == "accepted"]
            if fresh and remember is not None:
                await remember(connection, fresh)
            if settle is not None:
                await settle(connection, whole(answers))

        extra = run if remember is not None or settle is not None else None
        return whole(await self._group_commit.submit(drafts, extra))


def _whole(results: Sequence[Result | None]) -> list[Result]:
    return [result for result in results if result is not None]


def _place(ready: case_updates.PreparedUpdate) -> tuple[str, str]:
    return ready.values["origin"], ready.case_ref


def _readable(read: Read) -> dict[str, Any]:
    if isinstance(read, Refused):
        raise read
    return read


def _result(answer: Appended) -> Result:
    if answer.status == "accepted":
        return Result(answer.id, "accepted")
    return Result(answer.id, "duplicate", () if answer.same_content else DIFFERENT)


async def _answering(call: Awaitable[T]) -> T:
    """A read that is part of accepting: when the database is away, that is our fault and passes."""
    try:
        return await call
    except StoreUnavailable:
        raise
    except Exception as error:
        if not is_transient(error):
            raise
        raise StoreUnavailable(f"the store did not answer: {type(error).__name__}") from error
