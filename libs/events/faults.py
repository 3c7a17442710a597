"""Numbered crash points: where a process may die so that a test can show that nothing is lost there.

`point(name)` does nothing unless a hook is installed (simulation, in one process) or `LAZO_FAULT_POINT=name` is set (a real
process: it ends there once with exit code 137, as SIGKILL would; `name:3` the third time it passes).
"""

import os
from collections.abc import Callable

POINTS: dict[str, int] = {
    name: number
    for number, name in enumerate(
        (
            "intake.validated",
            "intake.committed",
            "intake.answered",
            "relay.claimed",
            "relay.sent",
            "relay.acked",
            "relay.marked",
            "consumer.polled",
            "consumer.claimed",
            "consumer.inbox",
            "consumer.handled",
            "consumer.committed",
            "consumer.hinted",
            "rebalance.revoked",
            "rebalance.assigned",
            "rebalance.sought",
            "quarantine.attempted",
            "quarantine.parked",
            "timer.claimed",
            "timer.handled",
            "timer.committed",
            "projection.built",
            "projection.flipped",
            "feedback.intent",
            "feedback.posted",
            "feedback.outcome",
            "migration.begun",
            "migration.done",
        ),
        start=1,
    )
}

hook: Callable[[str], None] | None = None


def point(name: str) -> None:
    """Pass a crash point. Costs one comparison when nothing is installed."""
    if hook is not None:
        hook(name)


def from_environment() -> None:
    """Install the crash that `LAZO_FAULT_POINT` asks for; an unknown name is refused."""
    wanted = os.environ.get("LAZO_FAULT_POINT")
    if not wanted:
        return
    name, _, number = wanted.partition(":")
    if name not in POINTS:
        raise ValueError(f"LAZO_FAULT_POINT={wanted}: the crash points are {', '.join(POINTS)}")
    left = int(number or 1)

    def die(passed: str) -> None:
        nonlocal left
        if passed == name:
            left -= 1
            if left == 0:
                os._exit(137)

    global hook  # noqa: PLW0603 - one process, one hook
    hook = die


from_environment()
