"""From bytes to well-formed elements: nothing hidden, nothing raised but what says where and why."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.intake.domain import interactions
from services.intake.domain.faults import SENTENCES, Refused, sentence
from services.intake.domain.reading import Form, Read, array, lines, one, parts, strict_loads

FORM = Form(interactions.ADAPTER, interactions.LIST, interactions.KNOWN)
GOOD = {
    "source": "crm",
    "external_id": "1",
    "occurred_at": "2026-03-01T09:30:00-05:00",
    "customer": {"id": "7"},
    "text": "hola",
}


def faults(body: bytes) -> list[tuple[str, str]]:
    read = one(body, FORM)
    assert isinstance(read, Refused), read
    return [(fault.pointer, fault.code) for fault in read.faults]


def changed(**changes: Any) -> bytes:
    return json.dumps({**GOOD, **changes}).encode()


@pytest.mark.parametrize(
    ("body", "pointer", "code"),
    [
        (b"", "", "empty-body"),
        (b"{", "", "invalid-json"),
        (b'{"source":"\xff"}', "", "invalid-utf8"),
        (changed(text="a\0b"), "/text", "nul-character"),
        (changed(attributes={"a\0": 1}), "/attributes/a␀", "nul-character"),
        (changed()[:-1] + b',"subject":"\\ud800"}', "/subject", "surrogate"),
        (changed()[:-1] + b',"text":"other"}', "/text", "duplicate-member"),
        (changed()[:-1] + b',"text" : "other"}', "/text", "duplicate-member"),
        (b'{"customer":{"id":"1","id":"2"},' + changed()[1:], "/customer", "duplicate-member"),
        (changed(customer={"id": "1"})[:-1] + b',"attributes":{"x":1,"x":2}}', "/attributes/x", "duplicate-member"),
        (changed()[:-1] + b',"attributes":{"x":NaN}}', "", "invalid-json"),
        (changed()[:-1] + b',"attributes":{"x":1e999}}', "/attributes/x", "not-finite"),
        (changed(attributes={"x": [1]}), "/attributes/x", "not-flat"),
        (changed(attributes={"x": {"y": 1}}), "/attributes/x", "not-flat"),
        (changed(attributes={str(n): n for n in range(101)}), "/attributes", "too-many"),
        (changed(attributes="x"), "/attributes", "wrong-type"),
        (b"[" * 100_000, "", "too-deep"),
        (b'{"a":' * 60 + b"1" + b"}" * 60, "/a" * 33, "too-deep"),
        (b"1" * 5_000, "", "invalid-json"),
        (b"null", "", "not-an-object"),
        (b'"text"', "", "not-an-object"),
        (changed(ocurred_at="x"), "/ocurred_at", "unknown-field"),
        (changed(source=7), "/source", "wrong-type"),
        (changed(external_id=""), "/external_id", "too-short"),
        (changed(external_id="a\nb"), "/external_id", "invalid-id"),
        (changed(external_id="x" * 201), "/external_id", "too-long"),
        (changed(text="x" * 100_001), "/text", "too-long"),
        (changed(text=["x"]), "/text", "wrong-type"),
        (changed(kind="anger"), "/kind", "not-allowed"),
        (changed(channel="fax"), "/channel", "not-allowed"),
        (changed(customer=[]), "/customer", "wrong-type"),
        (changed(customer={"email": "ana"}), "/customer/email", "invalid-email"),
        (changed(customer={"phone": "call me"}), "/customer/phone", "invalid-phone"),
        (changed(customer={"locale": "es_CO"}), "/customer/locale", "invalid-language"),
        (changed(customer={"internal": "perhaps"}), "/customer/internal", "wrong-type"),
        (changed(language="español"), "/language", "invalid-language"),
        (changed(amount={"amount": 12.5, "currency": "COP"}), "/amount/amount", "wrong-type"),
        (changed(amount={"amount": "1,50", "currency": "COP"}), "/amount/amount", "invalid-amount"),
        (changed(amount={"amount": "1.50", "currency": "cop"}), "/amount/currency", "invalid-currency"),
        (changed(amount={"amount": "1.50"}), "/amount/currency", "missing"),
        (changed(occurred_at="2026-03-01T09:30:00"), "/occurred_at", "zone-missing"),
        (changed(occurred_at="2026-03-01"), "/occurred_at", "zone-missing"),
        (changed(occurred_at="yesterday"), "/occurred_at", "invalid-date"),
        (changed(occurred_at="2026-02-30T09:30:00Z"), "/occurred_at", "invalid-date"),
        (changed(occurred_at="1772375400"), "/occurred_at", "invalid-date"),
        (changed(occurred_at=1772375400), "/occurred_at", "wrong-type"),
    ],
)
def test_what_is_wrong_is_named_by_pointer_and_code_R26(body: bytes, pointer: str, code: str) -> None:
    assert (pointer, code) in faults(body)


def test_every_missing_field_is_listed_at_once_R26() -> None:
    assert faults(b"{}") == [(f"/{name}", "missing") for name in ("source", "external_id", "occurred_at", "customer")]


def test_a_misspelt_field_is_told_its_name() -> None:
    read = one(changed(ocurred_at="x"), FORM)
    assert isinstance(read, Refused)
    assert "occurred_at" in read.faults[0].entry("es")["detail"]


def test_every_code_has_a_sentence_in_both_languages() -> None:
    values = dict.fromkeys(
        ["hint", "limit", "allowed", "latest", "earliest", "name", "reason", "position", "source", "bound"], "x"
    )
    for code in SENTENCES:
        spanish, english = (sentence(code, language, {**values, "expected": "string"}) for language in ("es", "en"))
        assert spanish
        assert english
        assert spanish != english


def test_text_that_looks_like_members_is_read_as_text() -> None:
    said = 'he wrote "a": 1, "a" : 2 and \\u0000 and ":" twice'
    read = one(changed(text=said), FORM)
    assert not isinstance(read, Refused)
    assert read["text"] == said


def test_nanoseconds_are_cut_not_refused() -> None:
    read = one(changed(occurred_at="2026-03-01T14:30:44.304701605Z"), FORM)
    assert not isinstance(read, Refused)
    assert read["occurred_at"].microsecond == 304701


def test_numbers_stand_for_ids() -> None:
    read = one(changed(external_id=17, customer={"id": 88213}), FORM)
    assert not isinstance(read, Refused)
    assert (read["external_id"], read["customer"]["id"]) == ("17", "88213")


def test_one_bad_line_never_fails_the_others() -> None:
    body = b"\n".join([changed(), b"{", b"", changed(text="a\0"), b"  ", changed(external_id="2")])
    read = lines(body, FORM)
    assert [isinstance(item, Refused) for item in read] == [False, True, True, False]


def test_one_bad_element_of_an_array_never_fails_the_others() -> None:
    body = b"[" + b",".join([changed(), b"7", changed()[:-1] + b',"text":"x"}', changed(external_id="2")]) + b"]"
    read = array(body, FORM)
    assert [isinstance(item, Refused) for item in read] == [False, True, True, False]


def test_an_array_that_is_no_json_is_refused_as_a_whole() -> None:
    with pytest.raises(Refused):
        array(b"[" + changed(), FORM)


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_but_a_refusal(body: bytes) -> None:
    one(body, FORM)
    lines(body, FORM)
    with contextlib.suppress(Refused):
        array(body, FORM)


def in_parts(body: bytes, size: int) -> list[Read] | None:
    read: list[Read] = []
    for part in parts(body, size):
        if part is None:
            return None
        read += lines(part, FORM)
    return read


ELEMENTS = st.sampled_from(
    [
        changed(), changed(text="ñandú “\u00e1”, [1, 2], {}", external_id="2"), json.dumps(GOOD, indent=2).replace("\n", "\r\n").encode(),
        b"7", b"null", b'"x"', b"[]", b"{}", changed()[:-1] + b',"text":"x"}', changed(text="a\0"), b'{"a":' * 40 + b"1" + b"}" * 40,
        b"NaN", b"9" * 5_000, b"{", b"", b"1 2", b'"\n"', b"\xff", b"[" * 100_000,
    ]
)  # fmt: skip


@given(
    st.lists(st.tuples(ELEMENTS, st.sampled_from([b"", b" ", b"\n\r\t", b"\xc2\xa0"])), max_size=6),
    st.sampled_from([b"[]", b" [ ] ", b"[,]", b"[", b"[]]", b"[] 1", b"{}"]),
    st.sampled_from([1, 200, 10_000]),
)
def test_an_array_read_in_parts_gives_what_it_gives_in_one_go(
    elements: list[tuple[bytes, bytes]], around: bytes, size: int
) -> None:
    bracket = around.index(around.strip()[:1]) + 1
    body = around[:bracket] + b",".join(space + element + space for element, space in elements) + around[bracket:]
    found = in_parts(body, size)
    if found is not None:
        assert [str(one) for one in found] == [str(one) for one in array(body, FORM)]
    else:
        with contextlib.suppress(Refused):
            assert not any(isinstance(one, dict) for one in array(body, FORM)), (
                "a body of good elements is read in parts"
            )


def test_a_large_array_is_read_a_few_elements_at_a_time() -> None:
    body = json.dumps([GOOD] * 500, ensure_ascii=False).encode()
    found = list(parts(body, 16_000))
    assert len(found) > 3
    assert all(part is not None and len(part) < 17_000 for part in found)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from([*GOOD, "subject", "attributes", "amount", "x"]), JSON, max_size=8))
def test_any_object_is_read_or_refused_with_a_pointer_into_it(made: dict[str, Any]) -> None:
    read = one(json.dumps({**GOOD, **made}).encode(), FORM)
    if isinstance(read, Refused):
        for fault in read.faults:
            assert fault.entry("en")["detail"]
            assert fault.pointer == "" or fault.pointer.startswith("/")


@given(
    st.lists(st.tuples(st.sampled_from(["text", "subject", "product", "team"]), st.text(max_size=12)), max_size=6),
    st.sampled_from([":", " :", "\n:", "\t :"]),
)
def test_a_member_given_twice_is_always_seen(pairs: list[tuple[str, str]], colon: str) -> None:
    """The quick count must agree with an exact reader for every text and every way of writing the colon."""
    members = [(name, GOOD[name]) for name in ("source", "external_id", "occurred_at", "customer")] + pairs
    body = "{" + ",".join(f"{json.dumps(name)}{colon}{json.dumps(value)}" for name, value in members) + "}"
    names = [name for name, _ in members]
    read = one(body.encode(), FORM)
    twice = len(set(names)) != len(names)
    refused_for_it = isinstance(read, Refused) and any(fault.code == "duplicate-member" for fault in read.faults)
    assert refused_for_it == twice


@given(JSON)
def test_what_is_plain_json_is_read_as_any_reader_reads_it(made: Any) -> None:
    body = json.dumps(made).encode()
    assert json.dumps(strict_loads(body)) == json.dumps(json.loads(body))


def test_the_quick_way_keeps_what_the_exact_way_keeps() -> None:
    assert one(orjson.dumps(GOOD), FORM) == one(json.dumps(GOOD, indent=2).encode(), FORM)
