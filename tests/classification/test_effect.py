"""Did it work? What came after beside what would have come without the action."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from services.classification.domain.effect import Days, evaluate, periods
from services.classification.domain.effect_model import likelihood

PAST, WINDOW = 7 * 60, 56


def operation(seed: int, ratio: float, *, level: float = 3.0, failure: float = 2.2, weeks: int = 7) -> Days:
    """A slice with a season and a weekend that all share, a failure some weeks old, and an action of that true ratio."""
    random = np.random.default_rng(seed)
    days = np.arange(PAST + 1 + WINDOW)
    shared = (1 + 0.35 * np.cos(2 * np.pi * days / 365.25)) * np.where(days % 7 < 5, 1.2, 0.5)
    rate = level * shared * np.where(days >= PAST - 7 * weeks, failure, 1.0) * np.where(days > PAST, ratio, 1.0)
    return Days(
        own=random.poisson(rate).astype(float),
        others=random.poisson(60 * shared).astype(float),
        related={"elsewhere": random.poisson(9 * shared).astype(float)},
        action=PAST,
        window=WINDOW,
    )


@pytest.mark.parametrize(("ratio", "word"), [(0.35, "effective"), (1.0, "not_effective"), (2.0, "harmful")])
def test_actions_are_judged_by_what_would_have_come_without_them_G4_R95(ratio: float, word: str) -> None:
    effects = [evaluate(operation(seed, ratio), 0.5, ahead=False) for seed in range(6)]
    words = [effect.judgement for effect in effects]
    assert set(words) <= {word, "undecided"}
    assert words.count(word) >= 4
    assert sum((effect.low or 0) <= ratio <= (effect.high or 0) for effect in effects) >= 5


def test_a_season_that_all_share_is_no_effect() -> None:
    """The plain ratio halves with the season; the judgement does not follow it."""
    found = operation(3, 1.0)
    days = np.arange(len(found.own))
    fall = np.where(days > PAST, 0.5, 1.0)
    random = np.random.default_rng(4)
    falling = replace(
        found,
        own=random.binomial(found.own.astype(int), fall).astype(float),
        others=random.binomial(found.others.astype(int), fall).astype(float),
        related={},
    )
    effect = evaluate(falling, 0.5, ahead=False)
    assert effect.plain_ratio is not None
    assert effect.plain_ratio < 0.7
    assert effect.judgement != "effective"


def test_a_peak_that_would_have_fallen_by_itself_is_no_success() -> None:
    """Regression to the mean: of actions that do nothing, taken at the highest four weeks of pure noise, none is effective."""
    judged = []
    for seed in range(12):
        random = np.random.default_rng(seed)
        own = random.negative_binomial(0.6, 0.3, 7 * 90).astype(float)
        trailing = np.convolve(own, np.ones(28))[: len(own)]
        action = 7 * 50 + int(np.argmax(trailing[7 * 50 : 7 * 80]))
        days = Days(own, random.poisson(40.0, len(own)).astype(float), {}, action, WINDOW)
        effect = evaluate(days, 0.5, ahead=False)
        assert effect.plain_ratio is not None
        judged.append((effect.judgement, effect.plain_ratio))
    assert np.median([ratio for _, ratio in judged]) < 0.85, "a dashboard would have seen a fall"
    assert [word for word, _ in judged].count("effective") == 0


def test_complaints_that_come_by_another_door_are_no_success() -> None:
    found = operation(5, 0.3, level=6.0)
    saved = found.own[:PAST][-49:].mean() * 0.7
    random = np.random.default_rng(6)
    moved = random.poisson(saved * (np.arange(len(found.own)) > PAST))
    effect = evaluate(replace(found, related={"elsewhere": found.related["elsewhere"] + moved}), 0.5, ahead=False)
    assert effect.judgement == "not_effective"
    assert effect.displaced_to == "elsewhere"
    assert effect.displaced is not None
    assert effect.displaced > 0.5
    assert evaluate(found, 0.5, ahead=False).judgement == "effective", "the same without the other door"


def test_what_is_undecided_says_how_many_weeks_would_decide() -> None:
    short = replace(operation(2, 0.55, level=0.5, failure=1.5), window=14)
    effect = evaluate(short, 0.6)
    assert effect.judgement == "undecided"
    assert effect.weeks_needed is not None
    assert 2 <= effect.weeks_needed <= 52


def test_customers_answers_tip_a_balance_and_do_not_outweigh_counts() -> None:
    unsure = replace(operation(2, 0.55, level=0.7, failure=1.7), window=21)
    plain, praised = (dict(evaluate(unsure, 0.6, helped=n, ahead=False).probability)["effective"] for n in (0, 12))
    assert praised > plain
    sure = operation(1, 2.0, level=5.0)
    assert evaluate(sure, 0.5, helped=40, ahead=False).judgement == "harmful"


@pytest.mark.parametrize("declared", [0.0, 1.0, 1.2])
def test_a_test_that_declares_nothing_is_refused(declared: float) -> None:
    with pytest.raises(ValueError, match="above 0 and below 1"):
        evaluate(operation(1, 1.0), declared)


def test_without_four_weeks_of_past_nothing_is_said() -> None:
    found = operation(1, 0.3)
    young = replace(found, own=found.own[-WINDOW - 15 :], others=found.others[-WINDOW - 15 :], related={}, action=14)
    assert periods(young) is None
    assert evaluate(young, 0.5).judgement == "undecided"


def test_the_day_of_the_action_is_on_neither_side() -> None:
    found = operation(1, 1.0)
    found.own[PAST] = 5_000
    series = periods(found)
    assert series is not None
    assert series.counts.max() < 1_000


def test_an_empty_slice_is_judged_without_error() -> None:
    found = operation(1, 1.0)
    silent = replace(found, own=np.zeros_like(found.own), related={})
    assert evaluate(silent, 0.5).judgement == "undecided"


def test_the_likelihood_of_the_effect_is_that_of_plain_counts_where_nothing_else_moves() -> None:
    """With a long past and no waves the estimate is the ratio of the sums, and its sd that of two Poisson counts."""
    random = np.random.default_rng(1)
    own = random.poisson(20.0, PAST + 1 + WINDOW).astype(float)
    own[PAST + 1 :] = random.poisson(12.0, WINDOW)
    series = periods(Days(own, np.zeros(0), {}, PAST, WINDOW))
    assert series is not None
    found = likelihood(series)
    top = int(np.argmax(found.weight))
    expected = np.log(own[PAST + 1 :].mean() / own[:PAST].mean())
    assert found.mean[top] == pytest.approx(expected, abs=0.12)
    assert 0.03 < found.sd[top] < 0.2
