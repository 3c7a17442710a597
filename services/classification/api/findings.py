"""Findings and the commands that drive them."""

from collections.abc import Callable
from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Query, Request
from fastapi.encoders import jsonable_encoder
from fastapi.responses import JSONResponse
from pydantic import AwareDatetime, Field
from starlette.responses import Response

from libs.events.catalogue.findings import Nature
from libs.service.http import Paging, Problem, negotiate, paging
from services.classification import dossier, dossier_words, finding_views, views
from services.classification.api.carrying import CommandIn, IfMatch, Name, Reason, carry_out
from services.classification.api.context import Context, Reader, Writer, of_finding
from services.classification.domain.escalation import parse
from services.classification.domain.findings import (
    METRICS,
    Assign,
    CancelAction,
    Close,
    Confirm,
    Correct,
    Dismiss,
    ImplementAction,
    PlanAction,
    Refused,
    Reopen,
    Status,
)

STATES = ("open", *(status.value for status in Status))


class ConfirmIn(CommandIn):
    nature: Nature | None = Field(default=None, description="corrects the nature that was read from the causes")


class AssignIn(CommandIn):
    owner: Name


class PlanActionIn(CommandIn):
    """The success test is declared here, before the action: rate after over rate before at most `expected_ratio`."""

    description: Reason
    owner: Name
    due: date
    expected_ratio: float = Field(description="above 0 and below 1; 0.5: half of before", allow_inf_nan=False)
    window_days: int = Field(description="7 to 365: how long after the action is looked at")
    metric: str = Field(default="complainants", description=", ".join(METRICS))
    slice: dict[str, Annotated[str, Field(min_length=1, max_length=200)]] = Field(
        default_factory=dict, description="where success is looked for; the finding's own slice when left out"
    )


class CorrectIn(CommandIn):
    nature: Nature


class ImplementActionIn(CommandIn):
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

    @routes.get("/findings/{finding_id}/interactions", summary="The contacts that belong to a finding, newest first")
    async def get_contacts(
        request: Request, principal: Reader, finding_id: str, paged: Annotated[Paging, Depends(paging)]
    ) -> dict[str, Any]:
        async with context.store.reading() as connection:
            if await views.finding(connection, finding_id) is None:
                raise of_finding(Refused("unknown_finding"), request)
            items = await finding_views.behind(connection, finding_id, after=paged.position, limit=paged.limit)
        return paged.page(items, lambda item: [item["occurred_at"].isoformat(), item["interaction_id"]])

    @routes.get(
        "/findings/{finding_id}/dossier",
        summary="How large it is, whom it touches and since when, and what its complaints have in common",
        description="Counted from the complaints as they are coded now: customers and contacts, by whom; acts and omissions; what "
        "was needlessly demanded; the suppliers behind it and whether what they agreed to is kept; which levels know of it.",
    )
    async def get_dossier(request: Request, principal: Reader, finding_id: str) -> dict[str, Any]:
        levels, language = parse(context.settings.escalation), negotiate(request)
        async with context.store.reading() as connection:
            version = await context.books.version(connection)
            book = await context.books.book(connection, version) if version else None
            found = await dossier.dossier(connection, finding_id, book, levels, context.waiting, context.clock.now())
        if found is None:
            raise of_finding(Refused("unknown_finding"), request)
        answer: dict[str, Any] = jsonable_encoder(
            found | {"sentences": dossier_words.sentences(found, book, language, context.waiting.zone)}
        )
        return answer

    @routes.get(
        "/findings/{finding_id}/precedents",
        summary="Earlier findings that resemble it: what was done, and did it work?",
    )
    async def get_precedents(request: Request, principal: Reader, finding_id: str) -> dict[str, Any]:
        async with context.store.reading() as connection:
            version = await context.books.version(connection)
            book = await context.books.book(connection, version) if version else None
            found = await finding_views.precedents(connection, finding_id, book)
        if found is None:
            raise of_finding(Refused("unknown_finding"), request)
        return {"items": found, "next": None}

    return routes


def commands(context: Context) -> APIRouter:
    routes = APIRouter(prefix="/classification/v1", tags=["findings"])

    def command(name: str, summary: str) -> Callable[[Any], Any]:
        return routes.post(f"/findings/{{finding_id}}/{name}", summary=summary, response_model=None)

    @command("confirm", "It is so; the nature may be corrected")
    async def confirm(
        request: Request, who: Writer, finding_id: str, body: Annotated[ConfirmIn | None, Body()] = None, if_match: IfMatch = None
    ) -> Response:  # fmt: skip
        given = body or ConfirmIn()
        order = Confirm(by=given.by or who.name, reason=given.reason, nature=given.nature)
        return await carry_out(context, request, who, finding_id, order, if_match)

    @command("dismiss", "It is not so; the reason is kept")
    async def dismiss(
        request: Request, who: Writer, finding_id: str, body: Annotated[CommandIn | None, Body()] = None, if_match: IfMatch = None
    ) -> Response:  # fmt: skip
        given = body or CommandIn()
        order = Dismiss(by=given.by or who.name, reason=given.reason)
        return await carry_out(context, request, who, finding_id, order, if_match)

    @command("assign", "Somebody answers for it")
    async def assign(
        request: Request, who: Writer, finding_id: str, body: AssignIn, if_match: IfMatch = None
    ) -> Response:
        order = Assign(by=body.by or who.name, owner=body.owner, reason=body.reason)
        return await carry_out(context, request, who, finding_id, order, if_match)

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
            metric=body.metric,
            slice=body.slice,
        )
        return await carry_out(context, request, who, finding_id, order, if_match)

    @command("implement-action", "The action is done; once its window has passed it is judged")
    async def implement_action(
        request: Request, who: Writer, finding_id: str, body: Annotated[ImplementActionIn | None, Body()] = None, if_match: IfMatch = None
    ) -> Response:  # fmt: skip
        given = body or ImplementActionIn()
        at = given.implemented_at or context.clock.now()
        order = ImplementAction(by=given.by or who.name, reason=given.reason, implemented_at=at)
        return await carry_out(context, request, who, finding_id, order, if_match)

    @command("close", "It is over")
    async def close(
        request: Request, who: Writer, finding_id: str, body: Annotated[CommandIn | None, Body()] = None, if_match: IfMatch = None
    ) -> Response:  # fmt: skip
        given = body or CommandIn()
        order = Close(by=given.by or who.name, reason=given.reason)
        return await carry_out(context, request, who, finding_id, order, if_match)

    @command("correct", "It is so, and of another nature than was said")
    async def correct(
        request: Request, who: Writer, finding_id: str, body: CorrectIn, if_match: IfMatch = None
    ) -> Response:
        order = Correct(by=body.by or who.name, nature=body.nature, reason=body.reason)
        return await carry_out(context, request, who, finding_id, order, if_match)

    @command("cancel-action", "The planned action will not be done; another may be planned")
    async def cancel_action(
        request: Request, who: Writer, finding_id: str, body: Annotated[CommandIn | None, Body()] = None, if_match: IfMatch = None
    ) -> Response:  # fmt: skip
        given = body or CommandIn()
        order = CancelAction(by=given.by or who.name, reason=given.reason)
        return await carry_out(context, request, who, finding_id, order, if_match)

    @command("reopen", "It was not over, or was wrongly dismissed; what the dismissal taught is taken back")
    async def reopen(
        request: Request, who: Writer, finding_id: str, body: Annotated[CommandIn | None, Body()] = None, if_match: IfMatch = None
    ) -> Response:  # fmt: skip
        given = body or CommandIn()
        order = Reopen(by=given.by or who.name, reason=given.reason)
        return await carry_out(context, request, who, finding_id, order, if_match)

    return routes
