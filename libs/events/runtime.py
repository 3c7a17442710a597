"""Everything of one service that runs beside HTTP: store, relay, consumers, timers, quarantine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncEngine

from libs.events.clock import Clock
from libs.events.consumer import ConsumerSpec
from libs.events.log import Log
from libs.events.store import GroupCommit, Store
from libs.events.timers import TimerHandler
from libs.events.vault import Vault


@dataclass(frozen=True, slots=True)
class MachinerySettings:
    """Bounds of the machinery; the defaults are the tried ones. Times in seconds."""

    relay_batch: int = 3_000
    group_most: int = 2_000
    group_bound: int = 20_000


@dataclass(frozen=True, slots=True)
class Status:
    """`behind`: log events not yet consumed; `pending`: own events not yet published; `parked`: in quarantine;
    `oldest_seconds`: age of the oldest of these; `idle`: nothing left to do, no timer due, nothing in hand."""

    behind: int
    pending: int
    parked: int
    oldest_seconds: float
    idle: bool


class Runtime:
    """One service's machinery; `start()` after the database is migrated and the log is started."""

    def __init__(
        self,
        *,
        service: str,
        engine: AsyncEngine,
        log: Log,
        vault: Vault,
        clock: Clock,
        consumers: Sequence[ConsumerSpec] = (),
        timers: Mapping[str, TimerHandler] | None = None,
        settings: MachinerySettings = MachinerySettings(),
    ) -> None:
        self.service, self.engine, self.log, self.vault, self.clock = service, engine, log, vault, clock
        self.settings = settings
        self._partitions: dict[str, int] = {}
        self.store = Store(engine, service, clock, vault, self._partitions.__getitem__)
        self.group_commit = GroupCommit(self.store, most=settings.group_most, bound=settings.group_bound)
