"""`lazo verify` as a person runs it: a process, its lines and its exit code."""

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from libs.events.verification import Break
from libs.service.environment import Environment
from libs.service.settings import Settings, load
from libs.service.testing import MASTER_KEY, running
from services.intake.app import build
from services.verifying import lines, verify_all


def lazo(data: Path, *arguments: str, language: str = "en") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "LAZO_DATA": str(data), "LAZO_MASTER_KEY": MASTER_KEY, "LAZO_LANGUAGE": language}
    command = [sys.executable, "-m", "services", "verify", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=100)


@pytest.fixture
async def data(tmp_path: Path) -> Path:
    """A data directory with thirty interactions that went through the real intake."""
    async with running(build, data=tmp_path) as lazo_up:
        made = await lazo_up.client.post("/intake/v1/sources", json={"id": "crm", "name": "CRM"})
        assert made.status_code in {200, 201}, made.text
        body = [
            {
                "source": "crm",
                "external_id": f"x{n}",
                "kind": "complaint",
                "channel": "web",
                "occurred_at": "2026-03-01T10:00:00-05:00",
                "customer": {"email": f"p{n % 5}@example.org"},
                "text": "No me llega la factura",
            }
            for n in range(30)
        ]
        answer = await lazo_up.client.post("/intake/v1/interactions", json=body)
        assert answer.status_code == 202, answer.text
        await lazo_up.settle()
    return tmp_path


def change(path: Path, statement: str) -> None:
    with sqlite3.connect(path) as db:
        assert db.execute(statement).rowcount == 1
    db.close()


@pytest.mark.slow
async def test_verify_passes_then_names_an_altered_byte_and_a_deleted_row(data: Path) -> None:
    """G6: the whole story of one directory."""
    whole = lazo(data)
    assert (whole.returncode, whole.stderr) == (0, "")
    assert whole.stdout.splitlines()[-1].endswith(": everything holds")

    with sqlite3.connect(data / "log.db") as db:
        [(partition, offset)] = db.execute(
            'SELECT partition, "offset" FROM records WHERE CAST(value AS TEXT) LIKE \'%"x7"%\''
        ).fetchall()
    db.close()
    where = f"topic = 'lazo.interactions' AND partition = {partition} AND \"offset\" = {offset}"
    change(
        data / "log.db", f"UPDATE records SET value = CAST(replace(value, '\"x7\"', '\"x8\"') AS BLOB) WHERE {where}"
    )
    altered = lazo(data)
    assert altered.returncode == 1
    [line, _] = altered.stdout.splitlines()
    assert line.startswith(f"lazo.interactions/{partition}/{offset}: the record was altered; differs from what intake")
    change(
        data / "log.db", f"UPDATE records SET value = CAST(replace(value, '\"x8\"', '\"x7\"') AS BLOB) WHERE {where}"
    )
    answer = json.loads(lazo(data, "--json").stdout)
    assert (answer["ok"], answer["breaks"]) == (True, [])

    with sqlite3.connect(data / "intake.db") as db:
        [(position, stream)] = db.execute(
            "SELECT position, stream FROM events WHERE CAST(data AS TEXT) LIKE '%\"x9\"%'"
        ).fetchall()
    db.close()
    change(data / "intake.db", f"DELETE FROM events WHERE position = {position}")
    torn = lazo(data, language="es")
    assert torn.returncode == 1
    assert torn.stdout.splitlines()[0].startswith(f"intake/{stream}/1: publicado (lazo.interactions/")
    assert len(torn.stdout.splitlines()) == 2


async def test_verify_runs_beside_a_running_service(tmp_path: Path) -> None:
    async with running(build, data=tmp_path):
        assert lazo(tmp_path).returncode == 0


async def test_what_a_service_finds_in_its_read_models_is_reported_each_and_by_place(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G8: the hook by which a service adds its own check."""

    async def verify(environment: Environment) -> list[Break]:
        assert await environment.log.ends("lazo.interactions")
        return [
            Break("intake/facts_a", "row-differs", {"row": "1"}),
            Break("intake/facts_a", "rows-foreign", {"rows": "2, 3", "count": 2}),
            Break("intake/sums", "count-differs", {"shown": 4, "wanted": 5}),
        ]

    module = ModuleType("services.intake.verify")
    module.verify = verify  # type: ignore[attr-defined]  # a module made for this test
    monkeypatch.setitem(sys.modules, "services.intake.verify", module)
    report = await verify_all(load(Settings, data=data, master_key=MASTER_KEY))
    assert lines(report, "en") == [
        "intake/facts_a: the row of 1 is missing or differs; rows that the events do not account for: 2, 3 (2 in all)",
        "intake/sums: the read model says 4, an independent fold of the log 5",
    ]
    assert lines(report, "es")[1] == "intake/sums: el modelo de lectura dice 4; un cálculo aparte sobre el registro, 5"
    assert len(report.breaks) == 3


def test_a_directory_with_nothing_in_it_is_refused_and_left_alone(tmp_path: Path) -> None:
    done = lazo(tmp_path / "none")
    assert done.returncode == 1
    assert "nothing to verify" in done.stderr
    assert not (tmp_path / "none").exists()


def test_a_log_that_is_no_database_ends_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "log.db").write_bytes(b"no database at all, no database at all" * 50)
    done = lazo(tmp_path)
    assert done.returncode == 1
    assert "not a database" in done.stderr
    assert "Traceback" not in done.stderr
