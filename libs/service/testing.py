"""Services as tests use them: built by their own `build`, on real engines, spoken to over their public API."""

import sqlite3
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from functools import _lru_cache_wrapper
from pathlib import Path
from typing import Any, Protocol

import httpx
from fastapi.dependencies import models

from libs.events.clock import Clock
from libs.events.engines import make_engine
from libs.events.runtime import settle as settle_runtimes
from libs.service import keys
from libs.service.combined import Combined
from libs.service.environment import Environment
from libs.service.migration import migrate
from libs.service.run import migrations_of, name_of, started
from libs.service.service import Builder, Service
from libs.service.settings import Settings, load

# Files of tests need no fsync of minutes; what is under test are the rules, which stay as they are.
MASTER_KEY = "bGF6bydzIHRlc3RzIHVzZSB0aGlzIGtleSBhbmQgbm8gb3RoZXIgb25l"


class EnginePair(Protocol):
    """Which engines to run on; `tests/conftest.py` hands out both pairs as the fixture `engines`."""

    @property
    def data(self) -> Path: ...
    @property
    def kafka(self) -> str | None: ...
    @property
    def database(self) -> str | None: ...
    @property
    def topic_prefix(self) -> str: ...


@dataclass
class Running:
    """What `running` yields; unpacks into (environment, services, client)."""

    environment: Environment
    services: dict[str, Service]
    client: httpx.AsyncClient
    key: str

    def __iter__(self) -> Any:
        return iter((self.environment, self.services, self.client))

    async def settle(self, timeout: float = 60.0) -> None:
        await settle(self.services, timeout)

    async def key_for(self, *scopes: str, source: str | None = None) -> dict[str, str]:
        """Headers of a new key with these scopes."""
        key = await keys.create(self.environment.vault, "test", scopes, source=source)
        return {"Authorization": f"Bearer {key}"}


_migrated: dict[tuple[str, Path], bytes] = {}  # by service and folder of migrations: an empty, migrated SQLite database


async def migrated_file(path: Path, service: str, location: Path) -> bool:
    """Put a service's empty database there, at the newest revision, as `migrate` would.

    It is migrated once in a process and copied from then on: 50 ms of Alembic, hundreds of times over. A file that is there
    already is left alone, and the answer is False.
    """
    if path.exists():
        return False
    if (service, location) not in _migrated:
        with tempfile.TemporaryDirectory(prefix="lazo-migrated-") as folder:
            first = Path(folder) / "first.db"
            engine = make_engine(first, service=service)
            try:
                await migrate(engine, location, service=service)
            finally:
                await engine.dispose()
            with closing(sqlite3.connect(first)) as database:
                _migrated[service, location] = database.serialize()
    path.write_bytes(_migrated[service, location])
    return True


@asynccontextmanager
async def running(
    *builders: Builder, clock: Clock | None = None, engines: EnginePair | None = None, **settings: Any
) -> AsyncIterator[Running]:
    """Services started for a test, with a client that holds an admin key.

    `engines`: None runs on SQLite in a directory of its own; `settings` override any field of `Settings`. Services are
    mounted as `lazo up` mounts them. Start two `running`s on one `data` directory one after the other to test a restart.
    """
    with tempfile.TemporaryDirectory(prefix="lazo-test-") as folder:
        given: dict[str, Any] = {"data": Path(folder), "master_key": MASTER_KEY, "access_log": False, "language": "en"}
        if engines is not None:
            given |= {"data": engines.data, "kafka": engines.kafka, "database": engines.database}
            given["kafka_prefix"] = engines.topic_prefix
        environment = await Environment.open(load(Settings, **given | settings), clock)
        try:
            for build in builders:
                target, name = environment.settings.database_target(name_of(build)), name_of(build)
                if "://" in target or environment.migrated(name):
                    continue
                if await migrated_file(Path(target), name, migrations_of(build)):
                    environment.note_migrated(name)
            async with started(environment, {name_of(build): build for build in builders}) as services:
                combined = Combined()
                for service in services.values():
                    combined.add(service)
                combined.complete()
                key = await keys.create(environment.vault, "test admin", ["*:admin"])
                async with httpx.AsyncClient(
                    transport=httpx.ASGITransport(combined),
                    base_url="http://lazo.test",
                    headers={"Authorization": f"Bearer {key}"},
                    timeout=30,
                ) as client:
                    yield Running(environment, services, client, key)
        finally:
            await environment.close()
            _forget_routes()


def _forget_routes() -> None:
    """FastAPI remembers for each function whether it is asynchronous, for ever, and by the functions their applications: 6,400
    objects of every service that a test ever started, over which each garbage collection goes again."""
    for found in vars(models).values():
        if isinstance(found, _lru_cache_wrapper):
            found.cache_clear()


async def settle(services: Mapping[str, Service] | Sequence[Service], timeout: float = 60.0) -> None:
    """Wait until nothing is left to do in any of them (`libs.events.runtime.settle`).

    Raises TimeoutError with the status of whoever is still at it, after `timeout` seconds of real time.
    """
    everyone = list(services.values()) if isinstance(services, Mapping) else list(services)
    await settle_runtimes([service.runtime for service in everyone], timeout)
