"""Many slices move, few things failed: each is named once, by the narrowest set of values."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from itertools import product
from typing import Any

import numpy as np
import pytest

from services.classification.domain.localisation import (
    Contact,
    Cube,
    Noise,
    Open,
    Rules,
    learn,
    localise,
    silenced,
    window,
)
from services.classification.domain.localisation.evidence import gain, log_tail

DIMENSIONS = ("product", "location", "touchpoint", "agent")
VALUES = {
    "product": ["internet", "mobile", "tv", "phone"],
    "location": ["pasto", "cali", "bogota", "neiva", "tunja"],
    "touchpoint": ["call_centre", "shop", "web"],
    "agent": [f"agent-{number}" for number in range(8)],
}
HISTORY = 56


def world(seed: int = 1, daily: float = 900.0) -> tuple[Cube, np.ndarray, Noise, np.random.Generator]:
    """A cube of 480 leaves, some large and many small, with eight weeks of quiet history."""
    random = np.random.default_rng(seed)
    leaves = [dict(zip(DIMENSIONS, values, strict=True)) for values in product(*VALUES.values())]
    cube = Cube.of(DIMENSIONS, leaves)
    usual = random.lognormal(0, 1, cube.leaves)
    usual *= daily / usual.sum()
    past = random.poisson(usual * random.lognormal(0, 0.05, (HISTORY, 1)), (HISTORY, cube.leaves)).astype(float)
    return cube, past.mean(axis=0), learn(cube, past, past.mean(axis=0), 1 / HISTORY), random


def raised(cube: Cube, usual: np.ndarray, *failures: tuple[Mapping[str, tuple[str, ...]], float]) -> np.ndarray:
    mean = usual.copy()
    for where, ratio in failures:
        choice = cube.chosen(where)
        assert choice is not None
        mean[cube.mask(choice)] *= ratio
    return mean


def test_a_quiet_cube_has_no_finding_in_two_hundred_days() -> None:
    cube, usual, noise, random = world()
    found = [
        localise(cube, random.poisson(usual * random.lognormal(0, 0.05)).astype(float), usual, noise)
        for _ in range(200)
    ]
    assert sum(len(look.findings) for look in found) <= 3, "two a year are asked for"


@pytest.mark.parametrize(
    "where",
    [
        {"product": ("internet",)},
        {"product": ("internet",), "location": ("pasto",)},
        {"product": ("mobile",), "location": ("cali", "pasto")},
        {"product": ("tv",), "location": ("bogota",), "touchpoint": ("shop",)},
    ],
)
def test_one_failure_is_one_finding_named_by_the_narrowest_set(where: dict[str, tuple[str, ...]]) -> None:
    cube, usual, noise, random = world()
    look = localise(cube, random.poisson(raised(cube, usual, (where, 4.0))).astype(float), usual, noise)
    assert [found.where for found in look.findings] == [where]
    found = look.findings[0]
    assert found.ratio == pytest.approx(4.0, rel=0.35)
    assert found.excess == pytest.approx(found.observed - found.expected, rel=0.1)
    assert found.log_p <= found.limit < 0
    assert set(found.leaves) == set(np.flatnonzero(cube.mask(cube.chosen(where) or {})).tolist())


def test_two_failures_that_overlap_are_two_findings() -> None:
    cube, usual, noise, random = world()
    failures: tuple[Any, ...] = (
        ({"product": ("internet",)}, 2.5),
        ({"location": ("pasto",), "touchpoint": ("shop",)}, 4.0),
    )
    look = localise(cube, random.poisson(raised(cube, usual, *failures)).astype(float), usual, noise)
    named = [found.where for found in look.findings]
    assert sorted(named, key=str) == sorted((where for where, _ in failures), key=str)


def test_a_rise_of_everything_is_no_failure_anywhere() -> None:
    cube, usual, noise, random = world()
    look = localise(cube, random.poisson(usual * 1.4).astype(float), usual, noise)
    assert not look.findings
    assert look.common == pytest.approx(1.4, rel=0.06)


def test_moved_slices_a_finding_explains_are_silenced_and_others_are_not() -> None:
    cube, usual, noise, random = world()
    counts = random.poisson(raised(cube, usual, ({"product": ("internet",), "location": ("pasto",)}, 5.0))).astype(
        float
    )
    look = localise(cube, counts, usual, noise)
    assert len(look.findings) == 1
    inside = [{"product": ("internet",)}, {"location": ("pasto",)}, {"product": ("internet",), "location": ("pasto",)}]
    assert silenced(cube, counts, look, noise, inside) == [0, 0, 0]
    counts[cube.mask(cube.chosen({"product": ("tv",)}) or {})] *= 3
    assert silenced(cube, counts, look, noise, [{"product": ("tv",)}, {"product": ("no such",)}]) == [None, None]


def test_a_failure_keeps_its_finding_and_its_name_from_day_to_day() -> None:
    cube, usual, noise, random = world()
    where = {"product": ("internet",), "location": ("pasto",)}
    names: list[dict[str, tuple[str, ...]]] = []
    for _ in range(14):
        counts = random.poisson(raised(cube, usual, (where, 3.0))).astype(float)
        for found in localise(cube, counts, usual, noise, open_findings=[Open(name) for name in names]).findings:
            if found.same_as is None:
                names.append(found.where)
            elif found.renamed:
                names[found.same_as] = found.where
    assert names == [where]


def test_nobody_is_named_on_thin_evidence() -> None:
    """A single agent needs more complainants and a stricter limit than a product does."""
    cube, usual, noise, random = world(daily=150)
    where = {"agent": ("agent-3",)}
    rules = Rules(protected=frozenset({"agent"}), least_protected=90)
    counts = random.poisson(raised(cube, usual, (where, 4.0))).astype(float)
    assert counts[cube.mask(cube.chosen(where) or {})].sum() < 90
    assert [found.where for found in localise(cube, counts, usual, noise).findings] == [where]
    named = [found.where for found in localise(cube, counts, usual, noise, rules).findings]
    assert all("agent" not in name for name in named)


def test_the_same_look_gives_the_same_numbers() -> None:
    cube, usual, noise, random = world()
    counts = random.poisson(raised(cube, usual, ({"touchpoint": ("web",), "product": ("tv",)}, 3.0))).astype(float)
    first, second = (localise(cube, counts, usual, noise) for _ in range(2))
    assert first.findings == second.findings
    assert np.array_equal(first.mean, second.mean)


@pytest.mark.parametrize("bad", [np.full(480, -1.0), np.full(480, np.nan), np.ones(3)])
def test_counts_that_are_none_are_refused(bad: np.ndarray) -> None:
    cube, usual, noise, _ = world()
    with pytest.raises(ValueError, match=r"leaves|finite"):
        localise(cube, bad, usual, noise)


def test_a_value_never_seen_before_is_rare_not_impossible() -> None:
    """Five complaints where the whole baseline had none were once infinitely surprising, and six findings of one place."""
    cube, usual, noise, random = world()
    place = int(np.argmin(usual))
    usual[place] = 0.0
    counts = random.poisson(usual).astype(float)
    counts[place] = 5.0
    look = localise(cube, counts, usual, Noise(1.8, noise.exposure, 0.0, noise.spread))
    assert len(look.findings) <= 1


def test_the_gain_is_kulldorffs_where_the_expectation_is_certain() -> None:
    count, expected = np.array([30.0, 8.0]), np.array([12.0, 9.0])
    exact = 30 * np.log(30 / 12) - 18
    assert gain(count, expected, 0.0)[0] == pytest.approx(exact, rel=2e-3)
    assert gain(count, expected, 0.0)[1] == 0
    assert gain(count, expected, 0.5)[0] < exact, "an uncertain expectation proves less"


def test_the_tail_is_that_of_the_negative_binomial_summed_term_by_term() -> None:
    mean, variance = 4.0, 7.0
    size = mean**2 / (variance - mean)
    p = size / (size + mean)
    mass, total = p**size, 0.0
    for k in range(12):
        total += mass
        mass *= (k + size) / (k + 1) * (1 - p)
    assert np.exp(log_tail(12.0, mean, variance)) == pytest.approx(1 - total, rel=1e-9)


def contacts(seed: int, failing: bool) -> list[Contact]:
    """Half a year of contacts; in the last week the web shop fails in Cali, and one customer of Pasto calls forty times."""
    random = np.random.default_rng(seed)
    found: list[Contact] = []
    for day in range(190):
        for number in range(random.poisson(40)):
            values = {
                "touchpoint": str(random.choice(["shop", "web", "phone"])),
                "location": str(random.choice(["cali", "pasto", "neiva", "tunja"])),
            }
            found.append(Contact(date(2026, 1, 1) + timedelta(days=day), f"{day}-{number}", values))
            if failing and day >= 183 and values == {"touchpoint": "web", "location": "cali"}:
                found += [Contact(found[-1].day, f"{day}-{number}-{again}", values) for again in range(3)]
    last = date(2026, 1, 1) + timedelta(days=189)
    return found + [Contact(last, "angry", {"touchpoint": "phone", "location": "pasto"})] * 40


def test_contacts_of_a_week_are_located_and_one_customer_calling_forty_times_is_one() -> None:
    through = date(2026, 1, 1) + timedelta(days=189)
    for failing in (False, True):
        given = contacts(1, failing)
        found = window(given, ("touchpoint", "location"), through)
        assert found is not None
        look = localise(found.cube, found.counts, found.expected, found.noise, contacts=found.contacts)
        assert [each.where for each in look.findings] == (
            [{"touchpoint": ("web",), "location": ("cali",)}] if failing else []
        )
        assert found.contacts.sum() >= found.counts.sum() + 39
        again = window(list(reversed(given)), ("touchpoint", "location"), through)
        assert again is not None
        assert np.array_equal(again.counts, found.counts), "the order of contacts decides nothing"


def test_before_six_weeks_of_past_nothing_is_located() -> None:
    given = [each for each in contacts(1, failing=True) if each.day >= date(2026, 6, 15)]
    assert window(given, ("touchpoint", "location"), date(2026, 7, 9)) is None
    assert window([], ("touchpoint",), date(2026, 7, 9)) is None


def test_a_free_text_attribute_makes_no_million_slices() -> None:
    day = date(2026, 1, 1)
    given = [
        Contact(day + timedelta(days=number % 120), str(number), {"note": f"text {number}"}) for number in range(3_000)
    ]
    found = window(given, ("note",), day + timedelta(days=119))
    assert found is not None
    assert found.cube.leaves <= 501
