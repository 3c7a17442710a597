"""Operations in which something was done about a slice of complaints at its peak, for D5: what happens next is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bench.cubes import counts

DAYS = 7 * 220
LAST = 7 * 150 - 121
"""The last day for an action: what follows is its window and the year in which it is judged again."""


@dataclass(frozen=True, slots=True)
class Story:
    """`truth`: effective, not_effective or harmful. Daily counts; `action`: the day it was done."""

    truth: str
    ratio: float
    declared: float
    own: np.ndarray
    others: np.ndarray
    related: np.ndarray
    action: int
    window: int
    failure: int | None
    usual_after: float
    shaken: bool
    answers: tuple[int, int]
    displaced: float


def story(random: np.random.Generator, daily: tuple[float, float], truth: str | None = None) -> Story | None:
    """None when the drawn operation never has a peak at which somebody would act."""
    days = np.arange(DAYS)
    weekday = random.dirichlet(np.full(7, random.choice([3.0, 30.0]))) * 7
    phase, amplitude = random.uniform(0, 2 * np.pi), random.uniform(0, 0.4)
    common = amplitude * np.cos(2 * np.pi * days / 365.25 + phase) + random.normal(0, 0.15) * days / 365.25
    common += _wave(random, random.uniform(0.02, 0.08), 0.8)
    window = int(random.choice([28, 56, 84, 112]))
    level = float(np.exp(random.uniform(*np.log(daily))))
    own_wave = _wave(random, random.uniform(0.03, 0.2), random.uniform(0.4, 0.85))
    own_season = random.normal(0, 0.08) * np.cos(2 * np.pi * days / 365.25 + random.uniform(0, 2 * np.pi))
    phi = random.uniform(1.0, 2.0)
    failing = random.random() < 0.6
    earliest, latest = 7 * 70, LAST
    onset = int(random.integers(earliest - 21, latest - 60)) if failing else None
    log_rate = common * random.normal(1.0, 0.15) + own_wave + own_season + random.normal(0, 0.1) * days / 365.25
    if onset is not None:
        log_rate = log_rate + np.log(random.uniform(1.5, 3.0)) * (days >= onset)
    shaken = random.random() < 0.35
    before = counts(random, level * weekday[days % 7] * np.exp(log_rate), phi)
    # Taken at a peak: the highest four weeks in a time in which people look, after the failure has shown for three weeks.
    first = earliest if onset is None else onset + 21
    last = min(latest, first + (250 if onset is None else 70))
    trailing = np.convolve(before, np.ones(28))[:DAYS]
    action = first + int(np.argmax(trailing[first:last]))
    if shaken:  # a campaign or a price rise that moves everybody, around the action
        start = action + int(random.integers(-20, 15))
        jump = random.choice([-1, 1]) * random.uniform(0.15, 0.5)
        common_jump = jump * (days >= start)
        log_rate, common = log_rate + common_jump * (days > action), common + common_jump * (days > action)
    truth = truth or str(random.choice(["effective", "not_effective", "harmful"]))
    ratio = {"effective": random.uniform(0.3, 0.65), "not_effective": 1.0, "harmful": random.uniform(1.4, 2.2)}[truth]
    declared = (
        float(min(0.8, ratio * random.uniform(1.0, 1.25))) if truth == "effective" else float(random.uniform(0.4, 0.7))
    )
    after = counts(random, level * weekday[days % 7] * np.exp(log_rate) * ratio, phi)
    own = np.where(days <= action, before, after)
    others_level = level * random.uniform(8, 40)
    others = counts(random, others_level * weekday[days % 7] * np.exp(common + _wave(random, 0.04, 0.7)), phi)
    related_level = level * random.uniform(2, 5)
    usual_related = related_level * weekday[days % 7] * np.exp(common + _wave(random, 0.08, 0.8))
    usual_after = float((level * weekday[days % 7] * np.exp(log_rate))[action + 1 : action + 1 + window].sum())
    displaced = 0.0
    moved = np.zeros(DAYS)
    if truth == "effective" and random.random() < 0.15:
        # The complaints come by another door: nothing was won, whatever the slice itself shows.
        truth, displaced = "not_effective", float(random.uniform(0.8, 1.0))
        moved = displaced * (1 - ratio) * level * weekday[days % 7] * np.exp(log_rate) * (days > action)
    related = counts(random, usual_related + moved, phi)
    asked = int(random.poisson(0.1 * usual_after))
    helped = int(random.binomial(asked, {"effective": 0.7, "not_effective": 0.5, "harmful": 0.35}[truth]))
    return Story(
        truth,
        ratio,
        declared,
        own,
        others,
        related,
        action,
        window,
        onset,
        usual_after,
        shaken,
        (helped, asked - helped),
        displaced,
    )


def _wave(random: np.random.Generator, sd: float, correlation: float) -> np.ndarray:
    """A slow random level by weeks, as a value per day."""
    weeks = DAYS // 7 + 1
    noise = random.normal(0, sd * np.sqrt(1 - correlation**2), weeks)
    level = np.empty(weeks)
    level[0] = random.normal(0, sd)
    for week in range(1, weeks):
        level[week] = correlation * level[week - 1] + noise[week]
    return np.repeat(level, 7)[:DAYS]
