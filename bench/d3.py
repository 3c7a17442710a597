"""D3: where it is. Failures planted in cubes of 4-6 attributes, 10⁴-10⁵ leaves: are they named by the narrowest set of values?

Complaint-like cubes (Zipf sizes, most leaves empty on most days, negative binomial, each attribute's values with days of their own)
for the bars; dense cubes as the papers use them to show that the peers are what they claim. Peers beside on the same cubes.
"""

from __future__ import annotations

import secrets
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import product
from statistics import mean, median
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from bench import locators
from bench.cubes import Failure, World, dense, pairs, plant, world
from bench.lab import Lab, note
from bench.report import Bar, at_most, told
from services.classification.domain.localisation import Cube, Open, Rules, localise
from services.classification.domain.localisation.noise import at_a_glance

WORLDS = ((10_000, 600.0, 4), (20_000, 1500.0, 5), (30_000, 3000.0, 6))
BANDS = ((5.0, 8.0), (8.0, 12.0), (12.0, 20.0), (20.0, 40.0))
PLANTED, QUIET, FOLLOWED, DAYS, DENSE = 40, 260, 8, 10, 30
Where = dict[str, tuple[str, ...]]
PEERS: dict[str, Callable[[Cube, np.ndarray, np.ndarray], list[Where]]] = {
    "Adtributor": locators.adtributor,
    "Squeeze": locators.squeeze,
    "RiskLoc": locators.riskloc,
}


def named(found: Sequence[Where], failures: Sequence[Failure]) -> tuple[int, int, int, int]:
    """Values named rightly, named, planted, and sets named exactly; findings and failures matched one to one."""
    total, planted = sum(len(pairs(where)) for where in found), sum(len(pairs(each.where)) for each in failures)
    if not found:
        return 0, 0, planted, 0
    common = np.array([[len(pairs(each.where) & pairs(where)) for where in found] for each in failures])
    size = np.array([[len(pairs(each.where)) + len(pairs(where)) for where in found] for each in failures])
    rows, columns = linear_sum_assignment(-common / size)
    right = int(common[rows, columns].sum())
    exact = int((2 * common[rows, columns] == size[rows, columns]).sum())
    return right, total, planted, exact


class Tally:
    def __init__(self) -> None:
        self.each: list[float] = []
        self.exact: list[float] = []
        self.per: list[float] = []

    def add(self, found: Sequence[Where], failures: Sequence[Failure]) -> None:
        right, total, planted, exact = named(found, failures)
        self.each.append(100 * 2 * right / (total + planted))
        self.exact.append(100 * 2 * exact / (len(found) + len(failures)))
        self.per.append(len(found) / len(failures))


def ours(held: World, seen: np.ndarray) -> list[Where]:
    return [found.where for found in localise(held.cube, seen, held.expected, held.noise).findings]


def run(lab: Lab) -> list[Bar]:
    seed = secrets.randbits(32)
    note(f"D3 seed {seed}")
    random = np.random.default_rng(seed)
    share = 0.15 if lab.quick else 1.0
    worlds = [world(random, *size) for size in WORLDS]
    note("D3 three cubes with eight weeks of history each")
    return [
        *planted(random, worlds, max(12, round(PLANTED * share))),
        *quiet(random, worlds, round(QUIET * share)),
        *followed(random, worlds, max(2, round(FOLLOWED * share))),
        *as_published(random, max(4, round(DENSE * share))),
        *speed(random),
    ]


def planted(random: np.random.Generator, worlds: Sequence[World], number: int) -> list[Bar]:
    tallies: dict[tuple[str, str], Tally] = defaultdict(Tally)
    for held in worlds:
        for case in range(number):
            failures, effect = plant(random, held, 1 + case % 3, BANDS[case // 3 % len(BANDS)])
            seen = held.day(random, effect)
            band = "{:g}-{:g}".format(*BANDS[case // 3 % len(BANDS)])
            kinds = [band, f"{len(failures)} at once"] if all(each.detectable for each in failures) else [band]
            kinds += ["detectable"] if len(kinds) == 2 else ["weak"]
            for name, found in {
                "ours": ours(held, seen),
                **{n: m(held.cube, seen, held.expected) for n, m in PEERS.items()},
            }.items():
                for kind in kinds:
                    tallies[name, kind].add(found, failures)

    def of(kind: str, what: str) -> dict[str, float]:
        return {name: mean(getattr(tallies[name, kind], what)) for name in ("ours", *PEERS) if tallies[name, kind].each}

    bars = [
        against("D3.f1", "F1 of the named values, detectable failures", of("detectable", "each"), 90),
        against("D3.exact", "F1 of sets named exactly, detectable failures", of("detectable", "exact"), 80),
    ]
    bars += [
        against(f"D3.at{number}", f"F1 of values, {number} at once, detectable", of(f"{number} at once", "each"), floor)
        for number, floor in ((1, 90), (2, 85), (3, 80))
        if tallies["ours", f"{number} at once"].each
    ]
    for low, high in BANDS:
        values = of(f"{low:g}-{high:g}", "each")
        bars.append(
            Bar(
                f"D3.z{low:g}",
                f"F1, excess of {low:g}-{high:g} sd of its own noise, all",
                values.pop("ours"),
                "%",
                "reported",
                None,
                peers=values,
            )
        )
    per = mean(tallies["ours", "detectable"].per)
    bars.append(Bar("D3.per", "findings per detectable failure, one day", per, "", "0.9 to 1.1", 0.9 <= per <= 1.1))
    counted = len(tallies["ours", "detectable"].each)
    bars.append(
        told("D3.share", "cases in which all failures are detectable", 100 * counted / (number * len(worlds)), "%")
    )
    return bars


def against(name: str, what: str, values: dict[str, float], floor: float) -> Bar:
    value = values.pop("ours")
    return Bar(
        name, what, value, "%", f">= {floor:g}, > peers", value >= floor and value > max(values.values()), peers=values
    )


def quiet(random: np.random.Generator, worlds: Sequence[World], days: int) -> list[Bar]:
    found: dict[str, int] = defaultdict(int)
    for held in worlds:
        for day in range(days):
            seen = held.day(random)
            found["ours"] += len(ours(held, seen))
            if day % 10 == 0:
                for name, method in PEERS.items():
                    found[name] += 10 * len(method(held.cube, seen, held.expected))
    years = days * len(worlds) / 365
    peers = {name: found[name] / years for name in PEERS}
    value = found["ours"] / years
    return [
        Bar(
            "D3.false",
            f"false findings a year, whole cube, looked at daily ({years:.1f} years)",
            value,
            "1/a",
            "<= 4 (2 set)",
            value <= 4,
            peers=peers,
        )
    ]


def followed(random: np.random.Generator, worlds: Sequence[World], number: int) -> list[Bar]:
    """The same failures day after day: findings opened, and their names at the end."""
    opened, failures_, right, total, planted_ = 0, 0, 0, 0, 0
    for held in worlds[:2]:
        for case in range(number):
            failures, effect = plant(random, held, 1 + case % 2, (10.0, 25.0))
            names: list[Where] = []
            for _ in range(DAYS):
                look = localise(
                    held.cube,
                    held.day(random, effect),
                    held.expected,
                    held.noise,
                    open_findings=[Open(where) for where in names],
                )
                for found in look.findings:
                    if found.same_as is None:
                        names.append(found.where)
                        opened += 1
                    elif found.renamed:
                        names[found.same_as] = found.where
            failures_ += len(failures)
            a, b, c, _ = named(names, failures)
            right, total, planted_ = right + a, total + b, planted_ + c
    per = opened / failures_
    value = 100 * 2 * right / (total + planted_)
    return [
        at_most("D3.follow", f"findings per failure over {DAYS} days", per, "", 1.15),
        Bar("D3.names", f"F1 of their names after {DAYS} days", value, "%", ">= 90", value >= 90),
    ]


def elements(found: Iterable[dict[str, Any]]) -> set[tuple[tuple[str, str], ...]]:
    """Root cause elements as the papers count them: one value per attribute."""
    spread = [[values if isinstance(values, tuple) else (values,) for values in where.values()] for where in found]
    return {
        tuple(sorted(zip(where, choice, strict=True)))
        for where, values in zip(found, spread, strict=True)
        for choice in product(*values)
    }


def as_published(random: np.random.Generator, cases: int) -> list[Bar]:
    sums: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for _ in range(cases):
        cube, real, predict, causes = dense(random)
        truth = elements(causes)
        found = {
            "ours": [
                each.where
                for each in localise(cube, real, predict, at_a_glance(real, predict), Rules(most=12)).findings
            ]
        }
        for name, each in {**found, **{n: m(cube, real, predict) for n, m in PEERS.items()}}.items():
            got = elements(each)
            for place, value in enumerate((len(got & truth), len(got), len(truth))):
                sums[name][place] += value
    values = {name: 100 * 2 * hit / (a + b) for name, (hit, a, b) in sums.items()}
    return [against("D3.dense", "F1 of elements, dense cubes as the papers use them (published 40-95)", values, 75)]


def speed(random: np.random.Generator) -> list[Bar]:
    held = world(random, 100_000, 8000.0, 6)
    calm, failing = [], []
    for number in range(7):
        seen = held.day(random)
        began = time.process_time()
        ours(held, seen)
        calm.append(time.process_time() - began)
        _, effect = plant(random, held, 1 + number % 3, (10.0, 30.0))
        seen = held.day(random, effect)
        began = time.process_time()
        ours(held, seen)
        failing.append(time.process_time() - began)
    return [
        at_most("D3.look", "a look at 100,000 leaves, nothing there, core time", median(calm), "s", 0.5),
        at_most("D3.found", "the same with one to three failures, median", median(failing), "s", 1.5),
    ]
