"""How long the monitor waits for facts, and where its days part."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo


@dataclass(frozen=True, slots=True)
class Waiting:
    """`lateness`: how much later than the newest a source's fact may come; `quiet`: after a day's end the clock closes it."""

    lateness: timedelta = timedelta(hours=6)
    quiet: timedelta = timedelta(hours=12)
    gather: timedelta = timedelta(seconds=5)
    zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("UTC"))

    def midnight(self, day: date) -> datetime:
        """The instant a day begins."""
        return datetime.combine(day, time(), self.zone)

    def closed(self, seen: Mapping[str, datetime], now: datetime) -> date:
        """The last day that is over: by every source's own watermark, or by the clock once it is `quiet` past."""
        watermark = now - self.quiet
        if seen:
            watermark = max(watermark, min(min(seen.values()) - self.lateness, now))
        return watermark.astimezone(self.zone).date() - timedelta(days=1)

    def next_close(self, now: datetime) -> datetime:
        """When the clock will close the next day."""
        day = (now - self.quiet).astimezone(self.zone).date()
        return self.midnight(day + timedelta(days=1)) + self.quiet


LONGEST = timedelta(minutes=10)
"""So long history may keep coming before it is judged all the same."""
SHARE = 9
"""Times as long as it took is waited before judging goes on in what still changes: at most a tenth of the time is spent so."""


@dataclass(slots=True)
class Coming:
    """Whether history is still coming: years of it, or the past coded again, in thousands of batches. Each may change any day of
    the past, and what was judged behind that day would be judged again; so it is judged when none came for a while."""

    gather: timedelta
    since: datetime | None = None
    last: datetime | None = None

    def heard(self, now: datetime) -> None:
        self.last = now
        self.since = self.since or now

    def wait(self, now: datetime) -> bool:
        """Whether to leave it for later."""
        return self.comes(now) and self.since is not None and now - self.since < LONGEST

    def comes(self, now: datetime) -> bool:
        return self.last is not None and now - self.last < self.gather

    def judged(self) -> None:
        self.since = None
