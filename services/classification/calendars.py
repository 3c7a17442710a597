"""Holidays from the `holidays` library and by hand: the calendar that baselines are given. The country may be left out."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from importlib.metadata import version
from typing import Any

from services.classification.counts_file import MONDAY, Named
from services.classification.domain.monitor import Rules
from services.classification.settings import ClassificationSettings

YEARS = (1990, 2100)
"""What the monitor may ever judge: its holidays are settled when it starts, so that its verdicts are made under one calendar."""
_COUNTRY = re.compile(r"([A-Z]{2})(?:-([A-Z0-9]{1,3}))?$")
_DATE = re.compile(r"(-?)(\d{4}-\d{2}-\d{2})$")


class BadCalendar(ValueError):
    """A calendar that cannot be used; `value` is the part that is not understood or not known."""

    def __init__(self, value: str) -> None:
        super().__init__(
            f"{value!r} is no country whose holidays are known (CO, DE-BY) and no date (2026-11-27, or -2026-12-08 for no holiday)"
        )
        self.value = value


@dataclass(slots=True)
class Calendar:
    """`name` says whose holidays and from which version of the library: what verdicts state."""

    name: str
    country: str | None = None
    part: str | None = None
    more: set[date] = field(default_factory=set)
    fewer: set[date] = field(default_factory=set)

    def days(self, first: int, last: int) -> tuple[int, ...]:
        """The holidays of those years, days since 1970-01-05."""
        found: set[date] = set()
        if self.country is not None:
            import holidays  # a fifth of a second, and only who has a calendar needs it

            found = set(holidays.country_holidays(self.country, subdiv=self.part, years=range(first, last + 1)))
        return tuple(sorted(day.toordinal() - MONDAY for day in (found | self.more) - self.fewer))

    def spanning(self, series: Iterable[Named]) -> tuple[int, ...]:
        """Those of the years of some daily series."""
        spans = [(one.data.first, one.data.first + len(one.data.counts)) for one in series]
        first, last = min(begin for begin, _ in spans), max(end for _, end in spans)
        return self.days(date.fromordinal(MONDAY + first).year, date.fromordinal(MONDAY + last).year)


def parse(text: str) -> Calendar:
    """`CO`, `DE-BY`, `CO, 2026-11-27, -2026-12-08`. Raises BadCalendar."""
    found = Calendar("")
    for part in (part.strip() for part in text.split(",")):
        if (named := _COUNTRY.match(part)) and found.country is None:
            import holidays

            found.country, found.part = named[1], named[2]
            try:
                holidays.country_holidays(found.country, subdiv=found.part)
            except NotImplementedError:
                raise BadCalendar(part) from None
            found.name = f"{part} of holidays {version('holidays')}"
        elif day := _DATE.match(part):
            try:
                (found.fewer if day[1] else found.more).add(date.fromisoformat(day[2]))
            except ValueError:
                raise BadCalendar(part) from None
        else:
            raise BadCalendar(part)
    dates = [*sorted(map(str, found.more)), *(f"-{day}" for day in sorted(found.fewer))]
    found.name = ", ".join(filter(None, [found.name, *dates]))
    return found


def rules_of(settings: ClassificationSettings) -> Rules:
    """How the monitor is set. Raises BadCalendar."""
    asked: dict[str, Any] = {
        "false_alarms_per_month": settings.false_alarms_per_month,
        "minimum_customers": settings.minimum_customers,
    }
    if settings.holidays.strip():
        calendar = parse(settings.holidays)
        asked |= {"calendar": calendar.name, "holidays": calendar.days(*YEARS)}
    return Rules(**asked)
