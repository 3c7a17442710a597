"""A place that opens brings slices with it. They borrow from their motive's others what they cannot know of themselves yet."""

from collections.abc import Sequence
from datetime import timedelta

import numpy as np
import pytest

from libs.events.catalogue.findings import Verdict
from services.classification.domain.episodes import Episode
from services.classification.domain.judges import Judges
from services.classification.domain.lots import LEARNT
from services.classification.domain.slices import Slice, at
from services.classification.domain.watch import Watch
from services.classification.held import pack, unpack
from tests.classification.slow_engine import judged
from tests.classification.streams import ORIGIN, WEEK, quiet

MOTIVES, OLD, OPENED = 6, 5, (90, 131, 170)


def world(seed: int, days: int, fails: int | None = None) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """Counts of motives at places, weekdays and a season in all of them, and two larger slices of each new place. `fails`:
    days after its opening from which on those bring two and a half times as much."""
    rng = np.random.default_rng(seed)
    places = OLD + len(OPENED)
    levels = np.outer(np.exp(rng.normal(0.8, 0.8, MOTIVES)), np.exp(rng.normal(0, 0.5, places)))
    counts = quiet(rng, levels.ravel(), days, rng.uniform(1, 2, levels.size)).reshape(MOTIVES, places, days)
    some = []
    for number, day in enumerate(OPENED, OLD):
        counts[:, number, :day] = 0
        for motive in np.argsort(levels[:, number])[-3:-1]:
            some.append((int(motive), number))
            if fails is not None:
                counts[motive, number, day + fails :] += rng.poisson(
                    1.5 * levels[motive, number], max(days - day - fails, 0)
                )
    return counts, some


def rows_of(counts: np.ndarray) -> list[tuple[Slice, int, int]]:
    """Slice, day and count: of each motive at each place, and of each place."""
    found = [
        (at(f"m{m}", f"t{p}"), int(day), int(counts[m, p, day])) for m, p, day in zip(*np.nonzero(counts), strict=True)
    ]
    together = counts.sum(axis=0)
    return found + [((("touchpoint", f"t{p}"),), int(d), int(together[p, d])) for p, d in zip(*np.nonzero(together), strict=True)]  # fmt: skip


def filled(rows: Sequence[tuple[Slice, int, int]], watch: Watch | None = None) -> Watch:
    watch = watch or Watch()
    watch.fill([(key, ORIGIN + timedelta(days=day), count, count) for key, day, count in rows])
    return watch


def episodes(watch: Watch) -> dict[Slice, list[Episode]]:
    return {key: found for key in watch.keys if (found := watch.episodes(key))}


def test_a_place_that_opens_is_no_failure_G3() -> None:
    """Its slices began from nothing: all of them were told as systemic."""
    counts, _ = world(1, 300)
    watch = filled(rows_of(counts))
    watch.advance(ORIGIN + timedelta(days=299))
    new = {f"t{number}" for number in range(OLD, OLD + len(OPENED))}
    assert not [key for key in episodes(watch) if dict(key)["touchpoint"] in new]


def test_what_fails_three_weeks_after_its_place_opened_is_found_although_less_than_42_days_are_known_G3() -> None:
    counts, some = world(53, 240, fails=21)
    watch = filled(rows_of(counts))
    watch.advance(ORIGIN + timedelta(days=239))
    told = 0
    for motive, place in some:
        begins = OPENED[place - OLD] + 21
        found = [one for one in watch.episodes(at(f"m{motive}", f"t{place}")) if one.verdict is Verdict.SYSTEMIC]
        assert all(one.start >= begins for one in found)
        told += any(one.decided < begins + 28 for one in found)
    assert told >= 4, "of six"


def test_a_motive_that_turns_up_at_an_old_place_could_have_come_before_and_is_told_as_ever() -> None:
    rng = np.random.default_rng(3)
    counts = rng.poisson(np.tile(2.0 * WEEK[np.arange(170) % 7], (5, OLD, 1)))
    counts[0, :, :140] = 0  # heard of nowhere before
    counts[1, 0, :140] = 0  # heard of elsewhere
    watch = filled(rows_of(counts))
    watch.advance(ORIGIN + timedelta(days=169))
    for motive in (0, 1):
        assert [one.verdict for one in watch.episodes(at(f"m{motive}", "t0"))] == [Verdict.SYSTEMIC]


def test_a_young_slice_is_judged_the_same_live_at_once_after_a_late_fact_and_from_a_snapshot_G4() -> None:
    counts, _ = world(52, 160, fails=21)
    rows = rows_of(counts)
    last = ORIGIN + timedelta(days=159)
    at_once = filled(rows)
    at_once.advance(last)
    expected = episodes(at_once)
    lent = [
        one.numbers.borrowed for key, found in expected.items() for one in found if dict(key)["touchpoint"] == f"t{OLD}"
    ]
    assert lent
    for one in lent:
        assert one is not None
        assert one.slices == OLD
        assert one.kin

    live = Watch()
    for key, day, count in sorted(rows, key=lambda row: row[1]):
        if live.through is None or ORIGIN + timedelta(days=day - 9) > live.through:
            live.advance(ORIGIN + timedelta(days=day - 1))
        live.add(key, ORIGIN + timedelta(days=day), count, count)
    live.advance(last)

    packed = at_once.packed(pack)
    assert packed is not None
    resumed = Watch()
    unpack(packed[1], resumed)
    filled(rows, resumed).advance(last)

    late = filled(rows)
    late.advance(last)
    for sign in (1, -1):  # a place that was heard of earlier, and then was not
        late.add(at("m0", f"t{OLD}"), ORIGIN + timedelta(days=OPENED[0] - 30), sign, sign)
        late.advance(last)
        assert (episodes(late) == expected) == (sign < 0)
    for other in (live, resumed):
        assert episodes(other) == expected


def test_a_young_slice_is_judged_as_a_second_slow_computation_judges_it_G3() -> None:
    counts, _ = world(5, 140)
    keys: list[tuple[str, ...]] = [(f"m{m}", f"t{p}") for m in range(MOTIVES) for p in range(OLD + 1)]
    series = {key: counts[int(key[0][1:]), int(key[1][1:])] for key in keys}
    heard = {key: int((row > 0).argmax()) for key, row in series.items()}
    monday = ORIGIN.toordinal() - 719_167
    begins = {key: heard[key] for key in keys if key[1] == f"t{OLD}"}
    slowly = judged({key: row.tolist() for key, row in series.items()}, heard, monday, 0, shared=True, begins=begins)
    judges, compared = Judges(monday, 0.25, 5), 0
    for day in range(140):
        alive = np.array([heard[key] <= day for key in keys])
        opened = np.array([begins.get(key) == day for key in keys])
        family = np.array([int(key[0][1:]) for key in keys])
        fresh = np.array([float(series[key][day]) for key in keys])
        lane, _ = judges.step(fresh, np.zeros(len(keys)), alive, family, opened=opened)
        for place, number in enumerate(np.flatnonzero(alive)):
            other, begin = slowly[keys[number]][day], begins.get(keys[number])
            if lane.known[place] and (begin is None or day > begin + LEARNT):
                assert lane.odds[place] == pytest.approx(other.odds, abs=1e-6), (day, keys[number])
                assert lane.dispersion[place] == pytest.approx(other.phi, rel=1e-7)
                compared += begin is not None
    assert compared > 100
