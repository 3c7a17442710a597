"""`python -m bench.calibrate`: make the tables of `services/classification/domain/detection/tables.py` again, from a seed.

Quiet series of every level and dispersion go through the engine. Repeat it after any change to baseline, filter or settings.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from bench.streams import Array, _week, episodes_of, noisy
from services.classification.domain.detection import tables, thresholds
from services.classification.domain.detection.lending import Lending
from services.classification.domain.detection.panel import Panel
from services.classification.domain.detection.settings import SETTINGS, Setting

TARGET = Path(tables.__file__)
LEAST = 0.004  # episodes a year that the table can tell from none


def quiet(rng: np.random.Generator, setting: Setting, series: int, periods: int) -> Array:
    """Counts without events: level 0.03 to 400, φ 1 (one in six) or 1.03 (weeks: 1.15) to 7, season, trend, weekdays.

    Where hardly anything comes φ is not to be known, and who is asked for what most can keep would have those that are noisier alarm
    twice as often; in weeks, of which there are few, that weighs most.
    """
    t = np.arange(periods)
    level = 10 ** rng.uniform(-1.5, 2.6, series)
    dispersion = 1 + np.exp(rng.uniform(np.log(0.15 if setting.block == 1 else 0.03), np.log(6.0), series))
    dispersion[::6] = 1.0
    years = t / setting.per_year
    mean = level[:, None] * np.exp(rng.uniform(-0.2, 0.2, series)[:, None] * years)
    wave = np.where(rng.random(series) < 0.3, 0.0, rng.uniform(0, 0.5, series))
    mean = mean * np.exp(wave[:, None] * np.cos(2 * np.pi * (years + rng.uniform(0, 1, series)[:, None])))
    if setting.block == 7:
        mean = mean * np.array([_week(rng) for _ in range(series)])[:, t % 7]
    return noisy(rng, mean, dispersion[:, None]).astype(np.float64)


def table(setting: Setting, series: int, past: int, scored: int, seed: int) -> tuple[Array, Array]:
    """Quantiles of odds and log10 episodes a year at the nodes."""
    rng = np.random.default_rng(seed)
    counts = quiet(rng, setting, series, past + scored)
    panel = Panel(setting, np.zeros(series, dtype=np.int64), past + scored)
    if setting.lends:
        panel.base.lending = Lending()
    odds, level, dispersion = (np.zeros((series, scored)) for _ in range(3))
    for t in range(past + scored):
        judged = panel.step(counts[:, t])
        if t >= past:
            odds[:, t - past], level[:, t - past] = judged.odds, judged.level
            dispersion[:, t - past] = judged.dispersion
        if t % 100 == 0:
            print(f"  {setting.name} {t}/{past + scored}", file=sys.stderr, flush=True)
    by_level, by_dispersion = thresholds.weights(
        np.exp(np.log(np.maximum(level, 1e-4)).mean(axis=1)), dispersion.mean(axis=1)
    )
    shares = 10.0**-thresholds.SCORES
    quantiles, rates = np.zeros(thresholds.SHAPE), np.zeros(thresholds.SHAPE)
    for i in range(len(thresholds.LEVELS)):
        for j in range(len(thresholds.DISPERSIONS)):
            # A little of the neighbours smooths what few series would leave to chance.
            weight = (by_level[:, i] + 0.02) * (by_dispersion[:, j] + 0.02)
            weight = np.where(weight > 0.02, weight, 0.0)
            order = np.argsort(odds, axis=None)
            sorted_odds = odds.ravel()[order]
            above = 1 - np.cumsum(np.repeat(weight, scored)[order]) / (weight.sum() * scored)
            places = np.clip(len(order) - np.searchsorted(above[::-1], shares, side="right"), 0, len(order) - 1)
            quantiles[i, j] = sorted_odds[places]
            for number, cut in enumerate(quantiles[i, j]):
                found = episodes_of(odds > cut) * (setting.per_year / scored)
                rates[i, j, number] = np.log10(max(float((weight * found).sum() / weight.sum()), LEAST))
    return quantiles, rates


def written(values: dict[str, Array]) -> str:
    lines = []
    for name, table_ in values.items():
        rows = "\n".join(
            "    " + " ".join(f"{value:.2f}" for value in row) for row in table_.reshape(-1, table_.shape[-1])
        )
        lines.append(f'    "{name}": """\n{rows}\n    """,')
    return "{\n" + "\n".join(lines) + "\n}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, default=2400, help="of days; in weeks five thirds of it")
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--only", default="day,week")
    given = parser.parse_args()
    odds, rates = {}, {}
    for name in tables.ODDS:
        odds[name], rates[name] = thresholds.quantiles(name), thresholds.episodes(name)
    for name in given.only.split(","):
        past, scored = (560, 365) if name == "day" else (260, 300)
        odds[name], rates[name] = table(
            SETTINGS[name], given.series if name == "day" else given.series * 5 // 3, past, scored, given.seed
        )
    text = '"""Made by `python -m bench.calibrate`; see thresholds.py."""\n\n'
    text += f"ODDS: dict[str, str] = {written(odds)}\nEPISODES: dict[str, str] = {written(rates)}\n"
    TARGET.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
