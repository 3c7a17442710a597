"""Tells the next level of a finding that has grown too large, too harmful or too old (R34)."""

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import case, func, select

from libs.events.envelope import Event
from libs.events.store import Cause, Unit
from libs.events.timers import Timer
from services.classification import desk, tables
from services.classification.desk import ESCALATE
from services.classification.domain.escalation import Level, due
from services.classification.domain.finding_orders import Escalate
from services.classification.waiting import Waiting

EVERY = timedelta(days=1)


class Escalating:
    def __init__(self, levels: Sequence[Level], waiting: Waiting) -> None:
        self._levels, self._waiting = levels, waiting

    async def due(self, unit: Unit, timers: Sequence[Timer]) -> None:
        """Timer: once a day, of every open finding."""
        for timer in timers:
            if await self.look(unit, timer.key, timer):
                unit.schedule(ESCALATE, timer.key, unit.now + EVERY, {}, cause=timer)

    async def look(self, unit: Unit, finding_id: str, cause: Event | Cause) -> bool:
        """Escalate what has come to a level's conditions; whether the finding is still open."""
        state = await desk.load(unit, finding_id)
        if state is None or not state.open:
            return False
        links, p = tables.links, tables.particulars
        severe = case((p.c.severity == "high", p.c.customer_id))
        query = (
            select(func.count(p.c.customer_id.distinct()), func.count(severe.distinct()))
            .select_from(links.join(p, p.c.interaction_id == links.c.interaction_id))
            .where(links.c.finding_id == finding_id)
        )
        customers, harmed = (await unit.connection.execute(query)).one()
        for level, because in due(state, self._levels, customers, harmed, unit.now):
            await desk.carry_out(unit, finding_id, Escalate(level, because), self._waiting, cause=cause)
        return True
