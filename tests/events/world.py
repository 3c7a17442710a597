"""Two small services around a log, on any engines: what the tests of the machinery play with.

`intake` appends interactions. `feedback` opens a case for each (reactor), keeps a tally (projector) and acknowledges the case
when its timer fires. What is right is a plain fold over the log, `expected`.
"""

import asyncio
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

from sqlalchemy import Column, Integer, MetaData, String, Table, select, text
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.ext.asyncio import AsyncEngine

from libs.events import faults
from libs.events.catalogue.base import EventData
from libs.events.catalogue.feedback import CaseAcknowledged, CaseOpened
from libs.events.catalogue.interactions import Channel, InteractionRecorded, Kind
from libs.events.catalogue.topics import ALL, FEEDBACK, INTERACTIONS
from libs.events.chain import Walk
from libs.events.clock import SimulatedClock
from libs.events.consumer import ConsumerSpec, Discipline, Subscription
from libs.events.engines import make_engine
from libs.events.envelope import Event, from_record, natural_id
from libs.events.log import Log, Outgoing, Record, TopicPartition
from libs.events.log_sqlite import SqliteLog
from libs.events.runtime import Runtime, settle
from libs.events.settings import MachinerySettings
from libs.events.store import Draft, Unit
from libs.events.tables import machinery
from libs.events.timers import Timer
from libs.events.vault import Vault
from tests.engines.memory import forgotten

START = datetime(2026, 1, 1, 8, 0, tzinfo=UTC)
metadata = MetaData()
machinery(metadata)
tally = Table("tally", metadata, Column("type", String, primary_key=True), Column("count", Integer, nullable=False))

sums = {
    slot: Table(
        f"sums_{slot}", metadata, Column("type", String, primary_key=True), Column("count", Integer, nullable=False)
    )
    for slot in ("a", "b")
}

FAST = MachinerySettings(
    backoff_first=0.01,
    backoff_most=0.05,
    standby_poll=0.2,
    relay_poll=0.02,
    poll_timeout=0.2,
    rest=0.0,
    careful_pause=0.05,
)


class Crash(BaseException):
    """A process ends here: no handler may catch it."""


class Bug(Exception):
    """A handler's mistake."""


@dataclass
class Behaviour:
    """Switches of the handlers, for tests that want them to fail."""

    poison: set[str] = field(default_factory=set)  # external ids that a handler cannot stand
    deadly: set[str] = field(default_factory=set)  # external ids that end the process
    everything: bool = False
    calls: Counter[str] = field(default_factory=Counter)  # of the reactor, by external id


class World:
    """The log, the vault, the clock and the services' databases; services come and go."""

    def __init__(self, data: Path, database: str | None, log: Log | None = None) -> None:
        self.data, self.database = data, database
        self.clock = SimulatedClock(START)
        self.log: Log = log or SqliteLog(data / "log.db")
        self.vault: Vault = None  # type: ignore[assignment] # opened in __aenter__
        self.behaviour = Behaviour()
        self.engines: list[AsyncEngine] = []
        self.alive: list[Runtime] = []
        self.people: list[str] = []

    async def __aenter__(self) -> Self:
        self.vault = await Vault.open(f"sqlite:///{self.data / 'vault.db'}", b"k" * 32, self.clock)
        await self.log.start()
        await self.log.ensure_topics(dict.fromkeys(ALL, 2))
        self.people = await self.vault.resolve([{"email": f"person{number}@example.org"} for number in range(15)])
        for service in ("intake", "feedback", "other"):
            engine = self.engine(service)
            async with engine.begin() as connection:
                if self.database is not None:
                    await connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {service}"))
                await connection.run_sync(metadata.create_all)
        return self

    async def __aexit__(self, *error: object) -> None:
        faults.hook = None
        for runtime in list(self.alive):
            await self.kill(runtime)
        for engine in self.engines:
            await engine.dispose()
        await self.log.stop()
        await self.vault.close()
        forgotten()  # connections of the killed, which the kernel would close; as long as there is a loop to do it

    def engine(self, service: str) -> AsyncEngine:
        engine = make_engine(self.database or str(self.data / f"{service}.db"), service=service)
        self.engines.append(engine)
        return engine

    async def intake(self, *, start: bool = True, **options: Any) -> Runtime:
        return await self._up(
            Runtime(
                service="intake",
                engine=self.engine("intake"),
                log=options.pop("log", self.log),
                vault=self.vault,
                clock=self.clock,
                settings=options.pop("settings", FAST),
                **options,
            ),
            start=start,
        )

    async def feedback(self, *, start: bool = True, discipline: Discipline | None = None, **options: Any) -> Runtime:
        return await self._up(
            Runtime(
                service="feedback",
                engine=self.engine("feedback"),
                log=options.pop("log", self.log),
                vault=self.vault,
                clock=self.clock,
                settings=options.pop("settings", FAST),
                consumers=[ConsumerSpec("feedback", (INTERACTIONS, FEEDBACK), self.subscriptions())],
                timers={"acknowledge": self.acknowledge},
                discipline=discipline,
                **options,
            ),
            start=start,
        )

    async def other(self, **options: Any) -> Runtime:
        """A third service that publishes nothing."""
        return await self._up(
            Runtime(
                service="other",
                engine=self.engine("other"),
                log=self.log,
                vault=self.vault,
                clock=options.pop("clock", self.clock),
                settings=FAST,
                publishes=(),
                **options,
            ),
            start=True,
        )

    async def _up(self, runtime: Runtime, *, start: bool) -> Runtime:
        self.alive.append(runtime)
        if start:
            await runtime.start()
        return runtime

    async def kill(self, runtime: Runtime) -> None:
        """End the service as SIGKILL would: nothing is finished, nothing is told."""
        self.alive.remove(runtime)
        tasks = list(runtime._tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        runtime._tasks.clear()

    def subscriptions(self) -> list[Subscription]:
        return [
            Subscription("open-case", "reactor", (InteractionRecorded,), self.open_case),
            Subscription("tally", "projector", (InteractionRecorded, CaseOpened, CaseAcknowledged), count_types),
        ]

    async def open_case(self, unit: Unit, events: Sequence[Event]) -> None:
        for event, data in zip(events, await unit.open(events), strict=True):
            assert isinstance(data, InteractionRecorded)
            self.behaviour.calls[data.external_id] += 1
            if data.external_id in self.behaviour.deadly:
                raise Crash(data.external_id)
            if self.behaviour.everything or data.external_id in self.behaviour.poison:
                raise Bug(f"cannot stand {data.external_id}")
            case = natural_id("case", data.interaction_id)
            due = unit.now + timedelta(days=1)
            opened = CaseOpened(
                case_id=case,
                interaction_id=data.interaction_id,
                customer_id=data.customer_id,
                kind=data.kind,
                channel=data.channel,
                origin=data.origin,
                received_at=data.occurred_at,
                acknowledge_by=due,
                due_at=due,
                calendar="CO",
                term={"amount": 1, "unit": "calendar_day"},
            )
            unit.emit(Draft(f"case/{case}", opened, event.partitionkey, unit.now, cause=event), expected=0)
            unit.schedule("acknowledge", case, due, {"customer": data.customer_id}, cause=event)

    async def acknowledge(self, unit: Unit, timers: Sequence[Timer]) -> None:
        cases = await unit.streams([f"case/{timer.key}" for timer in timers])
        for timer in timers:
            if timer.key in self.behaviour.poison:
                raise Bug(f"cannot stand {timer.key}")
            stream = f"case/{timer.key}"
            assert len(cases[stream]) == 1
            data = CaseAcknowledged(case_id=timer.key, customer_id=timer.data["customer"], at=unit.now, by="timer")
            unit.emit(Draft(stream, data, timer.data["customer"], unit.now, cause=timer), expected=1)

    def draft(self, number: int, *, text: str = "No me llega la factura", person: int | None = None) -> Draft:
        """Interaction `number`; the same number is the same fact."""
        external = f"x{number}"
        interaction = natural_id("interaction", "desk", external)
        customer = self.people[(number if person is None else person) % len(self.people)]
        data = InteractionRecorded(
            interaction_id=interaction,
            external_id=external,
            origin="desk",
            kind=Kind.COMPLAINT,
            channel=Channel.EMAIL,
            occurred_at=START,
            customer_id=customer,
            text=text,
        )
        fingerprint = self.vault.hash(text)
        return Draft(f"interaction/{interaction}", data, customer, START, id=interaction, fingerprint=fingerprint)

    async def settle(self, timeout: float = 60) -> None:
        await settle(self.alive, timeout)

    async def settle_only(self, runtime: Runtime, timeout: float = 60) -> None:
        await settle([runtime], timeout)

    # What there is, and what there should be.

    async def published(self, topic: str) -> dict[int, list[Event]]:
        """Every event of a topic by partition, in log order; the chain must hold."""
        found: dict[int, list[Event]] = {}
        for number in range(await self.log.partitions(topic)):
            records = await self.records(TopicPartition(topic, number))
            walk = Walk()
            breaks = [broken for record in records for broken in walk.feed(record)] + list(walk.end())
            assert not breaks
            found[number] = [from_record(record) for record in records]
        return found

    async def records(self, tp: TopicPartition) -> list[Record]:
        """A whole partition; a read gives a page."""
        found: list[Record] = []
        while page := await self.log.read(tp, found[-1].offset + 1 if found else 0, 10_000):
            found += page
        return found

    async def republish(self, records: Sequence[Outgoing]) -> None:
        """Put records into the log behind everybody's back."""
        publisher = self.log.publisher("stranger")
        await publisher.start()
        await publisher.publish(records)
        await publisher.close()

    async def tallied(self) -> dict[str, int]:
        engine = self.engine("feedback")
        async with engine.connect() as connection:
            rows = (await connection.execute(select(tally))).all()
            return {row[0]: row[1] for row in rows}

    async def check(
        self, submitted: Mapping[str, int] | None = None, *, acknowledged: bool = False, cases: int | None = None
    ) -> None:
        """Everything accepted is in the log once, led to one case, and the projection equals the fold (I1, I4, I5, I6)."""
        interactions = [event for events in (await self.published(INTERACTIONS)).values() for event in events]
        feedback = [event for events in (await self.published(FEEDBACK)).values() for event in events]
        if submitted is not None:
            assert Counter(event.id for event in interactions) == Counter(dict(submitted))
        ids = [event.id for event in [*interactions, *feedback]]
        assert len(ids) == len(set(ids)), "an event stands twice in the log"
        causes = {event.id for event in interactions}
        opened = [event for event in feedback if event.type == CaseOpened.TYPE]
        assert all(event.causationid in causes for event in feedback)
        assert len(opened) == (len(interactions) if cases is None else cases)
        if acknowledged:
            assert len(feedback) == 2 * len(opened)
        await self.check_order([*(await self.published(FEEDBACK)).values()])
        assert await self.tallied() == dict(Counter(event.type for event in [*interactions, *feedback]))

    @staticmethod
    async def check_order(partitions: Sequence[Sequence[Event]]) -> None:
        """Per stream the log has versions 1, 2, 3 … in this order."""
        for events in partitions:
            versions: dict[str, int] = {}
            for event in events:
                assert event.streamversion == versions.get(event.subject, 0) + 1
                versions[event.subject] = event.streamversion


def slotted(
    slot: str, only: tuple[type[EventData], ...] = (InteractionRecorded, CaseOpened, CaseAcknowledged)
) -> list[Subscription]:
    """The projection "sums", in one of its slots."""

    async def count(unit: Unit, events: Sequence[Event]) -> None:
        await count_into(unit, events, sums[slot])

    return [Subscription("sums", "projector", only, count)]


async def count_types(unit: Unit, events: Sequence[Event]) -> None:
    await count_into(unit, events, tally)


async def count_into(unit: Unit, events: Sequence[Event], table: Table) -> None:
    insert: Any = sqlite_insert if unit.connection.dialect.name == "sqlite" else postgres_insert
    for name, count in sorted(Counter(event.type for event in events).items()):
        statement = insert(table).values(type=name, count=count)
        raised = {"count": table.c["count"] + statement.excluded["count"]}
        await unit.connection.execute(statement.on_conflict_do_update(index_elements=["type"], set_=raised))


def patient(**changes: Any) -> MachinerySettings:
    return replace(FAST, **changes)


def process_environment(**variables: str) -> dict[str, str]:
    return {**os.environ, **variables}
