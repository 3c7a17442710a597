"""How the monitor is set."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

CALM_LEVEL = 0.05
"""Days whose tail is above this are as usual."""

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Rules:
    """`false_alarms_per_month`: alarms that quiet slices give, all of them together, in expectation at most."""

    false_alarms_per_month: float = 0.25
    minimum_customers: int = 5
    history: int = 182
    """Days of the past that a verdict shows."""
    calm_days: int = 5
    calendar: str = ""
    """What the holidays are called in verdicts."""
    holidays: tuple[int, ...] = ()
    """Days since 1970-01-05."""
