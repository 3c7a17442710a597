"""The commands that drive a case."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Header, Request
from starlette.responses import Response

from libs.events.errors import ConcurrencyConflict
from libs.service.http import FieldError, Principal, Problem, Words, idempotent, require
from services.feedback import views
from services.feedback.api.context import Context, case_answer, problem_of
from services.feedback.api.models import (
    AcknowledgeIn,
    AssignIn,
    CloseIn,
    ReferIn,
    ReopenIn,
    ResolveIn,
    RespondIn,
)
from services.feedback.desk import Task
from services.feedback.domain.orders import Acknowledge, Assign, Close, Order, Refer, Reopen, Resolve, Respond
from services.feedback.domain.refusals import Refused

Writer = Annotated[Principal, Depends(require("feedback:write"))]
IfMatch = Annotated[str | None, Header(description='the version seen last, e.g. "7"; 412 when it has moved on')]


def commands_router(context: Context) -> APIRouter:
    router = APIRouter(prefix="/feedback/v1", tags=["commands"])

    def command(name: str, summary: str) -> Callable[[Callable[..., Awaitable[Response]]], Any]:
        return router.post(f"/cases/{{case_id}}/{name}", summary=summary, response_model=None)

    async def carry_out(
        request: Request, principal: Principal, case_id: str, order: Order, match: str | None
    ) -> Response:
        async with idempotent(request, principal, context.store) as once:
            if once.stored is not None:
                return once.stored
            try:
                async with context.store.unit() as unit:
                    if match is not None:
                        await _must_match(unit, case_id, match)
                    await context.desk.apply(unit, [Task(case_id, order)])
                    found = await views.case(unit.connection, case_id, unit.now)
                    assert found is not None
                    response = case_answer(found)
                    await once.keep(unit.connection, response)
            except Refused as refused:
                raise problem_of(refused) from None
            except ConcurrencyConflict:
                raise _moved_on() from None
            return response

    @command("acknowledge", "The customer was told that the case was received")
    async def acknowledge(
        request: Request, who: Writer, case_id: str, body: Annotated[AcknowledgeIn | None, Body()] = None, if_match: IfMatch = None
    ) -> Response:  # fmt: skip
        given = body or AcknowledgeIn()
        order = Acknowledge(by=given.by or who.name, at=given.at)
        return await carry_out(request, who, case_id, order, if_match)

    @command("assign", "Somebody deals with it")
    async def assign(request: Request, who: Writer, case_id: str, body: AssignIn, if_match: IfMatch = None) -> Response:
        order = Assign(by=body.by or who.name, at=body.at, agent=body.agent, team=body.team)
        return await carry_out(request, who, case_id, order, if_match)

    @command("respond", "The customer was, or is to be, answered")
    async def respond(
        request: Request, who: Writer, case_id: str, body: RespondIn, if_match: IfMatch = None
    ) -> Response:
        order = Respond(by=body.by or who.name, at=body.at, text=body.text, procedure=body.procedure)
        return await carry_out(request, who, case_id, order, if_match)

    @command("resolve", "It is decided: upheld, partly_upheld, not_upheld or explained; the customer is told")
    async def resolve(
        request: Request, who: Writer, case_id: str, body: ResolveIn, if_match: IfMatch = None
    ) -> Response:
        order = Resolve(
            by=body.by or who.name,
            at=body.at,
            outcome=body.outcome,
            reason=body.reason,
            procedure=body.procedure,
        )
        return await carry_out(request, who, case_id, order, if_match)

    @command("reopen", "It was not over; the same term runs again")
    async def reopen(
        request: Request, who: Writer, case_id: str, body: Annotated[ReopenIn | None, Body()] = None, if_match: IfMatch = None
    ) -> Response:  # fmt: skip
        given = body or ReopenIn()
        order = Reopen(by=given.by or who.name, at=given.at, reason=given.reason)
        return await carry_out(request, who, case_id, order, if_match)

    @command("close", "It is over")
    async def close(
        request: Request, who: Writer, case_id: str, body: Annotated[CloseIn | None, Body()] = None, if_match: IfMatch = None
    ) -> Response:  # fmt: skip
        given = body or CloseIn()
        order = Close(by=given.by or who.name, at=given.at, reason=given.reason)
        return await carry_out(request, who, case_id, order, if_match)

    @command("refer", "Somebody else is competent and deals with it now")
    async def refer(request: Request, who: Writer, case_id: str, body: ReferIn, if_match: IfMatch = None) -> Response:
        order = Refer(by=body.by or who.name, at=body.at, to=body.to, reason=body.reason)
        return await carry_out(request, who, case_id, order, if_match)

    return router


async def _must_match(unit: Any, case_id: str, match: str) -> None:
    found = await views.case(unit.connection, case_id, unit.now)
    if found is None:
        raise Refused("unknown_case")
    wanted = {tag.strip().removeprefix("W/").strip('"') for tag in match.split(",")}
    if "*" not in wanted and str(found["version"]) not in wanted:
        raise _moved_on(found["version"])


def _moved_on(version: int | None = None) -> Problem:
    detail = Words(
        "The case has changed: read it again and decide.", "El caso cambió entretanto: léalo de nuevo y decida."
    )
    extra = {} if version is None else {"version": version}
    return Problem(412, "precondition-failed", detail, (FieldError("/headers/if-match", "stale", detail),), extra=extra)
