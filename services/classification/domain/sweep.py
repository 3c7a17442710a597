"""A failure that no slice shows by itself: many of them rise a little, each below its own threshold, and one combination of
attribute values explains them all. Pure.

Once a week the whole cube of the week's complainants is looked at beside the half year before, whatever the monitor of single
slices said (`localise`, with its bound on false findings over the whole cube). A set is a finding of the sweep when it has a name
of its own among the open ones, when people as well as contacts rose (an attribute that names a single person has to have more of
them), and when it lasts: without the two neighbouring days that stand out most the rest of the week is still above (the monitor's
own distinction between an outage and a change in how things work).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from math import log

import numpy as np

from services.classification.domain.localisation import Open, Rules, localise
from services.classification.domain.localisation.cube import Codes, Cube
from services.classification.domain.localisation.evidence import log_tail
from services.classification.domain.localisation.noise import learn
from services.classification.domain.localisation.openings import settled, unknown, usual
from services.classification.domain.localisation.windows import LEAST_WINDOWS, OTHER
from services.classification.domain.narrowing import DEPTH, DIMENSIONS, PAST, PROTECTED
from services.classification.domain.numeric import Array

METHOD = "sweep-1"
GAP = 1
"""Weeks between the one under test and its past: a failure's first days are in neither."""
REACH = PAST + GAP + 1
"""Weeks that one look needs, the tested one among them."""
WEEKS_A_YEAR = 365.25 / 7
FALSE_A_YEAR = 0.5
"""False findings a year over the whole cube, beside the monitor's own allowance (0.25 alarms a month)."""
LEAST_RATIO = 1.5
LASTS = log(1e-3)
"""Log of the tail that the week without its two worst days has to reach, as the monitor's `PERSISTENCE_LEVEL`."""
LEFT_OUT = ("segment", "team", "supplier", "product", "location", "touchpoint")
"""In this order, while a cube is too large."""
SWEPT = frozenset({"motive", *LEFT_OUT})
"""Channel says what touchpoint says, and no single person is named by a sweep: with both a look took four times as long."""
RULES = Rules(
    false_findings_per_year=FALSE_A_YEAR,
    evaluations_per_year=WEEKS_A_YEAR,
    least_ratio=LEAST_RATIO,
    protected=PROTECTED,
)


@dataclass(frozen=True, slots=True)
class Tally:
    """Distinct complainants per week and leaf. `first`: Monday of week 0; `leaves`: values in the order of `dimensions`; `counts`:
    weeks × leaves."""

    first: date
    dimensions: tuple[str, ...]
    leaves: Sequence[tuple[str, ...]]
    counts: Array

    def number(self, monday: date) -> int:
        return (monday - self.first).days // 7


@dataclass(frozen=True, slots=True)
class Risen:
    """A set that rose in a week. `observed`, `expected`: complainants, summed over its leaves; `variance`: of the first when nothing
    failed; `log_p`, `limit`: natural logs; `past`: of the weeks before, oldest first."""

    where: Mapping[str, str]
    observed: float
    expected: float
    variance: float
    ratio: float
    log_p: float
    limit: float
    past: tuple[float, ...]


def week_of(day: date) -> date:
    """The Monday of a day's week."""
    return day - timedelta(days=day.weekday())


def look(tally: Tally, monday: date, open_findings: Sequence[Mapping[str, str]], rules: Rules = RULES) -> list[Risen]:
    """What rose in the week from that Monday and belongs to no open finding. Empty with fewer than `LEAST_WINDOWS` weeks of past."""
    compared = _compared(tally, monday)
    if compared is None:
        return []
    held, gone, past = compared
    counts = tally.counts[tally.number(monday), held]
    expected, usually, past = usual(past, gone)
    names = tally.dimensions
    cube = Cube.of(names, [dict(zip(names, tally.leaves[int(place)], strict=True)) for place in held], DEPTH)
    # Half of the weeks tell how much weeks wander: learning that from all of a half year is most of the cost of a look.
    some = slice(None, None, 2 if len(past) >= 2 * LEAST_WINDOWS else 1)
    noise = learn(cube, past[some], usually[some], 1.0 / len(past))
    opened = [Open({name: (value,) for name, value in where.items()}) for where in open_findings]
    opened = [one for one in opened if cube.chosen(one.where) is not None]
    found = localise(cube, counts, expected, noise, rules, open_findings=opened)
    risen: list[Risen] = []
    for each in found.findings:
        # A finding names one value of an attribute: a set of several is named without it, and has to be one still.
        where = {
            name: values[0] for name, values in each.where.items() if len(values) == 1 and values[0] not in {"", OTHER}
        }
        if each.same_as is not None or not where or where.keys() <= PROTECTED:
            continue
        choice = cube.chosen({name: (value,) for name, value in where.items()})
        assert choice is not None
        mask = cube.mask(choice)
        alike = np.zeros(cube.leaves)
        alike[mask] = found.mean[mask]
        alike[list(each.leaves)] /= each.ratio
        mean, seen = float(alike[mask].sum()), float(counts[mask].sum())
        wide = mean + 0.5 * noise.exposure
        variance = float(noise.variance(alike[mask]).sum()) + noise.exposure * wide
        variance += (noise.shared(tuple(sorted(choice))) * wide) ** 2
        log_p = float(log_tail(seen, mean, variance))
        if log_p > each.limit or seen < rules.least_ratio * mean:
            continue
        before = tuple(float(value) for value in past[:, mask].sum(axis=1))
        risen.append(Risen(where, seen, mean, variance, each.ratio, log_p, each.limit, before))
    return risen


def counted(tally: Tally, where: Mapping[str, str], monday: date) -> float:
    """Complainants of a set in a week, summed over its leaves as `Risen.observed` is."""
    compared = _compared(tally, monday)
    if compared is None:
        return 0.0
    places = [(tally.dimensions.index(name), value) for name, value in where.items() if name in tally.dimensions]
    inside = [
        number for number in compared[0].tolist() if all(tally.leaves[number][at] == value for at, value in places)
    ]
    return float(tally.counts[tally.number(monday), inside].sum())


def _compared(tally: Tally, monday: date) -> tuple[Codes, Codes, Array] | None:
    """Numbers of the leaves that a week is compared in; per leaf, how many of its past weeks tell nothing (`unknown`); and those weeks.

    None with fewer than `LEAST_WINDOWS` weeks of past. A place that opened lately is left out, and what rises with it: nothing came from
    there before, because there was no place.
    """
    week = tally.number(monday)
    began = np.flatnonzero(tally.counts[: week + 1].any(axis=1))
    # The week in which recording began is no whole one.
    start = max(week - GAP - PAST, int(began[0]) + 1) if len(began) else week
    past = tally.counts[start : week - GAP]
    if len(past) < LEAST_WINDOWS or not 0 <= week < len(tally.counts):
        return None
    held = np.flatnonzero(past.any(axis=0) | (tally.counts[week] > 0))
    lately = tally.counts[week - GAP : week + 1, held].sum(axis=0)
    gone = unknown(tally.dimensions, [tally.leaves[number] for number in held.tolist()], past[:, held], lately, 7)
    told = settled(past, gone, LEAST_WINDOWS)
    held, gone = held[told], gone[told]
    return (held, gone, past[:, held]) if len(held) else None


def lasts(days: Sequence[int], risen: Risen) -> float:
    """Log of the tail of the week without the two neighbouring days of most complainants. `days`: distinct complainants a day."""
    worst = max(range(len(days) - 1), key=lambda place: days[place] + days[place + 1])
    rest = sum(days) - days[worst] - days[worst + 1]
    share = (len(days) - 2) / len(days)
    return float(log_tail(float(rest), risen.expected * share, risen.variance * share))


def dimensions_of(left_out: int = 0) -> tuple[str, ...]:
    """The attributes that are swept, without so many of them."""
    gone = LEFT_OUT[:left_out]
    return tuple(name for name in DIMENSIONS if name in SWEPT and name not in gone)
