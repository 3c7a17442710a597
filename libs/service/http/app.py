"""The application every service starts from: one edge, one way to fail, and the paths every service has."""

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from libs.service.http.auth import require
from libs.service.http.edge import Edge, Endpoint, request_id
from libs.service.http.openapi import described
from libs.service.http.problems import (
    STARTING,
    FieldError,
    Language,
    Problem,
    Words,
    from_validation,
    negotiate_language,
    response_of,
)
from libs.service.http.reference import STYLE, reference_page
from libs.service.http.strict_json import read_body
from libs.service.metrics import CONTENT_TYPE, ServiceMetrics

if TYPE_CHECKING:
    from libs.service.environment import Environment
    from libs.service.service import Service

VERSION = "0.1.0"


def make_app(service: str, *, environment: "Environment", title: str, description: str = "") -> FastAPI:
    """The FastAPI application of a service; its routes carry their full public path (`APIRouter(prefix="/intake/v1")`).

    There already: `/{service}/health/live|ready`, `/{service}/metrics`, `/{service}/v1/status`, `/{service}/docs` and
    `/{service}/openapi.json`; problem documents for whatever goes wrong.
    """
    settings = environment.settings
    app = FastAPI(
        title=title,
        description=description,
        version=VERSION,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,  # a redirected POST arrives without its body at some clients
        separate_input_output_schemas=False,
        telemetry={"tracing": False, "metrics": False, "logs": False},  # ours instead: libs/service/tracing.py
    )
    metrics = ServiceMetrics(service)
    app.state.environment, app.state.metrics, app.state.service = environment, metrics, None
    app.state.name = service
    app.state.stopping = asyncio.Event()  # set when the service begins to stop: streams and long polls end themselves
    fixed: dict[str, Endpoint] = {}
    app.add_middleware(
        Edge,
        fixed=fixed,
        metrics=metrics,
        max_body=settings.max_body,
        max_in_flight=settings.max_in_flight,
        body_seconds=settings.request_timeout,
        language=settings.language,
        access_log=settings.access_log,
    )
    app.add_exception_handler(Problem, _on_problem)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(RequestValidationError, _on_validation)
    _common_routes(app, service, fixed)
    return app


def negotiate(request: Request) -> Language:
    """The language of an answer that a person reads: `?lang=`, the `lazo_lang` cookie, Accept-Language, the setting."""
    default: Language = request.app.state.environment.settings.language
    for asked in (request.query_params.get("lang"), request.cookies.get("lazo_lang")):
        if asked in {"es", "en"}:
            return "es" if asked == "es" else "en"
    return negotiate_language(request.headers.get("accept-language"), default)


async def _on_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return response_of(error, negotiate(request), request_id.get())


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    # Starlette's default detail is the status phrase, which the title says already.
    told = "" if error.detail == HTTPStatus(error.status_code).phrase else str(error.detail)
    # What Starlette and FastAPI say themselves is about bodies and forms they could not take apart.
    detail = Words(told, "no se pudo leer el cuerpo" if told else "")
    headers = dict(error.headers or {})
    if error.status_code == 405:
        allowed = headers["Allow"] = _allowed(headers.get("Allow", ""))
        detail = Words(
            f"{request.method} is not possible here; allowed: {allowed}",
            f"{request.method} no es posible aquí; se admite: {allowed}",
        )
    elif error.status_code == 400 and "body" in told:
        # FastAPI read the body itself and failed: let the strict reader say where.
        try:
            await read_body(request)
        except Problem as problem:
            return await _on_problem(request, problem)
    return await _on_problem(request, Problem(error.status_code, "", detail, headers=headers))


def _allowed(allow: str) -> str:
    """Routes know GET only; the edge answers HEAD wherever they do."""
    methods = {method.strip() for method in allow.split(",") if method.strip()}
    return ", ".join(sorted(methods | {"HEAD"} if "GET" in methods else methods))


async def _on_validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    found = error.errors()
    if any(item["type"] == "json_invalid" for item in found):
        try:
            await read_body(request)
        except Problem as problem:
            return await _on_problem(request, problem)
    # FastAPI's locations begin with body, query, path, header: pointers into the body begin at its root.
    errors: list[FieldError] = []
    for item in found:
        where, *path = item["loc"]
        if where == "body" and _is_branch(path):
            # A body that is one thing or a list of them: pydantic names the branch and tells what is wrong with either.
            if path[0].startswith("list[") != isinstance(error.body, list):
                continue
            path = path[1:]
        location = path if where == "body" else [where, *path]
        errors += from_validation([{**item, "loc": location}])
    return await _on_problem(request, Problem.fields(errors))


def _is_branch(path: list[Any]) -> bool:
    """Members of bodies are words in lower case, models begin with a capital, lists and validators show their brackets."""
    return bool(path) and isinstance(path[0], str) and ("[" in path[0] or path[0][:1].isupper())


def _common_routes(app: FastAPI, service: str, fixed: dict[str, Endpoint]) -> None:
    environment: Environment = app.state.environment
    metrics: ServiceMetrics = app.state.metrics

    async def live(request: Request) -> Response:
        return JSONResponse({"status": "live", "service": service})

    async def ready(request: Request) -> Response:
        running: Service | None = app.state.service
        healthy, reason = (False, "starting") if running is None else await running.ready()
        metrics.ready.set(1 if healthy else 0)
        body = {"status": "ready" if healthy else "not ready", "service": service}
        return JSONResponse(body if healthy else body | {"reason": reason}, 200 if healthy else 503)

    async def exposition(request: Request) -> Response:
        running: Service | None = app.state.service
        if running is not None:
            await running.measure()
        return Response(metrics.text(), media_type=CONTENT_TYPE)

    async def document(request: Request) -> Response:
        return JSONResponse(described(app))

    async def reference(request: Request) -> Response:
        language = negotiate(request)
        page = reference_page(
            described(app), language=language, style_url=f"/{service}/docs.css", document_url=f"/{service}/openapi.json"
        )
        return Response(page, headers={"Content-Language": language}, media_type="text/html; charset=utf-8")

    async def style(request: Request) -> Response:
        return Response(STYLE, headers={"Cache-Control": "public, max-age=3600"}, media_type="text/css; charset=utf-8")

    async def status(request: Request) -> dict[str, Any]:
        running: Service | None = app.state.service
        if running is None:
            raise Problem.unavailable(STARTING)
        found = await running.runtime.status()
        return {
            "behind": found.behind,
            "pending": found.pending,
            "parked": found.parked,
            "oldest_seconds": found.oldest_seconds,
            "idle": found.idle,
        }

    # Looked up by path, not matched one after the other before every route of the service.
    fixed[f"/{service}/health/live"] = live
    fixed[f"/{service}/health/ready"] = ready
    fixed[f"/{service}/metrics"] = exposition
    if environment.settings.docs:
        fixed[f"/{service}/openapi.json"] = document
        fixed[f"/{service}/docs"] = reference
        fixed[f"/{service}/docs.css"] = style
    app.add_api_route(
        f"/{service}/v1/status",
        status,
        methods=["GET"],
        tags=["operation"],
        summary="What is left to do",
        description="behind: log events not yet consumed; pending: own events not yet published; parked: in quarantine; "
        "oldest_seconds: age of the oldest of these; idle: nothing left to do.",
        dependencies=[Depends(require(f"{service}:read"))],
    )
