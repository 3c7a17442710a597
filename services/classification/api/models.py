"""Models: versions, measures, fit, promote, roll back, run in the shadow."""

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import APIRouter, Request
from fastapi.encoders import jsonable_encoder
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.responses import Response

from libs.events.store import Unit
from libs.service.http import FieldError, Principal, Problem
from services.classification import keeping_models as kept
from services.classification import tables, views
from services.classification.api.commanding import carried_out
from services.classification.api.context import Context, Reader, Writer, no_rulebook, say
from services.classification.api.recodings import ByIn
from services.classification.domain.voices import family
from services.classification.modelling import Modelling, ModelRefused, history
from services.classification.refitting import FIT, FitRefused, Refitting

EVENTS = {
    "ModelFitted": "fitted",
    "ModelPromoted": "promoted",
    "ModelRolledBack": "rolled_back",
    "ModelShadowStarted": "shadow_started",
    "ModelShadowEnded": "shadow_ended",
}


def router(context: Context) -> APIRouter:
    routes = APIRouter(prefix="/classification/v1", tags=["models"])

    @routes.get(
        "/models",
        summary="What decides: the coder's versions, the fitted models, the shadow, the fit at work",
        description="`items`: the coder's versions that decisions stand on. `models`: those that were fitted, newest first.",
    )
    async def listed(principal: Reader) -> dict[str, Any]:
        async with context.store.reading() as connection:
            coder = await context.books.coder(connection)
            version = await context.books.version(connection)
            found = await kept.models(connection)
            fit = (await connection.execute(select(tables.fittings).where(tables.fittings.c.name == FIT))).one_or_none()
            answer = {
                "live": context.lessons.as_it_stands(coder).model_version if coder is not None else None,
                "rulebook_version": version,
                "items": _by_family(await views.models(connection)),
                "models": found,
                "promoted": next((one["model_id"] for one in found if one["live"]), None),
                "shadow": next((one["model_id"] for one in found if one["shadow"]), None),
                "corrections": await views.corrections(connection),
                "fit": None if fit is None else views.fit_of(fit),
            }
        shown: dict[str, Any] = jsonable_encoder(answer)
        return shown

    @routes.get("/models/{model_id}", summary="One model: measures, files, what was done with it, its shadow's report")
    async def one(request: Request, principal: Reader, model_id: str) -> dict[str, Any]:
        async with context.store.unit() as unit:
            answer: dict[str, Any] = jsonable_encoder(await _one(request, unit, model_id))
        return answer

    @routes.get("/models/{model_id}/shadow", summary="What it would have decided, beside what was decided")
    async def report(request: Request, principal: Reader, model_id: str) -> dict[str, Any]:
        async with context.store.reading() as connection:
            found = await _report(connection, model_id)
        if found is None:
            raise Problem(404, "not-found", say("model_no_shadow", request))
        answer: dict[str, Any] = jsonable_encoder(found)
        return answer

    return routes


def commands(context: Context, modelling: Modelling, refitting: Refitting) -> APIRouter:
    routes = APIRouter(prefix="/classification/v1", tags=["models"])

    @routes.post("/models/fit", summary="Fit a model from all corrections, in the background", status_code=202)
    async def fit(request: Request, principal: Writer, body: ByIn) -> Response:
        async def do(unit: Unit) -> dict[str, str]:
            await refitting.ask(unit, body.by or principal.name)
            return {"state": "asked"}

        return await carried_out(context, request, principal, do, FitRefused, _of_fit, 202)

    @routes.post("/models/{model_id}/promote", summary="Let it decide from the next contact on")
    async def promote(request: Request, principal: Writer, model_id: str, body: ByIn) -> Response:
        by = body.by or principal.name
        return await _command(request, principal, model_id, lambda unit: modelling.promote(unit, model_id, by))

    @routes.post("/models/{model_id}/rollback", summary="Let the model before it decide again")
    async def rollback(request: Request, principal: Writer, model_id: str, body: ByIn) -> Response:
        by = body.by or principal.name
        return await _command(request, principal, model_id, lambda unit: modelling.rollback(unit, model_id, by))

    @routes.post(
        "/models/{model_id}/shadow",
        summary="Ask it about every contact beside the one in force; nothing comes of it (G11)",
    )
    async def shadow(request: Request, principal: Writer, model_id: str, body: ByIn) -> Response:
        by = body.by or principal.name
        return await _command(request, principal, model_id, lambda unit: modelling.shadow(unit, model_id, by))

    @routes.post("/models/{model_id}/shadow/end", summary="Ask it no more; its report stays")
    async def end_shadow(request: Request, principal: Writer, model_id: str, body: ByIn) -> Response:
        by = body.by or principal.name
        return await _command(request, principal, model_id, lambda unit: modelling.end_shadow(unit, model_id, by))

    async def _command(
        request: Request, principal: Principal, model_id: str, command: Callable[[Unit], Awaitable[None]]
    ) -> Response:
        async def do(unit: Unit) -> dict[str, Any]:
            await command(unit)
            return await _one(request, unit, model_id)

        return await carried_out(context, request, principal, do, ModelRefused, _of)

    return routes


async def _one(request: Request, unit: Unit, model_id: str) -> dict[str, Any]:
    row = await kept.model(unit.connection, model_id)
    if row is None:
        raise Problem(404, "not-found", say("unknown_model", request))
    said = await history(unit)
    done = [
        {"what": EVENTS[type(data).__name__], **data.model_dump(mode="json", exclude={"model_id"})}
        for data in said
        if getattr(data, "model_id", None) == model_id
    ]
    before = kept.fold(said).before
    return row | {
        "back_to": before[-1] if row["live"] and before else None,
        "history": done,
        "shadow_report": await _report(unit.connection, model_id),
    }


def _of(refused: ModelRefused, request: Request) -> Problem:
    """404 for a model there is none of, 409 for the wrong moment."""
    if refused.code == "unknown":
        return Problem(404, "not-found", say("unknown_model", request))
    return _conflict(request, f"model_{refused.code}", refused.value)


def _of_fit(refused: FitRefused, request: Request) -> Problem:
    return no_rulebook(request) if refused.code == "no_rulebook" else _conflict(request, "fit_busy")


def _conflict(request: Request, code: str, value: str = "") -> Problem:
    text = say(code, request, value)
    return Problem(409, "conflict", text, (FieldError("", code.replace("_", "-"), text),))


async def _report(connection: AsyncConnection, model_id: str) -> dict[str, Any] | None:
    found = await kept.shadow_report(connection, model_id)
    if found is None:
        return None
    moved = [{"before": before, "after": after, "count": count} for before, after, count in found["moved"]]
    examples = [
        {"interaction_id": one, "decided": decided, "shadow": shadow} for one, decided, shadow in found["examples"]
    ]
    return found | {"moved": moved, "examples": examples}


def _by_family(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The learner changes with every correction: its states stand in one row."""
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        name = family(row["model_version"])
        held = found.setdefault(
            name, row | {"model_version": name, "decisions": 0, "mean_confidence": 0.0, "review": 0}
        )
        weight = held["decisions"] + row["decisions"]
        held["mean_confidence"] += (row["mean_confidence"] - held["mean_confidence"]) * row["decisions"] / weight
        held["decisions"], held["review"] = weight, held["review"] + row["review"]
        held["rulebook_version"] = max(held["rulebook_version"], row["rulebook_version"])
    return list(found.values())
