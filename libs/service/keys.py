"""API keys: `lz_<id>_<secret>`, of which the vault keeps a hash; scopes `<service>:read|write|admin`, `*:admin` for all."""

import hashlib
import secrets
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache

import orjson
from sqlalchemy import ColumnElement, delete, insert, or_, select, update

from libs.events.engines import glancing, reading, writing
from libs.events.vault import Cache, Vault, instant, microseconds
from libs.events.vault_tables import api_keys
from libs.service.settings import SERVICES
from libs.service.words import Words

PREFIX = "lz_"
ACTIONS = ("read", "write", "admin")
_ALPHABET = "23456789abcdefghjkmnpqrstuvwxyz"  # no character that is read as another


class BadScope(ValueError):
    """Not a scope; the text lists the scopes there are."""


class BadToken(ValueError):
    """A bearer token that is not acceptable; `words` say why, without quoting it."""

    def __init__(self, words: Words) -> None:
        super().__init__(words)
        self.words = words


class NoSuchKey(LookupError):
    """No live key has this id or name."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is calling. `source`: the one source this key may send as; None when it may name any."""

    name: str
    scopes: frozenset[str]
    source: str | None = None
    key_id: str | None = None
    session: bool = False

    def may(self, scope: str) -> bool:
        """Whether a scope is held, directly or through a wider one: admin covers write covers read."""
        return _covers(self.scopes, scope)


@lru_cache(maxsize=4096)
def _covers(held: frozenset[str], scope: str) -> bool:
    service, _, action = scope.partition(":")
    wider = ACTIONS[ACTIONS.index(action) :] if action in ACTIONS else (action,)
    return any(f"{where}:{level}" in held for where in (service, "*") for level in wider)


@dataclass(frozen=True, slots=True)
class KeyRow:
    id: str
    name: str
    scopes: tuple[str, ...]
    source: str | None
    created: datetime
    expires: datetime | None
    revoked: datetime | None


def checked_scopes(scopes: Sequence[str]) -> tuple[str, ...]:
    """The scopes, sorted and unique. Raises BadScope for one that no service knows."""
    for scope in scopes:
        service, colon, action = scope.partition(":")
        if not colon or service not in {*SERVICES, "*"} or action not in ACTIONS:
            raise BadScope(
                f"{scope!r} is no scope: {'|'.join(SERVICES)}|* then :read, :write or :admin, e.g. intake:write"
            )
    if not scopes:
        raise BadScope("a key needs at least one scope, e.g. --scope intake:write")
    return tuple(sorted(set(scopes)))


def digest(key: str) -> bytes:
    """What the vault keeps of a key. A plain hash is enough: the secret part has 158 random bits, there is nothing to guess."""
    return hashlib.sha256(key.encode()).digest()


def _random(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


async def create(
    vault: Vault, name: str, scopes: Sequence[str], *, source: str | None = None, expires: datetime | None = None
) -> str:
    """Make a key and return it; this is the only time that it can be seen. Raises BadScope, ValueError."""
    name = name.strip()
    if not name or len(name) > 200:
        raise ValueError("a key needs a name of 1 to 200 characters, to be known by when it is revoked")
    granted = checked_scopes(scopes)
    handle = _random(8)
    key = f"{PREFIX}{handle}_{_random(32)}"
    row = {
        "hash": digest(key),
        "id": handle,
        "name": name,
        "scopes": orjson.dumps(granted).decode(),
        "source": source,
        "created_us": microseconds(vault.clock.now()),
        "expires_us": None if expires is None else microseconds(expires),
        "revoked_us": None,
    }
    async with writing(vault.engine) as connection:
        await connection.execute(insert(api_keys), [row])
    return key


async def listed(vault: Vault) -> list[KeyRow]:
    """Every key ever made, newest first; the keys themselves are not known any more."""
    async with reading(vault.engine) as connection:
        rows = (await connection.execute(select(api_keys).order_by(api_keys.c.created_us.desc(), api_keys.c.id))).all()
    return [
        KeyRow(
            row.id,
            row.name,
            tuple(orjson.loads(row.scopes)),
            row.source,
            instant(row.created_us),
            None if row.expires_us is None else instant(row.expires_us),
            None if row.revoked_us is None else instant(row.revoked_us),
        )
        for row in rows
    ]


async def revoke(vault: Vault, which: str) -> int:
    """Revoke a key by id, by name (all of that name) or by the key itself; how many. Raises NoSuchKey.

    Running services refuse it within the cache life (LAZO_KEYS_CACHE, 10 s).
    """
    wanted = or_(api_keys.c.id == which, api_keys.c.name == which, api_keys.c.hash == digest(which))
    async with writing(vault.engine) as connection:
        statement = update(api_keys).where(wanted, api_keys.c.revoked_us.is_(None))
        count = (await connection.execute(statement.values(revoked_us=microseconds(vault.clock.now())))).rowcount
    if not count:
        raise NoSuchKey(f"no live key has the id or name {which!r}")
    return count


@dataclass(slots=True)
class Keyring:
    """Looks keys up, and remembers the answer (a refusal too) for `life` seconds: about 1 µs per request."""

    vault: Vault
    life: float = 10.0
    monotonic: Callable[[], float] = time.monotonic
    _cache: Cache[tuple[Principal | None, int | None]] = field(init=False)

    def __post_init__(self) -> None:
        self._cache = Cache(self.life, 20_000, self.monotonic)

    async def principal(self, key: str) -> Principal | None:
        """Who holds this key; None when it is unknown, revoked or expired."""
        if not key.startswith(PREFIX) or len(key) > 100:
            return None
        self._cache.tick()
        hashed = digest(key)
        found = self._cache.get(hashed)
        if found is None:
            found = await self._stored(api_keys.c.hash == hashed)
            if self.life > 0:
                self._cache.put(hashed, found)
        return self._live(found)

    async def holder(self, key_id: str) -> Principal | None:
        """Who holds the key with this public handle; None when it was revoked or has expired. For sessions."""
        self._cache.tick()
        found = self._cache.get(key_id)
        if found is None:
            found = await self._stored(api_keys.c.id == key_id)
            if self.life > 0:
                self._cache.put(key_id, found)
        return self._live(found)

    def _live(self, found: tuple[Principal | None, int | None]) -> Principal | None:
        principal, expires_us = found
        if expires_us is not None and microseconds(self.vault.clock.now()) >= expires_us:
            return None
        return principal

    async def _stored(self, which: ColumnElement[bool]) -> tuple[Principal | None, int | None]:
        async with glancing(self.vault.engine) as connection:
            row = (await connection.execute(select(api_keys).where(which))).one_or_none()
        if row is None or row.revoked_us is not None:
            return None, None
        return Principal(row.name, frozenset(orjson.loads(row.scopes)), row.source, row.id), row.expires_us


@asynccontextmanager
async def temporary(vault: Vault, name: str, scopes: Sequence[str], seconds: float = 60) -> AsyncIterator[str]:
    """A key for the length of a block, of which nothing remains: how a command on this machine talks to its own services."""
    key = await create(vault, name, scopes, expires=vault.clock.now() + timedelta(seconds=seconds))
    try:
        yield key
    finally:
        async with writing(vault.engine) as connection:
            await connection.execute(delete(api_keys).where(api_keys.c.hash == digest(key)))
