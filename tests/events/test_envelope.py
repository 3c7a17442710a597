"""An event survives the way into a Kafka record and back, and any CloudEvents library can read it there."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from cloudevents.core.bindings import kafka as sdk
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent as SdkEvent
from hypothesis import given
from hypothesis import strategies as st

from libs.events import chain
from libs.events.envelope import (
    Event,
    InvalidCloudEvent,
    chainhash_of,
    derived_id,
    from_record,
    natural_id,
    to_cloudevent,
    to_record,
    unchained,
)
from libs.events.log import Record

plain = st.text(st.characters(exclude_categories=["Cs", "Cc", "Cn"]), min_size=1, max_size=30)
times = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))
events = st.builds(
    Event,
    id=plain,
    type=st.sampled_from(["lazo.interaction.recorded.v1", "lazo.case.opened.v1"]),
    source=st.sampled_from(["/lazo/intake", "/lazo/feedback"]),
    subject=plain,
    streamversion=st.integers(1, 10**9),
    sequence=st.integers(1, 10**15),
    time=times,
    recordedtime=st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)),
    partitionkey=plain,
    correlationid=plain,
    causationid=st.none() | plain,
    traceparent=st.none() | st.just("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    data=st.just(b'{"text":"\xc3\xb1","n":1}'),
)


def record_of(event: Event, **more: bytes) -> Record:
    headers, value = to_record(event)
    return Record("t", 0, 0, event.partitionkey.encode(), value, (*headers, *more.items()), 0)


@given(events)
def test_an_event_survives_the_way_through_a_record(event: Event) -> None:
    assert from_record(record_of(event)) == event
    assert from_record(unchained(event, "t", 0)) == event


@given(events)
def test_the_reference_library_reads_our_records(event: Event) -> None:
    headers, value = to_record(event, chain.link(chain.GENESIS, b""))
    read = sdk.from_kafka(sdk.KafkaMessage(dict(headers), event.partitionkey, value), JSONFormat())
    attributes = read.get_attributes()
    assert attributes["specversion"] == "1.0"
    assert attributes["time"] == event.time
    assert attributes["datacontenttype"] == "application/json"
    assert attributes["sequence"] == f"{event.sequence:020d}"
    assert attributes["streamversion"] == str(event.streamversion)
    assert datetime.fromisoformat(attributes["recordedtime"]) == event.recordedtime
    for name in ("id", "type", "source", "subject", "partitionkey", "correlationid"):
        assert attributes[name] == getattr(event, name)
    for name in ("causationid", "traceparent"):
        assert attributes.get(name) == getattr(event, name)
    assert read.get_data() == event.json()


@given(events)
def test_we_read_what_the_reference_library_writes(event: Event) -> None:
    written = to_cloudevent(event)
    attributes: dict[str, Any] = {**written.attributes(), "time": event.time}
    message = sdk.to_binary(SdkEvent(attributes, written.data), JSONFormat())
    key = message.key.encode() if isinstance(message.key, str) else message.key
    read = from_record(Record("t", 0, 0, key, message.value, tuple(message.headers.items()), 0))
    assert read.json() == event.json()
    assert read == replace(event, data=read.data)


def test_times_of_other_zones_are_written_in_utc(event: Event) -> None:
    bogota = timezone(timedelta(hours=-5))
    moved = replace(event, time=event.time.astimezone(bogota))
    assert to_record(moved) == to_record(event)


def test_a_naive_time_is_refused(event: Event) -> None:
    naive = replace(event, time=datetime(2026, 1, 1))
    with pytest.raises(ValueError, match="aware"):
        to_record(naive)


@pytest.fixture
def event() -> Event:
    now = datetime(2026, 3, 1, 14, 30, 0, 123456, tzinfo=UTC)
    return Event(
        "i", "lazo.case.opened.v1", "/lazo/feedback", "case/1", 1, 7, now, now, "cus_1", "c", None, None, b"{}"
    )


def test_the_header_names_and_forms_are_the_published_ones(event: Event) -> None:
    headers = dict(to_record(event, "1.ab")[0])
    assert headers == {
        "content-type": b"application/json",
        "ce_specversion": b"1.0",
        "ce_id": b"i",
        "ce_type": b"lazo.case.opened.v1",
        "ce_source": b"/lazo/feedback",
        "ce_subject": b"case/1",
        "ce_time": b"2026-03-01T14:30:00.123456Z",
        "ce_partitionkey": b"cus_1",
        "ce_correlationid": b"c",
        "ce_recordedtime": b"2026-03-01T14:30:00.123456Z",
        "ce_sequence": b"00000000000000000007",
        "ce_streamversion": b"1",
        "ce_chainhash": b"1.ab",
    }


def test_extensions_we_do_not_know_are_passed_over(event: Event) -> None:
    assert from_record(record_of(event, ce_later=b"x", other=b"\xff")) == event


@pytest.mark.parametrize(
    ("header", "content", "attribute"),
    [
        *((f"ce_{name}", None, name) for name in ("id", "type", "source", "subject", "partitionkey", "correlationid")),
        *((f"ce_{name}", None, name) for name in ("time", "recordedtime", "sequence", "streamversion", "specversion")),
        ("ce_specversion", b"0.3", "specversion"),
        ("ce_time", b"2026-03-01T14:30:00", "time"),
        ("ce_time", b"2026-03-01T14:30:00+02:00", "time"),
        ("ce_time", b"yesterday", "time"),
        ("ce_recordedtime", b"\xff", "recordedtime"),
        ("ce_sequence", b"seven", "sequence"),
        ("ce_streamversion", b"", "streamversion"),
        ("ce_id", b"\xff", "id"),
        ("ce_causationid", b"\xff", "causationid"),
    ],
)
def test_a_record_that_is_no_event_is_refused_by_the_name_of_the_attribute(
    event: Event, header: str, content: bytes | None, attribute: str
) -> None:
    headers, value = to_record(event)
    changed = dict(headers)
    if content is None:
        del changed[header]
    else:
        changed[header] = content
    with pytest.raises(InvalidCloudEvent) as caught:
        from_record(Record("t", 0, 0, b"cus_1", value, tuple(changed.items()), 0))
    assert caught.value.attribute == attribute


def test_the_place_in_the_chain_is_read_from_the_record(event: Event) -> None:
    assert chainhash_of(unchained(event, "t", 0)) is None
    record, text = chain.chained(unchained(event, "t", 0), chain.GENESIS)
    assert chainhash_of(record) == text
    assert from_record(record) == event


def test_ids_are_derived_the_same_for_ever() -> None:
    """Stored ids depend on these: a change would make every handled event look new."""
    assert derived_id("a", "h", 0) == "4c492478-3abf-5386-9924-7e45602a5845"
    assert natural_id("interaction", "src", "1") == "38ab23e3-cf05-5bcc-a63f-1147b2e6e0a4"
    assert (
        len({derived_id("a", "h", 0), derived_id("a", "h", 1), derived_id("a", "g", 0), derived_id("b", "h", 0)}) == 4
    )


def test_reading_and_writing_a_record_take_microseconds(event: Event) -> None:
    """Measured 4.2 and 4.3 µs; the bound is what a busy machine may cost, not what is good."""
    import timeit

    record = record_of(event)
    assert min(timeit.repeat(lambda: to_record(event), number=2000, repeat=5)) / 2000 < 60e-6
    assert min(timeit.repeat(lambda: from_record(record), number=2000, repeat=5)) / 2000 < 60e-6
