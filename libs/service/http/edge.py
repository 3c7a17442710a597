"""The outermost layer of every service, one pure ASGI callable: request id, trace context, limits, security headers,
access log, metrics, and a problem document for whatever nobody handled.

One layer instead of seven, and no task per request (as `BaseHTTPMiddleware` makes): about 15 µs a request.
"""

import asyncio
import os
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from typing import Any, NamedTuple

import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from libs.events.errors import ConcurrencyConflict, StoreBusy, is_transient
from libs.events.store.drafts import traceparent as event_traceparent
from libs.service.http.problems import Language, Problem, Words, negotiate_language, response_of
from libs.service.logs import access, places
from libs.service.metrics import ServiceMetrics
from libs.service.tracing import tracing

log = structlog.get_logger("lazo.http")

request_id: ContextVar[str] = ContextVar("lazo_request_id", default="")

_TRACEPARENT = re.compile(r"^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$")
_REQUEST_ID = re.compile(r"^[A-Za-z0-9._:-]{8,100}$")

CSP = "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
SECURITY_HEADERS: list[tuple[bytes, bytes]] = [
    (b"content-security-policy", CSP.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=()"),
]
_READ = frozenset({"GET", "HEAD"})
Endpoint = Callable[[Request], Awaitable[Response]]
_QUIET = frozenset({"/health/live", "/health/ready", "/metrics"})


class BodyTooLarge(Problem):
    def __init__(self, limit: int) -> None:
        super().__init__(
            413,
            "too-large",
            Words(
                f"a body may have {limit} bytes; split it, or use `lazo import`",
                f"un cuerpo puede tener {limit} bytes; divídalo, o use `lazo import`",
            ),
            extra={"limit": limit},
        )


class Edge:
    """Wraps the application of one service."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        fixed: Mapping[str, Endpoint],
        metrics: ServiceMetrics,
        max_body: int,
        max_in_flight: int,
        body_seconds: float,
        language: Language,
        access_log: bool,
    ) -> None:
        self.app, self.fixed, self.metrics = app, fixed, metrics
        self.max_body, self.max_in_flight, self.body_seconds = max_body, max_in_flight, body_seconds
        self.language: Language = language
        self.access_log = access_log
        self.in_flight = 0
        metrics.watch(lambda: self.in_flight)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        headers = _wanted(scope["headers"])
        raw = os.urandom(36).hex()
        identity = headers.get(b"x-request-id", "")
        if not _REQUEST_ID.match(identity):
            identity = raw[:24]
        trace = headers.get(b"traceparent", "")
        called = _TRACEPARENT.match(trace) is not None
        if not called:
            trace = f"00-{raw[24:56]}-{raw[56:]}-00"
        method: str = scope["method"]
        # RFC 9110, 9.3.2: wherever GET answers, HEAD does, with the same headers and no body. Routes know GET only.
        inner = {**scope, "method": "GET"} if method == "HEAD" else scope
        span, trace = tracing.begin(self.metrics.service, method, trace, called=called)
        id_token, trace_token = request_id.set(identity), event_traceparent.set(trace)
        state: dict[str, Any] = scope.setdefault("state", {})
        inner["state"] = state
        state["request_id"], state["traceparent"] = identity, trace
        status = 500
        sent = broken = False

        async def answer(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status, sent = message["status"], True
                _complete(message, identity)
            elif method == "HEAD":
                message = {**message, "body": b""}
            await send(message)

        self.in_flight += 1
        body = _Body(receive, self.max_body, self.body_seconds)
        problem: Problem | None = None
        path = scope["path"]
        try:
            if self.in_flight > self.max_in_flight and not path.endswith(tuple(_QUIET)):
                raise Problem(
                    503,
                    "overloaded",
                    Words(
                        f"{self.max_in_flight} requests are being served",
                        f"se están atendiendo {self.max_in_flight} solicitudes",
                    ),
                    headers={"Retry-After": "1"},
                )
            limited = body.begin(headers)
            endpoint = self.fixed.get(path) if method in _READ else None
            if endpoint is not None:
                scope["route"] = _Fixed(path)
                await (await endpoint(Request(inner, receive)))(inner, receive, answer)
            else:
                await self.app(inner, limited, answer)
        except Problem as raised:
            problem = raised
        except asyncio.CancelledError:
            if not body.late:
                status = 499  # the caller went away, or the server is stopping
                raise
            _uncancel()
            problem = Problem(
                408,
                "timeout",
                Words(
                    f"the body did not arrive within {self.body_seconds:g} s",
                    f"el cuerpo no llegó en {self.body_seconds:g} s",
                ),
            )
        except Exception as error:  # noqa: BLE001  # the last line: becomes a 500 or 503 and a line in the log
            problem = self._unhandled(error, identity)
        finally:
            self.in_flight -= 1
            body.end()
            if problem is not None:
                broken, status = sent, problem.status
                if not broken:
                    language = negotiate_language(headers.get(b"accept-language"), self.language)
                    await response_of(problem, language, identity)(scope, receive, answer)
            scope.setdefault("route", inner.get("route"))
            route = self._account(scope, status, time.perf_counter() - started, identity)
            tracing.end(span, method, route, status)
            request_id.reset(id_token)
            event_traceparent.reset(trace_token)
        if broken:
            # Half an answer is out: break the connection, so that nobody takes it for a whole one.
            raise RuntimeError("the answer broke off")

    def _unhandled(self, error: Exception, identity: str) -> Problem:
        if isinstance(error, ConcurrencyConflict):
            return Problem(
                409,
                "conflict",
                Words(
                    "it has changed in the meantime; read it again and repeat",
                    "cambió entretanto; léalo otra vez y repita",
                ),
            )
        if isinstance(error, StoreBusy):
            return Problem(
                503,
                "overloaded",
                Words("more is queued than may be", "hay más en espera de lo que se admite"),
                headers={"Retry-After": "1"},
            )
        if is_transient(error):
            log.warning("request.unavailable", error=type(error).__name__, request_id=identity)
            return Problem.unavailable(
                Words(
                    "the store or the log cannot be reached; nothing was kept",
                    "no se alcanza el almacén o el registro; no se guardó nada",
                ),
                retry_after=2,
            )
        # The message is left out: a database's or a parser's may quote what a person wrote.
        log.error("request.failed", error=type(error).__name__, places=places(error.__traceback__), request_id=identity)
        return Problem(
            500,
            "internal",
            Words(
                "an unexpected error; its place is in the log under this request's id",
                "un error inesperado; en el log está su lugar, bajo el id de esta solicitud",
            ),
        )

    def _account(self, scope: Scope, status: int, seconds: float, identity: str) -> str:
        route = scope.get("route")
        template = getattr(route, "path_format", None) or getattr(route, "path", None) or "unmatched"
        self.metrics.request(scope["method"], template, status, seconds)
        if self.access_log and not (status < 400 and template.endswith(tuple(_QUIET))):
            # The template, not the path: a path may hold a customer's token.
            access(
                method=scope["method"],
                route=template,
                status=status,
                ms=round(seconds * 1000, 2),
                principal=scope["state"].get("principal"),
                request_id=identity,
            )
        return template


class _Body:
    """Counts what arrives and gives it a deadline. A body announced too large is refused before a byte of it is read."""

    __slots__ = ("_due", "_limit", "_receive", "_seconds", "_seen", "late")

    def __init__(self, receive: Receive, limit: int, seconds: float) -> None:
        self._receive, self._limit, self._seconds = receive, limit, seconds
        self._seen, self.late = 0, False
        self._due: asyncio.TimerHandle | None = None

    def begin(self, headers: Mapping[bytes, str]) -> Receive:
        announced = headers.get(b"content-length")
        if announced is not None:
            if not announced.isascii() or not announced.isdigit():
                raise Problem(
                    400, "bad-request", Words("Content-Length is not a number", "Content-Length no es un número")
                )
            if int(announced) > self._limit:
                raise BodyTooLarge(self._limit)
        elif b"transfer-encoding" not in headers:
            return self._receive
        task = asyncio.current_task()
        assert task is not None
        # One timer for the whole body; `asyncio.timeout` around every read costs three times as much.
        self._due = asyncio.get_running_loop().call_later(self._seconds, self._give_up, task)
        return self._next

    def _give_up(self, task: "asyncio.Task[Any]") -> None:
        self.late = True
        task.cancel()

    async def _next(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._seen += len(message.get("body", b""))
            if self._seen > self._limit:
                raise BodyTooLarge(self._limit)
            if not message.get("more_body", False):
                self.end()
        return message

    def end(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None


def _uncancel() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.uncancel()


class _Fixed(NamedTuple):
    path: str


_NAMES = frozenset({b"x-request-id", b"traceparent", b"content-length", b"transfer-encoding", b"accept-language"})


def _wanted(headers: list[tuple[bytes, bytes]]) -> dict[bytes, str]:
    return {name: value.decode("latin-1") for name, value in headers if name in _NAMES}


def _complete(message: Message, identity: str) -> None:
    headers = list(message.get("headers", ()))
    present = {name.lower() for name, _ in headers}
    headers.extend(pair for pair in SECURITY_HEADERS if pair[0] not in present)
    headers.append((b"x-request-id", identity.encode()))
    if b"cache-control" not in present:
        headers.append((b"cache-control", b"no-store"))
    message["headers"] = headers
