"""A regime: which terms the law or the firm's promise gives each kind of contact. Its data stand in `deploy/`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from services.feedback.domain.calendars import Calendar, Term


@dataclass(frozen=True, slots=True)
class Source:
    """Where a term comes from, and when somebody last looked."""

    title: str
    url: str | None
    checked: date


@dataclass(frozen=True, slots=True)
class Terms:
    acknowledge: Term
    resolve: Term


@dataclass(frozen=True, slots=True)
class Deadlines:
    """What a case promises at reception."""

    acknowledge_by: datetime
    due_at: datetime
    term: dict[str, Any]


@dataclass(frozen=True)
class Regime:
    """Terms by kind of contact, and by declared motive where the type of petition sets the term."""

    code: str
    name: Mapping[str, str]
    notice: Mapping[str, str]
    checked: date
    sources: tuple[Source, ...]
    calendar: Calendar
    default: Terms
    kinds: Mapping[str, Terms] = field(default_factory=dict)
    motives: Mapping[str, Terms] = field(default_factory=dict)

    def terms(self, kind: str, motive: str | None = None) -> Terms:
        if motive is not None and motive in self.motives:
            return self.motives[motive]
        return self.kinds.get(kind, self.default)

    def deadlines(self, received: datetime, kind: str, motive: str | None = None) -> Deadlines:
        """A pure function of the reception, the kind and this pack: replaying it gives the same dates (G9)."""
        terms = self.terms(kind, motive)
        return Deadlines(
            acknowledge_by=terms.acknowledge.end(received, self.calendar),
            due_at=terms.resolve.end(received, self.calendar),
            term={
                "amount": terms.resolve.amount,
                "unit": terms.resolve.unit,
                "calendar": self.calendar.code,
                "regime": self.code,
                "checked": self.checked.isoformat(),
            }
            | ({"roll": True} if terms.resolve.roll else {}),
        )
