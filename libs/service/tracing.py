"""OpenTelemetry, as an extra (`lazo-complaints[otel]`): spans of requests, when `OTEL_EXPORTER_OTLP_ENDPOINT` says where to.

FastAPI's own instrumentation is switched off: its spans carry the path, and a path may hold a customer's token; ours carry
the route's template. Nothing here runs, and nothing is imported, where no endpoint is set.
"""

import os
from typing import TYPE_CHECKING, Any

import structlog

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Span, Tracer

log = structlog.get_logger("lazo.tracing")


class Tracing:
    """The process's tracer; without one every method is a look at None."""

    def __init__(self) -> None:
        self._provider: TracerProvider | None = None
        self._tracer: Tracer | None = None

    def start(self, exporter: "SpanExporter | None" = None) -> bool:
        """Begin to export spans; False when no endpoint is set or the extra is not installed."""
        if exporter is None and not os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
            return False
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
        except ImportError:
            log.warning("tracing.not-installed", remedy="pip install 'lazo-complaints[otel]'")
            return False
        resource = Resource.create({"service.name": os.environ.get("OTEL_SERVICE_NAME", "lazo")})
        self._provider = TracerProvider(resource=resource)
        self._provider.add_span_processor(BatchSpanProcessor(exporter or OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("lazo")
        return True

    def stop(self) -> None:
        """Export what is left."""
        if self._provider is not None:
            self._provider.shutdown()
        self._provider = self._tracer = None

    def begin(self, service: str, method: str, traceparent: str, *, called: bool) -> "tuple[Span | None, str]":
        """A span, under the caller's where there is one (`called`), and the trace context for what it leads to."""
        if self._tracer is None:
            return None, traceparent
        from opentelemetry.context import Context
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        parent = TraceContextTextMapPropagator().extract({"traceparent": traceparent}) if called else Context()
        attributes: dict[str, Any] = {"http.request.method": method, "lazo.service": service}
        span = self._tracer.start_span(method, parent, SpanKind.SERVER, attributes)
        context = span.get_span_context()
        return span, f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"

    def end(self, span: "Span | None", method: str, route: str, status: int) -> None:
        """Name the span by the route's template and close it."""
        if span is None:
            return
        from opentelemetry.trace import StatusCode

        span.update_name(f"{method} {route}")
        span.set_attribute("http.route", route)
        span.set_attribute("http.response.status_code", status)
        if status >= 500:
            span.set_status(StatusCode.ERROR)
        span.end()


tracing = Tracing()
