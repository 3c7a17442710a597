"""What makes a well-formed element a fact, and whose it is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from libs.events.catalogue.interactions import Channel, Effects, InteractionRecorded, Kind
from services.intake.domain import case_updates, interactions
from services.intake.domain.faults import Refused
from services.intake.domain.people import identify
from services.intake.domain.reading import Form, one
from services.intake.domain.sources import Source, checked
from services.intake.phones import read_phone
from tests.intake.test_reading import GOOD, changed

FORM = Form(interactions.ADAPTER, interactions.LIST, interactions.KNOWN)
NOW = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)
CRM = Source("crm", "CRM", "interactions", region="CO")


def prepared(of: Source = CRM, /, **changes: Any) -> interactions.Prepared:
    read = one(changed(**changes), FORM)
    assert not isinstance(read, Refused), read.faults
    return interactions.prepare(read, of, NOW, Effects.LIVE, read_phone)


def refused(**changes: Any) -> tuple[str, str]:
    with pytest.raises(Refused) as caught:
        prepared(**changes)
    return caught.value.faults[0].pointer, caught.value.faults[0].code


@pytest.mark.parametrize(
    ("changes", "pointer", "code"),
    [
        ({"occurred_at": "1900-01-01T00:00:00Z"}, "/occurred_at", "too-early"),
        ({"occurred_at": "1970-01-01T00:00:00.001Z"}, "/occurred_at", "too-early"),
        ({"occurred_at": "2200-01-01T00:00:00Z"}, "/occurred_at", "in-future"),
        ({"occurred_at": (NOW + timedelta(minutes=6)).isoformat()}, "/occurred_at", "in-future"),
        ({"text": None}, "/text", "nothing-said"),
        ({"text": " \n "}, "/text", "nothing-said"),
        ({"customer": {}}, "/customer", "customer-unidentified"),
        ({"customer": {"name": "Ana"}}, "/customer", "customer-unidentified"),
        ({"customer": {"phone": "()-"}}, "/customer/phone", "invalid-phone"),
        ({"customer": {"document": "---"}}, "/customer/document", "meaningless"),
        ({"customer": {"document": ["1"]}}, "/customer/document", "wrong-type"),
        ({"customer": {"source": "other", "id": "1"}}, "/customer/source", "unknown-field"),
        ({"customer": {"Not A Scheme": "1"}}, "/customer/Not A Scheme", "unknown-field"),
        ({"amount": {"amount": "1", "currency": "QQQ"}}, "/amount/currency", "invalid-currency"),
    ],
)
def test_what_is_no_fact_is_refused_with_its_reason_R26(changes: dict[str, Any], pointer: str, code: str) -> None:
    assert refused(**changes) == (pointer, code)


def test_a_clock_five_minutes_ahead_is_forgiven() -> None:
    assert prepared(occurred_at=(NOW + timedelta(minutes=5)).isoformat()).id


@pytest.mark.parametrize("said", ["subject", "declared_motive"])
def test_a_subject_or_a_declared_motive_is_enough(said: str) -> None:
    assert prepared(text=None, **{said: "cobro"}).values[said] == "cobro"


def test_the_customers_own_words_stay_untouched_R101() -> None:
    said = "  ¡No!\r\n\tMe cobraron…  😡  "
    assert prepared(text=said).values["text"] == said


def test_defaults_of_the_source_fill_what_is_missing_and_only_that() -> None:
    source = checked(CRM, {"kind": "complaint", "channel": "phone", "team": "norte", "language": "es-co"})
    values = prepared(source, channel="web", team=None).values
    assert (values["kind"], values["channel"], values["team"]) == (Kind.COMPLAINT, Channel.WEB, "norte")
    assert values["language"] == "es-CO"


def test_null_and_empty_members_are_as_if_not_given() -> None:
    source = checked(CRM, {"product": "internet"})
    assert prepared(source, product="").values["product"] == "internet"
    assert prepared(source, product=None).values["product"] == "internet"


def test_kinds_are_told_apart_R02() -> None:
    assert {prepared(kind=kind.value).values["kind"] for kind in Kind} == set(Kind)


def test_every_way_to_talk_is_taken_and_whoever_is_no_customer_yet_too_R54() -> None:
    assert {prepared(channel=channel.value).values["channel"] for channel in Channel} == set(Channel)
    asking = prepared(kind="inquiry", customer={"email": "someone@example.org"})
    assert asking.values["kind"] is Kind.INQUIRY


def test_internal_customers_are_marked_R39() -> None:
    assert prepared(customer={"id": "7", "internal": True}).values["internal"] is True
    assert prepared().values["internal"] is False


def test_the_same_source_and_external_id_have_the_same_id_and_others_another() -> None:
    assert prepared().id == prepared(text="otra cosa").id
    assert prepared().id != prepared(external_id="2").id
    assert prepared().id != prepared(Source("other", "O", "interactions"), source="other").id


@pytest.mark.parametrize(
    ("given", "region", "kept"),
    [
        ("300 123 4567", "CO", "+573001234567"),
        ("+57 (300) 123-4567", None, "+573001234567"),
        ("tel:+573001234567", None, "+573001234567"),
        ("whatsapp:+573001234567", None, "+573001234567"),
        ("0057 300 123 4567", None, "+573001234567"),
        ("300 123 4567", None, "300 123 4567"),
        ("123", "CO", "123"),
    ],
)
def test_phones_become_E164_where_that_can_be_told(given: str, region: str | None, kept: str) -> None:
    source = Source("crm", "CRM", "interactions", region=region)
    assert prepared(source, customer={"phone": given}).values["phone"] == kept


def test_what_is_unique_only_somewhere_is_scoped_by_where() -> None:
    found, _ = identify(
        "crm",
        "CO",
        {"id": "7", "phone": "123"},
        {"document": "12.345", "account": "A-1", "passport": "AB 12"},
        read_phone,
    )
    assert found == {
        "id": "7",
        "source": "crm",
        "phone@crm": "123",
        "document": "CO:12.345",
        "account@crm": "A-1",
        "passport@CO": "AB12",
    }


def test_an_event_made_without_validation_equals_the_validated_one() -> None:
    """`trusted` skips pydantic; what it makes must be what pydantic would make."""
    full = prepared(
        customer={
            "id": 7,
            "email": "Ana@x.co",
            "phone": "3001234567",
            "name": "Ana",
            "document": "1",
            "segment": "pyme",
        },
        amount={"amount": "12.50", "currency": "COP"},
        attributes={"a": 1, "b": "x", "c": None, "d": True, "e": 1.5},
        language="ES-co",
        case_ref="C-1",
        kind="claim",
    )
    for made in (interactions.recorded(full, "cus_1"), interactions.recorded(prepared(), "cus_1")):
        again = InteractionRecorded.model_validate_json(made.model_dump_json())
        assert again == made
        assert again.model_fields_set >= {"interaction_id", "customer_id"}
        assert made.model_copy(update={"text": "x"}).text == "x"


def test_the_element_itself_is_not_changed_by_preparing_it() -> None:
    read = one(changed(), FORM)
    assert isinstance(read, dict)
    before = {**read, "customer": dict(read["customer"])}
    interactions.prepare(read, CRM, NOW, Effects.LIVE, read_phone)
    assert read == before
    assert GOOD["text"] == read["text"]


def test_a_case_update_keeps_agent_and_procedure() -> None:
    form = Form(case_updates.ADAPTER, case_updates.LIST, case_updates.KNOWN)
    body = (
        b'{"source":"crm","external_id":"u1","case_ref":77,"status":"resolved","occurred_at":"2026-03-01T10:00:00Z",'
        b'"agent":"luis","procedure":"P-12","outcome":"partly_upheld"}'
    )
    read = one(body, form)
    assert isinstance(read, dict)
    made = case_updates.recorded(case_updates.prepare(read, CRM, NOW, Effects.LIVE), None, None)
    assert (made.case_ref, made.status, made.agent, made.procedure, made.outcome) == (
        "77",
        "resolved",
        "luis",
        "P-12",
        "partly_upheld",
    )
