"""The envelope around every fact: CloudEvents 1.0.2 with the extensions Lazo needs.

`partitionkey, traceparent, correlationid, causationid, recordedtime` are published extensions; `sequence` is the event's
position in the store that owns it (zero-padded, so that it sorts as text) and `streamversion` its place in its stream.

On Kafka an event travels in the binary form (`to_record`, `from_record`); over HTTP in the binary, structured and batched
forms of `libs.events.cloudevent`, whose names stand here too.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from libs.events.cloudevent import (
    CloudEvent,
    InvalidCloudEvent,
    from_http,
    from_http_each,
    to_http_batch,
    to_http_binary,
    to_http_structured,
)
from libs.events.ids import NAMESPACE, derived_id, natural_id
from libs.events.log import Outgoing, Record

__all__ = [
    "NAMESPACE",
    "CloudEvent",
    "Event",
    "InvalidCloudEvent",
    "chainhash_of",
    "derived_id",
    "from_http",
    "from_http_each",
    "from_record",
    "natural_id",
    "to_cloudevent",
    "to_http_batch",
    "to_http_binary",
    "to_http_structured",
    "to_record",
    "unchained",
]


@dataclass(frozen=True, slots=True)
class Event:
    """One immutable fact. `data` is the JSON as it was stored, personal fields sealed; decode it with the catalogue."""

    id: str
    type: str
    source: str  # "/lazo/<service>"
    subject: str  # the stream, e.g. "case/0198…"
    streamversion: int  # 1-based place in the stream
    sequence: int  # position in the owner's store
    time: datetime  # when it happened
    recordedtime: datetime  # when Lazo knew
    partitionkey: str
    correlationid: str
    causationid: str | None
    traceparent: str | None
    data: bytes

    def json(self) -> dict[str, Any]:
        """`data` as plain values; old versions are not upcast (the catalogue's `decode` does that)."""
        decoded: dict[str, Any] = orjson.loads(self.data)
        return decoded


Headers = tuple[tuple[str, bytes], ...]

_JSON = ("content-type", b"application/json")
_SPECVERSION = ("ce_specversion", b"1.0")


def _time_text(value: datetime) -> str:
    # 27 or 20 characters of RFC 3339 in UTC; `isoformat` always ends in +00:00 there.
    if value.tzinfo is not UTC:
        if value.tzinfo is None:
            raise ValueError("times of events are aware")
        value = value.astimezone(UTC)
    return value.isoformat()[:-6] + "Z"


def to_record(event: Event, chainhash: str | None = None) -> tuple[Headers, bytes]:
    """Headers and value of the CloudEvents binary form on Kafka; the record's key is `event.partitionkey`.

    Without `chainhash` the headers are what the chain's hash is taken over (`libs.events.chain`).
    """
    headers = [
        _JSON,
        _SPECVERSION,
        ("ce_id", event.id.encode()),
        ("ce_type", event.type.encode()),
        ("ce_source", event.source.encode()),
        ("ce_subject", event.subject.encode()),
        ("ce_time", _time_text(event.time).encode()),
        ("ce_partitionkey", event.partitionkey.encode()),
        ("ce_correlationid", event.correlationid.encode()),
        ("ce_recordedtime", _time_text(event.recordedtime).encode()),
        ("ce_sequence", b"%020d" % event.sequence),
        ("ce_streamversion", b"%d" % event.streamversion),
    ]
    if event.causationid is not None:
        headers.append(("ce_causationid", event.causationid.encode()))
    if event.traceparent is not None:
        headers.append(("ce_traceparent", event.traceparent.encode()))
    if chainhash is not None:
        headers.append(("ce_chainhash", chainhash.encode()))
    return tuple(headers), event.data


def unchained(event: Event, topic: str, partition: int) -> Outgoing:
    """The record of an event, before `libs.events.chain.chained` puts it in its place in the chain.

    The record's timestamp is `recordedtime`: brokers refuse the times before 1970 that old letters may carry.
    """
    headers, value = to_record(event)
    recorded = int(event.recordedtime.timestamp() * 1000)
    return Outgoing(topic, partition, event.partitionkey.encode(), value, headers, recorded)


def from_record(record: Record | Outgoing) -> Event:
    """The event in a record. Raises InvalidCloudEvent, a ValueError that names the attribute."""
    headers = dict(record.headers)
    try:
        causationid, traceparent = headers.get("ce_causationid"), headers.get("ce_traceparent")
        event = Event(
            headers["ce_id"].decode(),
            headers["ce_type"].decode(),
            headers["ce_source"].decode(),
            headers["ce_subject"].decode(),
            int(headers["ce_streamversion"]),
            int(headers["ce_sequence"]),
            datetime.fromisoformat(headers["ce_time"].decode()),
            datetime.fromisoformat(headers["ce_recordedtime"].decode()),
            headers["ce_partitionkey"].decode(),
            headers["ce_correlationid"].decode(),
            None if causationid is None else causationid.decode(),
            None if traceparent is None else traceparent.decode(),
            record.value,
        )
    except (KeyError, ValueError):
        raise _diagnosis(headers) from None
    if event.time.tzinfo is not UTC or event.recordedtime.tzinfo is not UTC or headers.get("ce_specversion") != b"1.0":
        raise _diagnosis(headers)
    return event


def _diagnosis(headers: dict[str, bytes]) -> InvalidCloudEvent:
    """Which header is at fault; asked only once reading has failed, so that reading stays quick."""
    if headers.get("ce_specversion") != b"1.0":
        return InvalidCloudEvent("specversion", "must be 1.0")
    for name in ("id", "type", "source", "subject", "partitionkey", "correlationid", "streamversion", "sequence"):
        value = headers.get(f"ce_{name}")
        if value is None:
            return InvalidCloudEvent(name, "is missing")
        try:
            value.decode()
        except UnicodeDecodeError:
            return InvalidCloudEvent(name, "is not UTF-8")
        if name in {"streamversion", "sequence"} and not value.isdigit():
            return InvalidCloudEvent(name, "must be a number")
    for name in ("time", "recordedtime"):
        value = headers.get(f"ce_{name}")
        if value is None:
            return InvalidCloudEvent(name, "is missing")
        try:
            if datetime.fromisoformat(value.decode()).tzinfo is not UTC:
                return InvalidCloudEvent(name, "must be in UTC")
        except ValueError:
            return InvalidCloudEvent(name, "must be an RFC 3339 time in UTC")
    return InvalidCloudEvent("causationid", "or traceparent is not UTF-8")


def chainhash_of(record: Record | Outgoing) -> str | None:
    """The record's place in the chain, as `libs.events.chain` wrote it."""
    for name, value in record.headers:
        if name == "ce_chainhash":
            return value.decode("ascii", "replace")
    return None


def to_cloudevent(event: Event) -> CloudEvent:
    """The event as any CloudEvents library understands it, for the HTTP forms. Personal fields stay sealed."""
    extensions: dict[str, str | int | bool] = {
        "partitionkey": event.partitionkey,
        "correlationid": event.correlationid,
        "recordedtime": _time_text(event.recordedtime),
        "sequence": f"{event.sequence:020d}",
        "streamversion": event.streamversion,
    }
    if event.causationid is not None:
        extensions["causationid"] = event.causationid
    if event.traceparent is not None:
        extensions["traceparent"] = event.traceparent
    return CloudEvent(
        id=event.id,
        source=event.source,
        type=event.type,
        subject=event.subject,
        time=event.time,
        datacontenttype="application/json",
        extensions=extensions,
        data=event.json(),
    )
