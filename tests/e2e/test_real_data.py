"""Both public files by `lazo import`, killed on the way, on both pairs of engines: exact totals, coded, counted, nobody written to."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from libs.events.clock import SimulatedClock
from libs.service.settings import Settings, load
from libs.service.testing import MASTER_KEY, EnginePair, Running, running
from services.classification.app import build as classification
from services.feedback.app import build as feedback
from services.indicators.app import build as indicators
from services.intake.app import build as intake
from services.verifying import lines, verify_all
from tests.e2e.ledger import everything

ROOT = Path(__file__).resolve().parents[2]
OPERATOR = ROOT / "deploy" / "rulebooks" / "operator.yaml"
# file, source, rows that are facts, rows that are none: 6 rows of the first have neither text nor id, as its mapping says.
FILES = (
    ("cmf_reclamos_es/con_clas.csv", "cmf", 999, 6),
    ("cfpb_narratives/Consumer_Complaints.csv", "cfpb", 3_947, 0),
)
FACTS = sum(accepted for _, _, accepted, _ in FILES)
STORED = "SELECT count(*) FROM {table} WHERE stream LIKE 'interaction/%'"


class Importer:
    """`lazo import` as a child process on one pair of engines."""

    def __init__(self, engines: Any) -> None:
        self.engines = engines
        self._loop = asyncio.Runner()  # for one connection: it looks 200 times a second
        self._connection: Any = None
        plain = {name: value for name, value in os.environ.items() if not name.startswith("LAZO_")}
        self.environment = plain | engines.environment | {"LAZO_MASTER_KEY": MASTER_KEY, "LAZO_LANGUAGE": "en"}

    def start(self, file: Path, source: str) -> subprocess.Popen[str]:
        mapping = ROOT / "deploy" / "mappings" / f"{source}.yaml"
        command = [sys.executable, "-m", "services", "import", str(file), "--source", source, "--mapping", str(mapping)]
        return subprocess.Popen(
            [*command, "--json"],
            cwd=ROOT,
            env=self.environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def totals(self, file: Path, source: str) -> dict[str, Any]:
        process = self.start(file, source)
        out, said = process.communicate(timeout=180)
        assert process.returncode == 0, said
        found: dict[str, Any] = json.loads(out)
        return found

    def killed(self, file: Path, source: str, more: int) -> int:
        """Start it, SIGKILL it once so many facts more are stored; how many are stored then."""
        wanted = self.stored() + more
        process = self.start(file, source)
        try:
            end = time.monotonic() + 120
            while self.stored() < wanted:
                assert process.poll() is None, "it ended before it could be killed"
                assert time.monotonic() < end, "it never stored that much"
                time.sleep(0.005)
        finally:
            process.kill()
            process.communicate()
        return self.stored()

    def stored(self) -> int:
        """Interactions in intake's store, read from outside; 0 before there is one."""
        if self.engines.database is not None:
            return self._loop.run(self._stored())
        try:
            with contextlib.closing(sqlite3.connect(f"file:{self.engines.data}/intake.db?mode=ro", uri=True)) as db:
                return int(db.execute(STORED.format(table="events")).fetchone()[0])
        except sqlite3.OperationalError:
            return 0

    async def _stored(self) -> int:
        if self._connection is None:
            self._connection = await asyncpg.connect(self.engines.database.replace("+asyncpg", ""))
        try:
            return int(await self._connection.fetchval(STORED.format(table="intake.events")))
        except asyncpg.UndefinedTableError:
            return 0

    def close(self) -> None:
        if self._connection is not None:
            self._loop.run(self._connection.close())
        self._loop.close()


async def coded_counted_and_seen(run: Running) -> None:
    for service in run.services.values():
        status = await service.runtime.status()
        assert (status.behind, status.pending, status.parked) == (0, 0, 0), service.name
    asked = {"from": "2014-01-01", "to": "2018-12-31", "granularity": "month", "tz": "UTC"}
    path = "/indicators/v1/indicators/complaints_received"
    points = (await run.client.get(path, params=asked | {"group_by": "source"})).json()["points"]
    for _, source, accepted, _ in FILES:
        assert sum(point["value"] for point in points if point["group"]["source"] == source) == accepted
    models = (await run.client.get("/classification/v1/models")).json()["items"]
    assert sum(model["decisions"] for model in models) == FACTS, "not every complaint was coded once"
    points = (await run.client.get(path, params=asked | {"group_by": "motive"})).json()["points"]
    assert sum(point["value"] for point in points) == FACTS
    shares = (await run.client.get("/indicators/v1/indicators/motive_share", params=asked)).json()["points"]
    known = sum(point["numerator"] for point in shares)
    assert known == sum(point["value"] for point in points if point["group"]["motive"] != "unknown")
    assert 0 < known < FACTS, "a telecom's rulebook knows some motives of banking, and not all"
    assert await everything(run.client, "/feedback/v1/requests", state="all") == [], (
        "somebody is written to about history"
    )
    pareto = (await run.client.get("/indicators/v1/pareto", params={"from": "2014-01-01", "to": "2018-12-31"})).json()
    assert pareto["cases"] == known, "the ranking is of coded cases"
    # The console shows the same: what is ranked and what could not be coded stand in the page.
    form = {"content-type": "application/x-www-form-urlencoded"}
    assert (await run.client.post("/login", content=f"key={run.key}", headers=form)).status_code == 303
    page = await run.client.get("/causes?from=2014-01-01&to=2018-12-31&lang=en")
    assert page.status_code == 200
    assert f"{known:,}" in page.text
    assert f"{FACTS - known:,}" in page.text


async def services_take_it_in(engines: EnginePair) -> None:
    clock = SimulatedClock(datetime.now(UTC))
    builders = (intake, classification, feedback, indicators)
    async with running(*builders, clock=clock, engines=engines) as run:
        answer = await run.client.post(
            "/classification/v1/rulebook/publish",
            content=OPERATOR.read_bytes(),
            headers={"content-type": "application/yaml"},
        )
        assert answer.status_code == 201, answer.text
        await run.settle(180)
        clock.advance(timedelta(seconds=10))  # what is gathered of the past is judged
        await run.settle(180)
        await coded_counted_and_seen(run)


async def verified(engines: EnginePair) -> list[str]:
    """What `lazo verify` says, line by line."""
    given = {"data": engines.data, "kafka": engines.kafka, "database": engines.database}
    return lines(
        await verify_all(load(Settings, **given, kafka_prefix=engines.topic_prefix, master_key=MASTER_KEY)), "en"
    )


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_both_real_files_enter_exactly_once_through_kills_and_are_coded_and_counted_G6_G7(
    engines: Any, shared_data: Path, tmp_path: Path
) -> None:
    with contextlib.closing(Importer(engines)) as importer:
        both_files_are_imported(importer, shared_data, tmp_path)
    asyncio.run(services_take_it_in(engines))
    assert asyncio.run(verified(engines)) == []


def both_files_are_imported(importer: Importer, shared_data: Path, tmp_path: Path) -> None:
    before = 0
    for (name, source, accepted, skipped), kills in zip(FILES, ((1,), (1, 1_000)), strict=True):
        file = tmp_path / Path(name).name
        shutil.copyfile(shared_data / name, file)
        stored = before
        for more in kills:
            stored = importer.killed(file, source, more)
            assert before < stored < before + accepted, "it was to be killed half-way"
        totals = importer.totals(file, source)
        assert totals["rows"] == accepted + skipped
        assert totals["accepted"] + totals["duplicates"] == accepted
        assert totals["duplicates"] == stored - before
        assert (totals["skipped"], totals["rejected"], totals["different"]) == (skipped, 0, 0)
        before += accepted
        assert importer.stored() == before
        again = importer.totals(file, source)
        assert (again["accepted"], again["duplicates"], again["different"]) == (0, accepted, 0)
        assert importer.stored() == before == importer.stored()
