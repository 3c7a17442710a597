"""What a dismissal teaches: more evidence is asked for in that slice, and how much more is said."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from libs.events.catalogue.classifications import InteractionClassified
from libs.events.catalogue.findings import Evaluation
from libs.events.clock import SimulatedClock
from libs.service.testing import running
from services.classification.app import build as classification
from services.classification.domain.numeric import negative_binomial_tail
from services.classification.teaching import Lesson, held_back, teach
from tests.classification.streams import WEEK, contact, days, emit
from tests.classification.test_monitoring import at, verdicts

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def evaluation(**parameters: float) -> Evaluation:
    return Evaluation(
        method="m", window_start=NOW - timedelta(days=7), window_end=NOW, observed=19, expected=8, upper=18, score=3, customers=19,
        contacts=19, parameters=parameters,
    )  # fmt: skip


def test_an_alarm_that_just_passed_is_held_back_and_says_how_many_more_it_takes() -> None:
    given = evaluation(p=8e-4, level=1e-3, variance=9.0, windows=4.0)
    assert held_back(given, Lesson()) is None
    assert held_back(given, Lesson(0.9, ("f",))) is None  # it stands in spite of so small a lesson
    held = held_back(given, Lesson(0.1, ("f",)))
    assert held is not None
    assert held.parameters["level"] == pytest.approx(1e-4)
    assert held.upper - 19 == held.parameters["more_customers"] > 0

    def tail(count: float) -> float:
        return 4 * float(negative_binomial_tail([count], [8.0], [9.0])[0])

    assert tail(held.upper) <= 1e-4 < tail(held.upper - 1)
    assert held_back(held, Lesson()) is None


def test_a_place_among_its_peers_needs_a_larger_distance() -> None:
    given = evaluation(z=4.3, z_limit=4.0)
    held = held_back(given, Lesson(0.1, ("f",)))
    assert held is not None
    assert held.parameters["z_limit"] == pytest.approx(4.52, abs=0.02)  # a tenth of the tail beyond 4
    assert held_back(evaluation(z=4.8, z_limit=4.0), Lesson(0.1, ("f",))) is None


async def test_a_slice_that_was_dismissed_is_held_back_and_found_after_all_when_it_grows() -> None:
    """The verdict in between says *not enough evidence*, how many more it takes, and whose dismissals ask for them."""
    rng = np.random.default_rng(5)
    found: list[InteractionClassified] = []
    for index, day in enumerate(days(84)):
        for motive, touchpoint, level in (
            ("billing.refund", "store", 1.5),
            ("care.rude", "store", 1.5),
            ("contract.offer", "chat", 6),
        ):
            extra = (14 if index >= 78 else 3.2) if motive == "billing.refund" and index >= 66 else 0
            found += [
                contact(len(found) + more, day, motive=motive, touchpoint=touchpoint)
                for more in range(rng.poisson(level * WEEK[index % 7] + extra))
            ]
    clock = SimulatedClock(at(65))
    async with running(classification, clock=clock) as run:
        where = {"motive": "billing.refund", "touchpoint": "store"}
        async with run.services["classification"].runtime.store.unit() as unit:
            for number in range(4):
                await teach(unit, f"before-{number}", where, "ana", "a campaign")
        for index, day in enumerate(days(84)):
            if index >= 65:
                clock.advance(at(index, 20))
            await emit(run, [fact for fact in found if fact.occurred_at.date() == day])
            if index >= 65:
                await run.settle()
        clock.advance(at(86))
        await run.settle()
        said = [item for item in await verdicts(run) if item["slice"] == where]
        findings = (await run.client.get("/classification/v1/findings")).json()["items"]
    held = [item for item in said if item["taught_by"]]
    assert held
    assert {item["verdict"] for item in held} == {"not_enough_evidence"}
    assert len(held[0]["taught_by"]) == 4
    assert held[-1]["evaluation"]["parameters"]["more_customers"] >= 1
    assert said[-1]["verdict"] == "systemic"
    assert said[-1]["evaluation"]["parameters"]["p"] <= held[-1]["evaluation"]["parameters"]["level"]
    assert [item["slice"] for item in findings] == [where]
