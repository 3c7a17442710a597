"""Cases, updates, requests, timers and erasure on a real store and vault."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError

from libs.events.catalogue.feedback import (
    CaseAcknowledged,
    CaseAssigned,
    CaseOpened,
    CaseOverdue,
    CaseResolved,
    CaseUnacknowledged,
    FeedbackAnswered,
    FeedbackExpired,
    FeedbackRequested,
)
from libs.events.catalogue.interactions import CaseStatus, Channel, Effects, Kind
from libs.events.envelope import Event
from libs.events.errors import is_conflict
from libs.events.store import Unit
from libs.service.migration import differences
from services.feedback import tables, views
from services.feedback.desk import Task
from services.feedback.domain.calendars import Calendar
from services.feedback.domain.decide import Command
from services.feedback.domain.orders import Close, Resolve
from services.feedback.domain.refusals import Refused
from services.feedback.domain.requests import Answer, Report
from services.feedback.subscriptions import subscriptions
from services.feedback.tokens import token_hash
from tests.feedback.conftest import START, Office


async def tell(office: Office, command: Command, external_id: str = "1") -> None:
    case_id = (await office.case(external_id))["case_id"]
    await office.work(lambda unit: office.desk.apply(unit, [Task(case_id, command)]))


async def request_of(office: Office, purpose: str) -> FeedbackRequested:
    found = [each for each in await office.events(FeedbackRequested) if isinstance(each, FeedbackRequested)]
    return next(each for each in found if each.purpose == purpose)


@pytest.mark.parametrize("kind", [Kind.COMPLAINT, Kind.CLAIM, Kind.REQUEST])
async def test_r21_a_complaint_becomes_a_case_with_dates_and_an_acknowledgement(office: Office, kind: Kind) -> None:
    await office.deliver(await office.contact(kind=kind))
    case = await office.case()
    assert case["status"] == "received"
    assert case["due_at"] == datetime(2026, 3, 25, 4, 59, 59, tzinfo=UTC)  # 15 working days in Bogotá, San José off
    assert case["acknowledge_by"] == datetime(2026, 3, 5, 4, 59, 59, tzinfo=UTC)
    [request] = await office.events(FeedbackRequested)
    assert isinstance(request, FeedbackRequested)
    assert (request.purpose, request.channel, request.address) == ("acknowledgement", Channel.EMAIL, "ana@example.org")
    assert request.token is None
    assert "24 de marzo de 2026" in (request.body or "")
    assert "R-1" in (request.body or "")
    await office.folded()


@pytest.mark.parametrize("kind", [Kind.INQUIRY, Kind.SUGGESTION, Kind.COMPLIMENT, Kind.UNKNOWN])
async def test_other_kinds_open_no_case(office: Office, kind: Kind) -> None:
    await office.deliver(await office.contact(kind=kind))
    assert await office.events() == []


async def test_g7_redelivery_gives_one_case_one_request_and_one_timer_each(office: Office) -> None:
    contact = await office.contact()
    for _ in range(3):
        await office.deliver(contact)
    await office.deliver(contact, contact)
    assert len(await office.events(CaseOpened)) == 1
    assert len(await office.events(FeedbackRequested)) == 1
    resolved = await office.progress(CaseStatus.RESOLVED, outcome="upheld")
    again = await office.progress(CaseStatus.RESOLVED, outcome="upheld")
    await office.deliver(resolved)
    await office.deliver(again)
    requests = [each.purpose for each in await office.events(FeedbackRequested) if isinstance(each, FeedbackRequested)]
    assert requests == ["acknowledgement", "answer"]
    await office.folded()


async def test_history_is_kept_and_counted_and_writes_to_nobody(office: Office) -> None:
    await office.deliver(await office.contact(effects=Effects.HISTORY))
    await office.deliver(await office.progress(CaseStatus.RESOLVED, outcome="upheld"))
    await office.deliver(await office.progress(CaseStatus.CLOSED))
    await office.advance(timedelta(days=90))
    assert (await office.case())["status"] == "closed"
    assert await office.events(FeedbackRequested, CaseOverdue, CaseUnacknowledged) == []
    assert await office.timers() == {}
    await office.folded()


async def test_an_update_of_history_about_a_live_case_writes_to_nobody(office: Office) -> None:
    await office.deliver(await office.contact())
    await office.deliver(await office.progress(CaseStatus.RESOLVED, outcome="upheld", effects=Effects.HISTORY))
    requests = [each.purpose for each in await office.events(FeedbackRequested) if isinstance(each, FeedbackRequested)]
    assert requests == ["acknowledgement"]
    assert (await office.case())["status"] == "resolved"


async def test_without_an_address_nobody_is_written_to_and_the_clock_still_runs(office: Office) -> None:
    await office.deliver(await office.contact(email=None, channel=Channel.BRANCH))
    assert await office.events(FeedbackRequested) == []
    assert (await office.case())["reply_channel"] is None
    await office.advance(timedelta(days=40))
    assert len(await office.events(CaseOverdue)) == 1
    assert len(await office.events(CaseUnacknowledged)) == 1
    await office.folded()


async def test_updates_that_come_first_wait_for_their_case(office: Office) -> None:
    later = START + timedelta(hours=5)
    await office.deliver(
        await office.progress(CaseStatus.RESOLVED, at=later, outcome="not_upheld"),
        await office.progress(CaseStatus.ASSIGNED, at=START + timedelta(hours=1), agent="luz"),
    )
    assert await office.events() == []
    assert [row["waiting"] for row in await office.rows(tables.updates)] == [True, True]
    await office.deliver(await office.contact())
    case = await office.case()
    assert (case["status"], case["agent"], case["outcome"]) == ("resolved", "luz", "not_upheld")
    assert [row["waiting"] for row in await office.rows(tables.updates)] == [False, False]
    await office.folded()


async def test_an_update_by_interaction_finds_its_case_without_a_reference(office: Office) -> None:
    contact = await office.contact(case_ref=None)
    await office.deliver(await office.progress(CaseStatus.ASSIGNED, "other", interaction_id=contact.id, agent="luz"))
    await office.deliver(contact)
    await office.deliver(await office.progress(CaseStatus.RESPONDED, "other", interaction_id=contact.id))
    assert ((await office.case())["status"], (await office.case())["agent"]) == ("responded", "luz")


async def test_a_contact_that_comes_back_under_its_reference_is_not_settled_by_the_past(office: Office) -> None:
    await office.deliver(await office.contact("1"))
    await office.deliver(await office.progress(CaseStatus.RESOLVED, outcome="upheld"))
    await office.advance(timedelta(days=60))
    await office.deliver(await office.contact("2", case_ref="R-1"))
    assert (await office.case("2"))["status"] == "received"
    await office.deliver(await office.progress(CaseStatus.CLOSED))
    assert ((await office.case("1"))["status"], (await office.case("2"))["status"]) == ("closed", "closed")


async def test_another_source_with_the_same_reference_is_another_case(office: Office) -> None:
    await office.deliver(await office.contact())
    await office.deliver(await office.progress(CaseStatus.CLOSED, origin="elsewhere"))
    assert (await office.case())["status"] == "received"


async def test_r51_r92_the_loop_closes_with_an_answer_and_a_survey(office: Office) -> None:
    await office.deliver(await office.contact())
    acknowledgement = await request_of(office, "acknowledgement")
    await office.advance(timedelta(minutes=5))
    for status in ("delivered", "sent", "accepted", "delivered"):
        await tell(office, Report(acknowledgement.request_id, status, office.clock.now()))
    assert (await office.case())["acknowledged_at"] == START + timedelta(minutes=5)
    assert len(await office.events(CaseAcknowledged)) == 1
    await office.advance(timedelta(days=2))
    customer = await office.person()
    note = "El cobro de 12.500 se devolvió."
    await office.deliver(await office.progress(CaseStatus.RESOLVED, outcome="upheld", note=note, customer_id=customer))
    answer = await request_of(office, "answer")
    assert note in (answer.body or "")
    assert f"https://lazo.example/feedback/s/{answer.token}" in (answer.body or "")
    await office.advance(timedelta(days=1))
    await office.deliver(await office.progress(CaseStatus.CLOSED))
    await office.advance(timedelta(days=4))
    survey = await request_of(office, "survey")
    assert survey.requested_at == START + timedelta(days=6, minutes=5)  # three days after closing
    await tell(office, Answer(survey.request_id, office.clock.now(), score=4, helped="better", comment="Gracias"))
    await tell(office, Answer(survey.request_id, office.clock.now(), score=1))
    [answered] = await office.events(FeedbackAnswered)
    assert isinstance(answered, FeedbackAnswered)
    assert (answered.score, answered.helped, answered.comment) == (4, "better", "Gracias")
    await office.folded()
    await office.advance(timedelta(days=60))
    [expired] = await office.events(FeedbackExpired)  # the answer's page, which nobody used
    assert isinstance(expired, FeedbackExpired)
    assert (expired.request_id, expired.reason) == (answer.request_id, "time")
    assert await office.timers() == {}
    assert await office.events(CaseOverdue) == []
    await office.folded()


async def test_who_answered_on_the_answers_page_is_not_surveyed(office: Office) -> None:
    await office.deliver(await office.contact())
    await office.deliver(await office.progress(CaseStatus.CLOSED), await office.progress(CaseStatus.RESOLVED))
    await tell(office, Answer((await request_of(office, "answer")).request_id, office.clock.now(), helped="worse"))
    await office.advance(timedelta(days=30))
    purposes = {each.purpose for each in await office.events(FeedbackRequested) if isinstance(each, FeedbackRequested)}
    assert purposes == {"acknowledgement", "answer"}


async def test_g9_a_case_falls_overdue_once_and_at_its_second(office: Office) -> None:
    await office.deliver(await office.contact())
    await office.advance(datetime(2026, 3, 25, 4, 59, 58, tzinfo=UTC))
    assert await office.events(CaseOverdue) == []
    await office.advance(timedelta(days=30))
    [overdue] = await office.events(CaseOverdue)
    assert isinstance(overdue, CaseOverdue)
    assert overdue.at == datetime(2026, 3, 25, 4, 59, 59, tzinfo=UTC)
    assert (await office.case())["in_time"] is False
    # The contact centre tells late that it had answered in time: the case was in time after all.
    await office.deliver(await office.progress(CaseStatus.RESPONDED, at=START + timedelta(days=3)))
    assert (await office.case())["in_time"] is True
    await office.folded()


async def test_a_reopened_case_runs_the_same_term_again_and_answers_again(office: Office) -> None:
    await office.deliver(await office.contact())
    await office.deliver(await office.progress(CaseStatus.RESOLVED, outcome="explained"))
    await office.advance(timedelta(days=1))
    await office.deliver(await office.progress(CaseStatus.REOPENED))
    case = await office.case()
    assert case["due_at"] == datetime(2026, 3, 26, 4, 59, 59, tzinfo=UTC)
    assert case["open"]
    assert "survey" not in {kind for kind, _ in await office.timers()}
    await office.advance(timedelta(days=1))
    await office.deliver(await office.progress(CaseStatus.RESOLVED, outcome="upheld"))
    answers = [
        e for e in await office.events(FeedbackRequested) if isinstance(e, FeedbackRequested) and e.purpose == "answer"
    ]
    assert len({each.request_id for each in answers}) == 2
    assert "Le damos la razón." in (answers[1].body or "")
    await office.folded()


async def test_g5_after_erasure_nobody_is_written_to_and_every_obligation_ends_with_a_reason(office: Office) -> None:
    customer = await office.person()
    await office.deliver(await office.contact())
    await office.deliver(
        await office.progress(CaseStatus.RESOLVED, customer_id=customer, note="Devuelto", outcome="upheld")
    )
    await office.deliver(await office.erasure(customer))
    requests = await office.rows(tables.requests)
    assert [row["status"] for row in requests] == ["expired", "expired"]
    assert {row["expired_reason"] for row in requests} == {"erased"}
    assert (await office.case())["reply_channel"] is None
    assert await office.timers() == {}
    await office.deliver(await office.progress(CaseStatus.REOPENED), await office.progress(CaseStatus.RESOLVED))
    await office.advance(timedelta(days=90))
    assert len(await office.events(FeedbackRequested)) == 2
    assert all(getattr(each, "address", None) is None for each in await office.events())
    await office.folded()


async def test_no_text_address_or_token_stands_in_the_database(office: Office) -> None:
    customer = await office.person()
    await office.deliver(await office.contact())
    await office.deliver(
        await office.progress(CaseStatus.RESOLVED, customer_id=customer, note="Devuelto a la cuenta", outcome="upheld")
    )
    token = (await request_of(office, "answer")).token
    assert token is not None
    assert len(token) == 32
    async with office.store.reading() as connection:
        for table in tables.metadata.tables.values():
            for row in await connection.execute(select(table)):
                text = " ".join(
                    value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value) for value in row
                )
                assert "example.org" not in text
                assert "Devuelto" not in text
                assert token not in text
    [answer] = [found for found in await office.rows(tables.requests) if found["purpose"] == "answer"]
    assert answer["token_hash"] == token_hash(office.vault, token)


async def test_five_hundred_contacts_cost_a_handful_of_statements(office: Office) -> None:
    from sqlalchemy import event as sqlalchemy_event

    contacts = [await office.contact(str(number)) for number in range(500)]
    statements: list[str] = []
    sqlalchemy_event.listen(
        office.engine.sync_engine, "before_cursor_execute", lambda *args: statements.append(str(args[2]))
    )
    await office.deliver(*contacts)
    opened = len(statements)
    assert opened < 20
    updates = [await office.progress(CaseStatus.ASSIGNED, str(number), agent="luz") for number in range(500)]
    await office.deliver(*updates)
    assert len(statements) - opened < 20
    assert len(await office.events(CaseAssigned)) == 500
    assert len(await office.events(CaseResolved)) == 0


@pytest.mark.parametrize("first", ["contact", "update"])
async def test_g7_a_case_and_its_update_written_at_the_same_moment_still_meet(
    office_on_postgres: Office, first: str
) -> None:
    office = office_on_postgres
    contact, update = await office.contact(), await office.progress(CaseStatus.ASSIGNED, agent="luz")
    events = {"contact": contact, "update": update}
    handlers = {subscription.types[0].TYPE: subscription for subscription in subscriptions(office.deps)}
    ready = asyncio.Event()

    async def handle(event: Event, meanwhile: Callable[[], Awaitable[None]]) -> int:
        """As the consumer does: a transaction that lost against another goes again."""
        for attempt in range(5):
            try:
                async with office.store.unit(handler=handlers[event.type].name) as unit:
                    await unit.connection.execute(select(tables.cases))  # its snapshot is taken
                    ready.set()
                    await meanwhile()
                    await handlers[event.type].handle(unit, [event])
                return attempt
            except DBAPIError as error:
                if not is_conflict(error):
                    raise
        raise AssertionError("always in conflict")

    started = asyncio.Event()

    async def nothing() -> None:
        started.set()

    async def other_is_there() -> None:
        await started.wait()

    one = events.pop(first)
    [other] = events.values()
    attempts = await asyncio.gather(handle(one, other_is_there), handle(other, nothing))
    assert ready.is_set()
    assert max(attempts) >= 1, "the two transactions did not overlap"
    assert (await office.case())["agent"] == "luz"
    assert [row["waiting"] for row in await office.rows(tables.updates)] == [False]
    await office.folded()


async def test_g9_a_holiday_declared_late_lists_the_cases_whose_deadline_moves(office: Office) -> None:
    """G9"""
    await office.deliver(await office.contact("1"))
    await office.deliver(await office.contact("2"))
    await office.deliver(await office.progress(CaseStatus.RESOLVED, "2"))
    async with office.store.reading() as connection:
        assert await views.moved(connection, office.deps.regimes.calendar) == []
        known = office.deps.regimes.packs["co"].calendar
        late = Calendar("CO", known.zone, lambda day: day == date(2026, 3, 10) or known.holiday(day))
        [case] = await views.moved(connection, lambda _: late)
    assert (case["case_ref"], case["due_at"], case["would_be_due_at"]) == (
        "R-1", datetime(2026, 3, 25, 4, 59, 59, tzinfo=UTC), datetime(2026, 3, 26, 4, 59, 59, tzinfo=UTC),
    )  # fmt: skip


async def test_what_was_rolled_back_is_not_remembered(office: Office) -> None:
    await office.deliver(await office.contact())
    await office.deliver(await office.progress(CaseStatus.ASSIGNED, agent="luz"))
    case_id = (await office.case())["case_id"]

    async def break_off(unit: Unit) -> None:
        await office.desk.apply(unit, [Task(case_id, Resolve("luz", None, "upheld"))])
        raise InterruptedError

    with pytest.raises(InterruptedError):
        await office.work(break_off)
    with pytest.raises(Refused, match="The case is assigned"):
        await tell(office, Close("luz", None))
    await tell(office, Resolve("eva", None, "upheld"))
    assert (await office.case())["status"] == "resolved"
    await office.folded()


async def test_the_migrations_make_the_tables_of_the_code(office: Office) -> None:
    assert await differences(office.engine, tables.metadata) == []
