"""How often Python looks for cycles while a log is folded."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

SELDOM = (20_000, 20, 20)
"""New containers before the youngest are looked at, and how many such looks before the older ones are."""


@contextmanager
def collecting_seldom() -> Iterator[None]:
    """Look for cycles after 20,000 new containers instead of 700.

    A batch of 5,000 events is a hundred thousand of them, all of which live until its commit: with Python's own thresholds
    each is looked at a dozen times before, and with it everything that the process has loaded. What is dropped then is freed
    by its count of references, not by looking. What is in a cycle lives longer, by some megabytes at most.
    """
    before = gc.get_threshold()
    gc.set_threshold(*SELDOM)
    try:
        yield
    finally:
        gc.set_threshold(*before)
