"""The port to whatever learns from people's corrections, and the timer that brings each one there."""

from collections.abc import Sequence
from typing import Protocol

from libs.events.catalogue.interactions import InteractionRecorded
from libs.events.envelope import Event
from libs.events.offload import offload
from libs.events.store import Unit
from libs.events.timers import Timer
from services.classification import archive

LEARN = "learn"


class Learner(Protocol):
    """Learns from one text what a person called it. Called off the event loop, one at a time, and perhaps twice for the same."""

    def learn(self, text: str, motive: str, cause: str) -> None: ...


class Lessons:
    """A correction is written down as a timer in its own transaction and learnt right after: a crash in between loses nothing,
    and what cannot be learnt is parked like everything else that fails for good."""

    def __init__(self, learner: Learner | None) -> None:
        self.learner = learner

    def note(self, unit: Unit, interaction_id: str, motive: str, cause: str, because: Event | None = None) -> None:
        """Have it learnt once this unit is committed. A later correction of the same contact replaces one not learnt yet."""
        if self.learner is not None:
            unit.schedule(LEARN, interaction_id, unit.now, {"motive": motive, "cause": cause}, cause=because)

    async def learn(self, unit: Unit, timers: Sequence[Timer]) -> None:
        """Timer: open the texts and hand them on. Who was erased meanwhile teaches nothing."""
        if self.learner is None:
            return
        events = await archive.fetch(unit.connection, [timer.key for timer in timers])
        there = [timer for timer in timers if timer.key in events]
        for timer, contact in zip(there, await unit.open([events[timer.key] for timer in there]), strict=True):
            text = archive.words_of(contact) if isinstance(contact, InteractionRecorded) else ""
            if text:
                await offload(self.learner.learn, text, timer.data["motive"], timer.data["cause"])
