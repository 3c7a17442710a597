"""Signed webhooks: authentic or 401, read or in quarantine, never lost."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import orjson
import pytest
import standardwebhooks
from hypothesis import given
from hypothesis import strategies as st

from libs.events.clock import SimulatedClock
from libs.service.testing import Running
from services.intake.adapters.standard_webhooks.signature import (
    WrongSignature,
    secret_key,
    secret_text,
    signature,
    verify,
)
from tests.intake.conftest import NOW, registered
from tests.intake.test_api_interactions import published

Make = Callable[..., dict[str, Any]]
KEY = bytes(range(32))


def signed(secret: str, body: bytes, message_id: str = "msg-1", at: datetime = NOW) -> dict[str, str]:
    """Headers as the reference library makes them."""
    made = standardwebhooks.Webhook(secret).sign(message_id, at, body.decode())
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": made,
        "content-type": "application/json",
        "authorization": "",
    }


async def deliver(intake: Running, secret: str, body: bytes, **options: Any) -> httpx.Response:
    return await intake.client.post("/intake/v1/webhooks/desk", content=body, headers=signed(secret, body, **options))


@pytest.fixture
async def secret(intake: Running) -> str:
    return (await registered(intake.client, id="desk", form="standard-webhooks", defaults={"channel": "email"}))[
        "secret"
    ]


@given(st.binary(min_size=24, max_size=64), st.text(max_size=100), st.integers(0, 2**33))
def test_our_signature_is_the_reference_librarys(key: bytes, body: str, seconds: int) -> None:
    theirs = standardwebhooks.Webhook(secret_text(key)).sign("m-1", datetime.fromtimestamp(seconds, UTC), body)
    assert signature(key, "m-1", seconds, body.encode("utf-8", "surrogatepass")) == theirs


def test_any_live_secret_and_any_listed_signature_may_fit() -> None:
    stamp = int(NOW.timestamp())
    headers = {
        "webhook-id": "m-1",
        "webhook-timestamp": str(stamp),
        "webhook-signature": f"v1a,xyz v1,AAAA {signature(KEY, 'm-1', stamp, b'x')}",
    }
    assert verify(headers, b"x", [os.urandom(32), KEY], NOW) == "m-1"
    with pytest.raises(WrongSignature):
        verify(headers, b"x", [os.urandom(32)], NOW)
    with pytest.raises(WrongSignature):
        verify(headers, b"x ", [KEY], NOW)
    with pytest.raises(WrongSignature):
        verify(headers, b"x", [], NOW)


@pytest.mark.parametrize("minutes", [-6, 6])
def test_a_delivery_signed_too_long_ago_or_ahead_is_refused(minutes: int) -> None:
    at = NOW + timedelta(minutes=minutes)
    headers = signed(secret_text(KEY), b"x", at=at)
    with pytest.raises(WrongSignature, match="five minutes"):
        verify(headers, b"x", [KEY], NOW)
    assert verify(headers, b"x", [KEY], at) == "msg-1"


@given(
    st.fixed_dictionaries(
        {}, optional={name: st.text(max_size=30) for name in ("webhook-id", "webhook-timestamp", "webhook-signature")}
    )
)
def test_no_header_raises_anything_but_a_wrong_signature(headers: dict[str, str]) -> None:
    with pytest.raises(WrongSignature):
        verify(headers, b"x", [KEY], NOW)


def test_secrets_are_read_as_they_are_handed_out() -> None:
    assert secret_key(secret_text(KEY)) == KEY
    for wrong in ("whsec_", "whsec_%%%", "whsec_" + base64.b64encode(b"short").decode()):
        with pytest.raises(ValueError, match="secret"):
            secret_key(wrong)


async def test_a_signed_delivery_is_a_fact_and_fills_what_it_leaves_out_R10(
    intake: Running, secret: str, element: Make
) -> None:
    bare = {name: value for name, value in element().items() if name in {"customer", "text"}}
    body = orjson.dumps({"type": "ticket.created", "timestamp": "2026-03-02T14:00:00Z", "data": bare})
    answer = await deliver(intake, secret, body)
    assert (answer.status_code, answer.json()["accepted"]) == (202, 1)
    [data] = await published(intake)
    assert (data.origin, data.external_id, data.channel) == ("desk", "msg-1", "email")
    assert data.occurred_at == datetime(2026, 3, 2, 14, tzinfo=UTC)
    again = await deliver(intake, secret, body)
    assert again.json()["duplicates"] == 1


async def test_cloudevents_and_lists_come_by_webhook_too(intake: Running, secret: str, element: Make) -> None:
    data = [element("1", source="desk"), element("2", source="desk")]
    assert (await deliver(intake, secret, orjson.dumps({"data": data}))).json()["accepted"] == 2
    event = {
        "specversion": "1.0",
        "id": "3",
        "source": "/elsewhere",
        "type": "t",
        "data": {key: value for key, value in element().items() if key not in {"source", "external_id"}},
    }
    body = orjson.dumps(event)
    headers = signed(secret, body, "m-3") | {"content-type": "application/cloudevents+json"}
    answer = await intake.client.post("/intake/v1/webhooks/desk", content=body, headers=headers)
    assert answer.json()["accepted"] == 1
    assert {found.external_id for found in await published(intake)} == {"1", "2", "3"}


async def test_the_raw_bytes_are_signed_not_their_meaning(intake: Running, secret: str, element: Make) -> None:
    body = orjson.dumps(element(source="desk", text="¡Qué mal! 😡"))
    headers = signed(secret, body)
    other = orjson.dumps(orjson.loads(body), option=orjson.OPT_INDENT_2)
    assert (await intake.client.post("/intake/v1/webhooks/desk", content=other, headers=headers)).status_code == 401
    assert (await intake.client.post("/intake/v1/webhooks/desk", content=body, headers=headers)).status_code == 202


async def test_a_wrong_signature_is_401_and_leaves_nothing(intake: Running, secret: str) -> None:
    answer = await deliver(intake, secret_text(KEY), b"{}")
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    headers = signed(secret_text(KEY), b"{}") | {"Accept-Language": "es"}
    spanish = await intake.client.post("/intake/v1/webhooks/desk", content=b"{}", headers=headers)
    assert spanish.json()["detail"].startswith("ninguna firma corresponde a un secreto vigente")
    assert (await intake.client.get("/intake/v1/quarantine")).json()["items"] == []
    assert (await intake.client.post("/intake/v1/webhooks/crm", content=b"{}")).status_code == 404
    assert (await intake.client.post("/intake/v1/webhooks/none", content=b"{}")).status_code == 404


async def test_old_and_new_secret_are_both_taken_during_a_rotation(
    intake: Running, secret: str, element: Make, clock: SimulatedClock
) -> None:
    new = (await intake.client.post("/intake/v1/sources/desk/rotate", json={"keep_hours": 1})).json()["secret"]
    for number, key in enumerate((secret, new)):
        body = orjson.dumps(element(str(number), source="desk"))
        assert (await deliver(intake, key, body, message_id=f"m{number}")).status_code == 202
    clock.advance(timedelta(hours=2))
    assert (await deliver(intake, secret, b"{}", at=clock.now())).status_code == 401


@pytest.mark.parametrize("body", [b"", b"{", b"not json", b"[]", b'{"data":7}', b'{"text":"\\u0000"}'])
async def test_what_is_authentic_but_unreadable_waits_in_quarantine(intake: Running, secret: str, body: bytes) -> None:
    """202, not 4xx: the bytes are durable here, and a 4xx makes many senders drop them or switch the webhook off."""
    answer = await deliver(intake, secret, body)
    assert answer.status_code == 202
    kept = answer.json()["quarantined"]
    assert (await deliver(intake, secret, body)).json()["quarantined"] == kept
    [item] = (await intake.client.get("/intake/v1/quarantine")).json()["items"]
    assert (item["id"], item["source"], item["delivery_id"]) == (kept, "desk", "msg-1")
    assert item["errors"][0]["detail"]
    assert (await intake.client.post(f"/intake/v1/quarantine/{kept}/replay")).status_code == 422
    [item] = (await intake.client.get("/intake/v1/quarantine")).json()["items"]
    assert item["attempts"] == 2
    assert (await intake.client.delete(f"/intake/v1/quarantine/{kept}")).status_code == 204
    assert (await intake.client.delete(f"/intake/v1/quarantine/{kept}")).status_code == 404
    assert (await intake.client.get("/intake/v1/quarantine")).json()["items"] == []


async def test_what_waits_is_sealed_and_enters_once_it_can_be_read(intake: Running, secret: str, element: Make) -> None:
    body = orjson.dumps(element(source="desk", text="secreto de la clienta"))
    await intake.client.patch("/intake/v1/sources/desk", json={"defaults": {}})
    future = orjson.dumps(element("9", source="desk", text="secreto de la clienta", occurred_at="2026-03-02T16:00:00Z"))
    kept = (await deliver(intake, secret, future)).json()["quarantined"]
    for path in intake.environment.settings.data.iterdir():
        if path.is_file():
            assert b"secreto de la clienta" not in path.read_bytes()
    clock = intake.environment.clock
    assert isinstance(clock, SimulatedClock)
    clock.advance(timedelta(hours=1))
    answer = await intake.client.post(f"/intake/v1/quarantine/{kept}/replay")
    assert (answer.status_code, answer.json()["accepted"]) == (200, 1)
    assert (await intake.client.get("/intake/v1/quarantine")).json()["items"] == []
    assert (await intake.client.post(f"/intake/v1/quarantine/{kept}/replay")).status_code == 404
    assert (await deliver(intake, secret, body, message_id="m-2", at=clock.now())).json()["accepted"] == 1


async def test_the_good_part_of_a_delivery_enters_and_the_rest_waits(
    intake: Running, secret: str, element: Make
) -> None:
    body = orjson.dumps([element("1", source="desk"), element("2", source="desk", kind="anger")])
    answer = (await deliver(intake, secret, body)).json()
    assert (answer["accepted"], answer["rejected"]) == (1, 1)
    assert answer["errors"][0]["pointer"] == "/1/kind"
    assert answer["quarantined"]


async def test_the_quarantine_pages_by_cursor(intake: Running, secret: str) -> None:
    for number in range(5):
        await deliver(intake, secret, b"{", message_id=f"m-{number}")
    seen, cursor = [], None
    while True:
        page = (
            await intake.client.get(
                "/intake/v1/quarantine", params={"limit": 2, **({"cursor": cursor} if cursor else {})}
            )
        ).json()
        seen += [item["delivery_id"] for item in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert seen == [f"m-{number}" for number in range(5)]
