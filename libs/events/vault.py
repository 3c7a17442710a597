"""The vault: who a person is (as keyed hashes) and the key that opens what was said by them.

A database of its own. Each person has one AES-256 data key, wrapped by the master key; identifiers (e-mail, phone,
document, a source's own customer id) are kept as keyed BLAKE2b hashes only. To erase a person is to delete the key and the
hashes: what was sealed stays where it is and can never be opened again.
"""

import hashlib
import os
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import Table, delete, insert, select, text
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from libs.events import bulk
from libs.events.clock import Clock
from libs.events.engines import glancing, make_engine, reading, truncate_wal, writing
from libs.events.identifiers import Identifier, identifiers_of
from libs.events.offload import in_turns
from libs.events.vault_parts import (
    Cache,
    Unopenable,
    Wrapper,
    cipher_of,
    forget_ciphers,
    instant,
    microseconds,
)
from libs.events.vault_tables import SCHEMA_VERSION, erased, identifiers, meta, metadata, persons, system_keys

__all__ = ["Cache", "NewerVault", "Unopenable", "Vault", "WrongMasterKey", "cipher_of", "instant", "microseconds"]

CHUNK = 2_000  # look-up values per statement: far below SQLite's 32,766 and PostgreSQL's 32,767 parameters
CHECK = b"lazo vault"
OWNERS = "SELECT hash, person_id, wrapped_key FROM identifiers JOIN persons ON persons.id = person_id WHERE hash"
KEYS = "SELECT id, wrapped_key FROM persons WHERE id"


class WrongMasterKey(RuntimeError):
    """The master key does not open this vault."""


class NewerVault(RuntimeError):
    """The vault was written by a newer version of the program."""


class Vault:
    """Open it with `await Vault.open(…)`; safe for concurrent use by the tasks of one event loop."""

    def __init__(
        self,
        engine: AsyncEngine,
        master_key: bytes,
        clock: Clock,
        *,
        cache_life: float = 30.0,
        cache_size: int = 200_000,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.engine, self.clock, self.wrapper = engine, clock, Wrapper(master_key)
        self._persons: Cache[str] = Cache(cache_life, cache_size, monotonic)  # identifier hash -> person id
        self._keys: Cache[bytes] = Cache(cache_life, cache_size, monotonic)  # person id -> data key
        self._erasing = 0  # bumped by every erasure: what was read before it is not cached after it
        self._system: dict[str, AESGCM] = {}
        self._hash_key = b""

    @classmethod
    async def open(cls, url: str, master_key: bytes, clock: Clock, **options: Any) -> "Vault":
        """Open, making the tables on the first start. `url`: a SQLite file's path or a PostgreSQL URL.

        `cache_life` (seconds) bounds how long another process may go on opening a person's texts after an erasure.
        Raises WrongMasterKey, NewerVault.
        """
        vault = cls(make_engine(url, service="vault"), master_key, clock, **options)
        try:
            await vault._prepare()
        except BaseException:
            await vault.close()
            raise
        return vault

    async def close(self) -> None:
        self._persons.drop()
        self._keys.drop()
        await self.engine.dispose()

    async def _prepare(self) -> None:
        async with writing(self.engine) as connection:
            if self.engine.dialect.name == "postgresql":
                await connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended('lazo-vault', 0))"))
                await connection.execute(text("CREATE SCHEMA IF NOT EXISTS vault"))
            await connection.run_sync(metadata.create_all)
            known = {row.name: bytes(row.value) for row in await connection.execute(select(meta))}
            if not known:
                check = self.wrapper.wrap("check", CHECK)
                version = str(SCHEMA_VERSION).encode()
                await connection.execute(
                    insert(meta), [{"name": "version", "value": version}, {"name": "check", "value": check}]
                )
            else:
                if int(known["version"]) > SCHEMA_VERSION:
                    raise NewerVault(
                        f"the vault has version {int(known['version'])}, this program knows {SCHEMA_VERSION}"
                    )
                try:
                    self.wrapper.unwrap("check", known["check"])
                except Unopenable:
                    raise WrongMasterKey("the master key is not the one this vault was made with") from None
        self._hash_key = await self.system_key("identifiers")

    # -- people ---------------------------------------------------------------------------------------------------------

    async def resolve(self, people: Sequence[Mapping[str, str]]) -> list[str]:
        """The person id (`cus_…`) behind each map of identifiers `{scheme: value}`, made when nobody has any of them yet.

        The scheme `id` is a source's own customer number: the map's entry `source` says whose. A person is found by `id` or
        `document` first, then by any other identifier, unless the map names an `id` or `document` and that person already
        has another one of the same kind (a family's one phone number does not make them one customer). New identifiers are
        added to the person found. Raises ValueError for a map without a usable identifier. About 5 µs per known person.
        """
        maps, owners, missing = self._remembered(people)
        if missing:
            owners.update(await self._owners(missing))
        # Once every identifier has an owner, the first one decides: strong ones stand first.
        return [owners[found[0].hash] for found in maps]

    def recall(self, people: Sequence[Mapping[str, str]]) -> list[str] | None:
        """What `resolve` would answer, where this process remembers everybody; None means: ask `resolve`."""
        maps, owners, missing = self._remembered(people)
        return None if missing else [owners[found[0].hash] for found in maps]

    def _remembered(
        self, people: Sequence[Mapping[str, str]]
    ) -> tuple[list[tuple[Identifier, ...]], dict[bytes, str], list[tuple[Identifier, ...]]]:
        self._persons.tick()
        maps = [identifiers_of(person, self._hash_key) for person in people]
        cached = self._persons.get
        owners: dict[bytes, str] = {}
        missing: list[tuple[Identifier, ...]] = []
        for found in maps:
            for identifier in found:
                owner = cached(identifier.hash)
                if owner is None:
                    missing.append(found)
                    break
                owners[identifier.hash] = owner
        return maps, owners, missing

    async def _owners(self, maps: list[tuple[Identifier, ...]]) -> dict[bytes, str]:
        generation = self._erasing
        keys: dict[str, bytes] = {}  # whoever asks for a person seals for them next: 64 requests would ask one by one
        async with glancing(self.engine) as connection:
            owners = await self._lookup(connection, maps, keys)
        if any(identifier.hash not in owners for found in maps for identifier in found):
            async with writing(self.engine) as connection:
                owners = await self._create(connection, maps, keys)
        if generation == self._erasing:
            for hashed, person_id in owners.items():
                self._persons.put(hashed, person_id)
            for person_id, key in keys.items():
                self._keys.put(person_id, key)
        return owners

    async def _lookup(
        self,
        connection: AsyncConnection,
        maps: Iterable[tuple[Identifier, ...]],
        keys: dict[str, bytes] | None = None,
    ) -> dict[bytes, str]:
        """Who has the identifiers; their data keys go into `keys`."""
        wanted = sorted({identifier.hash for found in maps for identifier in found})
        stored: dict[bytes, str] = {}
        for start in range(0, len(wanted), CHUNK):
            rows = await _among(connection, OWNERS, "bytea", wanted[start : start + CHUNK])
            async for hashed, person_id, wrapped in in_turns(rows, every=50):
                stored[bytes(hashed)] = person_id
                if keys is not None and person_id not in keys:
                    keys[person_id] = self.wrapper.unwrap(person_id, bytes(wrapped))
        return stored

    async def _kinds(self, connection: AsyncConnection, person_ids: Iterable[str]) -> dict[str, set[str]]:
        kinds: dict[str, set[str]] = {}
        wanted = sorted(set(person_ids))
        for start in range(0, len(wanted), CHUNK):
            statement = select(identifiers.c.person_id, identifiers.c.kind).where(
                identifiers.c.person_id.in_(wanted[start : start + CHUNK])
            )
            for person_id, kind in await connection.execute(statement):
                kinds.setdefault(person_id, set()).add(kind)
        return kinds

    async def _create(
        self, connection: AsyncConnection, maps: list[tuple[Identifier, ...]], keys: dict[str, bytes]
    ) -> dict[bytes, str]:
        """Find or make everybody, in one transaction; returns the owner of every identifier."""
        if self.engine.dialect.name == "postgresql":
            # Those who race for the same people queue here, in one order, so that neither the second maker of a person nor
            # a deadlock exists. 64 locks at most: a lock per person would exhaust the server's lock table (6,400).
            buckets = sorted({identifier.hash[0] & 63 for found in maps for identifier in found})
            await connection.exec_driver_sql(
                "SELECT pg_advisory_xact_lock(1818329711, bucket)"
                " FROM (SELECT bucket FROM unnest($1::int[]) AS bucket ORDER BY 1) AS buckets",
                (buckets,),
            )
        owners = await self._lookup(connection, maps, keys)
        kinds = await self._kinds(connection, owners.values())
        now = microseconds(self.clock.now())
        new_persons: list[dict[str, Any]] = []
        new_identifiers: list[dict[str, Any]] = []
        async for found in in_turns(maps):  # a new person takes two calls for randomness and a wrapped key: 30 µs
            person_id = self._choose(found, owners, kinds)
            if person_id is None:
                person_id = f"cus_{uuid.uuid4()}"
                key = keys[person_id] = os.urandom(32)
                wrapped = self.wrapper.wrap(person_id, key)
                new_persons.append({"id": person_id, "wrapped_key": wrapped, "created_us": now})
            known = kinds.setdefault(person_id, set())
            for identifier in found:
                if identifier.hash not in owners:
                    owners[identifier.hash] = person_id
                    known.add(identifier.kind)
                    new_identifiers.append({"hash": identifier.hash, "person_id": person_id, "kind": identifier.kind})
        if new_persons:
            await bulk.write(connection, persons, new_persons)
        if new_identifiers:
            await bulk.write(connection, identifiers, new_identifiers)
        return owners

    @staticmethod
    def _choose(
        found: tuple[Identifier, ...], stored: Mapping[bytes, str], kinds: Mapping[str, set[str]]
    ) -> str | None:
        strong_unknown = [i.kind for i in found if i.strong and i.hash not in stored]
        for identifier in found:  # strong ones first
            person_id = stored.get(identifier.hash)
            if person_id is None:
                continue
            if identifier.strong or not any(kind in kinds.get(person_id, ()) for kind in strong_unknown):
                return person_id
        return None

    async def find(self, people: Mapping[str, str]) -> str | None:
        """The person with these identifiers, if known; makes nobody."""
        found = identifiers_of(people, self._hash_key)
        async with reading(self.engine) as connection:
            stored = await self._lookup(connection, [found])
            kinds = await self._kinds(connection, stored.values())
        return self._choose(found, stored, kinds)

    async def keys(self, person_ids: Iterable[str]) -> dict[str, bytes]:
        """Data keys by person id. A person without one was erased (or never was)."""
        self._keys.tick()
        result: dict[str, bytes] = {}
        missing: list[str] = []
        for person_id in set(person_ids):
            key = self._keys.get(person_id)
            if key is None:
                missing.append(person_id)
            else:
                result[person_id] = key
        if not missing:
            return result
        generation = self._erasing
        missing.sort()
        async with glancing(self.engine) as connection:
            for start in range(0, len(missing), CHUNK):
                for person_id, wrapped in await _among(connection, KEYS, "text", missing[start : start + CHUNK]):
                    result[person_id] = self.wrapper.unwrap(person_id, bytes(wrapped))
        if generation == self._erasing:
            for person_id in missing:
                if person_id in result:
                    self._keys.put(person_id, result[person_id])
        return result

    async def erase(self, person_id: str) -> bool:
        """Destroy a person's key and identifiers, for good. False when there is no such person (erased before, or never).

        On return this process can no longer open anything of theirs, and on SQLite neither can the file: pages are
        overwritten and the write-ahead log emptied. Other processes follow within the cache life.
        """
        async with writing(self.engine) as connection:
            await connection.execute(delete(identifiers).where(identifiers.c.person_id == person_id))
            gone = (await connection.execute(delete(persons).where(persons.c.id == person_id))).rowcount
            if gone:
                row = {"person_id": person_id, "erased_us": microseconds(self.clock.now())}
                await connection.execute(self._insert_or_skip(erased), [row])
        self._erasing += 1
        self._persons.drop(lambda _, owner: owner != person_id)
        self._keys.drop(lambda owner, _: owner != person_id)
        forget_ciphers()
        await truncate_wal(self.engine)
        return bool(gone)

    async def erased_at(self, person_id: str) -> datetime | None:
        """When a person was erased; None when they were not."""
        async with reading(self.engine) as connection:
            value = (
                await connection.execute(select(erased.c.erased_us).where(erased.c.person_id == person_id))
            ).scalar()
        return None if value is None else instant(value)

    def _insert_or_skip(self, table: Table) -> Any:
        build = postgres_insert if self.engine.dialect.name == "postgresql" else sqlite_insert
        return build(table).on_conflict_do_nothing()

    # -- what belongs to no person --------------------------------------------------------------------------------------

    def hash(self, *parts: str) -> bytes:
        """A keyed digest of 32 bytes: fingerprints of content and look-ups of tokens that must not be guessed or reversed."""
        digest = hashlib.blake2b(key=self._hash_key, digest_size=32, person=b"lazo parts")
        for part in parts:
            encoded = part.encode()
            digest.update(len(encoded).to_bytes(8, "big"))
            digest.update(encoded)
        return digest.digest()

    async def system_key(self, name: str, *, create: bool = True) -> bytes:
        """A key of 32 bytes under a name, made on first use; raises Unopenable when it is not there and not to be made."""
        async with reading(self.engine) as connection:
            wrapped = (
                await connection.execute(select(system_keys.c.wrapped_key).where(system_keys.c.name == name))
            ).scalar()
        if wrapped is None:
            if not create:
                raise Unopenable(f"the key of {name.partition('/')[0]} is gone")
            row = {
                "name": name,
                "wrapped_key": self.wrapper.wrap(f"system/{name}", os.urandom(32)),
                "created_us": microseconds(self.clock.now()),
            }
            async with writing(self.engine) as connection:
                await connection.execute(self._insert_or_skip(system_keys), [row])
                wrapped = (
                    await connection.execute(select(system_keys.c.wrapped_key).where(system_keys.c.name == name))
                ).scalar_one()
        return self.wrapper.unwrap(f"system/{name}", bytes(wrapped))

    async def seal_bytes(self, purpose: str, value: bytes) -> bytes:
        """Seal bytes that have no person yet (a body that could not be read) under the system key named `purpose`."""
        cipher = await self._cipher(purpose, create=True)
        nonce = os.urandom(12)
        return nonce + cipher.encrypt(nonce, value, purpose.encode())

    async def open_bytes(self, purpose: str, sealed: bytes) -> bytes:
        """The inverse; raises Unopenable when damaged, or after `forget(purpose)`."""
        cipher = await self._cipher(purpose, create=False)
        try:
            return cipher.decrypt(sealed[:12], sealed[12:], purpose.encode())
        except InvalidTag:
            raise Unopenable(f"sealed bytes of {purpose.partition('/')[0]} are damaged") from None

    async def forget(self, purpose: str) -> bool:
        """Destroy the key named `purpose`: what it sealed can never be opened again."""
        async with writing(self.engine) as connection:
            gone = (
                await connection.execute(delete(system_keys).where(system_keys.c.name == f"seal/{purpose}"))
            ).rowcount
        self._system.pop(purpose, None)
        await truncate_wal(self.engine)
        return bool(gone)

    async def _cipher(self, purpose: str, *, create: bool) -> AESGCM:
        cipher = self._system.get(purpose)
        if cipher is None:
            key = await self.system_key(f"seal/{purpose}", create=create)
            if len(self._system) > 1000:
                self._system.clear()
            # A key per item would never be read twice; only keys for a whole purpose are worth keeping.
            cipher = AESGCM(key)
            if "/" not in purpose:
                self._system[purpose] = cipher
        return cipher


async def _among(connection: AsyncConnection, query: str, kind: str, values: Sequence[Any]) -> Any:
    """The rows whose last named column is one of the values. One text whatever their number on PostgreSQL, so that the
    server plans it once: an IN list is another statement, prepared again, for every length."""
    if connection.dialect.name == "postgresql":
        return await connection.exec_driver_sql(f"{query} = ANY($1::{kind}[])", (list(values),))
    marks = ", ".join("?" * len(values))
    return await connection.exec_driver_sql(f"{query} IN ({marks})", tuple(values))
