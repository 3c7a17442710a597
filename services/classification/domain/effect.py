"""Did a corrective action work? What came after beside what would have come without it, and the words for it.

*effective*: complaints fell, and by nearer to what was declared than to nothing; *not_effective*: they did not, or they came
back by another door; *harmful*: they rose; *undecided*: the counts do not tell yet, with the weeks that would. Success is
declared before the action (`expected_ratio`); nothing here may change it afterwards.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import exp, log, sqrt
from typing import Any

import numpy as np
from scipy.special import betaln, ndtr

from services.classification.domain.effect_model import Likelihood, Series, likelihood
from services.classification.domain.numeric import Array, beta_quantile

LEVEL = 0.95
DECIDED = {"effective": 0.80, "not_effective": 0.82, "harmful": 0.80}
"""Posterior probability at which a word is said. That nothing came of an action is what a small harm looks like too, so it has to be
surer. Measured wrong at it (bench D5): see docs/explanation."""
HARMFUL_FROM = 1.2
"""A rise below this is no harm anybody could show in a window of weeks; it counts as no effect."""
HELPS, NOTHING, HARMS = 1 / 3, 1 / 3, 1 / 3
"""Prior shares: nobody is believed before the counts are seen."""
ANSWERED = {"effective": 0.7, "not_effective": 0.5, "harmful": 0.3}
ANSWER_WEIGHT = 6.0
"""Answers to "did it help?" count as a beta-binomial of so small a size that they can tip a balance and never outweigh counts."""
MOVES, MOVED, DOUBT = 0.1, 0.8, 0.11
"""Share of actions that only move complaints; probability at which that is said, and at which "effective" is not."""
WEEKS = (2, 4, 8, 16, 32)
"""Tried in turn when it is said how many weeks more would decide."""
MOST_WEEKS = 52
"""Said where even the last of them would not; and so long after its declared window an action is judged at most."""


@dataclass(frozen=True, slots=True)
class Effect:
    """`ratio`: rate after over rate without the action; `low`, `high`: its 95 % interval; None where nothing was seen.

    `before`, `after`: complainants of the two windows; `plain_ratio`: their ratio per day, nothing taken out; `common_ratio`: what
    the comparison slices did meanwhile; `expected`: complainants there would have been; `displaced`: share of the saved that came
    back in related slices, with its probability; `weeks_needed`: more weeks that would decide, where undecided; `probability`: of each word.
    """

    judgement: str
    ratio: float | None
    low: float | None
    high: float | None
    before: int
    after: int
    plain_ratio: float | None = None
    common_ratio: float | None = None
    expected: float | None = None
    displaced: float | None = None
    displaced_to: str | None = None
    displaced_probability: float | None = None
    helped: int = 0
    harmed: int = 0
    weeks_needed: int | None = None
    probability: tuple[tuple[str, float], ...] = ()

    def facts(self) -> dict[str, Any]:
        """As the fields of `lazo.action.judged.v1`, four digits where more would pretend."""
        return {
            "judgement": self.judgement,
            "ratio": self.ratio,
            "low": self.low,
            "high": self.high,
            "before": self.before,
            "after": self.after,
            "plain_ratio": _short(self.plain_ratio),
            "common_ratio": _short(self.common_ratio),
            "expected": _short(self.expected),
            "displaced": _short(self.displaced),
            "displaced_to": self.displaced_to,
            "helped": self.helped,
            "harmed": self.harmed,
            "weeks_needed": self.weeks_needed,
            "probabilities": {word: round(value, 4) for word, value in self.probability},
        }


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")


@dataclass(frozen=True, slots=True)
class Days:
    """Complainants per day, oldest first; the action is day `action` (of neither side), the declared window follows it.

    `own`: the slice; `others`: slices the action did not touch; `related`: by name, where the same complaints could go instead, none
    of it in `others`; `exposure`: contracts or orders per day, 1 where unknown; `year`: time in years of day 0.
    """

    own: Array
    others: Array
    related: Mapping[str, Array]
    action: int
    window: int
    year: float = 0.0
    exposure: Array | None = None


def evaluate(
    days: Days,
    expected_ratio: float,
    *,
    helped: int = 0,
    harmed: int = 0,
    ahead: bool = True,
    least_weeks: int = 2,
) -> Effect:
    """Judge an action by its declared test. `ahead`: where undecided, say how many weeks more would decide, `least_weeks` or more
    of them. Raises ValueError for an expected ratio outside (0, 1)."""
    if not 0 < expected_ratio < 1:
        raise ValueError(f"an expected ratio is above 0 and below 1, not {expected_ratio}")
    since, until = max(0, days.action - max(days.window, 28)), min(days.action + 1 + days.window, len(days.own))
    before, after = int(days.own[since : days.action].sum()), int(days.own[days.action + 1 : until].sum())
    nothing = Effect("undecided", None, None, None, before, after, helped=helped, harmed=harmed)
    series = periods(days)
    if series is None:
        return nothing
    found = likelihood(series)
    shares = _posterior(found, expected_ratio, helped, harmed)
    low, middle, high = (_quantile(found, level) for level in ((1 - LEVEL) / 2, 0.5, (1 + LEVEL) / 2))
    effect = replace(
        nothing,
        judgement=_word(shares, low, high),
        ratio=exp(middle),
        low=exp(low),
        high=exp(high),
        plain_ratio=_per_day(after, until - days.action - 1, before, days.action - since),
        common_ratio=_per_day(
            float(days.others[days.action + 1 : until].sum()),
            until - days.action - 1,
            float(days.others[since : days.action].sum()),
            days.action - since,
        ),
        expected=found.expected_after,
        probability=tuple(sorted(shares.items())),
    )
    effect = _displacement(effect, days, found)
    if ahead and effect.judgement == "undecided":
        effect = replace(effect, weeks_needed=_weeks_needed(series, found, expected_ratio, helped, harmed, least_weeks))
    return effect


def periods(days: Days) -> Series | None:
    """Weeks back and forth from the action. A rest of less than four days after is left out; None where too little is there."""
    action, end = days.action, min(days.action + 1 + days.window, len(days.own))
    exposure = np.ones(len(days.own)) if days.exposure is None else days.exposure
    starts = list(range(action % 7, action, 7))[-104:]
    spans = [(start, start + 7) for start in starts if start + 7 <= action]
    number = len(spans)
    ahead = [(start, min(start + 7, end)) for start in range(action + 1, end, 7)]
    spans += [(start, stop) for start, stop in ahead if stop - start >= 4 or start == action + 1]
    if number < 4 or len(spans) == number:
        return None
    pattern = _weekdays(days)
    weighed = exposure * pattern
    return Series(
        counts=np.array([days.own[a:b].sum() for a, b in spans], dtype=np.float64),
        exposure=np.array([weighed[a:b].sum() for a, b in spans]),
        others=np.array([days.others[a:b].sum() for a, b in spans], dtype=np.float64)
        if len(days.others)
        else np.zeros(0),
        year=np.array([days.year + (a + b) / 2 / 365.25 for a, b in spans]),
        after=len(spans) - number,
    )


def _weekdays(days: Days) -> Array:
    """Weekday factors of the slice and its comparison together, for the weeks that are no whole week."""
    both = days.own + (days.others if len(days.others) else 0)
    place = np.arange(len(both)) % 7
    sums = np.bincount(place, both, 7) + 5.0
    factor = sums / np.bincount(place, minlength=7)[:7].clip(1)
    return np.asarray((factor / factor.mean())[place])


def _posterior(found: Likelihood, expected_ratio: float, helped: int, harmed: int) -> dict[str, float]:
    """Probability of each word: δ is N(log declared, 0.4²), near nothing N(0, 0.06²), or a rise N(log 1.6, 0.3²), a priori;
    the words are ranges of δ, parted at the geometric middle of declared and nothing, and at `HARMFUL_FROM`."""
    parts = ((HELPS, log(expected_ratio), 0.4), (NOTHING, 0.0, 0.06), (HARMS, log(1.6), 0.3))
    cuts = (log(sqrt(expected_ratio)), log(HARMFUL_FROM))
    total = np.zeros(3)
    for share, centre, spread in parts:
        variance = found.sd**2 + spread**2
        # ∫ likelihood · prior, with the wide prior's share of each Gaussian's height taken back out.
        height = (
            found.weight * _height(found) * np.exp(-0.5 * (found.mean - centre) ** 2 / variance) / np.sqrt(variance)
        )
        mean = (found.mean * spread**2 + centre * found.sd**2) / variance
        sd = found.sd * spread / np.sqrt(variance)
        below, upto = ndtr((cuts[0] - mean) / sd), ndtr((cuts[1] - mean) / sd)
        total += share * np.array(
            [(height * below).sum(), (height * (upto - below)).sum(), (height * (1 - upto)).sum()]
        )
    words = ("effective", "not_effective", "harmful")
    if helped + harmed:
        total *= [_answers(helped, harmed, ANSWERED[word]) for word in words]
    total /= total.sum()
    return dict(zip(words, (float(value) for value in total), strict=True))


def _height(found: Likelihood) -> Array:
    """Each component's evidence was taken under the wide prior N(0, 1): divided by ∫ N(δ; m, s²) N(δ; 0, 1) dδ."""
    variance = found.sd**2 + 1.0
    return np.asarray(np.sqrt(variance) * np.exp(0.5 * found.mean**2 / variance))


def _answers(helped: int, harmed: int, share: float) -> float:
    a, b = ANSWER_WEIGHT * share, ANSWER_WEIGHT * (1 - share)
    return exp(float(betaln(a + helped, b + harmed) - betaln(a, b)))


def _quantile(found: Likelihood, level: float) -> float:
    """Of δ under the wide prior, by bisection."""
    variance = 1.0 / (1.0 / found.sd**2 + 1.0)
    mean, sd = found.mean / found.sd**2 * variance, np.sqrt(variance)
    low, high = -12.0, 12.0
    for _ in range(60):
        middle = (low + high) / 2
        if float((found.weight * ndtr((middle - mean) / sd)).sum()) < level:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _word(shares: dict[str, float], low: float, high: float) -> str:
    word, share = max(shares.items(), key=lambda item: item[1])
    if share < DECIDED[word] or (word == "effective" and high >= 0) or (word == "harmful" and low <= 0):
        return "undecided"
    return word


def _displacement(effect: Effect, days: Days, own: Likelihood) -> Effect:
    """Did the complaints come back in related slices? The same model there, and two explanations of what it shows.

    Either nothing moved (δ ~ N(0, 0.05²)) or a share of the saved complaints did (0.4 to 1, each alike), which is a rise that is
    known but for that share. `MOVES` a priori; above `MOVED` the action only moved complaints, from `DOUBT` on it is undecided.
    """
    saved = own.expected_after - effect.after
    best: tuple[float, float, str] | None = None
    for name, counts in sorted(days.related.items()):
        series = periods(replace(days, own=counts)) if saved > 0 and counts.sum() else None
        if series is None:
            continue
        found = likelihood(series)
        height = found.weight * _height(found)
        stayed = _normal(height, found, 0.0, 0.05)
        shares = np.linspace(0.4, 1.0, 13)
        moved = np.array(
            [_normal(height, found, log(1 + part * saved / found.expected_after), 0.05) for part in shares]
        )
        odds = MOVES / len(days.related) * moved.mean() / max((1 - MOVES) * stayed, 1e-300)
        share = float((moved * shares).sum() / max(moved.sum(), 1e-300))
        best = max(best or (0.0, 0.0, ""), (odds / (1 + odds), share, name))
    if best is None:
        return effect
    probability, share, name = best
    judgement = effect.judgement
    if judgement == "effective" and probability >= DOUBT:
        judgement = "not_effective" if probability >= MOVED else "undecided"
    return replace(
        effect,
        displaced=share if probability > 0.5 else 0.0,
        displaced_to=name if probability > 0.5 else None,
        displaced_probability=probability,
        judgement=judgement,
    )


def _normal(height: Array, found: Likelihood, centre: float, spread: float) -> float:
    variance = found.sd**2 + spread**2
    return float((height * np.exp(-0.5 * (found.mean - centre) ** 2 / variance) / np.sqrt(variance)).sum())


def _weeks_needed(
    series: Series, found: Likelihood, expected_ratio: float, helped: int, harmed: int, least: int
) -> int:
    """Weeks after which counts that go on as they went would decide; `MOST_WEEKS` where even those would not."""
    rate = float(found.rate[-series.after :].sum() / series.exposure[-series.after :].sum())
    others = series.others[-series.after :].mean() if len(series.others) else 0.0

    def decides(weeks: int) -> bool:
        more = np.ones(weeks)
        longer = Series(
            counts=np.concatenate([series.counts, np.round(more * rate * 7)]),
            exposure=np.concatenate([series.exposure, more * 7]),
            others=np.concatenate([series.others, more * others]) if len(series.others) else series.others,
            year=np.concatenate([series.year, series.year[-1] + np.arange(1, weeks + 1) * 7 / 365.25]),
            after=series.after + weeks,
        )
        ahead = likelihood(longer)
        shares = _posterior(ahead, expected_ratio, helped, harmed)
        return _word(shares, _quantile(ahead, (1 - LEVEL) / 2), _quantile(ahead, (1 + LEVEL) / 2)) != "undecided"

    return next((weeks for weeks in WEEKS if weeks >= least and decides(weeks)), MOST_WEEKS)


def _per_day(after: float, after_days: int, before: float, before_days: int) -> float | None:
    return after / after_days / (before / before_days) if before and after_days and before_days else None


def judge(
    *,
    before: int,
    before_exposure: float,
    after: int,
    after_exposure: float,
    dispersion: float,
    expected_ratio: float,
) -> Effect:
    """Compare two sums alone: for a slice whose past is too short for a baseline.

    Given the sum, the count after is binomial; its exact (Clopper-Pearson) limits give those of the rate ratio (Przyborowski
    & Wilenski 1940). Overdispersion φ is honoured by counting each complainant as 1/φ (quasi-likelihood). Exposures are in
    days times what all other slices did, so that a season moves both alike. `expected_ratio` is the success test that was
    declared before. *effective*: fewer for sure, and the ratio as declared; *harmful*: more for sure; *not_effective*: the
    declared ratio is ruled out; else *undecided*. Not accounted for: that actions are taken at peaks.
    """
    total = before + after
    if before_exposure <= 0 or after_exposure <= 0 or total == 0:
        return Effect("undecided", None, None, None, before, after)
    phi = max(dispersion, 1.0)
    a, b = after / phi, before / phi
    tail = (1 - LEVEL) / 2
    low_share = beta_quantile(tail, a, b + 1) if a > 0 else 0.0
    high_share = beta_quantile(1 - tail, a + 1, b) if b > 0 else 1.0
    scale = before_exposure / after_exposure
    ratio = after / before * scale if before else None
    low = low_share / (1 - low_share) * scale
    high = high_share / (1 - high_share) * scale if high_share < 1 - 1e-9 else None
    if low > 1:
        judgement = "harmful"
    elif high is not None and high < 1 and ratio is not None and ratio <= expected_ratio:
        judgement = "effective"
    elif low > expected_ratio:
        judgement = "not_effective"
    else:
        judgement = "undecided"
    return Effect(judgement, ratio, low, high, before, after)
