"""A finding's life as a pure state machine."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.events.catalogue.base import EventData
from libs.events.catalogue.findings import FindingOpened, Nature
from services.classification.domain.effect import Effect, judge
from services.classification.domain.findings import (
    Assign,
    Close,
    Command,
    Confirm,
    Dismiss,
    Finding,
    ImplementAction,
    Judge,
    PlanAction,
    Refused,
    Status,
    decide,
    evolve,
    fold,
)

NOW = datetime(2026, 3, 1, tzinfo=UTC)
OPENED = FindingOpened(
    finding_id="f", slice={"motive": "m"}, verdict_id="v", opened_at=NOW, since=NOW, title={"es": "x", "en": "y"}
)
PLAN = PlanAction(by="b", description="d", owner="o", due=date(2026, 4, 1), expected_ratio=0.5, window_days=28)
BETTER = Effect("effective", 0.3, 0.2, 0.5, 40, 12)
WORSE = Effect("harmful", 2.0, 1.4, 2.9, 40, 80)


def given_events(*commands: Command) -> tuple[list[EventData], Finding]:
    events: list[EventData] = [OPENED]
    now = NOW
    for command in commands:
        now += timedelta(hours=1)
        if isinstance(command, Judge):
            state = fold(events)
            assert state is not None
            assert state.action is not None
            command = replace(command, action_id=state.action.action_id)
        events += decide(fold(events), command, now)
    state = fold(events)
    assert state is not None
    return events, state


IMPLEMENT = ImplementAction(by="b", implemented_at=NOW + timedelta(hours=2, minutes=30))


def test_a_finding_goes_all_the_way_round_R95_G4() -> None:
    events, state = given_events(Confirm("b"), PLAN, IMPLEMENT, Judge("", BETTER), Close("b"))
    assert state.status is Status.CLOSED
    assert not state.open
    assert [type(event).__name__ for event in events[1:]] == [
        "FindingConfirmed", "ActionPlanned", "ActionImplemented", "ActionJudged", "FindingClosed",
    ]  # fmt: skip


def test_an_action_that_harms_reopens_the_finding_G4() -> None:
    _, state = given_events(Confirm("b"), PLAN, IMPLEMENT, Judge("", WORSE))
    assert (state.status, state.reopened) == (Status.CONFIRMED, 1)


@pytest.mark.parametrize(
    ("before", "command", "code"),
    [
        ((), PLAN, "not_now"),
        ((), Close("b"), "not_now"),
        ((), Dismiss("b", None), "reason_needed"),
        ((Confirm("b"),), Close("b"), "reason_needed"),
        ((Confirm("b"),), IMPLEMENT, "no_action"),
        ((Confirm("b"),), replace(PLAN, expected_ratio=1.0), "ratio_out_of_range"),
        ((Confirm("b"),), replace(PLAN, expected_ratio=float("nan")), "ratio_out_of_range"),
        ((Confirm("b"),), replace(PLAN, window_days=0), "window_out_of_range"),
        ((Confirm("b"),), replace(PLAN, due=date(2026, 2, 1)), "due_in_the_past"),
        ((Confirm("b"), PLAN), replace(PLAN, description="another"), "action_in_hand"),
        ((Confirm("b"), PLAN), replace(IMPLEMENT, implemented_at=NOW), "test_after_the_fact"),
        ((Confirm("b"), PLAN), replace(IMPLEMENT, implemented_at=NOW + timedelta(days=9)), "in_the_future"),
        ((Confirm("b"), PLAN), Dismiss("b", "no"), "not_now"),
        ((Dismiss("b", "no"),), Confirm("b"), "not_now"),
    ],
)
def test_what_cannot_be_is_refused_and_says_why(before: tuple[Command, ...], command: Command, code: str) -> None:
    _, state = given_events(*before)
    with pytest.raises(Refused) as refused:
        decide(state, command, NOW + timedelta(days=1))
    assert refused.value.code == code
    assert refused.value.text("es") != refused.value.text("en")


def test_a_command_for_no_finding_is_refused() -> None:
    with pytest.raises(Refused) as refused:
        decide(None, Confirm("b"), NOW)
    assert refused.value.code == "unknown_finding"


COMMANDS = st.one_of(
    st.builds(Confirm, by=st.just("b"), nature=st.sampled_from([None, *Nature])),
    st.builds(Dismiss, by=st.just("b"), reason=st.sampled_from([None, "", "no"])),
    st.builds(Assign, by=st.just("b"), owner=st.sampled_from(["o", "p"])),
    st.builds(
        PlanAction,
        by=st.just("b"),
        description=st.sampled_from(["d", "e"]),
        owner=st.just("o"),
        due=st.dates(date(2026, 2, 1), date(2026, 5, 1)),
        expected_ratio=st.floats(allow_nan=True, allow_infinity=True),
        window_days=st.integers(-10, 1000),
    ),
    st.builds(
        ImplementAction, by=st.just("b"), implemented_at=st.datetimes(datetime(2026, 2, 20), datetime(2026, 4, 1), timezones=st.just(UTC))
    ),
    st.builds(Judge, action_id=st.just(""), effect=st.sampled_from([BETTER, WORSE])),
    st.builds(Close, by=st.just("b"), reason=st.sampled_from([None, "done"])),
    st.just(PLAN),
)  # fmt: skip


@given(st.lists(COMMANDS, max_size=14))
def test_any_commands_leave_a_finding_that_its_events_alone_give_and_doing_one_twice_does_nothing(
    commands: list[Command],
) -> None:
    events: list[EventData] = [OPENED]
    state = evolve(None, OPENED)
    now = NOW
    for command in commands:
        now += timedelta(hours=7)
        assert state is not None
        if isinstance(command, Judge):
            command = replace(command, action_id=state.action.action_id if state.action else "")
        try:
            produced = list(decide(state, command, now))
        except Refused:
            continue
        for event in produced:
            state = evolve(state, event)
            events.append(event)
        assert state is not None
        if not isinstance(command, Confirm | Judge):
            assert not decide(state, command, now), "the same command again has no effect"
        assert state == fold(events)
        assert state.version == len(events)
        assert sum(action.judgement is None for action in state.actions) <= 1
        for action in state.actions:
            assert 0 < action.expected_ratio < 1
            assert action.implemented_at is None or action.planned_at <= action.implemented_at


def test_the_interval_of_a_rate_ratio_is_the_exact_one() -> None:
    """At its ends the chance of as few, or as many, after is 2.5 %, by summing the binomial term by term."""
    effect = judge(before=40, before_exposure=28, after=15, after_exposure=28, dispersion=1.0, expected_ratio=0.5)
    assert effect.low is not None
    assert effect.high is not None

    def chance(share: float, counts: range) -> float:
        return sum(comb(55, k) * share**k * (1 - share) ** (55 - k) for k in counts)

    assert chance(effect.low / (1 + effect.low), range(15, 56)) == pytest.approx(0.025, abs=1e-9)
    assert chance(effect.high / (1 + effect.high), range(16)) == pytest.approx(0.025, abs=1e-9)
    assert effect.judgement == "effective"


@pytest.mark.parametrize(
    ("before", "after", "judgement"),
    [(100, 20, "effective"), (100, 100, "not_effective"), (100, 190, "harmful"), (6, 4, "undecided"), (0, 0, "undecided"), (0, 30, "harmful")],
)  # fmt: skip
def test_actions_are_judged_by_what_their_interval_rules_out_G4(before: int, after: int, judgement: str) -> None:
    found = judge(before=before, before_exposure=28, after=after, after_exposure=28, dispersion=1.2, expected_ratio=0.5)
    assert found.judgement == judgement
