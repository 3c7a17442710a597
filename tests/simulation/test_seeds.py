"""Twenty schedules of two thousand steps each: whatever happens, I1-I9, I11 and I13 hold."""

import ast
import os
import subprocess
import sys

import pytest

from libs.events.simulation import Violation, schedule_of, simulate
from libs.events.simulation.schedule import WEIGHTS, text_of
from libs.events.simulation.shrink import fails, shrink
from libs.events.simulation.steps import CRASHES
from tests.simulation.mutants import MUTANTS

SEEDS = range(20)
STEPS = 2_000


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_a_seeds_schedule_of_two_thousand_steps_holds(seed: int) -> None:
    """I1, I2, I3, I4, I5, I6, I7, I8, I9, I11, I13."""
    schedule = schedule_of(seed, STEPS)
    try:
        outcome = simulate(schedule)
    except Violation as violation:
        short = shrink(schedule, violation.invariant)
        pytest.fail(f"seed {seed}: {violation}\nFor tests/simulation/test_found.py:\n{text_of(short)}", pytrace=False)
    assert outcome.steps == STEPS
    assert outcome.facts > 50
    assert outcome.events > outcome.facts
    assert outcome.crashes > 5


def test_the_same_schedule_gives_the_same_run_in_every_process() -> None:
    """Down to the last statement, whatever the hashes of strings are."""
    program = (
        "from libs.events.simulation import schedule_of, simulate\n"
        "outcome = simulate(schedule_of(3, 250))\n"
        "print(outcome.trace, outcome.decisions, outcome.events, outcome.notes)"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": hashes},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for hashes in ("1", "2")
    }
    assert len(told) == 1


def test_a_failing_schedule_is_made_short_and_printed_for_a_test() -> None:
    [mutant] = [mutant for mutant in MUTANTS if mutant.name.startswith("marked before")]
    schedule = schedule_of(0, 200)
    assert fails(schedule, mutant) == "I7"
    short = shrink(schedule, "I7", mutant, seconds=20)
    assert len(short) < 20
    assert ast.literal_eval(text_of(short)) == short
    assert fails(short, mutant) == "I7"


def test_schedules_hold_every_kind_of_step_and_every_crash_point_is_met() -> None:
    steps = [step for seed in SEEDS for step in schedule_of(seed, STEPS)]
    assert {kind for kind, _ in steps} == set(WEIGHTS)
    assert {CRASHES[number % len(CRASHES)] for kind, number in steps if kind == "crash"} == set(CRASHES)
