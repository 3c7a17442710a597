"""A service as a process: it starts, refuses to start with one line that names the remedy, and stops without cutting off."""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from libs.service.lock import DirectoryInUse, DirectoryLock
from services.__main__ import app
from tests.engines.postgres import free_port

ROOT = Path(__file__).resolve().parents[2]
KEY = "bGF6bydzIHRlc3RzIHVzZSB0aGlzIGtleSBhbmQgbm8gb3RoZXIgb25l"


def _environment(data: Path, **more: str) -> dict[str, str]:
    plain = {name: value for name, value in os.environ.items() if not name.startswith("LAZO_")}
    return plain | {"LAZO_DATA": str(data), "LAZO_LANGUAGE": "en", "LAZO_LOG_FORMAT": "json"} | more


class Child:
    """The toy, started; `address` once it answers ready."""

    def __init__(self, data: Path, command: Sequence[str] = (), **more: str) -> None:
        self.port = int(more.pop("LAZO_PORT", free_port()))
        self.address = f"http://127.0.0.1:{self.port}"
        self.process = subprocess.Popen(
            command or [sys.executable, "-m", "tests.service.toy"],
            cwd=ROOT,
            env=_environment(data, LAZO_PORT=str(self.port), **more),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def ready(self, seconds: float = 30) -> "Child":
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise AssertionError(f"ended with {self.process.returncode}: {self.process.stderr.read()}")  # type: ignore[union-attr]  # piped
            with suppress(httpx.TransportError):
                if httpx.get(f"{self.address}/health/ready", timeout=5).status_code == 200:
                    return self
            time.sleep(0.05)
        raise AssertionError("not ready in time")

    def stop(self, number: int = signal.SIGTERM, seconds: float = 20) -> tuple[int, str, str]:
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=seconds)
        return self.process.returncode, out, err


@contextmanager
def child(data: Path, command: Sequence[str] = (), **more: str) -> Iterator[Child]:
    found = Child(data, command, **more)
    try:
        yield found
    finally:
        if found.process.poll() is None:
            found.process.kill()
        found.process.communicate()


@dataclass
class Said:
    returncode: int
    stdout: str
    stderr: str


def _lazo(data: Path, *arguments: str, **more: str) -> Said:
    """The command, in this process: a child would spend two seconds importing. One test runs it as a child."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("LAZO_")]:
            patch.delenv(name)
        for name, value in _environment(data, **more).items():
            patch.setenv(name, value)
        found = CliRunner().invoke(app, arguments)
    if found.exception is not None and not isinstance(found.exception, SystemExit):
        raise found.exception
    return Said(found.exit_code, found.stdout, found.stderr)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_starts_says_where_it_is_and_ends_cleanly(tmp_path: Path, number: int) -> None:
    with child(tmp_path / "data", LAZO_MASTER_KEY=KEY) as toy:
        toy.ready()
        code, out, err = toy.stop(number)
        assert code == 0, err
        assert out == f"Lazo is ready at http://localhost:{toy.port}  (data: {tmp_path / 'data'}; Ctrl-C to stop)\n"
        [started] = [json.loads(line) for line in err.splitlines() if '"starting"' in line]
        assert started["settings"]["port"] == str(toy.port)
        assert KEY not in err


async def test_what_is_in_hand_at_a_stop_is_finished_and_nothing_new_is_taken(tmp_path: Path) -> None:
    with child(tmp_path / "data") as toy:
        await asyncio.to_thread(toy.ready)
        key = (
            await asyncio.to_thread(_lazo, tmp_path / "data", "keys", "create", "--name", "t", "--scope", "*:admin")
        ).stdout.strip()
        async with httpx.AsyncClient(
            base_url=toy.address, headers={"Authorization": f"Bearer {key}"}, timeout=60
        ) as client:
            slow = asyncio.create_task(client.get("/toy/v1/slow"))
            made = [asyncio.create_task(client.post("/toy/v1/things", json={"name": f"n{n}"})) for n in range(20)]
            assert {answer.status_code for answer in await asyncio.gather(*made)} == {201}
            await asyncio.sleep(0.1)
            toy.process.send_signal(signal.SIGTERM)
            answer = await slow
            assert (answer.status_code, answer.json()) == (200, "done")
            code = await asyncio.to_thread(toy.process.wait, 20)
            assert code == 0
            with pytest.raises(httpx.ConnectError):
                await client.get("/health/live")
    # Everything that was accepted was published and consumed before the end, or is after the next start: once.
    with child(tmp_path / "data") as again:
        await asyncio.to_thread(again.ready)
        assert await asyncio.to_thread(_count_reaches, again, 20) == 20


def _count_reaches(toy: Child, wanted: int) -> int:
    end = time.monotonic() + 20
    while (found := int(httpx.get(f"{toy.address}/toy/v1/count").json())) < wanted and time.monotonic() < end:
        time.sleep(0.05)
    return found


def test_a_second_process_on_the_same_directory_is_refused_with_the_remedy(tmp_path: Path) -> None:
    with child(tmp_path / "data") as first:
        first.ready()
        with child(tmp_path / "data") as second:
            _, err = second.process.communicate(timeout=30)
            assert second.process.returncode == 1
        [line] = [line for line in err.splitlines() if line.startswith("lazo: ")]
        assert str(tmp_path / "data") in line
        assert f"process {first.process.pid}" in line
        assert "--data" in line
        assert first.ready().stop()[0] == 0
    with child(tmp_path / "data") as third:
        third.ready()
        third.process.kill()
        third.process.wait()
    # A killed process leaves no lock behind.
    with child(tmp_path / "data") as fourth:
        fourth.ready()


def test_a_port_in_use_is_named_before_anything_is_opened(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with child(tmp_path / "data", LAZO_PORT=str(port)) as toy:
            _, err = toy.process.communicate(timeout=30)
            assert toy.process.returncode == 1
            assert err.splitlines()[-1].startswith(f"lazo: cannot listen on 127.0.0.1:{port} (")
            assert "--port" in err.splitlines()[-1]
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("setting", "value", "code", "text"),
    [
        ("LAZO_LOG_LEVEL", "loud", 2, "lazo: LAZO_LOG_LEVEL=loud: "),
        ("LAZO_MASTER_KEY", "c2hvcnQ=", 1, "lazo: the master key has 5 bytes"),
        ("LAZO_DATA", "/proc/nothing", 1, "lazo: /proc/nothing: "),
    ],
)
def test_what_cannot_start_says_so_in_one_line(tmp_path: Path, setting: str, value: str, code: int, text: str) -> None:
    with child(tmp_path / "data", **{setting: value}) as toy:
        _, err = toy.process.communicate(timeout=30)
        assert toy.process.returncode == code
        assert err.splitlines()[-1].startswith(text), err
        assert "Traceback" not in err


def test_another_master_key_than_the_vaults_is_refused(tmp_path: Path) -> None:
    _lazo(tmp_path, "keys", "create", "--name", "n", "--scope", "*:read")
    with child(tmp_path, LAZO_MASTER_KEY=KEY) as toy:
        _, err = toy.process.communicate(timeout=30)
        assert toy.process.returncode == 1
        assert "lazo: the master key is not the one this vault was made with" in err


def test_while_the_broker_is_away_it_says_that_it_is_starting_and_still_ends_cleanly(tmp_path: Path) -> None:
    with child(tmp_path, LAZO_KAFKA=f"127.0.0.1:{free_port()}") as toy:
        end = time.monotonic() + 60
        while time.monotonic() < end:
            with suppress(httpx.TransportError):
                if httpx.get(f"{toy.address}/health/live", timeout=5).status_code == 200:
                    break
            time.sleep(0.05)
        answer = httpx.get(f"{toy.address}/health/ready", timeout=5)
        assert (answer.status_code, answer.json()["reasons"]) == (503, {"services": "starting"})
        for language, detail in (("es", "el servicio está arrancando"), ("en", "the service is starting")):
            answer = httpx.get(f"{toy.address}/toy/v1/count", timeout=5, headers={"Accept-Language": language})
            assert (answer.status_code, answer.headers["retry-after"], answer.json()["detail"]) == (503, "1", detail)
        assert toy.stop()[0] == 0


def test_a_lock_is_free_again_when_it_is_released(tmp_path: Path) -> None:
    lock = DirectoryLock(tmp_path)
    lock.take()
    with pytest.raises(DirectoryInUse, match=f"process {os.getpid()}"):
        DirectoryLock(tmp_path).take()
    lock.release()
    other = DirectoryLock(tmp_path)
    other.take()
    other.release()


# -- the command ---------------------------------------------------------------------------------------------------------


def test_a_key_is_printed_alone_on_standard_output(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "services", "keys", "create", "--name", "n", "--scope", "*:admin"]
    made = subprocess.run(command, cwd=ROOT, env=_environment(tmp_path), capture_output=True, text=True, check=True)
    assert re.fullmatch(r"lz_[a-z0-9]{8}_[a-z0-9]{32}\n", made.stdout)
    assert made.stderr == ""


def test_keys_are_made_listed_and_revoked_while_nothing_runs(tmp_path: Path) -> None:
    made = _lazo(
        tmp_path,
        "keys",
        "create",
        "--name",
        "CRM of Bogotá",
        "--scope",
        "intake:write",
        "--scope",
        "intake:read",
        "--source",
        "crm",
    )
    assert made.returncode == 0, made.stderr
    key = made.stdout.removesuffix("\n")
    assert key.startswith("lz_")
    assert "\n" not in key
    assert made.stderr == ""
    [row] = json.loads(_lazo(tmp_path, "keys", "list", "--json").stdout)
    assert (row["name"], row["scopes"], row["source"], row["state"]) == (
        "CRM of Bogotá", ["intake:read", "intake:write"], "crm", "live",
    )  # fmt: skip
    assert key not in str(row)
    assert "live" in _lazo(tmp_path, "keys", "list").stdout
    assert _lazo(tmp_path, "keys", "revoke", row["id"]).returncode == 0
    assert json.loads(_lazo(tmp_path, "keys", "list", "--json").stdout)[0]["state"] == "revoked"
    again = _lazo(tmp_path, "keys", "revoke", row["id"])
    assert again.returncode == 1
    assert again.stderr == f"lazo: no live key has the id or name '{row['id']}'\n"


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["keys", "create", "--name", "n", "--scope", "intake:everything"], 2, "'intake:everything' is no scope"),
        (["keys", "create", "--name", " ", "--scope", "intake:read"], 1, "a key needs a name"),
        (["keys", "create", "--name", "n"], 2, "--scope"),
        (["serve", "billing"], 2, "'billing' is no service: intake"),
        (["up", "--port", "99999"], 2, "--port=99999"),
        (["topics", "apply"], 1, "LAZO_KAFKA is not set"),
        (["status"], 1, "nothing answers at http://127.0.0.1:"),
        (["status", "--url", "http://127.0.0.1:9"], 1, "nothing answers at http://127.0.0.1:9"),
        (["nonsense"], 2, "nonsense"),
    ],
    ids=lambda value: " ".join(value)[:30] if isinstance(value, list) else None,
)
def test_wrong_usage_is_told_in_words(tmp_path: Path, arguments: list[str], code: int, text: str) -> None:
    found = _lazo(tmp_path, *arguments, LAZO_PORT=str(free_port()))
    assert found.returncode == code, found.stderr
    assert text in found.stderr
    assert "Traceback" not in found.stderr


def test_a_key_made_beside_a_running_service_counts_at_once_and_a_revoked_one_soon_not(tmp_path: Path) -> None:
    with child(tmp_path, LAZO_KEYS_CACHE="1") as toy:
        toy.ready()
        key = _lazo(tmp_path, "keys", "create", "--name", "n", "--scope", "*:admin").stdout.strip()
        headers: dict[str, Any] = {"Authorization": f"Bearer {key}"}
        assert httpx.get(f"{toy.address}/toy/v1/things", headers=headers).status_code == 200
        assert _lazo(tmp_path, "keys", "revoke", "n").returncode == 0
        end = time.monotonic() + 10
        while httpx.get(f"{toy.address}/toy/v1/things", headers=headers).status_code == 200 and time.monotonic() < end:
            time.sleep(0.05)
        assert httpx.get(f"{toy.address}/toy/v1/things", headers=headers).status_code == 401


def test_the_help_names_every_command() -> None:
    found = subprocess.run(
        [sys.executable, "-m", "services", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for command in ("up", "serve", "keys", "topics", "migrate", "status"):
        assert f"  {command} " in found.stdout


@pytest.mark.slow
def test_all_four_services_start_in_one_process_answer_and_end(tmp_path: Path) -> None:
    port = free_port()
    command = [sys.executable, "-m", "services", "up", "--data", str(tmp_path / "data"), "--port", str(port)]
    with child(tmp_path / "data", command=command, LAZO_PORT=str(port)) as lazo:
        lazo.ready(60)
        body = httpx.get(f"{lazo.address}/health/ready", timeout=20).json()
        assert body == {"status": "ready", "services": ["classification", "feedback", "indicators", "intake"]}
        key = _lazo(tmp_path / "data", "keys", "create", "--name", "n", "--scope", "*:admin").stdout.strip()
        for name in body["services"]:
            headers = {"Authorization": f"Bearer {key}"}
            status = httpx.get(f"{lazo.address}/{name}/v1/status", headers=headers, timeout=20).json()
            assert set(status) == {"behind", "pending", "parked", "oldest_seconds", "idle"}
            assert httpx.get(f"{lazo.address}/{name}/v1/status", timeout=20).status_code == 401
            assert httpx.get(f"{lazo.address}/{name}/docs", timeout=20).status_code == 200
        told = _lazo(tmp_path / "data", "status", "--json", "--url", lazo.address)
        assert set(json.loads(told.stdout)) == set(body["services"])
        refused = _lazo(tmp_path / "data", "migrate")
        assert refused.returncode == 1
        assert "is in use by process" in refused.stderr
        assert lazo.stop(seconds=40)[0] == 0
    done = _lazo(tmp_path / "data", "migrate")
    assert done.returncode == 0, done.stderr
    assert [line.partition(":")[0] for line in done.stdout.splitlines()] == [
        "intake",
        "classification",
        "feedback",
        "indicators",
    ]
