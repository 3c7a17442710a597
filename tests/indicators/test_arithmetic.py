"""The arithmetic against known values and against what must hold for any."""

import math
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.indicators.domain.arithmetic import (
    TOO_FEW,
    business_days,
    counted,
    level,
    poisson_interval,
    proportion,
    quantile,
    quantile_interval,
    summarised,
    wilson,
)
from services.indicators.domain.periods import TooManyPeriods, instant, micros, periods

BOGOTA, MADRID = ZoneInfo("America/Bogota"), ZoneInfo("Europe/Madrid")


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    # Newcombe (1998), Statistics in Medicine 17:857, table I, method 3.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_gives_the_published_intervals(successes: int, trials: int, low: float, high: float) -> None:
    assert wilson(successes, trials) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(
    ("count", "low", "high"),
    # Garwood's table, as in Ulm (1990), American Journal of Epidemiology 131:373.
    [(0, 0.0, 3.6889), (1, 0.0253, 5.5716), (5, 1.6235, 11.6683), (10, 4.7954, 18.3904), (100, 81.3640, 121.6272)],
)
def test_poisson_gives_the_published_intervals(count: int, low: float, high: float) -> None:
    assert poisson_interval(count) == pytest.approx((low, high), abs=1e-3)


@given(st.integers(0, 3_000))
def test_the_poisson_interval_covers_exactly_what_it_says(count: int) -> None:
    low, high = poisson_interval(count)

    def below(mean: float, upto: int) -> float:
        """P(X <= upto), summed in logarithms."""
        return math.fsum(math.exp(k * math.log(mean) - mean - math.lgamma(k + 1)) for k in range(upto + 1))

    assert low <= count <= high
    assert below(high, count) == pytest.approx(0.025, rel=1e-6)
    if count:
        assert 1 - below(low, count - 1) == pytest.approx(0.025, rel=1e-5)


@given(st.integers(0, 500), st.integers(1, 500))
def test_a_wilson_interval_holds_its_proportion_and_stays_a_proportion(successes: int, more: int) -> None:
    trials = successes + more
    low, high = wilson(successes, trials)
    assert 0 <= low <= successes / trials <= high <= 1


@given(
    st.lists(st.tuples(st.integers(-50, 50), st.integers(1, 4)), min_size=1, max_size=30), st.sampled_from([0.5, 0.9])
)
def test_quantiles_are_those_of_the_values_written_out(pairs: list[tuple[int, int]], share: float) -> None:
    flat = [float(value) for value, times in pairs for _ in range(times)]
    weighted = [(float(value), times) for value, times in pairs]
    found = quantile(weighted, share)
    assert found == pytest.approx(float(np.quantile(flat, share)))
    low, high = quantile_interval(weighted, share)
    assert min(flat) <= low <= found <= high <= max(flat)


def test_below_the_minimum_the_value_is_too_few_and_the_counts_stay() -> None:
    few = proportion(1, 4)
    assert (few.value, few.numerator, few.denominator, few.low, few.high) == (TOO_FEW, 1, 4, None, None)
    assert proportion(0, 0).value is None
    assert proportion(1, 5).value == 20
    assert summarised([(3.0, 4)], 0.5).value == TOO_FEW
    assert summarised([], 0.5).value is None
    assert counted(0).high == pytest.approx(3.6889, abs=1e-3)
    assert level(7).low is None


def test_business_days_begin_on_the_day_after_receipt() -> None:
    friday, monday = date(2026, 3, 6), date(2026, 3, 9)
    assert business_days(friday, friday) == 0
    assert business_days(friday, date(2026, 3, 8)) == 0
    assert business_days(friday, monday) == 1
    assert business_days(friday, date(2026, 3, 13)) == 5
    assert business_days(date(2026, 3, 7), monday) == 1
    assert business_days(friday, date(2026, 3, 13), [monday]) == 4
    assert business_days(monday, friday) == 0


@given(
    st.datetimes(datetime(2020, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC)),
    st.integers(1, 60 * 86_400),
    st.sampled_from(["hour", "day", "week", "month"]),
    st.sampled_from(
        [BOGOTA, MADRID, ZoneInfo("Australia/Lord_Howe"), ZoneInfo("Asia/Kathmandu"), ZoneInfo("America/Santiago")]
    ),
)
def test_periods_cover_the_range_once_and_their_arithmetic_agrees(
    start: datetime, seconds: int, granularity: str, zone: ZoneInfo
) -> None:
    end = start + timedelta(seconds=seconds)
    try:
        found = periods(start, end, granularity, zone)  # type: ignore[arg-type] # drawn from the four
    except TooManyPeriods:
        return
    assert found.start == micros(start)
    assert found.end == micros(end)
    assert list(found.edges) == sorted(set(found.edges))
    assert len(found.labels) == len(set(found.labels)) == len(found.edges) - 1
    step = found.step()
    for place, (first, after) in enumerate(zip(found.edges, found.edges[1:], strict=False)):
        for at in (first, after - 1):
            assert found.index(at) == place
            if step is not None:
                assert (at - step[0]) // step[1] == place
            if granularity == "day":
                assert instant(at).astimezone(zone).date().isoformat() == found.labels[place]
    assert found.index(found.end) is None


def test_a_day_has_23_hours_where_clocks_go_forward_and_the_repeated_hour_is_its_own_period() -> None:
    spring = periods(datetime(2026, 3, 28, 23, tzinfo=UTC), datetime(2026, 3, 29, 22, tzinfo=UTC), "hour", MADRID)
    assert len(spring.labels) == 23
    autumn = periods(datetime(2026, 10, 24, 22, tzinfo=UTC), datetime(2026, 10, 25, 23, tzinfo=UTC), "hour", MADRID)
    assert len(autumn.labels) == 25
    assert [label for label in autumn.labels if "T02:00" in label] == [
        "2026-10-25T02:00+02:00",
        "2026-10-25T02:00+01:00",
    ]
    assert (
        len(periods(datetime(2026, 3, 28, 23, tzinfo=UTC), datetime(2026, 3, 29, 22, tzinfo=UTC), "day", MADRID).labels)
        == 1
    )
