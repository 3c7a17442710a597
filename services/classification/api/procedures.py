"""Who had signed which version of a procedure (R24, G10)."""

from typing import Any

from fastapi import APIRouter, Request
from fastapi.encoders import jsonable_encoder
from fastapi.responses import JSONResponse
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from sqlalchemy import select
from starlette.responses import Response

from libs.service.http import Problem, idempotent
from services.classification import tables
from services.classification.api.context import Context, Reader, Writer, no_rulebook, say
from services.classification.keeping import SignatureRefused, sign


class SignIn(BaseModel):
    model_config = ConfigDict(extra="forbid")

    version: int = Field(ge=1, le=2**31 - 1, description="of the procedure, as the rulebook numbers it")
    team: str = Field(min_length=1, max_length=100)
    signed_at: AwareDatetime | None = Field(default=None, description="when the team signed; now when left out")
    by: str | None = Field(
        default=None, min_length=1, max_length=100, description="who records it; the key's name when left out"
    )


def router(context: Context) -> APIRouter:
    routes = APIRouter(prefix="/classification/v1", tags=["rulebook"])

    @routes.get("/procedures/{code}/signatures", summary="Which teams signed which version, and when first")
    async def signatures(request: Request, principal: Reader, code: str) -> dict[str, Any]:
        table = tables.signatures
        query = select(table).where(table.c.procedure == code).order_by(table.c.version, table.c.team)
        async with context.store.reading() as connection:
            rows = (await connection.execute(query)).all()
        items = [{"version": row.version, "team": row.team, "signed_at": row.signed_at, "by": row.by} for row in rows]
        return {"procedure": code, "items": items, "next": None}

    @routes.post(
        "/procedures/{code}/signatures",
        summary="A team signs that it knows a version of a procedure",
        description="Decisions made from now on say whether the contact's team had signed by the time of the contact. "
        "Signed before already: 200 and nothing changes.",
        status_code=201,
    )
    async def add(request: Request, principal: Writer, code: str, body: SignIn) -> Response:
        async with idempotent(request, principal, context.store) as once:
            if once.stored is not None:
                return once.stored
            try:
                async with context.store.unit() as unit:
                    book = await context.books.book(unit.connection, await context.books.version(unit.connection))
                    if book is None:
                        raise no_rulebook(request)
                    at = body.signed_at or unit.now
                    event = await sign(unit, book, code, body.version, body.team, at, body.by or principal.name)
                    answer = {"procedure": code, "version": body.version, "team": body.team, "signed_at": at}
                    response = JSONResponse(jsonable_encoder(answer), 200 if event is None else 201)
                    await once.keep(unit.connection, response)
            except SignatureRefused as refused:
                text = say(refused.code, request, refused.value)
                if refused.pointer == "/procedure":
                    raise Problem(404, "not-found", text) from None
                raise Problem.field(refused.pointer, refused.code.replace("_", "-"), text) from None
            return response

    return routes
