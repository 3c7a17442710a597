"""What the house does beside answering: it changes rules, signs them, counts its contracts, and looks into its findings. Pure data
and what follows from it; the driver sends it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from services.demo.plan import LOCATIONS, Planted

CUSTOMERS = 9_000
TEAMS = tuple(f"team-{number}" for number in range(1, 7))
SIGNED = (("pr-refund", 1), ("pr-permanence", 1))
"""Procedures that every team had signed when they began to fail: what was wrong was not that nobody knew them (G10)."""


@dataclass(frozen=True, slots=True)
class Change:
    """A change of the year. Those without a failure behind them are there to mislead."""

    day: int
    kind: str
    what: str
    code: str | None = None
    version: int | None = None
    where: tuple[tuple[str, str], ...] = ()

    def body(self, start: datetime) -> dict[str, Any]:
        at = start + timedelta(days=self.day)
        found: dict[str, Any] = {
            "id": f"demo-{self.day}-{self.kind}",
            "kind": self.kind,
            "at": at.isoformat(),
            "what": self.what,
        }
        found |= {"code": self.code} if self.code else {}
        found |= {"version": self.version} if self.version else {}
        return found | ({"where": dict(self.where)} if self.where else {})


CHANGES = (
    Change(33, "release", "Aplicación 5.0", where=(("touchpoint", "app"),)),
    Change(68, "norm", "La permanencia mínima pasa de 6 a 12 meses", "n-permanence"),
    Change(98, "campaign", "Campaña de aniversario"),
    Change(109, "procedure", "Las devoluciones en tienda piden formulario impreso", "pr-refund", where=(("touchpoint", "store"),)),
    Change(141, "release", "Aplicación 5.1", where=(("touchpoint", "app"),)),
    Change(204, "information", "Factura con diseño nuevo", where=(("motive", "billing.invoice"),)),
    Change(250, "supplier", "Nuevo operador de envíos", "rapienvios", where=(("touchpoint", "website"),)),
    Change(301, "staff", "Veinte asesores nuevos en la línea", where=(("touchpoint", "call_centre"),)),
)  # fmt: skip


def figures(start: datetime, day: int) -> list[dict[str, Any]]:
    """Contracts by location, on the first day of each month, for thirty-one days ahead; a later figure replaces what overlaps."""
    date = (start + timedelta(days=day)).date()
    if day and date.day != 1:
        return []
    grown = 1 + 0.02 * day / 365
    return [
        {
            "unit": "contracts",
            "slice": {"location": place} if place else {},
            "since": date.isoformat(),
            "until": (date + timedelta(days=30)).isoformat(),
            "amount": round(CUSTOMERS * share * grown),
        }
        for place, share in (("", 1.0), *LOCATIONS)
    ]


_TREES: Mapping[str, Sequence[tuple[str, str, str | None]]] = {
    # what was found, component, cause
    "bad_procedure": (
        ("La devolución tarda semanas", "procedures", None),
        ("La tienda espera un formulario impreso", "procedures", "refund_needs_paper_form"),
        ("El formulario se añadió para un control que ya hace el sistema", "procedures", None),
    ),
    "harmful_norm": (
        ("Quien se va paga una permanencia que no esperaba", "procedures", "norm_permanence_unfair"),
        ("La norma duplicó el plazo también para contratos vigentes", "procedures", "norm_permanence_unfair"),
    ),
    "missing_explanation": (
        ("El cliente no entiende su primera factura tras el cambio de plan", "information", "invoice_layout_unclear"),
        ("El diseño nuevo suma el prorrateo sin decir de qué días es", "information", "invoice_layout_unclear"),
    ),
    "chronic_installation": (
        ("En Pasto las instalaciones se demoran todo el año", "people", "crew_capacity"),
        ("El contratista tiene una sola cuadrilla para la ciudad", "people", "crew_capacity"),
    ),
}  # fmt: skip


def investigation(planted: Planted) -> dict[str, Any]:
    """Five whys, each explaining the one before."""
    found = _TREES[planted.name]
    nodes = [
        {
            "node_id": str(number),
            "parent": str(number - 1) if number > 1 else None,
            "text": text,
            "component": component,
        }
        | ({"cause": cause} if cause else {})
        | {"root": number == len(found)}
        for number, (text, component, cause) in enumerate(found, start=1)
    ]
    return {"method": "five_whys", "nodes": nodes, "conclusion": found[-1][0], "by": "mesa de mejora"}


PROPOSALS: Mapping[str, Mapping[str, str]] = {
    "harmful_norm": {
        "subject": "norm",
        "code": "n-permanence",
        "text": "Aplicar el plazo nuevo solo a contratos firmados después del cambio",
        "owner": "dirección general",
        "by": "mesa de mejora",
    },
    "bad_procedure": {
        "subject": "procedure",
        "code": "pr-refund",
        "text": "Quitar el formulario impreso",
        "owner": "facturación",
        "by": "mesa de mejora",
    },
}
