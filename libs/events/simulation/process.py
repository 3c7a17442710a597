"""One simulated process of a service: the real runtime, and an end without warning."""

import asyncio
from collections.abc import Coroutine
from contextvars import copy_context
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import event

from libs.events.engines import make_engine
from libs.events.runtime import Runtime
from libs.events.settings import MachinerySettings
from libs.events.simulation import model
from libs.events.simulation.broker import SteppedLog
from libs.events.simulation.disk import SteppedConnection
from libs.events.simulation.stepping import Crash, current
from libs.events.vault import Vault

if TYPE_CHECKING:
    from libs.events.simulation.simulation import Simulation

# Small batches: more of them, and more places to end between.
SETTINGS = MachinerySettings(
    relay_batch=3,
    relay_poll=0.5,
    group_most=3,
    timers_batch=2,
    publish_deadline=10.0,
    hint_every=0.2,
    careful_pause=0.0,  # whatever ends a process here does so at a step, however long it waited before
)


class NoVault:
    """The simulated facts hold nothing personal, so nobody has a reason to ask."""

    async def keys(self, person_ids: object) -> dict[str, bytes]:
        raise AssertionError(f"asked for the keys of {person_ids}")


class MachineClock:
    """The clock of a service's machine: the loop's time, off by what the schedule says."""

    def __init__(self, simulation: "Simulation", service: str) -> None:
        self._simulation, self._service = simulation, service

    def now(self) -> datetime:
        seconds = self._simulation.loop.time() + self._simulation.skew[self._service]
        return model.START + timedelta(seconds=seconds)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Process:
    """Objects that are dropped when it ends; what it wrote to disk stays."""

    def __init__(self, simulation: "Simulation", service: str, number: int) -> None:
        self.simulation, self.service, self.number = simulation, service, number
        self.variant = simulation.variant
        self.dead = False
        self.tasks: set[asyncio.Task[Any]] = set()
        self.connections: list[SteppedConnection] = []
        self.in_hand = False  # a batch of the log is being handled
        self.asleep = 0  # so many decisions long it does nothing
        self.crash_at: str | None = None
        self.faults: dict[str, list[str]] = {}
        self.runtime: Runtime | None = None
        self.log: SteppedLog | None = None
        self._coins = 0

    def __str__(self) -> str:
        return f"{self.service}#{self.number}"

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something as a task of this process."""
        context = copy_context()
        context.run(current.set, self)
        self.simulation.loop.create_task(work, context=context)

    async def begin(self) -> None:
        """Start the service."""
        simulation = self.simulation
        disk = simulation.disks[self.service]
        engine = make_engine(disk.path, service=self.service)

        @event.listens_for(engine.sync_engine, "do_connect")
        def connect(dialect: Any, record: Any, arguments: Any, options: dict[str, Any]) -> None:
            options["async_creator_fn"] = lambda database, **rest: SteppedConnection(self, disk, database, rest)

        self.log = log = SteppedLog(self, simulation.broker)
        try:
            await log.start()
            handlers = simulation.handlers
            self.runtime = runtime = Runtime(
                service=self.service,
                engine=engine,
                log=log,
                vault=cast("Vault", NoVault()),
                clock=MachineClock(simulation, self.service),
                consumers=handlers.consumers() if self.service == "feedback" else (),
                timers={model.REMIND: handlers.remind} if self.service == "feedback" else {},
                settings=SETTINGS,
                projections=[handlers.projection()] if self.service == "indicators" else (),
                discipline=self.variant.discipline(),
            )
            if runtime.relay is not None:
                runtime.relay = self.variant.relay(runtime.store, log, runtime.publishes, SETTINGS)
            await runtime.start()
        except Exception as error:  # noqa: BLE001 - an operator's restart is what follows
            simulation.note(f"{self} could not start: {error}")
            self.end()

    async def gate(self, label: str) -> None:
        await self.simulation.loop.pass_gate(self, label)

    def fault(self, kind: str) -> str | None:
        """What is to go wrong with the next commit or publish."""
        waiting = self.faults.get(kind)
        if not waiting:
            return None
        self.simulation.note(f"{self}: {kind} {waiting[-1]}")
        return waiting.pop()

    def coin(self) -> bool:
        """Now this, now that."""
        self._coins += 1
        return self._coins % 2 == 0

    def pass_point(self, name: str) -> None:
        """A crash point of `libs.events.faults`."""
        if name in {"consumer.polled", "quarantine.attempted"}:
            self.in_hand = True
        elif name == "consumer.committed":
            self.in_hand = False
        if self.crash_at == name and not self.dead:
            self.simulation.note(f"{self} crashes at {name}")
            self.end()
            raise Crash(name)

    def end(self) -> None:
        """End as SIGKILL would: nothing is finished, nothing is told."""
        if self.dead:
            return
        self.dead = True
        for connection in self.connections:
            connection.stop()
        if self.log is not None:
            self.log.drop()
        running = asyncio.current_task(self.simulation.loop) if self.simulation.loop.is_running() else None
        for task in list(self.tasks):
            if task is not running:
                task.cancel()
        self.simulation.ended(self)
