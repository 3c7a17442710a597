"""An undecided action is judged again when the weeks it needed have passed, until it is decided or the stated end has come."""

import itertools
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pytest

from libs.events.catalogue import decode
from libs.events.catalogue.findings import ActionJudged, FindingOpened, Nature
from libs.events.clock import SimulatedClock
from libs.service.testing import Running, running
from services.classification import desk
from services.classification.app import build as classification
from services.classification.domain import looks
from services.classification.domain.effect import MOST_WEEKS, Effect
from services.classification.domain.findings import Close, Confirm, Judge, Status, decide, evolve
from tests.classification.streams import ORIGIN, contact, emit
from tests.classification.test_findings import BETTER, IMPLEMENT, NOW, PLAN, WORSE, given_events
from tests.classification.test_monitoring import at, projections_equal_their_folds

UNDECIDED = Effect("undecided", 0.8, 0.4, 1.6, 9, 7, weeks_needed=2)
WHERE = {"motive": "billing.refund", "touchpoint": "store"}
DONE = 120
"""Day of the action."""


def test_an_undecided_action_is_judged_again_after_waits_that_grow_and_six_times_at_most_G4() -> None:
    _, state = given_events(Confirm("b"), PLAN, IMPLEMENT)
    now, days = NOW + timedelta(days=30), []
    for _ in range(20):
        assert state.action is not None
        due = looks.due(state.action, timedelta(hours=12))
        if due is None:
            break
        days.append(looks.window(state.action))
        least = looks.least_weeks(state.action)
        effect = replace(UNDECIDED, weeks_needed=max(least, 2) if least <= 32 else MOST_WEEKS)
        for event in decide(state, Judge(state.action.action_id, effect), max(now, due)):
            after = evolve(state, event)
            assert after is not None
            state = after
    assert days == [28, 28 + 14, 28 + 42, 28 + 98, 28 + 210, 28 + 7 * MOST_WEEKS]
    year = replace(UNDECIDED, weeks_needed=MOST_WEEKS)
    _, waiting = given_events(Confirm("b"), PLAN, IMPLEMENT, Judge("", year))
    assert waiting.action is not None
    assert looks.window(waiting.action) == 28 + 56, "what would take a year is looked at again in eight weeks"
    assert state.status is Status.JUDGED
    assert state.action is not None
    assert (state.action.judgement, state.action.again_at, state.action.looks) == ("undecided", None, 6)
    assert not decide(state, Judge(state.action.action_id, WORSE), now), "the stated end is the end"


@pytest.mark.parametrize(("effect", "status"), [(BETTER, Status.CLOSED), (WORSE, Status.CONFIRMED)])
def test_a_finding_closed_while_undecided_is_reopened_by_what_did_harm_and_by_nothing_else(
    effect: Effect, status: Status
) -> None:
    events, state = given_events(
        Confirm("b"), PLAN, IMPLEMENT, Judge("", UNDECIDED), Close("b", "enough"), Judge("", effect)
    )
    assert state.status is status
    assert sum(isinstance(event, ActionJudged) for event in events) == 2


def test_another_action_ends_the_waiting_for_the_one_before() -> None:
    other = replace(PLAN, description="another", due=PLAN.due + timedelta(days=90))
    _, waiting = given_events(Confirm("b"), PLAN, IMPLEMENT, Judge("", UNDECIDED))
    assert waiting.action is not None
    assert looks.window(waiting.action) == PLAN.window_days + 14
    _, state = given_events(Confirm("b"), PLAN, IMPLEMENT, Judge("", UNDECIDED), other)
    first, second = state.actions
    assert (looks.window(first), second.judgement) == (None, None)
    assert not decide(state, Judge(first.action_id, WORSE), NOW + timedelta(days=99))


def stream(first: int, last: int, level: float, seed: int) -> list[Any]:
    random = np.random.default_rng(seed)
    return [
        contact(day * 1_000 + number * 10 + kind, ORIGIN + timedelta(days=day), motive=motive)
        for day in range(first, last)
        for kind, (motive, rate) in enumerate((("billing.refund", level), ("contract.offer", 2.0)))
        for number in range(random.poisson(rate))
    ]


async def begun(run: Running, window: int, **plan: Any) -> str:
    """A confirmed finding with an action planned on day `DONE`; its address."""
    await emit(run, stream(0, DONE, 0.8, 1))
    await run.settle()
    async with run.services["classification"].runtime.store.unit() as unit:
        opened = FindingOpened(
            finding_id="f1", slice=WHERE, nature=Nature.PROCEDURE, verdict_id="v1", opened_at=unit.now,
            since=at(DONE - 40), title={"es": "x", "en": "y"},
        )  # fmt: skip
        await desk.open_finding(unit, opened, None)
    base = "/classification/v1/findings/f1"
    assert (await run.client.post(f"{base}/confirm")).status_code == 200
    test = {
        "description": "No forms",
        "owner": "ana",
        "due": "2026-12-01",
        "expected_ratio": 0.5,
        "window_days": window,
    }
    assert (await run.client.post(f"{base}/plan-action", json=test | plan)).status_code == 200
    return base


async def judgements(run: Running) -> list[dict[str, Any]]:
    async with run.services["classification"].runtime.store.unit() as unit:
        events = [decode(event) for event in await unit.stream("finding/f1")]
    return [event.model_dump(mode="json", exclude={"at"}) for event in events if isinstance(event, ActionJudged)]


async def told(run: Running, recorded_late: bool, level: float) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The action done on day `DONE` and told at once, or told when all was over; what came of it."""
    clock = run.environment.clock
    assert isinstance(clock, SimulatedClock)
    base = await begun(run, 7)
    done = {"implemented_at": at(DONE, 2).isoformat()}
    clock.advance(at(DONE, 3))
    if not recorded_late:
        assert (await run.client.post(f"{base}/implement-action", json=done)).status_code == 200
    for last in range(DONE + 8, DONE + 71, 7):
        # What came on the last day of a window is there at noon; the window is judged in the afternoon.
        first = max(DONE, last - 7) if last > DONE + 8 else DONE
        clock.advance(at(last - 1, 12))
        await emit(run, stream(first, last, level, first))
        await run.settle()
    if recorded_late:
        assert (await run.client.post(f"{base}/implement-action", json=done)).status_code == 200
    clock.advance(timedelta(days=1))
    await run.settle()
    found = (await run.client.get(base)).json()
    await projections_equal_their_folds(run)
    return await judgements(run), found


async def test_what_was_undecided_is_judged_again_in_time_once_each_and_the_same_however_late_it_is_told_G4_R95() -> (
    None
):
    """G4, R95: some weeks more decide; whether the action was told at once or months later, the same judgements stand in the stream."""
    both = []
    for late in (False, True):
        async with running(classification, clock=SimulatedClock(at(DONE, 1))) as run:
            both.append(await told(run, late, 1.6))
    (judged, found), (later, _) = both
    assert judged == later
    words = [one["judgement"] for one in judged]
    assert len(words) >= 2
    assert set(words[:-1]) == {"undecided"}
    assert words[-1] == "harmful"
    for before, after in itertools.pairwise(judged):
        assert at(DONE, 2) + timedelta(days=after["days"]) == datetime.fromisoformat(before["again_at"])
        assert before["weeks_needed"] >= (after["days"] - before["days"]) // 7
    assert (found["status"], found["reopened"], found["actions"][0]["again_at"]) == ("confirmed", 1, None)


async def test_the_slice_and_the_measure_that_were_declared_are_what_is_judged() -> None:
    """Contacts and not complainants, and those of one location only: what the finding is about elsewhere does not count."""
    clock = SimulatedClock(at(DONE, 1))
    async with running(classification, clock=clock) as run:
        where = WHERE | {"location": "pasto"}
        base = await begun(run, 14, metric="contacts", slice=where)
        assert (await run.client.post(f"{base}/implement-action")).status_code == 200
        clock.advance(at(DONE + 14, 12))
        day = ORIGIN + timedelta(days=DONE + 3)
        mine = [contact(900_000 + n, day, location="pasto", customer=f"k{n % 2}", hour=n % 20) for n in range(8)]
        await emit(run, [*stream(DONE, DONE + 14, 0.8, 3), *mine])
        await run.settle()
        clock.advance(timedelta(days=2))
        await run.settle()
        (judged,) = await judgements(run)
    assert (judged["before"], judged["after"], judged["metric"]) == (0, 8, "contacts")


async def test_a_rate_is_judged_by_exposure_and_says_so_where_that_is_not_known() -> None:
    """Twice the contracts and twice the complainants are the same rate; a day at zero and a missing one are unknown, not nobody."""
    found = {}
    for known in (True, False):
        clock = SimulatedClock(at(DONE, 1))
        async with running(classification, clock=clock) as run:
            base = await begun(run, 28, metric="rate")
            if known:
                since, done, end = (ORIGIN + timedelta(days=n) for n in (0, DONE, DONE + 40))
                figure = {"unit": "contracts", "slice": {"touchpoint": "store"}, "amount": 1000}
                parts = [
                    figure | {"since": since.isoformat(), "until": done.isoformat()},
                    figure | {"since": (done + timedelta(days=2)).isoformat(), "until": end.isoformat(), "amount": 2000},
                    figure | {"since": (done + timedelta(days=9)).isoformat(), "until": (done + timedelta(days=9)).isoformat(), "amount": 0},
                ]  # fmt: skip
                assert (await run.client.post("/classification/v1/exposure", json=parts)).status_code == 201
            assert (await run.client.post(f"{base}/implement-action")).status_code == 200
            clock.advance(at(DONE + 28, 12))
            await emit(run, stream(DONE, DONE + 29, 1.6, 5))
            await run.settle()
            clock.advance(timedelta(days=2))
            await run.settle()
            found[known] = (await judgements(run))[0]
    assert (found[True]["metric"], found[False]["metric"]) == ("rate", "complainants")
    assert found[True]["ratio"] == pytest.approx(found[False]["ratio"] / 2, rel=0.35)
    assert found[True]["expected"] > 1.5 * found[False]["expected"]
