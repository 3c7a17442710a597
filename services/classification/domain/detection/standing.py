"""All slices of an operation as they stand today: brought forward a period at a time, revised by one complaint, kept as a snapshot."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from services.classification.domain.detection import thresholds
from services.classification.domain.detection.baseline import Array, Ints
from services.classification.domain.detection.families import Quota
from services.classification.domain.detection.panel import Flags, Judged, Panel
from services.classification.domain.detection.settings import SETTINGS

VERSION = 4
CHUNK = 4096
FROM = 1e-3
"""Share of periods from which on excursions of quiet slices are watched, for `Setup.alarms`: within the tables, and a hundred a day of
100,000 slices. No more alarms than begin there are given, however many are asked for."""
WATCHED, SETTLED = 91, 60
"""Periods through which the filter comes to today: by then what it held before has been forgotten. In the first of them, up to SETTLED,
excursions are half as frequent as they will be, and nothing is learnt from them."""
_ARRAYS = ("blocks", "quiet", "by_weekday", "flat", "pattern", "posterior", "noise", "noise_mean", "dispersion")
_OPEN = ("_before", "_week", "_means", "_calm", "_usual", "_ratios", "_next", "_vague")
_FIT = ("beta", "covariance", "steps", "origin", "dispersion", "year")


@dataclass(frozen=True, slots=True)
class Setup:
    """`far`: share of a quiet slice's periods that may alarm; `alarms`, when given, instead: alarms a month over all slices together."""

    freq: str = "day"
    far: float = 1e-4
    room: int = 3 * 366  # periods to come that state is kept for
    alarms: float | None = None


def far_for(alarms_a_month: float, slices: int, freq: str = "day") -> float:
    """The share of alarmed periods at which quiet slices alarm on so many periods a month over all of them together, in expectation.

    An alarm usually lasts more than a period, so there are fewer alarms than that (Bonferroni's bound, over slices and periods).
    """
    periods = SETTINGS[freq].per_year / 12
    return min(0.01, alarms_a_month / max(slices, 1) / periods)


def _cuts(setup: Setup, one: Judged) -> Array:
    """The odds of a quiet slice's share of periods: `far`, or the one from which excursions are watched."""
    share = setup.far if setup.alarms is None else FROM
    return thresholds.cut_for_share(setup.freq, share, one.level, one.dispersion)


class Standing:
    """Slices by number, in the order of the history they were made from."""

    def __init__(self, setup: Setup, panels: list[Panel], judged: list[Judged], quota: Quota | None = None) -> None:
        self.setup, self.panels, self.quota = setup, panels, quota
        self._cuts: list[Array] = []
        self._odds: list[Array] = []
        self._base: list[Array] = []
        self._mark(judged)

    @classmethod
    def of(cls, setup: Setup, history: Array | Ints, first: Ints, zero: int = 0) -> Self:
        """From counts, slices × periods; period 0 is a Monday for days and `zero` its block's number."""
        panels, judged = [], []
        quota = None
        if setup.alarms is not None:
            quota = Quota.of(setup.alarms, SETTINGS[setup.freq].per_year / 12, len(history))
        passed = 0
        for begin in range(0, len(history), CHUNK):
            part = history[begin : begin + CHUNK].astype(np.float64)
            panel = Panel(SETTINGS[setup.freq], first[begin : begin + CHUNK], part.shape[1] + setup.room, zero=zero)
            found = panel.catch_up(part, WATCHED)
            passed = max(0, len(found) - 1 - SETTLED)
            if quota is not None:
                for one in found[SETTLED:-1]:
                    quota.learn(begin, one.odds - _cuts(setup, one))
            judged.append(found[-1])
            panels.append(panel)
        if quota is not None and passed:
            quota.begin(passed)
        return cls(setup, panels, judged, quota)

    def advance(self, counts: Array | Ints) -> None:
        """One more period of every slice. What the one before it came to is learnt first."""
        if self.quota is not None:
            for number, (odds, base) in enumerate(zip(self._odds, self._base, strict=True)):
                self.quota.learn(number * CHUNK, odds - base)
            self.quota.pass_()
        judged = []
        for number, panel in enumerate(self.panels):
            begin = number * CHUNK
            judged.append(panel.step(counts[begin : begin + panel.series].astype(np.float64)))
        self._mark(judged)

    def add(self, slice_: int, count: int) -> bool:
        """The slice's count of the period under way is now this one: whether that is an alarm."""
        number, row = divmod(slice_, CHUNK)
        odds = self.panels[number].revise(row, float(count))
        self._odds[number][row] = odds
        return bool(odds >= self._cuts[number][row])

    def alarms(self) -> Flags:
        """Slices in alarm."""
        return np.concatenate(
            [odds >= cut for odds, cut in zip(self._odds, self._cuts, strict=True)] or [np.zeros(0, dtype=bool)]
        )

    def _mark(self, judged: list[Judged]) -> None:
        self._odds = [one.odds.copy() for one in judged]
        self._base = [_cuts(self.setup, one) for one in judged]
        shift = 0.0
        if self.quota is not None:
            far = far_for(self.quota.asked, len(self.quota.before), self.setup.freq)
            shift = self.quota.shift(max(0.0, float(np.log(FROM / far))))
        self._cuts = [base + shift for base in self._base]

    def snapshot(self) -> dict[str, Any]:
        """Everything needed to go on, as arrays and numbers; restored only by the same version."""
        return {
            "version": VERSION,
            "setup": [self.setup.freq, self.setup.far, self.setup.room, self.setup.alarms],
            "quota": None
            if self.quota is None
            else {
                "before": self.quota.before.copy(),
                "crossings": self.quota.crossings.copy(),
                "periods": self.quota.periods,
            },
            "base": [base.copy() for base in self._base],
            "panels": [
                {name: getattr(panel, name).copy() for name in (*_ARRAYS, *_OPEN)}
                | {"fit." + name: getattr(panel.base.fit, name).copy() for name in _FIT}
                | {"prior": panel.base.precision.copy(), "prior_mean": panel.base.prior_mean.copy()}
                | {"started": panel.base.started.copy(), "first": panel.first.copy()}
                | {"at": panel.at, "zero": panel.zero, "fitted": panel.base.fit.at}
                for panel in self.panels
            ],
            "odds": [odds.copy() for odds in self._odds],
            "cuts": [cuts.copy() for cuts in self._cuts],
        }

    @classmethod
    def restored(cls, kept: dict[str, Any]) -> Self:
        """Raises ValueError for a snapshot of another version: make it again from the counts."""
        if kept["version"] != VERSION:
            raise ValueError(f"snapshot of version {kept['version']}; this program reads {VERSION}")
        setup = Setup(*kept["setup"])
        panels = []
        for one in kept["panels"]:
            setting = SETTINGS[setup.freq]
            panel = Panel(setting, one["first"], one["blocks"].shape[1] * setting.block, zero=one["zero"])
            for name in (*_ARRAYS, *_OPEN):
                setattr(panel, name, one[name].copy())
            for name in _FIT:
                setattr(panel.base.fit, name, one["fit." + name].copy())
            panel.base.precision, panel.base.prior_mean = one["prior"].copy(), one["prior_mean"].copy()
            panel.base.started, panel.at, panel.base.fit.at = one["started"].copy(), one["at"], one["fitted"]
            panels.append(panel)
        self = cls.__new__(cls)
        self.setup, self.panels, self.quota = setup, panels, None
        if kept["quota"] is not None and setup.alarms is not None:
            learnt = kept["quota"]
            self.quota = Quota.of(setup.alarms, SETTINGS[setup.freq].per_year / 12, len(learnt["before"]))
            self.quota.before, self.quota.crossings = learnt["before"].copy(), learnt["crossings"].copy()
            self.quota.periods = learnt["periods"]
        self._base = [base.copy() for base in kept["base"]]
        self._odds = [odds.copy() for odds in kept["odds"]]
        self._cuts = [cuts.copy() for cuts in kept["cuts"]]
        return self
