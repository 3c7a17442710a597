"""`/indicators/v1`: numbers, what is behind them, lists, timelines, charts, exports."""

from collections.abc import AsyncIterator, Sequence
from datetime import date
from typing import Any

from fastapi import APIRouter, Depends, Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from libs.service.http.app import negotiate
from libs.service.http.auth import require
from libs.service.http.paging import Paging, paging
from libs.service.http.problems import FieldError, Problem, Words
from libs.service.keys import Principal
from services.indicators import charts
from services.indicators.api import documents
from services.indicators.api.parameters import (
    Wrong,
    choice,
    documented,
    instant_of,
    marks_of,
    query_of,
    single,
    unknown,
    whole_number,
)
from services.indicators.api.reads import OPENS_WORDS, Reads, holidays_of, reads
from services.indicators.domain.periods import instant, micros
from services.indicators.domain.query import Query
from services.indicators.domain.registry import DIMENSIONS, INDICATORS, Indicator
from services.indicators.export import contact_lines, point_lines
from services.indicators.settings import zone_of
from services.indicators.views import drill, lists, timelines, words
from services.indicators.views.crosswalk import NoVersion, moves
from services.indicators.views.facts_of import indicator_of
from services.indicators.views.measures import Answer, measure
from services.indicators.views.scope import findings

router = APIRouter(prefix="/indicators/v1")
READ = require("indicators:read")
PAGE = frozenset({"limit", "cursor"})


def _known(code: str) -> Indicator:
    try:
        return indicator_of(code)
    except KeyError:
        raise Problem(
            404,
            "",
            Words(
                f"there is no indicator {code[:60]!r}; /indicators/v1/indicators lists them",
                f"no hay un indicador «{code[:60]}»; /indicators/v1/indicators los enumera",
            ),
        ) from None


def _question(
    request: Request, desk: Reads, *also: str, only: frozenset[str] = frozenset(), whole: bool = False
) -> Query:
    known = {*also, *only, "lang"}
    return query_of(request.query_params, desk.clock.now(), desk.settings.time_zone, also=known, whole=whole)


async def answer_of(desk: Reads, indicator: Indicator, query: Query) -> Answer:
    """One indicator, from one snapshot."""
    async with desk.open() as (connection, t):
        return await measure(connection, t, indicator, query, holidays_of, minimum=desk.settings.minimum)


@router.get("/indicators", tags=["indicators"], summary="The catalogue of indicators")
async def catalogue(request: Request, principal: Principal = Depends(READ)) -> dict[str, Any]:
    """Code, names, unit, formula, version and what is counted."""
    language = negotiate(request)
    return {"items": [documents.catalogued(one, language) for one in INDICATORS.values()], "next": None}


@router.get("/indicators/{code}", tags=["indicators"], summary="An indicator over time", openapi_extra=documented())
async def indicator(
    request: Request, code: str, principal: Principal = Depends(READ), desk: Reads = Depends(reads)
) -> dict[str, Any]:
    """Points by period and group. `value` is null where there was nothing, and "too few" below the minimum."""
    query = _question(request, desk)
    answer = await answer_of(desk, _known(code), query)
    return {"indicator": documents.catalogued(answer.indicator, negotiate(request)), "points": documents.points(answer)}


@router.get(
    "/indicators/{code}/events", tags=["indicators"], summary="The events behind a number",
    openapi_extra=documented(also={
        "period": "one period of the range, as its point names it", "part": "numerator or denominator",
        "limit": "rows per page", "cursor": "`next` of the page before",
    }),
)  # fmt: skip
async def events(
    request: Request,
    code: str,
    pages: Paging = Depends(paging),
    principal: Principal = Depends(READ),
    desk: Reads = Depends(reads),
) -> dict[str, Any]:
    """Distinct `unit`s are as many as the numerator (or the denominator) of the point that `period` and `where` name."""
    chosen = _known(code)
    query = _question(request, desk, "period", "part", only=PAGE)
    try:
        part = choice(request.query_params, "part", ("numerator", "denominator"), "numerator")
        period = single(request.query_params, "period")
    except Wrong as wrong:
        raise Problem.fields([wrong.error]) from None
    if period is not None:
        try:
            query = query.only(period)
        except KeyError:
            raise Problem.field(
                "/query/period",
                "unknown-period",
                Words("period: not one of the range's periods", "period: no es uno de los periodos del rango"),
            ) from None
    after = None if pages.position is None else (int(pages.position[0]), str(pages.position[1]))
    async with desk.open() as (connection, t):
        found = await drill.behind(
            connection, t, chosen, query, denominator=part == "denominator", after=after, limit=pages.limit + 1
        )
    places = {one.event_id: [one.at, one.event_id] for one in found}
    return pages.page([documents.behind(one) for one in found], lambda item: places[item["event_id"]])


@router.get(
    "/pareto", tags=["lists"], summary="Few causes, most cases",
    openapi_extra=documented(also={"by": "the dimension whose values are ranked; default motive"}, without=("granularity", "group_by")),
)  # fmt: skip
async def pareto(
    request: Request, principal: Principal = Depends(READ), desk: Reads = Depends(reads)
) -> dict[str, Any]:
    """Values of a dimension by their cases, with how many hold 80 % of them, whom they touch and since when (R04, R08)."""
    query = _question(request, desk, "by", whole=True)
    language = negotiate(request)
    try:
        by = choice(request.query_params, "by", DIMENSIONS, "motive")
    except Wrong as wrong:
        raise Problem.fields([wrong.error]) from None
    async with desk.open() as (connection, t):
        bars, total, vital = await lists.pareto(connection, t, query, by, minimum=desk.settings.minimum)
        _, names = await lists.names(connection, t, query.rulebook)
    section = documents.section_of(names, by)
    return {
        "by": by,
        "cases": total,
        "in_use": len(bars),
        "hold_80_percent": vital,
        "items": [documents.bar(one, section, language) for one in bars],
        "next": None,
    }


@router.get(
    "/crosswalk", tags=["lists"], summary="The same cases under two versions of the rulebook",
    openapi_extra=documented(also={
        "before": "a version of the rulebook", "after": "another version; default the newest", "by": "motive or cause",
    }, without=("granularity", "group_by", "rulebook", "carry")),
)  # fmt: skip
async def crosswalk(
    request: Request, principal: Principal = Depends(READ), desk: Reads = Depends(reads)
) -> dict[str, Any]:
    """What moved from code to code (G1). Rows add up to the cases, each code's rows to its count under its version."""
    query = _question(request, desk, "before", "after", "by", whole=True)
    language = negotiate(request)
    try:
        by = choice(request.query_params, "by", ("motive", "cause"), "motive")
        before, after = (whole_number(request.query_params, name) for name in ("before", "after"))
    except Wrong as wrong:
        raise Problem.fields([wrong.error]) from None
    async with desk.open() as (connection, t):
        newest, names = await lists.names(connection, t)
        after = after or newest or 0
        before = before if before is not None else after - 1
        try:
            found = await moves(connection, t, query, by, before, after)
        except NoVersion as missing:
            version = missing.args[0]
            text = Words(
                f"there is no version {version} of the rulebook", f"no hay una versión {version} del libro de reglas"
            )
            raise Problem.field("/query/before", "unknown-version", text) from None
    return documents.crosswalk(found, before, after, by, documents.section_of(names, by), language)


@router.get(
    "/touchpoints", tags=["lists"], summary="Contact points by problems and by satisfaction",
    openapi_extra=documented(without=("granularity", "group_by", "where", "rulebook")),
)  # fmt: skip
async def touchpoints(
    request: Request, principal: Principal = Depends(READ), desk: Reads = Depends(reads)
) -> dict[str, Any]:
    """R28: problems and good contacts side by side."""
    query = _question(request, desk, whole=True)
    async with desk.open() as (connection, t):
        found = await lists.touchpoints(connection, t, query, minimum=desk.settings.minimum)
    return {"items": [documents.touchpoint(one) for one in found], "next": None}


@router.get(
    "/interactions", tags=["lists"], summary="Contacts, newest first",
    openapi_extra=documented(also={"customer": "pseudonym of one customer", "limit": "rows per page", "cursor": "`next` of the page before"},
                             without=("granularity", "group_by")),
)  # fmt: skip
async def interactions(
    request: Request,
    pages: Paging = Depends(paging),
    principal: Principal = Depends(READ),
    desk: Reads = Depends(reads),
) -> dict[str, Any]:
    """Contacts with their coding in force. What people wrote is opened for keys with `indicators:admin` only."""
    query = _question(request, desk, "customer", only=PAGE, whole=True)
    for name in query.where:
        if name in {"nature", "verdict"}:
            raise Problem.field(
                f"/query/where[{name}]",
                "not-here",
                Words(
                    f"contacts are not filtered by {name}; the events of an indicator are",
                    f"los contactos no se filtran por {name}; los eventos de un indicador sí",
                ),
            )
    before = None if pages.position is None else (int(pages.position[0]), str(pages.position[1]))
    async with desk.open() as (connection, t):
        rows = await lists.contacts(
            connection, t, query, customer=request.query_params.get("customer"), before=before, limit=pages.limit + 1
        )
    opened = await _words_of_contacts(desk, principal, rows)
    places = {row["interaction_id"]: [row["occurred_at"], row["interaction_id"]] for row in rows}
    return pages.page([documents.contact(row, opened) for row in rows], lambda item: places[item["interaction_id"]])


async def _words_of_contacts(desk: Reads, principal: Principal, rows: list[Any]) -> documents.Words | None:
    if not principal.may(OPENS_WORDS):
        return None
    return await words.opened(
        desk.vault,
        (
            words.Sealed(row[column], row["customer_id"], row["interaction_id"], field)
            for row in rows
            for column, field in (("subject", "subject"), ("body", "text"))
            if row[column] is not None
        ),
    )


def as_of(request: Request, desk: Reads, *also: str) -> int | None:
    """The one parameter of timelines and findings. Problem 422."""
    params = request.query_params
    allowed = {"as_of", "lang", *also}
    try:
        for name in params:
            if name not in allowed:
                raise unknown(name, allowed)
        text = single(params, "as_of")
        zone = zone_of(desk.settings.time_zone)
        return None if text is None else micros(instant_of("as_of", text, zone, end=True))
    except Wrong as wrong:
        raise Problem.fields([wrong.error]) from None


_AS_OF = {
    "parameters": [
        {
            "name": "as_of",
            "in": "query",
            "required": False,
            "schema": {"type": "string"},
            "description": "as known then",
        }
    ]
}


@router.get(
    "/customers/{customer_id}/timeline", tags=["timelines"], summary="One customer's history", openapi_extra=_AS_OF
)
async def customer_timeline(
    request: Request,
    customer_id: str,
    pages: Paging = Depends(paging),
    principal: Principal = Depends(READ),
    desk: Reads = Depends(reads),
) -> dict[str, Any]:
    """Contacts, codings, cases, messages and answers, oldest first (R01, R20)."""
    known = as_of(request, desk, *PAGE)
    async with desk.open() as (connection, t):
        entries = await timelines.customer(connection, t, customer_id, known)
    if not entries:
        raise Problem(404, "", Words("nothing is known about this customer", "no se sabe nada de este cliente"))
    return await _timeline(desk, principal, pages, entries, {"customer_id": customer_id})


@router.get("/cases/{case_id}/timeline", tags=["timelines"], summary="One case's history", openapi_extra=_AS_OF)
async def case_timeline(
    request: Request,
    case_id: str,
    pages: Paging = Depends(paging),
    principal: Principal = Depends(READ),
    desk: Reads = Depends(reads),
) -> dict[str, Any]:
    """The contact it came from, how it was coded, what was done, said and answered, oldest first."""
    known = as_of(request, desk, *PAGE)
    async with desk.open() as (connection, t):
        entries = await timelines.one_case(connection, t, case_id, known)
    if not entries:
        raise Problem(404, "", Words("there is no such case", "no existe ese caso"))
    return await _timeline(desk, principal, pages, entries, {"case_id": case_id})


async def _timeline(
    desk: Reads, principal: Principal, pages: Paging, entries: list[timelines.Entry], head: dict[str, Any]
) -> dict[str, Any]:
    # The place of an entry in its history is stable: later facts about the past are rare, and then shift a page by one.
    start = 0 if pages.position is None else int(pages.position)
    shown = entries[start : start + pages.limit + 1]
    opened = await words.opened(desk.vault, timelines.words(shown)) if principal.may(OPENS_WORDS) else None
    items = [documents.entry(one, opened) for one in shown]
    return {**head, **pages.page(items, start + pages.limit)}


@router.get(
    "/charts/{name}",
    tags=["charts"],
    summary="A chart",
    openapi_extra=documented(
        also={
            "theme": "light or dark",
            "by": "dimension of the Pareto",
            "mark": "what to mark and when, e.g. began:2026-03-17 or acted:2026-05-28; may repeat",
            "lang": "es or en",
        }
    ),
)
async def chart(
    request: Request, name: str, principal: Principal = Depends(READ), desk: Reads = Depends(reads)
) -> Response:
    """A Vega-Lite specification with its data; with `.svg` or `.png` after the name, the drawing. Names: an indicator's code, or pareto."""
    base, dot, form = name.rpartition(".")
    if not dot:
        base, form = name, "json"
    if form not in {"json", "svg", "png"}:
        raise Problem(
            404,
            "",
            Words(
                "charts are .svg, .png or, without an ending, a Vega-Lite specification",
                "los gráficos son .svg, .png o, sin terminación, una especificación Vega-Lite",
            ),
        )
    query = _question(request, desk, "theme", "by", "mark", whole=base == "pareto")
    try:
        marks = marks_of(request.query_params, charts.MARKS)
        theme = choice(request.query_params, "theme", ("light", "dark"), "light")
        by = choice(request.query_params, "by", DIMENSIONS, "motive")
    except Wrong as wrong:
        raise Problem.fields([wrong.error]) from None
    language = negotiate(request)
    spec = await specification(desk, base, query, by, language, marks)
    if form == "json":
        return JSONResponse(spec, headers={"Cache-Control": "no-store"})
    drawn = await charts.draw(spec, form, theme)
    return Response(
        drawn, media_type="image/svg+xml" if form == "svg" else "image/png", headers={"Cache-Control": "no-store"}
    )


async def specification(
    desk: Reads, name: str, query: Query, by: str, language: str, marks: Sequence[tuple[str, date]] = ()
) -> dict[str, Any]:
    """The Vega-Lite specification of a chart. Problem 404 for a name that is none."""
    async with desk.open() as (connection, t):
        if name == "pareto":
            bars, total, _ = await lists.pareto(connection, t, query.whole(), by, minimum=desk.settings.minimum)
            _, names = await lists.names(connection, t, query.rulebook)
            return charts.pareto(bars, total, by, documents.section_of(names, by), language)
        chosen = _known(name)
        answer = await measure(connection, t, chosen, query, holidays_of, minimum=desk.settings.minimum)
        _, names = await lists.names(connection, t, query.rulebook)
    return charts.series(answer, names, language, marks)


@router.get("/findings", tags=["lists"], summary="Findings as this service knows them", openapi_extra=_AS_OF)
async def finding_list(
    request: Request, principal: Principal = Depends(READ), desk: Reads = Depends(reads)
) -> dict[str, Any]:
    """Opened findings, the newest first, with the numbers of their newest verdict."""
    known = as_of(request, desk)
    async with desk.open() as (connection, t):
        found = await findings(connection, t, known)
    opened = sorted(
        (one for one in found.values() if one.opened), key=lambda one: (-(one.opened_at or 0), one.finding_id)
    )
    return {"items": [documents.finding(one) for one in opened], "next": None}


@router.get(
    "/export", tags=["export"], summary="Rows as a file, streamed",
    openapi_extra=documented(also={"format": "csv", "of": "interactions, or an indicator's code"}),
)  # fmt: skip
async def export(request: Request, principal: Principal = Depends(READ), desk: Reads = Depends(reads)) -> Response:
    """CSV (RFC 4180, UTF-8): contacts with their coding (without what people wrote), or the points of an indicator."""
    try:
        choice(request.query_params, "format", ("csv",), "csv")
        of = choice(request.query_params, "of", ("interactions", *INDICATORS), "interactions")
    except Wrong as wrong:
        raise Problem.fields([wrong.error]) from None
    query = _question(request, desk, "format", "of", whole=of == "interactions")
    lines: AsyncIterator[bytes] = (
        contact_lines(desk, query) if of == "interactions" else point_lines(await answer_of(desk, _known(of), query))
    )
    first = instant(query.periods.start).astimezone(query.zone).date().isoformat()
    headers = {"Content-Disposition": f'attachment; filename="lazo-{of}-{first}.csv"', "Cache-Control": "no-store"}
    return StreamingResponse(lines, media_type="text/csv; charset=utf-8", headers=headers)


__all__ = ["FieldError", "answer_of", "router", "specification"]
