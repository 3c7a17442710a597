"""Spans, where OpenTelemetry is installed and configured: templates instead of paths, and events under the request's span."""

from collections.abc import AsyncIterator

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from libs.service.testing import Running, running
from libs.service.tracing import Tracing, tracing
from tests.service.toy.app import build

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
async def toy() -> AsyncIterator[Running]:
    async with running(build) as found:
        yield found


async def test_a_request_is_a_span_under_its_callers_and_its_event_hangs_below(toy: Running) -> None:
    exporter = InMemorySpanExporter()
    assert tracing.start(exporter)
    try:
        await toy.client.post("/toy/v1/things", json={"name": "x"}, headers={"traceparent": CALLER})
        await toy.client.get("/toy/v1/boom/lz1.secret")
    finally:
        assert tracing._provider is not None
        tracing._provider.force_flush()
        tracing.stop()
    made, failed = exporter.get_finished_spans()
    assert made.name == "POST /toy/v1/things"
    assert made.parent is not None
    assert f"{made.parent.span_id:016x}" == "b7ad6b7169203331"
    assert failed.name == "GET /toy/v1/boom/{secret}"
    assert not failed.status.is_ok
    assert "secret-" not in str(failed.attributes)
    assert "lz1" not in failed.to_json()
    store = toy.services["toy"].runtime.store
    async with store.reading() as connection:
        row = (await connection.execute(store.tables.events.select())).one()
    assert made.context is not None
    assert row.traceparent == f"00-{made.context.trace_id:032x}-{made.context.span_id:016x}-01"


def test_without_an_endpoint_nothing_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    idle = Tracing()
    assert idle.start() is False
    assert idle.begin("toy", "GET", CALLER, called=True) == (None, CALLER)
    idle.end(None, "GET", "/x", 200)
    idle.stop()
