"""One run: a schedule with faults, then a time without any in which everything must come right."""

import asyncio
import gc
import logging
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, cast

from libs.events import faults
from libs.events.alarm import LONGEST_SLEEP
from libs.events.errors import StoreUnavailable, is_transient
from libs.events.quarantine import NotParked
from libs.events.rebuild import Differs, Rebuilt
from libs.events.simulation import invariants, model
from libs.events.simulation.broker import Broker
from libs.events.simulation.disk import Disk
from libs.events.simulation.empty import empty_log, empty_store
from libs.events.simulation.invariants import Violation
from libs.events.simulation.late import LateSqlite, Positions
from libs.events.simulation.process import Process
from libs.events.simulation.schedule import Schedule, Step
from libs.events.simulation.stepping import Gate, SteppedLoop, current
from libs.events.simulation.steps import STEPS, item_service
from libs.events.simulation.variant import REAL, Variant
from libs.events.simulation.witness import Attempted, Witness

# After the faults: so much simulated time, and so many decisions, may pass until everything has come right. A timer may fall
# due by a clock that is set right, which is seen at the alarm's next look only, and what it says has its way to go then.
CALM_SECONDS = LONGEST_SLEEP + 60.0
CALM_DECISIONS = 60_000
MEMORY = Path("/dev/shm")  # noqa: S108 - files that live as long as one run, in a directory of its own


class _Refused(Exception):
    """The client's own part of the transaction failed."""


@dataclass
class Answers:
    """What clients know: what they asked for, and what they were told."""

    asked: dict[int, str] = field(default_factory=dict)  # fact number: event id
    told: dict[str, str] = field(default_factory=dict)  # event id: recordedtime of the first answer
    refused: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Outcome:
    """What a run came to. `trace` is the same for the same schedule."""

    steps: int
    decisions: int
    facts: int
    events: int
    crashes: int
    trace: str
    notes: list[str]


class Simulation:
    """The world of one run."""

    def __init__(self, directory: Path, variant: Variant = REAL) -> None:
        self.variant = variant
        self.handlers = model.Handlers()
        self.answers = Answers()
        self.notes: list[str] = []
        self.violation: Violation | None = None
        self.skew = dict.fromkeys(model.SERVICES, 0.0)
        self.processes: list[Process] = []
        self.decisions = self.steps = self.crashes = 0
        self.poisoned: set[tuple[str, str]] = set()  # ever
        self.deaths: Counter[Attempted] = Counter()  # of processes in the middle of a record
        self.rebuilt: Rebuilt | None = None
        self.faulty = True
        self._trace = invariants.Trace()
        self._seen: dict[str, dict[tuple[str, str, int], int]] = {name: {} for name in model.SERVICES}
        self._next_fact = 0
        self._numbers = 0
        self._plan: Iterator[Step] = iter(())
        self._calm: asyncio.Future[None] | None = None
        self._goal: Callable[[], list[str]] = list
        self._calm_until = 0.0
        self._calm_decisions = 0
        self._directory, self._generation = directory, 0
        paths = {name: directory / f"{name}.db" for name in model.SERVICES}
        for path in paths.values():
            path.write_bytes(empty_store())
        (directory / "log.db").write_bytes(empty_log())
        self.broker = Broker(directory / "log.db")
        self.disks = {name: Disk(name, str(path), self._committed) for name, path in paths.items()}
        self.positions = Positions()
        self.witness = Witness(directory / "log.db", paths)
        self.loop = SteppedLoop(self._idle)

    # The run.

    def run(self, schedule: Schedule) -> Outcome:
        """Raises Violation."""
        before, faults.hook = faults.hook, _passing
        logger = logging.getLogger("lazo")
        disabled, logger.disabled = logger.disabled, True
        levels = {name: logging.getLogger(name).level for name in _LOGGERS}
        for name in _LOGGERS:
            logging.getLogger(name).setLevel(logging.CRITICAL)
        try:
            self.loop.run_until_complete(self._main(schedule))
            return Outcome(
                self.steps,
                self.decisions,
                len(self.answers.asked),
                sum(self.witness.ends().values()),
                self.crashes,
                self._trace.text(),
                self.notes,
            )
        finally:
            try:
                self._end()
            finally:
                faults.hook = before
                logger.disabled = disabled
                for name, level in levels.items():
                    logging.getLogger(name).setLevel(level)

    async def _main(self, schedule: Schedule) -> None:
        for service in model.SERVICES:
            self.start(service)
        self._plan = iter(schedule)
        await self.until_calm()  # the schedule runs out first
        self._stop_faults()
        await self.until_calm()
        await invariants.settle_unknown(self)
        await self.until_calm()
        invariants.while_parked(self)
        await self._repair()
        self.skew = dict.fromkeys(self.skew, timedelta(days=3).total_seconds())
        for process in self.alive():
            if process.runtime is not None:
                process.runtime.alarm.wake()
        await self.until_calm()
        invariants.at_rest(self)
        await self._rebuild_at_rest()
        await self.until_calm()
        await invariants.commutes(self)

    def _end(self) -> None:
        """Nothing of a run stays behind."""
        self._plan = iter(())
        self.violation = None
        for process in self.alive():
            process.end()
        self._calm = None
        left = [task for task in asyncio.all_tasks(self.loop) if not task.done()]
        for task in left:
            task.cancel()
        if left:
            self.loop.run_until_complete(asyncio.wait(left))
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()
        self.witness.close()

    def _stop_faults(self) -> None:
        self.faulty = False
        for process in self.alive():
            process.crash_at = None
            process.asleep = 0
            process.faults.clear()
        for service in model.SERVICES:
            several = self.alive(service)
            for process in several[1:]:
                self.note(f"{process} is stopped: one is enough")
                process.end()
            if not several:
                self.start(service)
        for gate in self.loop.gates:
            gate.held = 0
        self.broker.slow.clear()
        self.skew = dict.fromkeys(self.skew, 0.0)

    async def _repair(self) -> None:
        self.handlers.poison.clear()
        for _ in range(1_000):
            for process in self.alive():
                for consumer in [] if process.runtime is None else process.runtime.consumers:
                    consumer.resume()
            await self.until_calm()
            parked = self.witness.quarantine("parked")
            if not parked:
                return
            for item in parked:
                await self.inside(item_service(item.group), self.replay(item.id))
        raise Violation("I9", f"cannot be replayed: {self.witness.quarantine('parked')[:3]}")

    async def _rebuild_at_rest(self) -> None:
        """I8: a projection built again is the same."""
        for process in self.alive("indicators"):
            process.end()
        self.handlers.batch = 200  # enough was seen of small ones
        self.start("indicators")
        await self.until_calm()
        self._forget_rebuilt()
        await self.inside("indicators", self.rebuild())
        await self.until_calm()
        compared = any(self.witness.ends().values())  # an empty log leaves nothing to compare
        if self.rebuilt is None or not self.rebuilt.switched or self.rebuilt.agrees is not (True if compared else None):
            raise Violation("I8", f"a rebuild at rest came to {self.rebuilt}: {self.notes[-3:]}")
        invariants.rebuilt_is_fold(self)

    def _forget_rebuilt(self) -> None:
        self.rebuilt = None

    async def fold_in_order(self, topics: Sequence[str]) -> None:
        """indicators from nothing, one topic after the other."""
        for process in self.alive("indicators"):
            process.end()
        self._generation += 1
        path = self._directory / f"indicators-{self._generation}.db"
        path.write_bytes(empty_store())
        self.disks["indicators"] = Disk("indicators", str(path), self._committed)
        self.witness.open("indicators", path)
        self._seen["indicators"] = {}
        self.start("indicators")
        for number, topic in enumerate(topics):
            later = set(topics[number + 1 :])
            self.broker.slow = {tp: CALM_DECISIONS for tp in self.witness.ends() if tp.topic in later}
            self.broker.ring()
            await self.until_calm(partial(invariants.unrest, self, topic))
        await self.until_calm()

    # Decisions.

    def _idle(self) -> None:
        """Nothing is ready: one decision."""
        self.decisions += 1
        if self.violation is not None:
            raise self.violation
        for gate in self.loop.gates:
            gate.held = max(gate.held - 1, 0)
        for process in self.processes:
            process.asleep = max(process.asleep - 1, 0)
        for tp in list(self.broker.slow):
            self.broker.slow[tp] -= 1
            if self.broker.slow[tp] <= 0:
                del self.broker.slow[tp]
        step = next(self._plan, None)
        if step is None:
            self._fairly()
            return
        self.steps += 1
        kind, number = step
        self._trace.add(kind, number, len(self.loop.gates))
        try:
            STEPS[kind](self, number)
        except Violation as violation:
            self.violation = violation

    def _fairly(self) -> None:
        """Without a schedule everybody goes on in turn, and time passes when nobody can."""
        self._calm_decisions += 1
        if self.loop.gates:
            self.loop.release(min(self.loop.gates, key=lambda gate: gate.held))
            return
        if self._calm is not None and not self._calm.done() and self._at_rest():
            self._calm.set_result(None)
            return
        if self._calm is not None and (self.loop.time() > self._calm_until or self._calm_decisions > CALM_DECISIONS):
            raise Violation("I13", f"still not at rest: {self._goal()}")
        self.pass_time()

    def _at_rest(self) -> bool:
        # With faults about, the end of the schedule is all that is waited for.
        return self.faulty or not self._goal()

    async def until_calm(self, goal: Callable[[], list[str]] | None = None) -> None:
        """Let everybody go on until nothing is left to do, or nothing of what `goal` names. Raises Violation of I13."""
        self._goal = goal or (lambda: invariants.unrest(self))
        self._calm_until = self.loop.time() + CALM_SECONDS
        self._calm_decisions = 0
        self._calm = self.loop.create_future()
        try:
            await self._calm
        finally:
            self._calm = None

    def pass_time(self) -> None:
        following = self.loop.next_timer()
        now = self.loop.time()
        self.loop.advance(max((following - now) if following is not None else 1.0, 0.001))

    def free(self) -> list[Gate]:
        return [gate for gate in self.loop.gates if not gate.held and not cast("Process", gate.owner).asleep]

    def alive(self, service: str | None = None) -> list[Process]:
        """Live processes, the oldest first."""
        return [
            process
            for process in self.processes
            if not process.dead and (service is None or process.service == service)
        ]

    def start(self, service: str) -> Process:
        """A new process of the service."""
        self._numbers += 1
        process = Process(self, service, self._numbers)
        self.processes.append(process)
        self.note(f"{process} starts")
        process.spawn(process.begin())
        return process

    def ended(self, process: Process) -> None:
        """A process ended."""
        self.crashes += 1
        if process.in_hand:
            self.deaths.update(self.witness.attempted(process.service))
        self.processes.remove(process)
        self.loop.gates[:] = [gate for gate in self.loop.gates if gate.owner is not process]

    def note(self, text: str) -> None:
        """Keep what happened, for whoever reads about a failure."""
        self.notes.append(f"{self.steps} @{self.loop.time():.2f}s {text}")

    def _committed(self, service: str) -> None:
        """After every commit: positions only rise (I7)."""
        try:
            self._seen[service] = invariants.positions_rise(self, service, self._seen[service])
        except Violation as violation:
            if self.violation is None:
                self.violation = violation

    async def inside(self, service: str, work: Coroutine[Any, Any, None]) -> None:
        """Run something in a live process of the service, and wait for it."""
        process = self.alive(service)[0]
        done = self.loop.create_future()

        async def call() -> None:
            try:
                await work
            finally:
                if not done.done():
                    done.set_result(None)

        process.spawn(call())
        await done

    def fact(self) -> int:
        """A fact that nobody has sent yet."""
        self._next_fact += 1
        return self._next_fact - 1

    # What runs inside processes.

    async def client(self, process: Process, numbers: list[int], *, refuse: bool = False) -> None:
        """A client's request. Without an answer it knows nothing."""

        async def refusing(connection: Any, answers: Any) -> None:
            raise _Refused

        for number in numbers:
            self.answers.asked[number] = model.fact_id(number)
            if refuse:
                self.answers.refused.add(model.fact_id(number))
        if process.runtime is None or process.dead:
            return
        process.runtime.store.dialect = LateSqlite(self.positions)
        try:
            drafts = [model.draft_of(number) for number in numbers]
            answers = await process.runtime.group_commit.submit(drafts, refusing if refuse else None)
        except _Refused:
            return
        except (StoreUnavailable, LookupError) as error:  # LookupError: not up yet, the connection was refused
            self.note(f"{process}: no answer for {numbers}: {error}")
            return
        except Exception as error:  # noqa: BLE001 - told to whoever runs the simulation
            self.violation = self.violation or Violation("I3", f"fact {numbers} was answered with {error!r}")
            return
        try:
            invariants.answers_agree(self, numbers, answers)
        except Violation as violation:
            self.violation = self.violation or violation

    async def ask_again(self, number: int) -> None:
        """A client that was left without an answer tries until it has one."""
        for _ in range(20):
            process = self.alive("intake")[0]
            await self.inside("intake", self.client(process, [number]))
            if self.answers.asked[number] in self.answers.told:
                return
            await asyncio.sleep(0.5)
        raise Violation("I13", f"fact {number} gets no answer")

    async def replay(self, item_id: str) -> None:
        process = current.get()
        assert isinstance(process, Process)
        if process.runtime is None:
            return
        try:
            await process.runtime.quarantine.replay(item_id)
        except NotParked:
            return
        except Exception as error:
            if not is_transient(error):
                raise
            self.note(f"{process}: replay came to nothing: {error}")

    async def rebuild(self) -> None:
        process = current.get()
        assert isinstance(process, Process)
        if process.runtime is None or not process.runtime.consumers:
            return
        try:
            self.rebuilt = await process.runtime.rebuild("cases")
            self.note(f"{process}: {self.rebuilt}")
        except Differs as error:
            invariants.may_differ(self, error)
        except Exception as error:
            if not is_transient(error):
                raise
            self.note(f"{process}: rebuild came to nothing: {type(error).__name__}: {error}")


_LOGGERS = [f"lazo.{part}" for part in "consumer relay timers quarantine runtime store rebuild".split()] + ["asyncio"]


def _passing(name: str) -> None:
    process = current.get()
    if isinstance(process, Process):
        process.pass_point(name)


def simulate(schedule: Schedule, variant: Variant = REAL) -> Outcome:
    """One run in a directory of its own. Raises Violation."""
    directory = Path(tempfile.mkdtemp(prefix="lazo-simulation-", dir=MEMORY if MEMORY.is_dir() else None))
    # Collected once, afterwards: nothing is finalized at moments that no schedule chose, and a run takes up to a tenth less time.
    collecting = gc.isenabled()
    gc.disable()
    try:
        return Simulation(directory, variant).run(schedule)
    finally:
        gc.collect(0)
        if collecting:
            gc.enable()
        shutil.rmtree(directory, ignore_errors=True)
