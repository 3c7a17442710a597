"""What a dismissal teaches: more evidence is asked for in that slice, and how much more is said."""

from datetime import UTC, datetime, timedelta

import pytest

from libs.events.catalogue.findings import Evaluation
from services.classification.domain.numeric import negative_binomial_tail
from services.classification.teaching import Lesson, held_back

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def evaluation(**parameters: float) -> Evaluation:
    return Evaluation(
        method="m", window_start=NOW - timedelta(days=7), window_end=NOW, observed=19, expected=8, upper=18, score=3, customers=19,
        contacts=19, parameters=parameters,
    )  # fmt: skip


def test_an_alarm_that_just_passed_is_held_back_and_says_how_many_more_it_takes() -> None:
    given = evaluation(p=8e-4, level=1e-3, variance=9.0, windows=4.0)
    assert held_back(given, Lesson()) is None
    assert held_back(given, Lesson(0.9, ("f",))) is None  # it stands in spite of so small a lesson
    held = held_back(given, Lesson(0.1, ("f",)))
    assert held is not None
    assert held.parameters["level"] == pytest.approx(1e-4)
    assert held.upper - 19 == held.parameters["more_customers"] > 0

    def tail(count: float) -> float:
        return 4 * float(negative_binomial_tail([count], [8.0], [9.0])[0])

    assert tail(held.upper) <= 1e-4 < tail(held.upper - 1)
    assert held_back(held, Lesson()) is None


def test_a_place_among_its_peers_needs_a_larger_distance() -> None:
    given = evaluation(z=4.3, z_limit=4.0)
    held = held_back(given, Lesson(0.1, ("f",)))
    assert held is not None
    assert held.parameters["z_limit"] == pytest.approx(4.52, abs=0.02)  # a tenth of the tail beyond 4
    assert held_back(evaluation(z=4.8, z_limit=4.0), Lesson(0.1, ("f",))) is None
