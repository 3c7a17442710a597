"""What people say, learnt: each correction is a row, and every process brings its learner up to the rows before it codes.

The learner's state follows from the rulebook's version and the corrections in their order, and from nothing else: two processes
that have read the same rows decide alike, and so does one that was started anew. A correction is learnt once its transaction
is committed, by whichever process codes next; a timer sees to it that this one does so at once.
"""

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Integer, bindparam, delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.events.catalogue.base import EventData
from libs.events.catalogue.classifications import InteractionClassified
from libs.events.catalogue.interactions import CustomerErased, InteractionRecorded
from libs.events.envelope import Event
from libs.events.offload import offload
from libs.events.store import Unit
from services.classification import archive, tables
from services.classification.books import Books
from services.classification.domain.classifier.meaning import Encoder
from services.classification.domain.classifier.online_coder import OnLineCoder
from services.classification.domain.coder import Coder
from services.classification.domain.learnt import Fitted, Learnt, Online
from services.classification.domain.rulebook import UNKNOWN, Entry, Rulebook
from services.classification.domain.voices import Model, Voice
from services.classification.encoder import Remembering
from services.classification.keeping_models import live_model, opened_model
from services.classification.measuring import Measuring
from services.classification.model_files import Unreadable

LEARN = "learn"
Opener = Callable[[Sequence[Event]], Awaitable[Sequence[EventData]]]
"""Opens sealed events: `Unit.open`, or the vault."""
KEY = "corrections"
SPAN = 2_000
"""Corrections that are replayed at least, and twice as many at most: what is older is the fitted model's to know. Where it begins
follows from their number alone, so that a process that has learnt them one by one and one that was just started agree."""
CHUNK = 200

logger = logging.getLogger("lazo.classification")


@dataclass(slots=True)
class _State:
    """The learner after `count` corrections, the last of them `number`; the replay began behind the first `skipped`."""

    rulebook_version: int
    skipped: int
    coder: OnLineCoder
    count: int = 0
    number: int = 0
    taught: int = 0


class _Guarded:
    """A model whose learner learns in another thread."""

    def __init__(self, model: Learnt, lock: threading.Lock) -> None:
        self._model, self._lock = model, lock
        self.version = model.version

    def voices(self, texts: Sequence[str]) -> list[list[Voice]]:
        with self._lock:
            return self._model.voices(texts)


class Lessons:
    """The corrections' table, and this process's learner and fitted model. `encoder`: gives the sentence encoder, or None;
    called once, off the event loop."""

    def __init__(self, books: Books, encoder: Callable[[], Encoder | None], measuring: Measuring) -> None:
        self._books, self._load, self._measuring = books, encoder, measuring
        self._turn = asyncio.Lock()  # who brings the learner up, or codes with it
        self._lock = threading.Lock()
        self._encoder: Remembering | None = None
        self._loaded, self._loading = False, asyncio.Lock()
        self._state: _State | None = None
        self._fitted: dict[tuple[str, int], Fitted | None] = {}
        self._heard: dict[int, Coder] = {}

    async def prepare(self) -> None:
        """Load the encoder before anybody waits: whichever thread builds its vocabulary (third party: a table of 400,000 strings that
        grows) holds the interpreter for 25 to 50 ms at a time. It costs a start one second, once a process, and 120 MB."""
        await self._load_encoder()

    async def note(self, unit: Unit, data: InteractionClassified) -> None:
        """Write a person's decision down as a correction; it is learnt once this unit is committed."""
        await unit.flush()
        await unit.connection.execute(insert(tables.corrections), [correction_row(data, unit)])
        unit.schedule(LEARN, KEY, unit.now, {})

    async def learn(self, unit: Unit) -> None:
        """Learn what was written down."""
        coder = await self._books.coder(unit.connection)
        if coder is not None:
            async with self.listening(unit, coder):
                pass

    async def forget(self, unit: Unit, events: Sequence[Event]) -> None:
        """Reactor: who is erased teaches nothing from then on. Every learner begins again without it."""
        erased = {data.customer_id for data in await unit.open(events) if isinstance(data, CustomerErased)}
        table = tables.corrections
        await unit.connection.execute(delete(table).where(table.c.customer_id.in_(sorted(erased))))
        if self._encoder is not None:
            self._encoder.forget()

    @asynccontextmanager
    async def listening(self, unit: Unit, coder: Coder) -> AsyncIterator[Coder]:
        """The coder with everything learnt so far beside it; nothing is learnt in this process meanwhile."""
        async with self._turn:
            await self._catch_up(unit, coder)
            fitted = await self.fitted(unit.connection, await live_model(unit.connection), coder)
            heard = coder.listening_to(self._model(coder, self._state, fitted))
            self._heard = {coder.version: heard}
            yield heard

    async def listening_with(self, unit: Unit, coder: Coder, model_id: str) -> Coder:
        """The same with another model in place of the live one, for a shadow. Raises Unreadable."""
        fitted = await self.fitted(unit.connection, model_id, coder, strictly=True)
        return coder.listening_to(self._model(coder, self._state, fitted))

    def as_it_stands(self, coder: Coder) -> Coder:
        """The coder with what this process has learnt, without looking for more."""
        return self._heard.get(coder.version, coder)

    async def fitted(
        self, connection: AsyncConnection, model_id: str | None, coder: Coder, *, strictly: bool = False
    ) -> Fitted | None:
        """A kept model under the coder's rulebook, every byte checked once a process. One that cannot be read is left out, and
        said so in the log and on the models' page; `strictly` raises Unreadable instead."""
        if model_id is None:
            return None
        place = (model_id, coder.version)
        if self._fitted.get(place) is None and (strictly or place not in self._fitted):
            made = await self._opened(connection, model_id, coder, strictly=strictly)
            self._fitted = {**dict(list(self._fitted.items())[-3:]), place: made}
        return self._fitted[place]

    async def _opened(
        self, connection: AsyncConnection, model_id: str, coder: Coder, *, strictly: bool
    ) -> Fitted | None:
        try:
            kept = await opened_model(connection, model_id)
        except Unreadable as problem:
            if strictly:
                raise
            logger.warning("model %s is left out: %s", model_id, problem)
            self._measuring.unreadable()
            return None
        await self._load_encoder()
        book = coder.rulebook
        return Fitted(
            f"svm@{model_id[:12]}",
            kept.model,
            [one.code for one in coder.motives],
            [one.code for one in coder.causes],
            lambda code: book.now_called("motives", code),
            lambda code: book.now_called("causes", code),
        )

    async def _load_encoder(self) -> None:
        async with self._loading:
            if self._loaded:
                return
            found = await offload(self._load)
            self._encoder = None if found is None else Remembering(found)
            self._loaded = True
            self._measuring.encoder_loaded(self._encoder)

    def _model(self, coder: Coder, state: _State | None, fitted: Fitted | None) -> Model | None:
        online = Online(state.coder, state.number, state.taught) if state is not None and state.taught else None
        if online is None and fitted is None:
            return None
        codes = [one.code for one in coder.motives], [one.code for one in coder.causes]
        return _Guarded(Learnt(*codes, self._encoder, online, fitted), self._lock)

    async def under(self, connection: AsyncConnection, opener: Opener, book: Rulebook, version: int) -> Coder:
        """A coder of a rulebook that is not in force, hearing what would have been learnt under it; this process's learner is
        left alone."""
        coder = await offload(Coder, book, version)
        count, _ = await _counted(connection, 0)
        state = await self._begun(connection, coder, count) if count else None
        if state is not None:
            await self._replay(connection, opener, coder, state, count)
        live = await live_model(connection)
        # Not remembered: the version that will have this number may be another book.
        fitted = None if live is None else await self._opened(connection, live, coder, strictly=False)
        return coder.listening_to(self._model(coder, state, fitted))

    async def _catch_up(self, unit: Unit, coder: Coder) -> None:
        state = self._state
        count, there = await _counted(unit.connection, state.number if state is not None else 0)
        if count == 0:
            self._state = None
            return
        if state is None or (state.rulebook_version, state.skipped, state.count) != (
            coder.version,
            _skipped(count),
            there,
        ):
            # Another rulebook, a correction taken back with the person who wrote, or one that was committed late.
            state = await self._begun(unit.connection, coder, count)
        await self._replay(unit.connection, unit.open, coder, state, count)
        self._state = state
        self._measuring.learnt(state.count, state.taught)

    async def _begun(self, connection: AsyncConnection, coder: Coder, count: int) -> _State:
        """A learner that knows the rulebook's words and nothing else, and where the replay begins."""
        await self._load_encoder()
        skipped = _skipped(count)
        state = _State(coder.version, skipped, await offload(started, coder.rulebook, coder, self._encoder))
        if skipped:
            number = tables.corrections.c.number
            last = select(number).order_by(number).offset(skipped - 1).limit(1)
            state.number, state.count = (await connection.execute(last)).scalar_one(), skipped
        return state

    async def _replay(
        self, connection: AsyncConnection, opener: Opener, coder: Coder, state: _State, count: int
    ) -> None:
        table = tables.corrections
        while state.count < count:
            newer = select(table).where(table.c.number > state.number).order_by(table.c.number).limit(CHUNK)
            rows = (await connection.execute(newer)).all()
            if not rows:
                break
            texts = await texts_of(connection, opener, [row.interaction_id for row in rows])
            await offload(self._take, state, coder.rulebook, rows, texts)

    def _take(self, state: _State, book: Rulebook, rows: Sequence[Any], texts: Mapping[str, str]) -> None:
        for row in rows:
            text = texts.get(row.interaction_id, "")
            motive, cause = called(book, row.motive, row.cause)
            if text:
                began = time.perf_counter()
                with self._lock:
                    state.taught += state.coder.learn(text, motive, cause)
                self._measuring.correction(time.perf_counter() - began)
            state.count, state.number = state.count + 1, row.number


def _skipped(count: int) -> int:
    return max(0, count // SPAN - 1) * SPAN


_COUNTED = select(
    func.count(), func.count().filter(tables.corrections.c.number <= bindparam("known", type_=Integer))
).select_from(tables.corrections)


async def _counted(connection: AsyncConnection, known: int) -> tuple[int, int]:
    """How many corrections there are, and how many of them up to the one that is known."""
    count, there = (await connection.execute(_COUNTED, {"known": known})).one()
    return int(count), int(there)


async def texts_of(connection: AsyncConnection, opener: Opener, interaction_ids: Sequence[str]) -> dict[str, str]:
    """The words of these contacts; those of erased persons are missing."""
    held = await archive.fetch(connection, interaction_ids)
    contacts = await opener(list(held.values()))
    return {
        one.interaction_id: text
        for one in contacts
        if isinstance(one, InteractionRecorded) and (text := archive.words_of(one))
    }


def correction_row(data: InteractionClassified, unit: Unit) -> dict[str, Any]:
    """The row of a person's decision; its number is the table's own."""
    return {
        "interaction_id": data.interaction_id,
        "customer_id": data.customer_id,
        "motive": data.motive,
        "cause": data.cause,
        "rulebook_version": data.rulebook_version,
        "at": unit.now,
    }


def called(book: Rulebook, motive: str, cause: str) -> tuple[str, str]:
    """What a correction's codes are called in this rulebook; "" for what was split or is gone, which teaches nothing."""
    now = motive if motive == UNKNOWN else book.now_called("motives", motive)
    return now or "", book.now_called("causes", cause) or ""


def started(book: Rulebook, coder: Coder, encoder: Encoder | None) -> OnLineCoder:
    """A learner that knows the rulebook's own words and no correction yet."""
    motives: dict[str, Sequence[str]] = {one.code: told(book, one) for one in coder.motives}
    causes = {one.code: told(book, one) for one in coder.causes}
    return OnLineCoder({**motives, UNKNOWN: ()}, causes, encoder)


def told(book: Rulebook, entry: Entry) -> list[str]:
    """All that an entry says of itself, one text a language. Measured as good as one text a term (the year: 97.8 % and 97.7 %)
    with a tenth of the texts to encode, 0.3 s in place of 3."""
    found = []
    for language in book.languages:
        listed = [entry.name.get(language), entry.description.get(language)]
        for field in ("terms", "examples"):
            listed += getattr(entry, field, {}).get(language, ())
        text = ". ".join(part for part in listed if part)
        if text:
            found.append(text)
    return found
