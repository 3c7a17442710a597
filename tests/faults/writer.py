"""Writes while things break, and remembers what it was told: accepted, refused, or nothing (which may have happened)."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx

from tests.faults.site import Site

SOURCE = "crm"
TEXTS = (
    "Me cobraron dos veces la misma factura y nadie responde",
    "No me han devuelto la plata del reembolso",
    "Llevo tres días sin internet en la casa",
    "The technician did not show up",
    "I was charged twice, please refund",
    "El asesor fue grosero y me colgó",
)


@dataclass
class History:
    """What the writer knows. `told` maps external id to the id it was answered with."""

    told: dict[str, str] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)
    sent: int = 0
    unknown: int = 0
    refused: int = 0
    differing: list[str] = field(default_factory=list)


def interaction(number: int, kind: str) -> dict[str, Any]:
    """A contact of one of fifty customers."""
    return {
        "source": SOURCE,
        "external_id": f"F-{number:06d}",
        "kind": kind,
        "channel": "phone",
        "occurred_at": datetime.now(UTC).isoformat(),
        "customer": {"id": f"C{number % 50}", "email": f"c{number % 50}@example.com"},
        "text": TEXTS[number % len(TEXTS)],
        "language": "es",
        "touchpoint": "call_centre",
        "case_ref": f"K-{number:06d}",
    }


class Writer:
    """Posts small batches without pause. What was not answered is sent again, the same fact under the same external id, until
    it is; a tenth of what was answered is sent once more."""

    def __init__(self, site: Site, seed: int) -> None:
        self.site, self.history = site, History()
        self.random = random.Random(seed)
        self.stopping = asyncio.Event()
        self._numbers = iter(range(1, 1_000_000))

    async def run(self) -> None:
        """Until `stopping` is set; then until nothing is left unanswered."""
        waiting: list[dict[str, Any]] = []
        async with httpx.AsyncClient(headers=self.site.headers(), timeout=4) as client:
            while not self.stopping.is_set() or waiting:
                if not waiting:
                    kinds = self.random.choices(("complaint", "claim", "inquiry"), k=self.random.randint(1, 6))
                    waiting = [interaction(next(self._numbers), kind) for kind in kinds]
                    self.history.kinds.update({each["external_id"]: each["kind"] for each in waiting})
                    self.history.sent += len(waiting)
                if await self._post(client, waiting):
                    repeat = self.random.random() < 0.1
                    if repeat:
                        await self._post(client, waiting)
                    waiting = []
                    await asyncio.sleep(0.02)
                else:
                    await asyncio.sleep(0.2)

    async def _post(self, client: httpx.AsyncClient, bodies: list[dict[str, Any]]) -> bool:
        try:
            answer = await client.post(self.site.url("/intake/v1/interactions"), json=bodies)
        except httpx.HTTPError:
            self.history.unknown += 1
            return False
        if answer.status_code == 503:
            self.history.refused += 1
            return False
        assert answer.status_code == 202, f"{answer.status_code}: {answer.text[:500]}"
        for body, result in zip(bodies, answer.json()["results"], strict=True):
            former = self.history.told.setdefault(body["external_id"], result["id"])
            if former != result["id"]:  # I3: a retry gives the same answer
                self.history.differing.append(body["external_id"])
        return True
