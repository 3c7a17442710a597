"""How long judging a backlog holds the event loop: a year of coded contacts that came at once, quiet but for two failures.

What counts is the loop's own thread: judging itself is done in another, and what it came to is said on the loop. Lateness is what somebody
who asks meanwhile waits, the other thread's share of the interpreter included.
"""

from __future__ import annotations

import asyncio
import gc
import time
from datetime import UTC, date, datetime, timedelta
from datetime import time as hour

import numpy as np
from sqlalchemy import func, select

WEEK = np.array([1.28, 1.16, 1.08, 1.02, 0.98, 0.86, 0.62])
ORIGIN = date(2025, 1, 6)
VALUES = {"motive": 24, "touchpoint": 3, "product": 5, "location": 8, "team": 6}


def held(days: int, a_day: float, seed: int) -> tuple[float, float, float, int]:
    """Seconds that the loop's thread worked in one go at most, that a task waited at most, that judging took; and the verdicts."""
    return asyncio.run(_held(days, a_day, seed))


async def _held(days: int, a_day: float, seed: int) -> tuple[float, float, float, int]:
    from bench.demo_year import emit
    from libs.events import garbage
    from libs.events.catalogue.classifications import InteractionClassified
    from libs.events.catalogue.findings import VerdictReached
    from libs.events.catalogue.interactions import Channel, Effects, Kind
    from libs.events.clock import SimulatedClock
    from libs.service.testing import running
    from services.classification.app import build as classification

    rng = np.random.default_rng(seed)
    facts: list[InteractionClassified] = []

    def add(day: int, **fixed: str) -> None:
        values = {name: f"{name[0]}{rng.integers(size)}" for name, size in VALUES.items()} | fixed
        number = len(facts)
        facts.append(
            InteractionClassified(
                interaction_id=f"i-{number}", customer_id=f"c-{number}", kind=Kind.COMPLAINT, channel=Channel.PHONE,
                occurred_at=datetime.combine(ORIGIN + timedelta(days=day), hour(10), UTC), cause="unknown", confidence=0.9,
                rulebook_version=1, model_version="words-1@1", effects=Effects.HISTORY, origin="bench", **values,
            )
        )  # fmt: skip

    for day in range(days):
        for _ in range(rng.poisson(a_day * WEEK[day % 7])):
            add(day)
        for _ in range(rng.poisson(a_day / 4) if day >= days - 120 else 0):
            add(day, product="p0")
        for _ in range(rng.poisson(a_day / 8) if day >= days - 60 else 0):
            add(day, motive="m1", touchpoint="t1")
    longest = late = 0.0

    async def watch() -> None:
        nonlocal longest, late
        while True:
            worked, began = time.thread_time(), time.perf_counter()
            await asyncio.sleep(0.001)
            longest = max(longest, time.thread_time() - worked)
            late = max(late, time.perf_counter() - began - 0.001)

    clock = SimulatedClock(datetime.combine(ORIGIN + timedelta(days=days + 3), hour(), UTC))
    async with running(classification, clock=clock) as run:
        await emit(run, facts)
        await run.settle(600)
        before = gc.get_threshold()
        garbage.settle()  # as a server does when it has started
        watching, began = asyncio.create_task(watch()), time.perf_counter()
        clock.advance(timedelta(seconds=10))
        await run.settle(600)
        seconds = time.perf_counter() - began
        watching.cancel()
        gc.set_threshold(*before)
        gc.unfreeze()
        store = run.services["classification"].runtime.store
        async with store.reading() as connection:
            said = select(func.count()).where(store.tables.events.c.type == VerdictReached.TYPE)
            verdicts = int((await connection.execute(said)).scalar_one())
    return longest, late, seconds, verdicts
