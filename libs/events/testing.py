"""Given, when, then: one way to say it for decisions, for projections and for HTTP.

A decision::

    Decision(decide, evolve, initial).given(opened).when(Close(...), at=now).then(closed)
    Decision(decide, evolve, initial).given(closed).when(Close(...), at=now).refused(AlreadyClosed)

A projection, which ends by comparing what is stored with a plain fold::

    await Projecting(store, subscriptions).given(events).then(read, equals=fold(events))

HTTP::

    await Calling(client).when("POST", "/x/v1/things", json={...}).then(201, {"id": ANY})
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from random import Random
from typing import Any, Generic, Protocol, TypeVar

from libs.events.envelope import Event
from libs.events.store import Store
from libs.events.store.drafts import Draft, body, new_id, people, prepare
from libs.events.subscriptions import Routes, Subscription

S = TypeVar("S")
C = TypeVar("C")
E = TypeVar("E")


class ANY_:  # noqa: N801 - reads as a value
    """Equal to anything: for ids and times that a test does not fix."""

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment] # a value that equals everything has no hash

    def __repr__(self) -> str:
        return "ANY"


ANY: Any = ANY_()


@dataclass(frozen=True)
class Decision(Generic[S, C, E]):
    """Given what happened, when a command comes, then these events follow, and nothing else. Pure: no clock, no store."""

    decide: Callable[[S, C, datetime], Sequence[E]]
    evolve: Callable[[S, E], S]
    initial: S
    history: tuple[E, ...] = ()

    def given(self, *events: E) -> "Decision[S, C, E]":
        """What happened before."""
        return replace(self, history=(*self.history, *events))

    @property
    def state(self) -> S:
        """The fold of what happened before."""
        state = self.initial
        for event in self.history:
            state = self.evolve(state, event)
        return state

    def when(self, command: C, *, at: datetime) -> "Outcome[S, C, E]":
        """The command, and the instant at which it comes."""
        before = self.state
        try:
            events, error = tuple(self.decide(before, command, at)), None
        except Exception as refusal:  # noqa: BLE001 - `then` or `refused` says whether it was meant
            events, error = (), refusal
        assert self.state == before, "decide or evolve changed the state in place"
        return Outcome(self, events, error)


@dataclass(frozen=True)
class Outcome(Generic[S, C, E]):
    """What a command led to."""

    decision: Decision[S, C, E]
    events: tuple[E, ...]
    error: Exception | None

    def then(self, *expected: E) -> "Decision[S, C, E]":
        """Exactly these events; goes on with them as part of the history."""
        if self.error is not None:
            raise AssertionError(f"refused: {self.error!r}") from self.error
        assert self.events == expected, f"decided {self.events!r}, not {expected!r}"
        return self.decision.given(*self.events)

    def nothing(self) -> "Decision[S, C, E]":
        """No event at all: the command changes nothing."""
        return self.then()

    def refused(self, error: type[Exception]) -> Exception:
        """The command is refused with this exception, which is given back."""
        if self.error is None:
            raise AssertionError(f"not refused; decided {self.events!r}")
        if not isinstance(self.error, error):
            raise AssertionError(f"refused with {self.error!r}") from self.error  # noqa: TRY004 - a test's verdict
        return self.error


def as_events(
    store: Store, drafts: Sequence[Draft], *, keys: Mapping[str, bytes] | None = None, sequence: int = 1
) -> list[Event]:
    """Drafts as the events they would be when appended in this order; personal fields sealed with `keys`."""
    versions: dict[str, int] = {}
    events = []
    for number, draft in enumerate(drafts, start=sequence):
        item = prepare(draft, draft.id or new_id(), None)
        versions[draft.stream] = versions.get(draft.stream, 0) + 1
        events.append(
            Event(
                id=item.id,
                type=draft.data.TYPE,
                source=store.source,
                subject=draft.stream,
                streamversion=versions[draft.stream],
                sequence=number,
                time=draft.time,
                recordedtime=draft.time,
                partitionkey=draft.key,
                correlationid=item.correlationid,
                causationid=item.causationid,
                traceparent=item.traceparent,
                data=body(item, keys or {}),
            )
        )
    return events


async def sealed_events(store: Store, drafts: Sequence[Draft]) -> list[Event]:
    """`as_events` with the keys of the store's vault."""
    keys = await store.keys_of(people(prepare(draft, draft.id or "", None) for draft in drafts))
    return as_events(store, drafts, keys=keys)


@dataclass
class Projecting:
    """Events go through a service's subscriptions as a consumer would hand them over, in one transaction per batch."""

    store: Store
    subscriptions: Sequence[Subscription]
    _given: list[Event] = field(default_factory=list)

    def given(self, events: Sequence[Event]) -> "Projecting":
        """The events to be projected, in this order."""
        self._given.extend(events)
        return self

    async def project(self, *, batch: int = 1_000_000) -> None:
        """Handle what was given, so many events to a transaction."""
        routes = Routes(self.subscriptions)
        for start in range(0, len(self._given), batch):
            part = self._given[start : start + batch]
            async with self.store.unit(handler="") as unit:
                for subscription in routes.subscriptions:
                    events = [event for event in part if subscription in routes.of(event.type)]
                    if events:
                        unit.handler = subscription.name
                        await subscription.handle(unit, events)
        self._given.clear()

    async def then(self, read: Callable[[], Awaitable[Any]], *, equals: Any) -> None:
        """What is stored equals the fold."""
        await self.project()
        found = await read()
        assert found == equals, f"stored {found!r}, the fold is {equals!r}"


def interleavings(topics: Mapping[str, Sequence[Event]], *, seed: int, count: int) -> list[list[Event]]:
    """Ways in which the topics' events may reach a reader: order holds within a topic's key and nowhere else (I11)."""
    random = Random(seed)
    result = []
    for _ in range(count):
        lanes: dict[tuple[str, str], list[Event]] = {}
        for topic, events in topics.items():
            for event in events:
                lanes.setdefault((topic, event.partitionkey), []).append(event)
        waiting = [list(reversed(lane)) for lane in lanes.values()]
        order = []
        while waiting:
            lane = random.choice(waiting)
            order.append(lane.pop())
            if not lane:
                waiting.remove(lane)
        result.append(order)
    return result


class Client(Protocol):
    """As much of an httpx.AsyncClient as is needed."""

    async def request(self, method: str, url: str, **options: Any) -> Any: ...


@dataclass
class Calling:
    """A call over HTTP and what must come of it."""

    client: Client
    response: Any = None

    async def when(self, method: str, path: str, **options: Any) -> "Calling":
        """Make the call."""
        self.response = await self.client.request(method, path, **options)
        return self

    def then(self, status: int, body: Any = ANY) -> Any:
        """The status, and the JSON of the answer (`ANY` where it may be anything), which is given back."""
        found = self.response
        assert found.status_code == status, f"{found.status_code}: {found.text}"
        if body is ANY:
            return found.json() if found.content else None
        assert found.json() == body, f"answered {found.json()!r}, not {body!r}"
        return found.json()


def midnight(year: int, month: int, day: int) -> datetime:
    """An instant for tests: 00:00 UTC of a day."""
    return datetime(year, month, day, tzinfo=UTC)


__all__ = [
    "ANY",
    "Calling",
    "Decision",
    "Outcome",
    "Projecting",
    "as_events",
    "interleavings",
    "midnight",
    "sealed_events",
]
