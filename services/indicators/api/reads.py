"""What every route reads from: the live tables, the clock, the vault that opens words, the calendars."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date
from functools import lru_cache

from fastapi import Request
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from libs.events.clock import Clock
from libs.events.engines import reading
from libs.events.vault import Vault
from services.indicators.settings import IndicatorsSettings
from services.indicators.tables import Facts
from services.indicators.views.scope import live

OPENS_WORDS = "indicators:admin"
"""Numbers need `indicators:read`; people's own words need this scope, and are opened only for the answer."""


@lru_cache(maxsize=256)
def holidays_of(country: str, first: int, last: int) -> frozenset[date]:
    """Public holidays of a country over some years; none for a country that is not known."""
    import holidays  # half a second, and only closings need it

    try:
        return frozenset(holidays.country_holidays(country.upper(), years=range(first, last + 1)))
    except NotImplementedError:
        return frozenset()


class Reads:
    """One per process, on `app.state.reads`."""

    def __init__(self, engine: AsyncEngine, clock: Clock, vault: Vault, settings: IndicatorsSettings) -> None:
        self.engine, self.clock, self.vault, self.settings = engine, clock, vault, settings

    @asynccontextmanager
    async def open(self) -> AsyncIterator[tuple[AsyncConnection, Facts]]:
        """One snapshot over the live tables."""
        async with reading(self.engine) as connection:
            yield connection, await live(connection)


def reads(request: Request) -> Reads:
    """Dependency."""
    found: Reads = request.app.state.reads
    return found
