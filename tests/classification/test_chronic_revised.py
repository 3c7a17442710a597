"""Chronic slices when what they were compared by comes later or is corrected."""

from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select

from libs.events.catalogue import decode
from libs.events.catalogue.findings import FindingClosed, FindingReopened
from libs.events.catalogue.interactions import Effects
from libs.events.clock import SimulatedClock
from libs.service.testing import Running, running
from services.classification import tables
from services.classification.app import build as classification
from tests.classification.streams import ORIGIN, contact
from tests.classification.test_monitoring import at, bring_in, pass_time, projections_equal_their_folds, verdicts

PLACES = ("bogota", "cali", "neiva", "pasto", "tunja", "ipiales", "popayan", "yopal")
MOTIVES = ("billing.refund", "service.no_internet", "care.wait")
DAYS = 125
EVEN = dict.fromkeys(PLACES, 1000.0)
LARGE = EVEN | {"pasto": 4000.0}
"""With four times the contracts, what weighs more in Pasto is no more than usual there."""


def story() -> list[Any]:
    """Refunds weigh four times as much in Pasto as elsewhere, from the first day on."""
    random = np.random.default_rng(3)
    found: list[Any] = []
    for day in range(DAYS):
        for place in PLACES:
            for motive in MOTIVES:
                level = 2.0 if (place, motive) == ("pasto", MOTIVES[0]) else 0.5
                for _ in range(random.poisson(level)):
                    date_ = ORIGIN + timedelta(days=day)
                    known: dict[str, Any] = {
                        "motive": motive,
                        "location": place,
                        "touchpoint": None,
                        "effects": Effects.HISTORY,
                    }
                    found.append(contact(len(found), date_, **known))
    return found


async def exposed(run: Running, amounts: dict[str, float]) -> None:
    period = {"unit": "contracts", "since": "2025-01-01", "until": "2025-12-31"}
    figures = [period | {"slice": {"location": place}, "amount": amount} for place, amount in amounts.items()]
    assert (await run.client.post("/classification/v1/exposure", json=figures)).status_code == 201


async def looked(run: Running, clock: SimulatedClock) -> list[dict[str, Any]]:
    """Let a day pass; what was said of Pasto so far."""
    await pass_time(run, clock, timedelta(days=1, hours=1))
    return [one for one in await verdicts(run) if one["slice"].get("location") == "pasto"]


async def finding(run: Running) -> tuple[dict[str, Any], list[tuple[str, str | None, str]]]:
    """The only finding, and who closed and opened it again."""
    (one,) = (await run.client.get("/classification/v1/findings")).json()["items"]
    async with run.services["classification"].runtime.store.unit() as unit:
        events = [decode(event) for event in await unit.stream(f"finding/{one['finding_id']}")]
    moved = [(type(each).__name__, each.reason, each.by) for each in events if isinstance(each, FindingClosed | FindingReopened)]  # fmt: skip
    return one, moved


async def newest_stand_in_the_table(run: Running, said: list[dict[str, Any]]) -> None:
    async with run.services["classification"].runtime.store.reading() as connection:
        rows = {row.verdict_id: row for row in await connection.execute(select(tables.verdicts))}
    for one in said:
        row = rows[one["verdict_id"]]
        if one["revision"] == row.revision:
            assert row.data == one
            assert row.withdrawn == ("withdrawn" in one["evaluation"]["parameters"])


async def test_exposure_that_comes_later_confirms_or_takes_back_what_was_said_without_it_and_the_finding_shows_it_R13() -> (
    None
):
    clock = SimulatedClock(at(DAYS + 1))
    async with running(classification, clock=clock) as run:
        await bring_in(run, clock, story())
        (by_share,) = await looked(run, clock)
        assert by_share["evaluation"]["parameters"]["by_rate"] == 0

        await exposed(run, EVEN)
        _, by_rate = await looked(run, clock)
        assert (by_rate["revision"], by_rate["verdict"]) == (2, "systemic")
        assert by_rate["evaluation"]["parameters"]["by_rate"] == 1
        assert (await finding(run))[0]["status"] == "opened"
        assert len(await looked(run, clock)) == 2, "a day on which nothing was corrected says nothing"

        await exposed(run, LARGE)
        gone = (await looked(run, clock))[-1]
        assert (gone["revision"], gone["verdict"]) == (3, "not_enough_evidence")
        assert gone["evaluation"]["parameters"]["withdrawn"] == 1
        assert gone["evaluation"]["observed"] <= gone["evaluation"]["upper"], "the numbers are those that took it back"
        one, moved = await finding(run)
        assert (one["status"], moved) == ("closed", [("FindingClosed", "evidence_withdrawn", "monitor")])
        await projections_equal_their_folds(run)
        path = f"/classification/v1/interactions/{by_share['interaction_ids'][0]}/verdict"
        assert (await run.client.get(path)).json()["verdict"] != "systemic"

        await exposed(run, EVEN)
        again = (await looked(run, clock))[-1]
        assert (again["revision"], again["verdict"]) == (4, "systemic")
        one, moved = await finding(run)
        assert (one["status"], moved[-1]) == ("opened", ("FindingReopened", "evidence_again", "monitor"))
        assert one["slice"] == {"motive": MOTIVES[0], "location": "pasto"}
        assert (await run.client.get(path)).json()["verdict"] == "systemic"
        await newest_stand_in_the_table(run, await verdicts(run))
        await projections_equal_their_folds(run)
    clock = SimulatedClock(at(DAYS + 1))
    async with running(classification, clock=clock) as run:
        await exposed(run, EVEN)
        await bring_in(run, clock, story())
        (known_before,) = await looked(run, clock)
    assert known_before["evaluation"] == again["evaluation"], "when a figure came decides nothing"


@pytest.mark.parametrize("restarted", [False, True], ids=["running", "restarted"])
async def test_a_finding_that_a_person_confirmed_is_left_to_people_when_its_evidence_is_taken_back(
    restarted: bool, tmp_path: Any
) -> None:
    """Also where the service was not running when the figure was looked at."""
    clock = SimulatedClock(at(DAYS + 1))
    async with running(classification, clock=clock, data=tmp_path) as run:
        await bring_in(run, clock, story())
        await looked(run, clock)
        one, _ = await finding(run)
        assert (await run.client.post(f"/classification/v1/findings/{one['finding_id']}/confirm")).status_code == 200
        await exposed(run, LARGE)
        if not restarted:
            assert (await looked(run, clock))[-1]["verdict"] == "not_enough_evidence"
    if restarted:
        async with running(classification, clock=clock, data=tmp_path) as run:
            assert (await looked(run, clock))[-1]["verdict"] == "not_enough_evidence"
            one, moved = await finding(run)
            assert (one["status"], moved) == ("confirmed", [])
