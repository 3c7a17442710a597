"""One contact point with nearly half of all contacts: one motive fails there, and the failure is one finding with its narrow name."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from libs.events.catalogue.classifications import InteractionClassified
from libs.events.catalogue.interactions import Effects
from libs.events.clock import SimulatedClock
from libs.service.testing import running
from services.classification import locating
from services.classification.app import build as classification
from services.classification.domain.localisation import Contact
from services.classification.domain.narrowing import holds, placed
from tests.classification.streams import ORIGIN, WEEK, contact
from tests.classification.test_monitoring import at, bring_in, verdicts

BEGINS, LENGTH, SHARE = 90, 125, 0.45
POINTS, PRODUCTS = [SHARE, *[(1 - SHARE) / 5] * 5], [SHARE, *[(1 - SHARE) / 4] * 4]


def failing(seed: int) -> list[InteractionClassified]:
    """Forty contacts a day, eight motives; from a day on the first motive triples at the widest of six contact points."""
    rng = np.random.default_rng(seed)
    motives = rng.dirichlet(np.full(8, 4.0))
    found: list[InteractionClassified] = []

    def add(day: int, motive: int, point: int, product: int, place: int) -> None:
        values = {"product": f"p{product}", "location": f"l{place}", "team": f"g{point}{rng.integers(2)}"}
        when = ORIGIN + timedelta(days=day)
        found.append(contact(len(found), when, motive=f"m{motive}", touchpoint=f"t{point}", effects=Effects.HISTORY, **values))  # type: ignore[arg-type]  # fmt: skip

    for day in range(LENGTH):
        usual = WEEK[day % 7]
        for _ in range(rng.poisson(40 * usual)):
            add(day, rng.choice(8, p=motives), rng.choice(6, p=POINTS), rng.choice(5, p=PRODUCTS), int(rng.integers(8)))
        more = rng.poisson(80 * motives[0] * SHARE * usual) if day >= BEGINS else 0
        for product, place in [(rng.choice(5, p=PRODUCTS), int(rng.integers(8))) for _ in range(more)]:
            add(day, 0, 0, product, place)
    return found


async def told(seed: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Findings, and the verdicts that are systemic."""
    clock = SimulatedClock(at(LENGTH + 3))
    async with running(classification, clock=clock) as run:
        await bring_in(run, clock, failing(seed))
        items = (await run.client.get("/classification/v1/findings")).json()["items"]
        return items, [one for one in await verdicts(run) if one["verdict"] == "systemic"]


async def test_a_contact_point_with_nearly_half_of_everything_is_no_second_finding_beside_the_motive_that_fails_there_R11() -> (
    None
):
    """The draw of twenty in which it was: the contact point spoke two days before the motive, of whose excess it then had 62 %."""
    items, said = await told(7)
    assert [one["slice"] for one in items] == [{"motive": "m0", "touchpoint": "t0"}]
    assert {"touchpoint": "t0"} in [one["slice"] for one in said]
    assert {one["finding_id"] for one in said} == {items[0]["finding_id"]}


async def test_where_the_contact_point_was_told_before_anybody_could_know_the_motive_belongs_to_its_finding_R11(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(locating, "placed", lambda contacts, through, days, moved: dict(moved))
    items, said = await told(7)
    assert [one["slice"] for one in items] == [{"touchpoint": "t0"}]
    assert {"motive": "m0", "touchpoint": "t0"} in [one["slice"] for one in said]
    assert {one["finding_id"] for one in said} == {items[0]["finding_id"]}


LAST = ORIGIN + timedelta(days=104)


def days(usual: Mapping[str, int], now: Mapping[str, int], of: str) -> list[Contact]:
    """Fifteen weeks with so many a week of each value (more and less by turns, as by chance), the last with `now`."""
    found: list[Contact] = []
    for week in range(15):
        for value, number in usual.items():
            many = now[value] if week == 14 else number + (-1) ** week * round(number**0.5)
            day = ORIGIN + timedelta(days=7 * week + 3)
            values = {"motive": "m0", "touchpoint": "t0", of: value}
            found += [Contact(day, f"{week}-{value}-{one}", values) for one in range(many)]
    return found


def test_a_rise_is_named_by_the_part_that_stands_out_where_the_rest_is_as_usual_and_not_where_all_of_it_rose() -> None:
    usual = dict.fromkeys([f"m{number}" for number in range(7)], 18)
    chance = {name: number + 3 for name, number in usual.items()}
    point = {"touchpoint": "t0"}
    assert placed(days(usual, chance | {"m0": 44}, "motive"), LAST, 7, point) == {"touchpoint": "t0", "motive": "m0"}
    # Half of the excess is where half of a motive always is: it rose everywhere.
    usual = {"t0": 16, "t1": 4, "t2": 4, "t3": 4, "t4": 4, "t5": 4}
    both = {"t0": 40, "t1": 8, "t2": 8, "t3": 8, "t4": 8, "t5": 8}
    young = {"t0": 34, "t1": 6, "t2": 6, "t3": 6, "t4": 6, "t5": 6}
    for now in (both, young):
        assert placed(days(usual, now, "touchpoint"), LAST, 7, {"motive": "m0"}) == {"motive": "m0"}, now


def test_a_narrow_slice_that_holds_most_of_what_a_wide_one_rose_by_is_the_same_failure() -> None:
    usual = dict.fromkeys([f"m{number}" for number in range(7)], 18)
    contacts, moved = days(usual, usual | {"m0": 40, "m1": 22}, "motive"), {"motive": "m0", "touchpoint": "t0"}
    wider = [{"motive": "m1"}, {"touchpoint": "t0"}]
    assert holds(contacts, LAST, 7, moved, wider) == 1
    assert holds(contacts, LAST, 7, {"motive": "m1", "touchpoint": "t0"}, wider[1:]) is None
    assert holds(contacts, LAST, 7, {"touchpoint": "t0"}, wider) is None
