"""The monitor's arithmetic and its promises, on simulated streams."""

import math
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.events.catalogue.findings import Verdict
from services.classification.domain.chronic import look
from services.classification.domain.judges import Judges
from services.classification.domain.monitor import Rules
from services.classification.domain.numeric import beta_regularised, log_gamma, negative_binomial_tail, upper_limit
from services.classification.domain.slices import at
from services.classification.domain.watch import Watch, fresh_days
from tests.classification.streams import ORIGIN, WEEK, days, quiet

DAYS = 300


def watched(fresh: np.ndarray, contacts: np.ndarray | None = None, rules: Rules | None = None) -> Watch:
    watch = Watch(rules=rules or Rules())
    seen = fresh if contacts is None else contacts
    for index, day in enumerate(days(fresh.shape[1])):
        for row in range(fresh.shape[0]):
            watch.add(at(f"m{row}", "t"), day, int(fresh[row, index]), int(seen[row, index]))
    watch.advance(ORIGIN + timedelta(days=fresh.shape[1] - 1))
    return watch


def verdicts(watch: Watch, row: int = 0) -> list[Verdict]:
    return [episode.verdict for episode in watch.episodes(at(f"m{row}", "t"))]


def poisson_tail(count: int, mean: float) -> float:
    return 1 - math.fsum(math.exp(-mean + k * math.log(mean) - math.lgamma(k + 1)) for k in range(count))


def negative_binomial_sum(count: int, mean: float, variance: float) -> float:
    size = mean**2 / (variance - mean)
    p = size / (size + mean)
    terms = (
        math.exp(
            math.lgamma(k + size) - math.lgamma(size) - math.lgamma(k + 1) + size * math.log(p) + k * math.log1p(-p)
        )
        for k in range(count)
    )
    return 1 - math.fsum(terms)


@given(st.floats(0.01, 300), st.floats(1.05, 8), st.integers(0, 400))
@settings(max_examples=150)
def test_tails_are_those_of_the_distribution_summed_term_by_term(mean: float, dispersion: float, count: int) -> None:
    tail = float(negative_binomial_tail(count, mean, mean * dispersion))
    assert tail == pytest.approx(negative_binomial_sum(count, mean, mean * dispersion), abs=1e-9)
    assert 0 <= tail <= 1


def test_without_overdispersion_the_tail_is_poissons_and_gamma_is_gamma() -> None:
    for count, mean in ((1, 0.1), (3, 1.0), (10, 4.0), (60, 40.0)):
        assert float(negative_binomial_tail(count, mean, mean)) == pytest.approx(poisson_tail(count, mean), rel=1e-3)
    for x in (0.01, 0.3, 1.0, 7.5, 1e4):
        assert float(log_gamma(x)) == pytest.approx(math.lgamma(x), rel=1e-12, abs=1e-12)
    assert float(beta_regularised(0.3, 2, 5)) == pytest.approx(1 - 0.7**6 - 6 * 0.3 * 0.7**5, abs=1e-12)


def test_the_upper_limit_is_the_least_count_that_signals() -> None:
    limit = upper_limit(12.0, 20.0, 1e-4)
    assert (
        float(negative_binomial_tail(limit, 12.0, 20.0)) <= 1e-4 < float(negative_binomial_tail(limit - 1, 12.0, 20.0))
    )


@pytest.mark.parametrize("seed", [1, 2])
def test_quiet_streams_give_no_more_false_alarms_than_stated_over_all_slices_together_G3(seed: int) -> None:
    """80 slices of sizes 0.05 to 30 a day, overdispersion 1 to 2.5, a season all share; 240 judged days, 8 a month allowed."""
    rng = np.random.default_rng(seed)
    levels, dispersion = np.exp(rng.normal(0, 1.3, 80)), rng.uniform(1, 2.5, 80)
    counts = quiet(rng, levels, DAYS, dispersion)
    rules = Rules(false_alarms_per_month=8.0)
    judges = Judges(0, rules.false_alarms_per_month, rules.calm_days)
    alarms = 0
    for day in range(DAYS):
        alive = np.asarray(counts[:, : day + 1].any(axis=1))
        lane, _ = judges.step(counts[:, day].astype(float), np.zeros(80), alive, np.arange(80) // 4)
        if day >= 60:
            alarms += int(((lane.p <= lane.level) & (lane.observed >= rules.minimum_customers)).sum())
    allowed = 8.0 * 240 / 30.4375
    # Alarms come in runs (odds fade over days), so their number varies several times as much as a Poisson's would.
    assert alarms <= allowed + 3 * math.sqrt(5 * allowed)


def test_a_quiet_year_with_default_rules_has_next_to_no_systemic_verdict() -> None:
    rng = np.random.default_rng(7)
    watch = watched(quiet(rng, np.exp(rng.normal(0, 1.0, 40)), 365, rng.uniform(1, 2, 40)))
    systemic = [key for key in watch.keys for found in watch.episodes(key) if found.verdict is Verdict.SYSTEMIC]
    assert len(systemic) <= 1


@pytest.mark.parametrize(("level", "rise", "within"), [(2.0, 3.0, 14), (0.3, 8.0, 28), (20.0, 1.7, 14)])
def test_a_lasting_rise_is_found_systemic_in_time_G3(level: float, rise: float, within: int) -> None:
    found = 0
    for seed in range(5):
        rng = np.random.default_rng(seed)
        counts = rng.poisson(np.vstack([level * WEEK[np.arange(200) % 7], *(3.0 * np.ones((20, 200)))]))
        counts[0, 150:] = rng.poisson(level * rise * WEEK[np.arange(150, 200) % 7])
        episodes = watched(counts[:, : 150 + within]).episodes(at("m0", "t"))
        found += any(episode.verdict is Verdict.SYSTEMIC and episode.start >= 150 for episode in episodes)
    assert found >= 4


def test_one_customer_forty_times_is_isolated_and_never_systemic_G3() -> None:
    rng = np.random.default_rng(3)
    fresh = rng.poisson(1.0, (10, 200))
    contacts = fresh.copy()
    contacts[0, 150:160] += 4
    fresh[0, 150] += 1
    assert verdicts(watched(fresh, contacts)) == [Verdict.ISOLATED]


def test_an_outage_of_one_day_is_isolated_once_it_is_over_and_undecided_before_R12() -> None:
    rng = np.random.default_rng(3)
    counts = rng.poisson(2.0, (10, 200))
    counts[0, 150] += 60
    counts[0, 151] += 15
    assert verdicts(watched(counts[:, :152])) == [Verdict.NOT_ENOUGH_EVIDENCE]
    assert verdicts(watched(counts[:, :165])) == [Verdict.ISOLATED]


def test_a_season_that_all_slices_share_opens_nothing() -> None:
    rng = np.random.default_rng(9)
    wave = 1 + 0.6 * np.exp(-0.5 * ((np.arange(300) - 240) / 10) ** 2)
    watch = watched(rng.poisson(4.0 * wave * np.ones((40, 1))))
    assert [key for key in watch.keys if watch.episodes(key)] == []


def test_before_enough_history_nothing_is_judged() -> None:
    counts = np.zeros((1, 40), dtype=np.int64)
    counts[0, 35:] = 100
    watch = watched(counts)
    assert watch.episodes(at("m0", "t")) == []


@given(st.randoms(use_true_random=False), st.integers(0, 3))
@settings(max_examples=6, deadline=None)
def test_the_order_in_which_facts_come_changes_nothing(random: object, pauses: int) -> None:
    rng = np.random.default_rng(21)
    counts = rng.poisson(1.5, (4, 130))
    counts[0, 90:] += rng.poisson(5, 40)
    counts[1, 100] += 40
    whole = watched(counts)
    facts = [(row, index) for row in range(4) for index in range(130) for _ in range(counts[row, index])]
    random.shuffle(facts)  # type: ignore[attr-defined]  # hypothesis hands in a random.Random
    watch = Watch()
    last = ORIGIN + timedelta(days=129)
    for number, (row, index) in enumerate(facts):
        watch.add(at(f"m{row}", "t"), ORIGIN + timedelta(days=index), 1, 1)
        if pauses and number and number % (len(facts) // pauses) == 0:
            watch.advance(last)
    watch.advance(last)
    for row in range(4):
        key = at(f"m{row}", "t")
        assert [
            (watch.day_of(item.start), item.verdict, watch.day_of(item.decided), item.numbers.observed)
            for item in watch.episodes(key)
        ] == [
            (whole.day_of(item.start), item.verdict, whole.day_of(item.decided), item.numbers.observed)
            for item in whole.episodes(key)
        ]


def test_judging_looks_at_nothing_after_the_day() -> None:
    rng = np.random.default_rng(2)
    counts = rng.poisson(3.0, (12, 200))
    last = [ORIGIN + timedelta(days=day) for day in (150, 199)]
    watch = watched(counts[:, :151])
    _, before, _ = watch.lanes(150)
    for row in range(12):
        for day in range(151, 200):
            watch.add(at(f"m{row}", "t"), ORIGIN + timedelta(days=day), 500, 500)
    watch.advance(last[1])
    _, after, _ = watch.lanes(150)
    assert np.array_equal(before.p, after.p)
    assert np.array_equal(before.odds, after.odds)
    assert np.array_equal(before.expected, after.expected)


def test_a_customer_is_fresh_again_only_after_the_longest_window_of_silence() -> None:
    found = fresh_days([ORIGIN, ORIGIN + timedelta(days=3), ORIGIN + timedelta(days=17), ORIGIN + timedelta(days=30)])
    assert found == {ORIGIN, ORIGIN + timedelta(days=17)}


def test_a_place_that_is_bad_from_the_start_stands_out_among_its_peers() -> None:
    rng = np.random.default_rng(1)
    sizes = np.array([400, 250, 180, 140, 100, 80])
    shares = np.array([0.4, 0.3, 0.2, 0.1])
    counts = rng.poisson(shares[:, None] * sizes[None, :]).astype(float)
    assert not look(counts).flagged.any()
    counts[3, 5] += 40
    rows, columns = np.nonzero(look(counts).flagged)
    assert (3, 5) in set(zip(rows.tolist(), columns.tolist(), strict=True))
    assert len(rows) == 1
