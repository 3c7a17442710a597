"""From days to verdicts: an episode of a slice opens with an alarm, is judged as days pass, and ends when it is quiet.

*systemic*: an alarm that stays one without its two worst neighbouring days. *isolated*: the rise is over after a day or two,
or it is a few people calling again and again (repeats alarm, complainants do not). *not enough evidence*: neither yet.
"""

from dataclasses import dataclass

from libs.events.catalogue.findings import Verdict
from services.classification.domain.borrowing import Borrowed

QUIET_DAYS = 7
"""An episode ends after so many days without an alarm; with the longest window of 14 days, three weeks after a burst."""


@dataclass(frozen=True, slots=True)
class Numbers:
    """One evaluated day of one slice, as it goes into the verdict. `day`: column; the window's last day."""

    day: int
    window: int
    lane: str  # customers or repeats
    p: float
    observed: float
    expected: float
    variance: float
    rate: float
    dispersion: float
    careful: float  # the dispersion that the day alone was judged by
    common: float
    factor: float  # of a holiday or of the day after one; 1 on others
    level: float  # the p an alarm needed
    slices: int
    odds: float  # natural logarithm: something goes on, against quiet or an incident of a day
    base: float  # the odds that a quiet slice reaches on one day in 1,000
    going_on: float  # p of something going on, the number of lanes counted in
    one_day: float  # p of the day alone, counted in
    isolated: float  # probability that the day is an incident of its own
    recent: float
    borrowed: Borrowed | None = None  # of a slice whose place opened


@dataclass(frozen=True, slots=True)
class Signal:
    """What one day says about one slice."""

    alarm: bool  # complainants
    repeats_alarm: bool
    persists: bool
    calm: bool  # the last days are as usual
    ordinary: bool  # complainants are as usual
    numbers: Numbers


@dataclass(frozen=True, slots=True)
class Episode:
    start: int
    verdict: Verdict
    decided: int  # the day the verdict was reached
    last_alarm: int
    numbers: Numbers  # of the verdict: at the decision when systemic, else at the peak
    ended: int | None = None


def step(state: Episode | None, day: int, signal: Signal) -> Episode | None:
    """The episode after one more day. The same object when nothing changed."""
    alarm = signal.alarm or signal.repeats_alarm
    if state is None or state.ended is not None:
        if not alarm:
            return state
        return Episode(day, _classify(Verdict.NOT_ENOUGH_EVIDENCE, signal), day, day, signal.numbers)
    verdict = _classify(state.verdict, signal)
    numbers, decided = state.numbers, state.decided
    if verdict is not state.verdict:
        decided = day
        if verdict is Verdict.SYSTEMIC:
            numbers = signal.numbers
    if verdict is not Verdict.SYSTEMIC and alarm and signal.numbers.p < numbers.p:
        numbers = signal.numbers
    last = day if alarm else state.last_alarm
    ended = day if day - last >= QUIET_DAYS else None
    changed = Episode(state.start, verdict, decided, last, numbers, ended)
    return state if changed == state else changed


def _classify(before: Verdict, signal: Signal) -> Verdict:
    if before is Verdict.SYSTEMIC or (signal.alarm and signal.persists):
        return Verdict.SYSTEMIC
    if before is Verdict.ISOLATED:
        return before
    if signal.calm or (signal.repeats_alarm and not signal.alarm and signal.ordinary):
        return Verdict.ISOLATED
    return Verdict.NOT_ENOUGH_EVIDENCE


def verdict_equal(one: Episode, other: Episode) -> bool:
    """Whether two readings of an episode say the same: verdict, window and counts (expected values may move by a hair when
    a late fact elsewhere moves what all slices share)."""
    a, b = one.numbers, other.numbers
    return (
        one.verdict is other.verdict
        and (a.day, a.window, a.lane, a.observed) == (b.day, b.window, b.lane, b.observed)
        and one.decided == other.decided
    )
