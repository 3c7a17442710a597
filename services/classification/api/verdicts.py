"""Verdicts of single complaints, chains, and what dismissals taught."""

from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Query, Request
from fastapi.encoders import jsonable_encoder
from fastapi.responses import JSONResponse
from pydantic import AwareDatetime
from sqlalchemy import select
from starlette.responses import Response

from libs.events.offload import offload
from libs.service.http import Paging, Problem, idempotent, negotiate, paging
from services.classification import dossier_words, finding_views, tables, teaching
from services.classification.api.carrying import CommandIn
from services.classification.api.context import Context, Reader, Writer, say
from services.classification.api.monitors import slices_of
from services.classification.domain.relations import measured
from services.classification.single import sentence, verdict_of
from services.classification.titles import name_of

PERIOD = timedelta(days=90)


def _period(since: datetime | None, until: datetime | None, now: datetime) -> tuple[datetime, datetime]:
    """What was asked for, or the last 90 days; Problem where it ends before it begins."""
    end = until or now
    try:
        start = since or end - PERIOD
    except OverflowError:
        raise Problem.field("/query/until", "out-of-range", "until") from None
    if end < start:
        raise Problem.field("/query/until", "inverted", "until")
    return start, end


def router(context: Context) -> APIRouter:
    routes = APIRouter(prefix="/classification/v1", tags=["verdicts"])

    @routes.get(
        "/interactions/{interaction_id}/verdict",
        summary="Is this complaint one case, or does the way we work make it happen?",
    )
    async def get_verdict(request: Request, principal: Reader, interaction_id: str) -> dict[str, Any]:
        async with context.store.reading() as connection:
            version = await context.books.version(connection)
            book = await context.books.book(connection, version) if version else None
            async with context.monitor.reading(connection) as (watch, _, __):
                slices = await offload(slices_of, watch)
            found = await verdict_of(connection, interaction_id, slices, book, context.waiting)
        if found is None:
            raise Problem(404, "not-found", say("unknown_interaction", request))
        answer: dict[str, Any] = jsonable_encoder(found | {"sentence": sentence(found, negotiate(request))})
        return answer

    @routes.get(
        "/chains",
        summary="Customers who came back over the same problem, longest chains first",
        description="A chain is a run of contacts of one customer with one motive, none more than `LAZO_CLASSIFICATION_CHAIN_DAYS` "
        "after the one before. Without `since` the last 90 days.",
    )
    async def get_chains(
        principal: Reader,
        paged: Annotated[Paging, Depends(paging)],
        since: Annotated[AwareDatetime | None, Query()] = None,
        until: Annotated[AwareDatetime | None, Query()] = None,
        least: Annotated[int, Query(ge=2, le=1000, description="contacts that make a chain")] = 3,
        motive: Annotated[str | None, Query(max_length=64)] = None,
        finding: Annotated[str | None, Query(max_length=100, description="only contacts of this finding")] = None,
    ) -> dict[str, Any]:
        start, end = _period(since, until, context.clock.now())
        async with context.store.reading() as connection:
            items, measures = await finding_views.all_chains(
                connection,
                since=start,
                until=end,
                gap=timedelta(days=context.settings.chain_days),
                least=least,
                motive=motive,
                finding_id=finding,
            )
        at = int(paged.position or 0)
        page = paged.page(items[at : at + paged.limit + 1], at + paged.limit)
        return {**page, **measures, "since": start, "until": end, "gap_days": context.settings.chain_days}

    @routes.get(
        "/relations-at-risk",
        summary="Customers who show that they may leave, and by what",
        description="By what was measured, without a score: an answer that it got worse (`harmed`), a chain of at least `least` "
        "contacts that goes on (`returning`), and one whose pauses have halved (`sooner`). Most signals first. Whoever answered since "
        "that it got better is left out. Without `since` the last 90 days. `answered`: how many customers said anything at all.",
    )
    async def get_relations(
        request: Request,
        principal: Reader,
        paged: Annotated[Paging, Depends(paging)],
        since: Annotated[AwareDatetime | None, Query()] = None,
        until: Annotated[AwareDatetime | None, Query()] = None,
        least: Annotated[int, Query(ge=2, le=1000, description="contacts that make a chain")] = 3,
        segment: Annotated[str | None, Query(max_length=200, description="only relations marked so")] = None,
    ) -> dict[str, Any]:
        start, end = _period(since, until, context.clock.now())
        gap, language = timedelta(days=context.settings.chain_days), negotiate(request)
        async with context.store.reading() as connection:
            version = await context.books.version(connection)
            book = await context.books.book(connection, version) if version else None
            found, answered = await finding_views.relations_at_risk(
                connection, since=start, until=end, gap=gap, least=least, segment=segment
            )
        at = int(paged.position or 0)
        items = [
            {
                "customer_id": one.customer_id,
                "segment": marked,
                "segment_name": name_of(book, "segment", marked, language) if marked else None,
                "last_at": one.last_at,
                "signals": [
                    {
                        **{name: value for name, value in asdict(signal).items() if value not in {None, ()}},
                        "sentence": dossier_words.of_signal(signal, book, language, context.waiting.zone),
                    }
                    for signal in one.signals
                ],
            }
            for one, marked in found[at : at + paged.limit + 1]
        ]
        page = paged.page(items, at + paged.limit)
        signals = measured([one for one, _ in found])
        told = {"customers": len(found), "signals": signals, "answered": answered}
        answer: dict[str, Any] = jsonable_encoder(
            {**page, **told, "since": start, "until": end, "gap_days": context.settings.chain_days}
        )
        return answer

    @routes.get("/thresholds", summary="What dismissals taught the monitor, newest first")
    async def get_thresholds(principal: Reader, paged: Annotated[Paging, Depends(paging)]) -> dict[str, Any]:
        async with context.store.reading() as connection:
            rows = await teaching.lessons(connection, paged.position, paged.limit)
        return paged.page(teaching.lessons_view(rows), lambda item: [item["at"].isoformat(), item["finding_id"]])

    @routes.post(
        "/thresholds/{finding_id}/withdraw",
        summary="Take a lesson back: alarms in that slice need no more than before",
        response_model=None,
    )
    async def withdraw(
        request: Request, who: Writer, finding_id: str, body: Annotated[CommandIn | None, Body()] = None
    ) -> Response:
        given = body or CommandIn()
        async with idempotent(request, who, context.store) as once:
            if once.stored is not None:
                return once.stored
            async with context.store.unit() as unit:
                table = tables.thresholds
                query = select(table).where(table.c.finding_id == finding_id)
                held = (await unit.connection.execute(query)).one_or_none()
                if held is None:
                    raise Problem(404, "not-found", say("unknown_lesson", request))
                if not held.withdrawn:
                    by = given.by or who.name
                    await teaching.teach(unit, finding_id, held.slice, by, given.reason, withdrawn=True)
                rows = (await unit.connection.execute(query)).all()
                response = JSONResponse(jsonable_encoder(teaching.lessons_view(rows)[0]))
                await once.keep(unit.connection, response)
            return response

    return routes
