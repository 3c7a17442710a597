"""Bounds of the machinery."""

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version


def _code_version() -> str:
    try:
        return version("lazo-complaints")
    except PackageNotFoundError:
        return "unknown"


@dataclass(frozen=True, slots=True)
class MachinerySettings:
    """Bounds of the machinery; the defaults are the tried ones. Times in seconds of real time."""

    relay_batch: int = 3_000  # rows of one transaction towards the log: 58,000/s there, against 30,000/s in hundreds
    relay_poll: float = 0.1  # other processes' commits are seen by looking; one's own wake the relay at once
    rest: float = 0.02  # after a batch of fewer than `rest_below` events, on servers; see `libs.events.pace.Pace.rest`
    rest_most: float = 0.06  # while batches follow each other `rest_within` seconds
    rest_within: float = 0.25
    rest_below: int = 200
    publish_deadline: float = 20.0
    standby_poll: float = 1.0  # how often a relay without the lock tries to get it
    group_most: int = 2_000
    group_bound: int = 20_000
    group_deadline: float = 15.0
    poll_timeout: float = 1.0
    batch_deadline: float = 60.0
    attempts: int = 3  # of a deterministic failure before it is parked
    careful_pause: float = 3.0  # seconds before a record in which a process ended is tried again, times how many did
    breaker_least: int = 10  # handled events below which no share is taken
    breaker_culprits: int = 3  # fewer never open it
    breaker_share: float = 0.5  # of parked among them, above which the consumer stops
    backoff_first: float = 0.05
    backoff_most: float = 5.0
    hint_every: float = 1.0
    timers_batch: int = 500
    stuck_after: float = 30.0  # behind and not moving for so long is unhealthy
    code_version: str = _code_version()
