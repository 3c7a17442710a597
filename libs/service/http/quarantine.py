"""What a service's handlers could not take: look at it, try it again, give it up; and let stopped consumers go on."""

from typing import Any

from fastapi import APIRouter, Depends, Query, Request

from libs.events.quarantine import NotParked, Outcome, Parked, Quarantine
from libs.events.runtime import Runtime
from libs.service.http.auth import require
from libs.service.http.paging import Paging, paging
from libs.service.http.problems import STARTING, Problem, Words


def runtime(request: Request) -> Runtime:
    """Dependency. Problem 503 while the service starts."""
    running = request.app.state.service
    if running is None:
        raise Problem.unavailable(STARTING)
    found: Runtime = running.runtime
    return found


def quarantine(found: Runtime = Depends(runtime)) -> Quarantine:
    """Dependency. Problem 503 while the service starts."""
    return found.quarantine


def shown(item: Parked) -> dict[str, Any]:
    """An item without its bytes: they may hold what a person wrote (sealed), and are not needed to decide."""
    return {
        "id": item.id,
        "state": item.state,
        "handler": item.handler,
        "topic": item.topic,
        "partition": item.partition,
        "offset": item.offset,
        "key": item.key,
        "event_id": item.event_id,
        "type": item.type,
        "attempts": item.attempts,
        "error": item.error,
        "code_version": item.code_version,
        "parked_at": item.parked_at.isoformat(),
        "bytes": len(item.value),
    }


def _outcome(found: Outcome) -> dict[str, Any]:
    return {"id": found.id, "state": found.state, "released": found.released, "error": found.error}


def quarantine_routes(service: str) -> APIRouter:
    """`/{service}/v1/quarantine` and `/{service}/v1/consumers/resume`."""
    router = APIRouter(prefix=f"/{service}/v1", tags=["quarantine"])
    read, admin = Depends(require(f"{service}:read")), Depends(require(f"{service}:admin"))

    @router.get("/quarantine", summary="Parked events and those that wait behind them", dependencies=[read])
    async def listed(pages: Paging = Depends(paging), store: Quarantine = Depends(quarantine)) -> dict[str, Any]:
        """In the order they were parked."""
        found = await store.list(int(pages.position or 0), pages.limit + 1)
        numbers = {item.id: item.number for item in found}
        return pages.page([shown(item) for item in found], lambda item: numbers[item["id"]])

    @router.post("/quarantine/{id}/replay", summary="Try a parked event again", dependencies=[admin])
    async def replay(id: str, store: Quarantine = Depends(quarantine)) -> dict[str, Any]:
        """With today's code, then those that wait behind it, in order. The outcome says what failed again, if anything."""
        try:
            return _outcome(await store.replay(id))
        except NotParked:
            raise Problem(404, "", Words("nothing of this id is parked", "nada con este id está apartado")) from None

    @router.delete("/quarantine/{id}", summary="Give a parked event up", dependencies=[admin])
    async def discard(
        id: str,
        reason: str = Query(min_length=1, max_length=500, description="why"),
        store: Quarantine = Depends(quarantine),
    ) -> dict[str, Any]:
        """It stays on record with the reason; what it would have led to is missing."""
        try:
            return _outcome(await store.discard(id, reason))
        except NotParked:
            raise Problem(404, "", Words("nothing of this id is parked", "nada con este id está apartado")) from None
        except ValueError:
            raise Problem.field(
                "/query/reason", "missing", Words("discarding needs a reason", "para descartar hace falta un motivo")
            ) from None

    @router.post("/consumers/resume", summary="Let consumers go on that the breaker stopped", dependencies=[admin])
    async def resume(found: Runtime = Depends(runtime)) -> dict[str, Any]:
        """After the mistake in the deployment was put right. Says which were stopped; none is no error."""
        stopped = [consumer for consumer in found.consumers if consumer.pace.stopped]
        for consumer in stopped:
            consumer.resume()
        return {"resumed": [consumer.spec.group for consumer in stopped]}

    return router
