#!/usr/bin/env python3
"""Apache Kafka on this machine, from its jars: one node, KRaft, nothing installed and no container.

    python3 deploy/kafka-local/kafka_local.py fetch
    python3 deploy/kafka-local/kafka_local.py start --data DIR [--port 9092] [--detach]
    python3 deploy/kafka-local/kafka_local.py stop --data DIR

Needs Java 17 or newer, and Maven for the first `fetch`. Standard library only, so it runs before any environment exists;
the tests import `KafkaLocal` from here. The jars (43 MB) are kept in `.cache/` of the checkout, or where LAZO_KAFKA_JARS says.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import ctypes
import fcntl
import hashlib
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path
from types import FrameType

HERE = Path(__file__).resolve().parent
CACHE = HERE.parents[1] / ".cache"
# 384 MiB: the broker of a whole test session peaks near 320 MB resident; 256 MiB ran into long collections under 500,000 events.
HEAP = "384m"
START_SECONDS = 60.0  # four to six seconds on two idle cores; a laptop that compiles beside it takes longer
STOP_SECONDS = 20.0


class KafkaUnavailable(RuntimeError):
    """Kafka cannot run here; the text says what is missing and how to get it."""


def find_java() -> str:
    """The path of a Java 17 or newer; raises KafkaUnavailable."""
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=f"{home}/bin") if home else None
    java = java or shutil.which("java")
    if java is None:
        raise KafkaUnavailable("no `java` on PATH; Debian: apt-get install openjdk-17-jre-headless")
    text = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    version = text.split('"')[1] if '"' in text else "0"
    if int(version.split(".")[0].split("-")[0]) < 17:
        raise KafkaUnavailable(f"Java {version} is too old for Apache Kafka 4; 17 or newer is needed")
    return java


def jars_directory() -> Path:
    """Where the jars are, or will be: its name changes with the pom, so an upgrade never mixes two versions."""
    if named := os.environ.get("LAZO_KAFKA_JARS"):
        return Path(named)
    return CACHE / f"kafka-{hashlib.sha256((HERE / 'pom.xml').read_bytes()).hexdigest()[:12]}"


def fetch() -> Path:
    """Resolve the jars by Maven once; later calls return at once. Safe when several processes ask together."""
    target = jars_directory()
    if target.is_dir():
        return target
    maven = shutil.which("mvn")
    if maven is None:
        raise KafkaUnavailable("no `mvn` on PATH to fetch Apache Kafka's jars; Debian: apt-get install maven")
    target.parent.mkdir(parents=True, exist_ok=True)
    with (target.parent / "kafka.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if target.is_dir():
            return target
        partial = target.with_name(target.name + ".partial")
        shutil.rmtree(partial, ignore_errors=True)
        command = [maven, "--batch-mode", "--quiet", "--strict-checksums", "-f", str(HERE / "pom.xml")]
        command += ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={partial}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0 or not any(partial.glob("kafka_2.13-*.jar")):
            raise KafkaUnavailable(f"Maven could not fetch Apache Kafka:\n{(done.stdout + done.stderr)[-2000:]}")
        partial.rename(target)  # whole or absent, never half
    return target


def free_port() -> int:
    """A port nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(host: str, port: int, timeout: float = 1.0) -> bool:
    """Whether a broker answers ApiVersions: the socket opens seconds before requests are served."""
    request = struct.pack(">hhih", 18, 0, 1, -1)
    try:
        with socket.create_connection((host, port), timeout=timeout) as wire:
            wire.sendall(struct.pack(">i", len(request)) + request)
            header = wire.recv(8, socket.MSG_WAITALL)
            return len(header) == 8 and struct.unpack(">ii", header)[1] == 1
    except OSError:
        return False


def _die_with_parent() -> None:
    # A test run that is killed must not leave a JVM behind. The signal follows the *thread* that forked, hence only from the main one.
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)


class KafkaLocal:
    """One broker (and controller) on a data directory. The same object may be started, killed and started again: ports and data stay."""

    def __init__(self, data: Path, port: int = 0, *, host: str = "127.0.0.1", heap: str = HEAP) -> None:
        self.data = data.resolve()
        self.host = host
        self.port = port or free_port()
        self.heap = heap
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap(self) -> str:
        """`host:port`, for `bootstrap_servers`."""
        return f"{self.host}:{self.port}"

    @property
    def pid(self) -> int | None:
        """The broker's process id while it runs."""
        if self._process is not None:
            return self._process.pid if self._process.poll() is None else None
        return self._recorded_pid()

    @property
    def log(self) -> Path:
        """What the broker said: warnings and worse."""
        return self.data / "broker.log"

    def start(self, timeout: float = START_SECONDS, *, detach: bool = False) -> None:
        """Format on first use, start, and return when requests are answered. Raises KafkaUnavailable with the end of the log."""
        if self.pid is not None:
            raise KafkaUnavailable(f"already running as process {self.pid} on {self.data}")
        if answers(self.host, self.port):
            raise KafkaUnavailable(f"{self.bootstrap} is taken by another broker")
        java, jars = find_java(), fetch()
        self.data.mkdir(parents=True, exist_ok=True)
        config = self._configure()
        base = [java, f"-Xmx{self.heap}", "-XX:+ExitOnOutOfMemoryError", "-Djava.awt.headless=true", "-XX:-UsePerfData"]
        base += [f"-Dlog4j2.configurationFile={(HERE / 'log4j2.properties').as_uri()}", "-cp", f"{jars}/*"]
        with self.log.open("ab") as log:
            if not (self.data / "log" / "meta.properties").exists():
                cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "A", 1)
                tool = ["kafka.tools.StorageTool", "format", "--cluster-id", cluster, "--config", str(config)]
                command = [*base[:1], "-XX:TieredStopAtLevel=1", *base[1:], *tool]
                if subprocess.run(command, stdout=log, stderr=log, check=False, timeout=timeout).returncode != 0:
                    raise KafkaUnavailable(f"formatting {self.data} failed:\n{self._tail()}")
            mine = not detach and threading.current_thread() is threading.main_thread()
            self._process = subprocess.Popen(
                [*base, "kafka.Kafka", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C in the terminal reaches us; we stop the broker in order
                preexec_fn=_die_with_parent if mine else None,  # noqa: PLW1509 - one prctl call, no locks taken
            )
        (self.data / "kafka.pid").write_text(f"{self._process.pid}\n")
        deadline = time.monotonic() + timeout
        while not answers(self.host, self.port):
            if self._process.poll() is not None:
                raise KafkaUnavailable(f"the broker ended with code {self._process.returncode}:\n{self._tail()}")
            if time.monotonic() > deadline:
                self.kill()
                raise KafkaUnavailable(f"no answer on {self.bootstrap} after {timeout:.0f} s:\n{self._tail()}")
            time.sleep(0.1)

    def stop(self, timeout: float = STOP_SECONDS) -> None:
        """Controlled shutdown; killed when it takes longer than `timeout` seconds. Nothing happens when it does not run."""
        self._end(signal.SIGTERM, timeout)

    def kill(self) -> None:
        """SIGKILL: what a power cut looks like to clients. Data the broker acknowledged is in the page cache and survives."""
        self._end(signal.SIGKILL, STOP_SECONDS)

    def pause(self) -> None:
        """SIGSTOP: the broker is there and says nothing. Returns when all of its threads stand, if this process started it."""
        self._signal(signal.SIGSTOP)
        if self._process is not None and hasattr(
            os, "waitid"
        ):  # a thread may answer one more request while the signal is on its way
            os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def resume(self) -> None:
        """SIGCONT after `pause`."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if (pid := self.pid) is None:
            raise KafkaUnavailable(f"no broker runs on {self.data}")
        os.kill(pid, number)

    def _end(self, number: signal.Signals, timeout: float) -> None:
        if (pid := self.pid) is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)  # a paused process does not hear SIGTERM
                os.kill(pid, number)
            deadline = time.monotonic() + timeout
            while self.pid is not None:
                if time.monotonic() > deadline:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                    deadline += STOP_SECONDS
                time.sleep(0.02)
        self._process = None
        (self.data / "kafka.pid").unlink(missing_ok=True)

    def _recorded_pid(self) -> int | None:
        try:
            pid = int((self.data / "kafka.pid").read_text())
            os.kill(pid, 0)
        except (FileNotFoundError, ValueError, ProcessLookupError):
            return None
        command = Path(f"/proc/{pid}/cmdline")  # the number may belong to somebody else by now
        if command.exists() and str(self.data).encode() not in command.read_bytes():
            return None
        return pid

    def _configure(self) -> Path:
        config = self.data / "server.properties"
        if config.exists():
            # The controller's port is written into the quorum: keep it, or the node cannot find itself again.
            old = dict(line.split("=", 1) for line in config.read_text().splitlines() if "=" in line)
            controller = int(old["controller.quorum.voters"].rsplit(":", 1)[1])
        else:
            controller = free_port()
        settings = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",
            "controller.listener.names": "CONTROLLER",
            "listeners": f"PLAINTEXT://{self.host}:{self.port},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": f"PLAINTEXT://{self.bootstrap}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "log.dirs": str(self.data / "log"),
            "auto.create.topics.enable": "false",  # a misspelt topic is an error, not a new topic
            "num.partitions": "3",
            "default.replication.factor": "1",
            "min.insync.replicas": "1",
            # 50 partitions each by default; eight start and recover several seconds sooner
            "offsets.topic.num.partitions": "8",
            "offsets.topic.replication.factor": "1",
            "transaction.state.log.num.partitions": "8",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "share.coordinator.state.topic.num.partitions": "1",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
            # A killed broker may register again only when its old session has run out: 14 s to be back with the default of 9 s.
            "broker.session.timeout.ms": "3000",
            "broker.heartbeat.interval.ms": "500",
            "group.initial.rebalance.delay.ms": "0",
            "group.min.session.timeout.ms": "1000",
            "log.retention.ms": "-1",  # events are kept; a topic may say otherwise for itself
            "log.segment.bytes": str(64 * 1024 * 1024),
            "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
            "delete.topic.enable": "true",
        }
        config.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        return config

    def _tail(self) -> str:
        return self.log.read_text(errors="replace")[-3000:] if self.log.exists() else "(no log)"


def _run_in_foreground(broker: KafkaLocal) -> int:
    def end(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, end)
    try:
        broker.start()
        print(f"Apache Kafka answers on {broker.bootstrap}; LAZO_KAFKA={broker.bootstrap}; Ctrl-C stops it", flush=True)
        while broker.pid is not None:
            time.sleep(0.5)
    except KeyboardInterrupt:
        broker.stop()
        return 0
    print(f"the broker ended by itself; see {broker.log}", file=sys.stderr)
    return 1


def main() -> int:
    """The command line; 0 done, 1 failed."""
    parser = argparse.ArgumentParser(description="Apache Kafka on this machine, from its jars.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("fetch", help="get the jars by Maven")
    start = commands.add_parser("start", help="start a broker; in the foreground unless --detach")
    start.add_argument("--port", type=int, default=9092)
    start.add_argument("--host", default="127.0.0.1", help="address to listen on and to advertise")
    start.add_argument("--heap", default=HEAP)
    start.add_argument("--detach", action="store_true", help="return when the broker answers and leave it running")
    stop = commands.add_parser("stop", help="stop the broker of a data directory")
    for command in (start, stop):
        command.add_argument("--data", type=Path, required=True)
    given = parser.parse_args()
    try:
        if given.command == "fetch":
            print(fetch())
        elif given.command == "stop":
            KafkaLocal(given.data, 1).stop()
        else:
            broker = KafkaLocal(given.data, given.port, host=given.host, heap=given.heap)
            if not given.detach:
                return _run_in_foreground(broker)
            broker.start(detach=True)
            print(broker.bootstrap)
    except KafkaUnavailable as problem:
        print(f"kafka_local: {problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
