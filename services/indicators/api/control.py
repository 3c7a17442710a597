"""`GET /indicators/v1/control-chart`: centre, limits, and which points break which rule."""

from typing import Any, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Request

from libs.service.http.app import negotiate
from libs.service.http.auth import require
from libs.service.http.problems import Problem, Words
from libs.service.keys import Principal
from services.indicators.api import documents
from services.indicators.api.parameters import Wrong, choice, documented, instant_of, query_of, single
from services.indicators.api.reads import Reads, holidays_of, reads
from services.indicators.domain.control import Gap, Judged
from services.indicators.domain.periods import micros
from services.indicators.domain.registry import INDICATORS
from services.indicators.views.control import CHARTS, NoChart, Series, control, kind_of
from services.indicators.views.measures import Answer, measure

router = APIRouter(prefix="/indicators/v1")
TITLES: Final = {
    "u": {"es": "Gráfico de control U′ (por día)", "en": "U′ control chart (per day)"},
    "p": {"es": "Gráfico de control P′ (%)", "en": "P′ control chart (%)"},
    "g": {"es": "Gráfico g: periodos entre casos", "en": "g chart: periods between cases"},
}
RULES: Final = {
    "beyond": {"es": "fuera de los límites (3 sigmas)", "en": "beyond the limits (3 sigma)"},
    "two_of_three": {
        "es": "dos de tres seguidos más allá de 2 sigmas, del mismo lado",
        "en": "two of three in a row beyond 2 sigma, on one side",
    },
    "four_of_five": {
        "es": "cuatro de cinco seguidos más allá de 1 sigma, del mismo lado",
        "en": "four of five in a row beyond 1 sigma, on one side",
    },
    "eight_on_a_side": {
        "es": "ocho seguidos del mismo lado del centro",
        "en": "eight in a row on one side of the centre",
    },
    "soon": {"es": "llegó antes de lo que explica el azar", "en": "came sooner than chance explains"},
    "close_together": {
        "es": "los cuatro últimos llegaron más seguidos de lo que explica el azar",
        "en": "the last four came closer together than chance explains",
    },
    "long": {"es": "pasó más tiempo de lo que explica el azar", "en": "longer without one than chance explains"},
}
OWN = {"of", "chart", "baseline", "lang"}


@router.get(
    "/control-chart", tags=["lists"], summary="Is it within what its own past makes one expect",
    openapi_extra=documented(also={
        "of": "an indicator's code (a count or a share); default complaints_received",
        "chart": "laney (U′ for counts a day, P′ for shares) or g (periods between rare cases)",
        "baseline": "limits are drawn from the periods up to then: a date (inclusive) or a time; default the whole range",
    }),
)  # fmt: skip
async def control_chart(
    request: Request, principal: Principal = Depends(require("indicators:read")), desk: Reads = Depends(reads)
) -> dict[str, Any]:
    """Laney's U′ and P′ charts with run rules, and the g chart of rare cases with Bayesian limits. Every point opens to its events."""
    params = request.query_params
    query = query_of(params, desk.clock.now(), desk.settings.time_zone, also=OWN)
    try:
        one = INDICATORS[choice(params, "of", INDICATORS, "complaints_received")]
        chart = choice(params, "chart", CHARTS, "laney")
        until = single(params, "baseline")
        baseline = None if until is None else micros(instant_of("baseline", until, query.zone, end=True))
        try:
            kind = kind_of(one, chart) or "g"
        except NoChart:
            words = Words(
                f"{one.code} has no {chart} chart; counts have both, shares laney",
                f"{one.code} no tiene gráfico {chart}; los conteos tienen ambos, las proporciones laney",
            )
            raise Wrong("of", "no-such-chart", words) from None
    except Wrong as wrong:
        raise Problem.fields([wrong.error]) from None
    async with desk.open() as (connection, t):
        answer = await measure(connection, t, one, query, holidays_of, minimum=desk.settings.minimum)
    series, left_out = control(answer, chart, baseline)
    language = negotiate(request)
    behind = _Behind(request, answer)
    return {
        "indicator": documents.catalogued(one, language),
        "chart": kind,
        "title": f"{one.names[language]}: {TITLES[kind][language]}",
        "rules": [
            {"code": code, "name": names[language]}
            for code, names in RULES.items()
            if (code in {"soon", "close_together", "long"}) == (kind == "g")
        ],
        "items": [_between(one, behind) if one.gaps else _limits(one, kind, behind) for one in series],
        "left_out": left_out,
        "next": None,
    }


class _Behind:
    """The address of the events behind one point: the question asked, narrowed to its period and group."""

    def __init__(self, request: Request, answer: Answer) -> None:
        self.labels, self.names = answer.query.periods.labels, answer.query.group_by
        self.path = f"/indicators/v1/indicators/{answer.indicator.code}/events"
        split = {f"where[{name}]" for name in self.names}
        own = OWN | {"group_by"} | split
        self.kept = [pair for pair in request.query_params.multi_items() if pair[0] not in own]

    def group(self, one: Series) -> dict[str, str]:
        return dict(zip(self.names, one.group, strict=True))

    def of(self, one: Series, period: int) -> str:
        where = [(f"where[{name}]", value) for name, value in self.group(one).items()]
        return f"{self.path}?{urlencode([*self.kept, *where, ('period', self.labels[period])])}"


def _scaled(value: float | None, kind: str) -> float | None:
    return None if value is None else round(100 * value if kind == "p" else value, 6)


def _limits(one: Series, kind: str, behind: _Behind) -> dict[str, Any]:
    chart = one.laney
    assert chart is not None

    def shown(period: int, point: Judged) -> dict[str, Any]:
        return {
            "period": behind.labels[period],
            "value": _scaled(point.value, kind),
            "numerator": one.counts[period],
            "denominator": round(one.areas[period], 6),
            "lower": _scaled(point.lower, kind),
            "upper": _scaled(point.upper, kind),
            "z": None if point.z is None else round(point.z, 6),
            "rules": list(point.rules),
            "events": behind.of(one, period),
        }

    return {
        "group": behind.group(one),
        "centre": _scaled(chart.centre, kind),
        "sigma_z": None if chart.sigma_z is None else round(chart.sigma_z, 6),
        "baseline_periods": chart.periods,
        "points": [shown(period, point) for period, point in enumerate(chart.points)],
    }


def _between(one: Series, behind: _Behind) -> dict[str, Any]:
    found = one.gaps
    assert found is not None

    def shown(gap: Gap) -> dict[str, Any]:
        return {
            "period": behind.labels[gap.at],
            "since": behind.labels[gap.since],
            "gap": gap.gap,
            "expected": None if gap.expected is None else round(gap.expected, 6),
            "lower": gap.lower,
            "upper": gap.upper,
            "chance": None if gap.chance is None else round(gap.chance, 9),
            "rules": list(gap.rules),
            "events": behind.of(one, gap.at),
        }

    return {
        "group": behind.group(one),
        "cases": found.events,
        "points": [shown(gap) for gap in found.gaps],
        "open": None if found.open is None else shown(found.open),
    }
