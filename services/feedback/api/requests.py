"""Requests: what a channel must send now, what became of it, and the answers it brings back."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Query, Request
from fastapi.encoders import jsonable_encoder
from fastapi.responses import JSONResponse
from starlette.responses import Response

from libs.events.catalogue.interactions import Channel
from libs.events.errors import ConcurrencyConflict
from libs.service.http import Paging, Principal, Problem, Words, idempotent, negotiate, one_of, paging, require
from services.feedback import views
from services.feedback.api.context import Context, not_ahead, problem_of
from services.feedback.api.models import AnswerIn, StatusIn, StatusOfIn
from services.feedback.desk import Task
from services.feedback.domain.decide import Command
from services.feedback.domain.refusals import Refused
from services.feedback.domain.requests import Answer, Report, answer_id
from services.feedback.tokens import token_hash

Reader = Annotated[Principal, Depends(require("feedback:read"))]
Writer = Annotated[Principal, Depends(require("feedback:write"))]
MOST = 500
"""Reports or answers in one body: one transaction of a few milliseconds."""


def requests_router(context: Context) -> APIRouter:
    router = APIRouter(prefix="/feedback/v1", tags=["requests"])

    async def listed(paged: Paging, channel: str | None, state: str, case_id: str | None) -> list[dict[str, Any]]:
        async with context.store.reading() as connection:
            rows = await views.requests(
                connection,
                channel=channel,
                state=state,
                case_id=case_id,
                now=context.clock.now(),
                after=paged.position,
                limit=paged.limit,
            )
            letters = await views.letters(connection, context.vault, rows)
        items = []
        for row in rows:
            letter = letters.get(row["request_id"])
            if letter is None and state == "pending":
                continue  # the person was erased a moment ago: there is nobody to send it to
            link = context.wording.link(letter.token) if letter is not None and letter.token else None
            items.append(
                views.request_view(row)
                | {
                    "address": letter.address if letter else None,
                    "body": letter.body if letter else None,
                    "template": letter.template if letter else row["purpose"],
                    "link": link,
                }
            )
        return items

    @router.get("/requests", summary="What a channel must send now")
    async def list_requests(
        principal: Reader,
        paged: Annotated[Paging, Depends(paging)],
        channel: Annotated[Channel | None, Query()] = None,
        state: Annotated[str, Query(description=", ".join(views.REQUEST_STATES))] = "pending",
        case: Annotated[str | None, Query(max_length=100)] = None,
        wait: Annotated[float, Query(ge=0, le=25, description="seconds to wait for something to come up")] = 0,
    ) -> dict[str, Any]:
        """The request id is the idempotency key of every attempt: report `accepted` before sending, and it is not listed
        again. A sweep begins without a cursor; `wait` holds the answer back until there is something."""
        if state not in views.REQUEST_STATES:
            raise Problem.field("/query/state", "not-allowed", one_of(views.REQUEST_STATES, "state"))
        loop = asyncio.get_running_loop()
        end = loop.time() + wait
        while True:
            items = await listed(paged, channel, state, case)
            left = end - loop.time()
            if items or left <= 0:
                return paged.page(items, views.request_position)
            await context.hub.wait(left)

    @router.get("/requests/{request_id}", summary="One request and where it stands")
    async def get_request(request: Request, principal: Reader, request_id: str) -> dict[str, Any]:
        async with context.store.reading() as connection:
            rows = await views.request_rows(connection, [request_id])
        if request_id not in rows:
            raise problem_of(Refused("unknown_request"))
        return views.request_view(rows[request_id])

    @router.post("/requests/{request_id}/status", summary="What became of a request")
    async def report(request: Request, principal: Writer, request_id: str, body: StatusIn) -> dict[str, Any]:
        """Repeating a report changes nothing and gives the same answer; reports may come in any order."""
        given = StatusOfIn(request_id=request_id, **body.model_dump())
        results = await _each(context, request, [given], [0], _report)
        return await _single(context, request, results[0], request_id)

    @router.post("/requests/status", summary="What became of several requests", response_model=None)
    async def report_many(
        request: Request, principal: Writer, body: Annotated[list[StatusOfIn], Body(max_length=MOST)]
    ) -> dict[str, Any]:
        """One bad element does not fail the others: `results` tells each one's."""
        results = await _each(context, request, body, list(range(len(body))), _report)
        return {"results": [_element(index, result, request) for index, result in enumerate(results)]}

    @router.post("/answers", summary="Answers a channel collected itself", response_model=None)
    async def answers(
        request: Request, principal: Writer, body: Annotated[AnswerIn | Annotated[list[AnswerIn], Body(max_length=MOST)], Body()]
    ) -> Response:  # fmt: skip
        """The first answer to a request stands; another one is told `already_received` and changes nothing."""
        async with idempotent(request, principal, context.store) as once:
            if once.stored is not None:
                return once.stored
            many = isinstance(body, list)
            given = body if isinstance(body, list) else [body]
            results = await _each(context, request, given, list(range(len(given))), _answer_of)
            if not many:
                if isinstance(results[0], Refused):
                    raise problem_of(results[0])
                content: Any = results[0]
            else:
                content = {"results": [_element(index, result, request) for index, result in enumerate(results)]}
            response = JSONResponse(jsonable_encoder(content))
            async with context.store.unit() as unit:
                # Apart from the effect, which is idempotent by itself: a crash in between gives `already_received`.
                await once.keep(unit.connection, response)
            return response

    return router


def _report(body: Any, row: dict[str, Any], now: datetime) -> Command:
    return Report(row["request_id"], body.status, not_ahead(body.at, now), body.detail)


def _answer_of(body: Any, row: dict[str, Any], now: datetime) -> Command:
    return Answer(
        row["request_id"],
        not_ahead(body.at, now),
        score=body.score,
        helped=body.helped,
        comment=body.comment or None,
        new_need=body.new_need,
        need=body.need or None,
    )


async def _each(
    context: Context,
    request: Request,
    given: Sequence[StatusOfIn | AnswerIn],
    places: list[int],
    make: Callable[[Any, dict[str, Any], datetime], Command],
) -> list[dict[str, Any] | Refused]:
    """Each element's result, in order: what it led to, or why it was refused."""
    hashes = [token_hash(context.vault, body.token) for body in given if isinstance(body, AnswerIn) and body.token]
    async with context.store.reading() as connection:
        rows = await views.request_rows(connection, [body.request_id for body in given if body.request_id])
        by_token = {hashed: await views.request_by_token(connection, hashed) for hashed in hashes}
    results: list[dict[str, Any] | Refused] = []
    tasks: list[Task] = []
    of_task: list[int] = []
    seen: set[str] = set()
    for place, body in zip(places, given, strict=True):
        row = rows.get(body.request_id or "")
        if isinstance(body, AnswerIn) and row is None and body.token:
            row = by_token[token_hash(context.vault, body.token)]
        if row is None or row["case_id"] is None:
            results.append(Refused("unknown_request"))
            continue
        try:
            command = make(body, row, context.clock.now())
        except Refused as refused:
            results.append(refused)
            continue
        result: dict[str, Any] = {"request_id": row["request_id"], "status": "accepted"}
        if isinstance(command, Answer):
            repeated = row["answered_at"] is not None or row["request_id"] in seen
            seen.add(row["request_id"])
            result["answer_id"] = answer_id(row["request_id"])
            result["status"] = "already_received" if repeated else "accepted"
        results.append(result)
        tasks.append(Task(row["case_id"], command))
        of_task.append(place)
    if tasks:
        try:
            refusals = await context.do(tasks)
        except ConcurrencyConflict:
            raise Problem.unavailable(
                Words("the same case is being written", "se está escribiendo el mismo caso")
            ) from None
        for index, refusal in refusals.items():
            results[of_task[index]] = refusal
    return results


def _element(index: int, result: dict[str, Any] | Refused, request: Request) -> dict[str, Any]:
    if isinstance(result, Refused):
        problem = problem_of(result).document(negotiate(request))
        return {"index": index, "status": "rejected", "problem": problem}
    return {"index": index, **result}


async def _single(
    context: Context, request: Request, result: dict[str, Any] | Refused, request_id: str
) -> dict[str, Any]:
    if isinstance(result, Refused):
        raise problem_of(result)
    async with context.store.reading() as connection:
        rows = await views.request_rows(connection, [request_id])
    return views.request_view(rows[request_id])
