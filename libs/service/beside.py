"""Commands beside a running Lazo: one data directory is enough to find it and to be let in."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from libs.events.clock import SystemClock
from libs.service import keys
from libs.service.environment import open_vault
from libs.service.lock import serving
from libs.service.settings import Settings


@asynccontextmanager
async def running(
    settings: Settings, name: str, scopes: Sequence[str], *, seconds: float = 3600
) -> AsyncIterator[tuple[str, str] | None]:
    """Address of the process that serves the data directory, and a key of these scopes for as long as the context lasts (and
    never longer than `seconds`); None when no process does, or the engines are not embedded.

    Whoever may read the directory may read its vault, so the key opens nothing that was closed to them.
    """
    address = serving(settings.data) if settings.needs_directory else None
    if address is None:
        yield None
        return
    vault = await open_vault(settings, SystemClock())
    try:
        async with keys.temporary(vault, name, list(scopes), seconds=seconds) as key:
            yield address, key
    finally:
        await vault.close()
