"""Data directories that take seconds to fill: filled once a run, whichever test and worker asks first, and copied for each."""

import asyncio
import fcntl
import json
import os
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest


def prepared(factory: pytest.TempPathFactory, name: str, fill: Callable[[Path], Awaitable[Any]]) -> tuple[Path, Any]:
    """The directory, never to be opened itself, and what `fill` said of it (JSON)."""
    base = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent  # the run's, which all workers share
    folder, told = base / name, base / f"{name}.json"
    with (base / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not told.exists():
            shutil.rmtree(folder, ignore_errors=True)  # of a worker that was stopped half way
            told.write_text(json.dumps(asyncio.run(_filled(fill, folder))))
    return folder, json.loads(told.read_text())


async def _filled(fill: Callable[[Path], Awaitable[Any]], folder: Path) -> Any:
    return await fill(folder)
