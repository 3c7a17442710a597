"""One folder per system that sends webhooks. A source's `form` names its adapter; adding a folder here adds a system.

An adapter is two pure functions: `verify` says whether the raw bytes are authentic, `read` turns them into interactions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from services.intake.adapters import standard_webhooks
from services.intake.domain.sources import Source


class Verify(Protocol):
    def __call__(self, headers: Mapping[str, str], body: bytes, keys: Sequence[bytes], arrived: datetime) -> str:
        """The delivery's id; raises WrongSignature."""


class Read(Protocol):
    def __call__(self, delivery_id: str, headers: Mapping[str, str], body: bytes, source: Source) -> list[Any]:
        """Elements as `POST /interactions` takes them, parsed but not validated; raises Refused when there are none."""


@dataclass(frozen=True, slots=True)
class Adapter:
    """`keeps`: headers without which the body could not be read again later."""

    name: str
    verify: Verify
    read: Read
    keeps: tuple[str, ...]


ADAPTERS: Mapping[str, Adapter] = {
    "standard-webhooks": Adapter(
        "standard-webhooks", standard_webhooks.verify, standard_webhooks.read, standard_webhooks.KEEPS
    ),
}
