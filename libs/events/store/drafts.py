"""What is to be appended: drafts, and how a draft becomes the bytes and columns of an event."""

import types
import uuid
from collections.abc import Iterable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any, Protocol, Union, get_args, get_origin

import orjson
from pydantic import BaseModel

from libs.events.catalogue import personal_fields
from libs.events.catalogue.base import EventData
from libs.events.envelope import Event
from libs.events.errors import Unsealable
from libs.events.sealing import seal_fields

traceparent: ContextVar[str | None] = ContextVar("traceparent", default=None)
"""W3C trace context of the request being served; an event without a cause takes it along."""


class Keys(Protocol):
    """What the store needs of the vault: the data keys of people; an erased person is missing from the answer."""

    async def keys(self, person_ids: Iterable[str]) -> dict[str, bytes]: ...


class Cause(Protocol):
    """What leads to an event: another event, or a timer."""

    @property
    def id(self) -> str: ...
    @property
    def correlationid(self) -> str | None: ...
    @property
    def traceparent(self) -> str | None: ...


@dataclass(slots=True)
class Draft:
    """An event to be appended to `stream`. Personal fields stand in the clear here and are sealed with the key of
    `data.customer_id` before anything is written; `time` is when it happened."""

    stream: str
    data: EventData
    key: str
    time: datetime
    id: str | None = None
    cause: "Event | Cause | None" = None
    fingerprint: bytes | None = None


@dataclass(slots=True)
class Pending:
    """A draft with everything but its version, its position and its sealed bytes."""

    draft: Draft
    id: str
    expected: int | None
    correlationid: str
    causationid: str | None
    traceparent: str | None


def prepare(draft: Draft, event_id: str, expected: int | None) -> Pending:
    """Settle the id and where the draft comes from. A naive `time` raises ValueError."""
    if draft.time.tzinfo is None:
        raise ValueError(f"the time of {draft.data.TYPE} has no zone: {draft.time}")
    cause = draft.cause
    if cause is None:
        return Pending(draft, event_id, expected, event_id, None, traceparent.get())
    # A timer is no event: what led to the timer is the cause that can be looked up.
    causation = cause.id if isinstance(cause, Event) else getattr(cause, "causationid", None)
    return Pending(draft, event_id, expected, cause.correlationid or event_id, causation, cause.traceparent)


def new_id() -> str:
    """The id of a fact nobody else has a name for."""
    return str(uuid.uuid4())


def people(pending: Iterable[Pending]) -> set[str]:
    """Whose keys are needed to seal these."""
    found = set()
    for item in pending:
        data = item.draft.data
        if personal_fields(type(data)):
            person = getattr(data, "customer_id", None)
            if person is not None:
                found.add(person)
    return found


def body(item: Pending, keys: Mapping[str, bytes]) -> bytes:
    """The JSON to be stored, personal fields sealed; null where the person was erased.

    Absent and null mean the same to every reader of a model whose optional fields default to None, so nulls are left out:
    a recorded interaction is a third shorter. Raises Unsealable for a personal field without a person.
    """
    data = item.draft.data
    model = type(data)
    fields = personal_fields(model)
    lean = _lean(model)
    if not fields:
        plain: bytes = data.__pydantic_serializer__.to_json(data, exclude_none=lean)
        return plain
    values: dict[str, Any] = data.__pydantic_serializer__.to_python(data, mode="json", exclude_none=lean)
    filled = [name for name in fields if values.get(name) is not None]
    if filled:
        person = getattr(data, "customer_id", None)
        if person is None:
            raise Unsealable(f"{model.TYPE}: {', '.join(filled)} without customer_id")
        key = keys.get(person)
        if key is None:
            for name in filled:
                values[name] = None
        else:
            seal_fields(values, filled, key, item.id)
    return orjson.dumps(values)


@cache
def _lean(model: type[BaseModel]) -> bool:
    """Whether every field that may be None, here and in nested models, defaults to None."""
    return all(
        (field.default is None and not field.is_required())
        if _may_be_none(field.annotation)
        else all(_lean(nested) for nested in _models(field.annotation))
        for field in model.model_fields.values()
    )


def _may_be_none(annotation: Any) -> bool:
    if annotation is Any or annotation is type(None):
        return True
    if get_origin(annotation) in {Union, types.UnionType}:
        return any(_may_be_none(part) for part in get_args(annotation))
    return False


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for part in get_args(annotation) for found in _models(part)]


Row = tuple[
    str, str, int, str, str, int, str, Any, Any, str, str | None, str | None, bytes, bytes | None
]  # in the order of COLUMNS

COLUMNS = (
    "id",
    "stream",
    "version",
    "type",
    "topic",
    "partition",
    "key",
    "time",
    "recordedtime",
    "correlationid",
    "causationid",
    "traceparent",
    "data",
    "fingerprint",
)


def text_time(value: datetime) -> str:
    """An instant as SQLite keeps it."""
    return value.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")


def from_text_time(value: str) -> datetime:
    return datetime.fromisoformat(value).replace(tzinfo=UTC)


def event_of(row: Any, source: str) -> Event:
    """A row of `position` and COLUMNS without fingerprint, as the drivers give it, as an event."""
    return Event(
        id=row[1],
        type=row[4],
        source=source,
        subject=row[2],
        streamversion=row[3],
        sequence=row[0],
        time=from_text_time(row[8]) if isinstance(row[8], str) else row[8],
        recordedtime=from_text_time(row[9]) if isinstance(row[9], str) else row[9],
        partitionkey=row[7],
        correlationid=row[10],
        causationid=row[11],
        traceparent=row[12],
        data=row[13],
    )


def events_of(rows: Sequence[Any], source: str) -> list[Event]:
    """The same of several rows, in one go."""
    return [event_of(row, source) for row in rows]
