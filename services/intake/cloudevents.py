"""Interactions that arrive as CloudEvents: the element is the event's data, completed from its attributes."""

from collections.abc import Mapping
from typing import Any

from libs.events.cloudevent import CloudEvent, InvalidCloudEvent, from_http_each
from services.intake.domain.faults import Fault, Refused
from services.intake.domain.reading import strict_loads


def _loads(body: bytes) -> Any:
    try:
        return strict_loads(body)
    except Refused as refusal:
        raise ValueError(str(refusal)) from None


def from_events(headers: Mapping[str, str], body: bytes, source: str | None = None) -> list[Any]:
    """Elements or refusals in the order of the events; raises InvalidCloudEvent when the request itself is unreadable."""
    return [
        Refused(Fault(f"/{event.attribute}", "unreadable-event", {"reason": event.reason}))
        if isinstance(event, InvalidCloudEvent)
        else _element(event, source)
        for event in from_http_each(headers, body, _loads)
    ]


def _element(event: CloudEvent, source: str | None) -> Any:
    data = event.data
    if not isinstance(data, dict):
        return Refused(Fault("/data", "not-an-object"))
    # `source` + `id` name a CloudEvent as `source` + `external_id` name an interaction; the last part of a URI like
    # /systems/crm is the source's id here.
    data.setdefault("source", source or event.source.rstrip("/").rpartition("/")[2])
    data.setdefault("external_id", event.id)
    if event.time is not None:
        data.setdefault("occurred_at", event.time.isoformat())
    return data
