"""CloudEvents 1.0.2 over HTTP: the binary, structured and batched forms, written and read.

Reading trusts nobody: whatever is wrong with an attribute becomes `InvalidCloudEvent`, which names it. Values are never
repeated in the message, since they may say something about a person.
"""

import base64
import binascii
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, unquote_to_bytes

import orjson

STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"

Attribute = str | int | bool


class InvalidCloudEvent(ValueError):
    """The input is not a CloudEvent. `attribute` is the one at fault (`data` and `body` for what is none), `reason` why,
    `index` the place in a batch."""

    def __init__(self, attribute: str, reason: str, index: int | None = None) -> None:
        super().__init__(f"{'' if index is None else f'event {index}: '}{attribute} {reason}")
        self.attribute = attribute
        self.reason = reason
        self.index = index


@dataclass(frozen=True, slots=True)
class CloudEvent:
    """Any CloudEvent, from anywhere. `data`: a JSON value where the content type is JSON, text or bytes where it is not."""

    id: str
    source: str
    type: str
    subject: str | None = None
    time: datetime | None = None
    datacontenttype: str | None = None
    dataschema: str | None = None
    extensions: Mapping[str, Attribute] = field(default_factory=dict)
    data: Any = None

    def attributes(self) -> dict[str, str | int | bool]:
        """Every attribute that is set, `specversion` among them, `time` as text."""
        given = {
            "specversion": "1.0",
            "id": self.id,
            "source": self.source,
            "type": self.type,
            "subject": self.subject,
            "time": None if self.time is None else _time_text(self.time),
            "datacontenttype": self.datacontenttype,
            "dataschema": self.dataschema,
        }
        return {name: value for name, value in given.items() if value is not None} | dict(self.extensions)


def _time_text(value: datetime) -> str:
    text = value.isoformat()
    return text[:-6] + "Z" if text.endswith("+00:00") else text


# Reading attributes ---------------------------------------------------------------------------------------------------

_NAME = re.compile(r"[a-z0-9]+")
# C0 and C1 controls, lone surrogates and the noncharacters: what the type system's String leaves out.
_FORBIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef"
    + "".join(chr((plane << 16) | low) for plane in range(17) for low in (0xFFFE, 0xFFFF))
    + "]"
)
_TIME = re.compile(r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d):(\d\d)(\.\d+)?([Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)", re.ASCII)
_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_MEDIA_TYPE = re.compile(rf"({_WORD}/{_WORD})\s*(?:;.*)?", re.DOTALL)
_JSON_TYPE = re.compile(rf"{_WORD}/(?:{_WORD}\+)?json", re.IGNORECASE)
# RFC 3986: what may stand in a URI-reference, non-ASCII let through as most senders' own ids are IRIs.
_URI = re.compile(r"[^\s<>\"{}|\\^`]+")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:.")
_KNOWN = frozenset({"specversion", "id", "source", "type", "subject", "time", "datacontenttype", "dataschema"})


def parse_time(text: str) -> datetime:
    """RFC 3339 with an offset, in UTC; digits after microseconds are cut off. Raises ValueError."""
    found = _TIME.fullmatch(text)
    if found is None:
        raise ValueError("must be an RFC 3339 time with an offset, e.g. 2026-03-01T09:30:00-05:00")
    day, minute, second, fraction, offset = found.groups()
    leap = second == "60"  # RFC 3339 allows the leap second, datetime does not: it becomes the second after
    parsed = datetime.fromisoformat(f"{day}T{minute}:{'59' if leap else second}{(fraction or '')[:7]}{offset.upper()}")
    try:
        return (parsed + timedelta(seconds=leap)).astimezone(UTC)
    except OverflowError:
        raise ValueError("is outside the years 1 to 9999") from None


def is_json(content_type: str | None) -> bool:
    """Whether data of this content type is JSON; without one it is."""
    if content_type is None:
        return True
    found = _MEDIA_TYPE.fullmatch(content_type)
    return found is not None and _JSON_TYPE.fullmatch(found[1]) is not None


def _checked(name: str, value: object) -> Attribute:
    if isinstance(value, str):
        if _FORBIDDEN.search(value):
            raise InvalidCloudEvent(name, "contains a control character or a code point that is none")
        return value
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        if not -(2**31) <= value < 2**31:
            raise InvalidCloudEvent(name, "must fit into 32 bits")
        return value
    raise InvalidCloudEvent(name, "must be a string, a whole number or a boolean")


def _build(attributes: Mapping[str, object], data: Any) -> CloudEvent:
    """The event of these attributes, each of them checked."""
    given: dict[str, Attribute] = {}
    for name, value in attributes.items():
        if value is None:
            continue  # in JSON, null means: not set
        if not _NAME.fullmatch(name) or name == "data":
            raise InvalidCloudEvent(
                _shown(name), "is no attribute name: lower-case letters and digits only, and not data"
            )
        given[name] = _checked(name, value)
    if given.get("specversion", "1.0") != "1.0":
        raise InvalidCloudEvent("specversion", "must be 1.0")
    for name in ("specversion", "id", "source", "type"):
        if name not in given:
            raise InvalidCloudEvent(name, "is missing")
    texts = {name: _text(name, value) for name, value in given.items() if name in _KNOWN}
    if not _URI.fullmatch(texts["source"]):
        raise InvalidCloudEvent("source", "must be a URI reference")
    if "dataschema" in texts and not (_SCHEME.match(texts["dataschema"]) and _URI.fullmatch(texts["dataschema"])):
        raise InvalidCloudEvent("dataschema", "must be an absolute URI")
    if "datacontenttype" in texts and not _MEDIA_TYPE.fullmatch(texts["datacontenttype"]):
        raise InvalidCloudEvent("datacontenttype", "must be a media type, e.g. application/json")
    time = None
    if "time" in texts:
        try:
            time = parse_time(texts["time"])
        except ValueError as error:
            raise InvalidCloudEvent("time", _reason(error)) from None
    return CloudEvent(
        id=texts["id"],
        source=texts["source"],
        type=texts["type"],
        subject=texts.get("subject"),
        time=time,
        datacontenttype=texts.get("datacontenttype"),
        dataschema=texts.get("dataschema"),
        extensions={name: value for name, value in given.items() if name not in _KNOWN},
        data=data,
    )


def _reason(error: ValueError) -> str:
    text = str(error)
    return text if text.startswith(("must", "is ")) else "is no date or time that exists"


def _text(name: str, value: Attribute) -> str:
    if not isinstance(value, str):
        raise InvalidCloudEvent(name, "must be a string")
    if not value:
        raise InvalidCloudEvent(name, "must not be empty")
    return value


def _shown(name: str) -> str:
    return _FORBIDDEN.sub("?", name[:40]) or "(empty)"


# Reading HTTP ---------------------------------------------------------------------------------------------------------

Loads = Callable[[bytes], Any]


def from_http(headers: Mapping[str, str], body: bytes, loads: Loads = orjson.loads) -> list[CloudEvent]:
    """The events of a request, in any of the three forms. Raises InvalidCloudEvent at the first that is wrong.

    `loads` reads JSON and raises ValueError; hand in a stricter one to refuse, say, duplicate members.
    """
    events = []
    for event in from_http_each(headers, body, loads):
        if isinstance(event, InvalidCloudEvent):
            raise event
        events.append(event)
    return events


def from_http_each(
    headers: Mapping[str, str], body: bytes, loads: Loads = orjson.loads
) -> Sequence[CloudEvent | InvalidCloudEvent]:
    """Like `from_http`, but an element of a batch that is wrong stands in its place as the error and harms no other.

    Raises InvalidCloudEvent when the request as a whole cannot be read.
    """
    content_type = _content_type(headers)
    form = (content_type or "").partition(";")[0].strip().lower()
    if form == STRUCTURED:
        _refuse_charset(content_type)
        return [_from_json(_json(body, loads), None)]
    if form == BATCH:
        _refuse_charset(content_type)
        elements = _json(body, loads)
        if not isinstance(elements, list):
            raise InvalidCloudEvent("body", "must be a JSON array of events")
        return [_element(element, index) for index, element in enumerate(elements)]
    if form.startswith("application/cloudevents"):
        raise InvalidCloudEvent("content-type", f"must be {STRUCTURED} or {BATCH}: no other event format is read here")
    return [_from_binary(headers, content_type, body, loads)]


def is_cloudevent(headers: Mapping[str, str]) -> bool:
    """Whether the request says of itself that it carries CloudEvents, in whatever form."""
    content_type = _content_type(headers) or ""
    return content_type.lower().startswith("application/cloudevents") or any(
        name.lower() == "ce-specversion" for name in headers
    )


def _content_type(headers: Mapping[str, str]) -> str | None:
    return next((value for name, value in headers.items() if name.lower() == "content-type"), None)


def _refuse_charset(content_type: str | None) -> None:
    found = re.search(r";\s*charset\s*=\s*\"?([^\s;\"]+)", content_type or "", re.IGNORECASE)
    if found and found[1].lower() not in {"utf-8", "utf8", "us-ascii"}:
        raise InvalidCloudEvent("content-type", "must have charset utf-8")


def _json(body: bytes, loads: Loads) -> Any:
    try:
        return loads(body)
    except (ValueError, RecursionError):
        raise InvalidCloudEvent("body", "is not valid JSON in UTF-8") from None


def _element(element: object, index: int) -> CloudEvent | InvalidCloudEvent:
    try:
        return _from_json(element, index)
    except InvalidCloudEvent as error:
        return InvalidCloudEvent(error.attribute, error.reason, index)


def _from_json(given: object, index: int | None) -> CloudEvent:
    if not isinstance(given, dict):
        raise InvalidCloudEvent("body", "must be a JSON object", index)
    attributes: dict[str, object] = dict(given)
    data, encoded = attributes.pop("data", None), attributes.pop("data_base64", None)
    if encoded is not None:
        if data is not None:
            raise InvalidCloudEvent("data_base64", "must not stand beside data")
        if not isinstance(encoded, str):
            raise InvalidCloudEvent("data_base64", "must be a string")
        try:
            data = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            raise InvalidCloudEvent("data_base64", "is not Base64") from None
    return _build(attributes, data)


def _from_binary(headers: Mapping[str, str], content_type: str | None, body: bytes, loads: Loads) -> CloudEvent:
    attributes: dict[str, object] = {}
    for header, value in headers.items():
        name = header.lower()
        if not name.startswith("ce-"):
            continue
        name = name[3:]
        if name in attributes:
            raise InvalidCloudEvent(_shown(name), "is given twice")
        if name == "datacontenttype":
            raise InvalidCloudEvent(name, "travels as Content-Type in the binary form")
        attributes[name] = _decoded(name, value)
    if content_type is not None:
        attributes["datacontenttype"] = content_type
    return _build(attributes, _data(body, content_type, loads) if body else None)


def _data(body: bytes, content_type: str | None, loads: Loads) -> Any:
    if is_json(content_type):
        try:
            return loads(body)
        except (ValueError, RecursionError):
            raise InvalidCloudEvent("data", "is not valid JSON in UTF-8") from None
    if (content_type or "").lower().startswith("text/"):
        try:
            return body.decode()
        except UnicodeDecodeError:
            return body
    return body


def _decoded(name: str, value: str) -> str:
    """HTTP binding 3.1.3.2: undo quotes, then percent-encoding once, as UTF-8."""
    if '"' in value:
        value = re.sub(r'"((?:[^"\\]|\\.)*)"', lambda quoted: re.sub(r"\\(.)", r"\1", quoted[1]), value)
    if not value.isascii():
        raise InvalidCloudEvent(_shown(name), "must be percent-encoded: only ASCII may stand in a header")
    if "%" not in value:
        return value
    try:
        return unquote_to_bytes(value).decode()
    except UnicodeDecodeError:
        raise InvalidCloudEvent(_shown(name), "is not UTF-8 once percent-decoded") from None


# Writing HTTP ---------------------------------------------------------------------------------------------------------

# Printable ASCII but space, double quote and percent: HTTP binding 3.1.3.2.
_SAFE = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%')


def to_http_binary(event: CloudEvent) -> tuple[dict[str, str], bytes]:
    """Headers and body: one header per attribute, the data as the body."""
    headers = {}
    for name, value in event.attributes().items():
        if name == "datacontenttype":
            headers["content-type"] = str(value)
        else:
            headers[f"ce-{name}"] = quote(_canonical(value), safe=_SAFE)
    if event.data is None:
        return headers, b""
    if isinstance(event.data, bytes):
        return headers, event.data
    if is_json(event.datacontenttype):
        headers.setdefault("content-type", "application/json")  # or the reader could not know
        return headers, orjson.dumps(event.data)
    return headers, str(event.data).encode()


def to_http_structured(event: CloudEvent) -> tuple[dict[str, str], bytes]:
    """Headers and body: the whole event as one JSON object."""
    return {"content-type": STRUCTURED}, orjson.dumps(_object(event))


def to_http_batch(events: Sequence[CloudEvent]) -> tuple[dict[str, str], bytes]:
    """Headers and body: events as a JSON array; an empty one is allowed."""
    return {"content-type": BATCH}, orjson.dumps([_object(event) for event in events])


def _canonical(value: Attribute) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _object(event: CloudEvent) -> dict[str, Any]:
    given: dict[str, Any] = event.attributes()
    if isinstance(event.data, bytes):
        given["data_base64"] = base64.b64encode(event.data).decode()
    elif event.data is not None:
        given["data"] = event.data
    return given
