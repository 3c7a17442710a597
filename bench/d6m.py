"""D6 of the monitor: series that overlap, quiet all of them, through the engine that watches them (`judges.py`).

Each contact is in one slice of the first series and in one of each series beside it, so what one contact adds it adds thirteen times,
and one chance excess may raise several slices. Asked for is a number of alarms a month over all of them together, as the setting
`LAZO_CLASSIFICATION_FALSE_ALARMS_PER_MONTH` does; counted is every slice that begins to alarm.
"""

from __future__ import annotations

import os
import time
from datetime import date, timedelta

import numpy as np

from bench.lab import Lab, note
from bench.report import Bar, at_most
from bench.streams import noisy
from services.classification.domain.detection.baseline import Array, Ints
from services.classification.domain.judges import Judges
from services.classification.domain.lots import MONTH, YOUNG
from services.classification.domain.slices import DEFAULT, FIRST, Series, Slice, family, parse
from services.classification.domain.watch import Watch

ASKED = 10.0
"""Alarms a month: forty times the usual setting, or a year would hold too few of them to count."""
SETTLED = 91
"""Days before anything is counted: until the operation's own slices have told how far quiet ones go, the tables' tail stands in."""
PAIRS = "motive*product, motive*location, motive*team, motive*supplier"
SIZES = {
    "motive": 60,
    "touchpoint": 40,
    "product": 25,
    "location": 40,
    "team": 30,
    "supplier": 12,
    "cause": 90,
    "component": 6,
}
WEEK = np.array([1.28, 1.16, 1.08, 1.02, 0.98, 0.86, 0.62])


class Quiet:
    """Days of contacts in which nothing happens but weekdays, a season that all share, and noise. Attributes are drawn one by one."""

    def __init__(self, rng: np.random.Generator, series: tuple[Series, ...], sizes: dict[str, int]) -> None:
        self._rng, self.series, self._sizes = rng, series, sizes
        cells = sizes["motive"] * sizes["touchpoint"]
        # Zipf sizes: most slices of an operation are small.
        self._level = rng.permutation(np.minimum(40.0, 40.0 / (1 + np.arange(cells) * 60.0 / cells) ** 1.3))
        shares = {name: 1.0 / (1.0 + np.arange(size)) ** 0.7 for name, size in sizes.items()}
        self._shares = {name: share / share.sum() for name, share in shares.items()}
        self.keys: list[Slice] = []
        self._first: list[int] = []
        for one in series:
            self._first.append(len(self.keys))
            number = int(np.prod([sizes[name] for name in one.dims]))
            for place in range(number):
                rest, values = place, []
                for name in reversed(one.dims):
                    rest, value = divmod(rest, sizes[name])
                    values.append((name, f"{name[0]}{value}"))
                self.keys.append(tuple(reversed(values)))

    def day(self, day: int) -> tuple[Array, Ints]:
        """Complainants of every slice, and the slices of each."""
        rng, usual = self._rng, WEEK[day % 7] * (1 + 0.18 * np.cos(2 * np.pi * day / 365.25))
        cells = noisy(rng, self._level * usual, 1.4).astype(np.int64)
        which = np.repeat(np.arange(len(cells)), cells)
        values = {name: rng.choice(len(share), len(which), p=share) for name, share in self._shares.items()}
        values["motive"], values["touchpoint"] = np.divmod(which, self._sizes["touchpoint"])
        # A cause has one component, a motive one procedure, as in a rulebook.
        values["component"] = values["cause"] % self._sizes["component"]
        values["procedure"] = values["motive"]
        of = []
        for one, first in zip(self.series, self._first, strict=True):
            place = np.zeros(len(which), dtype=np.int64)
            for name in one.dims:
                place = place * self._sizes[name] + values[name]
            of.append(place + first)
        slices = np.stack(of)
        return np.bincount(slices.ravel(), minlength=len(self.keys)).astype(np.float64), slices


def alarms(text: str, days: int, sizes: dict[str, int], seed: int) -> dict[str, float]:
    """What a quiet operation is told, and what that costs."""
    rng = np.random.default_rng(seed)
    quiet = Quiet(rng, parse(text), sizes | {"procedure": sizes["motive"]})
    keys = quiet.keys
    families = [family(key) for key in keys]
    number = {one: place for place, one in enumerate(sorted(set(families)))}
    of = np.array([number[one] for one in families], dtype=np.int64)
    wide = np.array([tuple(name for name, _ in key) != FIRST.dims for key in keys])
    judges = Judges(0, ASKED, 5)
    heard = np.zeros(len(keys), dtype=bool)
    before, nobody = np.zeros(len(keys), dtype=bool), np.zeros(len(keys), dtype=bool)
    first = beside = 0
    spent: list[float] = []
    for day in range(days):
        today, _ = quiet.day(day)
        heard |= today > 0
        began = time.process_time()
        again = rng.binomial(today.astype(np.int64), 0.06).astype(np.float64)
        lanes = judges.step(today, again, heard.copy(), of, wide, nobody)
        spent.append(time.process_time() - began)
        now = np.zeros(len(keys), dtype=bool)
        for lane in lanes:
            now[np.flatnonzero(heard)] |= (lane.p <= lane.level) & lane.known
        if day >= SETTLED:
            first += int((now & ~before & ~wide).sum())
            beside += int((now & ~before & wide).sum())
        before = now
    months = (days - SETTLED) / MONTH
    return {
        "slices": float(len(keys)), "first": first / months, "beside": beside / months, "months": months,
        "day": max(spent[YOUNG:]), "all": sum(spent),
    }  # fmt: skip


def one(text: str, contacts: int = 2_000) -> float:
    """Microseconds that a complaint costs the monitor's counts, in the first series and in each beside it."""
    rng = np.random.default_rng(1)
    quiet = Quiet(rng, parse(text), SIZES | {"procedure": SIZES["motive"]})
    watch, monday = Watch(), date(2025, 1, 6)
    days = [quiet.day(day)[1] for day in range(60)]
    began, number = 0.0, 0
    for day, slices in enumerate(days):
        if day == 50:
            began = time.process_time()  # by then nearly every slice is known
        when = monday + timedelta(days=day)
        for contact in slices.T[:contacts].tolist():
            number += day >= 50
            for place in contact:
                watch.add(quiet.keys[place], when, 1, 1)
    return (time.process_time() - began) / number * 1e6


def run(lab: Lab) -> list[Bar]:
    seed = int.from_bytes(os.urandom(4), "big")
    note(f"D6 of the monitor: seed {seed}")
    bars = []
    sizes = {name: max(4, size // 3) for name, size in SIZES.items()} if lab.quick else SIZES
    for name, text in (("", DEFAULT), (".pairs", f"{DEFAULT}, {PAIRS}")):
        found = alarms(text, 200 if lab.quick else 365, sizes, seed)
        slices, months, begun = int(found["slices"]), found["months"], found["first"] + found["beside"]
        most = ASKED + 3 * (ASKED / months) ** 0.5
        what = f"{slices:,} slices of overlapping series{', pairs among them' if name else ''}"
        bars += [
            Bar(
                f"D6.monitor{name}", f"{what}: alarms a month, {ASKED:g} asked", begun, "", f"<= {most:.3g}", begun <= most,
                note=f"{found['first']:.1f} of the first series, {found['beside']:.1f} beside it, {months:.1f} months",
            ),
            at_most(f"D6.monitor{name}.day", f"{what}: one day on at worst, as for 100,000", found["day"] * 100_000 / slices, "s", 30),
            at_most(f"D6.monitor{name}.one", f"{what}: one new complaint, counted in all of them", one(text), "us", 100),
        ]  # fmt: skip
    return bars
