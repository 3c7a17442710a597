"""Garbage of tests, collected without looking at everything else again."""

import gc


def forgotten() -> None:
    """Collect what the tests since the last call left in cycles; what is still there then is not looked at any more.

    A worker holds near a gigabyte after some hundred tests, and one whole collection of that takes two seconds: 200 tests of
    the machinery ask for one each, for the sake of connections that a killed service left open.
    """
    gc.collect()
    gc.freeze()
