"""The detection engine a second time, slowly: one slice and one day after another, in plain Python, from counts alone.

It shares no code with `services/classification/domain`: only the numbers that its settings and tables state. Written from the
description in docs/explanation/isolated-or-systemic.md and the formulas named there. Valid for histories short of the sixty weeks after
which lasting changes of level are searched for.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from services.classification.domain.detection.tables import ODDS
from services.classification.domain.lots import DAYS
from tests.classification.slow_borrowing import Taken, family_of, taken_from

KINDS, SHAPE = DAYS.kinds, DAYS.shape
LEVELS = (-2.0, -1.0, 0.0, 1.0, 2.0)
YEAR = 365.25
SIZES = [*KINDS.isolated, *KINDS.short, *KINDS.lasting, KINDS.tail_size]
QUIET, ISOLATED, SHORT, LASTING = 5, len(KINDS.isolated), len(KINDS.short), len(KINDS.lasting)
STATES = QUIET + len(SIZES)
TAIL = STATES - 1
EVENT = range(QUIET + ISOLATED, STATES)

Vector = list[float]


def _weights() -> Vector:
    bell = [math.exp(-level * level / 2) for level in LEVELS]
    return [one / sum(bell) for one in bell]


def transitions() -> list[Vector]:
    """Where each state may be the day after, from what `Kinds` says of beginning, staying and ending."""
    calm = [*_weights(), *([0.0] * len(SIZES))]
    onset = [0.0] * STATES
    for number in range(ISOLATED):
        onset[QUIET + number] = KINDS.begin_isolated / ISOLATED
    for number in range(SHORT):
        onset[QUIET + ISOLATED + number] = KINDS.begin_short / SHORT
    for number in range(LASTING):
        onset[QUIET + ISOLATED + SHORT + number] = KINDS.begin_lasting / LASTING
    rest = 1 - KINDS.begin_short - KINDS.begin_lasting - KINDS.begin_isolated
    after = [onset[state] + rest * calm[state] for state in range(STATES)]
    rows: list[Vector] = []
    for state in range(STATES):
        if state < QUIET:
            row = [onset[to] + rest * (1 - KINDS.stay_level) * calm[to] for to in range(STATES)]
            row[state] += rest * KINDS.stay_level
        elif state < QUIET + ISOLATED:
            row = [(1 - KINDS.stay_isolated) * after[to] for to in range(STATES)]
            for other in range(ISOLATED):
                row[QUIET + other] += KINDS.stay_isolated / ISOLATED
        elif state == TAIL:
            row = [(1 - KINDS.stay_tail) * calm[to] for to in range(STATES)]
            row[TAIL] += KINDS.stay_tail
        else:
            passing = state < QUIET + ISOLATED + SHORT
            first = QUIET + ISOLATED + (0 if passing else SHORT)
            last = first + (SHORT if passing else LASTING) - 1
            stay = KINDS.stay_short if passing else KINDS.stay_lasting
            tail = KINDS.tail if passing else 0.0
            row = [(1 - stay) * (1 - tail) * calm[to] for to in range(STATES)]
            row[TAIL] += (1 - stay) * tail
            near = [other for other in (state - 1, state + 1) if first <= other <= last]
            row[state] += stay * (1 - KINDS.resize)
            for other in near:
                row[other] += stay * KINDS.resize / len(near)
        rows.append(row)
    return rows


MATRIX = transitions()


def inverse(matrix: Sequence[Sequence[float]]) -> list[Vector]:
    """By Gauss and Jordan."""
    size = len(matrix)
    rows = [[*row, *(float(place == number) for place in range(size))] for number, row in enumerate(matrix)]
    for pivot in range(size):
        best = max(range(pivot, size), key=lambda row: abs(rows[row][pivot]))
        rows[pivot], rows[best] = rows[best], rows[pivot]
        rows[pivot] = [value / rows[pivot][pivot] for value in rows[pivot]]
        for row in range(size):
            if row != pivot:
                factor = rows[row][pivot]
                rows[row] = [value - factor * of for value, of in zip(rows[row], rows[pivot], strict=True)]
    return [row[size:] for row in rows]


def columns(block: int, at: int, zero: int) -> Vector:
    angle = 2 * math.pi * (block + zero) * 7 / YEAR
    years = (block - at) * 7 / YEAR
    return [1.0, years, math.cos(angle), math.cos(2 * angle), math.sin(angle), math.sin(2 * angle)]


@dataclass
class Slow:
    """One slice's baseline and filter."""

    first: int
    zero: int
    blocks: Vector = field(default_factory=list)
    calm: Vector = field(default_factory=list)
    offsets: Vector = field(default_factory=list)
    by_weekday: Vector = field(default_factory=lambda: [0.0] * 7)
    flat: float = 0.0
    pooled: Vector = field(default_factory=lambda: [1.0] * 7)
    week: Vector = field(default_factory=lambda: [1.0] * 7)
    posterior: Vector = field(default_factory=lambda: [*_weights(), *([0.0] * len(SIZES))])
    noise: float = 0.0
    noise_mean: float = 0.0
    phi: float = 1.5
    beta: Vector | None = None
    spread: Vector = field(default_factory=list)  # the prior variances of the coefficients
    middle: float = 0.0
    fitted: int = 0
    fit_phi: float = 1.5
    covariance: list[Vector] = field(default_factory=list)
    level: float = 0.0
    vague: float = 1.0
    ratios: Vector = field(default_factory=lambda: [1.0] * STATES)
    days: list[tuple[float, float, float, float]] = field(default_factory=list)  # count, mean, event, isolated
    special: dict[int, int] = field(default_factory=dict)  # kinds of holidays and days after them, by day
    centre: Vector = field(default_factory=lambda: [1.0] * 4)
    doubt: Vector = field(default_factory=lambda: [1 / 8] * 4)
    brought: Vector = field(default_factory=lambda: [0.0] * 4)
    due: Vector = field(default_factory=lambda: [0.0] * 4)

    near: int = -1  # the block up to which only the newest is left out of a fit
    lent: float = 0.0  # complainants that a borrowed level weighs

    def begin(self, day: int, taken: "Taken") -> None:
        """A slice of a new place begins: with a level and a noise that are not its own, as far as its own days do not say otherwise."""
        self.lent, self.level = taken.weight, taken.level
        self.first, self.near, self.beta, self.middle = day, -(-day // 7) + 3, None, math.log(7 * self.level)
        self.posterior, self.by_weekday, self.flat = [*_weights(), *([0.0] * len(SIZES))], [0.0] * 7, 0.0
        self.week = [7 * one / sum(self.pooled) for one in self.pooled]
        self.noise, self.noise_mean = taken.phi_weight * taken.phi, taken.phi_weight
        self.phi, self.fit_phi = taken.phi, 1.3
        self.days = [(0.0, 0.0, 0.0, 1.0)] * len(self.days)

    def typical(self) -> float:
        """What an average day of the year brings."""
        return math.exp(self.beta[0]) / 7 if self.beta is not None else 0.0

    def holiday(self, day: int) -> tuple[float, float]:
        """The day's factor and the variance of its logarithm."""
        if day not in self.special:
            return 1.0, 0.0
        kind, weight = self.special[day], 16 * self.phi
        brought = self.brought[kind] + weight * self.centre[kind]
        return brought / (self.due[kind] + weight), self.phi / brought + self.doubt[kind]

    def open(self, block: int) -> None:
        self.days = []
        if block >= 4:
            self.fit(block)
        if self.beta is None:
            return
        x = columns(block, self.fitted, self.zero)
        self.level = math.exp(sum(b * c for b, c in zip(self.beta, x, strict=True))) / 7
        self.vague = sum(x[i] * x[j] * self.covariance[i][j] for i in range(6) for j in range(6))
        self.ratios = self.spread_out(self.level, self.vague)

    def spread_out(self, level: float, vague: float) -> Vector:
        """Each state's mean over the usual one."""
        wide = math.sqrt(vague + KINDS.wander**2)
        deviation = math.sqrt(self.phi / level + wide**2)
        return [math.exp(one * wide) for one in LEVELS] + [1 + size * deviation for size in SIZES]

    def fit(self, at: int) -> None:
        until = at - (1 if self.near >= at else SHAPE.gap)
        known = [block for block in range(until) if block * 7 >= self.first]
        if not known or until < 4:
            return
        weight = {b: 0.5 ** ((at - b) / SHAPE.half_life) * max(self.calm[b], 0.02) for b in known}
        x = {b: columns(b, at, self.zero) for b in known}
        if self.beta is None:
            seen = sum(weight[b] * self.blocks[b] for b in known) + (self.lent or 0.5)
            due = sum(weight[b] * math.exp(self.offsets[b]) for b in known)
            own = math.log(seen / (due + self.lent * math.exp(-self.middle)))
            self.middle = own
            season = [SHAPE.season_sd**2, (SHAPE.season_sd / 2) ** 2]
            self.beta, self.spread = (
                [own, *([0.0] * 5)],
                [1.5**2, SHAPE.trend_sd**2, *season, *season],
            )
        else:
            self.beta[0] += self.beta[1] * (at - self.fitted) * 7 / YEAR
        self.fitted = at
        for turn in range(2):
            mean = {
                b: math.exp(sum(p * q for p, q in zip(self.beta, x[b], strict=True)) + self.offsets[b]) for b in known
            }
            trust = {b: weight[b] * self.robust(self.blocks[b], mean[b], self.fit_phi) for b in known}
            prior = [1 / one for one in self.spread]
            centre = [self.middle, *([0.0] * 5)]
            information = [
                [sum(trust[b] * mean[b] * x[b][i] * x[b][j] for b in known) / self.fit_phi + (prior[i] if i == j else 0.0) for j in range(6)]
                for i in range(6)
            ]  # fmt: skip
            slope = [
                sum(trust[b] * (self.blocks[b] - mean[b]) * x[b][i] for b in known) / self.fit_phi - prior[i] * (self.beta[i] - centre[i])
                for i in range(6)
            ]  # fmt: skip
            self.covariance = inverse(information)
            moves = [sum(self.covariance[i][j] * slope[j] for j in range(6)) for i in range(6)]
            self.beta = [b + min(1.0, max(-1.0, move)) for b, move in zip(self.beta, moves, strict=True)]
            if turn == 0:
                squares = sum(trust[b] * (self.blocks[b] - mean[b]) ** 2 / max(mean[b], 0.05) for b in known)
                freedom = max(sum(trust.values()) - 4, 0.0)
                self.fit_phi = max(1.0, (squares + 1.3 * 8) / (freedom + 8))
        for group in ([1], [2, 4], [3, 5]):
            usual = [1.5**2, SHAPE.trend_sd**2, SHAPE.season_sd**2, (SHAPE.season_sd / 2) ** 2][min(group)]
            spent = sum(min(1.0, max(0.0, 1 - self.covariance[i][i] / self.spread[i])) for i in group)
            learnt = (sum(self.beta[i] ** 2 for i in group) + SHAPE.held * usual) / (spent + SHAPE.held)
            for i in group:
                self.spread[i] = learnt

    @staticmethod
    def robust(count: float, mean: float, phi: float) -> float:
        residual = 2 * (math.sqrt(count + 0.375) - math.sqrt(mean + 0.375)) / math.sqrt(phi)
        return (2.58 / residual) ** 2 if residual > 2.58 and count >= 3 else 1.0

    def usual(self, day: int) -> float:
        return max(self.level * self.week[day % 7], 0.02 * self.level) * self.holiday(day)[0]

    def take(self, day: int, count: float, common: float) -> tuple[float, float]:
        """One day; its mean, and the odds that something goes on (−30: not yet known)."""
        mean, odds, event, isolated = self.usual(day) * common, -30.0, 0.0, 0.0
        if self.beta is not None and day - self.first >= DAYS.young:
            factor, unknown = self.holiday(day)
            ratios = (
                self.ratios if day not in self.special else self.spread_out(self.level * factor, self.vague + unknown)
            )
            size = mean / max(self.phi - 1, 0.02)
            capped = min(count, mean * max(ratios[QUIET + ISOLATED : QUIET + ISOLATED + SHORT]) + 1)
            logs = [
                capped * math.log(r) - (capped + size) * math.log((size + r * mean) / (size + mean)) for r in ratios
            ]
            prior = [sum(self.posterior[i] * MATRIX[i][j] for i in range(STATES)) for j in range(STATES)]
            found = [p * math.exp(max(log - max(logs), -60)) for p, log in zip(prior, logs, strict=True)]
            self.posterior = [one / sum(found) for one in found]
            event, isolated = sum(self.posterior[i] for i in EVENT), sum(self.posterior[QUIET : QUIET + ISOLATED])
            odds = math.log(max(event, 1e-12)) - math.log(max(1 - event, 1e-12))
        self.days.append((count, mean, event, isolated))
        if day in self.special:
            kind, told = self.special[day], 0.0 if odds == -30 else 1 - event
            plain = mean / self.holiday(day)[0]
            self.brought[kind] = 0.98 * self.brought[kind] + told * min(count, 4 * plain + 3)
            self.due[kind] = 0.98 * self.due[kind] + told * plain
        return mean, odds

    def close(self, block: int, common: float) -> None:
        """A week is over. `common`: its days' mean factor of what is shared."""
        begun = block * 7 >= self.first
        known = begun and self.beta is not None
        counts = [one[0] for one in self.days]
        excess = [count - mean - 2.58 * math.sqrt(self.phi * mean) - 1 for count, mean, *_ in self.days]
        if known and max(excess) > 0:
            counts[excess.index(max(excess))] -= max(excess)
        plain = [block * 7 + day not in self.special for day in range(7)]
        usual = [(1 - self.days[day][2] - self.days[day][3]) * known * plain[day] for day in range(7)]
        square = [(min(count, mean + 4 * math.sqrt(self.phi * mean) + 1) - mean) ** 2 for count, mean, *_ in self.days]
        self.noise = DAYS.noise_memory * self.noise + sum(u * s for u, s in zip(usual, square, strict=True))
        self.noise_mean = DAYS.noise_memory * self.noise_mean + sum(
            u * one[1] for u, one in zip(usual, self.days, strict=True)
        )
        prior = max(DAYS.noise_prior * min(self.level, 1.0), 1e-6) if known or self.lent else 1.0
        self.phi = min(50.0, max(1.02, (self.noise + 1.3 * prior) / (self.noise_mean + prior)))
        self.blocks.append(sum(counts))
        self.calm.append(min(1.0, *(1 - event for *_, event, _ in self.days)))
        self.offsets.append(math.log(common))
        seen = sum(count for count, of in zip(counts, plain, strict=True) if of)
        share = seen / max(sum(part for part, of in zip(self.week, plain, strict=True) if of), 0.02)
        counts = [count if of else share * part for count, of, part in zip(counts, plain, self.week, strict=True)]
        self.by_weekday = [
            DAYS.pattern_memory * held + (new if begun else 0.0)
            for held, new in zip(self.by_weekday, counts, strict=True)
        ]
        self.flat = DAYS.pattern_memory * self.flat + (sum(counts) / 7 if begun else 0.0)


def odds_of_rarity(level: float, phi: float, score: int = 8) -> float:
    """The odds that quiet series of that level and dispersion reach on one day in 1,000 (the ninth column of the table)."""
    levels = (-1.4, -1.0, -0.6, -0.2, 0.2, 0.7, 1.2, 1.8, 2.4)
    spreads = [math.log(one - 0.9) for one in (1.05, 1.3, 1.7, 2.4, 4.0, 6.0)]
    table = [float(value) for value in ODDS["day"].split()]

    def between(x: float, nodes: Sequence[float]) -> list[tuple[int, float]]:
        x = min(max(x, nodes[0]), nodes[-1])
        right = next((place for place in range(1, len(nodes)) if nodes[place] > x), len(nodes) - 1)
        share = (x - nodes[right - 1]) / (nodes[right] - nodes[right - 1])
        return [(right - 1, 1 - share), (right, share)]

    across = [
        sum(
            a * b * table[(row * 6 + column) * 10 + place]
            for row, a in between(math.log10(max(level, 1e-6)), levels)
            for column, b in between(math.log(max(phi, 1.0) - 0.9), spreads)
        )
        for place in range(score + 1)
    ]
    return max(across)


@dataclass(frozen=True)
class Day:
    count: float
    mean: float
    odds: float
    base: float
    phi: float
    careful: float
    vague: float
    common: float
    factor: float
    unknown: float


def judged(
    counts: Mapping[tuple[str, ...], Sequence[float]],
    heard: Mapping[tuple[str, ...], int],
    monday: int,
    first: int,
    *,
    shared: bool,
    beside: Mapping[tuple[str, ...], Sequence[float]] | None = None,
    holidays: Collection[int] = (),
    begins: Mapping[tuple[str, ...], int] | None = None,
    stated: Mapping[tuple[str, ...], Taken] | None = None,
    taken: dict[tuple[str, ...], Taken] | None = None,
) -> dict[tuple[str, ...], list[Day]]:
    """Every day of every slice. Counts begin on a Monday (`monday`: its number since 1970-01-05), recording on day `first`;
    `heard`: the day of a slice's first contact. `shared`: whether what the others bring counts as exposure. `beside`: slices of other
    series, which overlap with these: what the others of theirs brought is what these brought, less their own. `holidays`: numbers of days, from the beginning of the counts on.
    `begins`: days on which slices begin that borrow from those of their family (`family_of`). What is
    `stated` of what they took over is believed; `taken` is given what follows from the others' counts."""
    own, wide = list(counts), list(beside or {})
    counts = {**counts, **(beside or {})}
    special = {day: 2 * (day % 7 > 4) for day in holidays}
    special |= {day + 1: 1 + 2 * ((day + 1) % 7 > 4) for day in holidays if day + 1 not in special}
    slices = {key: Slow(first, monday // 7, special=special) for key in counts}
    told: dict[tuple[str, ...], list[Day]] = {key: [] for key in counts}
    shares: dict[tuple[str, ...], list[tuple[float, float]]] = {key: [] for key in counts}
    everyones, length = 1.0, len(next(iter(counts.values())))
    factors: dict[tuple[str, ...], Vector] = {key: [] for key in counts}
    for day in range(length):
        for key in (key for key, begin in (begins or {}).items() if begin == day):
            among = [
                other
                for other in (wide if key in wide else own)
                if heard[other] <= day and (begins or {}).get(other) != day
                if slices[other].beta is not None and not slices[other].lent
            ]
            kin = [slices[other] for other in among if family_of(other) == family_of(key)]
            found = taken_from(kin, [slices[other] for other in among])
            if taken is not None:
                taken[key] = found
            slices[key].begin(day, (stated or {}).get(key, found))
        if day % 7 == 0:
            for one in slices.values():
                one.open(day // 7)
            factors = {key: [] for key in counts}
        lately: dict[tuple[str, ...], tuple[float, float]] = {}
        for key, one in slices.items():
            known = heard[key] <= day and one.beta is not None
            shares[key] = [*shares[key][-6:], (counts[key][day], one.usual(day)) if known else (0.0, 0.0)]
            brought, due = (sum(held[part] for held in shares[key]) for part in (0, 1))
            limit = everyones * due + 3 * math.sqrt(one.phi * everyones * due) + 1
            weight = 1.0 if key in wide else 1 - sum(one.posterior[state] for state in EVENT) if known else 0.0
            lately[key] = weight * min(brought, limit), weight * due
        total, expected = (sum(lately[key][part] for key in own) for part in (0, 1))
        everyones = min(2.5, max(0.4, (total + 60) / (expected + 60)))
        for key, one in slices.items():
            mine = (min(lately[key][0], total), min(lately[key][1], expected)) if key in wide else lately[key]
            others = (total - mine[0] + 60) / (expected - mine[1] + 60)
            common = min(2.5, max(0.4, others)) if shared else 1.0
            factors[key].append(common * (1 + (one.holiday(day)[0] - 1) * one.week[day % 7]))
            phi, careful = one.phi, one.phi * (1 + 1.645 * math.sqrt(2 / (one.noise_mean + 1)))
            holiday = one.holiday(day)
            mean, odds = one.take(day, counts[key][day], common)
            told[key].append(
                Day(
                    counts[key][day],
                    mean,
                    odds,
                    odds_of_rarity(one.level, phi),
                    phi,
                    careful,
                    one.vague,
                    common,
                    *holiday,
                )
            )
        if day % 7 == 6:
            for key, one in slices.items():
                one.close(day // 7, sum(factors[key]) / 7)
            for group in (own, wide):
                alive = [slices[key] for key in group if heard[key] <= day]
                for kind in range(4):
                    brought, due = (sum(getattr(one, name)[kind] for one in alive) + 8 for name in ("brought", "due"))
                    for key in group:
                        slices[key].centre[kind], slices[key].doubt[kind] = (
                            round(brought / due, 6),
                            round(1 / brought, 6),
                        )
                pooled = [
                    (sum(one.by_weekday[of] for one in alive) + 15) / (sum(one.flat for one in alive) + 15)
                    for of in range(7)
                ]
                pooled = [round(one * 7 / sum(pooled), 6) for one in pooled] if shared else [1.0] * 7
                for one in (slices[key] for key in group):
                    # The week that just ended is still shrunk to what was pooled before it.
                    week = [
                        (held + 15 * of) / (one.flat + 15) for held, of in zip(one.by_weekday, one.pooled, strict=True)
                    ]
                    one.week = [7 * value / sum(week) for value in week]
                    one.pooled = pooled
    return told
