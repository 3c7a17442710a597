"""What the indicators say of a finding's state is what classification says, after any history of it."""

import random
from datetime import UTC, datetime, timedelta

from libs.events.catalogue.base import EventData
from libs.events.catalogue.finding_status import Status, after
from libs.events.catalogue.findings import FindingOpened, Nature
from services.classification.domain.effect import Effect
from services.classification.domain.finding_orders import (
    CancelAction,
    Close,
    Command,
    Confirm,
    Correct,
    Dismiss,
    ImplementAction,
    Judge,
    PlanAction,
    Refused,
    Reopen,
)
from services.classification.domain.findings import decide
from services.classification.domain.findings import fold as classified
from services.indicators.domain.findings import Fact, fold

START = datetime(2025, 3, 1, tzinfo=UTC)


def opened() -> FindingOpened:
    return FindingOpened(
        finding_id="f", slice={"motive": "m"}, nature=Nature.HUMAN, verdict_id="v", opened_at=START, since=START
    )


def life(seed: int) -> list[EventData]:
    """A finding that people do all kinds of things with, in any order that is allowed."""
    draw, found, now = random.Random(seed), [opened()], START
    history: list[EventData] = list(found)
    for _ in range(25):
        now += timedelta(days=1)
        state = classified(history)
        assert state is not None
        action = state.action.action_id if state.action is not None else "none"
        effect = Effect(draw.choice(["effective", "not_effective", "harmful", "undecided"]), 1.0, 0.5, 2.0, 10, 10)
        orders: list[Command] = [
            Confirm(by="ana"),
            Correct(nature=draw.choice([Nature.NORM, Nature.SYSTEM]), by="ana", reason="seen"),
            Dismiss(by="ana", reason="nothing"),
            PlanAction("ana", "do it", "ana", (now + timedelta(days=9)).date(), 0.5, 28),
            ImplementAction("ana", now),
            CancelAction(by="ana", reason="no money"),
            Judge(action, effect),
            Close(by="ana", reason="done"),
            Reopen(by="ana", reason="again"),
        ]
        try:
            history += decide(state, draw.choice(orders), now)
        except Refused:
            continue
    return history


def test_both_read_models_name_a_finding_s_state_alike_after_any_history() -> None:
    """G8: `judged` and `confirmed` after a reopening among them."""
    seen: set[Status] = set()
    for seed in range(60):
        history = life(seed)
        for length in range(1, len(history) + 1):
            mine = classified(history[:length])
            facts = [
                Fact(f"e{place}", "f", event.TYPE.removeprefix("lazo.").rsplit(".", 1)[0], place, place, place, event.model_dump(mode="json"))
                for place, event in enumerate(history[:length])
            ]  # fmt: skip
            shown = fold(facts)["f"]
            assert mine is not None
            assert shown.status is mine.status
            assert (shown.state in {"open", "confirmed"}) == mine.open
            assert (shown.state == "open") == (mine.status is Status.OPENED)
            seen.add(mine.status)
    assert seen == set(Status) - {Status.INVESTIGATED}


def test_what_says_nothing_about_the_status_leaves_it() -> None:
    for status in Status:
        assert after(status, "finding.escalated", investigated=True) is status
    assert after(Status.JUDGED, "finding.reopened", investigated=True) is Status.INVESTIGATED
    assert after(Status.JUDGED, "finding.reopened", investigated=False) is Status.CONFIRMED
    assert after(Status.CONFIRMED, "finding.investigated", investigated=False) is Status.INVESTIGATED
