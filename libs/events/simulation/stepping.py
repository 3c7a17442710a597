"""An event loop in which nothing happens by itself: time is a number, and who may go on is decided from outside."""

import asyncio
from collections.abc import Callable
from contextvars import Context, ContextVar, copy_context
from typing import Any, Protocol


class Owner(Protocol):
    """A simulated process: what its tasks and connections end with."""

    dead: bool
    tasks: "set[asyncio.Task[Any]]"


current: ContextVar[Owner | None] = ContextVar("current", default=None)
"""The simulated process that the running task belongs to; None for the harness."""


class Crash(BaseException):
    """The process ends here: no handler may catch it."""


class Gate:
    """One place where a task waits to be let on."""

    __slots__ = ("future", "held", "label", "owner")

    def __init__(self, owner: Owner, label: str, future: "asyncio.Future[None]") -> None:
        self.owner, self.label, self.future = owner, label, future
        self.held = 0  # so many decisions long nobody may choose it


class SteppedLoop(asyncio.SelectorEventLoop):
    """When nothing is ready, `idle` is asked to let somebody on or to move the time."""

    def __init__(self, idle: Callable[[], None]) -> None:
        self._virtual = 0.0
        self._idle = idle
        super().__init__()
        self.gates: list[Gate] = []
        self.set_task_factory(_owned)

    def time(self) -> float:
        return self._virtual

    def advance(self, seconds: float) -> None:
        """Let time pass; everything that waits for it becomes ready at once."""
        self._virtual += seconds

    def next_timer(self) -> float | None:
        """When the earliest sleeper wakes."""
        return min((handle.when() for handle in self._handles() if not handle.cancelled()), default=None)

    def _handles(self) -> list[asyncio.TimerHandle]:
        found: list[asyncio.TimerHandle] = self._scheduled  # type: ignore[attr-defined] # BaseEventLoop's heap
        return found

    def _run_once(self) -> None:
        while not self._ready and not self._stopping:  # type: ignore[attr-defined] # BaseEventLoop's own
            self._idle()
            following = self.next_timer()
            if following is not None and following <= self._virtual:
                break
        super()._run_once()  # type: ignore[misc] # BaseEventLoop's own

    async def pass_gate(self, owner: Owner, label: str) -> None:
        """Wait until the schedule lets this task on."""
        if owner.dead:
            raise asyncio.CancelledError
        gate = Gate(owner, label, self.create_future())
        self.gates.append(gate)
        try:
            await gate.future
        finally:
            if gate in self.gates:
                self.gates.remove(gate)
        if owner.dead:
            raise asyncio.CancelledError

    def release(self, gate: Gate) -> None:
        """Let it on."""
        self.gates.remove(gate)
        if not gate.future.done():
            gate.future.set_result(None)


def _owned(loop: asyncio.AbstractEventLoop, coroutine: Any, context: Context | None = None) -> "asyncio.Task[Any]":
    context = copy_context() if context is None else context
    task: asyncio.Task[Any] = asyncio.Task(coroutine, loop=loop, context=context)
    owner = context.get(current)
    if owner is not None:
        owner.tasks.add(task)
        task.add_done_callback(owner.tasks.discard)
    task.add_done_callback(_reap)
    return task


def _reap(task: "asyncio.Task[Any]") -> None:
    if not task.cancelled():
        task.exception()  # whoever must know looks for himself; nobody is told at exit
