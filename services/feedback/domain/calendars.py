"""Days that count: business days of a country, in its time zone. Pure: the holidays are handed in."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

Unit = Literal["business_day", "calendar_day", "hour"]

MAX_AMOUNT = 1000
"""Longest term in days or hours: beyond it a pack is mistaken (the longest known regime asks for 56 days)."""


class NoBusinessDays(ValueError):
    """A calendar in which no day counts for a whole year: its weekend or holidays are mistaken."""


@dataclass(frozen=True)
class Calendar:
    """A country's days. `holiday` answers for one local date; `weekend` holds weekday numbers, Monday being 0."""

    code: str
    zone: ZoneInfo
    holiday: Callable[[date], bool]
    weekend: frozenset[int] = frozenset({5, 6})
    _ends: dict[tuple[date, int], date] = field(default_factory=dict, compare=False, repr=False)

    def is_business_day(self, day: date) -> bool:
        return day.weekday() not in self.weekend and not self.holiday(day)

    def local_date(self, instant: datetime) -> date:
        return instant.astimezone(self.zone).date()

    def business_days_after(self, day: date, amount: int) -> date:
        """The amount-th business day after `day`; `day` itself never counts (Ley 1755: the term runs from the next day)."""
        known = self._ends.get((day, amount))
        if known is None:
            known = self._ends[day, amount] = self._count(day, amount)
        return known

    def _count(self, day: date, amount: int) -> date:
        idle = 0
        while amount > 0:
            day += timedelta(days=1)
            if self.is_business_day(day):
                amount -= 1
                idle = 0
            else:
                idle += 1
                if idle > 366:
                    raise NoBusinessDays(f"calendar {self.code}: no business day in the year before {day}")
        return day

    def next_business_day(self, day: date) -> date:
        """`day` itself when it counts, else the first one after it that does."""
        return day if self.is_business_day(day) else self.business_days_after(day, 1)

    def end_of(self, day: date) -> datetime:
        """The last second of a local day, in UTC.

        Reckoned back from the following midnight, because 23:59:59 may happen twice (Santiago's clocks go back at 24:00)
        and midnight may not exist at all (there they go forward at 24:00, when the day ends with the change itself).
        """
        following = day + timedelta(days=1)
        midnight = datetime(following.year, following.month, following.day, tzinfo=self.zone)
        return midnight.astimezone(UTC) - timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Term:
    """How long somebody has: `{amount, unit, calendar}` in a pack; the calendar is the pack's.

    `roll`: a calendar-day term that ends on a day off ends on the next business day instead.
    """

    amount: int
    unit: Unit
    roll: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.amount <= MAX_AMOUNT:
            raise ValueError(f"a term is between 1 and {MAX_AMOUNT} {self.unit}s, not {self.amount}")

    def end(self, received: datetime, calendar: Calendar) -> datetime:
        """The last instant inside the term, in UTC. Hours run at once; days run from the next one that counts."""
        if received.tzinfo is None:
            raise ValueError("a term starts at an aware instant")
        match self.unit:
            case "hour":
                return received.astimezone(UTC) + timedelta(hours=self.amount)
            case "calendar_day":
                last = calendar.local_date(received) + timedelta(days=self.amount)
                return calendar.end_of(calendar.next_business_day(last) if self.roll else last)
            case "business_day":
                return calendar.end_of(calendar.business_days_after(calendar.local_date(received), self.amount))
