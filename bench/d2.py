"""D2: daily complaint streams and isolated bursts, on a seed drawn at the run; see bench/streams.py for what is drawn."""

from __future__ import annotations

import os

import numpy as np

from bench.lab import Lab, note
from bench.report import Bar, told
from bench.streams import IN_SCOPE, WINDOW, Flags, Ints, daily, daily_measures, episodes_of
from services.classification.domain.detection.engine import Asked, Series, judge

EPISODES = 0.5
PEERS = {
    "POD": {"farringtonFlexible": 0.458, "glrnb": 0.550},
    "saved": {"farringtonFlexible": 0.377, "glrnb": 0.420},
    "F1": {"farringtonFlexible": 0.227, "glrnb": 0.661},
    "bursts": {"farringtonFlexible": 0.65, "glrnb": 0.27},
}
"""R surveillance 1.20.3 at the same number of episodes, measured beforehand on the same definition."""


def alarms(counts: Ints, customers: Ints) -> Flags:
    """Alarms at the asked episodes, series × days."""
    series = [Series(18_263, row, people) for row, people in zip(counts, customers, strict=True)]
    found = np.zeros(counts.shape, dtype=bool)
    for index, said in judge("day", series, Asked(episodes=EPISODES)):
        found[index] = said.alarm
    return found


def run(lab: Lab) -> list[Bar]:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    seed = int.from_bytes(os.urandom(4), "big")
    note(f"D2 seed {seed}")
    number = 350 if lab.quick else 6300  # 1,800 bursts and 4,500 events: shares to ± 0.005 and 0.006
    data = daily(np.random.default_rng(seed), number)
    quiet = alarms(data.quiet, data.quiet_customers)
    loud = alarms(data.counts, data.customers)
    found = daily_measures(loud, quiet, data)
    episodes = episodes_of(quiet[:, -WINDOW:]).mean() * 365 / WINDOW
    bursts = found["iso28"]
    people, incident = found["customer"], found["incident"]
    holds = bursts <= 0.05 and found["POD"] >= 0.70
    return [
        Bar("D2.POD", f"events alarmed within 28 days, {number} series", found["POD"], "", ">= 0.75",
            found["POD"] >= 0.75, peers=PEERS["POD"]),
        Bar("D2.saved", "mean of 1 - delay / 28 days", found["saved"], "", ">= 0.56", found["saved"] >= 0.56,
            peers=PEERS["saved"]),
        Bar("D2.F1", "F1 over days", found["F1"], "", ">= 0.72", found["F1"] >= 0.72, peers=PEERS["F1"]),
        Bar("D2.bursts", "isolated bursts alarmed within 28 days, false alarms included", bursts, "",
            "<= 0.05, POD >= 0.7", holds, peers=PEERS["bursts"],
            note=f"one customer {people:.3f}, one incident {incident:.3f}; beyond the quiet twin {found['isopair']:.3f}"),
        Bar("D2.episodes", "false alarm episodes a series and year at --episodes 0.5", float(episodes), "",
            "<= 0.5", bool(episodes <= EPISODES)),
        *(told(f"D2.{name}", f"{name} found within 28 days", found[name], "")
          for name in ("step1.5", "step2", "step3", "ramp", "outbreak")),
    ]  # fmt: skip


assert IN_SCOPE == 5, "the names above are those of bench/streams.py"
