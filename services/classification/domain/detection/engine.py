"""Judge whole histories, strictly on-line: what is said about a period depends on it and on what came before it.

Series are taken in chunks ordered by when they begin, so that a file cut off at some day gives the same chunks, shorter.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special

from services.classification.domain.detection import thresholds
from services.classification.domain.detection.baseline import Array, Ints
from services.classification.domain.detection.holidays import Holidays
from services.classification.domain.detection.lending import Lending
from services.classification.domain.detection.panel import Flags, Panel
from services.classification.domain.detection.settings import SETTINGS, Setting

CHUNK = 512
ROWS = (
    32  # chunks are filled up with empty series to a multiple: the shape of a product should not decide its last digit
)
LEFT = 28  # periods between looks for series that have ended: they are left behind
FAR_OFF = 10**9
NOTHING, SURGE, SHIFT, DRIFT, BURST, CHRONIC = range(6)
KINDS = ("", "surge", "shift", "drift", "burst", "chronic")
REPEATS_PRIOR = 20.0
SLOW = 1.0  # standard deviations: a lasting event that was never larger is a drift


@dataclass(frozen=True, slots=True)
class Asked:
    """`far`: share of alarmed periods on quiet series. `episodes`, when given, instead: false alarm episodes a series and year,
    on average over the series judged together (days: those in which an alarm finds more have more of them)."""

    far: float = 0.01
    episodes: float | None = None
    holidays: tuple[int, ...] = ()
    """Days since 1970-01-05 that are holidays, known beforehand; of no use to weeks."""


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


def judge(
    freq: str, series: Sequence[Series], asked: Asked, worked: Callable[[int], None] | None = None
) -> Iterator[tuple[int, Told]]:
    """Index and judgement of every series, chunk by chunk. `worked` is told after each period how many series have just had it judged:
    over all calls as many as the series have periods."""
    order = sorted(range(len(series)), key=lambda index: series[index].first)
    for begin in range(0, len(order), CHUNK):
        chunk = order[begin : begin + CHUNK]
        yield from zip(chunk, _chunk(SETTINGS[freq], [series[index] for index in chunk], asked, worked), strict=True)


class _Rows:
    """The periods of a chunk's series, end to end, so that a series of two centuries costs its neighbours no memory."""

    def __init__(self, series: Sequence[Series], rows: int, origin: int) -> None:
        lengths = np.zeros(rows, dtype=np.int64)
        lengths[: len(series)] = [len(item.counts) for item in series]
        self.first = np.full(rows, FAR_OFF, dtype=np.int64)
        self.first[: len(series)] = [item.first - origin for item in series]
        self.over = np.where(lengths > 0, self.first + lengths, 0)
        self._bounds = np.cumsum(lengths[: len(series)])
        self._base = np.cumsum(lengths) - lengths - self.first
        self.total = int(self._bounds[-1])
        self.active = np.zeros(0, dtype=np.int64)
        self.places = self.active

    def at(self, period: int) -> None:
        """Which rows have this period, and where it lies."""
        self.active = np.flatnonzero((self.first <= period) & (period < self.over))
        self.places = self._base[self.active] + period

    def of(self, flat: Array, otherwise: float = 0.0) -> Array:
        """This period of all rows."""
        found = np.full(len(self.first), otherwise)
        found[self.active] = flat[self.places]
        return found

    def going(self, period: int) -> Ints | None:
        """The rows to go on with, when at least half of them have ended for good: those that have not, and some to fill up with."""
        goes = np.flatnonzero(self.over > period)
        least = max(-(-len(goes) // ROWS), 1) * ROWS
        if 2 * least > len(self.first):
            return None
        ended = np.flatnonzero(self.over <= period)
        kept = np.sort(np.concatenate([goes, ended[: least - len(goes)]]))
        self.first, self.over, self._base = self.first[kept], self.over[kept], self._base[kept]
        return kept

    def split(self, flat: Any) -> list[Any]:
        """An array per series."""
        return np.split(flat, self._bounds[:-1])


def _chunk(
    setting: Setting, series: Sequence[Series], asked: Asked, worked: Callable[[int], None] | None
) -> list[Told]:
    origin = series[0].first // setting.block * setting.block
    rows = -(-len(series) // ROWS) * ROWS
    periods = max(item.first - origin + len(item.counts) for item in series)
    held = _Rows(series, rows, origin)
    all_counts = np.concatenate([item.counts for item in series]).astype(np.float64)
    all_watched = np.concatenate([item.counts if item.customers is None else item.customers for item in series])
    all_watched = all_watched.astype(np.float64)
    exposure = None
    if any(item.exposure is not None for item in series):
        known = [np.ones(len(item.counts)) if item.exposure is None else item.exposure for item in series]
        exposure = np.concatenate(known)
    panel = Panel(setting, held.first, periods, zero=origin // setting.block)
    if exposure is not None or asked.holidays:
        panel.offsets = np.zeros_like(panel.blocks)
    if asked.holidays:
        panel.holidays = Holidays(asked.holidays, rows)
    if setting.lends:
        panel.base.lending = Lending()
    values = [np.zeros(held.total) for _ in range(3)]
    alarm, kind = np.zeros(held.total, dtype=bool), np.zeros(held.total, dtype=np.int64)
    seen, people = np.zeros(rows), np.zeros(rows)
    largest = np.zeros(rows)
    for t in range(periods):
        if t % LEFT == 0 and (kept := held.going(t)) is not None:
            panel.keep(kept)
            seen, people, largest = seen[kept], people[kept], largest[kept]
        held.at(t)
        active, places = held.active, held.places
        panel.base.lenders = active
        counts, watched = held.of(all_counts), held.of(all_watched)
        judged = panel.step(watched, None if exposure is None else held.of(exposure, 1.0))
        repeats = (seen + REPEATS_PRIOR) / (people + REPEATS_PRIOR)
        exact, score = thresholds.score(setting.name, judged.odds, judged.level, judged.dispersion)
        ready = judged.odds > -29
        cut = -np.log10(asked.far)
        if asked.episodes is not None:
            among = np.zeros(len(counts), dtype=bool)
            among[active] = ready[active]
            share = thresholds.spent(setting.name, asked.episodes, judged.level, judged.dispersion, among)
            cut = thresholds.cut_for_episodes(setting.name, share, judged.level, judged.dispersion)
        alarmed = (exact >= cut) & ready
        expected, variance = judged.expected * repeats, judged.variance * repeats**2
        upper = upper_limit(expected, variance, asked.far)
        for flat, value in zip(values, (expected, upper, score), strict=True):
            flat[places] = value[active]
        lasting, short, size = panel.about()
        largest = np.where(alarmed, np.maximum(largest, size), 0.0)
        burst = ready & (counts > upper) & ((judged.isolated > 0.5) | (counts - watched > upper - expected))
        calm = np.where(burst, BURST, NOTHING)
        kinds = np.where(alarmed, np.where(short >= lasting, SURGE, np.where(largest <= SLOW, DRIFT, SHIFT)), calm)
        alarm[places], kind[places] = alarmed[active], kinds[active]
        seen, people = seen + counts, people + watched
        if worked is not None:
            worked(len(active))
    return [Told(*parts) for parts in zip(*(held.split(flat) for flat in (*values, alarm, kind)), strict=True)]


def upper_limit(mean: Array, variance: Array, share: float) -> Array:
    """What a single quiet period stays below but for `share` of times: the gamma distribution of that mean and variance, the
    continuous counterpart of the negative binomial, rounded down."""
    variance = np.maximum(variance, 1e-9)
    shape = np.maximum(mean, 1e-9) ** 2 / variance
    limit: Array = np.floor(special.gammaincinv(shape, 1.0 - share) * variance / np.maximum(mean, 1e-9))
    return limit
