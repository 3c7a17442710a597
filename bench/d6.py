"""D6: 100,000 slices re-evaluated cold and warm on one core, and what one new complaint costs; then the monitor's own series."""

from __future__ import annotations

import os
import time

import numpy as np

from bench import d6m
from bench.lab import Lab, note
from bench.report import Bar, at_most
from bench.streams import noisy
from services.classification.domain.detection.standing import CHUNK, Setup, Standing

DAYS = 730
A_MONTH = 20.0
MONTH = 30
PEERS = {"farringtonFlexible (R)": 720.0}  # 12-15 minutes for 100,000 series, measured elsewhere


def run(lab: Lab) -> list[Bar]:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    slices = 10_000 if lab.quick else 100_000
    scale = 100_000 / slices
    seed = int.from_bytes(os.urandom(4), "big")
    note(f"D6 seed {seed}")
    rng = np.random.default_rng(seed)
    # Zipf sizes: most slices of an operation are small.
    level = np.minimum(60.0, 40.0 / (1 + np.arange(slices) * 40.0 / slices) ** 1.5)
    history = np.empty((slices, DAYS), dtype=np.int32)
    for begin in range(0, slices, CHUNK):
        part = level[begin : begin + CHUNK, None] * np.ones(DAYS)
        history[begin : begin + CHUNK] = noisy(rng, part, 1.4)
    first = np.zeros(slices, dtype=np.int64)
    began, worked = time.perf_counter(), time.process_time()
    standing = Standing.of(Setup(alarms=A_MONTH * slices / 100_000, room=90), history, first)
    cold, cpu = time.perf_counter() - began, time.process_time() - worked
    note(f"D6 cold: {cold:.1f} s, {cpu:.1f} s of them on a core")
    warm = []
    days = alarms = 0
    before = standing.alarms()
    for _ in range(MONTH):
        today = noisy(rng, level, 1.4)
        began = time.process_time()
        standing.advance(today)
        warm.append(time.process_time() - began)
        now = standing.alarms()
        days, alarms = days + int(now.sum()), alarms + int((now & ~before).sum())
        before = now
    chosen = rng.integers(0, slices, 5000)
    counts = rng.integers(0, 30, 5000)
    began = time.process_time()
    for slice_, count in zip(chosen.tolist(), counts.tolist(), strict=True):
        standing.add(slice_, count)
    each = (time.process_time() - began) / len(chosen) * 1e6
    # Of few slices so few are asked for that none may come.
    least, most = (0.0 if lab.quick else A_MONTH / 2), A_MONTH + 3 * (A_MONTH * scale) ** 0.5
    bars = [
        at_most("D6.cold", f"{slices:,} slices from {DAYS} days of history", cpu * scale, "s", 150),
        at_most("D6.warm", "all of them one day on, at worst (a day of new fits)", max(warm) * scale, "s", 30),
        Bar(
            "D6.alarms",
            f"alarms of quiet slices in {MONTH} days, {A_MONTH:g} a month asked of 100,000 ({days * scale:g} slice-days)",
            alarms * scale,
            "",
            f"{least:g} to {most:.3g}",
            least <= alarms * scale <= most,
        ),
        at_most("D6.one", "one new complaint", each, "us", 100),
    ]
    own = [
        Bar(bar.name, bar.what, bar.value, bar.unit, bar.bar, bar.holds, peers=PEERS) if bar.unit == "s" else bar
        for bar in bars
    ]
    return own + d6m.run(lab)
