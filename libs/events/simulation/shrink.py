"""A failing schedule made short, for people to read and for a test to keep."""

import time

from libs.events.simulation.invariants import Violation
from libs.events.simulation.schedule import Schedule, Step
from libs.events.simulation.simulation import simulate
from libs.events.simulation.variant import REAL, Variant


def fails(schedule: Schedule, variant: Variant = REAL) -> str | None:
    """The invariant that fails under the schedule."""
    try:
        simulate(schedule, variant)
    except Violation as violation:
        return violation.invariant
    return None


def shrink(schedule: Schedule, invariant: str, variant: Variant = REAL, *, seconds: float = 20.0) -> list[Step]:
    """A shorter schedule under which the same invariant fails: ever smaller parts are left out, for so many real seconds."""
    end = time.monotonic() + seconds
    found = list(schedule)
    size = len(found) // 2
    while size:
        at = 0
        while at < len(found):
            if time.monotonic() > end:
                return found
            shorter = found[:at] + found[at + size :]
            if fails(shorter, variant) == invariant:
                found = shorter
            else:
                at += size
        size //= 2
    return found
