"""What a service does with the log's events: the table of its handlers."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from libs.events.catalogue.base import EventData, _types, _upcasters
from libs.events.envelope import Event
from libs.events.errors import NewerVersion
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
    """One consumer group of a service: one position per partition of its topics.

    `exclusive`: its handlers need the facts of all partitions together, so one instance consumes and the others stand by.
    `patience`: how many times longer than others it rests between small batches, where nobody waits for it
    (`libs.events.pace.Pace.rest`).
    """

    group: str
    topics: tuple[str, ...]
    subscriptions: Sequence[Subscription]
    max_records: int = 500
    exclusive: bool = False
    patience: float = 1.0


class Routes:
    """Which subscriptions a type's events go to."""

    def __init__(self, subscriptions: Sequence[Subscription]) -> None:
        names = [subscription.name for subscription in subscriptions]
        if len(set(names)) != len(names):
            raise ValueError(f"two subscriptions of one name: {sorted(names)}")
        self.subscriptions = tuple(subscriptions)
        self._bases = {_base(model.TYPE) for subscription in subscriptions for model in subscription.types}
        self._known: dict[str, tuple[Subscription, ...]] = {}

    def of(self, type_name: str) -> tuple[Subscription, ...]:
        """The subscriptions of a stored type name, old versions included; none for a type nobody asked for.

        Raises NewerVersion for a version of a subscribed type that this deployment does not know.
        """
        found = self._known.get(type_name)
        if found is None:
            model = _newest(type_name)
            if model is None and _base(type_name) in self._bases:
                raise NewerVersion(f"{type_name} is newer than this deployment")
            found = tuple(subscription for subscription in self.subscriptions if model in subscription.types)
            self._known[type_name] = found
        return found


def _newest(type_name: str) -> type[EventData] | None:
    while type_name in _upcasters:
        type_name = _upcasters[type_name][0]
    return _types.get(type_name)


def _base(type_name: str) -> str:
    return type_name.rpartition(".v")[0]
