"""Many slices: a stated number of alarms a month, and families in a tree (R43, G3)."""

import numpy as np
import pytest

from bench.streams import noisy
from services.classification.domain.detection.families import Quota, by_rate, hierarchical
from services.classification.domain.detection.standing import Setup, Standing


def excursions(rng: np.random.Generator, slices: int, periods: int, scale: float, share: float) -> np.ndarray:
    """Excesses of quiet slices: below the threshold but for a share of periods, there exponential with this mean."""
    return np.where(rng.random((periods, slices)) < share, rng.exponential(scale, (periods, slices)), -1.0)


@pytest.mark.parametrize(("scale", "share"), [(0.6, 2e-4), (1.0, 1e-3)])
def test_as_many_alarms_begin_as_were_asked_for_whatever_the_tail_is_like_G3(scale: float, share: float) -> None:
    rng = np.random.default_rng(3)
    asked, slices = 20.0, 20_000
    quota = Quota.of(asked, 30.0, slices)
    begun = []
    for excess in excursions(rng, slices, 360, scale, share):
        begun.append(int((excess >= quota.shift(6.0)).sum()))
        quota.learn(0, excess)
        quota.pass_()
    assert sum(begun[60:]) / 10 == pytest.approx(asked, rel=0.5)


def test_real_failures_make_the_cut_more_careful_and_never_less_G3() -> None:
    rng = np.random.default_rng(4)
    calm, busy = (Quota.of(20.0, 30.0, 20_000) for _ in range(2))
    for excess in excursions(rng, 20_000, 120, 0.6, 3e-4):
        calm.learn(0, excess)
        calm.pass_()
        excess[rng.random(20_000) < 3e-5] = 15.0
        busy.learn(0, excess)
        busy.pass_()
    assert calm.shift(9.0) < busy.shift(9.0) < 1.5 * calm.shift(9.0)


def test_before_enough_was_seen_the_bound_holds_and_nothing_asked_is_refused() -> None:
    quota = Quota.of(5.0, 30.0, 10)
    quota.learn(0, np.full(10, 1.0))
    quota.pass_()
    assert quota.shift(4.2) == 4.2
    with pytest.raises(ValueError, match="positive"):
        Quota.of(0.0, 30.0, 10)


def test_slices_standing_with_a_quota_go_on_from_a_snapshot_byte_for_byte() -> None:
    rng = np.random.default_rng(5)
    history = noisy(rng, np.full((300, 560), 2.0), 1.4)
    standing = Standing.of(Setup(alarms=30.0, room=40), history, np.zeros(300, dtype=np.int64))
    again = Standing.restored(standing.snapshot())
    for _ in range(10):
        today = noisy(rng, np.full(300, 2.0), 1.4)
        standing.advance(today)
        again.advance(today)
        assert (standing.alarms() == again.alarms()).all()
    assert standing.quota is not None
    assert again.quota is not None
    assert (standing.quota.crossings == again.quota.crossings).all()
    assert standing.quota.periods == again.quota.periods > 30  # a month of the history, and ten days


@pytest.mark.parametrize("days", [3, 40, 125])
def test_an_operation_that_began_lately_stands_too(days: int) -> None:
    """R09, bad input: less history than the filter comes through. One alarm a month is asked for, over all slices."""
    rng = np.random.default_rng(6)
    history = noisy(rng, np.full((40, days), 2.0), 1.4)
    standing = Standing.of(Setup(alarms=1.0, room=60), history, np.zeros(40, dtype=np.int64))
    quiet = []
    for _ in range(45):
        standing.advance(noisy(rng, np.full(40, 2.0), 1.4))
        quiet.append(int(standing.alarms().sum()))
    assert sum(quiet) <= 6
    for _ in range(7):
        standing.advance(np.full(40, 14))
    assert standing.alarms().all()


def test_the_tree_looks_into_a_family_only_when_its_parent_is_named() -> None:
    p = np.array([1e-6, 0.4, 0.5, 0.6, 1e-3, 0.5, 1e-9, 1e-5])
    parents = [-1, -1, -1, -1, 0, 0, 1, 4]
    named = hierarchical(p, parents, 0.1)
    assert named.tolist() == [True, False, False, False, True, False, False, True]
    with pytest.raises(ValueError, match="before its children"):
        hierarchical(p[:2], [1, -1], 0.1)
    assert hierarchical(np.zeros(0), [], 0.1).shape == (0,)


def test_of_what_a_tree_names_the_false_share_per_named_family_stays_as_set() -> None:
    """Fifty motives of twenty contact points, five motives changed, each at six contact points: mean over 200 draws."""
    rng = np.random.default_rng(6)
    parents = [-1] * 50 + [motive for motive in range(50) for _ in range(20)]
    changed = np.zeros(1050, dtype=bool)
    changed[:5] = True
    for motive in range(5):
        changed[50 + motive * 20 : 50 + motive * 20 + 6] = True
    wrong, found, flat = [], 0, []
    for _ in range(200):
        p = np.where(changed, rng.random(1050) ** 12, rng.random(1050))
        named = hierarchical(p, parents, 0.1)
        families = [named[50 + 20 * motive : 70 + 20 * motive] for motive in np.flatnonzero(named[:50])]
        truth = [changed[50 + 20 * motive : 70 + 20 * motive] for motive in np.flatnonzero(named[:50])]
        shares = [(one & ~true).sum() / max(one.sum(), 1) for one, true in zip(families, truth, strict=True)]
        wrong.append(float(np.mean(shares)) if shares else 0.0)
        flat.append((by_rate(p, 0.1) & ~changed).sum() / max(by_rate(p, 0.1).sum(), 1))
        found += int((named & changed).sum())
    assert np.mean(wrong) < 0.1
    assert np.mean(flat) < 0.1
    assert found > 200 * 10
