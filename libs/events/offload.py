"""Work for the processor leaves the event loop, or is done there in pieces: heartbeats share it, and a member silent for 15 s is
thrown out; whoever asks meanwhile waits as long as the longest piece."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R")

PIECE = 20
"""Items between two looks at what else the loop has to do: 0.1 ms each to decode, 0.3 ms to build, seal and queue a decision."""

_threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="offload")


async def offload(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a function in a thread and await its result; exceptions pass through. The function must not touch the loop."""
    return await asyncio.get_running_loop().run_in_executor(_threads, lambda: function(*args, **kwargs))


async def in_turns(items: Iterable[T], every: int = PIECE) -> AsyncIterator[T]:
    """The items one by one, the loop's other tasks let in after so many: a batch of 500 events takes 150 ms of it in one go,
    and whoever waits for an answer meanwhile waits with it. Counted and not timed, so that a simulated run repeats."""
    for number, item in enumerate(items, 1):
        yield item
        if number % every == 0:
            await asyncio.sleep(0)


async def each(function: Callable[[T], R], items: Sequence[T], every: int = PIECE) -> list[R]:
    """What the function makes of each item, in order, the loop's other tasks let in between pieces of so many. Exceptions pass
    through. Costs a turn of the loop a piece (20 µs) and nothing an item; a batch of one piece costs no turn at all."""
    if len(items) <= every:
        return list(map(function, items))
    made: list[R] = []
    async for piece in pieces(items, every):
        made += map(function, piece)
    return made


async def pieces(items: Sequence[T], every: int = PIECE) -> AsyncIterator[Sequence[T]]:
    """The items in slices of so many, the loop's other tasks let in between two of them."""
    for start in range(0, len(items), every):
        if start:
            await asyncio.sleep(0)
        yield items[start : start + every]
