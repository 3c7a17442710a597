"""Did a corrective action work? The rate after against the rate before, with an interval, and the words for it."""

from dataclasses import dataclass

from services.classification.domain.numeric import beta_quantile

LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Effect:
    """`ratio`: rate after over rate before, season taken out; `low`, `high`: its 95 % interval; None where nothing was seen."""

    judgement: str
    ratio: float | None
    low: float | None
    high: float | None
    before: int
    after: int


def judge(
    *,
    before: int,
    before_exposure: float,
    after: int,
    after_exposure: float,
    dispersion: float,
    expected_ratio: float,
) -> Effect:
    """Compare distinct complainants of two periods.

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
