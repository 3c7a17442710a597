"""CloudEvents 1.0.2 over HTTP, with the reference library as the oracle in both directions, and hostile input."""

from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from cloudevents.core.bindings import http as sdk
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent as SdkEvent
from hypothesis import given
from hypothesis import strategies as st

from libs.events.cloudevent import (
    BATCH,
    STRUCTURED,
    CloudEvent,
    InvalidCloudEvent,
    from_http,
    from_http_each,
    is_cloudevent,
    parse_time,
    to_http_batch,
    to_http_binary,
    to_http_structured,
)

FORMAT = JSONFormat()
# Cn: the noncharacters, which the specification forbids, are among the unassigned.
texts = st.text(st.characters(exclude_categories=["Cs", "Cc", "Cn"]), min_size=1, max_size=20)
uris = st.from_regex(r"\A(/[a-z0-9]{1,8}){1,3}\Z|\Aurn:[a-z0-9]{1,8}:[a-z0-9ñ]{1,8}\Z|\Ahttps://[a-z]{1,8}/x%20y\Z")
names = st.from_regex(r"\A[a-z0-9]{1,20}\Z").filter(
    lambda name: (
        name not in {"data", "specversion", "id", "source", "type", "subject", "time", "datacontenttype", "dataschema"}
    )
)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
times = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC))


@st.composite
def cloudevents(draw: st.DrawFn, text_extensions: bool = False) -> CloudEvent:
    extension = texts if text_extensions else texts | st.booleans() | st.integers(-(2**31), 2**31 - 1)
    return CloudEvent(
        id=draw(texts),
        source=draw(uris),
        type=draw(texts),
        subject=draw(st.none() | texts),
        time=draw(st.none() | times),
        datacontenttype="application/json",
        dataschema=draw(st.none() | st.just("https://example.org/schema")),
        extensions=draw(st.dictionaries(names, extension, max_size=3)),
        data=draw(st.dictionaries(texts, values, max_size=3)),
    )


def sdk_event(event: CloudEvent) -> SdkEvent:
    attributes: dict[str, Any] = dict(event.attributes())
    if event.time is not None:
        attributes["time"] = event.time
    else:
        attributes["time"] = datetime(2026, 1, 1, tzinfo=UTC)  # the library insists on one
    return SdkEvent(attributes, event.data)


def known_to_sdk(read: Any, event: CloudEvent, *, as_text: bool) -> None:
    attributes = dict(read.get_attributes())
    if event.time is None:
        attributes.pop("time")
    else:
        assert attributes.pop("time") == event.time
    expected = {name: value for name, value in event.attributes().items() if name != "time"}
    if as_text:
        expected = {
            name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in expected.items()
        }
    assert attributes == expected
    assert (read.get_data() or {}) == event.data


# The reference library reads what we write ---------------------------------------------------------------------------


@given(cloudevents())
def test_the_reference_library_reads_our_binary_form(event: CloudEvent) -> None:
    headers, body = to_http_binary(event)
    known_to_sdk(sdk.from_http(sdk.HTTPMessage(headers, body), FORMAT), event, as_text=True)


@given(cloudevents())
def test_the_reference_library_reads_our_structured_form(event: CloudEvent) -> None:
    headers, body = to_http_structured(event)
    known_to_sdk(sdk.from_http(sdk.HTTPMessage(headers, body), FORMAT), event, as_text=False)


@given(st.lists(cloudevents(), max_size=3))
def test_the_reference_library_reads_each_element_of_our_batched_form(events: list[CloudEvent]) -> None:
    headers, body = to_http_batch(events)
    assert headers == {"content-type": BATCH}
    elements = orjson.loads(body)
    assert len(elements) == len(events)
    for element, event in zip(elements, events, strict=True):
        known_to_sdk(FORMAT.read(None, orjson.dumps(element)), event, as_text=False)


# We read what the reference library writes ---------------------------------------------------------------------------


def same(read: CloudEvent, event: CloudEvent) -> bool:
    time = event.time or datetime(2026, 1, 1, tzinfo=UTC)
    wanted = {**event.attributes(), "time": None}
    return {**read.attributes(), "time": None} == wanted and read.time == time and read.data == event.data


@given(cloudevents(text_extensions=True))
def test_we_read_the_reference_librarys_binary_form(event: CloudEvent) -> None:
    message = sdk.to_binary(sdk_event(event), FORMAT)
    [read] = from_http(message.headers, message.body)
    assert same(read, event)


@given(cloudevents())
def test_we_read_the_reference_librarys_structured_form(event: CloudEvent) -> None:
    message = sdk.to_structured(sdk_event(event), FORMAT)
    [read] = from_http(message.headers, message.body)
    assert same(read, event)


# Our own round trip, with what the library cannot say ----------------------------------------------------------------


@given(
    cloudevents(text_extensions=True),
    st.none() | st.binary(min_size=1, max_size=20),
    st.sampled_from(["image/png", "application/x"]),
)
def test_bytes_survive_all_three_forms(event: CloudEvent, data: bytes | None, content_type: str) -> None:
    given_event = CloudEvent(
        event.id, event.source, event.type, event.subject, event.time, content_type, None, event.extensions, data
    )
    for headers, body in (to_http_binary(given_event), to_http_structured(given_event), to_http_batch([given_event])):
        assert from_http(headers, body) == [given_event]


@pytest.mark.parametrize("data", [1, "text", [1, 2], True, {"a": None}, 0, "", [], {}])
def test_data_may_be_any_json_value(data: Any) -> None:
    event = CloudEvent("i", "/s", "t", datacontenttype="application/json", data=data)
    for headers, body in (to_http_binary(event), to_http_structured(event)):
        assert from_http(headers, body) == [event]


def test_data_that_is_no_json_stays_text() -> None:
    event = CloudEvent("i", "/s", "t", datacontenttype="text/plain", data='{"not": parsed}')
    for headers, body in (to_http_binary(event), to_http_structured(event)):
        assert from_http(headers, body) == [event]


# The rules -----------------------------------------------------------------------------------------------------------

BASE = {"specversion": "1.0", "id": "i", "source": "/s", "type": "t"}


def structured(**changes: Any) -> list[CloudEvent]:
    return from_http({"Content-Type": STRUCTURED}, orjson.dumps(BASE | changes))


def binary(headers: Mapping[str, str] | None = None, body: bytes = b"", **changes: str) -> list[CloudEvent]:
    given_headers = {f"ce-{name}": value for name, value in (BASE | changes).items()}
    return from_http({**given_headers, **(headers or {})}, body)


NO_TEXT: tuple[Any, ...] = ("", None, 7, "a\u0000b", {})


@pytest.mark.parametrize(
    ("changes", "attribute"),
    [
        ({"specversion": "0.3"}, "specversion"),
        ({"specversion": None}, "specversion"),
        ({"specversion": 1.0}, "specversion"),
        *[({name: value}, name) for name in ("id", "source", "type") for value in NO_TEXT],
        ({"source": "not a uri"}, "source"),
        ({"subject": ""}, "subject"),
        ({"subject": 3}, "subject"),
        ({"time": "2026-03-01"}, "time"),
        ({"time": "2026-03-01T10:00:00"}, "time"),
        ({"time": "2026-13-01T10:00:00Z"}, "time"),
        ({"time": "2026-02-30T10:00:00Z"}, "time"),
        ({"time": "0001-01-01T00:00:00+23:00"}, "time"),
        ({"time": "２０２６-03-01T10:00:00Z"}, "time"),
        ({"time": 1_700_000_000}, "time"),
        ({"datacontenttype": "json"}, "datacontenttype"),
        ({"datacontenttype": ""}, "datacontenttype"),
        ({"dataschema": "relative/path"}, "dataschema"),
        ({"dataschema": ""}, "dataschema"),
        ({"Upper": "x"}, "Upper"),
        ({"with_underscore": "x"}, "with_underscore"),
        ({"": "x"}, "(empty)"),
        ({"ext": 1.5}, "ext"),
        ({"ext": 2**31}, "ext"),
        ({"ext": ["a"]}, "ext"),
        ({"ext": {"a": 1}}, "ext"),
        ({"ext": "a\u0007b"}, "ext"),
        ({"ext": "a\ufffeb"}, "ext"),
        ({"data_base64": "not base64!"}, "data_base64"),
        ({"data_base64": 7}, "data_base64"),
        ({"data_base64": "eA==", "data": 1}, "data_base64"),
    ],
)
def test_what_breaks_a_rule_is_named_and_never_repeated(changes: dict[str, Any], attribute: str) -> None:
    with pytest.raises(InvalidCloudEvent) as caught:
        structured(**changes)
    assert caught.value.attribute == attribute
    assert isinstance(caught.value, ValueError)
    assert str(caught.value).startswith(attribute)


def test_null_means_not_set() -> None:
    assert structured(subject=None, time=None, ext=None) == [CloudEvent("i", "/s", "t")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-03-01T10:00:00Z", datetime(2026, 3, 1, 10, tzinfo=UTC)),
        ("2026-03-01t10:00:00z", datetime(2026, 3, 1, 10, tzinfo=UTC)),
        ("2026-03-01T10:00:00.5-05:00", datetime(2026, 3, 1, 15, 0, 0, 500_000, tzinfo=UTC)),
        ("2026-03-01T10:00:00.123456789Z", datetime(2026, 3, 1, 10, 0, 0, 123_456, tzinfo=UTC)),
        ("2016-12-31T23:59:60Z", datetime(2017, 1, 1, tzinfo=UTC)),
        ("1900-01-01T00:00:00Z", datetime(1900, 1, 1, tzinfo=UTC)),
        ("2200-01-01T00:00:00+00:00", datetime(2200, 1, 1, tzinfo=UTC)),
    ],
)
def test_times_of_rfc_3339_are_read(text: str, expected: datetime) -> None:
    assert parse_time(text) == expected


@pytest.mark.parametrize(
    "text", ["20260301T100000Z", "2026-W09-7T10:00:00Z", "2026-03-01 10:00:00Z", "2026-03-01T10:00Z", "2026-03-01T10:00:00+0500", "2026-03-01T24:00:00Z", "2026-03-01T10:00:00Z\n"]
)  # fmt: skip
def test_other_forms_of_iso_8601_are_not(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_time(text)


def test_headers_are_percent_decoded_once_and_quotes_undone() -> None:
    [event] = binary(id="a%20b%25c", subject='Euro%20%E2%82%AC%20%F0%9F%98%80', ext='"quoted \\"x\\""')  # fmt: skip
    assert event.id == "a b%c"
    assert event.subject == "Euro € 😀"
    assert event.extensions == {"ext": 'quoted "x"'}


@pytest.mark.parametrize(
    ("call", "attribute"),
    [
        (lambda: binary(id="%ff%fe"), "id"),
        (lambda: binary(id="ñ"), "id"),
        (lambda: binary(id="%00"), "id"),
        (lambda: binary(datacontenttype="text/plain"), "datacontenttype"),
        (lambda: binary({"ce-data": "x"}), "data"),
        (lambda: binary({"ce-with-dash": "x"}), "with-dash"),
        (lambda: binary({"CE-ID": "twice"}), "id"),
        (lambda: binary({"content-type": "nonsense"}, b"x"), "datacontenttype"),
        (lambda: binary({"content-type": "application/json"}, b"{"), "data"),
        (lambda: binary({"content-type": "application/json"}, b"\xff"), "data"),
        (lambda: binary(body=b"NaN"), "data"),
        (lambda: from_http({"content-type": "application/json"}, b"{}"), "specversion"),
        (lambda: from_http({}, b""), "specversion"),
        (lambda: from_http({"content-type": "application/cloudevents+xml"}, b"<a/>"), "content-type"),
        (lambda: from_http({"content-type": STRUCTURED + "; charset=latin-1"}, b"{}"), "content-type"),
        (lambda: from_http({"content-type": STRUCTURED}, b""), "body"),
        (lambda: from_http({"content-type": STRUCTURED}, b"[]"), "body"),
        (lambda: from_http({"content-type": STRUCTURED}, b"\xff"), "body"),
        (lambda: from_http({"content-type": STRUCTURED}, b'{"id": "\\ud800"}'), "body"),
        (lambda: from_http({"content-type": STRUCTURED}, b"[" * 100_000), "body"),
        (lambda: from_http({"content-type": BATCH}, b"{}"), "body"),
        (lambda: from_http({"content-type": BATCH}, b"[7]"), "body"),
    ],
)
def test_hostile_requests_are_refused_by_the_name_of_what_is_wrong(call: Any, attribute: str) -> None:
    with pytest.raises(InvalidCloudEvent) as caught:
        call()
    assert caught.value.attribute == attribute


@given(st.binary(max_size=200), st.dictionaries(st.text(max_size=12), st.text(max_size=20), max_size=4))
def test_whatever_comes_in_the_only_error_is_invalidcloudevent(body: bytes, headers: dict[str, str]) -> None:
    for content_type in (STRUCTURED, BATCH, "application/json", "image/png"):
        with suppress(InvalidCloudEvent):
            from_http({**headers, "ce-specversion": "1.0", "ce-id": "1", "content-type": content_type}, body)


@given(
    st.dictionaries(
        st.sampled_from(["specversion", "id", "source", "type", "time", "data", "data_base64", "x", "X"]), values
    )
)
def test_whatever_json_comes_in_the_only_error_is_invalidcloudevent(given_object: dict[str, Any]) -> None:
    body = orjson.dumps([given_object, BASE])
    first, second = from_http_each({"content-type": BATCH}, body)
    assert isinstance(first, CloudEvent | InvalidCloudEvent)
    assert second == CloudEvent("i", "/s", "t")


def test_one_bad_element_of_a_batch_harms_no_other() -> None:
    body = orjson.dumps([BASE, {**BASE, "id": ""}, 3, {**BASE, "id": "j"}])
    found = from_http_each({"content-type": BATCH}, body)
    assert [type(element) for element in found] == [CloudEvent, InvalidCloudEvent, InvalidCloudEvent, CloudEvent]
    assert [(e.index, e.attribute) for e in found if isinstance(e, InvalidCloudEvent)] == [(1, "id"), (2, "body")]
    with pytest.raises(InvalidCloudEvent, match=r"event 1: id must not be empty"):
        from_http({"content-type": BATCH}, body)


def test_a_stricter_reader_of_json_can_be_handed_in() -> None:
    def refuse(body: bytes) -> Any:
        raise ValueError("duplicate member")

    with pytest.raises(InvalidCloudEvent):
        from_http({"content-type": STRUCTURED}, orjson.dumps(BASE), refuse)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Content-Type": STRUCTURED}, True),
        ({"content-type": BATCH + "; charset=utf-8"}, True),
        ({"CE-SpecVersion": "1.0"}, True),
        ({"content-type": "application/json"}, False),
        ({}, False),
    ],
)
def test_a_request_says_whether_it_carries_cloudevents(headers: dict[str, str], expected: bool) -> None:
    assert is_cloudevent(headers) is expected
