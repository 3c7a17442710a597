"""The past coded again: a job that is previewed, started by a person, runs in batches on a timer, and can be killed at any time.

Where it has come stands in the job's row, in the transaction of the batch: a batch is there whole or not at all, and the next
process goes on behind it. Decisions are appended with `effects: history`, so nobody is written to; a person's is never touched.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.events.catalogue import decode
from libs.events.catalogue.classifications import InteractionClassified
from libs.events.catalogue.coding import Move, RecodingEnded, RecodingStarted
from libs.events.catalogue.interactions import Effects, InteractionRecorded
from libs.events.ids import natural_id
from libs.events.offload import in_turns
from libs.events.store import Draft, Unit
from libs.events.timers import Timer
from services.classification import archive, tables
from services.classification.books import Books
from services.classification.coding import PERSON, Coding, decision_row, keep, stream_of
from services.classification.domain.coder import Coder, Decision
from services.classification.domain.voices import family

RECODING = "recoding"
BATCH = 50
"""Contacts of one transaction: as long as a new contact or a person's decision may wait for it. On two cores that others kept
busy, 50 previewed 1,000 contacts a second and wrote 320 (100,000 in five minutes); 200 were twice as fast, and held the event
loop for five times as long (195 ms)."""
BUSY = ("previewing", "running", "paused")
NOTHING = {"looked_at": 0, "appended": 0, "changed": 0, "by_people": 0, "erased": 0}


class RecodingRefused(Exception):
    """A command at the wrong moment: `no_rulebook`, `busy`, `unknown`, `wrong_state`, `overtaken`."""

    def __init__(self, code: str, value: str = "") -> None:
        super().__init__(code)
        self.code, self.value = code, value


def stream_of_job(recoding_id: str) -> str:
    return f"recoding/{recoding_id}"


class Recoding:
    """The commands of a job, and the timer that does its work."""

    def __init__(self, books: Books, coding: Coding) -> None:
        self._books, self._coding = books, coding

    async def ask(
        self,
        unit: Unit,
        recoding_id: str,
        by: str,
        *,
        since: datetime | None,
        until: datetime | None,
        motive: str | None,
        per_second: int,
    ) -> None:
        """Begin a preview under the rulebook and model in force: everything is coded, nothing is written. Raises RecodingRefused."""
        coder = await self._books.coder(unit.connection)
        if coder is None:
            raise RecodingRefused("no_rulebook")
        table = tables.recodings
        busy = select(table.c.recoding_id).where(table.c.state.in_(BUSY)).limit(1)
        if (other := (await unit.connection.execute(busy)).scalar_one_or_none()) is not None:
            raise RecodingRefused("busy", other)
        chosen = _chosen(select(func.count()), since, until, motive)
        row = {
            "recoding_id": recoding_id,
            "state": "previewing",
            "asked_by": by,
            "asked_at": unit.now,
            "rulebook_version": coder.version,
            "model_version": coder.model_version,
            "since": since,
            "until": until,
            "motive": motive,
            "per_second": per_second,
            "total": (await unit.connection.execute(chosen)).scalar_one(),
            "position": "",
            "counts": NOTHING,
            "moves": [],
        }
        await unit.connection.execute(insert(table), [row])
        unit.schedule(RECODING, recoding_id, unit.now, {})

    async def start(self, unit: Unit, recoding_id: str, by: str) -> None:
        """Do what was previewed. Raises RecodingRefused: `wrong_state`, and `overtaken` by another rulebook since the preview."""
        job = await _job(unit.connection, recoding_id)
        if job.state != "previewed":
            raise RecodingRefused("wrong_state", job.state)
        busy = select(func.count()).select_from(tables.recodings).where(tables.recodings.c.state.in_(BUSY))
        if (await unit.connection.execute(busy)).scalar_one():
            raise RecodingRefused("busy")
        coder = await self._books.coder(unit.connection)
        if coder is None or coder.version != job.rulebook_version:
            raise RecodingRefused("overtaken")
        chosen = _chosen(select(func.count()), job.since, job.until, job.motive)
        total = (await unit.connection.execute(chosen)).scalar_one()
        started = RecodingStarted(
            recoding_id=recoding_id,
            at=unit.now,
            by=by,
            rulebook_version=coder.version,
            model_version=coder.model_version,
            total=total,
            since=job.since,
            until=job.until,
            motive=job.motive,
        )
        unit.emit(Draft(stream=stream_of_job(recoding_id), data=started, key=RECODING, time=unit.now), expected=0)
        await _save(
            unit.connection,
            recoding_id,
            state="running",
            started_by=by,
            started_at=unit.now,
            model_version=coder.model_version,
            total=total,
            position="",
            counts=NOTHING,
            moves=[],
            preview={"counts": job.counts, "moves": job.moves, "total": job.total},
        )
        unit.schedule(RECODING, recoding_id, unit.now, {})

    async def pause(self, unit: Unit, recoding_id: str) -> None:
        """Stop after the batch in hand. Raises RecodingRefused."""
        job = await _job(unit.connection, recoding_id)
        if job.state not in {"previewing", "running"}:
            raise RecodingRefused("wrong_state", job.state)
        await _save(unit.connection, recoding_id, state="paused")
        unit.cancel(RECODING, recoding_id)

    async def resume(self, unit: Unit, recoding_id: str) -> None:
        """Go on where it stands, also where its timer was parked. Raises RecodingRefused."""
        job = await _job(unit.connection, recoding_id)
        if job.state not in BUSY:
            raise RecodingRefused("wrong_state", job.state)
        state = "previewing" if job.started_at is None else "running"
        await _save(unit.connection, recoding_id, state=state)
        unit.schedule(RECODING, recoding_id, unit.now, {})

    async def cancel(self, unit: Unit, recoding_id: str, by: str) -> None:
        """End it; what was appended stays. Raises RecodingRefused."""
        job = await _job(unit.connection, recoding_id)
        if job.state not in {*BUSY, "previewed"}:
            raise RecodingRefused("wrong_state", job.state)
        unit.cancel(RECODING, recoding_id)
        await self._end(unit, job, "cancelled", by=by)

    async def run(self, unit: Unit, timers: Sequence[Timer]) -> None:
        """Timer: the next batch of each job that is at work."""
        for timer in timers:
            await self._batch(unit, timer)

    async def _batch(self, unit: Unit, timer: Timer) -> None:
        job = await _job(unit.connection, timer.key, lock=True)
        if job.state not in {"previewing", "running"}:
            return
        coder = await self._books.coder(unit.connection)
        if coder is None or coder.version != job.rulebook_version:
            await self._end(unit, job, "overtaken", timer=timer)
            return
        table = tables.sealed
        chosen = _chosen(select(table, *_KNOWN), job.since, job.until, job.motive)
        chosen = chosen.where(table.c.interaction_id > job.position).order_by(table.c.interaction_id).limit(BATCH)
        rows = (await unit.connection.execute(chosen)).all()
        counts, moves = Counter(job.counts), Counter({(one[0], one[1]): one[2] for one in job.moves})
        await self._again(unit, job, coder, rows, counts, moves)
        values: dict[str, Any] = {
            "position": rows[-1].interaction_id if rows else job.position,
            "counts": dict(counts),
            "moves": [[before, after, count] for (before, after), count in sorted(moves.items())],
        }
        if len(rows) == BATCH:
            await _save(unit.connection, job.recoding_id, **values)
            # The pace counts from the beginning of the batch, so that the work itself is part of it.
            pause = timedelta(seconds=len(rows) / job.per_second)
            unit.schedule(RECODING, job.recoding_id, max(unit.now, timer.due) + pause, {}, cause=timer)
        elif job.state == "previewing":
            await _save(unit.connection, job.recoding_id, **values, state="previewed")
        else:
            await _save(unit.connection, job.recoding_id, **values)
            await self._end(unit, await _job(unit.connection, job.recoding_id), "done", timer=timer)

    async def _again(
        self,
        unit: Unit,
        job: Any,
        coder: Coder,
        rows: Sequence[Any],
        counts: Counter[str],
        moves: Counter[tuple[str, str]],
    ) -> None:
        counts["looked_at"] += len(rows)
        counts["by_people"] += sum(row.decided_by == PERSON for row in rows)
        left = [row for row in rows if row.decided_by != PERSON]
        events = [archive.event_of(row) for row in left]
        opened = await unit.open(events)
        asked: list[tuple[Any, Any, InteractionRecorded]] = []
        for row, event, contact in zip(left, events, opened, strict=True):
            assert isinstance(contact, InteractionRecorded)
            if archive.erased(event, contact):
                counts["erased"] += 1
            else:
                asked.append((row, event, contact))
        decisions, coder = await self._coding.decide(unit, coder, [contact for _, _, contact in asked])
        running = job.state == "running"
        streams = await unit.streams([stream_of(row.interaction_id) for row, _, _ in asked]) if running else {}
        kept: list[dict[str, Any]] = []
        async for (row, event, contact), decision in in_turns(zip(asked, decisions, strict=True)):
            same = (row.motive, row.cause) == (decision.motive, decision.cause)
            if row.rulebook_version > coder.version:
                continue
            if not same:
                counts["changed"] += 1
                if row.motive != decision.motive:
                    moves[row.motive, decision.motive] += 1
            if same and (row.rulebook_version, family(row.model_version)) == (
                coder.version,
                family(coder.model_version),
            ):
                continue
            counts["appended"] += 1
            if running:
                kept.append(
                    self._append(unit, job, coder, event, contact, decision, streams[stream_of(row.interaction_id)][-1])
                )
        await keep(unit.connection, kept)

    def _append(
        self,
        unit: Unit,
        job: Any,
        coder: Coder,
        event: Any,
        contact: InteractionRecorded,
        decision: Decision,
        last: Any,
    ) -> dict[str, Any]:
        before = decode(last)
        assert isinstance(before, InteractionClassified)
        data = self._coding.classified(contact, decision, coder, revision=before.revision + 1)
        data = data.model_copy(update={"effects": Effects.HISTORY, "recoding": job.recoding_id})
        unit.emit(
            Draft(
                stream=stream_of(contact.interaction_id),
                data=data,
                key=contact.customer_id,
                time=unit.now,
                id=natural_id("recoding", job.recoding_id, contact.interaction_id),
                cause=event,
            ),
            expected=last.streamversion,
        )
        return decision_row(data, unit.now)

    async def _end(
        self, unit: Unit, job: Any, outcome: str, *, by: str | None = None, timer: Timer | None = None
    ) -> None:
        await _save(unit.connection, job.recoding_id, state=outcome, ended_at=unit.now)
        if job.started_at is None:
            return
        moves = [Move(before=before, after=after, count=count) for before, after, count in job.moves]
        ended = RecodingEnded(
            recoding_id=job.recoding_id, at=unit.now, outcome=outcome, by=by, moves=moves, **job.counts
        )
        stream = stream_of_job(job.recoding_id)
        unit.emit(Draft(stream=stream, data=ended, key=RECODING, time=unit.now, cause=timer), expected=1)


_KNOWN = (
    tables.decisions.c.motive,
    tables.decisions.c.cause,
    tables.decisions.c.decided_by,
    tables.decisions.c.rulebook_version,
    tables.decisions.c.model_version,
)


def _chosen(what: Select[Any], since: datetime | None, until: datetime | None, motive: str | None) -> Select[Any]:
    """The contacts a job is about: those kept and coded, perhaps of some days, perhaps of one motive."""
    sealed, found = tables.sealed, tables.decisions
    query = what.select_from(sealed.join(found, found.c.interaction_id == sealed.c.interaction_id))
    if since is not None:
        query = query.where(found.c.occurred_at >= since)
    if until is not None:
        query = query.where(found.c.occurred_at < until)
    if motive is not None:
        query = query.where(found.c.motive == motive)
    return query


async def _job(connection: AsyncConnection, recoding_id: str, *, lock: bool = False) -> Any:
    query = select(tables.recodings).where(tables.recodings.c.recoding_id == recoding_id)
    row = (await connection.execute(query.with_for_update() if lock else query)).one_or_none()
    if row is None:
        raise RecodingRefused("unknown")
    return row


async def _save(connection: AsyncConnection, recoding_id: str, **values: Any) -> None:
    table = tables.recodings
    await connection.execute(update(table).where(table.c.recoding_id == recoding_id).values(**values))


async def recodings(connection: AsyncConnection, after: Any, limit: int) -> list[dict[str, Any]]:
    """Jobs, newest first."""
    table = tables.recodings
    query = select(table)
    if after is not None:
        at, identity = datetime.fromisoformat(after[0]), after[1]
        query = query.where((table.c.asked_at < at) | ((table.c.asked_at == at) & (table.c.recoding_id < identity)))
    query = query.order_by(table.c.asked_at.desc(), table.c.recoding_id.desc()).limit(limit + 1)
    return [dict(row._mapping) for row in await connection.execute(query)]  # noqa: SLF001  # the public way to a row's names


async def recoding(connection: AsyncConnection, recoding_id: str) -> dict[str, Any]:
    """One job. Raises RecodingRefused."""
    return dict((await _job(connection, recoding_id))._mapping)  # noqa: SLF001  # the public way to a row's names


def shown(row: dict[str, Any]) -> dict[str, Any]:
    """A job as the API gives it: how far it is, and what went where."""
    counts = row["counts"]
    job = {name: value for name, value in row.items() if name not in {"position", "counts", "moves", "preview"}}
    share = counts["looked_at"] / row["total"] if row["total"] else 1.0
    preview = row["preview"]
    return {
        **job,
        **counts,
        "share": round(min(share, 1.0), 4),
        "moves": _listed(row["moves"]),
        "preview": None
        if preview is None
        else {"total": preview["total"], **preview["counts"], "moves": _listed(preview["moves"])},
    }


def _listed(moves: Sequence[Sequence[Any]]) -> list[dict[str, Any]]:
    ranked = sorted(moves, key=lambda one: (-one[2], one[0], one[1]))
    return [{"before": before, "after": after, "count": count} for before, after, count in ranked]
