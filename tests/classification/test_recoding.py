"""The past coded again as a job: previewed, started by a person, killed and resumed, paced; nobody is written to about it."""

import asyncio
import contextlib
import json
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from libs.events.catalogue import decode
from libs.events.catalogue.classifications import InteractionClassified
from libs.events.catalogue.coding import RecodingEnded, RecodingStarted
from libs.events.catalogue.interactions import Effects
from libs.events.clock import SimulatedClock, SystemClock
from libs.service.testing import MASTER_KEY, Running, running
from services.classification import recoding, tables
from services.classification.app import build as classification
from services.classification.coding import decision_row
from services.feedback.app import build as feedback
from services.intake.app import build as intake
from tests.classification.test_service import OPERATOR, ROOT, START, contact, publish, send, source

JOBS = "/classification/v1/recodings"
BEFORE, AFTER = "care.wait", "care.no_answer"
MOVED = "Estuve en la fila con el turno en la mano"
STAYS = "Se cayó el internet, no tengo internet en la casa"
SECOND = OPERATOR.replace(b"hora esperando, fila, turno, nadie", b"hora esperando, nadie").replace(
    b"La fila de la tienda era eterna", b"Esperando sin fin"
).replace(b"es: [no me dan respuesta,", b"es: [fila, turno, no me dan respuesta,").replace(
    b"es: Fila, turno o l", b"es: L"
)  # fmt: skip


async def ask(run: Running, **body: Any) -> dict[str, Any]:
    answer = await run.client.post(JOBS, json={"by": "ana", "per_second": 100_000, **body})
    assert answer.status_code == 202, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def job(run: Running, recoding_id: str) -> dict[str, Any]:
    found: dict[str, Any] = (await run.client.get(f"{JOBS}/{recoding_id}")).json()
    return found


async def until(run: Running, recoding_id: str, state: str, timeout: float = 60) -> dict[str, Any]:
    """Let time pass until the job is in the state."""
    end = time.monotonic() + timeout
    while (found := await job(run, recoding_id))["state"] != state:
        assert time.monotonic() < end, found
        if isinstance(run.environment.clock, SimulatedClock):
            run.environment.clock.advance(timedelta(seconds=1))
        await asyncio.sleep(0.02)
    return found


async def events_of(run: Running, service: str) -> int:
    store = run.services[service].runtime.store
    async with store.reading() as connection:
        return int((await connection.execute(select(func.count()).select_from(store.tables.events))).scalar_one())


async def decisions(run: Running) -> dict[str, list[InteractionClassified]]:
    """Every decision there is, by interaction, and the rows compared with their fold."""
    async with run.services["classification"].runtime.store.unit() as unit:
        rows = {
            row.interaction_id: dict(row._mapping) for row in await unit.connection.execute(select(tables.decisions))
        }
        streams = await unit.streams([f"classification/{identity}" for identity in rows])
    found: dict[str, list[InteractionClassified]] = {}
    for identity, row in rows.items():
        events = streams[f"classification/{identity}"]
        found[identity] = [data for data in map(decode, events) if isinstance(data, InteractionClassified)]
        assert row == decision_row(found[identity][-1], events[-1].time)
    return found


async def test_the_past_is_previewed_then_coded_again_and_nobody_is_written_to_G1_G11(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recoding, "BATCH", 4)
    async with running(intake, classification, feedback, clock=SimulatedClock(START)) as run:
        await source(run)
        assert (await run.client.post(JOBS, json={})).status_code == 404
        assert (await publish(run)).status_code == 201
        sent = await send(run, [contact(number, MOVED if number % 2 else STAYS) for number in range(18)])
        await run.settle()
        path = "/classification/v1/interactions/{}/label"
        person = await run.client.post(path.format(sent[1]), json={"motive": "care.rude", "by": "ben"})
        assert person.status_code == 200
        gone = (await run.client.get(f"/classification/v1/interactions/{sent[3]}")).json()["customer_id"]
        await run.environment.vault.erase(gone)
        assert (await publish(run, SECOND)).status_code == 201
        await run.settle()
        before = await decisions(run)
        assert {before[identity][-1].motive for identity in (*sent[5::2], sent[3])} == {BEFORE}
        told = await events_of(run, "feedback")
        own = await events_of(run, "classification")

        asked = await ask(run)
        assert (await run.client.post(JOBS, json={})).status_code == 409
        seen = await until(run, asked["recoding_id"], "previewed")
        assert (seen["looked_at"], seen["total"], seen["share"]) == (18, 18, 1.0)
        assert (seen["by_people"], seen["erased"], seen["changed"], seen["appended"]) == (1, 1, 7, 16)
        assert seen["moves"] == [{"before": BEFORE, "after": AFTER, "count": 7}]
        assert await events_of(run, "classification") == own
        assert await decisions(run) == before

        started = await run.client.post(f"{JOBS}/{asked['recoding_id']}/start", json={"by": "eva"})
        assert started.status_code == 202, started.text
        done = await until(run, asked["recoding_id"], "done")
        await run.settle()
        assert done["moves"] == done["preview"]["moves"] == seen["moves"]
        assert (done["started_by"], done["changed"], done["appended"]) == ("eva", 7, 16)
        after = await decisions(run)
        for identity in sent:
            assert after[identity][: len(before[identity])] == before[identity]
            added = after[identity][len(before[identity]) :]
            assert len(added) == (0 if identity in {sent[1], sent[3]} else 1)
            assert all(
                (one.effects, one.recoding, one.rulebook_version) == (Effects.HISTORY, asked["recoding_id"], 2)
                for one in added
            )
        assert Counter(after[identity][-1].motive for identity in sent)[AFTER] == 7
        assert after[sent[1]][-1].motive == "care.rude"
        assert await events_of(run, "feedback") == told
        async with run.services["classification"].runtime.store.unit() as unit:
            first, last = [decode(event) for event in await unit.stream(f"recoding/{asked['recoding_id']}")]
        assert isinstance(first, RecodingStarted)
        assert isinstance(last, RecodingEnded)
        assert (first.by, first.total, last.outcome, last.changed) == ("eva", 18, "done", 7)
        assert [(move.before, move.after, move.count) for move in last.moves] == [(BEFORE, AFTER, 7)]

        again = await ask(run)
        nothing = await until(run, again["recoding_id"], "previewed")
        assert (nothing["changed"], nothing["appended"]) == (0, 0)
        listed = (await run.client.get(JOBS)).json()["items"]
        assert [one["recoding_id"] for one in listed] == [again["recoding_id"], asked["recoding_id"]]


async def test_a_job_is_paced_paused_resumed_cancelled_and_overtaken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recoding, "BATCH", 2)
    clock = SimulatedClock(START)
    async with running(intake, classification, clock=clock) as run:
        await source(run)
        await publish(run)
        await send(run, [contact(number, MOVED) for number in range(10)])
        await run.settle()
        asked = await ask(run, per_second=2)
        one = asked["recoding_id"]
        await run.settle()
        assert (await job(run, one))["looked_at"] == 2
        clock.advance(timedelta(seconds=0.5))
        await run.settle()
        assert (await job(run, one))["looked_at"] == 2
        clock.advance(timedelta(seconds=0.5))
        await run.settle()
        assert (await job(run, one))["looked_at"] == 4
        assert (await run.client.post(f"{JOBS}/{one}/start", json={})).status_code == 409
        assert (await run.client.post(f"{JOBS}/{one}/pause")).json()["state"] == "paused"
        clock.advance(timedelta(seconds=60))
        await run.settle()
        assert (await job(run, one))["looked_at"] == 4
        assert (await run.client.post(f"{JOBS}/{one}/resume")).json()["state"] == "previewing"
        assert (await until(run, one, "previewed"))["looked_at"] == 10
        assert (await publish(run, SECOND)).status_code == 201
        late = await run.client.post(f"{JOBS}/{one}/start", json={})
        assert (late.status_code, late.json()["errors"][0]["code"]) == (409, "overtaken")
        assert (await run.client.post(f"{JOBS}/{one}/cancel", json={})).json()["state"] == "cancelled"
        two = (await ask(run, per_second=2))["recoding_id"]
        assert (await publish(run, OPERATOR)).status_code == 201
        assert (await until(run, two, "overtaken"))["looked_at"] < 10
        assert (await run.client.get(f"{JOBS}/none")).status_code == 404
        for body in ({"per_second": 0}, {"since": "yesterday"}, {"since": "2026-01-01T00:00:00"}, {"all": True}):
            assert (await run.client.post(JOBS, json=body)).status_code == 422, body


async def test_a_job_is_about_the_days_and_the_motive_that_were_asked_for() -> None:
    async with running(intake, classification, clock=SimulatedClock(START)) as run:
        await source(run)
        await publish(run)
        await send(run, [contact(number, MOVED) for number in range(3)])
        await send(run, [contact(9, MOVED, occurred_at=(START - timedelta(days=40)).isoformat()), contact(10, STAYS)])
        await run.settle()
        recent = await ask(run, since=(START - timedelta(days=1)).isoformat(), motive=BEFORE)
        assert (await until(run, recent["recoding_id"], "previewed"))["total"] == 3
        old = await ask(run, until=(START - timedelta(days=1)).isoformat())
        assert (await until(run, old["recoding_id"], "previewed"))["total"] == 1


CHILD = """
import asyncio, sys
from pathlib import Path
from libs.service.testing import running
from services.classification import recoding
from services.classification.app import build as classification

async def main():
    recoding.BATCH = 5
    async with running(classification, data=Path(sys.argv[1])) as run:
        answer = await run.client.post("/classification/v1/recodings/" + sys.argv[2] + "/start", json={"by": "ana"})
        assert answer.status_code == 202, answer.text
        await asyncio.sleep(60)

asyncio.run(main())
"""


async def test_a_killed_job_goes_on_where_it_was_and_no_decision_is_missing_or_doubled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recoding, "BATCH", 5)
    data = tmp_path / "data"
    async with running(intake, classification, data=data, clock=SystemClock()) as run:
        await source(run)
        await publish(run)
        sent = await send(run, [contact(number, MOVED) for number in range(60)])
        await run.settle()
        await publish(run, SECOND)
        await run.settle()
        asked = (await ask(run))["recoding_id"]
        await until(run, asked, "previewed")
    # The fourth batch is handled and not committed: the process ends there as SIGKILL would end it.
    child = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", CHILD, str(data), asked],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "LAZO_FAULT_POINT": "timer.handled:4", "LAZO_MASTER_KEY": MASTER_KEY},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert child.returncode == 137, child.stderr.decode()
    with contextlib.closing(sqlite3.connect(data / "classification.db")) as left:
        counts, state = left.execute("SELECT counts, state FROM recodings").fetchone()
    assert (json.loads(counts)["looked_at"], state) == (15, "running")
    async with running(intake, classification, data=data, clock=SystemClock()) as run:
        done = await until(run, asked, "done")
        await run.settle()
        assert (done["looked_at"], done["changed"], done["appended"]) == (60, 60, 60)
        found = await decisions(run)
        for identity in sent:
            assert [one.motive for one in found[identity]] == [BEFORE, AFTER]
            assert [one.revision for one in found[identity]] == [1, 2]


async def test_lazo_recode_shows_what_would_change_and_does_it_when_told(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with running(intake, classification, data=data, clock=SystemClock()) as run:
        await source(run)
        await publish(run)
        await send(run, [contact(number, MOVED) for number in range(5)])
        await run.settle()
        await publish(run, SECOND)
        await run.settle()

    def lazo(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "services", "recode", "--data", str(data), "--per-second", "100000", *arguments],
            cwd=ROOT,
            env={"PATH": "/usr/bin:/bin", "LAZO_MASTER_KEY": MASTER_KEY, "LAZO_LANGUAGE": "en"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )

    seen = await asyncio.to_thread(lazo)
    assert seen.returncode == 0, seen.stderr
    assert f"5  {BEFORE} → {AFTER}" in seen.stdout
    assert "only shown" in seen.stdout
    done = await asyncio.to_thread(lazo, "--yes", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["state"], told["changed"], told["preview"]["changed"]) == ("done", 5, 5)
    wrong = await asyncio.to_thread(lazo, "--per-second", "0")
    assert wrong.returncode == 2
    async with running(classification, data=data, clock=SystemClock()) as run:
        assert {one[-1].motive for one in (await decisions(run)).values()} == {AFTER}
