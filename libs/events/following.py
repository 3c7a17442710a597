"""Consuming for whichever slot of a projection is live."""

import asyncio
import logging
from collections.abc import Callable

from libs.events.consumer import Consumer, ConsumerSpec
from libs.events.pace import Pace
from libs.events.rebuild import Progress, Rebuild, Rebuilt

logger = logging.getLogger("lazo.runtime")

# A rebuild may be run by another process; until this one looks, it goes on filling the retired slot, which harms nobody.
LOOK_SECONDS = 1.0


class Following:
    """The consumer of a projection's live slot, exchanged when another slot becomes live."""

    def __init__(self, rebuild: Rebuild, make: Callable[[ConsumerSpec], Consumer]) -> None:
        self.rebuild_ = rebuild
        self._make = make
        self.slot = ""
        self.consumer: Consumer | None = None
        self._task: asyncio.Task[None] | None = None
        self._stopping = False
        self._flipped = asyncio.Event()
        self._one_at_a_time = asyncio.Lock()

    async def begin(self) -> None:
        """Learn which slot is live and make its consumer."""
        self.slot = await self.rebuild_.live()
        self.consumer = self._make(self.rebuild_.projection.spec(self.slot))

    async def run(self) -> None:
        """Consume until `finish()`; a failure of the loop itself is raised."""
        if self.consumer is None:
            await self.begin()
        renewing = asyncio.create_task(self._renew(), name=f"renewing {self.rebuild_.projection.name}")
        try:
            await self._consume()
        finally:
            renewing.cancel()  # what is built so far is gone on with at the next start
            await asyncio.wait([renewing])

    async def _renew(self) -> None:
        """Where the code is newer than the live slot, build it again beside it and go over: nobody has to think of it."""
        name = self.rebuild_.projection.name
        pace = Pace(self.rebuild_.settings)
        while not self._stopping:
            try:
                if (version := await self.rebuild_.outdated()) is None:
                    return
                logger.info("%s is of version %d, its code is newer: it is built again", name, version)
                await self.rebuild()
            except Exception as error:  # noqa: BLE001 - the log or the store is away, or another process does it: tried again
                logger.warning("building %s again waits: %s: %s", name, type(error).__name__, error)
                await pace.back_off(error)

    async def _consume(self) -> None:
        while not self._stopping:
            assert self.consumer is not None
            self._task = asyncio.create_task(self.consumer.run(), name=f"consumer {self.consumer.spec.group}")
            try:
                await self._until_changed(self._task)
            finally:
                if not self._task.done():
                    self.consumer.finish()
                    try:
                        await asyncio.shield(self._task)
                    except asyncio.CancelledError:
                        self._task.cancel()
                        await asyncio.wait([self._task])
                        raise
            if self._task.done():
                self._task.result()
            if not self._stopping:
                await self._go_over()

    async def _go_over(self) -> None:
        """To the slot that is live now. The store may be away just then; what was begun must not end with that."""
        assert self.consumer is not None
        while not self._stopping:
            try:
                await self.begin()
            except Exception as error:  # noqa: BLE001 - followed by a pause and another try
                logger.warning("cannot see which slot is live: %s: %s", type(error).__name__, error)
                await self.consumer.pace.back_off(error)
            else:
                logger.info("%s is served from slot %s now", self.rebuild_.projection.name, self.slot)
                return

    async def _until_changed(self, task: "asyncio.Task[None]") -> None:
        while not self._stopping and not task.done():
            self._flipped.clear()
            flipped = asyncio.create_task(self._flipped.wait())
            await asyncio.wait([task, flipped], timeout=LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            flipped.cancel()
            try:
                if await self.rebuild_.live() != self.slot:
                    return
            except Exception as error:  # noqa: BLE001 - the consumer meets the same and reports it
                logger.debug("cannot see which slot is live: %s", error)

    def finish(self) -> None:
        """Let the batch in hand finish, then end `run()`."""
        self._stopping = True
        self._flipped.set()
        if self.consumer is not None:
            self.consumer.finish()

    async def rebuild(self, *, progress: Progress | None = None, accept_difference: bool = False) -> Rebuilt:
        """Build the other slot beside this one and go over to it. Raises Differs."""
        async with self._one_at_a_time:
            outcome = await self.rebuild_.run(progress=progress, accept_difference=accept_difference)
        self._flipped.set()
        return outcome
