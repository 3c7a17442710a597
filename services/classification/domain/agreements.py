"""Is what a supplier agreed to kept? Only what can be counted from complaints is answered; the rest is named as not measured (R32)."""

from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum

from services.classification.domain.sections import Agreement

COMPLAINANTS = "complainants"
PER_10_000 = "complainants_per_10000"
MEASURED = (COMPLAINANTS, PER_10_000)
UNITS = ("contracts", "orders", "contacts")
"""Of exposure: what complainants may be divided by."""


class Standing(StrEnum):
    KEPT = "kept"
    BROKEN = "broken"
    NOT_MEASURED = "not_measured"  # of something that complaints do not tell
    NO_EXPOSURE = "no_exposure"  # a rate, and how many there were is not known for these days
    NOT_YET = "not_yet"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Checked:
    """`first` and `last`: the days that were counted, both included. `measured`: distinct customers, or those per 10,000."""

    standing: Standing
    first: date
    last: date
    measured: float | None = None


def days_of(agreement: Agreement, last: date) -> tuple[date, date]:
    """The days that are counted up to `last`: those since the agreement stands, and never more than its own number."""
    return max(agreement.since, last - timedelta(days=agreement.days - 1)), last


def check(agreement: Agreement, last: date, complainants: int, exposure: float | None) -> Checked:
    """How the agreement stands on day `last`. `complainants`: distinct customers of `days_of`; `exposure`: how many there
    were who could complain, None where that is not known."""
    first, last = days_of(agreement, last)
    if last < agreement.since:
        return Checked(Standing.NOT_YET, last, last)
    if agreement.until is not None and agreement.until < last:
        return Checked(Standing.ENDED, first, last)
    if agreement.measure not in MEASURED:
        return Checked(Standing.NOT_MEASURED, first, last)
    measured = float(complainants)
    if agreement.measure == PER_10_000:
        if not exposure:
            return Checked(Standing.NO_EXPOSURE, first, last)
        measured = complainants / exposure * 10_000
    kept = agreement.kept(measured)
    if kept is None:
        return Checked(Standing.NOT_MEASURED, first, last)
    return Checked(Standing.KEPT if kept else Standing.BROKEN, first, last, round(measured, 4))
