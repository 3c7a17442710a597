"""Series bad against their peers from the beginning, in `lazo detect` (R43, G3)."""

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest

from services.classification.domain.detection.chronics import chronics
from services.classification.domain.detection.engine import Asked, Series
from tests.classification.detection.test_detect_command import detect, written

WEEKS = 60


def peers(seed: int, ratio: float, places: int = 20, *, exposure: bool = True) -> list[str]:
    """Weekly rows of places with exposures that differ twentyfold and natural differences of 15 %; the first is bad throughout."""
    rng = np.random.default_rng(seed)
    size = np.exp(rng.uniform(np.log(300), np.log(6_000), places))
    size[0] = 2_000
    rate = 0.004 * rng.gamma(1 / 0.15**2, 0.15**2, places)
    rate[0] = 0.004 * ratio
    lines = []
    for week in range(WEEKS):
        day = date(2024, 1, 1) + timedelta(weeks=week)
        for place in range(places):
            said = f",{size[place]:.0f}" if exposure else ""
            lines.append(f"p{place},{day},{rng.poisson(size[place] * rate[place])}{said}")
    return lines


def chronic_of(rows: list[dict[str, str]]) -> dict[str, int]:
    found: dict[str, int] = {}
    for row in rows:
        if row["kind"] == "chronic":
            assert row["alarm"] == "1"
            assert float(row["score"]) >= 2, "as strong as --far asks of any alarm"
            found[row["series"]] = found.get(row["series"], 0) + 1
    return found


@pytest.mark.parametrize("freq", ["week", "day"])
def test_a_place_twice_as_bad_as_its_peers_from_the_beginning_is_chronic_and_its_peers_are_not_D4(
    tmp_path: Path, freq: str
) -> None:
    lines = peers(3, 2.2)
    rows = detect(written(tmp_path, "series,date,count,exposure\n" + "\n".join(lines)), "--freq", freq)[2]
    found = chronic_of(rows)
    # Rates that differ by 15 % leave another one 1.5 times as bad as usual now and then; none as steadily as what was planted.
    assert max(found, key=lambda name: found[name]) == "p0"
    assert len(found) <= 2
    assert found["p0"] > (WEEKS - 20) * (7 if freq == "day" else 1) * 0.8


def test_without_exposure_nobody_is_chronic_by_count_alone(tmp_path: Path) -> None:
    rows = detect(
        written(tmp_path, "series,date,count\n" + "\n".join(peers(3, 5.0, exposure=False))), "--freq", "week"
    )[2]
    assert not chronic_of(rows)


@pytest.mark.parametrize("keep", [18, 31, 46])
def test_what_peers_say_of_a_week_uses_nothing_after_it(tmp_path: Path, keep: int) -> None:
    """Some weeks have no row, one place stops and one begins late: cutting the file off changes no earlier row."""
    rng = np.random.default_rng(1)
    last = (date(2024, 1, 1) + timedelta(weeks=keep)).isoformat()
    lines = []
    for line in peers(5, 2.5):
        name, day = line.split(",")[:2]
        gone = (name == "p3" and day > "2024-06-20") or (name == "p4" and day < "2024-05-01") or rng.random() < 0.15
        if not gone:
            lines.append(line)
    head = "series,date,count,exposure\n"
    whole = detect(written(tmp_path, head + "\n".join(lines), "whole.csv"), "--freq", "week")[2]
    short = [line for line in lines if line.split(",")[1] <= last]
    cut = detect(written(tmp_path, head + "\n".join(short), "cut.csv"), "--freq", "week")[2]
    held = {(row["series"], row["date"]): row for row in whole}
    assert all(held[row["series"], row["date"]] == row for row in cut)
    assert (keep < 20) or chronic_of(cut)


def test_a_file_that_mixes_what_is_no_peer_of_each_other_is_told_nothing_unless_it_says_who_is() -> None:
    rng = np.random.default_rng(9)
    level = np.exp(rng.uniform(np.log(0.5), np.log(50), 40))
    series = [Series(2800, rng.poisson(one, WEEKS), None, np.ones(WEEKS), np.full(WEEKS, 10.0)) for one in level]
    assert not any(one is not None and one.on.any() for one in chronics("week", series, Asked()))
    level = np.repeat([1.0, 8.0, 60.0], 12)
    level[30] *= 2.5
    series = [Series(2800, rng.poisson(one, WEEKS), None, np.ones(WEEKS), np.full(WEEKS, 10.0)) for one in level]
    found = chronics("week", series, Asked(), [f"motive {one // 12}" for one in range(36)])
    assert [index for index, one in enumerate(found) if one is not None and one.on.any()] == [30]


def test_quiet_peers_are_seldom_told_chronic_G3() -> None:
    """The named are wrong in about one of twenty looks' worth: of a dozen quiet files of 25 places few name anybody."""
    rng = np.random.default_rng(11)
    rows = named = 0
    for _ in range(12):
        rate = 3.0 * rng.gamma(1 / 0.2**2, 0.2**2, 25)
        size = np.exp(rng.uniform(-1, 1.5, 25))
        series = [
            Series(2800, rng.poisson(s * r, 60), None, np.ones(60), np.full(60, s))
            for s, r in zip(size, rate, strict=True)
        ]
        for one in chronics("week", series, Asked()):
            assert one is not None
            rows, named = rows + 60, named + int(one.on.sum())
    assert named / rows < 0.01, "the share of alarmed periods on quiet series stays as asked"


def test_a_missing_exposure_is_no_rate_and_few_peers_say_nothing() -> None:
    counts = np.full(WEEKS, 9)
    alone = [Series(2800, counts, None, np.ones(WEEKS), np.full(WEEKS, 5.0)) for _ in range(3)]
    assert not any(one is not None and one.on.any() for one in chronics("week", alone, Asked()))
    assert chronics("week", [Series(2800, counts)], Asked()) == [None]
