"""Holidays and the days after them are expected once they are known from a calendar and a few of them were seen."""

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from libs.events.catalogue.findings import Verdict
from libs.service.settings import BadSettings
from libs.service.testing import running
from services.classification.app import build
from services.classification.calendars import BadCalendar, parse
from services.classification.detect_cli import register
from services.classification.domain.detection.engine import BURST, Asked, Series, judge
from services.classification.domain.judges import Judges
from services.classification.domain.monitor import Rules
from services.classification.domain.slices import at
from services.classification.domain.watch import Watch
from services.classification.held import pack, unpack
from tests.classification.streams import ORIGIN, quiet

MONDAY = (ORIGIN - date(1970, 1, 5)).days
COLOMBIA = parse("CO").days(ORIGIN.year, ORIGIN.year + 2)
DAYS, SLICES = 420, 60
OFF = [day - MONDAY for day in COLOMBIA if 0 <= day - MONDAY < DAYS]


def world(seed: int, failure: int | None = None) -> np.ndarray:
    """Slices of all sizes; a fifth comes on holidays, nearly twice the usual on the day after. `failure`: the day from which on five of
    a middling size bring two and a half times as much."""
    rng = np.random.default_rng(seed)
    levels = np.exp(rng.normal(1, 1, SLICES))
    dispersion = rng.uniform(1, 2, SLICES)
    counts = quiet(rng, levels, DAYS, dispersion)
    after = [day + 1 for day in OFF if day + 1 not in OFF and day + 1 < DAYS]
    counts[:, OFF] = quiet(rng, 0.2 * levels, DAYS, dispersion)[:, OFF]
    counts[:, after] = quiet(rng, 1.9 * levels, DAYS, dispersion)[:, after]
    if failure is not None:
        some = np.argsort(levels)[SLICES // 2 : SLICES // 2 + 5]
        counts[some, failure:] += rng.poisson(1.5 * levels[some, None], (5, DAYS - failure))
    return counts


def watched(counts: np.ndarray, holidays: tuple[int, ...], false_alarms: float = 0.25) -> Watch:
    watch = Watch(rules=Rules(false_alarms, holidays=holidays, calendar="CO"))
    places = zip(*np.nonzero(counts), strict=True)
    watch.fill(
        [
            (at(f"m{row}", "t"), ORIGIN + timedelta(days=int(day)), int(counts[row, day]), int(counts[row, day]))
            for row, day in places
        ]
    )
    watch.advance(ORIGIN + timedelta(days=counts.shape[1] - 1))
    return watch


def said(watch: Watch) -> dict[tuple[str, str], list[int]]:
    """Days on which episodes began, by slice and verdict."""
    found: dict[tuple[str, str], list[int]] = {}
    for key in watch.keys:
        for episode in watch.episodes(key):
            found.setdefault((dict(key)["motive"], episode.verdict.value), []).append(episode.start)
    return found


def test_with_a_calendar_the_busy_day_after_a_holiday_is_not_told_as_isolated_R12() -> None:
    counts = world(12)
    isolated = []
    for holidays in ((), COLOMBIA):
        found = said(watched(counts, holidays, false_alarms=4.0))
        began = [day for (_, verdict), days in found.items() if verdict == Verdict.ISOLATED for day in days]
        isolated.append(sum(day in OFF or day - 1 in OFF for day in began))
    assert isolated[0] >= 10, "without one"
    assert isolated[1] <= 1


@pytest.mark.parametrize("later", [0, 1])
def test_what_begins_to_fail_on_a_holiday_or_on_the_day_after_it_is_found_all_the_same_G3(later: int) -> None:
    begins = OFF[-3] + later
    found = said(watched(world(21, begins)[:, : begins + 21], COLOMBIA))
    told = [days for (_, verdict), days in found.items() if verdict == Verdict.SYSTEMIC]
    assert len(told) >= 4
    assert all(min(days) >= begins for days in told), "and nothing else"


def test_a_series_alone_learns_its_own_holidays_and_the_day_after_is_no_burst() -> None:
    counts = world(12)[20:]
    bursts = []
    for holidays in ((), COLOMBIA):
        asked = Asked(0.01, 0.5, holidays)
        kinds = np.zeros(counts.shape, dtype=np.int64)
        for index, told in judge("day", [Series(MONDAY, row) for row in counts], asked):
            kinds[index] = told.kind
        after = [day + 1 for day in OFF if 150 < day < DAYS - 1]
        bursts.append(int((kinds[:, after] == BURST).sum()))
    assert bursts[0] >= 12
    assert bursts[1] <= bursts[0] / 3


def test_a_holiday_declared_late_changes_nothing_of_the_days_before_it() -> None:
    """And everything is the same for whoever knew it from the start: the calendar is an input like the counts."""
    counts = world(13)[:20, :150].astype(float)
    lanes = []
    for holidays in (COLOMBIA, (*COLOMBIA, MONDAY + 120)):
        judges, alive = Judges(MONDAY, 5.0, 5, holidays), np.ones(20, dtype=bool)
        lanes.append([judges.step(row, np.zeros(20), alive, np.arange(20))[0] for row in counts.T])
    for day, (one, other) in enumerate(zip(*lanes, strict=True)):
        assert np.array_equal(one.odds, other.odds) == (day < 120)
        assert np.array_equal(one.factor, other.factor) or day >= 120
    assert (lanes[0][120].factor == 1).all()
    assert (lanes[1][120].factor < 1).all(), "what other holidays brought is expected of it"


def test_going_back_and_a_snapshot_keep_what_is_known_of_holidays() -> None:
    counts = world(14)[:30, :200]
    watch = watched(counts, COLOMBIA)
    before = [watch.episodes(key) for key in watch.keys]
    packed = watch.packed(pack)
    assert packed is not None
    again = Watch(rules=watch.rules)
    unpack(packed[1], again)
    again.fill([(key, watch.day_of(day), int(watch.fresh[row, day]), int(watch.contacts[row, day])) for row, key in enumerate(watch.keys) for day in range(200)])  # fmt: skip
    again.advance(watch.day_of(199))
    key, late = watch.keys[0], watch.day_of(150)
    watch.add(key, late, 3, 3)
    watch.advance(watch.day_of(199))
    watch.add(key, late, -3, -3)
    watch.advance(watch.day_of(199))
    for other in (again, watch):
        assert [other.episodes(one) for one in watch.keys] == before
        assert other._judges is not None
        held = other._judges.customers.panel.holidays
        assert held is not None
        assert 0.15 < held.usual[0] < 0.35
        assert 1.5 < held.usual[1] < 2.2


@pytest.mark.parametrize("text", ["XX", "co", "CO-ANT", "CO, DE", "2026-13-01", "CO, next monday", ","])
def test_a_calendar_that_is_not_known_is_refused_by_its_part(text: str) -> None:
    with pytest.raises(BadCalendar) as caught:
        parse(text)
    assert caught.value.value in text


def test_a_calendar_has_a_country_a_part_of_one_and_dates_of_its_own() -> None:
    own = parse("CO, 2026-11-27, -2026-12-08")
    days = {date.fromordinal(date(1970, 1, 5).toordinal() + day) for day in own.days(2026, 2026)}
    assert {date(2026, 11, 27), date(2026, 12, 25)} < days
    assert date(2026, 12, 8) not in days
    assert own.name.startswith("CO of holidays ")
    assert own.name.endswith(", 2026-11-27, -2026-12-08")
    assert set(parse("DE").days(2026, 2026)) < set(parse("DE-BY").days(2026, 2026))
    assert parse("2026-11-27").days(1990, 2100) == ((date(2026, 11, 27) - date(1970, 1, 5)).days,)


def test_the_command_says_in_one_line_what_is_wrong_with_a_calendar(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAZO_LANGUAGE", "en")
    app = typer.Typer()
    register(app)
    counts = tmp_path / "counts.csv"
    rows = [f"a,{ORIGIN + timedelta(days=day)},{3 + day % 4}" for day in range(80)]
    counts.write_text("\n".join(["series,date,count", *rows]))

    def run(*more: str) -> tuple[int, str]:
        found = CliRunner().invoke(app, [str(counts), *more])
        return found.exit_code, found.stderr

    assert run("--holidays", "XX") == (1, "lazo: --holidays: “XX” is no country whose holidays are known (CO, DE-BY) and no date (2026-11-27, or -2026-12-08 for no holiday)\n")  # fmt: skip
    assert run("--holidays", "CO", "--freq", "week") == (1, "lazo: --holidays is for days, not for weeks\n")
    outs = [tmp_path / name for name in ("without.csv", "with.csv")]
    assert run("--out", str(outs[0]))[0] == run("--out", str(outs[1]), "--holidays", "CO")[0] == 0
    without, with_ = (out.read_text().splitlines() for out in outs)
    assert without != with_
    assert [line.split(",")[:3] for line in without] == [line.split(",")[:3] for line in with_]


async def test_a_service_does_not_start_with_a_calendar_that_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAZO_CLASSIFICATION_HOLIDAYS", "XX")
    with pytest.raises(BadSettings, match="LAZO_CLASSIFICATION_HOLIDAYS: 'XX'"):
        async with running(build):
            pass
