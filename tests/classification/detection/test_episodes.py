"""False alarm episodes asked for over a file: shared out to where an alarm finds more, and as many as was asked."""

import numpy as np
import pytest

from bench.streams import episodes_of, noisy
from services.classification.domain.detection import thresholds
from services.classification.domain.detection.engine import Asked, Series, Told, judge
from services.classification.domain.detection.settings import SETTINGS

MONDAY = 18_263  # 2020-01-06 in days since 1970-01-05
PAST, SCORED = 400, 400


def told(series: list[Series], episodes: float) -> list[Told]:
    found = dict(judge("day", series, Asked(episodes=episodes)))
    return [found[index] for index in range(len(series))]


def a_year(levels: np.ndarray, asked: float, seed: int) -> np.ndarray:
    """Episodes a year of quiet series with a season and weekends."""
    rng = np.random.default_rng(seed)
    t = np.arange(PAST + SCORED)
    wave = (1 + 0.2 * np.cos(2 * np.pi * t / 365.25)) * np.where(t % 7 < 5, 1.2, 0.5)
    counts = noisy(rng, levels[:, None] * wave, rng.uniform(1, 3, len(levels))[:, None])
    found = told([Series(MONDAY, row) for row in counts], asked)
    return np.asarray(episodes_of(np.array([one.alarm[PAST:] for one in found])) * 365.25 / SCORED)


@pytest.mark.parametrize("freq", list(SETTINGS))
def test_shares_of_the_episodes_have_what_was_asked_as_their_mean_and_leave_no_series_without(freq: str) -> None:
    rng = np.random.default_rng(1)
    level, phi = 10 ** rng.uniform(-1.5, 2.5, 300), rng.uniform(1, 6, 300)
    among = rng.random(300) < 0.8
    shares = thresholds.spent(freq, 0.5, level, phi, among)
    assert shares[among].mean() == pytest.approx(0.5)
    assert shares.min() > 0.5 / 4
    assert shares.max() < 0.5 * 4
    if freq in thresholds.SPENDS:
        assert shares[level > 30].mean() < 0.4
        assert shares[(level > 0.3) & (level < 1)].mean() > 0.55


def test_a_series_alone_and_alike_ones_have_what_was_asked_whatever_their_level() -> None:
    for level in (0.05, 1.0, 200.0):
        for number in (1, 7):
            several, phi = np.full(number, level), np.full(number, 1.7)
            shares = thresholds.spent("day", 0.3, several, phi, np.ones(number, dtype=bool))
            assert shares == pytest.approx(0.3)
            # rows that only fill the panel up, or cannot be judged yet, take nothing from those that are judged
            more = np.append(several, [1e-4, 3.0])
            among = np.append(np.ones(number, dtype=bool), [False, False])
            shares = thresholds.spent("day", 0.3, more, np.full(number + 2, 1.7), among)
            assert shares[:number] == pytest.approx(0.3)


@pytest.mark.parametrize(
    "levels",
    [np.full(192, 2.0), np.where(np.arange(192) % 2, 0.2, 60.0), np.where(np.arange(192) < 180, 60.0, 0.5)],
    ids=["equal", "halves far apart", "a few small ones"],
)
def test_quiet_files_have_about_as_many_episodes_as_was_asked_however_unequal_their_series_G3(
    levels: np.ndarray,
) -> None:
    """192 series and 400 days; episodes come at most as unevenly as Poisson's, so that the bound above is 4 standard errors from two a year."""
    measured = a_year(levels, 2.0, seed=2)
    assert 1.3 < measured.mean() < 2.4


def test_cutting_a_file_off_changes_no_earlier_alarm_where_episodes_are_shared_out() -> None:
    """Small and large series that begin and end on different days: what a series may spend depends on those judged that day alone."""
    rng = np.random.default_rng(3)
    series = []
    for number in range(70):
        level = (0.3, 40.0)[number % 2]
        days = np.arange(420 - 5 * number if number % 3 else 420)
        series.append(Series(MONDAY + 3 * number, rng.poisson(level * np.where(days > 200, 1.6, 1.0))))
    whole = told(series, 3.0)
    for cut in (MONDAY + 150, MONDAY + 297):
        kept = [index for index, one in enumerate(series) if one.first <= cut]
        short = told([Series(series[i].first, series[i].counts[: cut + 1 - series[i].first]) for i in kept], 3.0)
        alarms = 0
        for index, one in zip(kept, short, strict=True):
            number = len(one.alarm)
            assert (whole[index].alarm[:number] == one.alarm).all()
            assert (whole[index].kind[:number] == one.kind).all()
            assert (whole[index].score[:number] == one.score).all()
            alarms += int(one.alarm.sum())
        assert cut == MONDAY + 150 or alarms > 20
