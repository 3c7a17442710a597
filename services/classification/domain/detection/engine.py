"""Judge whole histories, strictly on-line: what is said about a period depends on it and on what came before it.

Series are taken in chunks ordered by when they begin, so that a file cut off at some day gives the same chunks, shorter.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from services.classification.domain.detection import thresholds
from services.classification.domain.detection.baseline import Array, Ints
from services.classification.domain.detection.panel import Flags, Panel
from services.classification.domain.detection.settings import SETTINGS, Setting

CHUNK = 512
ROWS = (
    32  # chunks are filled up with empty series to a multiple: the shape of a product should not decide its last digit
)
NOTHING, SURGE, SHIFT, DRIFT, BURST, CHRONIC = range(6)
KINDS = ("", "surge", "shift", "drift", "burst", "chronic")
REPEATS_PRIOR = 20.0
SLOW = 1.0  # standard deviations: a lasting event that was never larger is a drift


@dataclass(frozen=True, slots=True)
class Asked:
    """`far`: share of alarmed periods on quiet series. `episodes`, when given, instead: false alarm episodes a series and year."""

    far: float = 0.01
    episodes: float | None = None


@dataclass(frozen=True, slots=True)
class Series:
    """One series: consecutive periods from `first` (number of its day, or of its week, since 1970-01-05, a Monday).

    `customers`: distinct complainants, if known; `exposure` relative to its first value, known in advance of the counts;
    `exposed`: the same in its own unit, 0 before it was first known (what peers are compared by).
    """

    first: int
    counts: Ints
    customers: Ints | None = None
    exposure: Array | None = None
    exposed: Array | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """What is said about one series, an entry per period."""

    expected: Array
    upper: Array
    score: Array
    alarm: Flags
    kind: Ints


def judge(freq: str, series: Sequence[Series], asked: Asked) -> Iterator[tuple[int, Told]]:
    """Index and judgement of every series, chunk by chunk."""
    order = sorted(range(len(series)), key=lambda index: series[index].first)
    for begin in range(0, len(order), CHUNK):
        chunk = order[begin : begin + CHUNK]
        yield from zip(chunk, _chunk(SETTINGS[freq], [series[index] for index in chunk], asked), strict=True)


def _chunk(setting: Setting, series: Sequence[Series], asked: Asked) -> list[Told]:
    origin = series[0].first // setting.block * setting.block
    rows = -(-len(series) // ROWS) * ROWS
    periods = max(item.first - origin + len(item.counts) for item in series)
    first = np.full(rows, periods + setting.block, dtype=np.int64)
    last = np.zeros(rows, dtype=np.int64)
    counts, watched = np.zeros((rows, periods)), np.zeros((rows, periods))
    exposure = np.ones((rows, periods)) if any(item.exposure is not None for item in series) else None
    for row, item in enumerate(series):
        first[row], last[row] = item.first - origin, item.first - origin + len(item.counts)
        counts[row, first[row] : last[row]] = item.counts
        watched[row, first[row] : last[row]] = item.counts if item.customers is None else item.customers
        if exposure is not None and item.exposure is not None:
            exposure[row, first[row] : last[row]] = item.exposure
    panel = Panel(setting, first, periods, zero=origin // setting.block)
    if exposure is not None:
        panel.offsets = np.zeros_like(panel.blocks)
    values = [np.zeros((rows, periods)) for _ in range(3)]
    alarm, kind = np.zeros((rows, periods), dtype=bool), np.zeros((rows, periods), dtype=np.int64)
    seen, people = np.zeros(rows), np.zeros(rows)
    largest = np.zeros(rows)
    for t in range(periods):
        judged = panel.step(watched[:, t], None if exposure is None else exposure[:, t])
        repeats = (seen + REPEATS_PRIOR) / (people + REPEATS_PRIOR)
        exact, score = thresholds.score(setting.name, judged.odds, judged.level, judged.dispersion)
        cut = -np.log10(asked.far)
        if asked.episodes is not None:
            cut = thresholds.cut_for_episodes(setting.name, asked.episodes, judged.level, judged.dispersion)
        alarm[:, t] = (exact >= cut) & (judged.odds > -29)
        expected, variance = judged.expected * repeats, judged.variance * repeats**2
        upper = upper_limit(expected, variance, asked.far)
        values[0][:, t], values[1][:, t], values[2][:, t] = expected, upper, score
        lasting, short, size = panel.about()
        largest = np.where(alarm[:, t], np.maximum(largest, size), 0.0)
        kind[:, t] = np.where(short >= lasting, SURGE, np.where(largest <= SLOW, DRIFT, SHIFT))
        burst = (
            (judged.odds > -29)
            & (counts[:, t] > upper)
            & ((judged.isolated > 0.5) | (counts[:, t] - watched[:, t] > upper - expected))
        )
        kind[:, t] = np.where(alarm[:, t], kind[:, t], np.where(burst, BURST, NOTHING))
        seen, people = seen + counts[:, t], people + watched[:, t]
    return [
        Told(*(array[row, first[row] : last[row]] for array in (*values, alarm, kind))) for row in range(len(series))
    ]


def upper_limit(mean: Array, variance: Array, share: float) -> Array:
    """What a single quiet period stays below but for `share` of times: the gamma distribution of that mean and variance, the
    continuous counterpart of the negative binomial, rounded down."""
    variance = np.maximum(variance, 1e-9)
    shape = np.maximum(mean, 1e-9) ** 2 / variance
    limit: Array = np.floor(special.gammaincinv(shape, 1.0 - share) * variance / np.maximum(mean, 1e-9))
    return limit
