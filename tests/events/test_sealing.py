"""Sealing: what a person said stands in no event in the clear, and opens only where it was sealed (G5)."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.events.catalogue import personal_fields
from libs.events.catalogue.interactions import Channel, InteractionRecorded, Kind
from libs.events.clock import SimulatedClock
from libs.events.envelope import Event
from libs.events.sealing import PREFIX, SealBroken, open_fields, opened, seal_fields
from libs.events.vault import Vault

KEY, OTHER = bytes(range(32)), bytes(reversed(range(32)))
NOW = datetime(2026, 3, 1, 9, tzinfo=UTC)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)


@given(
    text=TEXT, flat=st.dictionaries(TEXT, TEXT | st.integers(-(2**53), 2**53) | st.booleans() | st.none(), max_size=5)
)
def test_what_is_sealed_opens_again_exactly(text: str, flat: dict[str, Any]) -> None:
    data: dict[str, Any] = {"text": text, "attributes": flat, "kind": "claim", "phone": None}
    seal_fields(data, ("text", "attributes", "phone"), KEY, "event-1")
    assert data["text"].startswith(PREFIX)
    assert data["attributes"].startswith(PREFIX)
    assert data["kind"] == "claim"
    assert data["phone"] is None
    open_fields(data, ("text", "attributes", "phone"), KEY, "event-1")
    assert data == {"text": text, "attributes": flat, "kind": "claim", "phone": None}


def _sealed() -> dict[str, Any]:
    data = {"text": "no me respondieron", "subject": "queja"}
    seal_fields(data, ("text", "subject"), KEY, "event-1")
    return data


def test_the_same_text_is_sealed_differently_each_time() -> None:
    assert _sealed()["text"] != _sealed()["text"]
    assert "respondieron" not in str(_sealed())


def test_a_token_moved_to_another_event_does_not_open() -> None:
    with pytest.raises(SealBroken):
        open_fields(_sealed(), ("text",), KEY, "event-2")


def test_a_token_moved_to_another_field_does_not_open() -> None:
    data = _sealed()
    data["subject"] = data["text"]
    with pytest.raises(SealBroken):
        open_fields(data, ("subject",), KEY, "event-1")


def test_another_persons_key_does_not_open() -> None:
    with pytest.raises(SealBroken):
        open_fields(_sealed(), ("text",), OTHER, "event-1")


@given(position=st.integers(4, 70), letter=st.sampled_from("ABCXYZabcxyz0189-_"))
def test_an_altered_token_does_not_open(position: int, letter: str) -> None:
    data = _sealed()
    token = data["text"]
    altered = token[: position % len(token)] + letter + token[position % len(token) + 1 :]
    if not altered.startswith(PREFIX) or altered == token:
        return
    data["text"] = altered
    try:
        open_fields(data, ("text",), KEY, "event-1")
    except SealBroken:
        return
    # The last letter of base64 holds two bits that say nothing.
    assert data["text"] == "no me respondieron"
    assert position % len(token) == len(token) - 1


def test_without_a_key_everything_personal_is_none() -> None:
    data = _sealed()
    open_fields(data, ("text", "subject"), None, "event-1")
    assert data == {"text": None, "subject": None}
    fresh = {"text": "no me respondieron", "kind": "claim"}
    seal_fields(fresh, ("text",), None, "event-1")
    assert fresh == {"text": None, "kind": "claim"}


def test_a_text_that_looks_like_a_token_is_sealed_like_any_other() -> None:
    data = {"text": "lz1.AAAA"}
    seal_fields(data, ("text",), KEY, "event-1")
    open_fields(data, ("text",), KEY, "event-1")
    assert data == {"text": "lz1.AAAA"}


async def test_events_are_opened_in_a_batch_and_erased_people_stay_closed(tmp_path: Path) -> None:
    vault = await Vault.open(str(tmp_path / "vault.db"), KEY, SimulatedClock(NOW))
    ana, luis = await vault.resolve([{"email": "ana@example.com"}, {"email": "luis@example.com"}])
    events = [await _recorded(vault, person, number) for number, person in enumerate([ana, luis, ana])]
    assert all(b"no me respondieron" not in event.data for event in events)
    first, second, third = [data for data in await opened(vault, events) if isinstance(data, InteractionRecorded)]
    assert (first.text, first.attributes) == ("no me respondieron 0", {"floor": 3})
    assert (second.text, third.text) == ("no me respondieron 1", "no me respondieron 2")
    await vault.erase(ana)
    first, second, third = [data for data in await opened(vault, events) if isinstance(data, InteractionRecorded)]
    assert (first.text, first.attributes, first.email, first.touchpoint) == (None, None, None, "branch 9")
    assert second.text == "no me respondieron 1"
    assert third.text is None
    await vault.close()


async def _recorded(vault: Vault, person: str, number: int) -> Event:
    data = InteractionRecorded(
        interaction_id=f"i{number}",
        external_id=f"e{number}",
        origin="crm",
        kind=Kind.CLAIM,
        channel=Channel.WEB,
        occurred_at=NOW,
        customer_id=person,
        email="ana@example.com",
        text=f"no me respondieron {number}",
        attributes={"floor": 3},
        touchpoint="branch 9",
    ).model_dump(mode="json")
    seal_fields(data, personal_fields(InteractionRecorded), (await vault.keys([person]))[person], f"i{number}")
    return Event(
        id=f"i{number}",
        type=InteractionRecorded.TYPE,
        source="/lazo/intake",
        subject=f"interaction/i{number}",
        streamversion=1,
        sequence=number,
        time=NOW,
        recordedtime=NOW,
        partitionkey=person,
        correlationid=f"i{number}",
        causationid=None,
        traceparent=None,
        data=orjson.dumps(data),
    )
