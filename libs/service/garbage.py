"""How often Python looks for cycles in a process that serves."""

import gc

YOUNG, MIDDLE, OLD = 10_000, 20, 50


def settle() -> None:
    """Once everything is loaded. What is there is never garbage, so collections need not look at it; and a batch of 500 facts
    makes 20,000 objects that all go by themselves: with Python's 700 the collector ran 30 times for each, in vain (a tenth of
    the processor time of intake, a quarter of the relay's)."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, MIDDLE, OLD)
