"""The envelope around every fact: CloudEvents 1.0.2 with the extensions Lazo needs.

`partitionkey, traceparent, correlationid, causationid, recordedtime` are published extensions; `sequence` is the event's
position in the store that owns it (zero-padded, so that it sorts as text) and `streamversion` its place in its stream.
"""

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

NAMESPACE = uuid.UUID("6a0a2c5e-0c7b-5f0e-9a53-4c617a6f0001")


def derived_id(cause_id: str, handler: str, index: int) -> str:
    """The id of an event that a handler derives: uuid5 of (cause, handler, index), so that doing it again gives it again."""
    return str(uuid.uuid5(NAMESPACE, f"{cause_id}/{handler}/{index}"))


def natural_id(*parts: str) -> str:
    """The id of a fact that outside systems already identify (source and external id, a token …)."""
    return str(uuid.uuid5(NAMESPACE, "\x1f".join(parts)))


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
