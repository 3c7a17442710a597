"""Any system that signs by the Standard Webhooks specification and sends our own interactions, bare, under `data`, or as
CloudEvents.

What the body leaves out is taken from the delivery: `source` is the source of the address, `external_id` the webhook's id
(with `/n` for the n-th of several), `occurred_at` the payload's `timestamp` or the CloudEvent's `time`.
"""

from collections.abc import Mapping
from typing import Any

from libs.events.cloudevent import InvalidCloudEvent, is_cloudevent
from services.intake.adapters.standard_webhooks.signature import verify as verify
from services.intake.cloudevents import from_events
from services.intake.domain.faults import Fault, Refused
from services.intake.domain.reading import strict_loads, without_bom
from services.intake.domain.sources import Source

KEEPS = (
    "content-type",
    "ce-specversion",
    "ce-id",
    "ce-source",
    "ce-type",
    "ce-time",
    "ce-subject",
    "webhook-timestamp",
)


def read(delivery_id: str, headers: Mapping[str, str], body: bytes, source: Source) -> list[Any]:
    """Elements of the delivery, completed from what surrounds them."""
    if is_cloudevent(headers):
        try:
            found = from_events(headers, without_bom(body), source.id)
        except InvalidCloudEvent as error:
            raise Refused(Fault("", "unreadable-event", {"reason": str(error)})) from None
        for element in found:
            if isinstance(element, Refused):
                raise element
        return found
    payload = strict_loads(without_bom(body))
    surrounding: dict[str, Any] = {"source": source.id}
    elements = payload
    if isinstance(payload, dict) and isinstance(payload.get("data"), dict | list) and "customer" not in payload:
        elements = payload["data"]
        moment = payload.get("timestamp", payload.get("time"))
        if moment is not None:
            surrounding["occurred_at"] = moment
    if isinstance(elements, dict):
        elements = [elements]
    if not isinstance(elements, list) or not elements:
        raise Refused(Fault("", "not-an-object"))
    single = len(elements) == 1
    read_elements: list[Any] = []
    for index, element in enumerate(elements):
        if isinstance(element, dict):
            identity = {"external_id": delivery_id if single else f"{delivery_id}/{index}"}
            # In place: a mark of a member given twice must stay on the object.
            for name, value in {**identity, **surrounding}.items():
                element.setdefault(name, value)
        read_elements.append(element)
    return read_elements
