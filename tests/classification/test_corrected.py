"""Facts that are corrected, and people who are erased: counts of every series, what was said, and what a replay makes of it."""

from datetime import timedelta
from typing import Any

import numpy as np
from sqlalchemy import select

from libs.events.catalogue.classifications import InteractionClassified
from libs.events.catalogue.interactions import CustomerErased, Effects, Kind
from libs.events.clock import SimulatedClock
from libs.events.ids import natural_id
from libs.events.store import Draft
from libs.service.testing import Running, running
from services.classification import tables
from services.classification.app import build as classification
from services.intake.app import build as intake
from tests.classification.streams import ORIGIN, WEEK, contact
from tests.classification.test_monitoring import at, bring_in, projections_equal_their_folds, verdicts

DAYS, FROM = 130, 100


def facts() -> list[InteractionClassified]:
    """130 days; from day 100 on one product of team-1 fails at the store, told by eight more people a day."""
    rng = np.random.default_rng(4)
    found: list[InteractionClassified] = []
    for day in range(DAYS):
        for _ in range(rng.poisson(14 * WEEK[day % 7])):
            motive, procedure = [("m0", "r0"), ("m1", "r1"), ("m2", "r0")][rng.integers(3)]
            values = {"product": f"p{rng.integers(3)}", "team": f"team-{rng.integers(3)}", "procedure": procedure}
            place = f"l{rng.integers(4)}"
            found.append(
                one_of(len(found), day, motive=motive, touchpoint=f"t{rng.integers(2)}", location=place, **values)
            )
        if day >= FROM:
            for _ in range(rng.poisson(8)):
                values = {"product": "p1", "team": "team-1", "procedure": "r0", "supplier": "s1", "cause": "broken"}
                found.append(one_of(len(found), day, motive="m0", touchpoint="t0", location="l1", **values))
    return found


def one_of(number: int, day: int, **values: Any) -> InteractionClassified:
    return contact(number, ORIGIN + timedelta(days=day), effects=Effects.HISTORY, **values)


async def sums(run: Running) -> dict[tuple[Any, ...], tuple[int, int]]:
    async with run.services["classification"].runtime.store.reading() as connection:
        rows = (await connection.execute(select(tables.days))).all()
    return {
        (r.series, r.motive, r.place, r.day): (r.fresh, r.contacts) for r in rows if (r.fresh, r.contacts) != (0, 0)
    }


async def shown(run: Running) -> list[dict[str, Any]]:
    """Every slice with its counts, limits and odds; not what was said of it."""
    items = (await run.client.get("/classification/v1/monitors", params={"limit": 500})).json()["items"]
    return [{name: value for name, value in item.items() if name != "verdict"} for item in items]


async def test_erasing_leaves_every_count_and_correcting_moves_all_series_with_a_revision_and_a_replay_says_the_same_G5_G8() -> (
    None
):
    everything = facts()
    clock = SimulatedClock(at(DAYS + 3))
    async with running(intake, classification, clock=clock) as run:
        await bring_in(run, clock, everything)
        before, counted = await verdicts(run), await sums(run)
        failed = [item for item in before if item["verdict"] == "systemic"]
        assert {"motive", "product", "supplier", "cause"} <= {name for item in failed for name in item["slice"]}

        # Who is erased leaves no words; statistics stay to the last digit.
        gone = sorted({fact.customer_id for fact in everything if fact.supplier == "s1"})[:20]
        async with run.services["intake"].runtime.store.unit() as unit:
            for customer in gone:
                data = CustomerErased(customer_id=customer, erased_at=unit.now)
                identity = natural_id("customer-erased", customer)
                unit.emit(Draft(stream=f"customer/{customer}", data=data, key=customer, time=unit.now, id=identity))
        await run.settle()
        assert await sums(run) == counted
        assert await verdicts(run) == before

        # Half of the failure was coded wrongly, erased people's contacts among it, and some was no complaint; more comes late.
        wrong = [fact for fact in everything if fact.supplier == "s1"]
        moved = {
            "motive": "m2",
            "product": "p0",
            "team": "team-2",
            "supplier": None,
            "cause": "unknown",
            "procedure": "r1",
        }
        again = [fact.model_copy(update={**moved, "revision": 2}) for fact in wrong[::2]]
        again += [fact.model_copy(update={"kind": Kind.COMPLIMENT, "revision": 2}) for fact in wrong[1::4]]
        late = [
            one_of(50_000 + day, day, motive="m1", touchpoint="t1", product="p2", team="team-0")
            for day in range(90, 125)
        ]
        await bring_in(run, clock, again + late)
        after = await verdicts(run)
        assert after[: len(before)] == before, "what was said stays said"
        revised = {item["verdict_id"] for item in after[len(before) :]} & {item["verdict_id"] for item in failed}
        names = {tuple(item["slice"]) for item in failed if item["verdict_id"] in revised}
        assert {("supplier",), ("cause",), ("product",), ("motive", "touchpoint")} <= names
        for identity in revised:
            revisions = [item["revision"] for item in after if item["verdict_id"] == identity]
            assert revisions == list(range(1, len(revisions) + 1))
        await projections_equal_their_folds(run)
        corrected, seen = await sums(run), await shown(run)
    # Only what is true in the end, in any order: the same counts and odds to the last digit.
    held = {fact.interaction_id: fact for fact in [*everything, *again, *late]}
    rng, clock = np.random.default_rng(9), SimulatedClock(at(DAYS + 3))
    async with running(classification, clock=clock) as run:
        await bring_in(run, clock, [list(held.values())[place] for place in rng.permutation(len(held))])
        assert await sums(run) == corrected
        assert await shown(run) == seen
    # The log once more, correction after fact: every verdict event to the byte.
    clock = SimulatedClock(at(DAYS + 3))
    async with running(classification, clock=clock) as run:
        for part in (everything, again + late):
            await bring_in(run, clock, part)
        assert await verdicts(run) == after
