"""Schedules that Hypothesis chooses. What it prints can be pasted into a test."""

from functools import cache

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from libs.events.simulation import Step, Violation, simulate
from libs.events.simulation.schedule import WEIGHTS, text_of
from libs.events.simulation.shrink import shrink

# As often as in the seeds' schedules; the simplest step comes first.
KINDS = [kind for kind, weight in WEIGHTS.items() for _ in range(max(round(weight / 8), 1))]
STEPS = st.tuples(st.sampled_from(KINDS), st.integers(0, 255))


@cache
def _short(schedule: tuple[Step, ...], invariant: str) -> str:
    return text_of(shrink(schedule, invariant, seconds=20))


# Hypothesis would shrink for five minutes; twenty seconds of ours are enough, and it asks for them twice.
@pytest.mark.slow
@settings(
    max_examples=12,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(schedule=st.lists(STEPS, min_size=20, max_size=120))
def test_whatever_happens_everything_comes_right(schedule: list[Step]) -> None:
    """I1, I2, I3, I4, I5, I6, I7, I8, I9, I11, I13."""
    try:
        simulate(schedule)
    except Violation as violation:
        raise AssertionError(f"{violation}\n{_short(tuple(schedule), violation.invariant)}") from violation
