"""Schedules: what happens in a run, step by step. Every list of steps is a schedule, so that any part of one can be left out."""

import random
from collections.abc import Sequence

Step = tuple[str, int]
"""What happens, and a number that says to whom; it is taken modulo the candidates there are."""

Schedule = Sequence[Step]

WEIGHTS: dict[str, float] = {
    "go": 720,  # one of the waiting tasks goes on: 0 is the one that waits longest
    "time": 45,  # time passes, for everybody
    "append": 70,  # a client sends facts, new ones or (one in four) ones sent before
    "twice": 8,  # two clients send the same new fact at the same moment
    "refuse": 3,  # a fact whose own part of the transaction fails
    "late": 16,  # the next appended positions become visible after higher ones, or fill such a gap
    "hold": 18,  # one waiting task is forgotten for a while; others overtake it
    "start": 26,  # a process starts, as the second of its service if one is alive
    "zombie": 9,  # a process sleeps for a while, as SIGSTOP would have it, and a successor starts
    "kill": 6,
    "crash": 14,  # a process is to end at a crash point
    "commit": 9,  # the next commit fails, or is done and said to have failed
    "begin": 7,  # the next transaction, be it of a reader, cannot even begin
    "publish": 7,  # the next publish fails, is done and not answered, or neither is known
    "clock": 5,  # the clock of a service's machine moves by hours
    "poison": 5,  # a fact that a handler cannot stand
    "fix": 4,  # the handler is repaired, its parked event replayed
    "replay": 2,  # a parked event is replayed though nothing was repaired
    "rebuild": 4,  # the projection is built again beside the live one
    "copy": 6,  # a record stands in the log a second time
    "again": 6,  # a member is handed what it was handed before
    "slow": 8,  # a partition delivers nothing for a while
}


def schedule_of(seed: int, steps: int) -> list[Step]:
    """The schedule of a seed."""
    chance = random.Random(f"lazo {seed}")
    kinds = chance.choices(list(WEIGHTS), weights=list(WEIGHTS.values()), k=steps)
    return [(kind, chance.randrange(256)) for kind in kinds]


def text_of(schedule: Schedule) -> str:
    """A form that can be pasted into a test."""
    lines, line = [], "    "
    for kind, number in schedule:
        item = f'("{kind}", {number}), '
        if len(line) + len(item) > 118:
            lines.append(line.rstrip())
            line = "    "
        line += item
    return "[\n" + "\n".join([*lines, line.rstrip()]) + "\n]"
