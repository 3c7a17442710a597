"""A service small enough to read at once: it takes a contact, appends it, counts what comes back from the log."""

import asyncio
from collections.abc import AsyncIterator, Sequence

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict
from sqlalchemy import func, insert, select
from starlette.responses import JSONResponse, Response, StreamingResponse

from libs.events.catalogue.interactions import Channel, InteractionRecorded, Kind
from libs.events.consumer import ConsumerSpec, Subscription
from libs.events.envelope import Event, natural_id
from libs.events.errors import ConcurrencyConflict
from libs.events.runtime import Runtime
from libs.events.store import Draft, Unit
from libs.service.environment import Environment
from libs.service.http import Paging, Principal, idempotent, make_app, paging, read_body, require
from libs.service.service import Service
from tests.service.toy.tables import things


class Thing(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str
    email: str = "ana@example.com"


async def build(environment: Environment) -> Service:
    app = make_app("toy", environment=environment, title="Toy")
    router = APIRouter(prefix="/toy/v1")

    async def count(unit: Unit, events: Sequence[Event]) -> None:
        await unit.connection.execute(insert(things), [{"name": event.id} for event in events])

    runtime = Runtime(
        service="toy",
        engine=environment.engine("toy"),
        log=environment.log,
        vault=environment.vault,
        clock=environment.clock,
        consumers=[
            ConsumerSpec(
                "toy", ("lazo.interactions",), [Subscription("toy.count", "projector", (InteractionRecorded,), count)]
            )
        ],
        publishes=("lazo.interactions",),
    )

    async def record(unit: Unit, name: str, email: str) -> str:
        [person] = await environment.vault.resolve([{"email": email}])
        interaction = natural_id("interaction", "toy", name)
        data = InteractionRecorded(
            interaction_id=interaction,
            external_id=name,
            origin="toy",
            kind=Kind.COMPLAINT,
            channel=Channel.WEB,
            occurred_at=unit.now,
            customer_id=person,
            email=email,
            text=f"{name} is broken",
        )
        unit.emit(Draft(f"interaction/{interaction}", data, person, unit.now, id=interaction), expected=0)
        return interaction

    @router.post("/things", status_code=201)
    async def make(request: Request, thing: Thing, principal: Principal = Depends(require("intake:write"))) -> Response:
        async with idempotent(request, principal, runtime.store) as once:
            if once.stored is not None:
                return once.stored
            async with runtime.store.unit() as unit:
                found = await record(unit, thing.name, thing.email)
                response = JSONResponse(
                    {"id": found, "by": principal.name}, 201, {"Location": f"/toy/v1/things/{found}"}
                )
                await once.keep(unit.connection, response)
                if thing.name == "refused":
                    raise ConcurrencyConflict(f"interaction/{found}", 0, 1)
            await asyncio.sleep(0)
            return response

    @router.post("/raw")
    async def raw(request: Request) -> Response:
        return JSONResponse({"value": await read_body(request)})

    @router.get("/things")
    async def names(
        page: Paging = Depends(paging), _: Principal = Depends(require("intake:read"))
    ) -> dict[str, object]:
        after = page.position or 0
        async with runtime.store.reading() as connection:
            rows = await connection.execute(
                select(things).where(things.c.id > after).order_by(things.c.id).limit(page.limit + 1)
            )
            items = [{"id": row.id, "name": row.name} for row in rows]
        return page.page(items, lambda last: last["id"])

    @router.get("/count")
    async def total() -> int:
        async with runtime.store.reading() as connection:
            return int((await connection.execute(select(func.count()).select_from(things))).scalar_one())

    @router.get("/admin")
    async def admin(_: Principal = Depends(require("feedback:admin"))) -> str:
        return "yes"

    @router.get("/boom/{secret}")
    async def boom(secret: str) -> None:
        raise RuntimeError(f"{secret} wrote to maria@example.com")

    @router.get("/broken")
    async def broken() -> Response:
        async def half() -> AsyncIterator[bytes]:
            yield b"half"
            raise RuntimeError("the rest is lost")

        return StreamingResponse(half())

    @router.get("/slow")
    async def slow() -> str:
        await asyncio.sleep(0.5)
        return "done"

    app.include_router(router)
    return Service("toy", app, runtime)
