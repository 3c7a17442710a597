"""Judging that takes longer than a batch may last: in stretches, each committed, with the events of one go."""

import asyncio
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select

from libs.events.catalogue.interactions import Effects
from libs.events.clock import SimulatedClock
from libs.service.environment import Environment
from libs.service.testing import Running, running
from services.classification import app, monitoring, snapshots, tables, waiting
from services.classification.app import build as classification
from services.classification.domain import watch as watching
from services.classification.domain.detection import thresholds
from services.classification.domain.detection.panel import Panel
from services.classification.domain.detection.stacked import ROWS, Rarities, Stack
from services.classification.domain.judges import Judges
from services.classification.domain.lanes import Lane
from services.classification.domain.lots import DAYS
from services.classification.domain.slices import at as slice_at
from services.classification.domain.watch import Watch
from tests.classification.streams import ORIGIN, emit, quiet
from tests.classification.test_monitoring import (
    NUMBER_OF_DAYS,
    at,
    bring_in,
    projections_equal_their_folds,
    story,
)


def watched(days: int, slices: int = 150, seed: int = 3) -> Watch:
    rng = np.random.default_rng(seed)
    counts = quiet(rng, np.exp(rng.normal(0, 1, slices)), days, rng.uniform(1, 2, slices))
    counts[7, days - 60 :] += rng.poisson(8, 60)
    counts[9, days - 90] += 60
    watch = Watch()
    for row in range(slices):
        key = slice_at(f"m{row % 12}", f"t{row}") if row % 3 else (("product", f"p{row}"),)
        for day in range(days):
            watch.add(key, ORIGIN + timedelta(days=day), int(counts[row, day]), int(counts[row, day]) + day % 2)
    return watch


def test_days_judged_a_few_at_a_time_come_to_what_one_go_says_also_where_a_generation_begins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Generations of twelve weeks, not of a year: each reads the sixteen weeks before it again, in stretches as well."""
    monkeypatch.setattr(watching, "GENERATION", 12)
    monkeypatch.setattr(watching, "BEHIND", 16)
    days = 300
    last = ORIGIN + timedelta(days=days - 1)
    whole, parts = watched(days, 20), watched(days, 20)
    touched = whole.advance(last)
    asked, found, goes = 0, set(), 0

    def enough() -> bool:
        nonlocal asked
        asked += 1
        return asked % 20 == 0

    while goes == 0 or parts.underway:
        found |= parts.advance(last, enough)
        goes += 1
        assert goes < 200
    assert goes > 15
    assert found == touched
    assert parts.through == whole.through == last
    assert [parts.trails(key) for key in parts.keys] == [whole.trails(key) for key in whole.keys]
    assert any(whole.trails(key) for key in whole.keys)


def test_a_stack_of_panels_says_what_panels_one_by_one_say_to_the_last_digit() -> None:
    rng = np.random.default_rng(5)
    counts = quiet(rng, np.exp(rng.normal(0, 1, 3 * ROWS)), 210, rng.uniform(1, 2, 3 * ROWS)).astype(float)
    counts[200, 150:] += 20
    first = np.zeros(ROWS, dtype=np.int64)
    stack, panels = Stack(DAYS, first, 300), [Panel(DAYS, first, 300) for _ in range(3)]
    stack.grow()
    stack.grow()
    rarities = Rarities(DAYS.name, 1e-3)
    for day in range(210):
        told = stack.step(counts[:, day])
        one_by_one = [panel.step(counts[n * ROWS : (n + 1) * ROWS, day]) for n, panel in enumerate(panels)]
        rarities.at(told.level, told.dispersion)
        for name in ("expected", "variance", "odds", "isolated", "level", "dispersion", "vague"):
            assert np.array_equal(getattr(told, name), np.concatenate([getattr(one, name) for one in one_by_one])), name
        scored = [thresholds.score(DAYS.name, one.odds, one.level, one.dispersion)[0] for one in one_by_one]
        assert np.array_equal(rarities.exact(told.odds, np.arange(3 * ROWS)), np.concatenate(scored))
        cuts = [thresholds.cut_for_share(DAYS.name, 1e-3, one.level, one.dispersion) for one in one_by_one]
        assert np.array_equal(rarities.base, np.concatenate(cuts))
    assert np.array_equal(stack.base.fit.beta, np.concatenate([panel.base.fit.beta for panel in panels]))


async def events_of(run: Running) -> list[tuple[Any, ...]]:
    """Verdicts and findings as the store has them, byte for byte."""
    store = run.services["classification"].runtime.store
    events = store.tables.events
    async with store.reading() as connection:
        rows = await connection.execute(
            select(events.c.type, events.c.stream, events.c.data)
            .where(events.c.type.like("%verdict%") | events.c.type.like("%finding%"))
            .order_by(events.c.position)
        )
        return [tuple(row) for row in rows]


def short(monkeypatch: pytest.MonkeyPatch, deadline: float) -> None:
    """A deadline far below what judging takes, and a stretch in proportion."""
    machinery = Environment.machinery
    monkeypatch.setattr(Environment, "machinery", lambda self: replace(machinery(self), batch_deadline=deadline))
    monkeypatch.setattr(monitoring, "SHORTEST", 0.01)
    monkeypatch.setattr(app, "STRETCH", 0.03)
    step = Judges.step

    def slow(self: Judges, *given: Any) -> tuple[Lane, Lane]:
        time.sleep(0.01)
        return step(self, *given)

    monkeypatch.setattr(Judges, "step", slow)


async def test_judging_far_longer_than_the_deadline_comes_to_its_end_in_stretches_with_the_events_of_one_go_R27(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Killed once in the middle; what is still to be judged is said meanwhile."""
    monkeypatch.setattr(snapshots, "LEAST", 1)
    facts = story(Effects.HISTORY)
    clock = SimulatedClock(at(NUMBER_OF_DAYS + 3))
    async with running(classification, clock=clock) as run:
        await bring_in(run, clock, facts)
        at_once = await events_of(run)
    assert len(at_once) > 4
    cut, judged = 0, monitoring.Monitor._judge

    async def counted(self: Any, *given: Any) -> bool:
        nonlocal cut
        done = await judged(self, *given)
        cut += not done
        if cut == 4:
            cut += 1
            raise TimeoutError("as if it had been cut, at the end of a stretch")
        return done

    monkeypatch.setattr(monitoring.Monitor, "_judge", counted)
    short(monkeypatch, 1.0)  # and 150 days of 10 ms at least
    clock = SimulatedClock(at(NUMBER_OF_DAYS + 3))
    async with running(classification, clock=clock, data=tmp_path) as run:
        await emit(run, facts)
        await run.settle()
        clock.advance(timedelta(seconds=10))
        shown = []
        while cut < 9:
            await asyncio.sleep(0.02)
            answer = (await run.client.get("/classification/v1/monitors")).json()
            shown.append(answer["judging"])
        assert any(one is not None and one["until"] for one in shown)
    before = cut
    async with running(classification, clock=clock, data=tmp_path) as run:
        store = run.services["classification"].runtime.store
        async with store.reading() as connection:
            mark = (
                await connection.execute(select(tables.watermarks).where(tables.watermarks.c.name == "monitor"))
            ).one()
        assert mark.gathering
        await run.settle()
        assert cut > before
        assert (await run.client.get("/classification/v1/monitors")).json()["judging"] is None
        in_stretches = await events_of(run)
        # Word by word and in one order, but that links and escalations have found a place between two stretches.
        assert sorted(in_stretches) == sorted(at_once)
        verdict_events = [[one for one in found if "verdict" in one[0]] for found in (in_stretches, at_once)]
        assert verdict_events[0] == verdict_events[1]
        await projections_equal_their_folds(run)


@pytest.mark.parametrize("longest", [600, 6])
async def test_history_that_keeps_coming_is_judged_when_it_stops_or_has_come_for_long(
    monkeypatch: pytest.MonkeyPatch, longest: int
) -> None:
    """Judged while it comes, a year coded again was judged from its beginning again and again: a third of the time it took."""
    facts = story(Effects.HISTORY)
    judged, real = 0, monitoring.Monitor._judge

    async def counted(self: Any, *given: Any) -> bool:
        nonlocal judged
        judged += 1
        return await real(self, *given)

    monkeypatch.setattr(monitoring.Monitor, "_judge", counted)
    monkeypatch.setattr(waiting, "LONGEST", timedelta(seconds=longest))
    clock = SimulatedClock(at(NUMBER_OF_DAYS + 3))
    async with running(classification, clock=clock) as run:
        for part in range(4):
            await emit(run, facts[part::4])
            await run.settle()
            if part < 3:
                clock.advance(timedelta(seconds=3))
                await run.settle()
        assert (judged > 0) == (longest < 9)
        clock.advance(timedelta(seconds=20))
        await run.settle()
        clock.advance(timedelta(seconds=20))
        await run.settle()
        assert judged
        monitors = (await run.client.get("/classification/v1/monitors")).json()
        assert monitors["judging"] is None
        assert any("verdict" in one[0] for one in await events_of(run))
        await projections_equal_their_folds(run)
