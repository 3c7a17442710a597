"""Judging in stretches by a process that is killed: another goes on from what was committed and says what one go says (R27)."""

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

from libs.events.catalogue.findings import VerdictReached
from libs.events.catalogue.interactions import Effects
from libs.events.clock import SimulatedClock
from libs.service.testing import running
from services.classification.app import build as classification
from tests.classification.streams import emit
from tests.classification.test_monitoring import at, projections_equal_their_folds, story
from tests.classification.test_stretches import events_of

ROOT = Path(__file__).resolve().parents[2]
LENGTH = 115
KEPT = "SELECT count(*) FROM snapshots WHERE at > '2025-02-20'"
SAID = f"SELECT count(*) FROM events WHERE type = '{VerdictReached.TYPE}'"
OPEN = "SELECT count(*) FROM watermarks WHERE name = 'monitor' AND gathering"


def asked(file: Path, query: str) -> int:
    with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
        return int(connection.execute(query).fetchone()[0])


@contextlib.contextmanager
def judges(folder: Path, now: datetime) -> Iterator[Callable[[Callable[[Path], bool]], int]]:
    """A way to begin a process that judges there, and to SIGKILL it as soon as something is true of what is committed: how it ended."""
    command = [sys.executable, "-m", "tests.classification.judging_child", str(folder), now.isoformat()]
    with subprocess.Popen(command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        to, of = parent.stdin, parent.stdout

        def killed(when: Callable[[Path], bool]) -> int:
            print("begin", file=to, flush=True)
            child, end = int(of.readline()), time.monotonic() + 60
            try:
                while not when(folder / "classification.db"):
                    os.kill(child, 0)  # ProcessLookupError where it has ended by itself
                    assert time.monotonic() < end
                    time.sleep(0.002)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
            return int(of.readline())

        yield killed
        to.close()


async def test_killed_while_it_judges_and_while_it_says_another_process_ends_with_the_events_of_one_go_R27_G7(
    tmp_path: Path,
) -> None:
    counted, now = tmp_path / "counted", at(LENGTH + 3) + timedelta(seconds=10)
    file = counted / "classification.db"
    with judges(counted, now) as killed:
        async with running(classification, clock=SimulatedClock(at(LENGTH + 3)), data=counted) as run:
            await emit(run, [fact for fact in story(Effects.HISTORY) if fact.occurred_at < at(LENGTH)])
            await run.settle()
        # What was gathered is to be judged ten seconds later.
        shutil.copytree(counted, tmp_path / "one go")
        async with running(classification, clock=SimulatedClock(now), data=tmp_path / "one go") as run:
            await run.settle()
            at_once = await events_of(run)
        verdicts = [one for one in at_once if one[0] == VerdictReached.TYPE]

        assert killed(lambda file: asked(file, KEPT) == 1) == -signal.SIGKILL
        assert asked(file, SAID) == 0, "nothing is said before all days are judged"
        assert asked(file, OPEN) == 1
        assert killed(lambda file: asked(file, SAID) >= 2) == -signal.SIGKILL
        assert 2 <= asked(file, SAID) < len(verdicts)
        assert asked(file, OPEN) == 1

    async with running(classification, clock=SimulatedClock(now), data=counted) as run:
        await run.settle()
        ended = await events_of(run)
        assert sorted(ended) == sorted(at_once)
        assert [one for one in ended if one[0] == VerdictReached.TYPE] == verdicts
        await projections_equal_their_folds(run)
    assert asked(file, OPEN) == 0
