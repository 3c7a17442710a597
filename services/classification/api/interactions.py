"""Decisions: one interaction's, a person's correction, the coder's versions."""

from typing import Any, Literal

from fastapi import APIRouter, Request
from fastapi.encoders import jsonable_encoder
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from libs.events.store import Unit
from services.classification import views
from services.classification.api.commanding import carried_out
from services.classification.api.context import Context, Reader, Writer, of_label
from services.classification.coding import LabelRefused, stream_of
from services.classification.reviewing import Reviewing


class LabelIn(BaseModel):
    """A person's coding. `cause` left out: the one before stays when the motive does, else it is unknown."""

    model_config = ConfigDict(extra="forbid")

    motive: str = Field(min_length=1, max_length=64, description="rulebook code, or unknown")
    cause: str | None = Field(default=None, min_length=1, max_length=64, description="rulebook code, or unknown")
    act: Literal["act", "omission"] | None = Field(
        default=None,
        description="whether something was done or left undone, where this case differs from its cause (R16)",
    )
    by: str | None = Field(
        default=None, min_length=1, max_length=100, description="who decided; the key's name when left out"
    )
    revision: int | None = Field(
        default=None, ge=1, le=2**31 - 1, description="the decision that was looked at; 409 where another came first"
    )


def router(context: Context, reviewing: Reviewing) -> APIRouter:
    routes = APIRouter(prefix="/classification/v1", tags=["decisions"])

    @routes.get("/interactions/{interaction_id}", summary="The decision, its evidence and all decisions before it")
    async def get_decision(request: Request, principal: Reader, interaction_id: str) -> Response:
        return JSONResponse(jsonable_encoder(await _decision(request, interaction_id)))

    @routes.post(
        "/interactions/{interaction_id}/label", summary="A person's correction; it supersedes, all stay visible"
    )
    async def label(request: Request, principal: Writer, interaction_id: str, body: LabelIn) -> Response:
        async def do(unit: Unit) -> dict[str, Any]:
            by = body.by or principal.name
            await reviewing.label(unit, interaction_id, body.motive, body.cause, by, body.revision, body.act)
            return views.decision_view(await unit.stream(stream_of(interaction_id)))

        return await carried_out(context, request, principal, do, LabelRefused, of_label)

    async def _decision(request: Request, interaction_id: str) -> dict[str, Any]:
        async with context.store.unit() as unit:
            events = await unit.stream(stream_of(interaction_id))
        if not events:
            raise of_label(LabelRefused("unknown_interaction"), request)
        return views.decision_view(events)

    return routes
