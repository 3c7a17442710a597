"""Intake's part of `lazo verify`: its tables against its own events."""

from libs.events.engines import reading
from libs.events.row_checks import stream_rows
from libs.events.verification import Break
from libs.service.environment import Environment
from services.intake.tables import sources


async def verify(environment: Environment) -> list[Break]:
    """What does not hold; an empty list when everything does."""
    async with reading(environment.engine("intake")) as connection:
        return await stream_rows(connection, "intake", sources, sources.c.id, "source/")
