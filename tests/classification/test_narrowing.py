"""One failure, one finding: what a slice that moved belongs to, and by which values it is named."""

from datetime import date, timedelta

import numpy as np

from services.classification.domain.exposures import Exposures, Figure, changed
from services.classification.domain.localisation import Contact
from services.classification.domain.narrowing import narrow

START = date(2025, 1, 6)
LAST = START + timedelta(days=139)
MOTIVES, PLACES, PRODUCTS = ("slow", "cut", "bill", "wait"), ("bogota", "cali", "pasto"), ("internet", "mobile", "tv")


def past(extra: dict[str, str] | None = None, many: int = 0, agent: str | None = None) -> list[Contact]:
    """Twenty weeks as always, with `many` complainants of the values `extra` (others at random) in the last one."""
    random = np.random.default_rng(3)
    found: list[Contact] = []

    def add(day: date, fixed: dict[str, str]) -> None:
        values = {
            "motive": str(random.choice(MOTIVES)),
            "location": str(random.choice(PLACES)),
            "product": str(random.choice(PRODUCTS)),
            "touchpoint": "call_centre" if random.random() < 0.7 else "store",
            "agent": f"agent-{random.integers(30):02d}",
        }
        found.append(Contact(day, f"c{len(found)}", values | fixed))

    for number in range(140):
        for _ in range(random.poisson(20)):
            add(START + timedelta(days=number), {})
    for number in range(many):
        fixed = dict(extra or {}) | ({"agent": agent} if agent else {})
        add(LAST - timedelta(days=number % 7), fixed)
    return found


def test_a_failure_that_crosses_motives_is_named_by_what_its_complaints_have_in_common() -> None:
    """R11: internet fails in Pasto; the slice that moved first is one motive of four."""
    failure = {"product": "internet", "location": "pasto"}
    found = narrow(past(failure, 90), LAST, 7, {"motive": "slow", "touchpoint": "call_centre"}, [])
    assert found.where == failure
    assert found.known is None


def test_a_slice_that_an_open_finding_explains_is_its_member_until_it_is_closed() -> None:
    """R11"""
    failure = {"product": "internet", "location": "pasto"}
    contacts = past(failure, 90)
    moved = {"motive": "cut", "touchpoint": "call_centre"}
    other = {"motive": "bill", "location": "cali"}
    assert narrow(contacts, LAST, 7, moved, [other, failure]).known == 1
    assert narrow(contacts, LAST, 7, moved, [other]).known is None


def test_a_slice_that_nothing_else_explains_keeps_its_name() -> None:
    moved = {"motive": "bill", "touchpoint": "store"}
    assert dict(narrow(past(moved, 60), LAST, 7, moved, []).where) == moved
    assert dict(narrow(past()[-200:], LAST, 7, moved, []).where) == moved, "too short a past"


def test_nobody_is_named_on_thin_evidence() -> None:
    moved = {"motive": "wait", "touchpoint": "store"}
    found = narrow(past(moved, 10, agent="agent-07"), LAST, 7, moved, [])
    assert "agent" not in found.where


def test_exposure_is_summed_over_days_that_are_known_and_scaled_over_a_few_that_are_not() -> None:
    year = Figure("cali", date(2025, 1, 1), date(2025, 1, 31), 100.0)
    own = Figure("cali", date(2025, 1, 2), date(2025, 1, 2), 160.0)
    held = Exposures([year, own])
    assert held("cali", date(2025, 1, 1), date(2025, 1, 3)) == 360
    assert held("cali", date(2025, 1, 23), date(2025, 2, 1)) == 1000, "one day of ten is not known"
    assert held("cali", date(2025, 1, 23), date(2025, 2, 5)) is None
    assert held("cali", date(2024, 12, 1), date(2024, 12, 9)) is None
    assert held("pasto", date(2025, 1, 1), date(2025, 1, 3)) is None
    figures = {("cali", year.since, year.until): 100.0}
    assert changed(figures, figures) is None
    assert changed({}, figures) == year.since
