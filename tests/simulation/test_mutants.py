"""The tests of the machinery can fail: each rule that is taken out is noticed, and by which invariant is known."""

import gc
from collections import Counter

import pytest

from libs.events.simulation import Variant, Violation, schedule_of, simulate
from libs.events.simulation.disk import SteppedConnection
from tests.simulation.mutants import MUTANTS

SEEDS = 16
STEPS = 600

NOTICED_BY = {
    "no compare-and-set of the offset": "I7",  # a zombie sets it back
    "marked before the acknowledgement": "I7",  # the relay is beyond the log's end
    "the broker's offset first": "I4",  # what the dead process was at is passed over
    "whatever is after the last position": "I13",  # the late one is never published
    "begin as the driver does": "I3",  # two look, both write: a client is told of the wreck
    "no inbox": "I4",  # a copy counts again, and what follows is numbered otherwise
    "a handler's error swallowed": "I9",  # the poison is nowhere
    "no fence": "I1",  # a zombie publishes what its successor has published
}


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_rule_taken_out_is_noticed_by_its_invariant(mutant: Variant) -> None:
    # What one rule held together comes apart in several places, and another one may be looked at first in a run.
    found: Counter[str] = Counter()
    for seed in range(SEEDS):
        try:
            simulate(schedule_of(seed, STEPS), mutant)
        except Violation as violation:
            found[violation.invariant] += 1
            if violation.invariant == NOTICED_BY[mutant.name]:
                return
    pytest.fail(f"{SEEDS} seeds of {STEPS} steps are too weak: they noticed {dict(found)}")


@pytest.mark.parametrize("name", ["marked before the acknowledgement", "no inbox"])
def test_a_run_that_is_broken_off_leaves_nothing_open(name: str) -> None:
    """At once, or when everything should have come right."""
    [mutant] = [mutant for mutant in MUTANTS if mutant.name == name]
    violations = 0
    for seed in range(3):
        try:
            simulate(schedule_of(seed, 300), mutant)
        except Violation:
            violations += 1
    assert violations
    gc.collect()
    assert not [one for one in gc.get_objects() if type(one) is SteppedConnection]
