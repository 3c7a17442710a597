"""C1: coding beside everything else: the past coded again under another rulebook, killed on the way and resumed; and how long
coding a stream holds the event loop.

Limits: the coder alone over the same texts on one core, which no job of it can pass; and what a system that edits in place
does instead, one UPDATE a contact in transactions of the job's size, which keeps nothing of what was said before.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import sqlite3
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import yaml

from bench import backlog
from bench.lab import ROOT, Failed, Lab, Served, note
from bench.report import Bar, at_most, told
from services.classification.recoding import BATCH

OPERATOR = (ROOT / "deploy" / "rulebooks" / "operator.yaml").read_bytes()
CONTACTS, QUICK = 100_000, 4_000
JOBS = "/classification/v1/recodings"
YAML = "application/yaml"


def second() -> bytes:
    """The operator's rulebook with a split and a merge."""
    from tests.classification.test_preview import SECOND

    return SECOND.encode()


def texts() -> list[tuple[str, str]]:
    """Text and language: what the rulebook says customers write, of every motive."""
    book = yaml.safe_load(OPERATOR)
    return [
        (text, language)
        for motive in book["motives"]
        for field in ("terms", "examples")
        for language, several in motive.get(field, {}).items()
        for text in several
    ]


def bodies(count: int, at_once: int = 500) -> Iterator[bytes]:
    """NDJSON of contacts over a year, each of two or three things a customer may say."""
    random, every = Random(9), texts()
    for start in range(0, count, at_once):
        lines = []
        for number in range(start, min(start + at_once, count)):
            first, language = random.choice(every)
            others = [text for text, spoken in random.sample(every, 6) if spoken == language][:1]
            lines.append(
                json.dumps(
                    {
                        "source": "bench", "external_id": f"c1-{number}", "kind": random.choice(("complaint", "claim")),
                        "channel": "phone", "touchpoint": "call_centre", "customer": {"id": f"k-{random.randrange(20_000)}"},
                        "occurred_at": f"2025-{1 + number % 12:02}-{1 + number % 28:02}T{number % 24:02}:00:00Z",
                        "text": ". ".join([first, *others]),
                    },
                    ensure_ascii=False,
                )
            )  # fmt: skip
        yield "\n".join(lines).encode()


def run(lab: Lab) -> list[Bar]:
    bars = held(lab)
    count = QUICK if lab.quick else CONTACTS
    environment = lab.environment(database=None, kafka=None)
    served = lab.lazo(environment, "up")
    served.ask("POST", "/intake/v1/sources", {"id": "bench", "name": "bench"})
    served.ask("POST", "/classification/v1/rulebook/publish", OPERATOR, YAML)
    began = time.perf_counter()
    for body in bodies(count):
        served.ask("POST", "/intake/v1/interactions?effects=history", body, "application/x-ndjson")
    for service in ("intake", "classification"):
        served.settle(service, timeout=1800)
    note(f"C1 took in and coded {count:,} contacts in {time.perf_counter() - began:.0f} s")
    served.ask("POST", "/classification/v1/rulebook/publish", second(), YAML)
    job, previewed = followed(served, served.ask("POST", JOBS, {"per_second": 100_000}), "previewed")
    changes = job["changed"]
    served.ask("POST", f"{JOBS}/{job['recoding_id']}/start", {})
    served, job, seconds = killed_half_way(lab, served, job)
    events = counted(environment, job["recoding_id"])
    alone = lab.json_of([sys.executable, "-c", ALONE, str(min(count, 10_000))])["rate"]
    updates = in_place(lab, count)
    share = CONTACTS / count
    return [
        *bars,
        at_most("C1.preview", f"{count:,} previewed, nothing written, as for 100,000", previewed * share, "s", 600),
        Bar(
            "C1.recode", f"{count:,} coded again, killed once on the way, as for 100,000", seconds * share, "s", "<= 600 s",
            seconds * share <= 600, limit=600,
            peers={"coder alone": CONTACTS / alone, "UPDATE in place": CONTACTS / updates},
        ),
        Bar(
            "C1.whole", "decisions missing or doubled after the kill", float(abs(events - job["appended"])), "",
            "= 0", events == job["appended"] and job["looked_at"] == job["total"] == count and job["changed"] == changes,
            note=f"{events:,} appended, {changes:,} of them different",
        ),
    ]  # fmt: skip


def followed(served: Served, job: dict[str, Any], state: str, timeout: float = 1800) -> tuple[dict[str, Any], float]:
    """The job when it is in the state, and the seconds until then."""
    began = time.perf_counter()
    while job["state"] != state:
        if time.perf_counter() - began > timeout:
            raise Failed(f"still {job['state']} at {job['looked_at']} of {job['total']}")
        time.sleep(0.1)
        job = served.ask("GET", f"{JOBS}/{job['recoding_id']}")
    return job, time.perf_counter() - began


def killed_half_way(lab: Lab, served: Served, job: dict[str, Any]) -> tuple[Served, dict[str, Any], float]:
    """SIGKILL at half, start again on the same directory; the seconds of work without the start."""
    began = time.perf_counter()
    while (found := served.ask("GET", f"{JOBS}/{job['recoding_id']}"))["share"] < 0.5 and found["state"] == "running":
        time.sleep(0.05)
    os.kill(served.process.pid, signal.SIGKILL)
    served.process.wait(30)
    half = time.perf_counter() - began
    key = served.key
    again = lab.lazo(served.environment, "up", wait=False)
    again.wait_ready()
    again.key = key
    job, rest = followed(again, again.ask("GET", f"{JOBS}/{job['recoding_id']}"), "done")
    note(f"C1 killed at {found['share']:.0%}, went on and did the rest in {rest:.0f} s")
    again.settle("classification", timeout=600)
    return again, job, half + rest


def counted(environment: dict[str, str], recoding_id: str) -> int:
    """Decisions of the job in the store, each contact once."""
    file = Path(environment["LAZO_DATA"]) / "classification.db"
    with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as connection:
        query = "SELECT count(*), count(DISTINCT stream) FROM events WHERE instr(data, ?) > 0"
        every, streams = connection.execute(query, (recoding_id.encode(),)).fetchone()
        own = connection.execute(
            "SELECT count(*) FROM events WHERE stream = ?", (f"recoding/{recoding_id}",)
        ).fetchone()[0]
    if every - own != streams - 1:
        raise Failed(f"{every - own} decisions about {streams - 1} contacts")
    return int(every - own)


def in_place(lab: Lab, count: int) -> float:
    """UPDATEs a second in SQLite with the same durability, in transactions of the job's size."""
    with sqlite3.connect(lab.directory / "in-place.db", isolation_level=None) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("CREATE TABLE contact (id TEXT PRIMARY KEY, motive TEXT, cause TEXT)")
        connection.execute("BEGIN")
        connection.executemany(
            "INSERT INTO contact VALUES (?, 'a', 'b')", [(f"{number:036}",) for number in range(count)]
        )
        connection.execute("COMMIT")
        began = time.perf_counter()
        for start in range(0, count, BATCH):
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(
                "UPDATE contact SET motive = 'c', cause = 'd' WHERE id = ?",
                [(f"{number:036}",) for number in range(start, min(start + BATCH, count))],
            )
            connection.execute("COMMIT")
        return count / (time.perf_counter() - began)


ALONE = """
import json, sys, time
from datetime import UTC, datetime
from bench.c1 import bodies, second
from services.classification.domain.coder import Coder, Contact
from services.classification.rulebook_file import read
coder = Coder(read(second()).book, 2)
texts = [json.loads(line)["text"] for body in bodies(int(sys.argv[1])) for line in body.splitlines()]
contacts = [Contact(text, datetime(2025, 6, 1, tzinfo=UTC)) for text in texts]
began = time.perf_counter()
coder.code_many(contacts)
print(json.dumps({"rate": len(contacts) / (time.perf_counter() - began)}))
"""


def held(lab: Lab) -> list[Bar]:
    """The longest the loop's own thread worked in one go while a stream was taken in and coded, and while a backlog was judged."""
    longest, rate = asyncio.run(_stream(1_000 if lab.quick else 5_000))
    judging, late, seconds, verdicts = backlog.held(
        150 if lab.quick else 400, 40.0, int.from_bytes(os.urandom(4), "big")
    )
    return [
        at_most("C1.loop", "longest the loop was held while a stream was coded", 1000 * longest, "ms", 20),
        told("C1.stream", "taken in, coded and relayed, one process, SQLite", rate, "1/s"),
        at_most(
            "C1.judging",
            "longest the loop was held while a backlog was judged and told",
            1000 * judging,
            "ms",
            20,
            note=f"{verdicts} verdicts in {seconds:.1f} s",
        ),
        told("C1.late", "longest a task waited meanwhile, the judging thread's share included", 1000 * late, "ms"),
    ]


async def _stream(count: int) -> tuple[float, float]:
    from libs.events import garbage
    from libs.service.testing import running
    from services.classification.app import build as classification
    from services.intake.app import build as intake

    longest = 0.0

    async def watch() -> None:
        nonlocal longest
        while True:
            began = time.thread_time()
            await asyncio.sleep(0.001)
            longest = max(longest, time.thread_time() - began)

    async with running(intake, classification) as one:
        await one.client.post("/intake/v1/sources", json={"id": "bench", "name": "bench"})
        await one.client.post("/classification/v1/rulebook/publish", content=OPERATOR, headers={"content-type": YAML})
        warm, *rest = bodies(count + 100, 100)
        lines = {"content-type": "application/x-ndjson"}
        await one.client.post("/intake/v1/interactions", content=warm, headers=lines)
        await one.settle()
        before = gc.get_threshold()
        garbage.settle()  # as a server does when it has started
        watching, began = asyncio.create_task(watch()), time.perf_counter()
        for body in rest:
            await one.client.post("/intake/v1/interactions", content=body, headers=lines)
        await one.settle()
        seconds = time.perf_counter() - began
        watching.cancel()
        gc.set_threshold(*before)
        gc.unfreeze()
    return longest, count / seconds
