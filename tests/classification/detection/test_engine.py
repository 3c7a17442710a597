"""What the detection engine promises, on simulated streams."""

import math
from dataclasses import replace

import numpy as np
import pytest

from bench.streams import daily, daily_measures, episodes_of, noisy
from services.classification.domain.detection import thresholds
from services.classification.domain.detection.baseline import Baseline, Shape
from services.classification.domain.detection.engine import BURST, KINDS, Asked, Series, Told, judge
from services.classification.domain.detection.filtering import Filter
from services.classification.domain.detection.panel import Judged, Panel
from services.classification.domain.detection.settings import DAYS, SETTINGS, WEEKS, Setting
from services.classification.domain.detection.standing import Setup, Standing

MONDAY = 18_263  # 2020-01-06 in days since 1970-01-05


def told(freq: str, counts: np.ndarray, asked: Asked | None = None, **more: np.ndarray) -> list[Told]:
    series = [
        Series(MONDAY if freq == "day" else 2600, row, **{name: value[index] for name, value in more.items()})
        for index, row in enumerate(counts)
    ]
    found: dict[int, Told] = dict(judge(freq, series, asked or Asked()))
    return [found[index] for index in range(len(series))]


@pytest.mark.parametrize("setting", [DAYS, WEEKS])
def test_the_filter_gives_what_summing_over_all_paths_one_state_at_a_time_gives(setting: Setting) -> None:
    """A slow second implementation, by the textbook's negative binomial."""
    filter_ = Filter(setting.kinds)
    mean, phi = 3.0, 1.8
    ratios = filter_.ratios(np.array([mean]), np.array([phi]), np.array([0.01]))
    posterior = np.tile(filter_.start, (1, 1))
    slow = list(filter_.start)
    crowding = filter_.kinds.crowding
    carried = filter_.transition
    if filter_.many is not None:
        deviation = math.sqrt(phi * mean)
        share = deviation / (deviation + filter_.kinds.cases)
        carried = np.array([(1 - share) * few + share * many for few, many in zip(carried, filter_.many, strict=True)])
    for count in (2, 9, 14, 3):
        posterior, odds = filter_.step(posterior, np.array([float(count)]), np.array([mean]), np.array([phi]), ratios)
        likelihood = []
        for ratio in ratios[0]:
            size = mean / (phi - 1) * ratio**crowding
            m = ratio * mean
            log = math.lgamma(count + size) - math.lgamma(size)
            likelihood.append(math.exp(log + count * math.log(m / (size + m)) + size * math.log(size / (size + m))))
        ahead = [
            sum(slow[i] * carried[i, j] for i in range(filter_.states)) * likelihood[j] for j in range(filter_.states)
        ]
        calm = 1 - sum(slow[filter_.event])
        new = sum(calm * filter_.onset[j] * likelihood[j] for j in range(filter_.states)[filter_.event])
        event = sum(ahead[filter_.event])
        worth, against = event + (filter_.kinds.fresh - 1) * new, sum(ahead) - event
        if filter_.kinds.stay_after:
            worth += filter_.kinds.unseen * event * (calm - sum(slow[filter_.after]))
            against -= (1 - filter_.kinds.after) * sum(ahead[filter_.after])
        weighed = worth / against
        slow = [value / sum(ahead) for value in ahead]
        assert posterior[0] == pytest.approx(slow, rel=1e-6, abs=1e-9)
        assert float(odds[0]) == pytest.approx(math.log(weighed), rel=1e-6)


def test_an_alarm_on_quiet_series_is_as_rare_as_was_asked_whatever_the_level_G3() -> None:
    rng = np.random.default_rng(4)
    for levels in ((0.1, 0.4), (2.0, 8.0), (30.0, 150.0)):
        level = rng.uniform(*levels, 32)[:, None]
        wave = 1 + 0.3 * np.cos(2 * np.pi * np.arange(700) / 365.25)
        counts = noisy(rng, level * wave, rng.uniform(1, 3, 32)[:, None])
        found = told("day", counts)
        share = np.array([one.alarm[400:].mean() for one in found]).mean()
        assert 0.002 < share < 0.022, levels
        found = told("day", counts, Asked(episodes=0.5))
        episodes = episodes_of(np.array([one.alarm[400:] for one in found])).mean() * 365.25 / 300
        assert episodes < 0.9, levels


def test_isolated_bursts_do_not_alarm_and_what_goes_on_does_D2() -> None:
    """A small sample of bench D2: bounds are the bar's, widened by the sample's three standard errors."""
    data = daily(np.random.default_rng(1), 105)
    asked = Asked(episodes=0.5)
    loud = told("day", data.counts, asked, customers=data.customers)
    quiet = told("day", data.quiet, asked, customers=data.quiet_customers)
    found = daily_measures(np.array([one.alarm for one in loud]), np.array([one.alarm for one in quiet]), data)
    assert found["POD"] > 0.60
    assert found["F1"] > 0.60
    assert found["iso28"] <= 0.17


def test_one_customer_forty_times_is_a_burst_and_never_an_alarm_G3() -> None:
    rng = np.random.default_rng(3)
    customers = rng.poisson(2.0, (1, 400))
    counts = customers.copy()
    counts[0, 350] += 40
    customers[0, 350] += 1
    (one,) = told("day", counts, customers=customers)
    assert not one.alarm[350:365].any()
    assert one.kind[350] == BURST


def test_a_day_of_many_customers_is_a_burst_and_a_second_and_third_day_are_not() -> None:
    rng = np.random.default_rng(5)
    counts = rng.poisson(3.0, (2, 420))
    counts[0, 400] += 60
    counts[1, 400:406] += 12
    once, on = told("day", counts)
    assert not once.alarm[400:].any()
    assert once.kind[400] == BURST
    assert on.alarm[400:404].any()
    assert KINDS[on.kind[404]] in {"surge", "shift"}


def test_an_old_lasting_change_of_level_is_the_new_usual() -> None:
    rng = np.random.default_rng(6)
    counts = rng.poisson(np.where(np.arange(1000) < 500, 6.0, 12.0), (8, 1000))
    alarms = np.array([one.alarm for one in told("day", counts)])
    assert alarms[:, 500:530].any(axis=1).all()
    late = alarms[:, 700:].mean(axis=1)  # 1 % is asked, and alarms come in runs
    assert late.mean() < 0.05
    assert late.max() < 0.3


def test_a_year_at_zero_and_then_five_hundred_a_day_alarms_at_once_and_does_not_forever() -> None:
    counts = np.zeros((1, 1200), dtype=np.int64)
    counts[0, 400:] = np.random.default_rng(1).poisson(500, 800)
    (one,) = told("day", counts)
    assert not one.alarm[:400].any()
    assert one.alarm[400:404].any()
    assert not one.alarm[900:].any()
    assert np.isfinite(one.expected).all()


def test_all_zeros_one_row_and_a_series_that_began_yesterday_say_nothing() -> None:
    for counts in (np.zeros((1, 500)), np.array([[7]]), np.array([[3, 900]])):
        for freq in SETTINGS:
            (one,) = told(freq, counts.astype(np.int64))
            assert not one.alarm.any()
            assert np.isfinite([one.expected, one.upper, one.score]).all()


def test_more_complaints_because_of_more_customers_is_no_alarm() -> None:
    rng = np.random.default_rng(8)
    exposure = np.where(np.arange(500) < 450, 1.0, 3.0)[None, :]
    counts = rng.poisson(5.0 * exposure)
    (with_it,) = told("day", counts, exposure=exposure)
    (without,) = told("day", counts)
    assert without.alarm[450:].any()
    assert not with_it.alarm[450:].any()
    assert with_it.expected[460:].mean() == pytest.approx(15.0, rel=0.2)


def test_a_slow_ramp_is_found() -> None:
    rng = np.random.default_rng(9)
    ramp = np.clip((np.arange(700) - 600) / 60, 0, 1)
    counts = rng.poisson(20.0 * (1 + ramp), (5, 700))
    alarms = np.array([one.alarm for one in told("day", counts, Asked(episodes=0.5))])
    assert alarms[:, 600:660].any(axis=1).all()


def test_a_baseline_knows_its_season_trend_and_uncertainty() -> None:
    rng = np.random.default_rng(10)
    weeks = np.arange(300)
    mean = 20 * np.exp(0.1 * weeks / 52.18 + 0.5 * np.cos(2 * np.pi * weeks * 7 / 365.25))
    base = Baseline(40, Shape(), np.zeros(40, dtype=np.int64))
    counts = rng.poisson(mean, (40, 300)).astype(float)
    for at in range(60, 281, 4):
        base.refit(at, counts, np.ones_like(counts))
    expected, variance = base.predict(np.arange(280, 300))
    error = np.log(expected / mean[280:])
    assert np.abs(error).mean() < 0.07
    assert np.sqrt((error**2).mean()) < 2 * np.sqrt(variance.mean()) < 0.3


def quiet_weeks(weeks: np.ndarray, mean: np.ndarray, shape: Shape) -> Baseline:
    """Poisson counts of 80 series and a baseline fitted to all weeks but the last 20."""
    counts = np.random.default_rng(21).poisson(mean, (80, len(weeks))).astype(float)
    base = Baseline(80, shape, np.zeros(80, dtype=np.int64))
    for at in range(52, len(weeks) - 19, 4):
        base.refit(at, counts, np.ones_like(counts))
    return base


def test_weeks_without_season_or_trend_do_not_pay_for_them() -> None:
    """Over 480 weeks a level alone is known to a twentieth of a week's noise; with trend and both waves it would be an eighth."""
    weeks = np.arange(500)
    mean = np.full(500, 20.0)
    errors = {}
    for averaged in (False, True):
        base = quiet_weeks(weeks, mean, replace(WEEKS.shape, averaged=averaged))
        expected = base.predict(np.arange(480, 500))[0]
        errors[averaged] = float(np.sqrt(((expected - 20.0) ** 2).mean() / 20.0))
    assert errors[True] < 0.07
    assert errors[False] > 0.09


@pytest.mark.parametrize(("year", "chosen"), [(364.0, 0), (365.25, 1)])
def test_a_calendar_of_52_weeks_is_told_from_the_suns(year: float, chosen: int) -> None:
    weeks = np.arange(500)
    angle = 2 * np.pi * weeks * 7 / year
    base = quiet_weeks(weeks, 20.0 * np.exp(0.5 * np.cos(angle) + 0.3 * np.sin(2 * angle)), WEEKS.shape)
    assert (base.fit.year == chosen).mean() > 0.9


def test_scores_grow_with_odds_and_cut_where_they_say() -> None:
    for name in SETTINGS:
        level, phi = np.full(200, 3.0), np.full(200, 1.6)
        exact, leaning = thresholds.score(name, np.linspace(-8, 20, 200), level, phi)
        assert (np.diff(exact) >= 0).all()
        down, up = thresholds.MOST[name]
        assert (leaning - exact >= down - 1e-9).all()
        assert (leaning - exact <= up + 1e-9).all()
        cut = thresholds.cut_for_share(name, 0.01, level[:1], phi[:1])
        assert thresholds.score(name, cut, level[:1], phi[:1])[0] == pytest.approx(2.0, abs=1e-6)


def test_one_complaint_more_is_judged_as_the_whole_day_again_would_be() -> None:
    rng = np.random.default_rng(11)
    history = rng.poisson(4.0, (50, 400))
    standing = Standing.of(Setup(far=0.001), history, np.zeros(50, dtype=np.int64))
    other = Standing.restored(standing.snapshot())
    today = rng.poisson(4.0, 50)
    standing.advance(today)
    for row in range(50):
        standing.add(row, int(today[row]) + 20)
    other.advance(today + 20)
    assert np.array_equal(standing.alarms(), other.alarms())
    assert standing.panels[0].posterior == pytest.approx(other.panels[0].posterior)


def test_a_snapshot_goes_on_as_if_nothing_had_happened_and_another_version_is_refused() -> None:
    rng = np.random.default_rng(12)
    standing = Standing.of(Setup(), rng.poisson(2.0, (30, 300)), np.zeros(30, dtype=np.int64))
    kept = standing.snapshot()
    again = Standing.restored(kept)
    for _ in range(20):
        today = rng.poisson(2.0, 30)
        standing.advance(today)
        again.advance(today)
    assert np.array_equal(standing.panels[0].posterior, again.panels[0].posterior)
    assert np.array_equal(standing.panels[0].base.fit.beta, again.panels[0].base.fit.beta)
    with pytest.raises(ValueError, match="version 9"):
        Standing.restored(kept | {"version": 9})


def test_one_long_series_costs_its_neighbours_neither_time_nor_judgement(monkeypatch: pytest.MonkeyPatch) -> None:
    """R09, bad input: one series of a year among many of a month. Rows that have ended are left behind, and nobody's verdict changes."""
    rng = np.random.default_rng(8)
    short = [Series(MONDAY, rng.poisson(2.0, 40)) for _ in range(95)]
    long_ = Series(MONDAY, np.concatenate([rng.poisson(3.0, 330), rng.poisson(12.0, 30)]))
    stepped: list[int] = []
    step = Panel.step

    def watched(self: Panel, counts: np.ndarray, exposure: np.ndarray | None = None) -> Judged:
        stepped.append(len(counts))
        return step(self, counts, exposure)

    monkeypatch.setattr(Panel, "step", watched)
    worked: list[int] = []
    together = dict(judge("day", [*short, long_], Asked(), worked.append))
    assert sum(worked) == 95 * 40 + 360
    assert stepped == [96] * 56 + [32] * 304
    assert [len(together[index].score) for index in (0, 94, 95)] == [40, 40, 360]
    alone = dict(judge("day", [long_], Asked()))[0]
    assert (together[95].score == alone.score).all()
    assert (together[95].kind == alone.kind).all()
    assert together[95].alarm[-20:].any()


def test_an_event_of_many_cases_is_expected_to_have_latecomers_and_one_of_few_is_not() -> None:
    """A week after an event of the same size in standard deviations, usual counts: of a hundred cases some are still to come."""
    filter_ = Filter(WEEKS.kinds)
    left = {}
    for mean in (0.5, 100.0):
        means, phi = np.array([mean]), np.array([1.2])
        ratios = filter_.ratios(means, phi, np.array([1e-4]))
        posterior, odds = np.tile(filter_.start, (1, 1)), np.zeros(1)
        sd = math.sqrt(1.2 * mean)
        for count in (mean + 4 * sd, mean + 3.5 * sd, mean):
            posterior, odds = filter_.step(posterior, np.array([round(count)], dtype=float), means, phi, ratios)
        left[mean] = float(odds[0])
    assert left[100.0] > left[0.5] + 1.0
