"""A PostgreSQL server for tests: a private cluster in a temporary directory, or the server that LAZO_TEST_POSTGRES names.

LAZO_TEST_POSTGRES is a URL of a role that may create databases, e.g. `postgresql://postgres:secret@localhost:5432/postgres`.
Any cluster that a distribution's package started by itself is left alone.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import ctypes
import os
import pwd
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import uuid
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self
from urllib.parse import urlsplit, urlunsplit

START_SECONDS = 60.0  # one second on an idle machine; crash recovery after a fault run takes a few
STOP_SECONDS = 20.0


class PostgresUnavailable(RuntimeError):
    """PostgreSQL cannot run here; the text says what is missing."""


def find_binaries() -> Path | None:
    """The directory with `initdb` and `postgres`: Debian keeps them off PATH, the newest version wins."""
    candidates = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: _number(path.parent.name), reverse=True
    )
    if found := shutil.which("postgres"):
        candidates.append(Path(found).resolve().parent)
    return next((path for path in candidates if (path / "initdb").exists() and (path / "postgres").exists()), None)


def _number(text: str) -> int:
    return int(digits.group()) if (digits := re.match(r"\d+", text)) else 0


def postgres_missing() -> str | None:
    """Why no server can be had here, or None."""
    if os.environ.get("LAZO_TEST_POSTGRES") or find_binaries():
        return None
    return "no PostgreSQL server: none in /usr/lib/postgresql or on PATH (Debian: apt-get install postgresql), and LAZO_TEST_POSTGRES is not set"


def free_port() -> int:
    """A port nobody listens on at this moment, below those the system lends to outgoing connections: one of these may be lent
    again before the server that was to have it listens."""
    for port in random.SystemRandom().sample(range(20_000, 32_000), 50):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise OSError("none of fifty ports is free")


def _die_with_parent() -> None:
    # A killed test run must not leave a cluster behind. SIGQUIT: immediate shutdown of the postmaster and its children.
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGQUIT)


async def _execute(url: str, statements: list[str]) -> None:
    import asyncpg

    connection = await asyncpg.connect(url, timeout=START_SECONDS)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


def execute(url: str, *statements: str) -> None:
    """Run statements outside a transaction, from synchronous or asynchronous code alike (a thread with a loop of its own)."""
    failure: list[BaseException] = []

    def run() -> None:
        try:
            asyncio.run(_execute(url, list(statements)))
        except BaseException as error:  # noqa: BLE001 - handed to the caller below
            failure.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failure:
        raise failure[0]


class Databases(Protocol):
    """What the fixtures need of a server, whether it is ours or somebody's."""

    @property
    def url(self) -> str: ...


def create_database(server: Databases, name: str | None = None) -> str:
    """Create an empty database and return its SQLAlchemy URL, `postgresql+asyncpg://…`."""
    name = name or f"lazo_{uuid.uuid4().hex[:16]}"
    execute(server.url, f'CREATE DATABASE "{name}"')
    parts = urlsplit(server.url)
    return urlunsplit(parts._replace(scheme="postgresql+asyncpg", path=f"/{name}"))


def drop_database(server: Databases, url: str) -> None:
    """Drop it whoever is still connected; a dropped database is no error."""
    name = urlsplit(url).path.removeprefix("/")
    execute(server.url, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


class ExternalPostgres:
    """The server LAZO_TEST_POSTGRES names: databases are created and dropped there, it is never stopped."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._url = urlunsplit(
            parts._replace(scheme="postgresql", path=parts.path if len(parts.path) > 1 else "/postgres")
        )

    @property
    def url(self) -> str:
        """Where databases are created from."""
        return self._url


class PostgresServer:
    """A cluster of our own. `start`, `stop`, `kill` (SIGKILL to every process), `pause`, `resume`; port and data stay across restarts.

    `durable=True` leaves fsync on, for benchmarks. Off, an acknowledged commit still survives `kill`: it is in the page cache.
    """

    def __init__(self, *, durable: bool = False, settings: dict[str, str] | None = None) -> None:
        binaries = find_binaries()
        if binaries is None:
            raise PostgresUnavailable(postgres_missing() or "no PostgreSQL")
        self._binaries = binaries
        self.port = free_port()
        self._directory = _temporary_directory()
        self.data = self._directory / "data"
        self._settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "max_connections": "200",
            "shared_buffers": "128MB",
            "fsync": "on" if durable else "off",
            "full_page_writes": "on" if durable else "off",
            "log_min_messages": "warning",
            "timezone": "UTC",
        } | (settings or {})
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The maintenance database; `create_database` makes the ones to work in."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    @property
    def pid(self) -> int | None:
        """The postmaster's process id while it runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    @property
    def log(self) -> Path:
        """What the server said."""
        return self._directory / "server.log"

    def start(self, timeout: float = START_SECONDS) -> None:
        """Create the cluster on first use, start it, return when it accepts queries. Raises PostgresUnavailable with the log's end."""
        if not self.data.exists():
            command = [
                str(self._binaries / "initdb"),
                "-D",
                str(self.data),
                "-U",
                "postgres",
                "-A",
                "trust",
                "-E",
                "UTF8",
            ]
            command += ["--locale=C.UTF-8", "--no-sync"]
            made = subprocess.run(
                command, capture_output=True, text=True, check=False, timeout=timeout, **self._identity()
            )
            if made.returncode != 0:
                raise PostgresUnavailable(f"initdb failed:\n{made.stdout[-1000:]}{made.stderr[-2000:]}")
        arguments = [f"-c{name}={value}" for name, value in self._settings.items()]
        in_main = threading.current_thread() is threading.main_thread()  # the death signal follows the forking thread
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [str(self._binaries / "postgres"), "-D", str(self.data), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_die_with_parent if in_main else None,  # noqa: PLW1509 - one prctl call, no locks taken
                **self._identity(),
            )
        deadline = time.monotonic() + timeout
        ready = [str(self._binaries / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        while subprocess.run(ready, check=False).returncode != 0:
            if self._process.poll() is not None:
                raise PostgresUnavailable(f"postgres ended with code {self._process.returncode}:\n{self._tail()}")
            if time.monotonic() > deadline:
                self.kill()
                raise PostgresUnavailable(f"no answer on port {self.port} after {timeout:.0f} s:\n{self._tail()}")
            time.sleep(0.05)

    def stop(self, timeout: float = STOP_SECONDS) -> None:
        """Fast shutdown: open transactions are rolled back, clients disconnected."""
        self._end(signal.SIGINT, timeout)

    def kill(self) -> None:
        """SIGKILL to the postmaster and all its children: the next start goes through crash recovery."""
        if self._process is None:
            return
        # Children lead sessions of their own, so no signal to a group reaches them; and once the parent is dead nobody can name them.
        children = _children(self._process.pid)
        for target in (self._process.pid, *children):
            with contextlib.suppress(ProcessLookupError):
                os.kill(target, signal.SIGKILL)
        self._process.wait(STOP_SECONDS)
        self._process = None
        deadline = time.monotonic() + STOP_SECONDS
        while any(_alive(child) for child in children) and time.monotonic() < deadline:
            time.sleep(0.01)  # a living backend keeps the shared memory, and the next start would refuse

    def pause(self) -> None:
        """SIGSTOP to every process of the server."""
        self._signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT after `pause`."""
        self._signal_all(signal.SIGCONT)

    def close(self) -> None:
        """Stop at once and remove the cluster."""
        self._end(signal.SIGQUIT, STOP_SECONDS)
        shutil.rmtree(self._directory, ignore_errors=True)

    def __enter__(self) -> Self:
        atexit.register(self.close)
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        atexit.unregister(self.close)

    def _end(self, number: signal.Signals, timeout: float) -> None:
        if self._process is None:
            return
        if self._process.poll() is None:
            self._signal_all(signal.SIGCONT)
            self._process.send_signal(number)
            try:
                self._process.wait(timeout)
            except subprocess.TimeoutExpired:
                self.kill()
        self._process = None

    def _signal_all(self, number: signal.Signals) -> None:
        if (pid := self.pid) is None:
            raise PostgresUnavailable("the server does not run")
        for target in (pid, *_children(pid)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(target, number)

    def _identity(self) -> dict[str, Any]:
        """Keyword arguments for subprocess: the server refuses to run as root."""
        user = _unprivileged_user()
        return {} if user is None else {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": [], "cwd": "/"}

    def _tail(self) -> str:
        return self.log.read_text(errors="replace")[-3000:] if self.log.exists() else "(no log)"


def _children(pid: int) -> list[int]:
    listed = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False
    ).stdout
    return [int(word) for word in listed.split()]


def _alive(pid: int) -> bool:
    state = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False
    ).stdout.strip()
    return bool(state) and not state.startswith("Z")


def _unprivileged_user() -> pwd.struct_passwd | None:
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise PostgresUnavailable("running as root, and neither user `postgres` nor `nobody` exists to run the server as")


def _temporary_directory() -> Path:
    """A directory the server's user may enter: TMPDIR may lie below somebody's closed home."""
    user = _unprivileged_user()
    for parent in (None, "/tmp", "/var/tmp"):
        directory = Path(tempfile.mkdtemp(prefix="lazo-postgres-", dir=parent))
        if user is None:
            return directory
        os.chown(directory, user.pw_uid, user.pw_gid)
        probe = subprocess.run(
            ["/bin/sh", "-c", 'test -w "$0"', str(directory)],
            check=False,
            user=user.pw_uid,
            group=user.pw_gid,
            extra_groups=[],
            cwd="/",
        )
        if probe.returncode == 0:
            return directory
        directory.rmdir()
    raise PostgresUnavailable(f"no temporary directory that user `{user.pw_name if user else '?'}` may write to")
