"""What is around a running Lazo fails: the disk is full, the broker is away. It says so, keeps what it promised, and goes on by itself."""

from __future__ import annotations

import asyncio
import os
import resource
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from libs.events.clock import SimulatedClock
from libs.service.testing import EnginePair, running
from services.classification.app import build as classification
from services.feedback.app import build as feedback
from services.indicators.app import build as indicators
from services.intake.app import build as intake
from services.operating import statuses
from tests.e2e.server import Server
from tests.engines.kafka import KafkaServer


def fact(number: int | str, text: str = "Me cobraron dos veces") -> dict[str, Any]:
    return {
        "source": "crm",
        "external_id": f"o-{number}",
        "kind": "complaint",
        "channel": "web",
        "occurred_at": (datetime.now(UTC) - timedelta(hours=1)).isoformat(),
        "customer": {"id": f"c-{number}"},
        "text": text,
    }


class Disk:
    """A small one of its own where that may be mounted; else the process is allowed no larger files than it has."""

    SIZE = 48 * 1024 * 1024

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={self.SIZE}", "tmpfs", str(folder)]
        self.mounted = os.geteuid() == 0 and subprocess.run(command, capture_output=True, check=False).returncode == 0

    def fill(self, pid: int) -> None:
        if self.mounted:
            with suppress(OSError), (self.folder / "ballast").open("wb", buffering=0) as file:
                while True:
                    file.write(b"\0" * 4096)
            return
        _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (4096, hard))

    def clear(self, pid: int) -> None:
        if self.mounted:
            (self.folder / "ballast").unlink()
            return
        _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))

    def close(self) -> None:
        if self.mounted:
            subprocess.run(["umount", "-l", str(self.folder)], capture_output=True, check=False)


@contextmanager
def disk(folder: Path) -> Iterator[Disk]:
    one = Disk(folder)
    try:
        yield one
    finally:
        one.close()


def test_a_full_disk_is_503_until_there_is_room_and_nothing_is_half_written_or_lost_G7(tmp_path: Path) -> None:
    with disk(tmp_path / "disk") as small:
        server = Server(small.folder, {})
        try:
            server.up()
            assert server.post([fact(n) for n in range(50)]).status_code == 202
            server.site.settled()
            pid = server.process.pid
            small.fill(pid)
            refused = []
            for number in range(1_000, 1_400):
                batch = [fact(f"{number}-{n}", text=f"{number} " * 2_000) for n in range(10)]
                answer = server.post(batch)
                if answer.status_code != 202:
                    refused.append(batch)
                    assert answer.status_code == 503, answer.text
                    assert int(answer.headers["retry-after"]) >= 1
                    assert answer.headers["content-type"] == "application/problem+json"
                    if len(refused) == 3:
                        break
            assert len(refused) == 3, "the disk was never full"
            for path in ("/health/live", "/intake/v1/status", "/feedback/v1/cases"):
                assert server.client.get(path).status_code == 200, path
            small.clear(pid)
            end = time.monotonic() + 60
            for batch in refused:
                while (answer := server.post(batch)).status_code == 503:
                    assert time.monotonic() < end, "there is room, and it still refuses"
                    time.sleep(0.2)
                assert answer.json()["accepted"] + answer.json()["duplicates"] == len(batch)
                # What was refused had left nothing behind.
                assert answer.json()["duplicates"] == 0, "half of a refused batch was kept"
            assert server.received() == len(server.accepted)
            assert server.status("classification")["parked"] == 0
            assert server.process.stop() == 0, server.process.tail()
            assert "everything holds" in server.site.command("verify")
        finally:
            server.close()


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_while_the_broker_is_away_intake_goes_on_says_what_waits_and_everything_drains(
    tmp_path: Path, own_kafka: KafkaServer, postgres_url: str
) -> None:
    server = Server(tmp_path, {"LAZO_KAFKA": own_kafka.bootstrap, "LAZO_DATABASE": postgres_url})
    try:
        server.up()
        assert server.post([fact(n) for n in range(20)]).status_code == 202
        assert server.received() == 20
        own_kafka.kill()
        began = time.monotonic()
        for number in range(100, 130):
            assert server.post(fact(number)).status_code == 202, "the broker is nobody's business here"
        assert (time.monotonic() - began) / 30 < 1, "each waited for the broker"
        status = server.status("intake")
        assert (status["pending"], status["idle"]) == (30, False)
        assert status["oldest_seconds"] is not None
        assert server.client.get("/health/live").status_code == 200
        told = httpx.get(f"{server.process.url}/health/ready", timeout=20)
        assert told.status_code in {200, 503}
        assert len(server.client.get("/feedback/v1/cases?limit=100").json()["items"]) == 20, "reading goes on too"
        own_kafka.start()
        assert server.received() == len(server.accepted) == 50
        assert server.status("intake")["pending"] == 0
        assert server.process.stop() == 0, server.process.tail()
        assert "everything holds" in server.site.command("verify")
    finally:
        server.close()


async def test_started_again_with_everything_consumed_a_service_is_idle(engines: EnginePair) -> None:
    """Kafka's transaction markers stand behind the last record; they are nothing that is left to do."""
    clock = SimulatedClock(datetime.now(UTC))
    for round_ in range(2):
        async with running(intake, classification, clock=clock, engines=engines) as run:
            if round_ == 0:
                await run.client.post("/intake/v1/sources", json={"id": "crm", "name": "CRM"})
                answer = await run.client.post("/intake/v1/interactions", json=[fact(n) for n in range(20)])
                assert answer.json()["accepted"] == 20, answer.text
            await run.settle()
            for service in run.services.values():
                # For a moment, while it looks up its timers again, it does not know: one of several looks must find it so.
                looks = []
                for _ in range(100):
                    looks.append((await service.runtime.status()).idle)
                    if looks[-1]:
                        break
                    await asyncio.sleep(0.02)
                assert looks[-1], service.name


async def test_with_nothing_running_the_status_says_what_is_left_to_do(engines: EnginePair) -> None:
    """From the stores and the log: what intake kept and published, and what the others have not read."""
    async with running(intake, engines=engines) as run:
        await run.client.post("/intake/v1/sources", json={"id": "crm", "name": "CRM"})
        answer = await run.client.post("/intake/v1/interactions", json=[fact(n) for n in range(7)])
        assert answer.json()["accepted"] == 7, answer.text
        await run.settle()
        settings = run.environment.settings
    async with running(classification, feedback, indicators, engines=engines):
        pass  # their databases are made; what they read meanwhile is read
    resting = settings.model_copy(update={"port": 9})  # nobody listens there
    found = await statuses(resting, None)
    assert set(found) == {"intake", "classification", "feedback", "indicators"}
    assert (found["intake"]["pending"], found["intake"]["parked"], found["intake"]["running"]) == (0, 0, False)
    for name in ("classification", "feedback", "indicators"):
        # Eight facts for each of its consumer groups; on Kafka the markers of the transactions they came in as well.
        assert 0 <= found[name]["behind"] <= 2 * (8 + 8), found
        assert found[name]["idle"] is False
