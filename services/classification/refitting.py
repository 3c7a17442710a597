"""Models fitted in the background: when enough corrections came or somebody asked, by one process of all, in a child process."""

import asyncio
import base64
import hashlib
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import uuid4

import orjson
from sqlalchemy import func, or_, select, update
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from libs.events.catalogue.interactions import InteractionRecorded
from libs.events.catalogue.models import ModelFitted
from libs.events.errors import ConcurrencyConflict, is_transient
from libs.events.offload import offload
from libs.events.store import Draft, Store, Unit
from libs.events.timers import Timer
from services.classification import archive, tables
from services.classification.books import Books
from services.classification.coding import PERSON
from services.classification.domain.rulebook import UNKNOWN, Rulebook, document_of
from services.classification.keeping import SURE
from services.classification.keeping_models import (
    KEY,
    STREAM,
    keep_model,
    live_model,
    model_files,
)
from services.classification.learner import Lessons, called
from services.classification.measuring import Measuring
from services.classification.modelling import Modelling, ModelRefused

FIT = "fit"
LEASE = timedelta(seconds=90)
BEAT = 20.0
LOOK = 5.0
"""Seconds between looks for a fit that another process was asked for, or left when it died."""
MOST_CORRECTIONS = 50_000
SURE_EACH, MOST_SURE = 4, 20_000
"""Sure decisions beside each correction. Without them a model knows only what the review queue is like (97.9 % of the generated
year's texts become 93.6); with two to ten a correction it is right about 99.3 %, whichever."""
HELD = 5
"""Every fifth contact, by the hash of its id, is held back for good: no model ever learns from it, so all can be compared on it."""

logger = logging.getLogger("lazo.classification")


class FitRefused(Exception):
    """`no_rulebook`, or `busy`: a fit is asked for or at work."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Refitting:
    """A part of the service: `after` new corrections a model is fitted (0: only when somebody asks), put in force when it is
    better and `promote` says so. `encoder`: whether it may use the sentence encoder."""

    def __init__(
        self,
        books: Books,
        lessons: Lessons,
        modelling: Modelling,
        measuring: Measuring,
        *,
        after: int,
        promote: bool,
        encoder: bool,
    ) -> None:
        self._books, self._lessons, self._modelling, self._measuring = books, lessons, modelling, measuring
        self._made: Store | None = None
        self._after, self._promote, self._encoder = after, promote, encoder
        self._holder = uuid4().hex
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def works_on(self, store: Store) -> "Refitting":
        """Where it keeps what it fits; the store is made with the service's machinery, which is made with this."""
        self._made = store
        return self

    @property
    def _store(self) -> Store:
        assert self._made is not None  # `works_on` comes before `start` and before any request
        return self._made

    async def start(self) -> None:
        await self._lessons.prepare()
        self._task = asyncio.create_task(self._run(), name="classification refitting")

    async def stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def ask(self, unit: Unit, by: str | None) -> None:
        """Have a model fitted from all corrections so far. Raises FitRefused."""
        if await self._books.version(unit.connection) == 0:
            raise FitRefused("no_rulebook")
        table = tables.fittings
        make = sqlite_insert if unit.connection.dialect.name == "sqlite" else postgres_insert
        first = make(table).values(name=FIT, state="done", asked_at=unit.now, through=0)
        await unit.connection.execute(first.on_conflict_do_nothing(index_elements=["name"]))
        row = (await unit.connection.execute(select(table).where(table.c.name == FIT).with_for_update())).one()
        if row.state == "asked" or (row.state == "fitting" and row.until > unit.now):
            raise FitRefused("busy")
        values = dict.fromkeys(("holder", "until", "outcome", "model_id", "ended_at"))
        asked = update(table).where(table.c.name == FIT).values(state="asked", asked_by=by, asked_at=unit.now, **values)
        await unit.connection.execute(asked)
        self._wake.set()

    async def learn(self, unit: Unit, timers: Sequence[Timer]) -> None:
        """Timer, right after a correction: learn it on-line, and have a model fitted when enough came."""
        await self._lessons.learn(unit)
        await self.consider(unit)

    async def consider(self, unit: Unit) -> None:
        """Ask for a fit when enough corrections came since the last."""
        if not self._after:
            return
        seen = select(tables.fittings.c.through).where(tables.fittings.c.name == FIT)
        through = (await unit.connection.execute(seen)).scalar_one_or_none() or 0
        newer = select(func.count()).where(tables.corrections.c.number > through)
        if (await unit.connection.execute(newer)).scalar_one() >= self._after:
            try:
                await self.ask(unit, None)
            except FitRefused as refused:
                if refused.code != "busy":
                    raise

    async def _run(self) -> None:
        while True:
            try:
                async with asyncio.timeout(LOOK):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            await self._look()

    async def _look(self) -> None:
        """Take up a fit that waits, and say how it ended. Whatever happens, the next look comes."""
        failed = False
        try:
            taken = await self._take()
            if taken is not None:
                await self._fit(taken)
        except Exception as error:
            # Where the database is away or another was quicker, the lease runs out and a later look takes the fit up again.
            if not (is_transient(error) or isinstance(error, ConcurrencyConflict)):
                logger.exception("a fit failed")
                failed = True
        if failed:
            try:
                await self._settled("failed")
            except Exception as error:
                if not is_transient(error):
                    raise
                logger.warning("the database is away: the fit that failed is tried again when its lease has run out")

    async def _take(self) -> Any:
        table = tables.fittings
        async with self._store.reading() as connection:
            row = (await connection.execute(select(table).where(table.c.name == FIT))).one_or_none()
        if row is None or row.state == "done":
            return None
        async with self._store.unit() as unit:
            free = or_(table.c.state == "asked", (table.c.state == "fitting") & (table.c.until <= unit.now))
            taken = await unit.connection.execute(
                update(table)
                .where(table.c.name == FIT, free)
                .values(state="fitting", holder=self._holder, until=unit.now + LEASE)
            )
            return row if taken.rowcount else None

    async def _fit(self, row: Any) -> None:
        async with self._store.unit() as unit:
            job, through = await self._job(unit)
        given = await offload(orjson.dumps, job)
        answer = await self._child(given)
        if answer["outcome"] != "fitted":
            await self._settled(answer["outcome"], through)
            return
        files = await offload(_decoded, answer["files"])
        async with self._store.unit() as unit:
            outcome = await self._keep(unit, answer, files, row.asked_by, job["version"], through)
            await self._settle(unit, outcome, answer["model_id"], through)
        self._measuring.fitted(outcome)

    async def _job(self, unit: Unit) -> tuple[dict[str, Any], int]:
        """Everything the child needs, and the number of the last correction it knows."""
        version = await self._books.version(unit.connection)
        book = await self._books.book(unit.connection, version)
        assert book is not None
        rows, order, through = await training(unit, book, version)
        live = await live_model(unit.connection)
        files = await model_files(unit.connection, live) if live is not None else {}
        table = tables.models
        known = await unit.connection.execute(
            select(table.c.data, table.c.libraries).where(table.c.rulebook_version == version)
        )
        job = {
            "known": [[row.data, row.libraries] for row in known],
            "rulebook": document_of(book),
            "version": version,
            "encoder": self._encoder,
            "rows": rows,
            "order": order,
            "live": {name: base64.b64encode(content).decode() for name, content in files.items()},
        }
        return job, through

    async def _child(self, given: bytes) -> dict[str, Any]:
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "services.classification.fit_worker",
            # With another number of threads a sum may differ in its last bit, and the model's bytes with it.
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        talk = asyncio.create_task(child.communicate(given))
        try:
            while True:
                done, _ = await asyncio.wait({talk}, timeout=BEAT)
                if done:
                    break
                await self._beat()
            said, trouble = talk.result()
            if child.returncode:
                last = trouble.decode(errors="replace").strip().splitlines()[-1:]
                # The last line names the error; the lines above may quote the texts.
                raise RuntimeError(f"the fitting process ended with {child.returncode}: {' '.join(last)[:200]}")
            answer: dict[str, Any] = await offload(orjson.loads, said)
            return answer
        finally:
            if child.returncode is None:
                child.kill()
            talk.cancel()
            await asyncio.gather(talk, return_exceptions=True)
            await child.wait()

    async def _beat(self) -> None:
        table = tables.fittings
        async with self._store.unit() as unit:
            mine = update(table).where(table.c.name == FIT, table.c.holder == self._holder)
            await unit.connection.execute(mine.values(until=unit.now + LEASE))

    async def _keep(
        self,
        unit: Unit,
        answer: Mapping[str, Any],
        files: Mapping[str, bytes],
        by: str | None,
        version: int,
        through: int,
    ) -> str:
        """Say that it was fitted, keep it, and put it in force where it is better. How it ended."""
        known = select(tables.models.c.model_id).where(tables.models.c.model_id == answer["model_id"])
        if (await unit.connection.execute(known)).first() is not None:
            return "same"
        data = ModelFitted(
            model_id=answer["model_id"],
            at=unit.now,
            by=by,
            rulebook_version=version,
            data=answer["data"],
            corrections=answer["corrections"],
            sure=answer["sure"],
            held_back=answer["held_back"],
            through=through,
            encoder=answer["encoder"],
            libraries=answer["libraries"],
            measures=answer["measures"],
            size=answer["size"],
        )
        events = await unit.stream(STREAM)
        expected = events[-1].streamversion if events else 0
        unit.emit(Draft(stream=STREAM, data=data, key=KEY, time=unit.now), expected=expected)
        await unit.flush()
        await keep_model(unit.connection, data, files)
        if not (answer["better"] and self._promote):
            return "fitted"
        try:
            await self._modelling.promote(unit, data.model_id, None, because="better", measures=answer["measures"])
        except ModelRefused as refused:
            logger.warning("the model %s was kept and not promoted: %s", data.model_id, refused.code)
            return "fitted"
        return "promoted"

    async def _settled(self, outcome: str, through: int | None = None) -> None:
        async with self._store.unit() as unit:
            await self._settle(unit, outcome, None, through)
        self._measuring.fitted(outcome)

    async def _settle(self, unit: Unit, outcome: str, model_id: str | None, through: int | None) -> None:
        table = tables.fittings
        mine = update(table).where(table.c.name == FIT, table.c.holder == self._holder)
        values: dict[str, Any] = {"state": "done", "outcome": outcome, "model_id": model_id, "ended_at": unit.now}
        if through is not None:
            values["through"] = through
        await unit.connection.execute(mine.values(**values))


def held_back(interaction_id: str) -> bool:
    """Whether models are compared on this contact and never fitted from it."""
    digest = hashlib.sha256(b"held back\x1f" + interaction_id.encode()).digest()
    return int.from_bytes(digest[:4], "big") % HELD == 0


async def training(unit: Unit, book: Rulebook, version: int) -> tuple[list[dict[str, Any]], list[str], int]:
    """What a model is fitted from: the last word of people on each contact, and sure decisions of the machine; in the order of
    their ids. Then the ids in the order in which people spoke, and the number of the last correction.

    It follows from the corrections, the decisions and the words that can still be read: the same log gives the same rows.
    """
    table = tables.corrections
    newest = select(table).order_by(table.c.number.desc()).limit(MOST_CORRECTIONS)
    rows = list(reversed((await unit.connection.execute(newest)).all()))
    said = {row.interaction_id: called(book, row.motive, row.cause) for row in rows}
    chosen = {one: (motive, cause or UNKNOWN, True) for one, (motive, cause) in said.items() if motive}
    found = tables.decisions
    sure = (
        select(found.c.interaction_id, found.c.motive, found.c.cause)
        .where(
            found.c.decided_by != PERSON,
            ~found.c.review,
            found.c.confidence >= SURE,
            found.c.rulebook_version == version,
        )
        .order_by(found.c.sample, found.c.interaction_id)
        .limit(min(SURE_EACH * len(chosen), MOST_SURE))
    )
    for row in await unit.connection.execute(sure):
        chosen.setdefault(row.interaction_id, (row.motive, row.cause, False))
    ids = sorted(chosen)
    coded: list[dict[str, Any]] = []
    for at in range(0, len(ids), 500):
        held = await archive.fetch(unit.connection, ids[at : at + 500])
        for contact in await unit.open([held[one] for one in ids[at : at + 500] if one in held]):
            assert isinstance(contact, InteractionRecorded)
            text = archive.words_of(contact)
            if not text:
                continue
            motive, cause, person = chosen[contact.interaction_id]
            coded.append(
                {
                    "id": contact.interaction_id,
                    "text": text,
                    "motive": motive,
                    "cause": cause,
                    "person": person,
                    "held": held_back(contact.interaction_id),
                    "occurred_at": contact.occurred_at,
                    "language": contact.language or contact.locale,
                    "kind": contact.kind,
                    "touchpoint": contact.touchpoint,
                }
            )
    return coded, [row.interaction_id for row in rows], rows[-1].number if rows else 0


def _decoded(files: Mapping[str, str]) -> dict[str, bytes]:
    return {name: base64.b64decode(content) for name, content in files.items()}
