"""What a service does with the log's events."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from libs.events.catalogue.base import EventData
from libs.events.envelope import Event
from libs.events.store import Unit

Handler = Callable[[Unit, Sequence[Event]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Subscription:
    """Which events a handler gets. `name` is its identity in the store and must never change; projectors can be replayed,
    reactors never are. `handle` gets the events of one batch in log order, duplicates removed, and gives the same result
    for every interleaving of topics. It raises Transient to be called again later; anything else is looked into."""

    name: str
    kind: Literal["projector", "reactor"]
    types: tuple[type[EventData], ...]
    handle: Handler


@dataclass(frozen=True, slots=True)
class ConsumerSpec:
    """One consumer group of a service: one position per partition of its topics."""

    group: str
    topics: tuple[str, ...]
    subscriptions: Sequence[Subscription]
    max_records: int = 500
