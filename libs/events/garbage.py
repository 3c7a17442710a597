"""How often Python looks for cycles."""

import asyncio
import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SERVING = (2_000, 4, 1_000)
FOLDING = (20_000, 20, 20)
"""New containers before the youngest are looked at, and how many such looks before the older ones are. Python's own: 700, 10, 10.

What a batch makes lives until its commit and is then freed by its count of references, not by looking: 500 facts are 20,000
containers, 5,000 events a hundred thousand. With 700, 10, 10 looking was a tenth of the processor time of intake, a quarter of
the relay's and of a rebuild's, nearly all of it in looks at everything.

A look takes 1 µs for each container it finds alive and holds the event loop: with 10,000 for the youngest it took up to 13 ms,
with 20 times as many for the middle ones up to 54. With these, 2 and 4 ms, and no more in all (80 ms a 2,000 contacts). What is
in a cycle lives until everything is looked at, by some megabytes at most; that takes longest, hence `tidy`."""


def loading() -> None:
    """While a program is loaded, until it settles: what is made then comes to stay, and looking for garbage in it took a tenth of
    the time. It is not put off altogether: a start that waits for its database may last for hours."""
    gc.set_threshold(*FOLDING)


def settle() -> None:
    """Once everything is loaded: what is there is never garbage, so collections need not look at it."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*SERVING)


LOOKS = 50
"""Looks at the middle ones after which everything is worth one: after some 6,000 contacts."""


async def tidy(quiet: Callable[[], bool], every: float = 5.0) -> None:
    """Look at everything at a moment when nothing is under way, which is asked every so many seconds, for ever. What came after
    `settle` and stayed (a rulebook, a model, folds kept at hand) makes a look of 10 to 100 ms; a server that is never quiet takes
    it by itself once in `SERVING[2]` looks at the middle ones, some 120,000 contacts."""
    while True:
        await asyncio.sleep(every)
        if gc.get_count()[2] >= LOOKS and quiet():
            gc.collect()


@contextmanager
def collecting_seldom() -> Iterator[None]:
    """While a log is folded."""
    before = gc.get_threshold()
    gc.set_threshold(*FOLDING)
    try:
        yield
    finally:
        gc.set_threshold(*before)
