"""Lazo in real processes, as it is run: one process on the embedded engines, or four services on Kafka and PostgreSQL."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import httpx

from tests.engines.postgres import free_port

ROOT = Path(__file__).resolve().parents[2]
MASTER_KEY = "ZmF1bHQgcnVucyB1c2UgdGhpcyBrZXkgYW5kIG5vIG90aGVyIG9uZQ=="
SERVICES = ("intake", "classification", "feedback", "indicators")


class Process:
    """One program of the site. It may be killed, paused and started again; its output goes to a file."""

    def __init__(self, name: str, arguments: list[str], environment: Mapping[str, str], folder: Path) -> None:
        self.name, self.arguments, self.environment = name, arguments, dict(environment)
        self.log = folder / f"{name}.log"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.starts = 0
        self._child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Begin; does not wait for ready."""
        self.starts += 1
        with self.log.open("ab") as output:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "services", *self.arguments, "--port", str(self.port)],
                cwd=ROOT,
                env=os.environ | self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    def send(self, number: signal.Signals) -> None:
        if self._child is not None and self._child.poll() is None:
            self._child.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self.send(signal.SIGKILL)
        if self._child is not None:
            self._child.wait(10)

    def stop(self) -> int | None:
        """SIGTERM; the exit code."""
        self.send(signal.SIGTERM)
        return self._child.wait(40) if self._child is not None else None

    @property
    def pid(self) -> int:
        assert self._child is not None, "not started"
        return self._child.pid

    def running(self) -> bool:
        return self._child is not None and self._child.poll() is None

    def tail(self) -> str:
        return self.log.read_text("utf-8", "replace")[-4000:] if self.log.exists() else ""


class Site:
    """The processes and how to speak to each service."""

    def __init__(self, folder: Path, environment: Mapping[str, str], *, embedded: bool) -> None:
        self.folder = folder
        self.environment = {
            **environment,
            "LAZO_DATA": str(folder / "data"),
            "LAZO_MASTER_KEY": MASTER_KEY,
            "LAZO_LOG_LEVEL": "warning",
            "LAZO_ACCESS_LOG": "false",
            "LAZO_SHUTDOWN": "15",
        }
        if embedded:
            one = Process("up", ["up"], self.environment, folder)
            self.processes = [one]
            self.of = dict.fromkeys(SERVICES, one)
        else:
            self.processes = [Process(name, ["serve", name], self.environment, folder) for name in SERVICES]
            self.of = {process.name: process for process in self.processes}
        self.key = self.command("keys", "create", "--name", "faults", "--scope", "*:admin").strip()

    def command(self, *arguments: str) -> str:
        """What a `lazo` command prints; AssertionError with its error output when it fails."""
        done = subprocess.run(
            [sys.executable, "-m", "services", *arguments],
            cwd=ROOT,
            env=os.environ | self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"lazo {' '.join(arguments)}: {done.stdout.decode()} {done.stderr.decode()}"
        return done.stdout.decode()

    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}

    def url(self, path: str) -> str:
        """Where a public path is served: the gateway's job, done by the first part of the path."""
        return self.of[path.split("/")[1]].url + path

    def start(self) -> None:
        for process in self.processes:
            process.start()

    def ready(self, seconds: float = 60) -> None:
        """Wait until every process answers ready."""
        end = time.monotonic() + seconds
        for process in self.processes:
            while True:
                try:
                    answer = httpx.get(f"{process.url}/health/ready", timeout=5)
                    said = answer.text
                    if answer.status_code == 200:
                        break
                except httpx.HTTPError as error:
                    said = repr(error)
                assert time.monotonic() < end, f"{process.name} is not ready: {said}\n{process.tail()}"
                time.sleep(0.1)

    def settled(self, seconds: float = 60) -> None:
        """I13, liveness: without faults everything is consumed and published within `seconds`, with no manual step."""
        end = time.monotonic() + seconds
        quiet = 0
        while quiet < 3:
            found = {}
            for name in SERVICES:
                answer = httpx.get(self.url(f"/{name}/v1/status"), headers=self.headers(), timeout=20)
                found[name] = answer.json()
            calm = all(s.get("behind") == 0 and s.get("pending") == 0 and s.get("idle") for s in found.values())
            quiet = quiet + 1 if calm else 0
            assert time.monotonic() < end, f"I13: not settled after {seconds} s: {found}"
            time.sleep(0.15)

    def close(self) -> None:
        for process in self.processes:
            process.send(signal.SIGCONT)
            process.kill()
