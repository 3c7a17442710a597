"""The sources' home: their table, their secrets in sealed form, and a copy in memory for the hot path."""

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson
from sqlalchemy import delete, insert, or_, select, update

from libs.events.catalogue.interactions import SourceRegistered
from libs.events.clock import Clock
from libs.events.store import Draft, Store, Unit
from libs.events.vault import Vault
from services.intake.adapters.standard_webhooks.signature import secret_text
from services.intake.domain.sources import INTERACTIONS_FORM, Source
from services.intake.tables import source_secrets
from services.intake.tables import sources as table

STALE = 5.0  # seconds until a change made by another instance is seen here
MISSING = 1.0  # seconds a name that is not there is believed to be not there
KEEP = timedelta(days=7)  # how long an old secret goes on being accepted after a rotation, unless told otherwise
_PURPOSE = "source-secrets"


class SourceExists(Exception):
    """A source of this id is registered already."""


class NotSigned(ValueError):
    """A source of this form has no secret."""


class NoSuchSource(LookupError):
    """No source of this id."""


@dataclass(frozen=True, slots=True)
class Secret:
    """One live secret, without itself."""

    id: str
    created_at: datetime
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class Listed:
    """A source with what only its administrators see."""

    source: Source
    created_at: datetime
    changed_at: datetime
    secrets: tuple[Secret, ...]


class Sources:
    """Reads, changes and remembers who may send."""

    def __init__(
        self, store: Store, vault: Vault, clock: Clock, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._store, self._vault, self._clock, self._monotonic = store, vault, clock, monotonic
        self._known: dict[str, Source] = {}
        self._read_at = float("-inf")

    def known(self, name: str) -> Source | None:
        """The source as it was at most five seconds ago; None means: ask `find`."""
        if self._monotonic() - self._read_at > STALE:
            return None
        return self._known.get(name)

    async def find(self, name: str) -> Source | None:
        """The source as it is now; a name that does not exist is looked up once a second at most."""
        source = self.known(name)
        if source is None and self._monotonic() - self._read_at > MISSING:
            await self.refresh()
            source = self._known.get(name)
        return source

    async def refresh(self) -> None:
        """Read all sources again."""
        async with self._store.reading() as connection:
            rows = (await connection.execute(select(table))).all()
        self._known = {row.id: _source(row) for row in rows}
        self._read_at = self._monotonic()

    async def listed(self, name: str | None = None) -> list[Listed]:
        """All sources by id, or the one; with their live secrets' ids and dates."""
        wanted = select(table).order_by(table.c.id)
        live = select(source_secrets).where(self._live()).order_by(source_secrets.c.created_at)
        if name is not None:
            wanted, live = wanted.where(table.c.id == name), live.where(source_secrets.c.source_id == name)
        async with self._store.reading() as connection:
            rows = (await connection.execute(wanted)).all()
            held = (await connection.execute(live)).all()
        return [
            Listed(
                _source(row),
                row.created_at,
                row.changed_at,
                tuple(Secret(s.id, s.created_at, s.expires_at) for s in held if s.source_id == row.id),
            )
            for row in rows
        ]

    async def keys(self, name: str) -> list[bytes]:
        """The live secrets of a source, newest first, opened."""
        statement = (
            select(source_secrets.c.sealed)
            .where(source_secrets.c.source_id == name, self._live())
            .order_by(source_secrets.c.created_at.desc())
        )
        async with self._store.reading() as connection:
            sealed = (await connection.execute(statement)).scalars().all()
        return [await self._vault.open_bytes(_PURPOSE, bytes(item)) for item in sealed]

    async def register(self, source: Source, secret: bytes | None = None) -> str | None:
        """Admit a sender. Answers the secret as text, once, for a form that is signed. Raises SourceExists."""
        handed = await self._new_secret(source, secret)
        async with self._store.unit() as unit:
            taken = await unit.connection.execute(select(table.c.id).where(table.c.id == source.id))
            if taken.first() is not None:
                raise SourceExists(source.id)
            await unit.connection.execute(
                insert(table), [{**_row(source), "created_at": unit.now, "changed_at": unit.now}]
            )
            if handed is not None:
                await unit.connection.execute(insert(source_secrets), [handed.row(unit.now)])
            _tell(unit, source)
        self._known = {**self._known, source.id: source}
        return None if handed is None else handed.text

    async def change(self, after: Source) -> None:
        """Change name, form, active, region or defaults; what was accepted before stays as it was. Raises NoSuchSource."""
        async with self._store.unit() as unit:
            row = (await unit.connection.execute(select(table).where(table.c.id == after.id))).first()
            if row is None:
                raise NoSuchSource(after.id)
            if _source(row) != after:
                await unit.connection.execute(
                    update(table).where(table.c.id == after.id).values(**_row(after), changed_at=unit.now)
                )
                _tell(unit, after)
        self._known = {**self._known, after.id: after}

    async def rotate(self, name: str, keep: timedelta = KEEP, secret: bytes | None = None) -> tuple[str, datetime]:
        """Hand out a new secret; those that are live stay so for `keep`. Answers it, and when the others end.

        Raises NoSuchSource, and NotSigned where the source's form is not.
        """
        found = await self.listed(name)
        if not found:
            raise NoSuchSource(name)
        handed = await self._new_secret(found[0].source, secret)
        if handed is None:
            raise NotSigned
        async with self._store.unit() as unit:
            until = unit.now + keep
            await unit.connection.execute(
                update(source_secrets)
                .where(
                    source_secrets.c.source_id == name,
                    or_(source_secrets.c.expires_at.is_(None), source_secrets.c.expires_at > until),
                )
                .values(expires_at=until)
            )
            await unit.connection.execute(delete(source_secrets).where(source_secrets.c.expires_at <= unit.now))
            await unit.connection.execute(insert(source_secrets), [handed.row(unit.now)])
        return handed.text, until

    async def _new_secret(self, source: Source, secret: bytes | None) -> "_Handed | None":
        if source.form == INTERACTIONS_FORM:
            return None
        key = secret or secrets.token_bytes(32)
        text = secret_text(key)
        return _Handed(text, source.id, await self._vault.seal_bytes(_PURPOSE, key))

    def _live(self) -> Any:
        return or_(source_secrets.c.expires_at.is_(None), source_secrets.c.expires_at > self._clock.now())


@dataclass(frozen=True, slots=True)
class _Handed:
    text: str
    source_id: str
    sealed: bytes

    def row(self, now: datetime) -> dict[str, Any]:
        return {
            "id": "sec_" + secrets.token_hex(8),
            "source_id": self.source_id,
            "sealed": self.sealed,
            "created_at": now,
            "expires_at": None,
        }


def _tell(unit: Unit, source: Source) -> None:
    data = SourceRegistered(
        source_id=source.id,
        name=source.name,
        form=source.form,
        active=source.active,
        defaults=dict(source.defaults),
    )
    unit.emit(Draft(stream=f"source/{source.id}", data=data, key=source.id, time=unit.now))


def _row(source: Source) -> Mapping[str, Any]:
    return {
        "id": source.id,
        "name": source.name,
        "form": source.form,
        "active": source.active,
        "region": source.region,
        "defaults": orjson.dumps(dict(source.defaults)).decode(),
    }


def _source(row: Any) -> Source:
    return Source(row.id, row.name, row.form, row.active, row.region, orjson.loads(row.defaults))
