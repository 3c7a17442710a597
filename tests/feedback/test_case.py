"""The case as pure decisions: given these events, when this command, then those events or that refusal."""

import itertools
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.events.catalogue.base import EventData
from libs.events.catalogue.feedback import (
    CaseAcknowledged,
    CaseClosed,
    CaseOpened,
    CaseOverdue,
    CaseResolved,
    FeedbackAnswered,
    FeedbackExpired,
    FeedbackReported,
    FeedbackRequested,
)
from libs.events.catalogue.interactions import CaseStatus, CaseUpdateRecorded, Channel, Effects, Kind
from services.feedback.domain.case import Case, evolve, fold, stand
from services.feedback.domain.decide import (
    Command,
    Due,
    SurveyDue,
    decide,
    request_id,
    timers,
)
from services.feedback.domain.orders import (
    Acknowledge,
    Assign,
    Close,
    Order,
    Policy,
    Refer,
    Reopen,
    Resolve,
    Respond,
)
from services.feedback.domain.reach import language, reach
from services.feedback.domain.refusals import Refused
from services.feedback.domain.requests import Answer, Expire, Report
from services.feedback.regimes import load

T0 = datetime(2026, 3, 2, 15, tzinfo=UTC)
CALENDAR = load()["co"].calendar
POLICY = Policy(calendar=lambda _: CALENDAR)


def hours(count: float) -> datetime:
    return T0 + timedelta(hours=count)


def opening(**more: Any) -> CaseOpened:
    values: dict[str, Any] = {
        "case_id": "c", "interaction_id": "i", "customer_id": "cus_1", "kind": Kind.COMPLAINT, "channel": Channel.EMAIL,
        "origin": "crm", "case_ref": "R-1", "received_at": T0, "acknowledge_by": hours(48), "due_at": hours(24 * 21),
        "calendar": "CO", "term": {"amount": 15, "unit": "business_day", "regime": "co"}, "reply_channel": Channel.EMAIL,
        "address": "ana@example.org", "language": "es",
    }  # fmt: skip
    return CaseOpened(**(values | more))


def update(status: str, at: datetime, **more: Any) -> CaseUpdateRecorded:
    return CaseUpdateRecorded(
        update_id="u", external_id="u", origin="crm", case_ref="R-1", status=CaseStatus(status), occurred_at=at, **more
    )


def play(commands: Iterable[Command], now: datetime = T0) -> tuple[Case | None, list[EventData]]:
    state: Case | None = None
    written: list[EventData] = []
    for command in commands:
        for data in decide(state, command, now, POLICY):
            state = evolve(state, data)
            written.append(data)
    return state, written


def case_of(*commands: Command, now: datetime = T0) -> Case:
    state, written = play(commands, now)
    assert state is not None
    assert fold(written) == state
    return state


FACTS = [
    update("assigned", hours(1), agent="luz", team="billing"),
    update("responded", hours(2), agent="luz"),
    update("resolved", hours(3), outcome="not_upheld"),
    update("reopened", hours(30)),
    update("assigned", hours(31), agent="eva"),
    update("resolved", hours(50), outcome="upheld"),
    update("closed", hours(50)),
]


@given(st.permutations(FACTS))
def test_g7_facts_give_the_same_case_and_the_same_requests_in_every_order(order: list[CaseUpdateRecorded]) -> None:
    wanted, _ = play([opening(), *FACTS])
    state, written = play([opening(), *order])
    assert wanted is not None
    assert state is not None
    assert (state.facts, state.standing) == (wanted.facts, wanted.standing)
    assert state.requests.keys() == wanted.requests.keys()
    assert timers(state, POLICY) == timers(wanted, POLICY)
    ids = [data.request_id for data in written if isinstance(data, FeedbackRequested)]
    assert len(ids) == len(set(ids)) == 3  # acknowledgement, and an answer in each round
    assert (state.standing.status, state.standing.outcome, state.standing.agent) == ("closed", "upheld", "eva")


@given(st.lists(st.sampled_from(FACTS), max_size=12))
def test_the_standing_kept_along_is_the_standing_of_all_facts(facts: list[CaseUpdateRecorded]) -> None:
    state = case_of(opening(), *facts)
    assert state.standing == stand(state.facts)
    assert list(state.facts) == sorted(state.facts, key=lambda fact: fact.order)


def test_a_reopening_of_a_case_that_was_never_closed_is_kept() -> None:
    state = case_of(opening(), update("reopened", hours(5)))
    assert (state.standing.status, state.standing.reopenings, state.standing.open) == ("reopened", 1, True)
    closed = case_of(opening(), update("reopened", hours(5)), update("closed", hours(4)))
    assert closed.standing.status == "reopened"


def test_what_happens_on_the_same_day_is_put_in_the_order_of_a_case_s_life() -> None:
    day = hours(9)
    for order in itertools.permutations([update("closed", day), update("resolved", day), update("responded", day)]):
        assert case_of(opening(), *order).standing.status == "closed"


ORDERS: dict[str, Order] = {
    "acknowledge": Acknowledge("luz", None),
    "assign": Assign("luz", None, agent="luz"),
    "respond": Respond("luz", None),
    "resolve": Resolve("luz", None, "upheld"),
    "close": Close("luz", None),
    "reopen": Reopen("luz", None),
    "refer": Refer("luz", None, "ombudsman"),
}
PATHS: dict[str, list[str]] = {
    "received": [],
    "acknowledged": ["acknowledge"],
    "assigned": ["assign"],
    "responded": ["respond"],
    "resolved": ["resolve"],
    "closed": ["resolve", "close"],
    "reopened": ["resolve", "reopen"],
    "referred": ["refer"],
}
ALLOWED = {
    "received": {"acknowledge", "assign", "respond", "resolve", "refer"},
    "acknowledged": {"assign", "respond", "resolve", "refer"},
    "assigned": {"acknowledge", "assign", "respond", "resolve", "refer"},
    "responded": {"acknowledge", "assign", "respond", "resolve", "refer"},
    "resolved": {"acknowledge", "assign", "close", "reopen", "refer"},
    "closed": {"reopen"},
    "reopened": {"acknowledge", "assign", "respond", "resolve", "refer"},
    "referred": {"close", "reopen"},
}


@pytest.mark.parametrize("status", PATHS)
@pytest.mark.parametrize("name", ORDERS)
def test_the_table_of_what_may_be_ordered_when(status: str, name: str) -> None:
    state = case_of(opening(), *(ORDERS[step] for step in PATHS[status]))
    assert state.standing.status == status
    if name in ALLOWED[status]:
        assert decide(state, ORDERS[name], hours(1), POLICY)
    else:
        with pytest.raises(Refused):
            decide(state, ORDERS[name], hours(1), POLICY)


def test_every_refusal_reads_in_both_languages() -> None:
    refused = Refused("already_referred", to="SIC")
    assert refused.text("es") == "El caso fue trasladado a SIC. Reábralo para continuar con él aquí."
    assert refused.text("en").startswith("The case was referred to SIC.")


def test_closing_without_a_resolution_needs_a_reason() -> None:
    state = case_of(opening())
    with pytest.raises(Refused, match="resolve it first"):
        decide(state, Close("luz", None), hours(1), POLICY)
    [closed, *_] = decide(state, Close("luz", None, "withdrawn by the customer"), hours(1), POLICY)
    assert isinstance(closed, CaseClosed)


def test_orders_in_one_tick_of_the_clock_keep_their_order() -> None:
    state = case_of(opening(), ORDERS["resolve"], ORDERS["reopen"], ORDERS["resolve"], ORDERS["close"])
    assert state.standing.status == "closed"
    assert state.standing.reopenings == 1


def test_opening_a_case_again_gives_nothing() -> None:
    assert decide(case_of(opening()), opening(), hours(9), POLICY) == []


@pytest.mark.parametrize(
    "change", [{"effects": Effects.HISTORY}, {"address": None}, {"reply_channel": None, "address": None}]
)
def test_nobody_is_asked_where_nobody_may_or_can_be_written_to(change: dict[str, Any]) -> None:
    state, written = play([opening(**change), *FACTS])
    assert state is not None
    assert not any(isinstance(data, FeedbackRequested) for data in written)
    assert "survey" not in {kind for kind, _ in timers(state, POLICY)}


def test_a_due_date_that_is_answered_or_not_yet_there_is_not_missed() -> None:
    waiting = case_of(opening())
    assert decide(waiting, Due(), hours(24 * 21 - 1), POLICY) == []
    [overdue] = decide(waiting, Due(), hours(24 * 21), POLICY)
    assert isinstance(overdue, CaseOverdue)
    assert decide(evolve(waiting, overdue), Due(), hours(24 * 22), POLICY) == []
    assert decide(case_of(opening(), FACTS[1]), Due(), hours(24 * 22), POLICY) == []


def test_a_survey_waits_for_the_closing_and_is_withdrawn_by_a_reopening() -> None:
    resolved = case_of(opening(), update("resolved", hours(3)))
    assert timers(resolved, POLICY)["survey", "c"] == hours(3 + 72)
    closed = case_of(opening(), update("resolved", hours(3)), update("closed", hours(10)))
    assert timers(closed, POLICY)["survey", "c"] == hours(10 + 72)
    assert decide(closed, SurveyDue(), hours(81), POLICY) == []
    [survey] = decide(closed, SurveyDue(), hours(82), POLICY)
    assert isinstance(survey, FeedbackRequested)
    assert ("survey", "c") not in timers(evolve(closed, survey), POLICY)
    assert ("survey", "c") not in timers(case_of(opening(), *FACTS[:4]), POLICY)


STATUSES = ("accepted", "sent", "failed", "delivered", "complained")


@given(st.lists(st.sampled_from(STATUSES), max_size=10))
def test_g7_a_delivery_state_is_the_highest_reported_in_any_order_and_number(order: list[str]) -> None:
    id = request_id("c", "acknowledgement")
    state, written = play([opening(), *(Report(id, status, T0) for status in order)])
    assert state is not None
    assert state.requests[id].delivery == max(order, key=STATUSES.index, default="requested")
    assert sum(isinstance(data, FeedbackReported) for data in written) == len(set(order))
    heard = bool({"sent", "delivered"} & set(order))
    assert sum(isinstance(data, CaseAcknowledged) for data in written) == heard


@given(
    st.permutations(
        [Answer("a", hours(2), score=4), Answer("a", hours(3), score=1), Expire("a"), Report("a", "delivered", T0)]
    )
)
def test_g12_a_question_ends_once_by_its_answer_or_its_expiry(order: list[Answer | Expire | Report]) -> None:
    base = case_of(opening(), update("resolved", hours(1), outcome="upheld"))
    id = request_id("c", "answer")
    state, ends = base, []
    for command in order:
        try:
            events = decide(state, replace(command, request_id=id), hours(24 * 40), POLICY)
        except Refused:
            continue
        for data in events:
            state = evolve(state, data)
            ends += [data] if isinstance(data, FeedbackAnswered | FeedbackExpired) else []
    assert state.requests[id].closed
    # Who answered in time is heard, even where the expiry was written first.
    assert sum(isinstance(data, FeedbackAnswered) for data in ends) == 1
    assert state.requests[id].status == "answered"


def test_an_answer_after_the_end_or_to_an_erased_request_is_refused() -> None:
    base = case_of(opening(), update("resolved", hours(1), outcome="upheld"))
    id = request_id("c", "answer")
    with pytest.raises(Refused, match="over"):
        decide(base, Answer(id, hours(24 * 31), score=3), hours(24 * 31), POLICY)
    [erased] = decide(base, Expire(id, "erased"), hours(5), POLICY)
    with pytest.raises(Refused, match="over"):
        decide(evolve(base, erased), Answer(id, hours(2), score=3), hours(6), POLICY)
    with pytest.raises(Refused, match="at least one"):
        decide(base, Answer(id, hours(2)), hours(2), POLICY)


def test_a_stream_that_does_not_begin_with_its_opening_is_refused() -> None:
    with pytest.raises(ValueError, match="begins with"):
        evolve(None, CaseResolved(case_id="c", customer_id="x", at=T0, by="y", outcome="upheld"))
    with pytest.raises(ValueError, match="no event of a case"):
        evolve(case_of(opening()), FACTS[0])


@pytest.mark.parametrize(
    ("used", "email", "phone", "wanted"),
    [
        (Channel.EMAIL, "a@x", "+57", (Channel.EMAIL, "a@x")),
        (Channel.WHATSAPP, "a@x", "+57", (Channel.WHATSAPP, "+57")),
        (Channel.WHATSAPP, "a@x", None, (Channel.EMAIL, "a@x")),
        (Channel.PHONE, None, "+57", (Channel.SMS, "+57")),
        (Channel.BRANCH, None, None, None),
    ],
)
def test_the_channel_is_the_customer_s_own_where_it_can_carry_a_message(
    used: Channel, email: str | None, phone: str | None, wanted: tuple[Channel, str] | None
) -> None:
    assert reach(used, email, phone) == wanted


@pytest.mark.parametrize(
    ("locale", "written", "wanted"), [("en-GB", "es", "en"), ("pt-BR", "en", "en"), (None, None, "es"), ("es_CO", None, "es")]
)  # fmt: skip
def test_the_language_is_the_customer_s(locale: str | None, written: str | None, wanted: str) -> None:
    assert language(locale, written, "es") == wanted
