"""Slices that are bad from the beginning, among peers that differ by nature."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pytest

from services.classification.domain.chronic import look
from services.classification.domain.funnel import chosen, compare
from services.classification.domain.peers import Peers


def peers(
    seed: int, number: int, spread: float, typical: float = 40.0
) -> tuple[np.random.Generator, np.ndarray, np.ndarray]:
    """Exposure of the peers and their usual rate, which differs by that much between them."""
    random = np.random.default_rng(seed)
    exposure = typical * random.lognormal(0, 1, number)
    return random, exposure, exposure * random.gamma(1 / spread**2, spread**2, number)


def test_peers_that_differ_by_nature_are_usual() -> None:
    """Of 3-sigma funnels a quarter of these would be chronic."""
    named, naive = 0, 0
    for seed in range(15):
        random, exposure, usual = peers(seed, 60, 0.3)
        seen = random.poisson(usual).astype(float)
        named += int(look(seen[None, :], exposure).flagged.sum())
        expected = exposure * seen.sum() / exposure.sum()
        naive += int((seen > expected + 3 * np.sqrt(expected)).sum())
    assert naive > 60
    assert named <= 8


def test_a_dozen_peers_that_differ_much_lend_no_false_certainty_about_how_much_they_differ() -> None:
    """The likeliest spread alone named 15 usual places beside 34 chronic ones here, because few peers often look alike by luck."""
    right, wrong = 0, 0
    for seed in range(60):
        random, exposure, usual = peers(seed, 12, 0.3)
        bad = random.random(12) < 0.1
        seen = random.poisson(np.where(bad, 2.5, 1.0) * usual).astype(float)
        flagged = look(seen[None, :], exposure).flagged[0].astype(bool)
        right, wrong = right + int((flagged & bad).sum()), wrong + int((flagged & ~bad).sum())
    assert right >= 20
    assert wrong <= 0.15 * (right + wrong)


def test_chronic_slices_are_found_whatever_their_size() -> None:
    found, true = 0, 0
    for seed in range(10):
        random, exposure, usual = peers(seed, 40, 0.15)
        bad = np.zeros(40, dtype=bool)
        bad[random.choice(40, 3, replace=False)] = True
        flagged = (
            look(random.poisson(np.where(bad, 3.0, 1.0) * usual).astype(float)[None, :], exposure)
            .flagged[0]
            .astype(bool)
        )
        found += int((flagged & bad).sum())
        true += int((bad & (usual > 5)).sum())
    assert found >= 0.8 * true


def test_three_complaints_where_one_was_expected_are_nobodys_business() -> None:
    exposure = np.array([1.0, 30, 40, 50, 60, 35, 45])
    seen = np.array([3.0, 30, 40, 50, 60, 35, 45])
    assert not look(seen[None, :], exposure).flagged.any()


def test_without_exposure_shares_are_compared_and_it_is_said() -> None:
    random = np.random.default_rng(1)
    mean = np.outer([40.0, 30, 20, 10], [4.0, 2.5, 1.8, 1.4, 1.0, 0.8])
    counts = random.poisson(mean).astype(float)
    quiet = look(counts)
    assert not quiet.by_rate
    assert not quiet.flagged.any()
    counts[3, 5] += 40
    loud = look(counts)
    assert [(int(row), int(column)) for row, column in np.argwhere(loud.flagged)] == [(3, 5)]
    assert loud.usual[3, 5] < 0.01
    assert loud.z[3, 5] > 3
    assert counts[3, 5] > loud.upper[3, 5]


def test_a_place_bad_in_everything_shows_by_rate_and_not_by_share() -> None:
    mean = np.outer([40.0, 30, 20, 25], [1.0, 1.2, 0.9, 1.1, 1.0, 1.0, 0.8])
    mean[:, 2] *= 3
    counts = np.round(mean)
    assert not look(counts).flagged.any()
    assert look(counts, np.array([1.0, 1.2, 0.9, 1.1, 1.0, 1.0, 0.8])).flagged[:, 2].all()


def test_two_peers_are_none() -> None:
    assert not look(np.array([[5.0, 500.0]]), np.array([10.0, 10.0])).flagged.any()
    assert not look(np.zeros((3, 8))).flagged.any()


def test_the_rate_of_wrong_names_is_the_mean_of_what_is_said_of_each() -> None:
    usual = np.array([0.001, 0.6, 0.04, 0.1, 0.9])
    assert chosen(usual, 0.05).tolist() == [True, False, True, True, False]
    assert chosen(usual, 0.01).tolist() == [True, False, False, False, False]


@pytest.mark.parametrize("bad", [-1.0, float("nan"), float("inf")])
def test_counts_that_are_none_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        compare(np.array([bad, 1.0, 2.0]), np.ones(3))


@pytest.mark.parametrize("known", [True, False])
def test_places_are_compared_by_rate_where_all_have_exposure_and_it_is_said(known: bool) -> None:
    """One place is bad in both its motives: by rate it shows, by share it cannot."""
    random = np.random.default_rng(2)
    first = date(2026, 1, 1)
    places = ["bogota", "cali", "neiva", "pasto", "tunja", "ipiales", "popayan"]
    held = Peers(exposed=(lambda place, since, until: 1000.0) if known else None)
    for place in places:
        for motive in ("billing", "outage"):
            for day in range(130):
                held.add(
                    motive, place, first + timedelta(days=day), int(random.poisson(3.0 if place == "pasto" else 0.8))
                )
    held.advance(first + timedelta(days=129))
    assert set(held.found) == ({("billing", "pasto"), ("outage", "pasto")} if known else set())
    assert all(found.by_rate and found.usual < 0.01 and found.observed > found.upper for found in held.found.values())
