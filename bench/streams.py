"""Simulated counts with planted events, and the measures of D1 and D2 (see the page of benchmarks in docs/explanation)."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

ROWS = (
    (0.10, 0.0025, 0.60, 0.60, 1.5),
    (-2.0, 0.0050, 0.10, 0.30, 2.0),
    (1.50, 0.0030, 0.20, -0.40, 1.0),
    (0.50, 0.0020, 0.50, 0.50, 5.0),
    (2.50, 0.0010, 1.00, 0.10, 3.0),
    (3.75, 0.0010, 0.10, -0.10, 1.1),
    (5.00, 0.0001, 0.05, 0.01, 1.2),
)
WEEKS, BASELINE, SCORED = 624, 312, 575


def noisy(rng: np.random.Generator, mean: Array, dispersion: Array | float) -> Ints:
    """Negative binomial counts of variance φ·mean; Poisson where φ is 1."""
    excess = np.maximum(np.broadcast_to(dispersion, mean.shape) - 1.0, 1e-9)
    rates = np.where(excess > 1e-6, rng.gamma(np.maximum(mean, 1e-12) / np.maximum(excess, 1e-3)) * excess, mean)
    counts: Ints = rng.poisson(rates)
    return counts


@dataclass(slots=True)
class Weekly:
    """D1: `counts` with the current outbreak, `quiet` without; rows are scenario-major."""

    counts: Ints
    quiet: Ints
    outbreak: Flags  # weeks of the current outbreak
    start: Ints
    scenario: Ints
    sizes: Ints = field(default_factory=lambda: np.zeros(0, dtype=np.int64))


def weekly(rng: np.random.Generator, each: int) -> Weekly:
    """The 42 scenarios of Noufaily et al. 2013, `each` series of every one."""
    t = np.arange(1, WEEKS + 1)
    counts, quiet, outbreak, start, scenario, sizes = [], [], [], [], [], []
    number = 0
    for theta, beta, g1, g2, phi in ROWS:
        for m in (0, 1, 2):
            for trend in (0, 1):
                log_mean = theta + beta * t * trend
                for j in range(1, m + 1):
                    log_mean = log_mean + g1 * np.cos(2 * np.pi * j * t / 52) + g2 * np.sin(2 * np.pi * j * t / 52)
                mean = np.exp(log_mean)
                for _ in range(each):
                    base = noisy(rng, mean, phi)
                    for begin in rng.choice(np.arange(BASELINE, SCORED - 8), 4, replace=False):
                        base += _outbreak(rng, int(begin), rng.choice([2, 3, 5, 10]), mean, phi)
                    extra = np.zeros(WEEKS, dtype=np.int64)
                    k = 0
                    while not extra.any():
                        begin, k = int(rng.integers(SCORED, WEEKS - 6)), int(rng.integers(1, 11))
                        extra = _outbreak(rng, begin, k, mean, phi)
                    weeks = np.flatnonzero(extra)
                    within = np.zeros(WEEKS, dtype=bool)
                    within[weeks[0] : weeks[-1] + 1] = True
                    counts.append(base + extra)
                    quiet.append(base)
                    outbreak.append(within)
                    start.append(weeks[0])
                    scenario.append(number)
                    sizes.append(k)
                number += 1
    return Weekly(
        np.array(counts), np.array(quiet), np.array(outbreak), np.array(start), np.array(scenario), np.array(sizes)
    )


def _outbreak(rng: np.random.Generator, begin: int, k: int, mean: Array, phi: float) -> Ints:
    cases = rng.poisson(k * np.sqrt(phi * mean[begin]))
    weeks = begin + np.floor(rng.lognormal(0, 0.5, cases)).astype(np.int64)
    found: Ints = np.bincount(weeks[weeks < len(mean)], minlength=len(mean))
    return found


def weekly_measures(alarm: Flags, quiet_alarm: Flags, data: Weekly) -> dict[str, float]:
    """POD, POD1, sensitivity, precision, F1, saved and the false positive rates; alarms of all weeks, scored from 576."""
    inside = data.outbreak
    hit = alarm & inside
    detected = hit.any(axis=1)
    rows = np.arange(len(alarm))
    length = inside.sum(axis=1)
    delay = hit.argmax(axis=1) - data.start
    scored = np.zeros(alarm.shape[1], dtype=bool)
    scored[SCORED:] = True
    true, false = hit.sum(), (alarm & ~inside & scored).sum()
    sens, precision = true / inside.sum(), true / max(true + false, 1)
    rates = quiet_alarm[:, SCORED:].mean(axis=1)
    by_scenario = [rates[data.scenario == number].mean() for number in np.unique(data.scenario)]
    return {
        "POD": float(detected.mean()),
        "POD1": float(alarm[rows, data.start].mean()),
        "sens": float(sens),
        "F1": float(2 * sens * precision / max(sens + precision, 1e-9)),
        "saved": float(np.where(detected, 1 - delay / length, 0).mean()),
        "FPR": float(rates.mean()),
        "worst": float(max(by_scenario)),
    }


DAYS, WINDOW = 1095, 120
KINDS = ("step1.5", "step2", "step3", "ramp", "outbreak", "customer", "incident")
IN_SCOPE = 5


@dataclass(slots=True)
class Daily:
    """D2: `quiet` and `quiet_customers` have no event in the scored window."""

    counts: Ints
    customers: Ints
    quiet: Ints
    quiet_customers: Ints
    inside: Flags
    start: Ints
    kind: Ints
    level: Array
    dispersion: Array


def daily(rng: np.random.Generator, series: int) -> Daily:
    """Three years of days with every kind of event in turn. Where the description leaves room, the room is drawn from."""
    made = [_day_series(rng, number % len(KINDS)) for number in range(series)]
    columns = list(zip(*made, strict=True))
    return Daily(
        counts=np.array(columns[0]),
        customers=np.array(columns[1]),
        quiet=np.array(columns[2]),
        quiet_customers=np.array(columns[3]),
        inside=np.array(columns[4]),
        start=np.array(columns[5]),
        kind=np.array(columns[6]),
        level=np.array(columns[7]),
        dispersion=np.array(columns[8]),
    )


def _week(rng: np.random.Generator) -> Array:
    style = rng.integers(3)
    if style == 0:
        return np.ones(7)
    if style == 1:
        pattern = np.exp(rng.normal(0, 0.2, 7))
    else:
        pattern = np.exp(rng.normal(0, 0.08, 7))
        pattern[5] *= rng.uniform(0.05, 0.5)
        pattern[6] *= rng.uniform(0.0, 0.2)
    scaled: Array = pattern / pattern.mean()
    return scaled


def _day_series(rng: np.random.Generator, kind: int) -> tuple[object, ...]:
    t = np.arange(DAYS)
    level, phi = 10 ** rng.uniform(-1, np.log10(200)), rng.uniform(1, 3)
    mean = level * _week(rng)[(t + rng.integers(7)) % 7] * np.exp(rng.uniform(-0.25, 0.25) * t / 365)
    mean = mean * np.exp(rng.uniform(0, 0.4) * np.cos(2 * np.pi * t / 365.25 + rng.uniform(0, 2 * np.pi)))
    if rng.random() < 0.25:
        ratio = np.exp(rng.uniform(0.3, 0.8) * rng.choice([-1, 1]))
        mean = np.where(t >= rng.integers(200, DAYS - WINDOW - 150), mean * ratio, mean)
    customers = noisy(rng, mean, phi)
    counts = customers.copy()
    if rng.random() < 0.5:  # some customers call again
        counts = counts + rng.poisson(0.15 * customers)
    sd = np.sqrt(phi * mean.mean())
    for _ in range(rng.integers(0, 5)):
        begin, days = rng.integers(60, DAYS - WINDOW - 30), rng.integers(4, 22)
        more = rng.poisson(mean[begin : begin + days] * rng.uniform(0.5, 3))
        customers[begin : begin + days] += more
        counts[begin : begin + days] += more
    for _ in range(rng.integers(0, 5)):
        _burst(rng, counts, customers, int(rng.integers(60, DAYS - WINDOW)), sd, one=bool(rng.integers(2)))
    quiet, quiet_customers = counts.copy(), customers.copy()
    start = int(rng.integers(DAYS - WINDOW + 5, DAYS - 45))
    inside = np.zeros(DAYS, dtype=bool)
    after = t - start
    if kind < 4:
        inside[start:] = True
        ratio = np.full(DAYS, (0.5, 1.0, 2.0, 0.0)[kind]) if kind < 3 else np.clip((after + 1) / 30, 0, 1)
        more = noisy(rng, np.where(inside, mean * ratio, 0.0), phi)
    elif kind == 4:
        lasts = int(rng.integers(5, 22))
        inside[start : start + lasts] = True
        shape = np.exp(-0.5 * ((after - (lasts - 1) / 2) / (lasts / 4)) ** 2) if rng.random() < 0.5 else np.ones(DAYS)
        size = rng.uniform(1, 4) if rng.random() < 0.5 else rng.uniform(2, 6) * sd / mean.mean()
        more = noisy(rng, np.where(inside, size * mean * shape, 0.0), phi)
    else:
        inside[start] = True
        _burst(rng, counts, customers, start, sd, one=kind == 5)
        more = np.zeros(DAYS, dtype=np.int64)
    counts, customers = counts + more, customers + more
    return counts, customers, quiet, quiet_customers, inside, start, kind, level, phi


def _burst(rng: np.random.Generator, counts: Ints, customers: Ints, day: int, sd: float, *, one: bool) -> None:
    """Many complaints of one customer, or of one incident: ten to a hundred, or five to twenty standard deviations."""
    size = int(rng.integers(10, 101)) if rng.random() < 0.5 else int(max(6, rng.uniform(5, 20) * sd))
    counts[day] += size
    customers[day] += 1 if one else size


def episodes_of(alarm: Flags, gap: int = 7) -> Ints:
    """Per row, how many runs of alarms there are; alarms at most `gap` periods apart are one run."""
    padded = np.concatenate([np.zeros((len(alarm), gap), dtype=bool), alarm], axis=1)
    sums = np.cumsum(padded, axis=1)
    before = sums[:, gap - 1 : -1] - np.concatenate([np.zeros((len(alarm), 1), int), sums[:, : -gap - 1]], axis=1)
    found: Ints = (alarm & (before == 0)).sum(axis=1)
    return found


def daily_measures(alarm: Flags, quiet_alarm: Flags, data: Daily, horizon: int = 28) -> dict[str, float]:
    """POD within 28 days, saved, F1 over days, isolated bursts alarmed, false-alarm episodes per series and year."""
    alarm, quiet_alarm = alarm[:, -WINDOW:], quiet_alarm[:, -WINDOW:]
    inside, start = data.inside[:, -WINDOW:], data.start - (DAYS - WINDOW)
    real: Flags = data.kind < IN_SCOPE
    t = np.arange(WINDOW)
    soon: Flags = (t >= start[:, None]) & (t < start[:, None] + horizon)
    hit: Flags = alarm & soon
    found: Flags = np.asarray(hit.any(axis=1))
    delay = hit.argmax(axis=1) - start
    true = (alarm & inside)[real].sum()
    false = (alarm & ~inside)[real].sum()
    sens, precision = true / inside[real].sum(), true / max(true + false, 1)
    quick: Flags = np.asarray((alarm & (t >= start[:, None]) & (t < start[:, None] + 8)).any(axis=1))
    paired: Flags = np.asarray((alarm & ~quiet_alarm & soon).any(axis=1))
    measures = {
        "episodes": float(episodes_of(quiet_alarm).mean() * 365 / WINDOW),
        "POD": float(found[real].mean()),
        "saved": float(np.where(found, 1 - delay / horizon, 0)[real].mean()),
        "F1": float(2 * sens * precision / max(sens + precision, 1e-9)),
        "sens": float(sens),
        "prec": float(precision),
        "iso28": float(found[~real].mean()),
        "iso7": float(quick[~real].mean()),
        "isopair": float(paired[~real].mean()),
    }
    for number, name in enumerate(KINDS):
        measures[name] = float(found[data.kind == number].mean())
    return measures
