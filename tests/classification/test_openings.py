"""A place that opens brings what could not come before: no rise to the weekly sweep, and no reason to name a failure there more widely."""

from datetime import date, timedelta

import numpy as np

from services.classification.domain.localisation import Contact
from services.classification.domain.localisation.openings import settled, unknown, usual
from services.classification.domain.narrowing import narrow
from services.classification.domain.sweep import Tally, counted, look

MONDAY = date(2025, 1, 6)
MOTIVES, POINTS = ("m0", "m1", "m2"), ("t0", "t1", "t2", "new")


def weeks(seed: int, opens: int, failing: int | None = None, length: int = 30) -> Tally:
    """Complainants a week of each motive at each contact point; the last point opens in a week, and from `failing` on one motive brings
    three times as much there."""
    random = np.random.default_rng(seed)
    leaves = [(motive, point) for motive in MOTIVES for point in POINTS]
    level = np.array([(6.0 + 4 * MOTIVES.index(motive)) * (2 if point == "new" else 1) for motive, point in leaves])
    counts = random.poisson(level, (length, len(leaves))).astype(np.float64)
    for place, (motive, point) in enumerate(leaves):
        if point == "new":
            counts[:opens, place] = 0
            if motive == "m1" and failing is not None:
                counts[failing:, place] += random.poisson(2 * level[place], length - failing)
    return Tally(MONDAY, ("motive", "touchpoint"), leaves, counts)


def monday(week: int) -> date:
    return MONDAY + timedelta(days=7 * week)


def test_a_place_that_opens_is_no_failure_to_the_sweep_in_any_week_G3() -> None:
    """Nothing was expected of it, so that it was told as systemic after its first week; and half a year long of part of it."""
    for seed in range(3):
        tally = weeks(seed, opens=9, length=40)
        assert [risen for week in range(9, 40) for risen in look(tally, monday(week), [])] == []


def test_what_fails_at_a_place_that_opened_is_told_by_the_sweep_once_six_weeks_tell_of_it_R11() -> None:
    tally = weeks(4, opens=9, failing=20)
    (risen,) = look(tally, monday(20), [])
    assert risen.where == {"motive": "m1", "touchpoint": "new"}
    assert risen.observed == counted(tally, risen.where, monday(20))
    assert risen.expected < 25
    young = weeks(4, opens=15, failing=20)
    assert look(young, monday(20), []) == []
    # What is left out of a wider set's week is so each time it is counted.
    settled_ones = [place for place, (motive, point) in enumerate(young.leaves) if motive == "m1" and point != "new"]
    assert counted(young, {"motive": "m1"}, monday(20)) == young.counts[20, settled_ones].sum()


def test_a_failure_at_a_place_that_opened_within_the_half_year_is_named_as_narrowly_as_elsewhere_R11() -> None:
    """Before, all of the place was far above the mean of a half year in which it hardly existed, and gave the failure its name."""
    last, days, random, found = MONDAY + timedelta(days=199), 200, np.random.default_rng(6), list[Contact]()

    def add(day: int, motive: str, point: str, number: int) -> None:
        for _ in range(number):
            found.append(Contact(MONDAY + timedelta(days=day), f"c{len(found)}", {"motive": motive, "touchpoint": point}))  # fmt: skip

    for day in range(days):
        for place, point in enumerate(POINTS):
            for number, motive in enumerate(MOTIVES):
                if point != "new" or day >= 110:
                    add(day, motive, point, int(random.poisson(1 + number + place / 2)))
        add(day, "m1", "new", 9 if day >= 193 else 0)
    moved = {"touchpoint": "new"}
    assert narrow(found, last, 7, moved, []).where == {"motive": "m1", "touchpoint": "new"}


def test_a_rare_value_is_no_place_that_opened_and_a_motive_never_is() -> None:
    random = np.random.default_rng(1)
    leaves = [("m0", "t0"), ("m0", "rare"), ("turns up", "t0"), ("m0", "opens"), ("m0", "")]
    past = random.poisson(10.0, (20, 5)).astype(np.float64)
    past[:, 1], past[12, 1] = 0, 1
    past[:12, 2:] = 0
    gone = unknown(("motive", "touchpoint"), leaves, past, np.full(5, 10.0), 7)
    assert gone.tolist() == [0, 0, 0, 13, 0]
    assert settled(past, gone, 6).all()
    assert not settled(past, gone, 8)[3]
    expected, each, whole = usual(past, gone)
    assert expected[3] == past[13:, 3].mean()
    assert (each[:13, 3] == 0).all()
    assert (whole[:13, 3] == 0).all()
    first = unknown(("motive", "touchpoint"), leaves, np.where(np.arange(5) == 1, 0.0, past), np.full(5, 9.0), 7)
    assert first[1] == 21, "heard of for the first time in the week that is looked at"
