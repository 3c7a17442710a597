"""`python -m bench --only M1,M2`: measure, print, write `bench/results.json`.

Every number stands beside its limit and its peers from the same run: machines are noisy, so ratios of medians over
interleaved repeats, never one absolute time. Exit code 1 when a bar does not hold.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time

from bench.lab import Lab, note
from bench.report import Bar, table, write

ALL = ("M1", "M2", "M3", "M4", "M5", "M7", "D1", "D2", "D3", "D4", "D5", "D6", "D7", "D7S", "C1")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--only", default=",".join(ALL), help="e.g. M1,M2")
    parser.add_argument("--quick", action="store_true", help="one short round of each; for trying, not for telling")
    given = parser.parse_args()
    wanted = [name.strip().upper() for name in given.only.split(",") if name.strip()]
    unknown = [name for name in wanted if name not in ALL]
    if unknown:
        print(f"bench: {', '.join(unknown)} is not measured here; there are {', '.join(ALL)}", file=sys.stderr)
        return 2
    bars: list[Bar] = []
    for name in wanted:
        began = time.monotonic()
        module = importlib.import_module(f"bench.{name.lower()}")
        with Lab(quick=given.quick) as lab:
            found: list[Bar] = module.run(lab)
        note(f"{name} took {time.monotonic() - began:.0f} s")
        bars += found
        write(found)
        print(table(found), "\n", flush=True)
    if len(wanted) > 1:
        print(table(bars))
    return 1 if any(bar.holds is False for bar in bars) else 0


if __name__ == "__main__":
    sys.exit(main())
