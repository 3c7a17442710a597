"""A desk on a real store and vault: what handlers and timers run in, without log and HTTP."""

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from libs.events.catalogue.base import EventData
from libs.events.catalogue.interactions import (
    CaseStatus,
    CaseUpdateRecorded,
    Channel,
    CustomerErased,
    InteractionRecorded,
    Kind,
)
from libs.events.clock import SimulatedClock
from libs.events.engines import make_engine
from libs.events.envelope import Event
from libs.events.ids import natural_id
from libs.events.sealing import seal_fields
from libs.events.store import Store, Unit
from libs.events.timers import Timer
from libs.events.vault import Vault
from libs.service.migration import location_of, migrate
from libs.service.testing import migrated_file
from services.feedback import tables
from services.feedback.desk import Desk, stream_of
from services.feedback.domain.orders import Policy
from services.feedback.regimes import Regimes, load
from services.feedback.subscriptions import Dependencies, case_id_of, subscriptions, timer_handlers
from services.feedback.wording import Wording

START = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)  # Monday, 10:00 in Bogotá


@dataclass
class Office:
    """Feedback's insides, driven by hand."""

    clock: SimulatedClock
    vault: Vault
    engine: AsyncEngine
    store: Store
    desk: Desk
    deps: Dependencies
    numbers: Any = field(default_factory=itertools.count)

    async def person(self, email: str = "ana@example.org", phone: str | None = None) -> str:
        return (await self.vault.resolve([{"email": email} if phone is None else {"email": email, "phone": phone}]))[0]

    async def event(self, data: EventData, customer_id: str | None, id: str | None = None) -> Event:
        """An event as it comes from the log: personal fields sealed."""
        import orjson

        from libs.events.catalogue import personal_fields

        id = id or natural_id("test", data.TYPE, str(next(self.numbers)))
        values = data.model_dump(mode="json")
        if customer_id is not None:
            keys = await self.vault.keys([customer_id])
            seal_fields(values, personal_fields(type(data)), keys.get(customer_id), id)
        now = self.clock.now()
        return Event(
            id, data.TYPE, "/lazo/intake", f"interaction/{id}", 1, 1, now, now, customer_id or "?", id, None, None, orjson.dumps(values)
        )  # fmt: skip

    async def contact(
        self,
        external_id: str = "1",
        *,
        customer_id: str | None = None,
        kind: Kind = Kind.COMPLAINT,
        channel: Channel = Channel.EMAIL,
        email: str | None = "ana@example.org",
        **more: Any,
    ) -> Event:
        customer_id = customer_id or await self.person()
        id = natural_id("interaction", "crm", external_id)
        values: dict[str, Any] = {
            "origin": "crm", "occurred_at": self.clock.now(), "case_ref": f"R-{external_id}", "language": "es",
            "text": "No funciona y nadie responde.", **more,
        }  # fmt: skip
        data = InteractionRecorded(
            interaction_id=id, external_id=external_id, kind=kind, channel=channel, customer_id=customer_id, email=email, **values
        )  # fmt: skip
        return await self.event(data, customer_id, id)

    async def progress(
        self, status: CaseStatus, external_id: str = "1", *, at: datetime | None = None, customer_id: str | None = None, **more: Any
    ) -> Event:  # fmt: skip
        number = str(next(self.numbers))
        data = CaseUpdateRecorded(
            update_id=number, external_id=number, origin=more.pop("origin", "crm"), case_ref=f"R-{external_id}", status=status,
            occurred_at=at or self.clock.now(), customer_id=customer_id, **more,
        )  # fmt: skip
        return await self.event(data, customer_id, natural_id("case-update", number))

    async def erasure(self, customer_id: str) -> Event:
        await self.vault.erase(customer_id)
        return await self.event(CustomerErased(customer_id=customer_id, erased_at=self.clock.now()), None)

    async def deliver(self, *events: Event) -> None:
        """One batch, as the consumer hands it out."""
        for subscription in subscriptions(self.deps):
            wanted = [event for event in events if event.type in {kind.TYPE for kind in subscription.types}]
            if wanted:
                async with self.store.unit(handler=subscription.name) as unit:
                    await subscription.handle(unit, wanted)

    async def work(self, do: Callable[[Unit], Awaitable[Any]]) -> Any:
        async with self.store.unit() as unit:
            return await do(unit)

    async def advance(self, to: datetime | timedelta) -> None:
        """Let time pass; what falls due on the way is fired at its time."""
        end = self.clock.now() + to if isinstance(to, timedelta) else to
        handlers = timer_handlers(self.deps)
        table = self.store.tables.timers
        while True:
            async with self.store.reading() as connection:
                row = (await connection.execute(select(table).order_by(table.c.due).limit(1))).one_or_none()
            if row is None or row.due > end:
                self.clock.advance(end)
                return
            self.clock.advance(max(row.due, self.clock.now()))
            async with self.store.unit(handler=f"timer.{row.kind}") as unit:
                from orjson import loads
                from sqlalchemy import delete

                await unit.connection.execute(delete(table).where(table.c.kind == row.kind, table.c.key == row.key))
                await handlers[row.kind](
                    unit, [Timer(row.id, row.kind, row.key, row.due, loads(row.data), row.correlationid)]
                )

    async def events(self, *types: type[EventData]) -> list[EventData]:
        """Everything published, opened, in order."""
        from libs.events.sealing import opened
        from libs.events.store.drafts import events_of

        async with self.store.reading() as connection:
            table = self.store.tables.events
            columns = [column for column in table.c if column.name != "fingerprint"]
            rows = (await connection.execute(select(*columns).order_by(table.c.position))).all()
        data = await opened(self.vault, events_of(rows, self.store.source))
        return [each for each in data if not types or isinstance(each, types)]

    async def rows(self, table: Any) -> list[dict[str, Any]]:
        async with self.store.reading() as connection:
            return [dict(row._mapping) for row in await connection.execute(select(table))]

    async def case(self, external_id: str = "1") -> dict[str, Any]:
        wanted = case_id_of(natural_id("interaction", "crm", external_id))
        return next(row for row in await self.rows(tables.cases) if row["case_id"] == wanted)

    async def timers(self) -> dict[tuple[str, str], datetime]:
        return {(row["kind"], row["key"]): row["due"] for row in await self.rows(self.store.tables.timers)}

    async def folded(self) -> None:
        """Stored rows and timers are what a plain fold over the streams says."""
        from services.feedback.domain.case import fold
        from services.feedback.domain.decide import timers
        from services.feedback.rows import case_row, request_row
        from services.feedback.tokens import token_hash, token_of

        rows = await self.rows(tables.cases)
        requests = {row["request_id"]: row for row in await self.rows(tables.requests)}
        wanted: dict[tuple[str, str], datetime] = {}
        for row in rows:
            async with self.store.unit() as unit:
                state = fold(await unit.open(await unit.stream(stream_of(row["case_id"]))))
            assert state is not None
            assert row == case_row(state) | {"stamp": row["stamp"]}
            wanted |= timers(state, self.desk._policy)
            for id, request in state.requests.items():
                hashed = token_hash(self.vault, token_of(self.vault, id))
                assert requests.pop(id) == request_row(request, state.opened.language or "es", hashed)
        assert requests == {}
        assert await self.timers() == wanted


@pytest.fixture(scope="session")
def packs() -> dict[str, Any]:
    return load()


@pytest.fixture
async def office(tmp_path: Path, packs: dict[str, Any]) -> AsyncIterator[Office]:
    async with open_office(tmp_path, packs, tmp_path / "feedback.db") as opened:
        yield opened


@pytest.fixture
async def office_on_postgres(tmp_path: Path, packs: dict[str, Any], postgres_url: str) -> AsyncIterator[Office]:
    async with open_office(tmp_path, packs, postgres_url) as opened:
        yield opened


@asynccontextmanager
async def open_office(folder: Path, packs: dict[str, Any], target: str | Path) -> AsyncIterator[Office]:
    clock = SimulatedClock(START)
    vault = await Vault.open(str(folder / "vault.db"), b"m" * 32, clock)
    engine = make_engine(target, service="feedback")
    if not isinstance(target, Path) or not await migrated_file(target, "feedback", location_of("feedback")):
        await migrate(engine, location_of("feedback"), service="feedback")
    store = Store(engine, "feedback", clock, vault, lambda _: 2)
    regimes = Regimes(packs, "co", {})
    wording = Wording(public_url="https://lazo.example", contact={"es": "601 555 0000", "en": "601 555 0000"})
    desk = Desk(vault, Policy(calendar=regimes.calendar), wording)
    kinds = frozenset({Kind.COMPLAINT, Kind.CLAIM, Kind.REQUEST})
    yield Office(clock, vault, engine, store, desk, Dependencies(vault, desk, regimes, kinds, "es"))
    await engine.dispose()
    await vault.close()
