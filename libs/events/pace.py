"""How a loop of the machinery is doing: its pauses after failures, its rests between batches, and whether it moves."""

import asyncio
from time import monotonic
from typing import TYPE_CHECKING

from libs.events.settings import MachinerySettings

if TYPE_CHECKING:
    from libs.events.store import Store


class Pace:
    """Pauses that double from failure to failure, and what health tells about the loop."""

    def __init__(self, settings: MachinerySettings) -> None:
        self._settings = settings
        self._pause = 0.0
        self._rest, self._rested = 0.0, float("-inf")  # the last one: how long, and when it ended
        self.reason: str | None = None  # why it is not working at the moment
        self.stopped = False  # by the breaker: it will not try again by itself
        self.last_move = monotonic()
        self._retry = asyncio.Event()

    def well(self) -> None:
        """A round went through, if only to find nothing to do."""
        self._pause, self.reason = 0.0, None

    def moved(self) -> None:
        """Something was done."""
        self.well()
        self.last_move = monotonic()

    async def back_off(self, error: BaseException, *, least: float = 0.0) -> None:
        """Wait longer than last time, up to the bound, or until `retry()`."""
        self.reason = f"{type(error).__name__}: {error}"
        self._pause = min(max(self._pause * 2, self._settings.backoff_first), self._settings.backoff_most)
        self._retry.clear()
        try:
            async with asyncio.timeout(max(self._pause, least)):
                await self._retry.wait()
        except TimeoutError:
            pass

    async def rest(self, done: int, store: "Store", patience: float = 1.0) -> None:
        """After a small batch, let more events gather before the next one.

        A transaction of the log and one of the database cost the same for one event as for fifty (a broker, a server and
        this process together 15 ms of processor time), and at 200 events a second eight loops of four services begin one as
        often as they may. A single event waits for nothing: the rest comes after it. While events keep coming, each rest is
        longer than the one before, up to `rest_most`: who is third in a chain of four sees them a fifth of a second after
        they came in, at a third of the cost. With `patience` all of it so many times longer. Nothing rests where the
        database is a file: there the process is alone and commits are cheap.
        """
        settings = self._settings
        if done >= settings.rest_below or store.engine.dialect.name == "sqlite":
            return
        keeps_coming = monotonic() - self._rested < settings.rest_within
        self._rest = min(self._rest * 1.5, settings.rest_most) if keeps_coming else settings.rest
        await asyncio.sleep(self._rest * patience)
        self._rested = monotonic()

    def retry(self) -> None:
        """End the pause now."""
        self._retry.set()

    @property
    def idle_seconds(self) -> float:
        """Real seconds since something was done."""
        return monotonic() - self.last_move
