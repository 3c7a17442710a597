"""How every command of a finding is carried out: once per Idempotency-Key, against the version that was seen."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import Header, Request
from fastapi.encoders import jsonable_encoder
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from libs.events.errors import ConcurrencyConflict
from libs.events.store import Unit
from libs.service.http import Principal, idempotent
from services.classification import desk, views
from services.classification.api.context import Context, moved_on, of_finding
from services.classification.domain.findings import Command, Finding, Refused

IfMatch = Annotated[str | None, Header(description='the version seen last, e.g. "3"; 412 when it has moved on')]
Name = Annotated[str, Field(min_length=1, max_length=100)]
Reason = Annotated[str, Field(min_length=1, max_length=2000)]
Code = Annotated[str, Field(min_length=1, max_length=64)]
ROUNDS = 3
"""A command that another one came before is decided again on what is there now; people do not collide three times in a row."""

Check = Callable[[Unit, Finding], Awaitable[None]]


class CommandIn(BaseModel):
    model_config = ConfigDict(extra="forbid")

    by: Name | None = Field(default=None, description="who; the key's name when left out")
    reason: Reason | None = None


async def carry_out(
    context: Context,
    request: Request,
    who: Principal,
    finding_id: str,
    order: Command,
    match: str | None,
    check: Check | None = None,
) -> Response:
    """The finding after the command. Problems 404, 409, 412, 422; `check` may raise Refused for what only the tables know."""
    async with idempotent(request, who, context.store) as once:
        if once.stored is not None:
            return once.stored
        for left in reversed(range(ROUNDS)):
            try:
                async with context.store.unit() as unit:
                    state = await desk.load(unit, finding_id)
                    if match is not None and state is not None:
                        wanted = {tag.strip().removeprefix("W/").strip('"') for tag in match.split(",")}
                        if "*" not in wanted and str(state.version) not in wanted:
                            raise moved_on(request, {"version": state.version}, 412)
                    if check is not None and state is not None:
                        await check(unit, state)
                    await desk.carry_out(unit, finding_id, order, context.waiting)
                    response = await answer(unit, finding_id)
                    await once.keep(unit.connection, response)
                return response
            except Refused as refused:
                raise of_finding(refused, request) from None
            except ConcurrencyConflict:
                if not left:
                    raise moved_on(request) from None
        raise moved_on(request)


async def answer(unit: Unit, finding_id: str) -> Response:
    found: Any = await views.finding(unit.connection, finding_id)
    assert found is not None
    return JSONResponse(jsonable_encoder(found), headers={"ETag": f'"{found["version"]}"'})
