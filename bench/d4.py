"""D4: chronic slices, bad from the beginning, among peers that differ by nature: F1 and false discoveries, beside the naive
Poisson 3-sigma funnel, the ranking of unadjusted rates and exact SMR tests with Bonferroni's correction, on the same counts.
"""

from __future__ import annotations

import secrets
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from statistics import mean

import numpy as np
from scipy.stats import poisson

from bench.cubes import counts
from bench.lab import Lab, note
from bench.report import Bar, at_most, told
from services.classification.domain.chronic import look

SIZES = {"few": (8, 15), "dozens": (25, 60), "hundreds": (150, 300)}
ROUNDS = 120
SPREADS = (0.1, 0.2, 0.3)
"""Natural differences at which wrong names are told one by one: the mean over all hides that they are no rarer than places differ."""
F1_FLOOR = 70.0
"""Percent, mean over everything planted, weak and tiny slices included. A ratio of 1.5 among peers that differ by 30 % is two
standard deviations: nobody can tell all of them."""


@dataclass(frozen=True, slots=True)
class Case:
    observed: np.ndarray
    exposure: np.ndarray
    chronic: np.ndarray
    size: str


def planted(random: np.random.Generator, size: str, natural_spread: float | None = None) -> Case:
    """Peers with exposures that differ hundredfold, natural differences of 5-30 % or as given, each chronic with a chance of 2-12 %."""
    number = int(random.integers(*SIZES[size]))
    exposure = random.lognormal(0, random.uniform(0.5, 1.4), number)
    exposure *= float(np.exp(random.uniform(np.log(8), np.log(150)))) / np.median(exposure)
    spread = random.uniform(0.05, 0.3) if natural_spread is None else natural_spread
    natural = random.gamma(1 / spread**2, spread**2, number)
    chronic = random.random(number) < random.uniform(0.02, 0.12)
    rate = natural * np.where(chronic, random.uniform(1.6, 3.5, number), 1.0)
    return Case(counts(random, exposure * rate, random.uniform(1.0, 1.3)), exposure, chronic, size)


def table(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Motives x places without exposure, some cells chronic."""
    motives, places = int(random.integers(6, 20)), int(random.integers(10, 40))
    row, column = random.lognormal(0, 0.8, motives), random.lognormal(0, 0.8, places)
    mean_ = np.outer(row, column)
    mean_ *= motives * places * float(np.exp(random.uniform(np.log(8), np.log(60)))) / mean_.sum()
    spread = random.uniform(0.05, 0.3)
    natural = random.gamma(1 / spread**2, spread**2, mean_.shape)
    chronic = (random.random(mean_.shape) < random.uniform(0.005, 0.03)) & (mean_ > 3)
    rate = natural * np.where(chronic, random.uniform(1.8, 4, mean_.shape), 1.0)
    return counts(random, mean_ * rate, random.uniform(1.0, 1.3)), chronic


def ours(case: Case) -> np.ndarray:
    return look(case.observed[None, :], case.exposure).flagged[0].astype(bool)


def three_sigma(case: Case) -> np.ndarray:
    expected = case.exposure * case.observed.sum() / case.exposure.sum()
    return case.observed > expected + 3 * np.sqrt(expected)


def ranking(case: Case) -> np.ndarray:
    """The worst tenth by rate."""
    worst = np.argsort(-case.observed / case.exposure)[: max(1, round(0.1 * len(case.observed)))]
    return np.isin(np.arange(len(case.observed)), worst)


def smr(case: Case) -> np.ndarray:
    expected = case.exposure * case.observed.sum() / case.exposure.sum()
    return poisson.sf(case.observed - 1, expected) < 0.05 / len(expected)


PEERS: dict[str, Callable[[Case], np.ndarray]] = {"3-sigma": three_sigma, "rate rank": ranking, "SMR exact": smr}


def f1(hits: int, named: int, true: int) -> float:
    return 100 * 2 * hits / (named + true) if named + true else 100.0


class Score:
    """Counts over all cases: F1 of all slices together, and the share of the named that were usual ones."""

    def __init__(self) -> None:
        self.hits = self.named = self.true = 0
        self.wrongly: list[float] = []

    def add(self, named: np.ndarray, true: np.ndarray) -> None:
        hits = int((named & true).sum())
        self.hits, self.named, self.true = self.hits + hits, self.named + int(named.sum()), self.true + int(true.sum())
        self.wrongly.append(float((named.sum() - hits) / max(named.sum(), 1)))

    @property
    def f1(self) -> float:
        return f1(self.hits, self.named, self.true)

    @property
    def false(self) -> float:
        return 100 * mean(self.wrongly)


def run(lab: Lab) -> list[Bar]:
    seed = secrets.randbits(32)
    note(f"D4 seed {seed}")
    random = np.random.default_rng(seed)
    rounds = 20 if lab.quick else ROUNDS
    scores: dict[tuple[str, str], Score] = defaultdict(Score)
    for size in SIZES:
        for _ in range(rounds):
            case = planted(random, size)
            for name, method in {"ours": ours, **PEERS}.items():
                scores[name, size].add(method(case), case.chronic)
    shared, naive = Score(), Score()
    for _ in range(rounds // 4):
        observed, chronic = table(random)
        shared.add(look(observed).flagged.astype(bool), chronic)
        usual = np.outer(observed.sum(axis=1), observed.sum(axis=0)) / observed.sum()
        naive.add(observed > usual + 3 * np.sqrt(usual), chronic)
    bars: list[Bar] = []
    whole = {name: mean(scores[name, size].f1 for size in SIZES) for name in ("ours", *PEERS)}
    beside = {name: whole[name] for name in PEERS}
    holds = whole["ours"] >= F1_FLOOR and whole["ours"] > max(beside.values())
    bars.append(
        Bar(
            "D4.f1",
            "F1 of planted chronic slices, mean over sizes",
            whole["ours"],
            "%",
            f">= {F1_FLOOR:g}, > peers",
            holds,
            peers=beside,
        )
    )
    for size, (low, high) in SIZES.items():
        value, peers = scores["ours", size].f1, {name: scores[name, size].f1 for name in PEERS}
        bars.append(
            Bar(
                f"D4.{size}",
                f"F1 among {low}-{high} peers",
                value,
                "%",
                "reported",
                None,
                peers=peers,
            )
        )
    wrong = mean(scores["ours", size].false for size in SIZES)
    bars.append(at_most("D4.false", "named wrongly, mean of shares (7 % is set)", wrong, "%", 10))
    bars.append(
        told("D4.false-peers", "the same of exact SMR", mean(scores["SMR exact", size].false for size in SIZES), "%")
    )
    for spread in SPREADS:
        score = Score()
        for number in range(rounds):
            case = planted(random, list(SIZES)[number % len(SIZES)], spread)
            score.add(ours(case), case.chronic)
        wrongly = 100 * (score.named - score.hits) / max(score.named, 1)
        what = f"named wrongly, of all names, where places differ by {100 * spread:.0f} % by nature"
        bars.append(told(f"D4.spread{100 * spread:.0f}", what, wrongly, "%", note=f"F1 {score.f1:.0f} %"))
    holds = shared.f1 >= 60 and shared.f1 > naive.f1
    what = "F1 without exposure, by share of motives at places"
    bars.append(Bar("D4.shares", what, shared.f1, "%", ">= 60, > peers", holds, peers={"3-sigma": naive.f1}))
    return bars
