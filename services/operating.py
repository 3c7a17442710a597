"""What the `lazo` command does to a running or resting Lazo: keys, migrations, topics, status."""

import importlib
from contextlib import AsyncExitStack
from dataclasses import asdict
from datetime import timedelta
from typing import Any

import httpx
from sqlalchemy.exc import DatabaseError

from libs.events.catalogue import topics
from libs.events.clock import SystemClock
from libs.events.engines import make_engine
from libs.events.errors import is_transient
from libs.events.log import LogError
from libs.service import keys
from libs.service.environment import Environment, make_log, open_vault
from libs.service.lock import DirectoryLock, serving
from libs.service.migration import location_of, migrate, newest
from libs.service.settings import SERVICES, Settings


class Refused(RuntimeError):
    """It cannot be done; the text says why and what to do."""


async def create_key(settings: Settings, name: str, scopes: list[str], source: str | None, days: int | None) -> str:
    """A new API key. Works while nothing runs and beside a running `lazo up`."""
    clock = SystemClock()
    vault = await open_vault(settings, clock)
    try:
        expires = None if days is None else clock.now() + timedelta(days=days)
        return await keys.create(vault, name, scopes, source=source, expires=expires)
    finally:
        await vault.close()


async def list_keys(settings: Settings) -> list[dict[str, Any]]:
    """Every key, newest first, as plain values."""
    clock = SystemClock()
    vault = await open_vault(settings, clock)
    try:
        rows = await keys.listed(vault)
    finally:
        await vault.close()
    now = clock.now()
    return [
        {
            "id": row.id,
            "name": row.name,
            "scopes": list(row.scopes),
            "source": row.source,
            "created": row.created.isoformat(),
            "expires": row.expires.isoformat() if row.expires else None,
            "state": "revoked" if row.revoked else "expired" if row.expires and row.expires <= now else "live",
        }
        for row in rows
    ]


async def revoke_key(settings: Settings, which: str) -> int:
    """How many keys were revoked. Raises NoSuchKey."""
    vault = await open_vault(settings, SystemClock())
    try:
        return await keys.revoke(vault, which)
    finally:
        await vault.close()


async def migrate_all(settings: Settings) -> dict[str, str]:
    """Every service's newest revision, by service. Raises DirectoryInUse in embedded mode beside a running `lazo up`."""
    lock = DirectoryLock(settings.data) if settings.database is None else None
    if lock is not None:
        lock.take()
    try:
        await (await open_vault(settings, SystemClock())).close()
        found: dict[str, str] = {}
        for name in SERVICES:
            engine = make_engine(settings.database_target(name), service=name)
            try:
                await migrate(engine, location_of(name), service=name)
            finally:
                await engine.dispose()
            found[name] = newest(location_of(name)) or "empty"
        return found
    finally:
        if lock is not None:
            lock.release()


async def apply_topics(settings: Settings) -> dict[str, int]:
    """Create missing topics; partitions by topic. Raises Refused without Kafka, LogUnavailable when it is away."""
    if settings.kafka is None:
        raise Refused("LAZO_KAFKA is not set: the embedded log makes its topics itself")
    log = make_log(settings)
    await log.start()
    try:
        await log.ensure_topics(dict.fromkeys(topics.ALL, settings.topic_partitions))
        return {topic: await log.partitions(topic) for topic in topics.ALL}
    finally:
        await log.stop()


async def statuses(settings: Settings, url: str | None) -> dict[str, dict[str, Any]]:
    """Each service's status: from the running services, and where nobody answers and no `url` was named, from their stores
    and the log. Raises Refused when there is nothing to ask."""
    here = "127.0.0.1" if settings.host in {"0.0.0.0", "::"} else settings.host  # noqa: S104  # a comparison
    noted = serving(settings.data) if settings.needs_directory else None
    base = url or noted or f"http://{here}:{settings.port}"
    embedded = settings.needs_directory
    if url is None and noted is None and embedded:
        return await _resting(settings, base)  # whoever serves this directory would have noted it
    try:
        return await _asked(settings, base)
    except Refused:
        if url is not None:
            raise
        return await _resting(settings, base)


async def _resting(settings: Settings, base: str) -> dict[str, dict[str, Any]]:
    """The statuses by the stores and the log alone: what would be left to do if everything were started now."""
    if settings.database is None and not (settings.data / "vault.db").exists():
        raise Refused(f"nothing answers at {base}, and there is no Lazo in {settings.data}: start one with `lazo up`")
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        vault = await open_vault(settings, clock)
        stack.push_async_callback(vault.close)
        log = make_log(settings)
        environment = Environment(settings, clock, log, vault, lock=None)
        stack.push_async_callback(environment.close)
        await log.start()
        found: dict[str, dict[str, Any]] = {}
        for name in SERVICES:
            service = await importlib.import_module(f"services.{name}.app").build(environment)
            try:
                found[name] = asdict(await service.runtime.status()) | {"running": False}
            except Exception as error:
                if not isinstance(error, DatabaseError | LogError) and not is_transient(error):
                    raise
                found[name] = {"error": f"cannot be read ({type(error).__name__})"}
        return found


async def _asked(settings: Settings, base: str) -> dict[str, dict[str, Any]]:
    vault = await open_vault(settings, SystemClock())
    try:
        scopes = [f"{name}:read" for name in SERVICES]
        async with keys.temporary(vault, "lazo status", scopes) as key:
            headers = {"Authorization": f"Bearer {key}"}
            async with httpx.AsyncClient(base_url=base, headers=headers, timeout=10, trust_env=False) as client:
                found: dict[str, dict[str, Any]] = {}
                for name in SERVICES:
                    try:
                        answer = await client.get(f"/{name}/v1/status")
                    except httpx.TransportError as error:
                        if isinstance(error, httpx.ConnectError):
                            raise Refused(f"nothing answers at {base}: start it with `lazo up`") from None
                        found[name] = {"error": f"no answer ({type(error).__name__})"}
                        continue
                    if answer.status_code == 200:
                        found[name] = answer.json()
                    elif answer.status_code == 404:
                        continue  # served elsewhere
                    else:
                        found[name] = {"error": f"HTTP {answer.status_code}"}
                return found
    finally:
        await vault.close()
