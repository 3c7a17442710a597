"""Findings and the commands that drive them."""

from collections.abc import Callable
from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Header, Query, Request
from fastapi.encoders import jsonable_encoder
from fastapi.responses import JSONResponse
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from starlette.responses import Response

from libs.events.catalogue.findings import Nature
from libs.events.errors import ConcurrencyConflict
from libs.service.http import Paging, Principal, Problem, idempotent, paging
from services.classification import desk, views
from services.classification.api.context import Context, Reader, Writer, moved_on, of_finding
from services.classification.domain.findings import (
    Assign,
    Close,
    Command,
    Confirm,
    Dismiss,
    ImplementAction,
    PlanAction,
    Refused,
    Status,
)

STATES = ("open", *(status.value for status in Status))
IfMatch = Annotated[str | None, Header(description='the version seen last, e.g. "3"; 412 when it has moved on')]
Name = Annotated[str, Field(min_length=1, max_length=100)]
Reason = Annotated[str, Field(min_length=1, max_length=2000)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")

    by: Name | None = Field(default=None, description="who; the key's name when left out")
    reason: Reason | None = None


class ConfirmIn(_Body):
    nature: Nature | None = Field(default=None, description="corrects the nature that was read from the causes")


class AssignIn(_Body):
    owner: Name


class PlanActionIn(_Body):
    """The success test is declared here, before the action: rate after over rate before at most `expected_ratio`."""

    description: Reason
    owner: Name
    due: date
    expected_ratio: float = Field(description="above 0 and below 1; 0.5: half of before", allow_inf_nan=False)
    window_days: int = Field(description="7 to 365: how long after the action is looked at")


class ImplementActionIn(_Body):
    implemented_at: AwareDatetime | None = Field(default=None, description="now when left out")


def router(context: Context) -> APIRouter:
    routes = APIRouter(prefix="/classification/v1", tags=["findings"])

    @routes.get("/findings", summary="Findings, newest first")
    async def list_findings(
        principal: Reader,
        paged: Annotated[Paging, Depends(paging)],
        state: Annotated[str | None, Query(description=", ".join(STATES))] = None,
        nature: Annotated[Nature | None, Query()] = None,
    ) -> dict[str, Any]:
        if state is not None and state not in STATES:
            raise Problem.field("/query/state", "not-allowed", f"state: {', '.join(STATES)}")
        async with context.store.reading() as connection:
            items = await views.findings(
                connection,
                state=state,
                nature=nature.value if nature is not None else None,
                after=paged.position,
                limit=paged.limit,
            )
        return paged.page(items, lambda item: [item["opened_at"].isoformat(), item["finding_id"]])

    @routes.get("/findings/{finding_id}", summary="One finding with the verdicts and numbers that speak for it")
    async def get_finding(request: Request, principal: Reader, finding_id: str) -> Response:
        async with context.store.reading() as connection:
            found = await views.finding(connection, finding_id)
        if found is None:
            raise of_finding(Refused("unknown_finding"), request)
        return JSONResponse(jsonable_encoder(found), headers={"ETag": f'"{found["version"]}"'})

    return routes


def commands(context: Context) -> APIRouter:
    routes = APIRouter(prefix="/classification/v1", tags=["findings"])

    def command(name: str, summary: str) -> Callable[[Any], Any]:
        return routes.post(f"/findings/{{finding_id}}/{name}", summary=summary, response_model=None)

    async def carry_out(
        request: Request, who: Principal, finding_id: str, order: Command, match: str | None
    ) -> Response:
        async with idempotent(request, who, context.store) as once:
            if once.stored is not None:
                return once.stored
            try:
                async with context.store.unit() as unit:
                    if match is not None:
                        state = await desk.load(unit, finding_id)
                        wanted = {tag.strip().removeprefix("W/").strip('"') for tag in match.split(",")}
                        if state is not None and "*" not in wanted and str(state.version) not in wanted:
                            raise moved_on(request, {"version": state.version}, 412)
                    await desk.carry_out(unit, finding_id, order, context.waiting)
                    found = await views.finding(unit.connection, finding_id)
                    assert found is not None
                    response = JSONResponse(jsonable_encoder(found), headers={"ETag": f'"{found["version"]}"'})
                    await once.keep(unit.connection, response)
            except Refused as refused:
                raise of_finding(refused, request) from None
            except ConcurrencyConflict:
                raise moved_on(request) from None
            return response

    @command("confirm", "It is so; the nature may be corrected")
    async def confirm(
        request: Request, who: Writer, finding_id: str, body: Annotated[ConfirmIn | None, Body()] = None, if_match: IfMatch = None
    ) -> Response:  # fmt: skip
        given = body or ConfirmIn()
        order = Confirm(by=given.by or who.name, reason=given.reason, nature=given.nature)
        return await carry_out(request, who, finding_id, order, if_match)

    @command("dismiss", "It is not so; the reason is kept")
    async def dismiss(
        request: Request, who: Writer, finding_id: str, body: Annotated[_Body | None, Body()] = None, if_match: IfMatch = None
    ) -> Response:  # fmt: skip
        given = body or _Body()
        order = Dismiss(by=given.by or who.name, reason=given.reason)
        return await carry_out(request, who, finding_id, order, if_match)

    @command("assign", "Somebody answers for it")
    async def assign(
        request: Request, who: Writer, finding_id: str, body: AssignIn, if_match: IfMatch = None
    ) -> Response:
        order = Assign(by=body.by or who.name, owner=body.owner, reason=body.reason)
        return await carry_out(request, who, finding_id, order, if_match)

    @command("plan-action", "A corrective action, its owner, its date, and how its success will be measured")
    async def plan_action(
        request: Request, who: Writer, finding_id: str, body: PlanActionIn, if_match: IfMatch = None
    ) -> Response:
        order = PlanAction(
            by=body.by or who.name,
            reason=body.reason,
            description=body.description,
            owner=body.owner,
            due=body.due,
            expected_ratio=body.expected_ratio,
            window_days=body.window_days,
        )
        return await carry_out(request, who, finding_id, order, if_match)

    @command("implement-action", "The action is done; once its window has passed it is judged")
    async def implement_action(
        request: Request, who: Writer, finding_id: str, body: Annotated[ImplementActionIn | None, Body()] = None, if_match: IfMatch = None
    ) -> Response:  # fmt: skip
        given = body or ImplementActionIn()
        at = given.implemented_at or context.clock.now()
        order = ImplementAction(by=given.by or who.name, reason=given.reason, implemented_at=at)
        return await carry_out(request, who, finding_id, order, if_match)

    @command("close", "It is over")
    async def close(
        request: Request, who: Writer, finding_id: str, body: Annotated[_Body | None, Body()] = None, if_match: IfMatch = None
    ) -> Response:  # fmt: skip
        given = body or _Body()
        order = Close(by=given.by or who.name, reason=given.reason)
        return await carry_out(request, who, finding_id, order, if_match)

    return routes
