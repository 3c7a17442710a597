"""Erasing a person so that nothing can stop half-way: the wish is durable first, then the key goes, then everybody is told.

A crash after the first step leaves a timer behind; the timer does the rest at the next start. Doing any step again changes
nothing: the vault deletes what is there, the events have ids of their own, the row is marked once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from libs.events.catalogue.interactions import CustomerErased
from libs.events.ids import natural_id
from libs.events.store import Draft, Store, Unit
from libs.events.timers import Timer
from libs.events.vault import Vault
from services.intake import cases
from services.intake.tables import erasures

TIMER = "erasure"
# The request itself finishes within milliseconds; the timer is for when it could not.
AFTER = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Erased:
    customer_id: str
    requested_at: datetime
    erased_at: datetime


class Erasure:
    """Destroys keys and tells everybody, once."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    async def erase(self, store: Store, customer_id: str, reason: str | None = None) -> Erased | None:
        """Erase a person by pseudonym. None when there never was such a person. Done twice, the first answer stands."""
        known = await done(store, customer_id)
        if known is not None:
            return known
        if not await self._exists(customer_id):
            return None
        async with store.unit() as unit:
            build = sqlite_insert if unit.connection.dialect.name == "sqlite" else postgres_insert
            row = {"customer_id": customer_id, "requested_at": unit.now, "done_at": None, "reason": reason}
            await unit.connection.execute(build(erasures).on_conflict_do_nothing(), [row])
            unit.schedule(TIMER, customer_id, unit.now + AFTER, {})
        async with store.reading() as connection:
            people = [customer_id, *await cases.holders_of(connection, customer_id)]
        await self._destroy(people)
        async with store.unit() as unit:
            await self._tell(unit, customer_id, people)
            unit.cancel(TIMER, customer_id)
        return await done(store, customer_id)

    async def finish(self, unit: Unit, timers: Sequence[Timer]) -> None:
        """What the timer does: everything after the wish."""
        for timer in timers:
            people = [timer.key, *await cases.holders_of(unit.connection, timer.key)]
            await self._destroy(people)
            await self._tell(unit, timer.key, people)

    async def _exists(self, customer_id: str) -> bool:
        if await self._vault.erased_at(customer_id) is not None:
            return True
        return bool(await self._vault.keys([customer_id]))

    async def _destroy(self, people: Sequence[str]) -> None:
        for person in people:
            await self._vault.erase(person)

    async def _tell(self, unit: Unit, customer_id: str, people: Sequence[str]) -> None:
        row = (await unit.connection.execute(select(erasures).where(erasures.c.customer_id == customer_id))).one()
        for person in people:
            unit.emit(
                Draft(
                    stream=f"customer/{person}",
                    data=CustomerErased(customer_id=person, erased_at=unit.now, reason=row.reason),
                    key=person,
                    time=unit.now,
                    id=natural_id("customer-erased", person),
                )
            )
        await unit.connection.execute(
            update(erasures)
            .where(erasures.c.customer_id == customer_id, erasures.c.done_at.is_(None))
            .values(done_at=unit.now)
        )


async def done(store: Store, customer_id: str) -> Erased | None:
    """When a person was erased; None while they are not."""
    async with store.reading() as connection:
        row = (await connection.execute(select(erasures).where(erasures.c.customer_id == customer_id))).first()
    if row is None or row.done_at is None:
        return None
    return Erased(customer_id, row.requested_at, row.done_at)
