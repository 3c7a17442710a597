"""How a command is carried out: once per Idempotency-Key, its answer kept with what it did, refusals told as problems."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from fastapi import Request
from fastapi.encoders import jsonable_encoder
from fastapi.responses import JSONResponse
from starlette.responses import Response

from libs.events.errors import ConcurrencyConflict
from libs.events.store import Unit
from libs.service.http import Principal, Problem, idempotent
from services.classification.api.context import Context, moved_on

R = TypeVar("R", bound=Exception)


async def carried_out(
    context: Context,
    request: Request,
    who: Principal,
    do: Callable[[Unit], Awaitable[Any]],
    refusal: type[R],
    problem: Callable[[R, Request], Problem],
    status: int = 200,
) -> Response:
    """What `do` returns, as JSON, with all it did in one unit. `refusal` is what it may raise, `problem` says it to the caller;
    409 where somebody else was first."""
    async with idempotent(request, who, context.store) as once:
        if once.stored is not None:
            return once.stored
        try:
            async with context.store.unit() as unit:
                response = JSONResponse(jsonable_encoder(await do(unit)), status)
                await once.keep(unit.connection, response)
        except refusal as refused:
            raise problem(refused, request) from None
        except ConcurrencyConflict:
            raise moved_on(request) from None
        return response
