"""Interactions and case updates in; one interaction and its receipt out."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Depends, Request
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from libs.events import faults as crash
from libs.events.catalogue.interactions import Effects
from libs.service.http.auth import require
from libs.service.http.idempotency import HEADER, idempotent
from libs.service.http.problems import Problem, Words
from libs.service.keys import Principal
from services.intake import views
from services.intake.acceptance import Result, Settle
from services.intake.api.answers import answer
from services.intake.api.bodies import Elements, elements_of
from services.intake.api.reference import CASE_UPDATES, INTERACTIONS
from services.intake.domain import case_updates, interactions
from services.intake.domain.reading import Form
from services.intake.parts import Parts

INTERACTION_FORM = Form(interactions.ADAPTER, interactions.LIST, interactions.KNOWN)
UPDATE_FORM = Form(case_updates.ADAPTER, case_updates.LIST, case_updates.KNOWN)
_WRITER = require("intake:write")
_WRITE = Depends(_WRITER)
_READ = Depends(require("intake:read"))

Accept = Callable[..., Awaitable[list[Result]]]


@dataclass(frozen=True, slots=True)
class _Named:
    """What the access log and the metrics call a request."""

    path: str


class Shortcut:
    """The way of nearly every request: past routing, dependencies and exit stacks, straight to the two calls that take facts.

    They are half of what a bare FastAPI route costs (M1). The routes below stay: they describe the calls, and whatever is
    not exactly a POST to one of the two paths goes there. Stands inside the edge, which turns a Problem into its document.
    """

    def __init__(self, app: ASGIApp, *, parts: Parts) -> None:
        self._app = app
        self._parts = parts
        self._takers: dict[str, tuple[_Named, Form, Accept]] = {
            named.path: (named, form, accept)
            for named, form, accept in (
                (_Named("/intake/v1/interactions"), INTERACTION_FORM, parts.acceptance.record),
                (_Named("/intake/v1/case-updates"), UPDATE_FORM, parts.acceptance.record_updates),
            )
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        taker = self._takers.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if taker is None:
            await self._app(scope, receive, send)
            return
        scope["route"], form, accept = taker
        request = Request(scope, receive)
        principal = await _WRITER(request)
        response = await _take(request, principal, self._parts, form, accept)
        await response(scope, receive, send)


def router(parts: Parts) -> APIRouter:
    """`/intake/v1/interactions…` and `/intake/v1/case-updates`."""
    routes = APIRouter(prefix="/intake/v1", tags=["intake"])

    @routes.post(
        "/interactions",
        status_code=202,
        summary="Record interactions",
        description="One object, an array, NDJSON or CloudEvents (binary, structured, batch). 202 once durable, with an "
        "answer per element; 422 when no element is valid; 503 with Retry-After when the store cannot commit. "
        "The same source and external_id again: 202, the same id, `duplicate`. `effects=history` (or the header "
        "`Lazo-Effects`): coded, judged and counted, and nobody is written to about it.",
        openapi_extra=INTERACTIONS,
        response_class=Response,
    )
    async def record(request: Request, principal: Principal = _WRITE) -> Response:
        return await _take(request, principal, parts, INTERACTION_FORM, parts.acceptance.record)

    @routes.post(
        "/case-updates",
        status_code=202,
        summary="Record the progress of cases",
        description="Assigned, responded, resolved, reopened, closed in the contact centre's own system; single, array or "
        "NDJSON. An update of a case that is not known yet is accepted too.",
        openapi_extra=CASE_UPDATES,
        response_class=Response,
    )
    async def record_updates(request: Request, principal: Principal = _WRITE) -> Response:
        return await _take(request, principal, parts, UPDATE_FORM, parts.acceptance.record_updates)

    @routes.get("/interactions/{id}", summary="One interaction as it was accepted")
    async def get_interaction(id: str, principal: Principal = _READ) -> dict[str, Any]:
        found = await views.interaction(parts.store, parts.vault, id)
        if found is None or (principal.source is not None and found["source"] != principal.source):
            raise Problem(404, "not-found", Words("no interaction has this id", "ninguna interacción tiene este id"))
        return found

    @routes.get("/interactions/{id}/receipt", summary="Proof that an interaction was received")
    async def get_receipt(id: str, principal: Principal = _READ) -> dict[str, Any]:
        found = await views.receipt(parts.store, parts.vault, parts.log, id)
        if found is None or (principal.source is not None and found["source"] != principal.source):
            raise Problem(404, "not-found", Words("no interaction has this id", "ninguna interacción tiene este id"))
        return found

    return routes


def effects_of(request: Request) -> Effects:
    """`?effects=` or the header `Lazo-Effects`; live unless said otherwise. Problem 422 for anything else."""
    if not request.scope["query_string"] and not any(name == b"lazo-effects" for name, _ in request.scope["headers"]):
        return Effects.LIVE
    asked = request.query_params.get("effects") or request.headers.get("lazo-effects")
    if asked is None:
        return Effects.LIVE
    try:
        return Effects(asked)
    except ValueError:
        raise Problem.field(
            "/effects", "not-allowed", Words("effects is live or history", "effects es live o history")
        ) from None


async def _take(request: Request, principal: Principal, parts: Parts, form: Form, accept: Accept) -> Response:
    effects = effects_of(request)
    elements = await elements_of(request, form, parts.max_items)
    if HEADER in request.headers:
        return await _take_once(request, principal, parts, elements, effects, accept)
    results = await accept(elements.reads, effects=effects, bound=principal.source)
    crash.point("intake.answered")
    return answer(results, single=elements.single, request=request)


async def _take_once(
    request: Request, principal: Principal, parts: Parts, elements: Elements, effects: Effects, accept: Accept
) -> Response:
    """With an `Idempotency-Key`: the answer is kept in the transaction of the facts it tells of."""
    async with idempotent(request, principal, parts.store) as once:
        if once.stored is not None:
            return once.stored

        def respond(results: Sequence[Result]) -> Response:
            return answer(results, single=elements.single, request=request)

        async def keep(connection: AsyncConnection, results: Sequence[Result]) -> None:
            await once.keep(connection, respond(results))

        settle: Settle = keep
        return respond(await accept(elements.reads, effects=effects, bound=principal.source, settle=settle))
