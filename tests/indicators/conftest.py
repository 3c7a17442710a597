"""A store of the indicators on each database, and its projectors."""

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from libs.events.clock import SimulatedClock
from libs.events.engines import make_engine, reading
from libs.events.envelope import Event
from libs.events.store import Store
from libs.events.vault import Vault
from libs.service.migration import location_of, migrate
from libs.service.testing import migrated_file
from services.indicators.subscriptions import subscriptions


@dataclass
class Desk:
    """The read model's database with its projectors, without a log: events are handed to the handlers."""

    store: Store
    engine: AsyncEngine
    clock: SimulatedClock

    async def project(self, events: Sequence[Event], *, slot: str = "a", batches: random.Random | None = None) -> None:
        """Take events in batches (of one size, or of random sizes)."""
        table = subscriptions(slot)
        at = 0
        while at < len(events):
            size = 200 if batches is None else batches.randrange(1, 40)
            batch = events[at : at + size]
            async with self.store.unit() as unit:
                for one in table:
                    names = {model.TYPE for model in one.types}
                    mine = [event for event in batch if event.type in names]
                    if mine:
                        await one.handle(unit, mine)
            at += size

    def reading(self) -> AbstractAsyncContextManager[AsyncConnection]:
        return reading(self.engine)


@pytest.fixture
async def desks(tmp_path: Path) -> AsyncIterator[Callable[[str], Awaitable[Desk]]]:
    """Call it for a fresh desk on a SQLite file (by name) or on a PostgreSQL URL."""
    opened: list[tuple[AsyncEngine, Vault]] = []

    async def make(target: str) -> Desk:
        clock = SimulatedClock(datetime(2026, 4, 1, tzinfo=UTC))
        file = None if "://" in target else tmp_path / f"{target}.db"
        engine = make_engine(file or target, service="indicators")
        if file is None or not await migrated_file(file, "indicators", location_of("indicators")):
            await migrate(engine, location_of("indicators"), service="indicators")
        vault = await Vault.open(str(tmp_path / f"vault-{len(opened)}.db"), b"k" * 32, clock)
        opened.append((engine, vault))
        return Desk(Store(engine, "indicators", clock, vault, lambda topic: 2), engine, clock)

    yield make
    for engine, vault in opened:
        await engine.dispose()
        await vault.close()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
async def desk(request: pytest.FixtureRequest, desks: Callable[[str], Awaitable[Desk]]) -> Desk:
    """A fresh desk on each database."""
    if request.param == "sqlite":
        return await desks("indicators")
    return await desks(request.getfixturevalue("postgres_url"))
