"""Engines, services and peers for measuring: started when first asked for, stopped at the end."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import psutil

from tests.engines.kafka import KafkaServer
from tests.engines.postgres import ExternalPostgres, PostgresServer, create_database, free_port

ROOT = Path(__file__).resolve().parents[1]
PEER_PYTHON = ROOT / ".bench" / "peers" / "bin" / "python"
MASTER_KEY = "bGF6bydzIGJlbmNobWFya3MgdXNlIHRoaXMga2V5IGFuZCBubyBvdGhlcg=="
START_SECONDS = 60.0


class Failed(RuntimeError):
    """A program of a measurement did not do its part; the text has the end of what it said."""


class Served:
    """A `lazo` process that answers on a port."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, environment: dict[str, str], log: Path) -> None:
        self.process, self.port, self.environment, self.log = process, port, environment, log
        self.key = ""

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(self, method: str, path: str, body: Any = None, kind: str = "application/json") -> Any:
        """One call with the key; the decoded answer. Raises Failed for anything but success."""
        content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": kind}
        request = urllib.request.Request(self.address + path, content, headers, method=method)  # noqa: S310 - our own address
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - an address of this run
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            raise Failed(f"{method} {path}: {error.code} {error.read()[:500]!r}") from None

    def wait_ready(self, path: str = "/health/ready", timeout: float = START_SECONDS) -> float:
        """Seconds until ready."""
        began = time.perf_counter()
        while True:
            with contextlib.suppress(OSError), urllib.request.urlopen(self.address + path, timeout=5):  # noqa: S310 - an address of this run
                return time.perf_counter() - began
            if self.process.poll() is not None:
                raise Failed(f"ended with code {self.process.returncode}:\n{self.said()}")
            if time.perf_counter() - began > timeout:
                raise Failed(f"not ready after {timeout:g} s:\n{self.said()}")
            time.sleep(0.02)

    def settle(self, service: str, timeout: float = 300.0) -> None:
        """Wait until the service has nothing left to publish or to consume."""
        end = time.monotonic() + timeout
        while True:
            found = self.ask("GET", f"/{service}/v1/status")
            if found["pending"] == 0 and found["behind"] == 0:
                return
            if time.monotonic() > end:
                raise Failed(f"{service} still has {found}")
            time.sleep(0.05)

    def memory(self) -> int:
        """Resident bytes of the process and its children."""
        process = psutil.Process(self.process.pid)
        return int(sum(one.memory_info().rss for one in [process, *process.children(recursive=True)]))

    def said(self) -> str:
        return self.log.read_text(errors="replace")[-3000:]


class Lab:
    """What a benchmark works with. `quick` asks for shorter, rougher measurements."""

    def __init__(self, *, quick: bool = False) -> None:
        self.quick = quick
        self.directory = Path(tempfile.mkdtemp(prefix="lazo-bench-"))
        self._postgres: PostgresServer | ExternalPostgres | None = None
        self._kafka: KafkaServer | None = None
        self._children: list[subprocess.Popen[bytes]] = []
        self._prefixes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for child in self._children:
            self.end(child)
        if isinstance(self._postgres, PostgresServer):
            self._postgres.close()
        if self._kafka is not None:
            self._kafka.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    # Engines.

    def database(self) -> str:
        """URL of an empty database on a server with fsync on."""
        if self._postgres is None:
            named = os.environ.get("LAZO_TEST_POSTGRES")
            if named:
                self._postgres = ExternalPostgres(named)
            else:
                self._postgres = PostgresServer(durable=True)
                self._postgres.start()
        return create_database(self._postgres)

    def kafka(self) -> str:
        """`host:port` of the broker."""
        named = os.environ.get("LAZO_TEST_KAFKA")
        if named:
            return named
        if self._kafka is None:
            # Benchmarks keep millions of records; the tests' 384 MiB spend a fifth of their time collecting.
            self._kafka = KafkaServer(heap="1g")
            self._kafka.start()
        return self._kafka.bootstrap

    def prefix(self) -> str:
        """A prefix for topics and groups that nobody had before."""
        self._prefixes += 1
        return f"bench-{os.getpid()}-{self._prefixes}."

    # Programs.

    def environment(self, *, database: str | None, kafka: str | None, **more: str) -> dict[str, str]:
        """Variables for `lazo`, with a data directory of its own."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("LAZO_")}
        folder = tempfile.mkdtemp(prefix="data-", dir=self.directory)
        kept |= {"LAZO_DATA": folder, "LAZO_MASTER_KEY": MASTER_KEY, "LAZO_LANGUAGE": "en"}
        if database is not None:
            kept["LAZO_DATABASE"] = database
        if kafka is not None:
            kept |= {"LAZO_KAFKA": kafka, "LAZO_KAFKA_PREFIX": self.prefix()}
        return kept | more

    def spawn(self, command: Sequence[str], environment: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
        """A child whose output goes to a file, as a supervisor would keep it."""
        with log.open("ab") as said:
            child = subprocess.Popen(
                list(command), cwd=ROOT, env=dict(environment), stdin=subprocess.DEVNULL, stdout=said, stderr=said
            )
        self._children.append(child)
        return child

    def lazo(self, environment: dict[str, str], *arguments: str, wait: bool = True) -> Served:
        """A `lazo` command that serves; ready, and with a key, when this returns."""
        port = free_port()
        log = Path(environment["LAZO_DATA"]) / f"{port}.log"
        given = environment | {"LAZO_PORT": str(port)}
        child = self.spawn([sys.executable, "-m", "services", *arguments], given, log)
        served = Served(child, port, given, log)
        if wait:
            served.wait_ready()
            served.key = self.key(environment)
        return served

    def key(self, environment: Mapping[str, str]) -> str:
        """A new admin key."""
        command = [sys.executable, "-m", "services", "keys", "create", "--name", "bench", "--scope", "*:admin"]
        done = subprocess.run(command, cwd=ROOT, env=dict(environment), capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Failed(f"no key: {done.stderr[-1000:]}")
        return done.stdout.strip()

    def end(self, child: subprocess.Popen[bytes], timeout: float = 30.0) -> None:
        """Stop in order; a child that does not is killed."""
        if child.poll() is None:
            child.send_signal(signal.SIGTERM)
            try:
                child.wait(timeout)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait(5)

    def json_of(self, command: Sequence[str], timeout: float = 600.0) -> Any:
        """Run a driver to its end; the JSON of its last line."""
        done = subprocess.run(
            list(command), cwd=ROOT, capture_output=True, text=True, check=False, timeout=timeout, env=self._peer_env()
        )
        if done.returncode != 0:
            raise Failed(f"{' '.join(command[:4])}: {done.stderr[-2000:]}")
        return json.loads(done.stdout.strip().rpartition("\n")[2])

    def peer(self, script: str, *arguments: str) -> Any | None:
        """A peer's driver in the peers' own environment; None when that is not there or the peer cannot run."""
        if not PEER_PYTHON.exists():
            return None
        try:
            return self.json_of([str(PEER_PYTHON), str(ROOT / "bench" / "peers" / script), *arguments])
        except Failed as error:
            print(f"  peer {script}: {error}", file=sys.stderr)
            return None

    @staticmethod
    def _peer_env() -> dict[str, str]:
        return {name: value for name, value in os.environ.items() if not name.startswith(("LAZO_", "PYTHONPATH"))}


def note(text: str) -> None:
    """A line on standard error, so that somebody who waits sees something move."""
    print(f"  {text}", file=sys.stderr, flush=True)
