"""Intake as its tests use it: built by its own `build`, spoken to over HTTP, on a clock that stands still."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from libs.events.clock import SimulatedClock
from libs.service.testing import Running, running
from services.intake.app import build

NOW = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock(NOW)


@pytest.fixture
def element() -> Callable[..., dict[str, Any]]:
    """A valid interaction; keyword arguments replace members, None removes them."""

    def make(external_id: str = "T-1", **changes: Any) -> dict[str, Any]:
        made: dict[str, Any] = {
            "source": "crm",
            "external_id": external_id,
            "kind": "claim",
            "channel": "web",
            "occurred_at": "2026-03-01T09:30:00-05:00",
            "customer": {"id": "88213", "email": "ana@example.org", "phone": "300 123 4567", "name": "Ana Ruiz"},
            "text": "Me cobraron dos veces la misma factura.",
            "product": "internet",
        }
        made.update(changes)
        return {name: value for name, value in made.items() if value is not None}

    return make


@pytest.fixture
async def intake(clock: SimulatedClock) -> AsyncIterator[Running]:
    """Intake on SQLite with the source `crm` of Colombia."""
    async with running(build, clock=clock) as world:
        await registered(world.client)
        yield world


@pytest.fixture
async def either(engines: Any, clock: SimulatedClock) -> AsyncIterator[Running]:
    """Intake on both pairs of engines, one after the other."""
    async with running(build, clock=clock, engines=engines) as world:
        await registered(world.client)
        yield world


async def registered(client: httpx.AsyncClient, **changes: Any) -> dict[str, Any]:
    answer = await client.post("/intake/v1/sources", json={"id": "crm", "name": "CRM", "region": "CO", **changes})
    assert answer.status_code == 201, answer.text
    return answer.json()


@pytest.fixture
def post(intake: Running) -> Callable[..., Any]:
    """POST to interactions; the answer's status and JSON."""

    async def send(content: Any, **headers: str) -> tuple[int, dict[str, Any]]:
        if isinstance(content, bytes):
            given = {"content-type": "application/json", **{k.replace("_", "-"): v for k, v in headers.items()}}
            answer = await intake.client.post("/intake/v1/interactions", content=content, headers=given)
        else:
            given = {k.replace("_", "-"): v for k, v in headers.items()}
            answer = await intake.client.post("/intake/v1/interactions", json=content, headers=given)
        return answer.status_code, answer.json()

    return send
