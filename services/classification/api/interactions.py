"""Decisions: one interaction's, the queue of those to review, a person's correction, the coder's versions."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.encoders import jsonable_encoder
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from libs.events.errors import ConcurrencyConflict
from libs.service.http import Paging, idempotent, paging
from services.classification import views
from services.classification.api.context import Context, Reader, Writer, moved_on, of_label
from services.classification.coding import LabelRefused, stream_of


class LabelIn(BaseModel):
    """A person's coding. `cause` left out: the one before stays when the motive does, else it is unknown."""

    model_config = ConfigDict(extra="forbid")

    motive: str = Field(min_length=1, max_length=64, description="rulebook code, or unknown")
    cause: str | None = Field(default=None, min_length=1, max_length=64, description="rulebook code, or unknown")
    by: str | None = Field(
        default=None, min_length=1, max_length=100, description="who decided; the key's name when left out"
    )


def router(context: Context) -> APIRouter:
    routes = APIRouter(prefix="/classification/v1", tags=["decisions"])

    @routes.get("/interactions/{interaction_id}", summary="The decision, its evidence and all decisions before it")
    async def get_decision(request: Request, principal: Reader, interaction_id: str) -> Response:
        return JSONResponse(jsonable_encoder(await _decision(request, interaction_id)))

    @routes.post(
        "/interactions/{interaction_id}/label", summary="A person's correction; it supersedes, all stay visible"
    )
    async def label(request: Request, principal: Writer, interaction_id: str, body: LabelIn) -> Response:
        async with idempotent(request, principal, context.store) as once:
            if once.stored is not None:
                return once.stored
            try:
                async with context.store.unit() as unit:
                    await context.coding.label(unit, interaction_id, body.motive, body.cause, body.by or principal.name)
                    events = await unit.stream(stream_of(interaction_id))
                    response = JSONResponse(jsonable_encoder(views.decision_view(events)))
                    await once.keep(unit.connection, response)
            except LabelRefused as refused:
                raise of_label(refused, request) from None
            except ConcurrencyConflict:
                raise moved_on(request) from None
            return response

    @routes.get("/review-queue", summary="Contacts a person should look at, least sure first")
    async def review_queue(
        principal: Reader,
        paged: Annotated[Paging, Depends(paging)],
        motive: Annotated[str | None, Query(max_length=64)] = None,
    ) -> dict[str, Any]:
        async with context.store.reading() as connection:
            items = await views.review_queue(connection, motive, paged.position, paged.limit)
        return paged.page(items, lambda item: [item["confidence"], item["interaction_id"]])

    @routes.get("/models", summary="The versions of the coder that decisions stand on")
    async def models(principal: Reader) -> dict[str, Any]:
        async with context.store.reading() as connection:
            items = await views.models(connection)
            version = await context.books.version(connection)
            coder = await context.books.coder(connection)
        live = coder.model_version if coder is not None else None
        return {"live": live, "rulebook_version": version, "items": items}

    async def _decision(request: Request, interaction_id: str) -> dict[str, Any]:
        async with context.store.unit() as unit:
            events = await unit.stream(stream_of(interaction_id))
        if not events:
            raise of_label(LabelRefused("unknown_interaction"), request)
        return views.decision_view(events)

    return routes
