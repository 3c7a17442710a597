"""Periods of a time zone as half-open ranges of instants, in microseconds since 1970.

A day has 23 or 25 hours where clocks change; an hour that happens twice is two periods.
"""

import itertools
from bisect import bisect_right
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Literal, get_args

Granularity = Literal["hour", "day", "week", "month"]
GRANULARITIES: tuple[str, ...] = get_args(Granularity)
LIMIT = 1_000
"""Periods in one answer: eleven years of weeks in a screenful of data; more says nothing more."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US


class TooManyPeriods(ValueError):
    """The range holds more periods than an answer may."""


def micros(instant: datetime) -> int:
    """Microseconds since 1970, exactly (floats lose the last digit)."""
    return (instant - _EPOCH) // _MICROSECOND


def instant(value: int) -> datetime:
    """The aware instant (UTC) of microseconds since 1970."""
    return _EPOCH + timedelta(microseconds=value)


@dataclass(frozen=True, slots=True)
class Periods:
    """`edges[i] <= t < edges[i+1]` is period i; its label is `labels[i]`. The outer edges are the range itself."""

    edges: tuple[int, ...]
    labels: tuple[str, ...]
    starts: tuple[date, ...]

    @property
    def start(self) -> int:
        return self.edges[0]

    @property
    def end(self) -> int:
        return self.edges[-1]

    def index(self, at: int) -> int | None:
        """The period an instant lies in; None outside the range."""
        if not self.start <= at < self.end:
            return None
        return bisect_right(self.edges, at) - 1

    def step(self) -> tuple[int, int] | None:
        """(origin, length) when all periods are equally long but for the clipped ends, else None."""
        inner = self.edges[1:-1]
        if not inner:
            return None
        lengths = {b - a for a, b in itertools.pairwise(inner)}
        if len(lengths) > 1:
            return None
        length = lengths.pop() if lengths else max(inner[0] - self.start, self.end - inner[-1])
        if inner[0] - self.start > length or self.end - inner[-1] > length:
            return None
        return inner[0] - length, length


def floor(at: datetime, granularity: Granularity, zone: tzinfo) -> datetime:
    """The start of the period an instant lies in, as an instant (UTC)."""
    local = at.astimezone(zone)
    match granularity:
        case "hour":
            # Counted on the absolute clock: the second 02:30 of an autumn night has its own hour.
            return (
                at - timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
            ).astimezone(UTC)
        case "day":
            first = local.date()
        case "week":
            first = local.date() - timedelta(days=local.weekday())
        case _:
            first = local.date().replace(day=1)
    return midnight(first, zone)


def midnight(day: date, zone: tzinfo) -> datetime:
    """The first instant of a local day. Where midnight does not exist (clocks go forward at 00:00) it is the first that does."""
    return datetime.combine(day, time(), zone).astimezone(UTC)


def _following(at: datetime, granularity: Granularity, zone: tzinfo) -> datetime:
    if granularity == "hour":
        return at + timedelta(hours=1)
    day = at.astimezone(zone).date()
    match granularity:
        case "day":
            day += timedelta(days=1)
        case "week":
            day += timedelta(days=7 - day.weekday())
        case "month":
            day = (day.replace(day=1) + timedelta(days=32)).replace(day=1)
    return midnight(day, zone)


def label(at: datetime, granularity: Granularity, zone: tzinfo) -> str:
    """How the answer names a period: the day it begins (ISO 8601), for hours the instant with its offset."""
    local = at.astimezone(zone)
    return local.isoformat(timespec="minutes") if granularity == "hour" else local.date().isoformat()


def periods(start: datetime, end: datetime, granularity: Granularity, zone: tzinfo, limit: int = LIMIT) -> Periods:
    """The periods that [start, end) touches, the first and the last clipped to it.

    Raises ValueError for an empty range and TooManyPeriods above `limit`.
    """
    if end <= start:
        raise ValueError("the range is empty")
    edges, labels, starts = [start], [], []
    at = floor(start, granularity, zone)
    while True:
        labels.append(label(at, granularity, zone))
        starts.append(at.astimezone(zone).date())
        after = _following(at, granularity, zone)
        if after <= at:  # a zone with two midnights in a day
            after = at + timedelta(days=1)
        at = after
        if at >= end:
            break
        if len(labels) >= limit:
            raise TooManyPeriods(f"more than {limit} periods")
        edges.append(at)
    edges.append(end)
    return Periods(tuple(micros(edge) for edge in edges), tuple(labels), tuple(starts))
