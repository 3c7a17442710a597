"""Erasure of a person."""

from typing import Any

from fastapi import APIRouter, Depends, Query

from libs.service.http.auth import require
from libs.service.http.problems import Problem, Words
from services.intake.parts import Parts

_ADMIN = Depends(require("intake:admin"))


def router(parts: Parts) -> APIRouter:
    """`/intake/v1/customers/{id}`."""
    routes = APIRouter(prefix="/intake/v1/customers", tags=["customers"])

    @routes.delete("/{id}", summary="Erase a person", dependencies=[_ADMIN])
    async def erase(
        id: str,
        source: str | None = Query(None, max_length=64, description="whose own customer id `id` is"),
        reason: str | None = Query(None, max_length=500),
    ) -> dict[str, Any]:
        """`id` is the pseudonym (`cus_…`), or with `source` that system's own id. The person's key is destroyed: what was
        said stays sealed for ever, statistics stay. Done again, it answers the same."""
        person: str | None = id
        if source is not None:
            person = await parts.vault.find({"id": id, "source": source}) if id.strip() else None
        done = None if person is None else await parts.erasure.erase(parts.store, person, reason)
        if done is None:
            raise Problem(
                404,
                "not-found",
                Words(
                    "no such person: never known, or erased before and known no more by this id",
                    "no existe esa persona: nunca se conoció, o se borró antes y ya no se conoce por este id",
                ),
            )
        return {
            "customer_id": done.customer_id,
            "requested_at": done.requested_at.isoformat(),
            "erased_at": done.erased_at.isoformat(),
        }

    return routes
