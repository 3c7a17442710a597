"""Webhooks of other systems, and what to do with deliveries that could not be read.

A delivery that is authentic is always answered with 202 once it is durable, readable or not: many senders drop a message,
or switch the webhook off, after a 4xx, and its bytes would be gone. What cannot be read waits in quarantine instead.
401 is for a wrong signature only.
"""

from collections.abc import Sequence
from typing import Any

import orjson
from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from libs.events.catalogue.interactions import Effects
from libs.service.http.app import negotiate
from libs.service.http.auth import require
from libs.service.http.paging import Paging, paging
from libs.service.http.problems import Language, Problem, Words
from services.intake.acceptance import Result
from services.intake.adapters import ADAPTERS, Adapter
from services.intake.adapters.standard_webhooks.signature import WrongSignature
from services.intake.api.answers import answer
from services.intake.api.interactions import INTERACTION_FORM
from services.intake.domain.faults import Fault, Refused, problem
from services.intake.domain.reading import value
from services.intake.domain.sources import Source
from services.intake.parts import Parts
from services.intake.unread import Unread, UnreadFull

_READ = Depends(require("intake:read"))
_ADMIN = Depends(require("intake:admin"))


def router(parts: Parts) -> APIRouter:
    """`/intake/v1/webhooks/{source_id}` and `/intake/v1/quarantine…`."""
    routes = APIRouter(prefix="/intake/v1", tags=["webhooks"])

    @routes.post("/webhooks/{source_id}", status_code=202, summary="A system's own webhook", response_class=Response)
    async def receive(request: Request, source_id: str) -> Response:
        """Authenticated by the signature over the raw bytes; no API key. 202 once durable, also when it went to
        quarantine (`quarantined` is its id there); 401 when no live secret fits."""
        body = await request.body()
        source = await parts.sources.find(source_id)
        adapter = None if source is None else ADAPTERS.get(source.form)
        if source is None or adapter is None:
            raise Problem(
                404,
                "not-found",
                Words(
                    "there is no webhook here; register a source with form standard-webhooks",
                    "aquí no hay webhook; registre una fuente de forma standard-webhooks",
                ),
            )
        try:
            delivery = adapter.verify(request.headers, body, await parts.sources.keys(source_id), parts.clock.now())
        except WrongSignature as wrong:
            raise Problem(401, "unauthenticated", wrong.words) from None
        if not source.active:
            raise Problem(
                403, "forbidden", Words(f"the source {source_id} is inactive", f"la fuente {source_id} está inactiva")
            )
        headers = {name: request.headers[name] for name in adapter.keeps if name in request.headers}
        results, faults = await _read(parts, adapter, source, delivery, headers, body)
        if not faults:
            return answer(results, single=len(results) == 1, request=request)
        try:
            kept = await parts.unreads.keep(source_id, adapter.name, delivery, headers, body, faults)
        except UnreadFull as full:
            raise Problem.unavailable(full.words, retry_after=600) from None
        return _quarantined(results, kept, faults, negotiate(request))

    @routes.get("/quarantine", summary="Deliveries that could not be read", dependencies=[_READ])
    async def list_unread(
        request: Request,
        source: str | None = Query(None, max_length=64),
        page: Paging = Depends(paging),
    ) -> dict[str, Any]:
        language = negotiate(request)
        found = await parts.unreads.list(int(page.position or 0), page.limit + 1, source)
        answered = page.page(list(found), lambda item: item.number)
        answered["items"] = [_shown(item, language) for item in answered["items"]]
        return answered

    @routes.post("/quarantine/{id}/replay", summary="Try to read a delivery again", dependencies=[_ADMIN])
    async def replay(request: Request, id: str) -> Response:
        """200 with the answer per element when it could be read now; 422 when not, and it stays."""
        found = await parts.unreads.get(id)
        if found is None:
            raise _unknown()
        item, body = found
        source = await parts.sources.find(item.source_id)
        adapter = ADAPTERS.get(item.adapter)
        if source is None or adapter is None:
            raise Problem(
                409,
                "conflict",
                Words(
                    f"the source {item.source_id} or its adapter {item.adapter} is gone",
                    f"ya no está la fuente {item.source_id} o su adaptador {item.adapter}",
                ),
            )
        results, faults = await _read(parts, adapter, source, item.delivery_id, item.headers, body)
        language = negotiate(request)
        if faults:
            await parts.unreads.failed(id, faults)
            document = problem("refused", 422, language, list(faults))
            return Response(orjson.dumps(document), 422, media_type="application/problem+json")
        await parts.unreads.drop(id)
        response = answer(results, single=len(results) == 1, request=request)
        response.status_code = 200
        return response

    @routes.delete("/quarantine/{id}", status_code=204, summary="Destroy a delivery unread", dependencies=[_ADMIN])
    async def discard(id: str) -> Response:
        if not await parts.unreads.drop(id):
            raise _unknown()
        return Response(status_code=204)

    return routes


async def _read(
    parts: Parts, adapter: Adapter, source: Source, delivery: str, headers: Any, body: bytes
) -> tuple[list[Result], Sequence[Fault]]:
    """What a delivery became, and why it (or part of it) could not be kept."""
    try:
        elements = adapter.read(delivery, headers, body, source)
    except Refused as refusal:
        return [], refusal.faults
    if len(elements) > parts.max_items:
        return [], [Fault("", "too-many", {"limit": parts.max_items})]
    reads = [value(element, INTERACTION_FORM) for element in elements]
    results = await parts.acceptance.record(reads, effects=Effects.LIVE, bound=source.id)
    faults = [
        fault.at(f"/{index}" if len(results) > 1 else "")
        for index, result in enumerate(results)
        if result.status == "rejected"
        for fault in result.faults
    ]
    return results, faults


def _quarantined(results: Sequence[Result], kept: str, faults: Sequence[Fault], language: Language) -> Response:
    document = {
        "accepted": sum(result.status == "accepted" for result in results),
        "duplicates": sum(result.status == "duplicate" for result in results),
        "rejected": sum(result.status == "rejected" for result in results),
        "quarantined": kept,
        "errors": [fault.entry(language) for fault in faults],
        "results": [{"index": index, "id": result.id, "status": result.status} for index, result in enumerate(results)],
    }
    return Response(orjson.dumps(document), 202, media_type="application/json")


def _shown(item: Unread, language: Language) -> dict[str, Any]:
    return {
        "id": item.id,
        "source": item.source_id,
        "adapter": item.adapter,
        "delivery_id": item.delivery_id,
        "received_at": item.received_at.isoformat(),
        "attempts": item.attempts,
        "errors": [fault.entry(language) for fault in item.faults],
    }


def _unknown() -> Problem:
    return Problem(
        404, "not-found", Words("nothing of this id waits in quarantine", "nada con este id espera en cuarentena")
    )
