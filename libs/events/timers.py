"""Timers: what depends on time passing is a row, written in the transaction of the state that wants it."""

import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from libs.events.envelope import NAMESPACE

if TYPE_CHECKING:
    from libs.events.store import Unit


@dataclass(frozen=True, slots=True)
class Timer:
    """Something that falls due. Give it as `cause` of what its handler emits: ids derive from the timer's id."""

    id: str
    kind: str
    key: str
    due: datetime
    data: dict[str, Any]
    correlationid: str | None = None
    causationid: str | None = None
    traceparent: str | None = None


TimerHandler = Callable[["Unit", Sequence[Timer]], Awaitable[None]]
"""Gets timers of its kind, all due (`unit.now >= timer.due`), earliest first, inside one write transaction."""


def timer_id(kind: str, key: str, due: datetime) -> str:
    """The same timer scheduled again has the same id, so that what it leads to happens once."""
    return str(uuid.uuid5(NAMESPACE, f"timer\x1f{kind}\x1f{key}\x1f{due.astimezone(UTC).isoformat()}"))
