"""The year's plan, as data: ordinary motives with their weights, and the six failures planted among them."""

from collections.abc import Mapping
from dataclasses import dataclass

WEEKDAY = (1.28, 1.16, 1.08, 1.02, 0.98, 0.86, 0.62)
SEASON = 0.18  # peak in the first days of January, as bills and moves do
LOCATIONS = (
    ("bogota", 0.34),
    ("medellin", 0.22),
    ("cali", 0.16),
    ("barranquilla", 0.12),
    ("bucaramanga", 0.09),
    ("pasto", 0.07),
)
PRODUCTS: Mapping[str, float] = {"internet": 0.42, "mobile": 0.33, "tv": 0.15, "landline": 0.10}

_VOICE = {"phone": 0.42, "chat": 0.2, "whatsapp": 0.16, "email": 0.1, "web": 0.07, "branch": 0.05}
_DIGITAL = {"app": 0.35, "chat": 0.25, "email": 0.2, "web": 0.2}
_COMPLAINT = {"complaint": 0.44, "claim": 0.18, "inquiry": 0.38}
_CLAIM = {"claim": 0.48, "complaint": 0.20, "inquiry": 0.32}


@dataclass(frozen=True, slots=True)
class Motive:
    """One reason to contact; `weight` is its share of ordinary contacts, `rulebook` its code in the bundled rulebook."""

    code: str
    rulebook: str
    weight: float
    kinds: Mapping[str, float]
    touchpoints: Mapping[str, float]
    channels: Mapping[str, float]
    causes: tuple[str, ...] = ()  # of the rulebook; ordinary contacts name one now and then
    supplier: str | None = None


@dataclass(frozen=True, slots=True)
class Planted:
    """One planted failure. Days count from the year's first; `allowed_delay_days` is what a monitor may take to see it:
    of what changes four weeks, of what creeps in two months, of what was never otherwise the thirteen weeks that places are compared
    over, and three weeks for the looks that have to agree and for what comes late."""

    name: str
    sort: str  # shift, drift, outage, customer, chronic
    motive: str
    cause: str
    touchpoint: str
    verdict: str
    nature: str
    first_day: int
    last_day: int
    extra_per_day: float = 0.0
    total: int = 0
    one_customer: bool = False
    flat: bool = False
    ramp_days: int = 0
    location: str | None = None
    action_day: int | None = None
    action_factor: float = 1.0
    action_effect: str | None = None
    action: str | None = None
    allowed_delay_days: int = 28


def _m(
    code: str,
    rulebook: str,
    weight: float,
    kinds: Mapping[str, float],
    touchpoints: Mapping[str, float],
    channels: Mapping[str, float] = _VOICE,
    causes: tuple[str, ...] = (),
    supplier: str | None = None,
) -> Motive:
    return Motive(code, rulebook, weight, kinds, touchpoints, channels, causes, supplier)


_CARE = {"call_centre": 0.5, "chat": 0.3, "store": 0.2}
_ASKS = {"inquiry": 0.62, "request": 0.38}
_ONLY_COMPLAINT = {"complaint": 0.9, "claim": 0.1}

BASE = (
    _m("overcharge", "billing.wrong_charge", 0.120, _CLAIM, _CARE),
    _m("prorating", "billing.invoice", 0.035, {"complaint": 0.3, "claim": 0.2, "inquiry": 0.5}, _CARE),
    _m("refund_delay", "billing.refund", 0.045, _CLAIM, {"store": 0.5, "call_centre": 0.5}),
    _m("no_internet", "service.no_internet", 0.105, _COMPLAINT, {"call_centre": 0.8, "chat": 0.2}),
    _m("slow_internet", "service.slow_internet", 0.075, _COMPLAINT, {"call_centre": 0.6, "chat": 0.4}),
    _m("mobile_coverage", "service.mobile_coverage", 0.055, _COMPLAINT, {"call_centre": 0.6, "social_desk": 0.4}),
    _m(
        "technician_no_show",
        "install.missed_visit",
        0.050,
        _COMPLAINT,
        {"field_visit": 1.0},
        causes=("supplier_crew_no_show",),
        supplier="instalatec",
    ),
    _m("installation_delay", "install.delay", 0.045, _COMPLAINT, {"field_visit": 1.0}, supplier="instalatec"),
    _m("cancel_penalty", "contract.permanence", 0.030, _CLAIM, {"call_centre": 0.8, "store": 0.2}),
    _m(
        "cancel_difficult",
        "contract.cancel",
        0.040,
        _COMPLAINT,
        {"call_centre": 0.6, "store": 0.4},
        causes=("retention_transfer_loop",),
    ),
    _m("rude_agent", "care.rude", 0.030, _ONLY_COMPLAINT, {"call_centre": 0.6, "store": 0.4}),
    _m("long_wait", "care.wait", 0.045, _ONLY_COMPLAINT, {"call_centre": 0.65, "store": 0.35}),
    _m("offer", "contract.offer", 0.035, _COMPLAINT, {"call_centre": 0.5, "store": 0.3, "website": 0.2}),
    _m(
        "app_failure",
        "digital.app",
        0.050,
        _COMPLAINT,
        {"app": 0.8, "website": 0.2},
        _DIGITAL,
        causes=("app_release_bug",),
    ),
    _m("device_warranty", "device.fault", 0.035, _CLAIM, {"store": 1.0}, causes=("device_defective",)),
    _m("portability", "contract.porting", 0.025, _CLAIM, {"store": 0.5, "call_centre": 0.5}),
    _m("plan_information", "unknown", 0.095, _ASKS, {"website": 0.4, "call_centre": 0.6}),
    _m("good_service", "unknown", 0.050, {"compliment": 1.0}, {"field_visit": 0.4, "call_centre": 0.4, "store": 0.2}),
    _m("idea", "unknown", 0.035, {"suggestion": 1.0}, {"call_centre": 0.5, "app": 0.5}),
)

PLANTED = (
    Planted(
        "bad_procedure", "shift", "refund_delay", "refund_needs_paper_form", "store", "systemic", "procedure", 110, 364,
        extra_per_day=6.0, action_day=180, action_factor=0.08, action_effect="effective",
        action="La devolución se pide sin papeles, con un solo clic",
    ),
    Planted(
        "harmful_norm", "drift", "cancel_penalty", "norm_permanence_unfair", "call_centre", "systemic", "norm", 70, 364,
        extra_per_day=6.5, ramp_days=45, action_day=200, action_factor=1.0, action_effect="not_effective", allowed_delay_days=60,
        action="Se recordó la norma de permanencia a los asesores",
    ),
    Planted(
        "missing_explanation", "shift", "prorating", "invoice_layout_unclear", "call_centre", "systemic", "explanation", 205, 364,
        extra_per_day=5.5, action_day=270, action_factor=1.8, action_effect="harmful",
        action="La factura lleva una hoja más con el detalle del prorrateo",
    ),
    Planted(
        "supplier_outage", "outage", "no_internet", "supplier_fibre_cut", "call_centre", "isolated", "supplier", 150, 150,
        extra_per_day=70.0, flat=True,
    ),
    Planted(
        "angry_customer", "customer", "rude_agent", "agent_rude", "store", "isolated", "human", 168, 177, total=40, one_customer=True,
    ),
    Planted(
        "chronic_installation", "chronic", "installation_delay", "crew_capacity", "field_visit", "systemic", "supplier", 0, 364,
        extra_per_day=3.5, location="pasto", allowed_delay_days=112,
    ),
)  # fmt: skip
