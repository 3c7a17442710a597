#!/usr/bin/env python3
"""Obtain the engines the tests want: PostgreSQL, Java and Maven (for Apache Kafka), Chromium.

    python3 tests/engines/obtain.py [postgres] [kafka] [browser]

Whatever is there is used. What is missing is installed with apt when this runs as root or sudo asks no password; otherwise it
is named, and the tests that want it skip with that reason. With CI=true a missing engine is an error (exit 1). Standard library only.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2]))

from tests.engines.browser import browser_missing
from tests.engines.kafka import KafkaUnavailable, find_java, kafka_missing
from tests.engines.postgres import postgres_missing


def missing_for_kafka() -> str | None:
    """Why Kafka cannot start, without trying Maven where there is none."""
    return None if os.environ.get("LAZO_TEST_KAFKA") else kafka_missing()


def kafka_packages() -> list[str]:
    """Only what is absent: a machine with its own Java keeps it."""
    wanted = [] if shutil.which("mvn") else ["maven"]
    try:
        find_java()
    except KafkaUnavailable:
        wanted.append("openjdk-17-jre-headless" if _has_package("openjdk-17-jre-headless") else "default-jre-headless")
    return wanted


def _has_package(name: str) -> bool:
    shown = subprocess.run(["apt-cache", "policy", name], capture_output=True, text=True, check=False).stdout
    return "Candidate:" in shown and "Candidate: (none)" not in shown


ENGINES: dict[str, tuple[Callable[[], str | None], Callable[[], list[str]]]] = {
    "postgres": (postgres_missing, lambda: ["postgresql"]),
    "kafka": (missing_for_kafka, kafka_packages),
    "browser": (browser_missing, lambda: ["chromium"]),
}


def privilege() -> list[str] | None:
    """The words before `apt-get`: none for root, sudo where it asks no password; None when there is no way."""
    if shutil.which("apt-get") is None:
        return None
    if os.geteuid() == 0:
        return []
    if (
        shutil.which("sudo")
        and subprocess.run(["sudo", "-n", "true"], capture_output=True, check=False).returncode == 0
    ):
        return ["sudo", "-n", "--preserve-env=DEBIAN_FRONTEND"]
    return None


def install(prefix: list[str], packages: list[str], *, refresh: bool) -> str | None:
    """Install by apt; what went wrong, or None."""
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    commands = [[*prefix, "apt-get", "update", "-qq"]] if refresh else []
    commands.append([*prefix, "apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages])
    for command in commands:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
        )
        if done.returncode != 0:
            return f"`{' '.join(command)}` failed: {(done.stderr or done.stdout).strip()[-500:]}"
    return None


def main(names: list[str]) -> int:
    """Obtain the named engines, all by default."""
    lacking, refresh, prefix = [], True, privilege()
    for name in names or list(ENGINES):
        missing, packages = ENGINES[name]
        problem = missing()
        if problem and prefix is not None and (wanted := packages()):
            print(f"{name}: installing {' '.join(wanted)}", flush=True)
            failed = install(prefix, wanted, refresh=refresh)
            refresh = False
            problem = failed or missing()
        print(f"{name}: {problem or 'ready'}", flush=True)
        if problem:
            lacking.append(name)
    if lacking and os.environ.get("CI") == "true":
        print(f"CI=true, and these engines could not be obtained: {', '.join(lacking)}", file=sys.stderr)
        return 1
    if lacking:
        print(f"tests that need {', '.join(lacking)} will be skipped, with the reason above")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
