"""What series of one file say about each other, on simulated weeks."""

from dataclasses import replace

import numpy as np
import pytest

from bench.streams import noisy
from services.classification.domain.detection.engine import Asked, Series, Told, judge
from services.classification.domain.detection.lending import LEAST, Lending
from services.classification.domain.detection.noise import kept_share, limit
from services.classification.domain.detection.panel import Panel
from services.classification.domain.detection.settings import WEEKS

WEEKS_LONG = 260
YEARS = np.arange(WEEKS_LONG) / 52.18


def errors(mean: np.ndarray, phi: np.ndarray, seed: int, lends: bool) -> tuple[float, float]:
    """Root mean squares over the last year: of the mean's error in standard deviations of a week, and of log φ's."""
    counts = noisy(np.random.default_rng(seed), mean, phi[:, None]).astype(np.float64)
    panel = Panel(WEEKS, np.zeros(len(mean), dtype=np.int64), WEEKS_LONG)
    if lends:
        panel.base.lending = Lending()
    off, noise = [], []
    for t in range(WEEKS_LONG):
        judged = panel.step(counts[:, t])
        if t >= WEEKS_LONG - 52:
            off.append((judged.expected - mean[:, t]) / np.sqrt(phi * mean[:, t]))
            noise.append(np.log(judged.dispersion / phi))
    return float(np.sqrt(np.mean(np.square(off)))), float(np.sqrt(np.mean(np.square(noise))))


def test_series_that_are_alike_know_their_mean_and_noise_better_together_D1() -> None:
    wave = 0.4 * np.cos(2 * np.pi * YEARS) + 0.2 * np.cos(4 * np.pi * YEARS)
    kinds = np.array([np.exp(1.0 + wave), np.exp(3.0 + 0.15 * YEARS)])
    which = np.arange(96) % 2
    phi = np.array([2.5, 1.2])[which]
    alone, together = (errors(kinds[which], phi, 31, lends) for lends in (False, True))
    assert together[0] < 0.7 * alone[0]
    assert together[1] < 0.7 * alone[1]


def test_series_that_are_each_their_own_case_lose_nothing_by_being_judged_together() -> None:
    rng = np.random.default_rng(32)
    mean = np.exp(
        rng.uniform(0.0, 5.0, (160, 1))
        + rng.normal(0, 0.15, (160, 1)) * YEARS
        + rng.uniform(0, 0.5, (160, 1)) * np.cos(2 * np.pi * (YEARS + rng.uniform(0, 1, (160, 1))))
    )
    phi = 1 + np.exp(rng.uniform(np.log(0.1), np.log(5.0), 160))
    alone, together = (errors(mean, phi, 33, lends) for lends in (False, True))
    assert together[0] < 1.03 * alone[0]
    assert together[1] < 1.03 * alone[1]


def said(counts: np.ndarray) -> list[Told]:
    found = dict(judge("week", [Series(2600, row) for row in counts], Asked()))
    return [found[index] for index in range(len(counts))]


def test_a_file_cut_off_says_the_same_up_to_there_though_its_series_lend_each_other() -> None:
    counts = noisy(np.random.default_rng(34), np.full((LEAST + 6, 206), 4.0), 1.5)
    whole, cut = said(counts), said(counts[:, :190])
    for one, other in zip(whole, cut, strict=True):
        for name in ("expected", "upper", "score", "alarm", "kind"):
            np.testing.assert_array_equal(getattr(one, name)[:190], getattr(other, name))


def test_too_few_series_to_learn_from_are_judged_each_by_itself() -> None:
    counts = noisy(np.random.default_rng(35), np.full((LEAST - 1, 200), 4.0), 1.5)
    (alone,) = said(counts[:1])
    among = said(counts)[0]
    np.testing.assert_allclose(among.expected, alone.expected, rtol=1e-9)
    np.testing.assert_allclose(among.score, alone.score, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("mean", "phi"), [(0.14, 2.0), (1.6, 5.0), (20.0, 3.0), (150.0, 1.2)])
def test_what_cutting_counts_off_takes_from_the_noise_is_given_back(mean: float, phi: float) -> None:
    """Without any weight, which is a filter that never expects an event."""
    counts = noisy(np.random.default_rng(36), np.full(400_000, mean), phi)
    cut = np.minimum(counts, limit(np.array(mean), np.array(phi)))
    share = float(((cut - mean) ** 2).mean() / (phi * mean))
    never = replace(WEEKS.kinds, begin_short=0.0)
    assert float(kept_share(never, np.array([mean]), np.array([phi]))[0]) == pytest.approx(share, abs=0.02)


def test_the_noise_of_quiet_series_where_little_comes_is_not_said_too_low() -> None:
    counts = noisy(np.random.default_rng(37), np.full((96, WEEKS_LONG), 0.14), 2.0).astype(np.float64)
    panel = Panel(WEEKS, np.zeros(96, dtype=np.int64), WEEKS_LONG)
    panel.base.lending = Lending()
    judged = [panel.step(counts[:, t]) for t in range(WEEKS_LONG)][-1]
    assert 1.35 < float(judged.dispersion.mean()) < 2.2
    assert 0.09 < float(judged.expected.mean()) < 0.18
