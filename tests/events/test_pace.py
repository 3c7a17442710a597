"""How long a loop rests between small batches."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from libs.events import pace
from libs.events.pace import Pace
from libs.events.settings import MachinerySettings

SERVER: Any = SimpleNamespace(engine=SimpleNamespace(dialect=SimpleNamespace(name="postgresql")))
FILE: Any = SimpleNamespace(engine=SimpleNamespace(dialect=SimpleNamespace(name="sqlite")))
SETTINGS = MachinerySettings(rest=0.02, rest_most=0.06, rest_within=0.25, rest_below=200)


class Watch:
    """The pace's own time: a rest takes what it says, and nothing else takes any."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.rests = 1_000.0, list[float]()
        monkeypatch.setattr(pace, "monotonic", lambda: self.now)
        monkeypatch.setattr(pace, "asyncio", SimpleNamespace(sleep=self.sleep, Event=asyncio.Event))

    async def sleep(self, seconds: float) -> None:
        self.rests.append(round(seconds, 3))
        self.now += seconds


async def test_rests_grow_while_events_keep_coming_and_begin_small_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """M5: a transaction costs the same for one event as for fifty."""
    watch, loop = Watch(monkeypatch), Pace(SETTINGS)
    for _ in range(5):
        await loop.rest(3, SERVER)
        watch.now += 0.1  # polled and handled
    assert watch.rests == [0.02, 0.03, 0.045, 0.06, 0.06]
    watch.now += 0.3  # nothing came for a while
    await loop.rest(3, SERVER)
    assert watch.rests[5:] == [0.02]


async def test_nobody_rests_who_is_behind_or_whose_database_is_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    watch, loop = Watch(monkeypatch), Pace(SETTINGS)
    await loop.rest(200, SERVER)
    await loop.rest(1, FILE)
    assert watch.rests == []


async def test_whom_nobody_waits_for_rests_so_many_times_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    watch, loop = Watch(monkeypatch), Pace(SETTINGS)
    for _ in range(4):
        await loop.rest(3, SERVER, 3)
    assert watch.rests == [0.06, 0.09, 0.135, 0.18]
