"""Holds the read model against a fold of the log that shares no code with the projectors (G8).

Rows are compared by what the events' models say they should be; indicators by an independent computation over the whole
history. Memory grows with the number of events by one hash each.
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from hashlib import blake2b
from typing import Any, Protocol
from zoneinfo import ZoneInfo

import orjson
from sqlalchemy import Table, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from libs.events.catalogue import EventData, UnknownType, UnknownVersion, decode
from libs.events.catalogue.classifications import InteractionClassified
from libs.events.catalogue.feedback import CaseOpened
from libs.events.catalogue.interactions import CustomerErased, InteractionRecorded, SourceRegistered
from libs.events.catalogue.rulebook import RulebookPublished
from libs.events.catalogue.topics import ALL, FEEDBACK, FINDINGS
from libs.events.engines import reading
from libs.events.envelope import Event, InvalidCloudEvent, from_record
from libs.events.errors import describe
from libs.events.log import Log, TopicPartition
from libs.events.row_checks import FEW, row_breaks
from libs.events.verification import Break
from services.indicators.domain.fold import Asked, Fold
from services.indicators.domain.periods import Periods, instant, micros
from services.indicators.domain.query import Query
from services.indicators.domain.registry import INDICATORS
from services.indicators.projection import group_of
from services.indicators.tables import Facts, facts, machine
from services.indicators.views.measures import measure
from services.indicators.views.scope import live_slot

FOLD_LIMIT = 200_000
"""Events above which the indicators are not folded again in memory (about 1 kB each); the rows always are."""

Row = dict[str, Any]


class Place(Protocol):
    """What is needed of an environment."""

    @property
    def log(self) -> Log: ...

    def engine(self, service: str) -> AsyncEngine: ...


async def verify(environment: Place) -> list[Break]:
    """What does not hold; an empty list when everything does. A record that cannot be read is named, and what it would have
    led to is then missing."""
    async with reading(environment.engine("indicators")) as connection:
        slot = await live_slot(connection)
        t = facts(slot)
        ends = await _positions(connection, group_of(slot))
        parked = await _parked(connection, group_of(slot))
        expected = Expected(t)
        found: list[Break] = []
        async for where, event in events(environment.log, ends):
            try:
                if isinstance(event, InvalidCloudEvent):
                    raise event
                expected.take(event, parked)
            except (
                ValueError
            ) as error:  # InvalidCloudEvent, a ValidationError, no JSON: what was altered may be anything
                found.append(Break(where, "unreadable", {"error": describe(error)}))
        for table in t.all():
            found += await _compare(connection, table, expected)
        if not found and expected.kept is not None:
            found += await _indicators(connection, t, expected.kept)
    return found


async def _positions(connection: AsyncConnection, group: str) -> dict[TopicPartition, int]:
    offsets = machine.offsets
    rows = await connection.execute(select(offsets).where(offsets.c.consumer_group == group))
    return {TopicPartition(row.topic, row.partition): row.next for row in rows}


async def _parked(connection: AsyncConnection, group: str) -> set[str]:
    """Events in quarantine, and those given up: their rows are rightly missing."""
    q = machine.quarantine
    statement = select(q.c.event_id).where(
        q.c.consumer_group == group, q.c.state != "replayed", q.c.event_id.is_not(None)
    )
    return set((await connection.execute(statement)).scalars())


async def events(log: Log, ends: dict[TopicPartition, int]) -> AsyncIterator[tuple[str, Event | InvalidCloudEvent]]:
    """What the consumer has read, from the beginning, and where; the error where a record holds no event."""
    for topic in ALL:
        for partition in range(await log.partitions(topic)):
            place = TopicPartition(topic, partition)
            at, end = 0, ends.get(place, 0)
            while at < end:
                records = [record for record in await log.read(place, at, 2_000) if record.offset < end]
                if not records:
                    break  # transaction markers only
                for record in records:
                    where = f"{place}/{record.offset}"
                    try:
                        event = from_record(record)
                    except InvalidCloudEvent as error:
                        yield where, error
                    else:
                        yield where, event
                at = records[-1].offset + 1


class Expected:
    """The rows the read model should have: per table the hash of each, by the id of its event."""

    def __init__(self, t: Facts) -> None:
        self.rows: dict[str, dict[bytes, str]] = defaultdict(dict)
        self.kept: list[tuple[Event, EventData]] | None = []
        self._names = {getattr(t, name).name: name for name in Facts.__slots__}
        self._seen: set[str] = set()

    def of(self, table: Table) -> dict[bytes, str]:
        return self.rows[self._names[table.name]]

    def take(self, event: Event, skipped: set[str]) -> None:
        if event.id in self._seen or event.id in skipped:
            return
        self._seen.add(event.id)
        try:
            data = decode(event)
        except (UnknownType, UnknownVersion):
            return
        for name, row in rows_of(event, data):
            self.rows[name][hashed(row)] = event.id
        if self.kept is not None:
            self.kept.append((event, data))
            if len(self.kept) > FOLD_LIMIT:
                self.kept = None


def hashed(row: Row) -> bytes:
    """A row's hash, whatever order its columns are named in."""
    return blake2b(orjson.dumps(row, option=orjson.OPT_SORT_KEYS), digest_size=16).digest()


def _us(value: datetime) -> int:
    return micros(value)


_CONTACT = ("customer_id", "kind", "channel", "external_id", "touchpoint", "product", "location", "team", "agent", "supplier",
            "segment", "language", "case_ref", "declared_motive", "effects", "interaction_id")  # fmt: skip
_CODING = ("interaction_id", "revision", "motive", "cause", "component", "factor", "expectation", "severity", "procedure",
           "norm", "act", "rulebook_version", "confidence")  # fmt: skip
_CASE = ("case_id", "interaction_id", "customer_id", "kind", "channel", "case_ref", "calendar", "effects")


def _some(data: EventData, *names: str) -> Row:
    return {name: None if (value := getattr(data, name, None)) is None else value for name in names}


def rows_of(event: Event, data: EventData) -> list[tuple[str, Row]]:
    """Table and row for an event, from its model; nothing for types the read model does not keep."""
    known = {"recorded_at": _us(event.recordedtime)}
    match data:
        case InteractionRecorded():
            row = (
                _some(data, *_CONTACT)
                | known
                | {"occurred_at": _us(data.occurred_at), "source": data.origin, "internal": int(data.internal)}
            )
            texts = {"interaction_id": data.interaction_id, "subject": data.subject, "body": data.text}
            return [("interactions", row)] + (
                [("texts", texts)] if data.text is not None or data.subject is not None else []
            )
        case InteractionClassified():
            row = _some(data, *_CODING) | known
            return [
                (
                    "codings",
                    row | {"event_id": event.id, "occurred_at": _us(data.occurred_at), "review": int(data.review)},
                )
            ]
        case CaseOpened():
            times = {
                "received_at": _us(data.received_at),
                "acknowledge_by": _us(data.acknowledge_by),
                "due_at": _us(data.due_at),
            }
            term = orjson.dumps(data.term, option=orjson.OPT_SORT_KEYS).decode()
            return [
                (
                    "cases",
                    _some(data, *_CASE) | known | times | {"event_id": event.id, "source": data.origin, "term": term},
                )
            ]
        case RulebookPublished():
            document = orjson.dumps(data.document, option=orjson.OPT_SORT_KEYS).decode()
            row = _some(data, "version", "name", "published_by") | known
            return [
                (
                    "rulebooks",
                    row | {"event_id": event.id, "published_at": _us(data.published_at), "document": document},
                )
            ]
        case SourceRegistered():
            row = _some(data, "source_id", "name", "form") | known
            return [
                ("sources", row | {"version": event.streamversion, "event_id": event.id, "active": int(data.active)})
            ]
        case CustomerErased():
            return [
                (
                    "erasures",
                    known | {"event_id": event.id, "customer_id": data.customer_id, "erased_at": _us(data.erased_at)},
                )
            ]
        case _ if data.TOPIC == FEEDBACK:
            return _of_feedback(event, data, known)
        case _ if data.TOPIC == FINDINGS:
            at = getattr(data, "at", None) or getattr(data, "opened_at", None) or event.time
            name = data.TYPE.removeprefix("lazo.").rpartition(".v")[0]
            row = {
                "event_id": event.id,
                "finding_id": getattr(data, "finding_id", None),
                "what": name,
                "version": event.sequence,
            }
            return [("findings", row | known | {"at": _us(at)})]
        case _:
            return []


def _of_feedback(event: Event, data: EventData, known: Row) -> list[tuple[str, Row]]:
    noun, _, verb = data.TYPE.removeprefix("lazo.").rpartition(".v")[0].partition(".")
    at = getattr(data, "requested_at", None) or getattr(data, "at", None)
    if at is None:
        return []
    common = known | {"event_id": event.id, "what": verb, "case_id": getattr(data, "case_id", None), "at": _us(at)}
    if noun == "case":
        # A closing's reason is the house's own code; elsewhere it is what somebody wrote.
        body = getattr(data, "text", None) or (getattr(data, "reason", None) if verb != "closed" else None)
        row = _some(data, "by", "agent", "team", "outcome", "procedure")
        return [
            (
                "milestones",
                common
                | row
                | {
                    "version": event.streamversion,
                    "target": getattr(data, "to", None) or getattr(data, "finding_id", None),
                    "body": body,
                },
            )
        ]
    need = getattr(data, "new_need", None)
    row = _some(data, "request_id", "customer_id", "channel", "purpose", "status", "score", "helped")
    return [
        (
            "feedback",
            common | row | {"new_need": None if need is None else int(need), "body": getattr(data, "comment", None)},
        )
    ]


async def _compare(connection: AsyncConnection, table: Table, expected: Expected) -> list[Break]:
    missing = dict(expected.of(table))
    # What a finding's event says is kept whole; its fields are checked where findings are folded below.
    columns = [column for column in table.columns if column.name != "data"]
    more: list[str] = []
    extra = 0
    result = await connection.stream(select(*columns))
    async for row in result.mappings():
        if missing.pop(hashed({str(name): value for name, value in row.items()}), None) is None:
            extra += 1
            if extra <= FEW:
                more.append(str(row[table.primary_key.columns.keys()[0]]))
    return row_breaks(f"indicators/{table.name}", sorted(missing.values()), more, extra)


def _no_holidays(country: str, first: int, last: int) -> frozenset[Any]:
    return frozenset()


async def _indicators(connection: AsyncConnection, t: Facts, kept: list[tuple[Event, EventData]]) -> list[Break]:
    """Every counting indicator over all of history against a computation of its own."""
    fold = Fold(kept)
    if not fold.cases:
        return []
    first = min(case.received_at for _, case in fold.cases.values())
    last = max(event.time for event, _ in kept)
    zone = ZoneInfo("UTC")
    query = Query(Periods((micros(first), micros(last) + 1), ("all",), (first.date(),)), zone, micros(last) + 1)
    asked = Asked(fold, [("all", first, instant(micros(last) + 1))])
    place = ("all", ())
    motives = Asked(fold, [("all", first, instant(micros(last) + 1))], ("motive",))
    computed: dict[str, Callable[[], int]] = {
        "complaints_received": lambda: asked.received().get(place, 0),
        "complainants": lambda: asked.complainants().get(place, 0),
        "motive_share": lambda: sum(hits for hits, _ in motives.split("motive").values()),
        "systemic_share": lambda: asked.systemic().get(place, (0, 0))[0],
        "csat": lambda: asked.satisfied().get(place, (0, 0))[0],
        "backlog": lambda: len(asked.open_ages(instant(query.known)).get(place, [])),
    }
    found = []
    for code, compute in computed.items():
        answer = await measure(connection, t, INDICATORS[code], query, _no_holidays, minimum=1)
        shown = sum(int(point.measured.numerator or 0) for point in answer.points)
        if shown != (wanted := compute()):
            found.append(Break(f"indicators/{code}", "count-differs", {"shown": shown, "wanted": wanted}))
    return found
