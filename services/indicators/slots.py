"""Which of the two slots is live."""

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from libs.events.clock import Clock
from libs.events.engines import writing
from services.indicators.tables import PROJECTION, SLOTS, VERSION, machine


def group_of(slot: str) -> str:
    """The consumer group that fills a slot."""
    return f"indicators.{PROJECTION}.{slot}"


async def live_slot(engine: AsyncEngine, clock: Clock) -> str:
    """The live slot; on a new database the first one becomes it."""
    p = machine.projections
    async with writing(engine) as connection:
        found: str | None = await connection.scalar(select(p.c.slot).where(p.c.name == PROJECTION, p.c.state == "live"))
        if found is None:
            found = SLOTS[0]
            row = {"name": PROJECTION, "slot": found, "version": VERSION, "state": "live", "changed_at": clock.now()}
            await connection.execute(p.insert().values(**row))
    return found
