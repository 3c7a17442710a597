"""All services of a process behind one listener: `/intake/…` goes to intake, and what belongs to nobody to indicators,
which has the console at `/`."""

import orjson
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from libs.service.http.edge import SECURITY_HEADERS
from libs.service.http.problems import STARTING, Language, Problem, negotiate_language, response_of
from libs.service.metrics import CONTENT_TYPE, merged
from libs.service.service import Service

FALLBACK = "indicators"
_HEADERS = {name.decode(): value.decode() for name, value in SECURITY_HEADERS} | {"cache-control": "no-store"}


class Combined:
    """An ASGI application; services are added as they start."""

    def __init__(self, language: Language = "es") -> None:
        self._language = language
        self._services: dict[str, Service] = {}
        self._complete = False

    def add(self, service: Service) -> None:
        self._services[service.name] = service

    def complete(self) -> None:
        """Nobody else is coming."""
        self._complete = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        path: str = scope["path"]
        if path in {"/health/live", "/health/ready", "/metrics"}:
            await (await self._own(path))(scope, receive, send)
            return
        service = self._services.get(path[1:].partition("/")[0])
        if service is None and self._complete:
            service = self._services.get(FALLBACK) or next(iter(self._services.values()), None)
        if service is None:
            asked = next((value for name, value in scope["headers"] if name == b"accept-language"), b"")
            language = negotiate_language(asked.decode("latin-1"), self._language)
            starting = response_of(Problem.unavailable(STARTING), language)
            starting.headers.update(_HEADERS)
            await starting(scope, receive, send)
            return
        await service.app(scope, receive, send)

    async def _own(self, path: str) -> Response:
        if path == "/metrics":
            services = list(self._services.values())  # others may be added while we wait
            for service in services:
                await service.measure()
            registries = [service.app.state.metrics.registry for service in services]
            return Response(merged(registries), 200, _HEADERS, CONTENT_TYPE)
        if path == "/health/live":
            return Response(b'{"status":"live"}', 200, _HEADERS, "application/json")
        reasons: dict[str, str] = {} if self._complete else {"services": "starting"}
        for name, service in list(self._services.items()):
            healthy, reason = await service.ready()
            if not healthy:
                reasons[name] = reason
        body = {"status": "not ready" if reasons else "ready", "services": sorted(self._services)}
        return Response(
            orjson.dumps(body | ({"reasons": reasons} if reasons else {})),
            503 if reasons else 200,
            _HEADERS,
            "application/json",
        )
