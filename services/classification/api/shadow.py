"""Settings of the monitor tried over history, without effect."""

from typing import Annotated, Any

from fastapi import APIRouter, Request
from fastapi.encoders import jsonable_encoder
from pydantic import BaseModel, ConfigDict, Field

from libs.service.http import Problem
from services.classification.api.context import Context, Reader, say
from services.classification.shadow import ASKABLE, Shadow, ShadowRunning, UnknownSetting


class ShadowIn(BaseModel):
    model_config = ConfigDict(extra="forbid")

    rules: dict[str, Annotated[float, Field(gt=0, le=100_000, allow_inf_nan=False)]] = Field(
        min_length=1, description=f"what would be set otherwise: {', '.join(ASKABLE)}"
    )


def router(_: Context, shadow: Shadow) -> APIRouter:
    routes = APIRouter(prefix="/classification/v1", tags=["monitors"])

    @routes.post(
        "/monitors/shadow",
        summary="Which findings would have come under other settings, when, at what cost; nothing is changed",
        description="Judges the whole history twice: seconds to a minute. One at a time.",
    )
    async def try_out(request: Request, principal: Reader, body: ShadowIn) -> dict[str, Any]:
        try:
            report: dict[str, Any] = jsonable_encoder(await shadow.run(body.rules))
        except ShadowRunning as busy:
            raise Problem(409, "preview-running", headers={"Retry-After": "10"}) from busy
        except UnknownSetting as unknown:
            name = str(unknown)
            raise Problem.field(f"/rules/{name}", "not-allowed", say("unknown_setting", request, name)) from unknown
        return report

    return routes
