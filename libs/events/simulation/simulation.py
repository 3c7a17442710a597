"""One run: a schedule with faults, then a time without any in which everything must come right."""

import asyncio
import logging
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any, cast

from sqlalchemy import create_engine

from libs.events import faults
from libs.events.errors import StoreUnavailable, is_transient
from libs.events.log import TopicPartition
from libs.events.log_sqlite import _SCHEMA
from libs.events.quarantine import NotParked
from libs.events.rebuild import Differs
from libs.events.simulation import invariants, model
from libs.events.simulation.broker import Broker
from libs.events.simulation.disk import Disk
from libs.events.simulation.invariants import Violation
from libs.events.simulation.late import LateSqlite, Positions
from libs.events.simulation.process import Process
from libs.events.simulation.schedule import Schedule, Step
from libs.events.simulation.stepping import Gate, SteppedLoop, current
from libs.events.simulation.variant import REAL, Variant
from libs.events.simulation.witness import Witness

SECONDS = (0.05, 0.6, 1.1, 5.5, 11.0, 21.0, 65.0)
CRASHES = (
    "intake.committed",
    "relay.claimed",
    "relay.acked",
    "relay.marked",
    "consumer.polled",
    "consumer.claimed",
    "consumer.inbox",
    "consumer.handled",
    "consumer.committed",
    "consumer.hinted",
    "rebalance.assigned",
    "rebalance.sought",
    "quarantine.attempted",
    "quarantine.parked",
    "timer.claimed",
    "timer.handled",
    "timer.committed",
    "projection.built",
    "projection.flipped",
)
# After the faults: so much simulated time, and so many decisions, may pass until everything has come right.
CALM_SECONDS = 60.0
CALM_DECISIONS = 60_000
MEMORY = Path("/dev/shm")


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
            path.write_bytes(_empty_store())
        (directory / "log.db").write_bytes(_empty_log())
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
        for process in self.processes:
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
                await self.inside(item_service(item.group), self._replay(item.id))
        raise Violation("I9", f"cannot be replayed: {self.witness.quarantine('parked')[:3]}")

    async def _rebuild_at_rest(self) -> None:
        """I8: a projection built again is the same."""
        before = self.witness.live_group()
        await self.inside("indicators", self._rebuild())
        await self.until_calm()
        if self.witness.live_group() == before:
            raise Violation("I8", f"a rebuild at rest did not switch from {before}: {self.notes[-3:]}")
        invariants.rebuilt_is_fold(self)

    async def fold_in_order(self, topics: Sequence[str]) -> None:
        """indicators from nothing, one topic after the other."""
        for process in self.alive("indicators"):
            process.end()
        self._generation += 1
        path = self._directory / f"indicators-{self._generation}.db"
        path.write_bytes(_empty_store())
        self.disks["indicators"] = Disk("indicators", str(path), self._committed)
        self.witness.open("indicators", path)
        self._seen["indicators"] = {}
        self.start("indicators")
        for number, topic in enumerate(topics):
            later = {tp for tp in self.witness.ends() if tp.topic in topics[number + 1 :]}
            self.broker.slow = dict.fromkeys(later, CALM_DECISIONS)
            self.broker.ring()
            await self.until_calm(lambda topic=topic: [text for text in invariants.unrest(self) if topic in text])
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
            getattr(self, f"_step_{kind}")(number)
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
        self._pass_time()

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

    def _pass_time(self) -> None:
        following = self.loop.next_timer()
        now = self.loop.time()
        self.loop.advance(max((following - now) if following is not None else 1.0, 0.001))

    def _free(self) -> list[Gate]:
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

    # Steps.

    def _step_go(self, number: int) -> None:
        free = self._free()
        if free:
            self.loop.release(free[number % len(free)])
        else:
            self._pass_time()

    def _step_time(self, number: int) -> None:
        self.loop.advance(SECONDS[number % len(SECONDS)])

    def _step_append(self, number: int) -> None:
        several = self.alive("intake")
        if not several:
            return
        again = [fact for fact, event_id in self.answers.asked.items() if event_id not in self.answers.refused]
        if number % 4 == 0 and again:
            numbers = [again[number * 7 % len(again)]]
        else:
            numbers = [self.fact() for _ in range(1 + number % 3)]
        process = several[number % len(several)]
        process.spawn(self._client(process, numbers))

    def _step_twice(self, number: int) -> None:
        several = self.alive("intake")
        if several:
            fact = self.fact()
            for process in (several[0], several[-1]):
                process.spawn(self._client(process, [fact]))

    def _step_refuse(self, number: int) -> None:
        for process in self.alive("intake")[:1]:
            process.spawn(self._client(process, [self.fact()], refuse=True))

    def _step_late(self, number: int) -> None:
        if number % 2 == 0:
            self.positions.skip = 1 + number // 2 % 3
        else:
            self.positions.fill = True

    def _step_hold(self, number: int) -> None:
        free = self._free()
        if free:
            free[number % len(free)].held = 5 + number % 60

    def _step_start(self, number: int) -> None:
        service = model.SERVICES[number % 3]
        if len(self.alive(service)) < 2:
            self.start(service)

    def _step_zombie(self, number: int) -> None:
        several = self.alive(model.SERVICES[number % 3])
        if several:
            several[0].asleep = 40 + number
            if len(several) == 1:
                self.start(several[0].service)

    def _step_kill(self, number: int) -> None:
        alive = self.alive()
        if alive:
            process = alive[number % len(alive)]
            self.note(f"{process} is killed")
            process.end()

    def _step_crash(self, number: int) -> None:
        alive = self.alive()
        if alive:
            alive[number // len(CRASHES) % len(alive)].crash_at = CRASHES[number % len(CRASHES)]

    def _step_commit(self, number: int) -> None:
        alive = self.alive()
        if alive:
            several = 1 + number // 64  # a sick disk is sick for a while
            alive[number // 2 % len(alive)].faults["commit"] = ["lost" if number % 2 else "unknown"] * several

    def _step_publish(self, number: int) -> None:
        alive = [process for process in self.alive() if process.service != "indicators"]
        if alive:
            alive[number // 3 % len(alive)].faults["publish"] = ["unknown" if number % 3 else "lost"]

    def _step_clock(self, number: int) -> None:
        self.skew[model.SERVICES[number % 3]] = (number // 3 % 25 - 12) * 3600.0

    def _step_poison(self, number: int) -> None:
        several = self.alive("intake")
        if several and len(self.handlers.poison) < 4:
            fact = self.fact()
            place = ((model.ASSIGN, model.FOLD)[number % 2], model.fact_id(fact))
            self.handlers.poison.add(place)
            self.poisoned.add(place)
            several[0].spawn(self._client(several[0], [fact]))

    def _step_fix(self, number: int) -> None:
        ill = sorted(self.handlers.poison)
        if ill:
            handler, event_id = ill[number % len(ill)]
            self.handlers.poison.discard((handler, event_id))
            for item in self.witness.quarantine("parked"):
                if item.handler == handler and item.event_id == event_id:
                    self._replay_somewhere(item.id, item_service(item.group))

    def _step_replay(self, number: int) -> None:
        parked = self.witness.quarantine("parked")
        if parked:
            item = parked[number % len(parked)]
            self._replay_somewhere(item.id, item_service(item.group))

    def _replay_somewhere(self, item_id: str, service: str) -> None:
        for process in self.alive(service)[-1:]:
            process.spawn(self._replay(item_id))

    def _step_rebuild(self, number: int) -> None:
        for process in self.alive("indicators")[-1:]:
            process.spawn(self._rebuild())

    def _step_copy(self, number: int) -> None:
        tps = [tp for tp, end in sorted(self.witness.ends().items(), key=str) if end]
        if tps:
            tp = tps[number % len(tps)]
            self.witness.copy(tp, number * 5 % self.witness.ends()[tp])
            self.broker.ring()

    def _step_again(self, number: int) -> None:
        members = [member for log in self.broker.logs for member in log.members]
        if members:
            members[number % len(members)].rewind(1 + number % 5)

    def _step_slow(self, number: int) -> None:
        tps = [TopicPartition(topic, partition) for topic in model.TOPICS for partition in range(model.PARTITIONS)]
        self.broker.slow[tps[number % len(tps)]] = 20 + number

    def fact(self) -> int:
        """A fact that nobody has sent yet."""
        self._next_fact += 1
        return self._next_fact - 1

    # What runs inside processes.

    async def _client(self, process: Process, numbers: list[int], *, refuse: bool = False) -> None:
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
            await self.inside("intake", self._client(process, [number]))
            if self.answers.asked[number] in self.answers.told:
                return
            await asyncio.sleep(0.5)
        raise Violation("I13", f"fact {number} gets no answer")

    async def _replay(self, item_id: str) -> None:
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

    async def _rebuild(self) -> None:
        process = current.get()
        assert isinstance(process, Process)
        if process.runtime is None or not process.runtime.consumers:
            return
        try:
            outcome = await process.runtime.rebuild("cases")
            self.note(f"{process}: rebuilt {outcome}")
        except Differs as error:
            invariants.may_differ(self, error)
        except Exception as error:
            if not is_transient(error):
                raise
            self.note(f"{process}: rebuild came to nothing: {type(error).__name__}: {error}")


def item_service(group: str) -> str:
    """Whose quarantine a group's items are in."""
    return "indicators" if group.startswith("indicators") else "feedback"


_LOGGERS = (
    "lazo.consumer",
    "lazo.relay",
    "lazo.timers",
    "lazo.quarantine",
    "lazo.runtime",
    "lazo.store",
    "lazo.rebuild",
    "asyncio",
)


def _passing(name: str) -> None:
    process = current.get()
    if isinstance(process, Process):
        process.pass_point(name)


@cache
def _empty_store() -> bytes:
    """A service's empty database. Made once, copied for each run."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "empty.db"
        engine = create_engine(f"sqlite:///{path}")
        with engine.begin() as connection:
            model.metadata.create_all(connection)
        engine.dispose()
        database = sqlite3.connect(path, isolation_level=None)
        database.execute("PRAGMA journal_mode=WAL").fetchall()
        database.close()
        return path.read_bytes()


@cache
def _empty_log() -> bytes:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "empty.db"
        database = sqlite3.connect(path, isolation_level=None)
        database.execute("PRAGMA journal_mode=WAL").fetchall()
        database.executescript(_SCHEMA)
        rows = [(topic, number) for topic in model.TOPICS for number in range(model.PARTITIONS)]
        database.executemany("INSERT INTO partitions (topic, partition) VALUES (?, ?)", rows)
        database.close()
        return path.read_bytes()


def simulate(schedule: Schedule, variant: Variant = REAL) -> Outcome:
    """One run in a directory of its own. Raises Violation."""
    where = MEMORY if MEMORY.is_dir() else None
    directory = Path(tempfile.mkdtemp(prefix="lazo-simulation-", dir=where))
    try:
        return Simulation(directory, variant).run(schedule)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
