"""The past coded again: ask (a preview), start, watch, pause, resume, cancel."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any
from uuid import uuid4

from fastapi import APIRouter, Depends, Request
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from starlette.responses import Response

from libs.events.store import Unit
from libs.service.http import FieldError, Paging, Principal, Problem, paging
from services.classification import recoding as jobs
from services.classification.api.commanding import carried_out
from services.classification.api.context import Context, Reader, Writer, no_rulebook, say
from services.classification.recoding import Recoding, RecodingRefused


class ByIn(BaseModel):
    """Who asks."""

    model_config = ConfigDict(extra="forbid")

    by: str | None = Field(default=None, min_length=1, max_length=100, description="the key's name when left out")


class RecodingIn(ByIn):
    """Which part of the past, and how fast. Everything when left out."""

    since: AwareDatetime | None = Field(default=None, description="contacts from then on")
    until: AwareDatetime | None = Field(default=None, description="contacts before then")
    motive: str | None = Field(default=None, min_length=1, max_length=64, description="only contacts coded so")
    per_second: int | None = Field(default=None, ge=1, le=100_000, description="contacts a second at most")


def router(context: Context, recoding: Recoding) -> APIRouter:
    routes = APIRouter(prefix="/classification/v1", tags=["recodings"])

    @routes.post(
        "/recodings",
        summary="Preview what the past would be coded as now; nothing is written",
        description="The job goes from `previewing` to `previewed`; `start` then does it.",
        status_code=202,
    )
    async def ask(request: Request, principal: Writer, body: RecodingIn) -> Response:
        recoding_id = f"rec_{uuid4().hex}"

        async def do(unit: Unit) -> None:
            await recoding.ask(
                unit,
                recoding_id,
                body.by or principal.name,
                since=body.since,
                until=body.until,
                motive=body.motive,
                per_second=body.per_second or context.settings.recodings_per_second,
            )

        return await _command(request, principal, recoding_id, do)

    @routes.get("/recodings", summary="Jobs that coded the past again, newest first")
    async def listed(principal: Reader, paged: Annotated[Paging, Depends(paging)]) -> dict[str, Any]:
        async with context.store.reading() as connection:
            rows = await jobs.recodings(connection, paged.position, paged.limit)
        page = paged.page(rows, lambda row: [row["asked_at"].isoformat(), row["recoding_id"]])
        return page | {"items": [jobs.shown(row) for row in page["items"]]}

    @routes.get("/recodings/{recoding_id}", summary="How far a job is, and what goes where")
    async def one(request: Request, principal: Reader, recoding_id: str) -> dict[str, Any]:
        try:
            async with context.store.reading() as connection:
                return jobs.shown(await jobs.recoding(connection, recoding_id))
        except RecodingRefused as refused:
            raise _of(refused, request) from None

    @routes.post("/recodings/{recoding_id}/start", summary="Do what was previewed", status_code=202)
    async def start(request: Request, principal: Writer, recoding_id: str, body: ByIn) -> Response:
        by = body.by or principal.name
        return await _command(request, principal, recoding_id, lambda unit: recoding.start(unit, recoding_id, by))

    @routes.post("/recodings/{recoding_id}/pause", summary="Stop after the batch in hand", status_code=202)
    async def pause(request: Request, principal: Writer, recoding_id: str) -> Response:
        return await _command(request, principal, recoding_id, lambda unit: recoding.pause(unit, recoding_id))

    @routes.post("/recodings/{recoding_id}/resume", summary="Go on where it stands", status_code=202)
    async def resume(request: Request, principal: Writer, recoding_id: str) -> Response:
        return await _command(request, principal, recoding_id, lambda unit: recoding.resume(unit, recoding_id))

    @routes.post("/recodings/{recoding_id}/cancel", summary="End it; what was appended stays", status_code=202)
    async def cancel(request: Request, principal: Writer, recoding_id: str, body: ByIn) -> Response:
        by = body.by or principal.name
        return await _command(request, principal, recoding_id, lambda unit: recoding.cancel(unit, recoding_id, by))

    async def _command(
        request: Request, principal: Principal, recoding_id: str, command: Callable[[Unit], Awaitable[None]]
    ) -> Response:
        async def do(unit: Unit) -> dict[str, Any]:
            await command(unit)
            return jobs.shown(await jobs.recoding(unit.connection, recoding_id))

        return await carried_out(context, request, principal, do, RecodingRefused, _of, 202)

    return routes


def _of(refused: RecodingRefused, request: Request) -> Problem:
    """404 for a job there is none of, 409 for the wrong moment."""
    if refused.code == "no_rulebook":
        return no_rulebook(request)
    text = say(f"recoding_{refused.code}", request, refused.value)
    if refused.code == "unknown":
        return Problem(404, "not-found", text)
    return Problem(409, "conflict", text, (FieldError("", refused.code.replace("_", "-"), text),))
