"""A service: its HTTP application, its machinery, and what else has to be started and stopped with them."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from fastapi import FastAPI

from libs.events.errors import is_transient
from libs.events.runtime import Runtime
from libs.service.metrics import ServiceMetrics

if TYPE_CHECKING:
    from libs.service.environment import Environment


class Part(Protocol):
    """Something of a service that runs beside its machinery: a pool of workers, a long-poll hub."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...


@dataclass
class Service:
    """What a service's `build(environment)` returns."""

    name: str
    app: FastAPI
    runtime: Runtime
    parts: Sequence[Part] = ()
    _started: list[Part] = field(default_factory=list, init=False)
    _stopping: bool = field(default=False, init=False)
    _running: bool = field(default=False, init=False)

    async def start(self) -> None:
        """Machinery first, then the other parts, then ready."""
        self._stopping = False
        self._match_once()
        self.app.state.stopping.clear()
        self.runtime.observe = self.app.state.metrics.handled
        await self.runtime.start()
        self._running = True
        for part in self.parts:
            await part.start()
            self._started.append(part)
        self.app.state.metrics.start()
        self.app.state.service = self

    def _match_once(self) -> None:
        """Have every route made ready for its first request: FastAPI does so where a request comes by, for all routes of a router
        at once, which held the event loop of the classification for 13 to 19 ms."""
        nowhere = {"type": "http", "method": "GET", "path": "/", "root_path": "", "headers": [], "app": self.app}
        for route in self.app.router.routes:
            route.matches(nowhere)

    def not_ready(self) -> None:
        """First step of a stop: tell the load balancer; requests in hand go on."""
        self._stopping = True
        self.app.state.stopping.set()

    async def measure(self) -> None:
        """Bring the gauges up to date, as far as database and log can be asked."""
        metrics: ServiceMetrics = self.app.state.metrics
        healthy, _ = await self.ready()
        metrics.ready.set(1 if healthy else 0)
        try:
            metrics.take(await self.runtime.status())
        except Exception as error:
            if not is_transient(error):
                raise
            metrics.unknown()  # a number from before would look like an answer

    async def ready(self) -> tuple[bool, str]:
        """Whether to send requests here, and why not."""
        environment: Environment = self.app.state.environment
        if self._stopping:
            return False, "stopping"
        if not environment.migrated(self.name):
            return False, "the database is not migrated"
        return await self.runtime.healthy()

    async def stop(self, deadline: float = 20.0) -> None:
        """Parts in reverse, then the machinery: batch in hand, commit, bounded flush of the relay. `deadline` in seconds."""
        self.not_ready()
        try:
            while self._started:
                await self._started.pop().stop()
            await self.app.state.metrics.stop()
        finally:
            if self._running:
                self._running = False
                await self.runtime.stop(deadline)


Builder = Callable[["Environment"], Awaitable[Service]]
