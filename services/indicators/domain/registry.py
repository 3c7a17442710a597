"""The catalogue of indicators: what each number is, how it is formed, and since which version of its definition.

A change of formula, of what is counted or of the period a case belongs to is a new version.
"""

from dataclasses import dataclass
from typing import Final, Literal

DIMENSIONS: Final = (
    "kind", "channel", "motive", "cause", "component", "factor", "nature", "verdict", "severity", "touchpoint", "product",
    "location", "team", "agent", "supplier", "segment", "procedure", "source", "language",
)  # fmt: skip
CODED: Final = frozenset({"motive", "cause", "component", "factor", "severity", "procedure"})
JUDGED: Final = frozenset({"nature", "verdict"})
UNKNOWN: Final = "unknown"
"""The group of facts that carry no value of a dimension."""

Form = Literal["count", "distinct", "share", "level", "age", "duration", "delay"]
Text = dict[str, str]


@dataclass(frozen=True, slots=True)
class Indicator:
    """One entry of the catalogue. `number` is its place in the published list of 48; variants share it."""

    code: str
    number: int
    version: int
    names: Text
    unit: str  # cases, customers, percent, hours, business_days, days
    formula: Text
    counts: str  # the unit whose distinct members make the numerator: case, customer, answer, finding
    event: Text  # which event decides the period
    clock: Literal["calendar", "business"]
    source: str
    form: Form
    by: str | None = None  # dimension a share is always split by
    quantile: float | None = None
    better: Literal["up", "down", "neither"] = "down"


_CASES = {
    "es": "quejas, reclamos y peticiones abiertos como caso",
    "en": "complaints, claims and requests opened as a case",
}

_ALL = (
    Indicator(
        code="complaints_received", number=1, version=1, unit="cases", form="count", counts="case", clock="calendar",
        names={"es": "Quejas recibidas", "en": "Complaints received"},
        formula={"es": "casos distintos recibidos en el periodo", "en": "distinct cases received in the period"},
        event={"es": "el caso se recibe", "en": "the case is received"},
        source="ISO 10002 8.1-8.2",
    ),
    Indicator(
        code="complainants", number=3, version=1, unit="customers", form="distinct", counts="customer", clock="calendar",
        names={"es": "Clientes que se quejan", "en": "Complainants"},
        formula={"es": "clientes distintos con al menos un caso", "en": "distinct customers with at least one case"},
        event={"es": "el caso se recibe", "en": "the case is received"},
        source="Lazo",
    ),
    Indicator(
        code="motive_share", number=4, version=1, unit="percent", form="share", counts="case", clock="calendar", by="motive",
        better="neither",
        names={"es": "Participación de cada motivo", "en": "Motive share"},
        formula={"es": "casos del motivo / casos codificados", "en": "cases of the motive / all coded cases"},
        event={"es": "el caso se recibe", "en": "the case is received"},
        source="ISO 10002 8.2; R03",
    ),
    Indicator(
        code="component_balance", number=6, version=1, unit="percent", form="share", counts="case", clock="calendar",
        by="component", better="neither",
        names={"es": "Equilibrio de los componentes", "en": "Component balance"},
        formula={
            "es": "casos de cada uno de los seis componentes / casos codificados",
            "en": "cases of each of the six components / all coded cases",
        },
        event={"es": "el caso se recibe", "en": "the case is received"},
        source="R67, R68",
    ),
    Indicator(
        code="backlog", number=10, version=1, unit="cases", form="level", counts="case", clock="calendar",
        names={"es": "Casos abiertos", "en": "Open backlog"},
        formula={"es": "casos sin cerrar al final del periodo", "en": "cases not closed at the end of the period"},
        event={"es": "final del periodo", "en": "end of the period"},
        source="ITIL",
    ),
    Indicator(
        code="backlog_age", number=10, version=1, unit="days", form="age", counts="case", clock="calendar", quantile=0.5,
        names={"es": "Antigüedad de los casos abiertos (mediana)", "en": "Age of the open backlog (median)"},
        formula={
            "es": "mediana de (final del periodo − recepción) de los casos abiertos",
            "en": "median of (end of the period − received) over open cases",
        },
        event={"es": "final del periodo", "en": "end of the period"},
        source="ITIL",
    ),
    Indicator(
        code="backlog_age_p90", number=10, version=1, unit="days", form="age", counts="case", clock="calendar", quantile=0.9,
        names={"es": "Antigüedad de los casos abiertos (percentil 90)", "en": "Age of the open backlog (90th percentile)"},
        formula={
            "es": "percentil 90 de (final del periodo − recepción) de los casos abiertos",
            "en": "90th percentile of (end of the period − received) over open cases",
        },
        event={"es": "final del periodo", "en": "end of the period"},
        source="ITIL",
    ),
    Indicator(
        code="acknowledgement_time", number=12, version=1, unit="hours", form="duration", counts="case", clock="calendar",
        quantile=0.5,
        names={"es": "Tiempo de acuse de recibo (mediana)", "en": "Acknowledgement time (median)"},
        formula={"es": "mediana de (acuse − recepción)", "en": "median of (acknowledged − received)"},
        event={"es": "primer acuse de recibo", "en": "the first acknowledgement"},
        source="ISO 10002 7.4, DISP 1.6",
    ),
    Indicator(
        code="acknowledgement_time_p90", number=12, version=1, unit="hours", form="duration", counts="case", clock="calendar",
        quantile=0.9,
        names={"es": "Tiempo de acuse de recibo (percentil 90)", "en": "Acknowledgement time (90th percentile)"},
        formula={"es": "percentil 90 de (acuse − recepción)", "en": "90th percentile of (acknowledged − received)"},
        event={"es": "primer acuse de recibo", "en": "the first acknowledgement"},
        source="ISO 10002 7.4, DISP 1.6",
    ),
    Indicator(
        code="acknowledgement_in_target", number=12, version=1, unit="percent", form="share", counts="case", clock="calendar",
        better="up",
        names={"es": "Acuses dentro del plazo", "en": "Acknowledged in target"},
        formula={
            "es": "casos acusados antes del límite / casos cuyo límite vence en el periodo",
            "en": "cases acknowledged by their limit / cases whose limit falls in the period",
        },
        event={"es": "vence el límite del acuse", "en": "the limit for acknowledging falls due"},
        source="ISO 10002 7.4, DISP 1.6",
    ),
    Indicator(
        code="resolution_time", number=14, version=1, unit="business_days", form="duration", counts="case", clock="business",
        quantile=0.5,
        names={"es": "Tiempo de solución (mediana)", "en": "Resolution time (median)"},
        formula={
            "es": "mediana de los días hábiles desde el siguiente a la recepción hasta el último cierre",
            "en": "median of business days from the day after receipt to the last closing",
        },
        event={"es": "el último cierre del caso", "en": "the last closing of the case"},
        source="ISO 10002 7.9; ITIL",
    ),
    Indicator(
        code="resolution_time_p90", number=14, version=1, unit="business_days", form="duration", counts="case",
        clock="business", quantile=0.9,
        names={"es": "Tiempo de solución (percentil 90)", "en": "Resolution time (90th percentile)"},
        formula={
            "es": "percentil 90 de los días hábiles desde el siguiente a la recepción hasta el último cierre",
            "en": "90th percentile of business days from the day after receipt to the last closing",
        },
        event={"es": "el último cierre del caso", "en": "the last closing of the case"},
        source="ISO 10002 7.9; ITIL",
    ),
    Indicator(
        code="csat", number=30, version=1, unit="percent", form="share", counts="answer", clock="calendar", better="up",
        names={"es": "Satisfacción (CSAT)", "en": "Satisfaction (CSAT)"},
        formula={"es": "respuestas con 4 o 5 / respuestas con puntaje", "en": "answers of 4 or 5 / answers with a score"},
        event={"es": "el cliente responde", "en": "the customer answers"},
        source="ISO 10004",
    ),
    Indicator(
        code="systemic_share", number=37, version=1, unit="percent", form="share", counts="case", clock="calendar",
        names={"es": "Casos con falla sistémica", "en": "Systemic share"},
        formula={
            "es": "casos bajo un veredicto de falla sistémica / todos los casos",
            "en": "cases under a systemic verdict / all cases",
        },
        event={"es": "el caso se recibe", "en": "the case is received"},
        source="DISP 1.3.3R; R12-R15",
    ),
    Indicator(
        code="detection_delay", number=37, version=1, unit="days", form="delay", counts="finding", clock="calendar",
        quantile=0.5,
        names={"es": "Demora en detectar lo sistémico (mediana)", "en": "Detection delay (median)"},
        formula={
            "es": "mediana de (primer veredicto sistémico − primer caso de la causa)",
            "en": "median of (first systemic verdict − first case of the cause)",
        },
        event={"es": "primer veredicto sistémico", "en": "the first systemic verdict"},
        source="DISP 1.3.3R; R12-R15",
    ),
)  # fmt: skip

INDICATORS: Final[dict[str, Indicator]] = {one.code: one for one in _ALL}
COUNTED: Final[dict[str, Text]] = {
    "case": _CASES,
    "customer": {"es": "clientes (seudónimos) con algún caso", "en": "customers (pseudonyms) with a case"},
    "answer": {"es": "respuestas de clientes con puntaje", "en": "customers' answers with a score"},
    "finding": {"es": "hallazgos sistémicos", "en": "systemic findings"},
}
UNITS: Final[dict[str, Text]] = {
    "cases": {"es": "casos", "en": "cases"},
    "customers": {"es": "clientes", "en": "customers"},
    "percent": {"es": "%", "en": "%"},
    "hours": {"es": "horas", "en": "hours"},
    "business_days": {"es": "días hábiles", "en": "business days"},
    "days": {"es": "días", "en": "days"},
}
