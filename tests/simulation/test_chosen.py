"""Schedules that Hypothesis chooses and shrinks. What it prints can be pasted into `test_found.py`."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from libs.events.simulation import Step, simulate
from libs.events.simulation.schedule import WEIGHTS

# As often as in the seeds' schedules; the simplest step comes first.
KINDS = [kind for kind, weight in WEIGHTS.items() for _ in range(max(round(weight / 8), 1))]
STEPS = st.tuples(st.sampled_from(KINDS), st.integers(0, 255))


@pytest.mark.slow
@pytest.mark.timeout(900)  # ten seconds when all is well; a failing schedule is shrunk for up to five minutes
@settings(max_examples=12, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(schedule=st.lists(STEPS, min_size=20, max_size=120))
def test_whatever_happens_everything_comes_right(schedule: list[Step]) -> None:
    """I1, I2, I3, I4, I5, I6, I7, I8, I9, I11, I13."""
    simulate(schedule)
