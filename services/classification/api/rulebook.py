"""The rulebook: what is in force, checking one, publishing one."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.encoders import jsonable_encoder
from fastapi.responses import JSONResponse
from starlette.responses import Response

from libs.events.errors import ConcurrencyConflict
from libs.events.log import LogUnavailable
from libs.events.offload import offload
from libs.service.http import Language, Problem, Words, idempotent, negotiate
from services.classification import views
from services.classification.api.context import Context, Reader, Writer, no_rulebook, say
from services.classification.books import publish
from services.classification.domain.crosswalk import Section, between
from services.classification.domain.rulebook import Rulebook, checksum, document_of
from services.classification.previewing import NothingPublished, Preview, PreviewRunning
from services.classification.rulebook_file import Reading, read

_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/yaml": {"schema": {"type": "string"}},
            "application/json": {"schema": {"type": "object"}},
        },
    }
}


def router(context: Context, preview: Preview) -> APIRouter:
    routes = APIRouter(prefix="/classification/v1", tags=["rulebook"])

    @routes.get("/rulebook", summary="The rulebook in force, or any version of it")
    async def get_rulebook(
        request: Request, principal: Reader, version: Annotated[int | None, Query(ge=1, le=2**31 - 1)] = None
    ) -> Response:
        async with context.store.reading() as connection:
            found = await views.rulebook(connection, version)
            versions = await views.rulebook_versions(connection)
        if found is None:
            if version is None or not versions:
                raise no_rulebook(request)
            raise Problem(404, "not-found", say("unknown_version", request, str(version)))
        answer = {**found, "versions": versions}
        return JSONResponse(jsonable_encoder(answer), headers={"ETag": f'"{found["version"]}"'})

    @routes.post(
        "/rulebook/check",
        summary="What is wrong with a rulebook (YAML or JSON); nothing is changed",
        openapi_extra=_BODY,
    )
    async def check_rulebook(request: Request, principal: Reader) -> dict[str, Any]:
        reading, version = await _read(context, request)
        language = negotiate(request)
        found = [item.problem(language) for item in reading.found]
        return {
            "sound": reading.sound,
            "against_version": version,
            "errors": [item for item in found if not item["warning"]],
            "warnings": [item for item in found if item["warning"]],
        }

    @routes.post(
        "/rulebook/publish",
        summary="Publish a rulebook (YAML or JSON) as the next version",
        description="The same content as the version in force changes nothing (200). Two at once: one wins, the other gets 409. "
        'With `If-Match: "3"` it is published only as the version after 3 (412 otherwise).',
        openapi_extra=_BODY,
        status_code=201,
    )
    async def publish_rulebook(request: Request, principal: Writer) -> Response:
        async with idempotent(request, principal, context.store) as once:
            if once.stored is not None:
                return once.stored
            reading, version = await _read(context, request)
            language = negotiate(request)
            book = _sound(reading, language)
            expected = _expected(request)
            digest = checksum(document_of(book))
            try:
                async with context.store.unit() as unit:
                    head = await context.books.head(unit.connection)
                    if head.checksum == digest:
                        found = await views.rulebook(unit.connection, head.version)
                        assert found is not None
                        status = 200
                    elif expected is not None and expected != head.version:
                        raise _overtaken(request, head.version, status=412)
                    else:
                        published = await publish(unit, book, principal.name, version)
                        found, status = published.model_dump(), 201
                    del found["document"]
                    warnings = [item.problem(language) for item in reading.found if item.defect.warning]
                    body = jsonable_encoder({**found, "warnings": warnings})
                    response = JSONResponse(body, status)
                    await once.keep(unit.connection, response)
            except ConcurrencyConflict as conflict:
                async with context.store.reading() as connection:
                    head = await context.books.head(connection)
                    if head.checksum == digest:
                        found = await views.rulebook(connection, head.version)
                        assert found is not None
                        del found["document"]
                        return JSONResponse(jsonable_encoder({**found, "warnings": []}), 200)
                raise _overtaken(request, head.version) from conflict
            return response

    _preview_route(routes, context, preview)
    _crosswalk_route(routes, context)
    return routes


def _crosswalk_route(routes: APIRouter, context: Context) -> None:
    @routes.get(
        "/rulebook/crosswalk",
        summary="What the codes of one version are called in another, in either direction",
        description="Shares of a code add up to 1. `even`: nobody said how it divides, so the parts are alike.",
    )
    async def get_crosswalk(
        request: Request,
        principal: Reader,
        a: Annotated[int, Query(alias="from", ge=1, le=2**31 - 1)],
        b: Annotated[int, Query(alias="to", ge=1, le=2**31 - 1)],
        section: Section = "motives",
    ) -> dict[str, Any]:
        async with context.store.reading() as connection:
            history = await context.books.history(connection)
        if not history:
            raise no_rulebook(request)
        try:
            walk = await offload(between, history, a, b, section)
        except KeyError as unknown:
            raise Problem(404, "not-found", say("unknown_version", request, str(unknown.args[0]))) from unknown
        codes = {
            code: {"to": {target: float(share) for target, share in step.to.items()}, "even": step.even}
            for code, step in sorted(walk.steps.items())
        }
        return {"from": a, "to": b, "section": section, "codes": codes}


def _preview_route(routes: APIRouter, context: Context, preview: Preview) -> None:
    @routes.post(
        "/rulebook/preview",
        summary="What history would become under a rulebook (YAML or JSON); nothing is changed",
        description="Reads the whole history and codes and judges it anew: minutes for a million contacts. One at a time.",
        openapi_extra=_BODY,
    )
    async def preview_rulebook(request: Request, principal: Reader) -> dict[str, Any]:
        reading, _ = await _read(context, request)
        language = negotiate(request)
        book = _sound(reading, language)

        async def still_wanted(_: int) -> None:
            if await request.is_disconnected():
                raise Problem(408)

        try:
            report = await preview.run(book, still_wanted)
        except PreviewRunning as busy:
            raise Problem(409, "preview-running", headers={"Retry-After": "30"}) from busy
        except LogUnavailable as away:
            raise Problem.unavailable(
                Words("the log cannot be read at the moment", "por ahora no se puede leer el registro"), retry_after=5
            ) from away
        except NothingPublished as nothing:
            raise no_rulebook(request) from nothing
        return {**report, "warnings": [item.problem(language) for item in reading.found if item.defect.warning]}


async def _read(context: Context, request: Request) -> tuple[Reading, int]:
    """The body, checked against what was published; and the version it was checked against."""
    raw = await request.body()
    if not raw.strip():
        raise Problem(400, "empty-body")
    async with context.store.reading() as connection:
        history = await context.books.history(connection)
    # Parsing and checking 4 MB takes a second of the processor.
    return await offload(read, raw, history), history[-1][0] if history else 0


def _sound(reading: Reading, language: Language) -> Rulebook:
    if reading.sound and reading.book is not None:
        return reading.book
    errors = [item.problem(language) for item in reading.errors]
    detail = "; ".join(f"{item['line']}:{item['column']} {item['detail']}" for item in errors[:3])
    raise Problem(422, "bad-rulebook", detail, extra={"errors": errors})


def _expected(request: Request) -> int | None:
    """The version `If-Match` names; 0: there is none yet. None: whatever there is."""
    given = request.headers.get("if-match", "*").strip()
    if given == "*":
        return None
    number = given.removeprefix("W/").strip('"')
    if not (number.isascii() and number.isdigit() and len(number) <= 9):
        raise Problem(400, "bad-request", "If-Match")
    return int(number)


def _overtaken(request: Request, version: int, status: int = 409) -> Problem:
    """Another was published meanwhile: nothing of this one stands, and it has to be checked against that one."""
    return Problem(status, "rulebook-conflict", say("overtaken", request, str(version)), extra={"version": version})
