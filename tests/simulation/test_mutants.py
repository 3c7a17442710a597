"""The tests of the machinery can fail: each rule that is taken out is noticed, and by which invariant is known."""

import pytest

from libs.events.simulation import Variant, Violation, schedule_of, simulate
from tests.simulation.mutants import MUTANTS

SEEDS = 16
STEPS = 600

NOTICED_BY = {
    "no compare-and-set of the offset": "I7",
}


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_rule_taken_out_is_noticed_by_its_invariant(mutant: Variant) -> None:
    for seed in range(SEEDS):
        try:
            simulate(schedule_of(seed, STEPS), mutant)
        except Violation as violation:
            assert violation.invariant == NOTICED_BY[mutant.name], str(violation)
            return
    pytest.fail(f"{mutant.name}: {SEEDS} seeds of {STEPS} steps noticed nothing: the simulation is too weak")
