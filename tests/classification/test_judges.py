"""The engine over all slices under watch: going back, slow drift, families, and what a day and a complaint cost."""

import time
from dataclasses import fields
from datetime import timedelta

import numpy as np
import pytest

from services.classification.domain.judges import Judges, levels
from services.classification.domain.lanes import Lane
from services.classification.domain.slices import at
from services.classification.domain.watch import MAX_DAYS, Watch, complete_from
from tests.classification.streams import ORIGIN, WEEK, quiet


def run(counts: np.ndarray, judges: Judges, until: int) -> tuple[Lane, Lane]:
    lanes = None
    for day in range(judges.at, until):
        alive = np.asarray(counts[:, : day + 1].any(axis=1))
        repeats = np.zeros(len(counts))
        lanes = judges.step(counts[:, day].astype(float), repeats, alive, np.arange(len(counts)) // 5)
    assert lanes is not None
    return lanes


def test_going_back_and_coming_again_gives_the_same_digits() -> None:
    """Also when slices that nobody had heard of have filled further panels meanwhile."""
    rng = np.random.default_rng(4)
    counts = quiet(rng, np.exp(rng.normal(0, 1, 150)), 90, rng.uniform(1, 2, 150))
    counts[120:, :75] = 0
    straight = run(counts, Judges(0, 5.0, 5), 90)
    other = Judges(0, 5.0, 5)
    run(counts[:120], other, 60)  # the others were not even known by name
    run(counts, other, 85)
    assert other.go_back(68)
    assert other.at <= 68
    again = run(counts, other, 90)
    for one, two in zip(straight, again, strict=True):
        for name in (field.name for field in fields(Lane)):
            assert np.array_equal(getattr(one, name), getattr(two, name)), name


def test_states_to_go_back_to_are_kept_close_for_the_last_weeks_and_wide_apart_before() -> None:
    judges = Judges(0, 1.0, 5)
    run(np.ones((1, 180), dtype=np.int64), judges, 180)
    kept = [(judges.at - at) // 7 for at, _ in judges._kept]
    assert len(kept) <= 8
    assert kept[-3:] == sorted(kept[-3:], reverse=True)
    assert kept[-1] == 0
    assert kept[-3] <= 3
    assert judges.go_back(160)
    assert 150 < judges.at <= 160
    assert judges.go_back(3)
    assert judges.at == 0


def test_a_slow_drift_is_found_although_no_day_and_no_week_stands_out() -> None:
    """G3: ten slices of one and four a day among fifty others grow to four times that within ten weeks."""
    rng = np.random.default_rng(1)
    levels = np.repeat([1.0, 4.0, 2.0], [5, 5, 50])
    growth = np.ones((60, 234))
    growth[:10] += 3 * np.clip((np.arange(234) - 150) / 70, 0, 1)
    counts = rng.poisson(levels[:, None] * growth * WEEK[np.arange(234) % 7])
    judges, found = Judges(0, 0.25, 5), np.full(60, -1)
    for day in range(234):
        alive = np.asarray(counts[:, : day + 1].any(axis=1))
        lane, _ = judges.step(counts[:, day].astype(float), np.zeros(60), alive, np.arange(60) % 12)
        told = np.flatnonzero(alive)[lane.going_on <= lane.level]
        found[told[found[told] < 0]] = day
    assert (found[:10] >= 150).sum() >= 8
    assert (found[10:] < 0).all()


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


def test_a_service_started_again_after_years_reads_the_same_past_for_every_day_it_judges() -> None:
    """It holds five years of counts; of seven, those are the newest, and their last two are judged as if all were held."""
    everything, newest = Watch(), Watch()
    last = ORIGIN + timedelta(days=2_555)
    since = last - timedelta(days=MAX_DAYS)
    for number in range(2_556):
        day = ORIGIN + timedelta(days=number)
        everything.add(at("m", "t"), day, 1, 1)
        if day >= since:
            newest.add(at("m", "t"), day, 1, 1)
    whole = complete_from(since)
    assert whole <= last - timedelta(days=2 * 365)
    for watch in (everything, newest):
        watch._look_over()
    for number in range((last - whole).days + 1):
        begins = []
        for watch in (everything, newest):
            assert watch.origin is not None
            column = (whole - watch.origin).days + number
            begins.append(watch.day_of(watch._operating_since(column)))
        assert begins[0] == begins[1] >= since
    newest.complete_from = whole
    assert newest._judge((whole - since).days - 1) == set()
    assert newest._judges is None, "days before are not even read"


def test_one_new_complaint_costs_less_than_a_hundred_microseconds() -> None:
    watch = Watch()
    for number in range(2_000):
        watch.add(at(f"m{number % 40}", f"t{number % 3}"), ORIGIN + timedelta(days=number % 60), 1, 1)
    watch.advance(ORIGIN + timedelta(days=59))
    today = ORIGIN + timedelta(days=60)
    began = time.process_time()
    for number in range(20_000):
        watch.add(at(f"m{number % 40}", f"t{number % 3}"), today, 1, 1)
    assert (time.process_time() - began) / 20_000 < 100e-6
