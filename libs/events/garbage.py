"""How often Python looks for cycles."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

SERVING = (10_000, 20, 50)
FOLDING = (20_000, 20, 20)
"""New containers before the youngest are looked at, and how many such looks before the older ones are. Python's own: 700, 10, 10.

What a batch makes lives until its commit and is then freed by its count of references, not by looking: 500 facts are 20,000
containers, 5,000 events a hundred thousand. With 700, looking was a tenth of the processor time of intake, a quarter of the
relay's and of a rebuild's. What is in a cycle lives longer, by some megabytes at most."""


def settle() -> None:
    """Once everything is loaded: what is there is never garbage, so collections need not look at it."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*SERVING)


@contextmanager
def collecting_seldom() -> Iterator[None]:
    """While a log is folded."""
    before = gc.get_threshold()
    gc.set_threshold(*FOLDING)
    try:
        yield
    finally:
        gc.set_threshold(*before)
