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
