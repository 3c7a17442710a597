"""Control charts: is a number that went up and down within what its own past makes one expect?

Counts and shares of many cases vary more than Poisson and binomial laws say, so plain u and p charts cry wolf; Laney's charts measure
that extra variation from period to period and widen (or narrow) the limits by it. What is rare has no limits of that kind: a count of 0
or 1 a month never leaves them. There the stretch between events is charted instead.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["u", "p"]
Rule = Literal["beyond", "two_of_three", "four_of_five", "eight_on_a_side", "soon", "close_together", "long"]

LEAST: Final = 8
"""Periods of the baseline below which no limits are drawn: of seven moving ranges the mean is uncertain by a third."""
D2: Final = 1.128  # mean range of two standard normals (Shewhart's d2)
TAIL: Final = 0.00135  # beyond three sigma on one side
RUN: Final = 3  # gaps judged together


@dataclass(frozen=True, slots=True)
class Judged:
    """One period of a chart. `value` = numerator / area; `z` in Laney's sigmas; None where nothing can be said."""

    value: float | None
    lower: float | None
    upper: float | None
    z: float | None
    rules: tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class Chart:
    """`sigma_z`: how many times wider than Poisson (u) or binomial (p) the periods vary; None without limits."""

    centre: float | None
    sigma_z: float | None
    periods: int  # of the baseline
    points: tuple[Judged, ...]


def laney(kind: Kind, counts: Sequence[float], areas: Sequence[float], baseline: Sequence[bool]) -> Chart:
    """U′ and P′ charts. Laney (2002), "Improved control charts for attributes", Quality Engineering 14:531.

    `counts`: events (or hits); `areas`: length, exposure (or trials) of each period, 0 where there was none; `baseline`: which periods
    centre and limits are drawn from. z_i = (x_i − x̄) / s_i with s_i = √(x̄/n_i), or √(x̄(1−x̄)/n_i); σ_z = mean |z_i − z_(i−1)| / 1.128;
    limits x̄ ± 3 s_i σ_z. When the baseline does not vary at all σ_z is 1 (the plain chart). Raises ValueError for unequal lengths.
    """
    if not len(counts) == len(areas) == len(baseline):
        raise ValueError("counts, areas and baseline must be equally long")
    used = [i for i, (area, chosen) in enumerate(zip(areas, baseline, strict=True)) if chosen and area > 0]
    values = [count / area if area > 0 else None for count, area in zip(counts, areas, strict=True)]
    centre = sum(counts[i] for i in used) / sum(areas[i] for i in used) if used else None
    spread = None if centre is None else (centre if kind == "u" else centre * (1 - centre))
    if len(used) < LEAST or not spread or spread <= 0:
        return Chart(centre, None, len(used), tuple(Judged(value, None, None, None, ()) for value in values))
    assert centre is not None
    sigma = [math.sqrt(spread / area) if area > 0 else 0.0 for area in areas]
    z = [None if value is None else (value - centre) / s for value, s in zip(values, sigma, strict=True)]
    placed = [score for i in used if (score := z[i]) is not None]
    sigma_z = sum(abs(b - a) for a, b in itertools.pairwise(placed)) / (len(placed) - 1) / D2 or 1.0
    scaled = [None if score is None else score / sigma_z for score in z]
    points = []
    for at, (value, s, rules) in enumerate(zip(values, sigma, run_rules(scaled), strict=True)):
        if value is None:
            points.append(Judged(None, None, None, None, ()))
            continue
        lower, upper = max(0.0, centre - 3 * s * sigma_z), centre + 3 * s * sigma_z
        points.append(Judged(value, lower, upper if kind == "u" else min(1.0, upper), scaled[at], rules))
    return Chart(centre, sigma_z, len(used), tuple(points))


def run_rules(z: Sequence[float | None]) -> list[tuple[Rule, ...]]:
    """Which rules each point completes: one beyond 3 sigma; two of three beyond 2; four of five beyond 1; eight in a row on one side.

    Western Electric (1956), Statistical Quality Control Handbook; all on the same side. The rule of steady trends is left out: it adds
    false alarms and finds nothing sooner (Davis & Woodall 1988, Journal of Quality Technology 20:15). Points without a value are passed
    over, and a rule is told at a point that is part of what it names.
    """
    found: list[tuple[Rule, ...]] = []
    seen: list[float] = []
    for score in z:
        if score is None:
            found.append(())
            continue
        seen.append(score)
        rules: list[Rule] = []
        if abs(score) > 3:
            rules.append("beyond")
        side = math.copysign(1.0, score)
        if score * side > 2 and sum(one * side > 2 for one in seen[-3:]) >= 2:
            rules.append("two_of_three")
        if score * side > 1 and sum(one * side > 1 for one in seen[-5:]) >= 4:
            rules.append("four_of_five")
        if len(seen) >= 8 and all(one * side > 0 for one in seen[-8:]):
            rules.append("eight_on_a_side")
        found.append(tuple(rules))
    return found


@dataclass(frozen=True, slots=True)
class Gap:
    """Periods without an event before the event at `at`. `lower`, `upper`: what the events before make one expect, None too early.

    `chance`: of a gap this short or shorter (for the open one at the end: this long or longer).
    """

    at: int
    since: int
    gap: int
    expected: float | None
    lower: int | None
    upper: int | None
    chance: float | None
    rules: tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class Gaps:
    """A g chart. `open`: the stretch since the last event, that has not ended yet."""

    events: int
    gaps: tuple[Gap, ...]
    open: Gap | None


PRIOR: Final = 0.5
"""Shape of the gamma prior of the rate; its rate is 0 periods (Jeffreys): only what was seen says how rare the thing is."""
EARLY: Final = 3  # events before anything is said


def gaps(counts: Sequence[int]) -> Gaps:
    """g chart of rare events with predictive limits: each stretch judged by the events before it alone.

    Benneyan (2001), Health Care Management Science 4:305; Kaminsky et al. (1992), Journal of Quality Technology 24:63, with the
    uncertainty of the rate integrated out: of a gamma(α, β) rate a period, with α = ½ + events and β = periods seen so far, the
    periods until the next event are geometric in mixture, P(gap ≥ g) = (β / (β + g))^α (Lomax). Of `RUN` gaps together,
    T / (T + β) is beta(RUN, α). `soon` and `close_together`: shorter than a chance of 0.00135; `long`: longer.

    `counts`: events in each period, in order. Several in one period are no gap apart.
    """
    places = [at for at, count in enumerate(counts) for _ in range(count)]
    found: list[Gap] = []
    for number in range(1, len(places)):
        at, since = places[number], places[number - 1]
        found.append(_gap(places, number, at, at - since))
    last = None
    if places:
        last = _gap(places, len(places), len(counts) - 1, len(counts) - 1 - places[-1], ended=False)
    return Gaps(len(places), tuple(found), last)


def _gap(places: Sequence[int], number: int, at: int, gap: int, *, ended: bool = True) -> Gap:
    """The stretch before event `number`. The first event opened the watch and tells of no stretch, so it does not teach the rate."""
    since = places[number - 1]
    events, seen = number - 1, since - places[0]
    if events < EARLY or seen <= 0:
        return Gap(at, since, gap, None, None, None, None, ())
    alpha, beta = PRIOR + events, float(seen)
    rules: list[Rule] = []
    longer = _longer(alpha, beta, gap)
    shorter = 1.0 - _longer(alpha, beta, gap + 1)
    if ended and shorter < TAIL:
        rules.append("soon")
    if longer < TAIL:
        rules.append("long")
    before = number - RUN  # the event the three stretches begin with
    if ended and before > EARLY and places[before] > places[0]:
        rate, begun = PRIOR + before, float(places[before] - places[0])
        # Whole periods: an event at the end of a period may have come within it.
        if _within(rate, begun, at - places[before] + 1) < TAIL:
            rules.append("close_together")
    return Gap(
        at, since, gap, beta / (alpha - 1), _quantile(alpha, beta, TAIL), _quantile(alpha, beta, 1 - TAIL),
        shorter if ended else longer, tuple(rules),
    )  # fmt: skip


def _longer(alpha: float, beta: float, gap: float) -> float:
    return math.exp(alpha * (math.log(beta) - math.log(beta + gap)))


def _quantile(alpha: float, beta: float, share: float) -> int:
    """The largest gap that a share of at most so much stays below (0 when even a gap of none is likelier)."""
    exact = beta * math.expm1(-math.log1p(-share) / alpha)
    return math.floor(exact)


def _within(alpha: float, beta: float, span: float) -> float:
    """P(RUN events within `span` periods): the beta distribution function at span / (span + beta), RUN a whole number."""
    x = span / (span + beta)
    none = math.exp(alpha * math.log1p(-x))
    term, total = 1.0, 0.0
    for j in range(RUN):
        total += term
        term *= (alpha + j) / (j + 1) * x
    return max(0.0, 1.0 - none * total)
