"""Intake's quarantine: authentic deliveries that could not be read. The raw bytes stay, sealed under a key of their own."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from libs.events.store import Store
from libs.events.vault import Unopenable, Vault
from libs.service.words import Words
from services.intake.domain.faults import Fault
from services.intake.tables import unread as table


class UnreadFull(Exception):
    """As many as may be kept are kept; somebody must look at them first."""

    def __init__(self, count: int) -> None:
        self.words = Words(f"{count} deliveries wait in quarantine", f"{count} entregas esperan en cuarentena")
        super().__init__(self.words)


@dataclass(frozen=True, slots=True)
class Unread:
    """One delivery that waits, without its body."""

    number: int
    id: str
    source_id: str
    adapter: str
    delivery_id: str
    received_at: datetime
    headers: Mapping[str, str]
    faults: tuple[Fault, ...]
    attempts: int


class Unreads:
    """Keeps, lists, opens and forgets deliveries that could not be read."""

    def __init__(self, store: Store, vault: Vault, limit: int) -> None:
        self._store, self._vault, self._limit = store, vault, limit

    async def keep(
        self,
        source_id: str,
        adapter: str,
        delivery_id: str,
        headers: Mapping[str, str],
        body: bytes,
        faults: Sequence[Fault],
    ) -> str:
        """Keep a delivery; the id of the one kept before when its sender repeats it. Raises UnreadFull."""
        same = select(table.c.id).where(table.c.source_id == source_id, table.c.delivery_id == delivery_id)
        async with self._store.reading() as connection:
            known = (await connection.execute(same)).scalar()
            count = (await connection.execute(select(func.count()).select_from(table))).scalar_one()
        if known is not None:
            return str(known)
        if count >= self._limit:
            raise UnreadFull(count)
        identity = f"unr_{uuid.uuid4()}"
        row = {
            "id": identity,
            "source_id": source_id,
            "adapter": adapter,
            "delivery_id": delivery_id,
            "headers": orjson.dumps(dict(headers)).decode(),
            "sealed": await self._vault.seal_bytes(_purpose(identity), body),
            "problem": _dump(faults),
            "attempts": 1,
        }
        try:
            async with self._store.unit() as unit:
                await unit.connection.execute(insert(table), [{**row, "received_at": unit.now}])
        except IntegrityError:
            await self._vault.forget(_purpose(identity))
            async with self._store.reading() as connection:
                return str((await connection.execute(same)).scalar_one())
        return identity

    async def list(self, after: int, limit: int, source_id: str | None = None) -> Sequence[Unread]:
        """Those after a number, oldest first."""
        statement = select(table).where(table.c.number > after).order_by(table.c.number).limit(limit)
        if source_id is not None:
            statement = statement.where(table.c.source_id == source_id)
        async with self._store.reading() as connection:
            rows = (await connection.execute(statement)).all()
        return [_unread(row) for row in rows]

    async def get(self, identity: str) -> tuple[Unread, bytes] | None:
        """One with its body."""
        async with self._store.reading() as connection:
            row = (await connection.execute(select(table).where(table.c.id == identity))).first()
        if row is None:
            return None
        try:
            return _unread(row), await self._vault.open_bytes(_purpose(identity), bytes(row.sealed))
        except Unopenable:
            return None  # its key went first, its row goes next: it is being deleted

    async def failed(self, identity: str, faults: Sequence[Fault]) -> None:
        """Note that it still could not be read."""
        async with self._store.unit() as unit:
            await unit.connection.execute(
                update(table).where(table.c.id == identity).values(attempts=table.c.attempts + 1, problem=_dump(faults))
            )

    async def drop(self, identity: str) -> bool:
        """Destroy it, key first. False when there is none."""
        await self._vault.forget(_purpose(identity))
        async with self._store.unit() as unit:
            return bool((await unit.connection.execute(delete(table).where(table.c.id == identity))).rowcount)

    async def count(self) -> int:
        """How many wait."""
        async with self._store.reading() as connection:
            return int((await connection.execute(select(func.count()).select_from(table))).scalar_one())


def _purpose(identity: str) -> str:
    return f"unread/{identity}"


def _dump(faults: Sequence[Fault]) -> str:
    return orjson.dumps([(fault.pointer, fault.code, dict(fault.values)) for fault in faults[:50]]).decode()


def _unread(row: Any) -> Unread:
    return Unread(
        number=row.number,
        id=row.id,
        source_id=row.source_id,
        adapter=row.adapter,
        delivery_id=row.delivery_id,
        received_at=row.received_at,
        headers=orjson.loads(row.headers),
        faults=tuple(Fault(*entry) for entry in orjson.loads(row.problem)),
        attempts=row.attempts,
    )
