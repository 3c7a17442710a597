"""The engine over all slices under watch: going back, slow drift, families, and what a day and a complaint cost."""

import time
from datetime import timedelta

import numpy as np
import pytest

from libs.events.catalogue.findings import Verdict
from services.classification.domain.judges import Judges, Lane, levels
from services.classification.domain.watch import Watch
from tests.classification.streams import ORIGIN, WEEK, days, quiet


def run(counts: np.ndarray, judges: Judges, until: int) -> tuple[Lane, Lane]:
    lanes = None
    for day in range(judges.at, until):
        alive = counts[:, : day + 1].any(axis=1)
        repeats = np.zeros(len(counts))
        lanes = judges.step(counts[:, day].astype(float), repeats, alive, np.arange(len(counts)) // 5)
    assert lanes is not None
    return lanes


def test_going_back_and_coming_again_gives_the_same_digits() -> None:
    """Also when slices that nobody had heard of have filled further panels meanwhile."""
    rng = np.random.default_rng(4)
    counts = quiet(rng, np.exp(rng.normal(0, 1, 200)), 120, rng.uniform(1, 2, 200))
    counts[130:, :100] = 0
    straight = run(counts, Judges(0, 5.0, 5), 120)
    other = Judges(0, 5.0, 5)
    run(counts[:130], other, 80)  # the others were not even known by name
    run(counts, other, 115)
    assert other.go_back(90)
    assert other.at <= 90
    again = run(counts, other, 120)
    for one, two in zip(straight, again, strict=True):
        for name in Lane.__slots__:  # type: ignore[attr-defined]
            assert np.array_equal(getattr(one, name), getattr(two, name)), name


def test_states_to_go_back_to_are_kept_close_for_the_last_weeks_and_wide_apart_before() -> None:
    judges = Judges(0, 1.0, 5)
    run(np.ones((1, 400), dtype=np.int64), judges, 400)
    kept = [(judges.at - at) // 7 for at, _ in judges._kept]
    assert len(kept) <= 8
    assert kept[-3:] == sorted(kept[-3:], reverse=True)
    assert kept[-1] == 0
    assert kept[-3] <= 3
    assert judges.go_back(380)
    assert not judges.go_back(3)


@pytest.mark.parametrize("level", [0.7, 4.0])
def test_a_slow_drift_is_found_although_no_day_and_no_week_stands_out(level: float) -> None:
    """From its level to thrice that within twelve weeks: found before the twelve weeks are over, in four of five streams."""
    found = 0
    for seed in range(5):
        rng = np.random.default_rng(seed)
        ramp = 1 + 2 * np.clip((np.arange(260) - 150) / 84, 0, 1)
        means = np.vstack([level * ramp * WEEK[np.arange(260) % 7], *(2.0 * np.ones((20, 260)))])
        counts = rng.poisson(means)
        watch = Watch()
        for index, day in enumerate(days(235)):
            for row in range(len(counts)):
                watch.add((f"m{row}", "t"), day, int(counts[row, index]), int(counts[row, index]))
        watch.advance(ORIGIN + timedelta(days=234))
        episodes = watch.episodes(("m0", "t"))
        found += any(one.verdict is Verdict.SYSTEMIC and one.start >= 150 for one in episodes)
    assert found >= 4


def test_a_family_with_a_failure_in_it_is_looked_into_and_a_quiet_one_is_not() -> None:
    """Ten motives of ten slices at 0.01 a day: alone a slice needs 0.0001; beside five others of its motive 0.0006, unless they alarmed
    before today."""
    p = np.full(100, 0.5)
    p[:5] = 1e-7
    p[5], p[50] = 5e-4, 5e-4
    family = np.arange(100) // 10
    new = np.zeros(100, dtype=bool)
    needed = levels(p, family, 0.01, new)
    assert np.flatnonzero(p <= needed).tolist() == [0, 1, 2, 3, 4, 5]
    assert needed[0] == pytest.approx(6e-4)
    assert needed[50] == pytest.approx(1e-4)
    assert levels(p, family, 0.01, p < 1e-6)[5] == pytest.approx(1e-4)
    assert levels(np.zeros(0), np.zeros(0, dtype=np.int64), 0.01, np.zeros(0, dtype=bool)).shape == (0,)


def test_one_new_complaint_costs_less_than_a_hundred_microseconds() -> None:
    watch = Watch()
    for number in range(2_000):
        watch.add((f"m{number % 40}", f"t{number % 3}"), ORIGIN + timedelta(days=number % 60), 1, 1)
    watch.advance(ORIGIN + timedelta(days=59))
    today = ORIGIN + timedelta(days=60)
    began = time.process_time()
    for number in range(20_000):
        watch.add((f"m{number % 40}", f"t{number % 3}"), today, 1, 1)
    assert (time.process_time() - began) / 20_000 < 100e-6
