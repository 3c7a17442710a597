"""Wakes those who wait for something to send."""

import asyncio

from libs.events.store import Committed

GLANCE = 1.0
"""Seconds until one looks again unasked: another process may have written what one waits for."""


class Hub:
    """Told of each commit of this process; a waiter wakes at the next one, or after a glance's time."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()

    def committed(self, what: Committed) -> None:
        if what.appended:
            changed, self._changed = self._changed, asyncio.Event()
            changed.set()

    async def wait(self, seconds: float) -> None:
        """Until something was written here, at most `seconds` and at most a glance."""
        changed = self._changed
        try:
            async with asyncio.timeout(min(seconds, GLANCE)):
                await changed.wait()
        except TimeoutError:
            return
