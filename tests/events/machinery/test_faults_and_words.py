"""Crash points in real processes, and the words that tests are written in."""

import subprocess
import sys
from dataclasses import dataclass, replace
from datetime import datetime

import pytest

from libs.events import faults
from libs.events.catalogue.feedback import CaseAcknowledged, CaseOpened
from libs.events.catalogue.interactions import InteractionRecorded
from libs.events.testing import Decision, Projecting, interleavings, midnight, sealed_events
from tests.events.world import World, process_environment

PROGRAM = "from libs.events import faults; [faults.point('relay.acked') for _ in range(3)]; print('alive')"


@pytest.mark.parametrize(("point", "code", "words"), [
    ("relay.acked", 137, ""),
    ("relay.acked:3", 137, ""),
    ("relay.acked:4", 0, "alive"),
    ("relay.marked", 0, "alive"),
    ("relay.akced", 1, "the crash points are"),
])  # fmt: skip
def test_a_process_ends_at_the_crash_point_that_its_environment_names(point: str, code: int, words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=process_environment(LAZO_FAULT_POINT=point),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == code
    assert words in done.stdout + done.stderr


def test_crash_points_have_numbers_that_do_not_change() -> None:
    assert faults.POINTS["intake.validated"] == 1
    assert faults.POINTS["consumer.claimed"] == 9
    assert len(set(faults.POINTS.values())) == len(faults.POINTS)


@dataclass(frozen=True)
class Door:
    open: bool = False


class Locked(Exception):
    pass


def decide(state: Door, command: str, now: datetime) -> list[str]:
    match command:
        case "open" if not state.open:
            return [f"opened {now:%H:%M}"]
        case "open":
            return []
    raise Locked(command)


def evolve(state: Door, event: str) -> Door:
    return replace(state, open=event.startswith("opened"))


def test_given_when_then_tells_what_was_decided_and_fails_on_anything_else() -> None:
    door, noon = Decision(decide, evolve, Door()), midnight(2026, 1, 1)
    opened = door.when("open", at=noon).then("opened 00:00")
    assert opened.state.open
    opened.when("open", at=noon).nothing()
    opened.when("kick", at=noon).refused(Locked)
    with pytest.raises(AssertionError, match="not \\('closed',\\)"):
        door.when("open", at=noon).then("closed")
    with pytest.raises(AssertionError, match="not refused"):
        door.when("open", at=noon).refused(Locked)
    with pytest.raises(AssertionError, match="refused: Locked"):
        door.when("kick", at=noon).nothing()


async def test_a_projection_ends_in_a_comparison_with_the_fold_for_every_interleaving(world: World) -> None:
    """I11."""
    feedback = await world.feedback(start=False)
    drafts = [world.draft(number) for number in range(12)]
    recorded = await sealed_events(feedback.store, drafts)
    assert b"factura" not in recorded[0].data
    orders = interleavings({"a": recorded[:6], "b": recorded[6:]}, seed=1, count=5)
    assert all(sorted(event.id for event in order) == sorted(event.id for event in recorded) for order in orders)
    assert len({tuple(event.id for event in order) for order in orders}) > 1
    expected = 0
    for order in orders:
        expected += 12
        tally = [one for one in world.subscriptions() if one.name == "tally"]
        await (
            Projecting(feedback.store, tally)
            .given(order)
            .then(world.tallied, equals={InteractionRecorded.TYPE: expected})
        )
    assert {CaseOpened.TYPE, CaseAcknowledged.TYPE}.isdisjoint(await world.tallied())
