"""Changes in the house, and exposure: how many there were who could complain."""

from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.encoders import jsonable_encoder
from fastapi.responses import JSONResponse
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from sqlalchemy import func, select
from starlette.responses import Response

from libs.events.catalogue.inputs import ChangeRecorded, Exposure
from libs.events.ids import natural_id
from libs.service.http import Paging, Problem, idempotent, paging
from libs.service.http.problems import FieldError, from_validation
from libs.service.http.strict_json import read_body
from services.classification import inputs, tables
from services.classification.api.context import Context, Reader, Writer, say
from services.classification.domain.agreements import UNITS
from services.classification.domain.rates import rate
from services.classification.inputs import KINDS
from services.classification.joining import DIMENSIONS, within

MOST_CHANGES, MOST_FIGURES = 1_000, 10_000
Value = Annotated[str, Field(min_length=1, max_length=200)]


class ChangeIn(BaseModel):
    """Something began to be done otherwise."""

    model_config = ConfigDict(extra="forbid")

    id: str | None = Field(
        default=None,
        min_length=1,
        max_length=100,
        description="yours; given again it corrects. Left out: from the rest",
    )
    kind: str = Field(description=", ".join(KINDS))
    at: AwareDatetime = Field(description="when it came into force")
    what: str = Field(min_length=1, max_length=500)
    code: str | None = Field(
        default=None, min_length=1, max_length=64, description="of the procedure, norm or supplier"
    )
    version: int | None = Field(default=None, ge=1, le=2**31 - 1)
    where: dict[str, Value] = Field(default_factory=dict, description="dimension to value; empty: everywhere")
    by: str | None = Field(default=None, min_length=1, max_length=100)
    withdrawn: bool = Field(default=False, description="it did not happen after all")


class FigureIn(BaseModel):
    """How many there were in a slice in a period, both days included."""

    model_config = ConfigDict(extra="forbid")

    unit: str = Field(description="contracts (how many there are), orders or contacts (how many in the period)")
    slice: dict[str, Value] = Field(default_factory=dict, description="dimension to value; empty: all")
    since: date
    until: date | None = Field(default=None, description="the same day when left out")
    amount: float = Field(ge=0, allow_inf_nan=False)


_CHANGES, _FIGURES = TypeAdapter(list[ChangeIn]), TypeAdapter(list[FigureIn])


async def _items(request: Request, adapter: TypeAdapter[Any], most: int) -> list[Any]:
    """One object or an array of them; Problem 422 names the field, with its place in an array."""
    body = await read_body(request)
    single = isinstance(body, dict)
    try:
        found: list[Any] = adapter.validate_python([body] if single else body)
    except ValidationError as error:
        errors = [{**item, "loc": item["loc"][1:] if single else item["loc"]} for item in error.errors()]
        raise Problem.fields(from_validation(errors)) from None
    if not found:
        raise Problem(400, "empty-body")
    if len(found) > most:
        raise Problem(413, "too-large", extra={"limit": most})
    wrong = [
        fault for place, item in enumerate(found) for fault in _faults(item, "" if single else f"/{place}", request)
    ]
    if wrong:
        raise Problem.fields(wrong[:100])
    return found


def _faults(item: ChangeIn | FigureIn, at: str, request: Request) -> list[FieldError]:
    name, given, allowed = ("kind", item.kind, KINDS) if isinstance(item, ChangeIn) else ("unit", item.unit, UNITS)
    found = []
    if given not in allowed:
        found.append(FieldError(f"{at}/{name}", "not-allowed", f"{name}: {', '.join(allowed)}"))
    place, where = ("where", item.where) if isinstance(item, ChangeIn) else ("slice", item.slice)
    found += [
        FieldError(f"{at}/{place}/{dimension}", "not-allowed", say("unknown_dimension", request, dimension))
        for dimension in where
        if dimension not in DIMENSIONS
    ]
    if isinstance(item, FigureIn) and item.until is not None:
        if item.until < item.since:
            found.append(FieldError(f"{at}/until", "inverted", say("inverted", request)))
        elif (item.until - item.since).days > 3_660:
            found.append(FieldError(f"{at}/until", "too-long", say("too_long", request)))
    return found


def router(context: Context) -> APIRouter:
    routes = APIRouter(prefix="/classification/v1", tags=["inputs"])

    @routes.get("/changes", summary="What changed in the house, newest first")
    async def list_changes(
        principal: Reader,
        paged: Annotated[Paging, Depends(paging)],
        since: Annotated[AwareDatetime | None, Query()] = None,
        until: Annotated[AwareDatetime | None, Query()] = None,
        kind: Annotated[str | None, Query(description=", ".join(KINDS))] = None,
    ) -> dict[str, Any]:
        async with context.store.reading() as connection:
            items = await inputs.changes(
                connection, since=since, until=until, kind=kind, after=paged.position, limit=paged.limit
            )
        return paged.page(items, lambda item: [item["at"].isoformat(), item["change_id"]])

    @routes.post(
        "/changes",
        summary="Record changes: a procedure's version, a norm, a supplier, a release, a campaign",
        description="One object or an array of up to 1,000. What began together with a change is read in its light.",
        status_code=201,
        openapi_extra={"requestBody": {"content": {"application/json": {"schema": ChangeIn.model_json_schema()}}}},
    )
    async def add_changes(request: Request, principal: Writer) -> Response:
        async with idempotent(request, principal, context.store) as once:
            if once.stored is not None:
                return once.stored
            items: list[ChangeIn] = await _items(request, _CHANGES, MOST_CHANGES)
            async with context.store.unit() as unit:
                found = [
                    ChangeRecorded(
                        change_id=item.id
                        or natural_id("change", item.kind, item.at.isoformat(), item.code or "", item.what),
                        kind=item.kind,
                        at=item.at,
                        what=item.what,
                        code=item.code,
                        version=item.version,
                        where=item.where,
                        recorded_at=unit.now,
                        by=item.by or principal.name,
                        withdrawn=item.withdrawn,
                    )
                    for item in items
                ]
                done = await inputs.record_changes(unit, found)
                results = [{"id": one.change_id, "status": status} for one, status in zip(found, done, strict=True)]
                response = JSONResponse({"items": results}, 200 if set(done) == {"same"} else 201)
                await once.keep(unit.connection, response)
            return response

    @routes.get("/exposure", summary="Exposure figures")
    async def list_exposure(
        principal: Reader,
        paged: Annotated[Paging, Depends(paging)],
        unit: Annotated[str | None, Query(description=", ".join(UNITS))] = None,
    ) -> dict[str, Any]:
        async with context.store.reading() as connection:
            items = await inputs.exposures(connection, unit=unit, after=paged.position, limit=paged.limit)
        page = paged.page(
            items,
            lambda item: [item["unit"], item["slice_key"], item["since"].isoformat(), item["until"].isoformat()],
        )
        page["items"] = [{name: value for name, value in item.items() if name != "slice_key"} for item in page["items"]]
        return page

    @routes.post(
        "/exposure",
        summary="Record how many there were who could complain: contracts, orders, contacts",
        description="One object or an array of up to 10,000. The same unit, slice and period again replaces the figure.",
        status_code=201,
        openapi_extra={"requestBody": {"content": {"application/json": {"schema": FigureIn.model_json_schema()}}}},
    )
    async def add_exposure(request: Request, principal: Writer) -> Response:
        async with idempotent(request, principal, context.store) as once:
            if once.stored is not None:
                return once.stored
            items: list[FigureIn] = await _items(request, _FIGURES, MOST_FIGURES)
            figures = [
                Exposure(
                    unit=item.unit,
                    slice=item.slice,
                    since=item.since,
                    until=item.until or item.since,
                    amount=item.amount,
                )
                for item in items
            ]
            async with context.store.unit() as unit:
                fresh, same = await inputs.record_exposure(unit, figures, principal.name)
                response = JSONResponse({"recorded": fresh, "same": same}, 201 if fresh else 200)
                await once.keep(unit.connection, response)
            return response

    @routes.get(
        "/rates",
        summary="Complainants by exposure",
        description="Distinct complainants of a slice per 10,000 of a unit, with its exact 95 % Poisson interval. Where "
        "exposure is missing or zero for a day, that day and its complainants are left out and named; without any the rate is unknown.",
    )
    async def get_rate(
        request: Request,
        principal: Reader,
        since: Annotated[date, Query()],
        until: Annotated[date, Query()],
        unit: Annotated[str, Query(description=", ".join(UNITS))] = "contracts",
    ) -> dict[str, Any]:
        where = {
            name.removeprefix("where[").removesuffix("]"): value
            for name, value in request.query_params.items()
            if name.startswith("where[")
        }
        if unit not in UNITS:
            raise Problem.field("/query/unit", "not-allowed", f"unit: {', '.join(UNITS)}")
        if bad := next((name for name in where if name not in DIMENSIONS), None):
            raise Problem.field(f"/query/where/{bad}", "not-allowed", say("unknown_dimension", request, bad))
        if until < since:
            raise Problem.field("/query/until", "inverted", say("inverted", request))
        if (until - since).days > 3_660:
            raise Problem.field("/query/until", "too-long", say("too_long", request))
        # Exposure knows nothing of motives and causes: whoever has a contract may complain about anything.
        exposed_where = {name: value for name, value in where.items() if name not in {"motive", "cause", "severity"}}
        p = tables.particulars
        async with context.store.reading() as connection:
            known = await inputs.exposed(connection, unit, since, until)
            total, missing = known.over(exposed_where, since, until)
            zone, left = context.waiting.zone, set(missing)
            start, end = (
                context.waiting.midnight(since),
                context.waiting.midnight(date.fromordinal(until.toordinal() + 1)),
            )
            inside = (p.c.counted, p.c.occurred_at >= start, p.c.occurred_at < end, *within(where))
            query = select(p.c.customer_id, func.min(p.c.occurred_at)).where(*inside).group_by(p.c.customer_id)
            first = (await connection.execute(query)).all()
        counted = sum(at.astimezone(zone).date() not in left for _, at in first)
        days = (until - since).days + 1 - len(missing)
        exposure = total / days if unit in inputs.LEVELS and days else total
        answer: dict[str, Any] = jsonable_encoder(
            {
                "unit": unit,
                "where": where,
                "since": since,
                "until": until,
                "complainants": counted,
                "exposure": exposure or None,
                "missing_days": missing,
                **rate(counted, exposure),
            }
        )
        return answer

    return routes
