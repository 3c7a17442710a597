"""The preview of a rulebook: the log of interactions read once, coded anew, judged anew, and nothing written (G11)."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from libs.events.catalogue.interactions import InteractionRecorded, Kind
from libs.events.catalogue.topics import INTERACTIONS
from libs.events.engines import reading
from libs.events.envelope import Event, from_record
from libs.events.log import Log, TopicPartition
from libs.events.offload import offload
from libs.events.sealing import opened
from libs.events.vault import Vault
from services.classification import archive, tables
from services.classification.books import Books
from services.classification.coding import PERSON, contact_of
from services.classification.counting import MONITOR, watched_of
from services.classification.desk import slice_key
from services.classification.domain.coder import Coder, Contact
from services.classification.domain.crosswalk import Crosswalk, crosswalk
from services.classification.domain.monitor import Rules
from services.classification.domain.preview import (
    Future,
    Past,
    Seen,
    Tally,
    become,
    compare,
    renamed,
    seen_by,
    systemic,
)
from services.classification.domain.rulebook import Rulebook
from services.classification.domain.slices import ATTRIBUTES, DEFAULT, MARK, Series, parse
from services.classification.domain.watch import MAX_DAYS
from services.classification.learner import Lessons
from services.classification.spool import AFTER, BEFORE, Line, Spool

CHUNK = 500
"""Contacts coded at a time: a sixth of a second in a thread, some megabytes of texts in memory."""

Progress = Callable[[int], Awaitable[None]]


class PreviewRunning(Exception):
    """One at a time: each takes a core."""


class NothingPublished(Exception):
    """There is no rulebook to compare with."""


@dataclass(slots=True)
class _Run:
    coder: Coder
    walks: dict[str, Crosswalk]
    spool: Spool
    tally: Tally
    contacts: int = 0
    waiting: int = 0  # recorded, not yet coded or counted
    unreadable: int = 0
    through: date | None = None
    latest: date | None = None


class Preview:
    """Reads; has nothing to write with. `rules`: the monitor's."""

    def __init__(
        self,
        engine: AsyncEngine,
        log: Log,
        vault: Vault,
        books: Books,
        rules: Rules,
        lessons: Lessons,
        series: Sequence[Series] = parse(DEFAULT),
    ) -> None:
        self._engine, self._log, self._vault, self._books, self._rules = engine, log, vault, books, rules
        self._lessons, self._series = lessons, series
        self._busy = asyncio.Lock()

    async def published(self) -> list[tuple[int, Rulebook]]:
        """Every published version, oldest first."""
        async with reading(self._engine) as connection:
            return await self._books.history(connection)

    async def run(self, book: Rulebook, progress: Progress | None = None) -> dict[str, Any]:
        """What history would become under the book. Raises PreviewRunning, NothingPublished, LogUnavailable.

        `progress` is told the number of contacts read so far; what it raises ends the preview.
        """
        if self._busy.locked():
            raise PreviewRunning
        async with self._busy:
            async with reading(self._engine) as connection:
                version = await self._books.version(connection)
                current = await self._books.book(connection, version) if version else None
                mark = (
                    await connection.execute(select(tables.watermarks).where(tables.watermarks.c.name == MONITOR))
                ).one_or_none()
            if current is None:
                raise NothingPublished
            walks = {"motives": crosswalk(current, book), "causes": crosswalk(current, book, "causes")}
            # What people said is learnt again under the book: corrections go where its crosswalk leads.
            async with reading(self._engine) as connection:
                opener = partial(opened, self._vault)
                coder = await self._lessons.under(connection, opener, book, version + 1)
            run = _Run(coder, walks, Spool(self._series), Tally())
            if mark is not None:
                run.through, run.latest = mark.through, mark.latest
            try:
                async for events in self._history(run):
                    await self._chunk(run, events)
                    if progress is not None:
                        await progress(run.contacts)
                verdicts, before, after = await offload(self._judge, run)
            finally:
                run.spool.close()
            return {
                "rulebook": {"id": book.id, "motives": len(book.motives), "causes": len(book.causes)},
                "against_version": version,
                "history": {
                    "contacts": run.contacts,
                    "coded": run.tally.how["coded"],
                    "kept_by_people": run.tally.how["kept"],
                    "without_text": run.tally.how["crosswalk"],
                    "waiting": run.waiting,
                    "unreadable": run.unreadable,
                    "judged_through": None if run.through is None else run.through.isoformat(),
                    "judged_series": [MARK.join(one.dims) for one in watched_of(self._series)],
                },
                **run.tally.report(walks),
                "review": {name: run.tally.review[name] for name in ("before", "after")},
                "verdicts": verdicts,
                "findings": await self._findings(run, before, after),
            }

    async def _history(self, run: _Run) -> AsyncIterator[list[Event]]:
        """The interactions that stand in the log now, some at a time; what comes meanwhile is not looked at."""
        for partition, end in sorted((await self._log.ends(INTERACTIONS)).items()):
            at = 0
            while at < end:
                records = await self._log.read(TopicPartition(INTERACTIONS, partition), at, CHUNK)
                if not records:
                    break
                at = records[-1].offset + 1
                events: list[Event] = []
                for record in records:
                    if record.offset >= end:
                        break
                    try:
                        event = from_record(record)
                    except ValueError:
                        run.unreadable += 1  # it stands in somebody's quarantine; told, and passed over
                        continue
                    if event.type == InteractionRecorded.TYPE:
                        events.append(event)
                if events:
                    yield events

    async def _chunk(self, run: _Run, events: Sequence[Event]) -> None:
        try:
            data = await opened(self._vault, events)
        except ValueError:
            run.unreadable += len(events)
            return
        facts = [item for item in data if isinstance(item, InteractionRecorded)]
        run.contacts += len(facts)
        rows = await self._rows([fact.interaction_id for fact in facts])
        known = [fact for fact in facts if fact.interaction_id in rows]
        run.waiting += len(facts) - len(known)
        gone = {
            fact.interaction_id
            for event, fact in zip(events, data, strict=True)
            if isinstance(fact, InteractionRecorded) and archive.erased(event, fact)
        }
        contacts = [None if fact.interaction_id in gone else contact_of(fact) for fact in known]
        await offload(_code, run, known, contacts, [rows[fact.interaction_id] for fact in known])

    async def _rows(self, identities: Sequence[str]) -> dict[str, Any]:
        c, d = tables.contacts, tables.decisions
        query = (
            select(
                c.c.interaction_id,
                c.c.customer_id,
                c.c.day,
                c.c.occurred_at,
                c.c.counted,
                *(c.c[name] for name in ATTRIBUTES),
                d.c.review,
                d.c.decided_by,
            )
            .join(d, d.c.interaction_id == c.c.interaction_id)
            .where(c.c.interaction_id.in_(identities))
        )
        async with reading(self._engine) as connection:
            return {row.interaction_id: row for row in await connection.execute(query)}

    def _judge(self, run: _Run) -> tuple[dict[str, Any], list[Seen], list[Seen]]:
        """In a thread: a year of two hundred slices takes seconds."""
        sides: list[list[Seen]] = []
        run.spool.sum_up()
        for side in (BEFORE, AFTER):
            if run.through is None or run.latest is None:
                sides.append([])
                continue
            watch, peers = run.spool.judges(side, self._rules, run.latest - timedelta(days=MAX_DAYS))
            watch.advance(run.through)
            peers.advance(run.through)
            sides.append(seen_by(watch, peers))
        return compare(sides[0], sides[1], run.tally), sides[0], sides[1]

    async def _findings(self, run: _Run, before: Sequence[Seen], after: Sequence[Seen]) -> dict[str, Any]:
        """Slices that would have a finding and have none, and findings whose ground would be gone."""
        old, new = systemic(before), systemic(after)
        table = tables.findings
        query = select(table.c.finding_id, table.c.slice, table.c.slice_key, table.c.status, table.c.title)
        async with reading(self._engine) as connection:
            held = [dict(row._mapping) for row in await connection.execute(query.order_by(table.c.opened_at))]  # noqa: SLF001  # the public way to a row's names
        carried = [renamed(slice_, run.tally) for slice_ in old]
        remains = {slice_key(slice_) for slice_ in new}
        gone = {
            slice_key(slice_)
            for slice_, later in zip(old, carried, strict=True)
            if not remains & {slice_key(slice_), slice_key(later)}
        }
        vanish = [
            {name: row[name] for name in ("finding_id", "slice", "status", "title")}
            for row in held
            if row["slice_key"] in gone
        ]
        known = {slice_key(slice_) for slice_ in (*old, *carried)}
        return {"appear": [slice_ for slice_ in new if slice_key(slice_) not in known], "vanish": vanish}


def _code(
    run: _Run, facts: Sequence[InteractionRecorded], contacts: Sequence[Contact | None], rows: Sequence[Any]
) -> None:
    """In a thread: code a chunk and put down what became of it. None: the person was erased, and the words with them."""
    lines: list[Line] = []
    decided = iter(run.coder.code_many(contact for contact in contacts if contact is not None))
    decisions = [None if contact is None else next(decided) for contact in contacts]
    for fact, row, decision in zip(facts, rows, decisions, strict=True):
        past = Past(row.motive, row.cause, row.review, row.decided_by == PERSON)
        future: Future = become(past, decision, run.walks["motives"], run.walks["causes"])
        run.tally.add(past, future)
        if row.counted:
            values = {name: getattr(row, name) or "" for name in ATTRIBUTES}
            other = values | _follows(run.coder, fact, row, future)
            lines.append(Line(row.customer_id, row.day, tuple(values.values()), tuple(other.values())))
    run.spool.add(lines)


def _follows(coder: Coder, fact: InteractionRecorded, row: Any, future: Future) -> dict[str, str]:
    """What is another under the other rulebook; a supplier that the contact did not name is that of its cause."""
    follows = coder.consequences.of(
        future.motive, future.cause, row.occurred_at, Kind(fact.kind), row.touchpoint or None
    )
    found = {"motive": future.motive, "cause": future.cause}
    found |= {"component": str(follows.component or ""), "procedure": follows.procedure or ""}
    if fact.supplier is None:
        why = coder.rulebook.cause_by_code.get(future.cause)
        found["supplier"] = (why.supplier if why is not None else None) or ""
    return found
