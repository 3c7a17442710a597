"""Classification over its public API, with intake before it, on the embedded engines."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from libs.events.clock import SimulatedClock
from libs.service.testing import Running, running
from services.classification.app import build as classification
from services.intake.app import build as intake

ROOT = Path(__file__).resolve().parents[2]
OPERATOR = (ROOT / "deploy/rulebooks/operator.yaml").read_bytes()
START = datetime(2026, 3, 2, 12, tzinfo=UTC)
YAML = {"content-type": "application/yaml"}


async def publish(run: Running, content: bytes = OPERATOR) -> Any:
    return await run.client.post("/classification/v1/rulebook/publish", content=content, headers=YAML)


async def send(run: Running, items: list[dict[str, Any]]) -> list[str]:
    answer = await run.client.post("/intake/v1/interactions", json=items)
    assert answer.status_code == 202, answer.text
    return [result["id"] for result in answer.json()["results"]]


def contact(number: int, text: str, **fields: Any) -> dict[str, Any]:
    return {
        "source": "crm",
        "external_id": f"c-{number}",
        "occurred_at": START.isoformat(),
        "kind": "complaint",
        "channel": "phone",
        "touchpoint": "call_centre",
        "customer": {"id": f"customer-{number}"},
        "text": text,
        **fields,
    }


async def source(run: Running) -> None:
    answer = await run.client.post("/intake/v1/sources", json={"id": "crm", "name": "CRM"})
    assert answer.status_code in {200, 201}, answer.text


async def test_a_contact_is_coded_with_evidence_version_and_the_procedure_in_force_R03_R11_R17() -> None:
    async with running(intake, classification, clock=SimulatedClock(START)) as run:
        await source(run)
        assert (await publish(run)).status_code == 201
        identity = (
            await send(run, [contact(1, "Desde ayer no tengo internet en la casa, todo el barrio está igual")])
        )[0]
        await run.settle()
        found = (await run.client.get(f"/classification/v1/interactions/{identity}")).json()
        assert (found["motive"], found["cause"]) == ("service.no_internet", "supplier_fibre_cut")
        assert (found["procedure"], found["norm"], found["component"]) == ("pr-outage", "n-network", "systems")
        assert found["rulebook_version"] == 1
        assert found["supplier"] == "fibranorte"
        assert found["evidence"]
        assert "ayer" not in {item["term"] for item in found["evidence"]}
        assert len(found["history"]) == 1


async def test_what_came_before_any_rulebook_is_unknown_and_coded_when_one_is_published() -> None:
    async with running(intake, classification, clock=SimulatedClock(START)) as run:
        await source(run)
        identity = (await send(run, [contact(1, "The technician never showed up")]))[0]
        await run.settle()
        assert (await run.client.get("/classification/v1/rulebook")).status_code == 404
        before = (await run.client.get(f"/classification/v1/interactions/{identity}")).json()
        assert (before["motive"], before["rulebook_version"]) == ("unknown", 0)
        await publish(run)
        await run.settle()
        after = (await run.client.get(f"/classification/v1/interactions/{identity}")).json()
        assert (after["motive"], after["rulebook_version"], after["revision"]) == ("install.missed_visit", 1, 2)
        assert [item["motive"] for item in after["history"]] == ["unknown", "install.missed_visit"]
