"""M7: what it takes to have it: idle memory and cold start of `lazo up`, and `make demo` on a fresh copy of the source with
a warm package cache, from the first line to the first chart with numbers in it.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.lab import ROOT, Failed, Lab, Served, note
from bench.report import Bar, at_most, middle
from tests.engines.postgres import free_port

IDLE = 15.0
CHART = "/indicators/v1/indicators/1?granularity=month"
SKIPPED = shutil.ignore_patterns(
    ".git", ".venv", ".bench", ".cache", ".*_cache", ".hypothesis", "__pycache__", "*.egg-info", "results.json"
)


def start_cold(lab: Lab) -> tuple[Served, float]:
    """`lazo up` on an empty directory; seconds until /health/ready. Byte code is there, as after an installation."""
    began = time.perf_counter()
    served = lab.lazo(lab.environment(database=None, kafka=None), "up", wait=False)
    served.wait_ready()
    return served, time.perf_counter() - began


def first_chart(lab: Lab) -> tuple[float, float] | None:
    """Seconds of `make demo` in a copy without an environment until it serves, and until a chart has numbers (months to come have none)."""
    copy = lab.directory / "copy"
    shutil.copytree(ROOT, copy, ignore=SKIPPED)
    port = free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("LAZO_", "VIRTUAL_ENV"))}
    log = lab.directory / "demo.log"
    began = time.perf_counter()
    with log.open("wb") as said:
        child = subprocess.Popen(
            ["make", "demo", f"ARGS=--port {port} --data {lab.directory / 'demo'}"],
            cwd=copy, env=environment, stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True,
        )  # fmt: skip
    try:
        serving = 0.0
        while time.perf_counter() - began < 600:
            if child.poll() is not None:
                note(f"M7 make demo ended with {child.returncode}: {log.read_text(errors='replace')[-500:]}")
                return None
            key = _key(log)
            if key is not None:
                serving = serving or time.perf_counter() - began
                if _has_numbers(port, key):
                    return serving, time.perf_counter() - began
            time.sleep(0.25)
        return None
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGTERM)  # its own session: make and what it started
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(30)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)


def _key(log: Path) -> str | None:
    found = log.read_text(errors="replace").find("lz_")
    return None if found < 0 else log.read_text(errors="replace")[found:].split()[0]


def _has_numbers(port: int, key: str) -> bool:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{CHART}", headers={"Authorization": f"Bearer {key}"})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - our own address
            rows = json.loads(answer.read())
    except urllib.error.HTTPError as error:
        if error.code < 500:  # asked wrongly: it would never have numbers
            raise Failed(f"{CHART}: {error.code} {error.read()[:300]!r}") from None
        return False
    except OSError:
        return False
    return has_numbers(rows)


def has_numbers(answer: Mapping[str, Any]) -> bool:
    """Whether a point of the chart counts anybody; months to come count nobody."""
    return any(point["numerator"] for point in answer["points"])


def run(lab: Lab) -> list[Bar]:
    starts: list[float] = []
    memory = 0
    for number in range(1 if lab.quick else 3):
        served, seconds = start_cold(lab)
        starts.append(seconds)
        if number == 0:
            time.sleep(IDLE)
            memory = served.memory()
        lab.end(served.process)
    note(f"M7 {memory / 2**20:.0f} MB, starts {', '.join(f'{seconds:.1f} s' for seconds in starts)}")
    bars = [
        at_most("M7", f"`lazo up` idle for {IDLE:.0f} s, resident", memory / 2**20, "MB", 450),
        at_most("M7.start", "`lazo up` on an empty directory to ready", middle(starts), "s", 5),
    ]
    demo = first_chart(lab)
    if demo is None:
        bars.append(
            Bar("M7.demo", "`make demo` to the first chart", None, "s", "<= 120 s", None, note="it did not run here")
        )
    else:
        bars.append(
            at_most(
                "M7.demo", "`make demo` to the first chart", demo[1], "s", 120, note=f"serving after {demo[0]:.0f} s"
            )
        )
    return bars
