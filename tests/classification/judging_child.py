"""Processes to be killed: classification on SQLite, which judges what was counted there, a day in each stretch.

`python -m tests.classification.judging_child FOLDER NOW`. For each line of its input one begins, told by its number; how it ended is told
too. They are forks of one that has done nothing but import, for importing takes longer than what is tested.
"""

import asyncio
import os
import sys
from datetime import datetime
from pathlib import Path

from libs.events.clock import SimulatedClock
from libs.service.testing import running
from services.classification import app, snapshots
from services.classification.app import build as classification


async def judge(folder: Path, now: datetime) -> None:
    vars(app)["STRETCH"] = 0.001  # a day, or a verdict, and then a commit
    snapshots.LEAST = 1
    async with running(classification, clock=SimulatedClock(now), data=folder) as run:
        await run.settle()


def main(folder: Path, now: datetime) -> None:
    for _ in sys.stdin:
        child = os.fork()
        if not child:
            asyncio.run(judge(folder, now))
            os._exit(0)
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), datetime.fromisoformat(sys.argv[2]))
