"""Cases: lists, and one with its history."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from pydantic import AwareDatetime
from starlette.responses import Response

from libs.service.http import Paging, Principal, Problem, one_of, paging, require
from services.feedback import views
from services.feedback.api.context import Context, case_answer, problem_of
from services.feedback.domain.refusals import Refused

Reader = Annotated[Principal, Depends(require("feedback:read"))]


def cases_router(context: Context) -> APIRouter:
    router = APIRouter(prefix="/feedback/v1", tags=["cases"])

    @router.get("/cases", summary="Cases, newest first")
    async def list_cases(
        principal: Reader,
        paged: Annotated[Paging, Depends(paging)],
        state: Annotated[str | None, Query(description=", ".join(views.CASE_STATES))] = None,
        customer: Annotated[str | None, Query(max_length=100)] = None,
        overdue: Annotated[bool | None, Query(description="open and unanswered past the due date")] = None,
    ) -> dict[str, Any]:
        if state is not None and state not in views.CASE_STATES:
            raise Problem.field("/query/state", "not-allowed", one_of(views.CASE_STATES, "state"))
        async with context.store.reading() as connection:
            items = await views.cases(
                connection,
                now=context.clock.now(),
                state=state,
                customer=customer,
                overdue=overdue,
                after=paged.position,
                limit=paged.limit,
            )
        return paged.page(items, views.case_position)

    @router.get("/cases/{case_id}", summary="One case with its history, requests and open timers")
    async def get_case(request: Request, principal: Reader, case_id: str) -> Response:
        async with context.store.reading() as connection:
            found = await views.case(connection, case_id, context.clock.now())
            if found is None:
                raise problem_of(Refused("unknown_case"))
            requests = await views.requests(
                connection, channel=None, state="all", case_id=case_id, now=context.clock.now(), after=None, limit=500
            )
            found["history"] = await views.history(connection, context.vault, case_id)
            found["requests"] = [views.request_view(row) for row in requests]
            found["timers"] = await views.timers(
                connection, kind=None, case_id=case_id, before=None, after=None, limit=50
            )
        return case_answer(found)

    @router.get("/deadlines/moved", summary="Cases whose due date today's calendars would put elsewhere")
    async def list_moved(principal: Reader) -> dict[str, Any]:
        async with context.store.reading() as connection:
            return {"items": await views.moved(connection, context.calendar), "next": None}

    @router.get("/timers", summary="What falls due, earliest first")
    async def list_timers(
        principal: Reader,
        paged: Annotated[Paging, Depends(paging)],
        kind: Annotated[Literal["acknowledge", "due", "survey", "expire"] | None, Query()] = None,
        before: Annotated[AwareDatetime | None, Query()] = None,
    ) -> dict[str, Any]:
        async with context.store.reading() as connection:
            items = await views.timers(
                connection, kind=kind, case_id=None, before=before, after=paged.position, limit=paged.limit
            )
        return paged.page(items, views.timer_position)

    return router
