"""Control charts of an indicator: the same numbers as its points, with centre, limits and the rules they break."""

import itertools
from dataclasses import dataclass
from typing import Final

from services.indicators.domain.control import Chart, Gaps, Kind, gaps, laney
from services.indicators.domain.periods import DAY_US
from services.indicators.domain.query import Group
from services.indicators.domain.registry import Indicator
from services.indicators.views.measures import Answer

CHARTS: Final = ("laney", "g")
MOST: Final = 100
"""Groups in one answer, the most cases first: more charts than that nobody looks at."""
CLIPPED: Final = 0.5
"""A period of which less than this share of the usual length is known is counted and not judged."""


class NoChart(ValueError):
    """This indicator has no such chart."""


@dataclass(frozen=True, slots=True)
class Series:
    """One group's chart. `counts` and `areas` per period (days known of it, or cases); exactly one of the charts is there."""

    group: Group
    counts: tuple[int, ...]
    areas: tuple[float, ...]
    laney: Chart | None
    gaps: Gaps | None


def kind_of(indicator: Indicator, chart: str) -> Kind | None:
    """Which of Laney's charts an indicator has; None for a g chart. Raises NoChart: durations, ages and levels are no counts."""
    match indicator.form, chart:
        case (("count" | "distinct"), "laney"):
            return "u"
        case "share", "laney":
            return "p"
        case (("count" | "distinct"), "g"):
            return None
        case _:
            raise NoChart(indicator.code)


def control(answer: Answer, chart: str, baseline: int | None) -> tuple[list[Series], int]:
    """A chart per group, and how many groups were left out. `baseline`: limits are drawn from the periods that end by then (µs)."""
    kind = kind_of(answer.indicator, chart)
    query = answer.query
    edges = [min(edge, query.known) for edge in query.periods.edges]
    known = sum(1 for edge in query.periods.edges[:-1] if edge < query.known)
    days = [(end - start) / DAY_US for start, end in itertools.pairwise(edges)][:known]
    usual = sorted(days)[len(days) // 2] if days else 0.0
    whole = [length >= CLIPPED * usual for length in days]
    learnt = [baseline is None or end <= baseline for end in query.periods.edges[1 : known + 1]]
    held: dict[Group, tuple[list[int], list[float]]] = {}
    for point in answer.points:
        counts, areas = held.setdefault(point.group, ([0] * known, [0.0] * known if kind == "p" else list(days)))
        counts[point.period] = int(point.measured.numerator or 0)
        if kind == "p":
            areas[point.period] = float(point.measured.denominator or 0)
    ranked = sorted(held, key=lambda group: (-sum(held[group][0]), group))
    found = []
    for group in ranked[:MOST]:
        counts, areas = held[group]
        if kind is None:
            found.append(Series(group, tuple(counts), tuple(areas), None, gaps(counts)))
            continue
        judged = [area if kind == "p" or full else 0.0 for area, full in zip(areas, whole, strict=True)]
        found.append(Series(group, tuple(counts), tuple(areas), laney(kind, counts, judged, learnt), None))
    return found, len(ranked) - len(found)
