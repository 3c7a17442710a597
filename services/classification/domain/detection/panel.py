"""Many series side by side, brought forward one period at a time. What a period is judged by was known before it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from services.classification.domain.detection.baseline import Array, Baseline, Ints
from services.classification.domain.detection.filtering import Filter
from services.classification.domain.detection.holidays import Holidays, Today
from services.classification.domain.detection.lending import Lending
from services.classification.domain.detection.noise import DOUBTED, kept_share
from services.classification.domain.detection.settings import Setting

LIMIT = 2.58
NOISE = 1.3
CLOSED = 0.02
"""A weekday on which (almost) nothing comes still expects this share of an average day."""

LENT = 60.0
"""Complainants whose noise a borrowed dispersion stands for."""

Flags = npt.NDArray[np.bool_]
_MOVING = (
    "first", "by_weekday", "flat", "pattern", "usual_week", "posterior", "noise", "noise_mean", "dispersion", "_before", "_week", "_means", "_calm",
    "_usual", "_exposed", "_ratios", "_next", "_vague",
)  # fmt: skip
_FITTED = ("beta", "covariance", "steps", "origin", "dispersion", "year")
_LEARNT = ("precision", "prior_mean", "started", "first", "near", "lent")

_ROWS = (
    *("first", "blocks", "quiet", "by_weekday", "flat", "pattern", "posterior", "noise", "noise_mean", "dispersion"),
    *("_before", "_week", "_means", "_calm", "_usual", "_exposed", "_ratios", "_next", "_vague"),
    *("like", "like_held"),
)
_BASE_ROWS = ("first", "prior_mean", "precision", "started", "near", "lent")
_FIT_ROWS = _FITTED


@dataclass(slots=True)
class Judged:
    """One period of every series. `odds`: natural logarithm; −30 where nothing can be said yet."""

    expected: Array
    variance: Array
    odds: Array
    isolated: Array  # probability that this period is an isolated incident
    level: (
        Array  # what an average period of the block should bring; where periods are blocks, an average one of the year
    )
    dispersion: Array
    vague: Array  # variance of the logarithm of what is expected
    unknown: Array  # and what a holiday's factor that is not known yet adds to it
    factor: Array  # of the holiday


class Panel:
    """`first`: period each series begins in. Blocks are counted from period 0, a Monday for days; `zero`: its block's number."""

    def __init__(self, setting: Setting, first: Ints, periods: int, season: Array | None = None, zero: int = 0) -> None:
        self.setting = setting
        series = len(first)
        self.series, self.first = series, first
        blocks = periods // setting.block + 2
        self.filter = Filter(setting.kinds)
        self.base = Baseline(series, setting.shape, -(-first // setting.block), season, zero)
        self.zero = zero
        self.blocks = np.zeros((series, blocks))
        self.offsets: Array | None = None
        self.holidays: Holidays | None = None  # of days; not without `offsets`
        self.quiet = np.ones((series, blocks))
        self.by_weekday = np.zeros((series, 7))
        self.flat = np.zeros((series, 7))
        self.pattern = np.ones((series, 7))
        self.usual_week = np.ones(7)  # what young series' weekdays are shrunk to: flat, or that of all together
        self.posterior = np.tile(self.filter.start, (series, 1))
        self.noise = np.zeros(series)
        self.noise_mean = np.zeros(series)
        self.dispersion = np.full(series, 1.5)
        self.like = np.full(series, NOISE)  # dispersion that a series' own is held near
        self.like_held = np.full(series, -1.0)  # and by how many complainants; negative: as the setting says
        self.at = 0  # next period
        self._opened = -1  # block
        self._before = self.posterior
        self._week = np.zeros((series, setting.block))  # the block's counts so far
        self._means = np.zeros((series, setting.block))
        self._calm = np.ones(series)
        self._usual = np.zeros((series, setting.block))
        self._exposed = np.zeros(series)
        self._ratios = np.ones((series, self.filter.states))
        self._next = np.zeros((series, 1))
        self._vague = np.ones(series)

    def step(self, counts: Array, exposure: Array | None = None) -> Judged:
        """Judge the next period and learn from it. `exposure` relative to one, known before the counts; None where unknown."""
        setting = self.setting
        block, place = divmod(self.at, setting.block)
        expected, ratios, today = self.usual(), self._ratios, self._today()
        if exposure is None and self.holidays is not None:
            exposure = np.ones(self.series)
        if exposure is not None:
            expected = expected * exposure
        if today is not None:
            ratios = self.filter.ratios(self._next[:, 0] * today.factor, self.dispersion, self._vague + today.unknown)
        ready = self.base.started & (self.at - self.first >= setting.young)
        posterior, odds = self.filter.step(self.posterior, counts, expected, self.dispersion, ratios)
        self._before = self.posterior
        self.posterior = np.where(ready[:, None], posterior, self.posterior)
        odds = np.where(ready, odds, -30.0)
        event = self.posterior[:, self.filter.event].sum(axis=1)
        isolated = np.where(ready, self.posterior[:, self.filter.isolated].sum(axis=1), 0.0)
        dispersion = self.dispersion
        factor, unknown = (
            (np.ones(self.series), np.zeros(self.series)) if today is None else (today.factor, today.unknown)
        )
        variance = dispersion * expected + (self._vague + unknown) * expected**2
        self._week[:, place], self._means[:, place] = counts, expected
        self._calm = np.minimum(self._calm, 1.0 - event)
        self._usual[:, place] = 1.0 - event - isolated
        if exposure is not None:
            # A holiday takes from a week what its weekday brings.
            self._exposed += exposure if today is None else exposure * (1.0 + (factor - 1.0) * self._weekday(self.at))
        if today is not None and self.holidays is not None:
            self.holidays.learn(today, counts, expected, np.where(ready, 1.0 - event, 0.0))
        if place == setting.block - 1:
            self._close(block)
        self.at += 1
        level = self._next[:, 0] if setting.block > 1 else self.base.typical(self._next[:, 0])
        return Judged(expected, variance, odds, isolated, level, dispersion, self._vague, unknown, factor)

    def begin(self, rows: Ints, level: Array, weight: Array, dispersion: Array, near: int) -> None:
        """These series begin with the next period: what stood for them before was no recording of theirs. `level` (a period), `weight` and
        `dispersion` are borrowed; see `Baseline.begin`. Weekdays are those of `usual_week` at first."""
        setting = self.setting
        self.first[rows] = self.at
        self.base.begin(rows, -(-self.first[rows] // setting.block), level * setting.block, weight, near)
        self.posterior[rows], self.by_weekday[rows], self.flat[rows] = self.filter.start, 0.0, 0.0
        self.pattern[rows] = self.usual_week / self.usual_week.mean()
        self._next[rows, 0], self._usual[rows] = level, 0.0
        self.noise[rows], self.noise_mean[rows], self.dispersion[rows] = LENT * dispersion, LENT, dispersion

    def usual(self) -> Array:
        """What the next period should bring, before it is known and at an exposure of one."""
        block, place = divmod(self.at, self.setting.block)
        if place == 0 and self._opened != block:
            self._open(block)
            self._opened = block
        mean, today = self._next[:, 0], self._today()
        usual: Array = np.maximum(mean * self._weekday(self.at), CLOSED * mean)
        return usual if today is None else usual * today.factor

    def _today(self) -> Today | None:
        """The next period, where it is a holiday or the day after one."""
        if self.holidays is None:
            return None
        return self.holidays.on(self.at + self.zero * self.setting.block, self.dispersion)

    def held(self) -> dict[str, Any]:
        """What the periods to come depend on, to `go_back` to; of the blocks that are over only how many there are."""
        fit, base = self.base.fit, self.base
        return {
            "panel": {name: getattr(self, name).copy() for name in _MOVING},
            "fit": {name: getattr(fit, name).copy() for name in _FITTED},
            "base": {name: getattr(base, name).copy() for name in _LEARNT},
            "at": (self.at, self._opened, fit.at),
            **({} if self.holidays is None else {"holidays": self.holidays.held()}),
        }

    def go_back(self, held: dict[str, Any]) -> None:
        """To where it stood then; what the blocks since had is written over as they come again."""
        for part, of in ((held["panel"], self), (held["fit"], self.base.fit), (held["base"], self.base)):
            for name, value in part.items():
                setattr(of, name, value.copy())
        self.at, self._opened, self.base.fit.at = held["at"]
        if self.holidays is not None:
            self.holidays.go_back(held["holidays"], self.series)

    def keep(self, rows: Ints) -> None:
        """Go on with these rows only, in this order."""
        for owner, names in ((self, _ROWS), (self.base, _BASE_ROWS), (self.base.fit, _FIT_ROWS)):
            for name in names:
                setattr(owner, name, getattr(owner, name)[rows])
        if self.offsets is not None:
            self.offsets = self.offsets[rows]
        if self.holidays is not None:
            self.holidays.keep(rows)
        self.series = len(rows)

    def revise(self, row: int, count: float) -> float:
        """The last period's count of one series has become this: its odds now. Nothing else is touched before the block ends."""
        period = self.at - 1
        place = period % self.setting.block
        one = slice(row, row + 1)
        self._week[row, place] = count
        expected = self._means[one, place]
        posterior, odds = self.filter.step(
            self._before[one], self._week[one, place], expected, self.dispersion[one], self._ratios[one]
        )
        self.posterior[row] = posterior[0]
        return float(odds[0])

    def catch_up(self, counts: Array, watched: int) -> list[Judged]:
        """Start from a history without its judgements: baselines from everything, the filter from the last `watched` periods.

        What takes years off the way: past events are recognised by their residuals alone, not by what the filter thought then.
        """
        setting, block = self.setting, self.setting.block
        past = max(0, (counts.shape[1] - watched) // block * block)
        blocks = past // block
        if blocks < 4:  # nothing to fit yet: period by period from the first
            return [self.step(counts[:, t]) for t in range(counts.shape[1])]
        held = counts[:, :past].reshape(self.series, blocks, block)
        self.blocks[:, :blocks] = held.sum(axis=2)
        begun = np.arange(blocks) * block >= self.first[:, None]
        if block == 7:
            recent = held[:, -52:]
            by_weekday = recent.sum(axis=1)
            self.by_weekday, self.flat = by_weekday, np.repeat(by_weekday.sum(axis=1, keepdims=True) / 7.0, 7, axis=1)
            self._pattern()
        self.base.refit(blocks, self.blocks, self.quiet, self.offsets)
        self.base.refit(blocks, self.blocks, self.quiet, self.offsets)
        last = np.arange(max(0, blocks - 78), blocks)
        usual = self.base.predict(last)[0] / block
        means = np.maximum(usual[:, :, None] * self.pattern[:, None, :block], CLOSED * usual[:, :, None])
        seen = held[:, last]
        limit = means + 4.0 * np.sqrt(self.base.fit.dispersion[:, None, None] * means) + 1.0
        known = begun[:, last]
        self.noise = (known[:, :, None] * (np.minimum(seen, limit) - means) ** 2).sum(axis=(1, 2))
        kept = (
            means * kept_share(setting.kinds, means, self.base.fit.dispersion[:, None, None])
            if setting.noise_whole
            else means
        )
        self.noise_mean = (known[:, :, None] * kept).sum(axis=(1, 2))
        prior = np.maximum(setting.noise_prior * np.clip(usual[:, -1], setting.noise_least, 1.0), 1e-6)
        self.dispersion = np.clip((self.noise + NOISE * prior) / (self.noise_mean + prior), 1.02, 50.0)
        excess = (seen - limit).max(axis=2)
        self.blocks[:, last] -= np.where(known, np.maximum(excess, 0.0), 0.0)
        self.at = past
        return [self.step(counts[:, t]) for t in range(past, counts.shape[1])]

    def about(self) -> tuple[Array, Array, Array]:
        """Probabilities that a lasting and that a short event is on, and the most likely lasting size in standard deviations."""
        state = self.filter
        lasting = self.posterior[:, state.lasting]
        short = self.posterior[:, state.short].sum(axis=1) + self.posterior[:, state.tail]
        return lasting.sum(axis=1), short, state.sizes[state.lasting][lasting.argmax(axis=1)]

    def _weekday(self, period: int) -> Array:
        if self.setting.block == 1:
            return np.ones(self.series)
        return self.pattern[:, period % 7]

    def _open(self, block: int) -> None:
        """A new block: fit again when it is time, and say what the block's periods should bring."""
        setting, base = self.setting, self.base
        if (block + self.zero) % setting.refit == 0 and block >= 4:
            base.refit(block, self.blocks, self.quiet, self.offsets)
            if base.lending is not None:
                self._lend_noise(base.lending)
        if base.started.any():
            mean, vague = base.predict(np.array([block]))
            self._next, self._vague = mean / setting.block, vague[:, 0]
            self._ratios = self.filter.ratios(self._next[:, 0], self.dispersion, self._vague)
        self._calm = np.ones(self.series)
        self._exposed = np.zeros(self.series)

    def _lend_noise(self, lending: Lending) -> None:
        """What each series' dispersion is held near: that of series like it, as closely as those are alike."""
        self.like, self.like_held = np.full(self.series, NOISE), np.full(self.series, -1.0)
        rows = lending.rows
        if len(rows):
            given = lending.noise(self.noise[rows], self.noise_mean[rows], NOISE, self.setting.noise_prior)
            self.like[rows], self.like_held[rows] = given

    def _close(self, block: int) -> None:
        """A block is over: its sum without its worst period's excess, the weekday pattern, the noise."""
        setting = self.setting
        counts, means = self._week.copy(), self._means
        begun = block * setting.block >= self.first
        known = self.base.started & begun
        phi = self.dispersion[:, None]
        if setting.block > 1:
            excess = counts - means - LIMIT * np.sqrt(phi * means) - 1.0
            worst = excess.argmax(axis=1)
            rows = np.arange(self.series)
            counts[rows, worst] -= np.where(known, np.maximum(excess[rows, worst], 0.0), 0.0)
        plain = np.ones(setting.block, dtype=bool)
        if self.holidays is not None:
            plain = self.holidays.plain((block + self.zero) * setting.block, setting.block)
        each = np.maximum(self._usual, DOUBTED) if setting.noise_whole else self._usual
        usual = np.where(known[:, None] & plain, each, 0.0)
        capped = np.minimum(self._week, means + 4.0 * np.sqrt(phi * means) + 1.0)
        keep = setting.noise_memory
        self.noise = keep * self.noise + (usual * (capped - means) ** 2).sum(axis=1)
        kept = means * kept_share(setting.kinds, means, self.dispersion[:, None]) if setting.noise_whole else means
        self.noise_mean = keep * self.noise_mean + (usual * kept).sum(axis=1)
        prior = (
            setting.noise_prior * np.clip(self._next[:, 0], setting.noise_least, 1.0)
            if known.any()
            else np.ones(self.series)
        )
        prior = np.where(self.like_held < 0, np.maximum(prior, 1e-6), self.like_held)
        self.dispersion = np.clip((self.noise + self.like * prior) / (self.noise_mean + prior), 1.02, 50.0)
        self.blocks[:, block] = counts.sum(axis=1)
        self.quiet[:, block] = self._calm
        if self.offsets is not None:
            self.offsets[:, block] = np.log(np.maximum(self._exposed / setting.block, 1e-6))
        if setting.block == 7:
            if not plain.all():  # of a holiday's weekday the others say what it would have brought
                share = (counts * plain).sum(axis=1) / np.maximum((self.pattern * plain).sum(axis=1), CLOSED)
                counts = np.where(plain, counts, self.pattern * share[:, None])
            total = np.where(begun, counts.sum(axis=1), 0.0)
            self.by_weekday = setting.pattern_memory * self.by_weekday + np.where(begun[:, None], counts, 0.0)
            self.flat = setting.pattern_memory * self.flat + total[:, None] / 7.0
            self._pattern()

    def _pattern(self) -> None:
        """Weekday factors, shrunk to `usual_week` (gamma-Poisson)."""
        prior = self.setting.pattern_prior
        pattern = (self.by_weekday + prior * self.usual_week) / (self.flat + prior)
        self.pattern = pattern / pattern.mean(axis=1, keepdims=True)
