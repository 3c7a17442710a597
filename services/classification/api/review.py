"""The review queue: what to look at first, claims, one item with its words, deciding in bulk, coding twice, agreement."""

from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from fastapi.encoders import jsonable_encoder
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from starlette.responses import Response

from libs.events.store import Unit
from libs.service.http import Paging, Principal, paging
from services.classification import review_views as views
from services.classification.api.commanding import carried_out
from services.classification.api.context import Context, Reader, Writer, of_label
from services.classification.coding import LabelRefused
from services.classification.reviewing import SECOND, Reviewing

MOST = 200
"""Items decided in one call: about 2 s of the database at a millisecond each and ten for the disk."""

By = Annotated[str | None, Field(min_length=1, max_length=100, description="the person; the key's name when left out")]
Ident = Annotated[str, Field(min_length=1, max_length=128)]
Code = Annotated[str, Field(min_length=1, max_length=64, description="rulebook code, or unknown")]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")

    by: By = None


class ClaimIn(_Body):
    """Ask for the next items."""

    count: int = Field(default=1, ge=1, le=20)
    motive: str | None = Field(default=None, max_length=64, description="only contacts coded so")
    purpose: Literal["review", "second"] | None = Field(default=None, description="both when left out")
    without: list[Ident] = Field(default_factory=list, max_length=MOST, description="items that were passed over")


class ReleaseIn(_Body):
    """Give claims back; all of the person's without ids."""

    interaction_ids: list[Ident] | None = Field(default=None, max_length=MOST)


class LabelManyIn(_Body):
    """One decision about several contacts, after one look."""

    interaction_ids: list[Ident] = Field(min_length=1, max_length=MOST)
    motive: Code
    cause: Code | None = None


class SecondIn(_Body):
    """What a second person says."""

    motive: Code
    cause: Code | None = None


def router(context: Context, reviewing: Reviewing) -> APIRouter:
    routes = APIRouter(prefix="/classification/v1", tags=["review"])

    @routes.get("/review-queue", summary="Contacts a person should look at, largest expected gain first")
    async def review_queue(
        principal: Reader,
        paged: Annotated[Paging, Depends(paging)],
        motive: Annotated[str | None, Query(max_length=64)] = None,
    ) -> dict[str, Any]:
        now = context.clock.now()
        async with context.store.reading() as connection:
            rows = await views.queue(connection, now, motive, paged.position, paged.limit)
        page = paged.page(rows, lambda row: [row["gain"], row["interaction_id"]])
        return page | {"items": [views.shown(row, now) for row in page["items"]]}

    @routes.post("/review-queue/claim", summary="The next items, nobody else's until the claims run out")
    async def claim(principal: Writer, body: ClaimIn) -> dict[str, Any]:
        async with context.store.unit() as unit:
            claims = await reviewing.claim(
                unit,
                _who(principal, body),
                body.count,
                motive=body.motive,
                purpose=body.purpose,
                without=body.without,
            )
        return {"items": [asdict(one) for one in claims]}

    @routes.post("/review-queue/release", summary="Give claims back")
    async def release(principal: Writer, body: ReleaseIn) -> dict[str, Any]:
        async with context.store.unit() as unit:
            released = await reviewing.release(unit, _who(principal, body), body.interaction_ids)
        return {"released": released}

    @routes.get(
        "/review-queue/{interaction_id}",
        summary="One contact with its words, the best codes and why, and precedents",
        description="Of a second coding the first decision is left out.",
    )
    async def item(
        request: Request,
        principal: Writer,
        interaction_id: str,
        by: Annotated[str | None, Query(max_length=100)] = None,
    ) -> dict[str, Any]:
        person, now = by or principal.name, context.clock.now()
        async with context.store.reading() as connection:
            row = await views.decision(connection, interaction_id)
            if row is None:
                raise of_label(LabelRefused("unknown_interaction"), request)
            coder = await context.books.coder(connection)
            second = await reviewing.held(connection, interaction_id, SECOND, now)
            blind = second is not None and second.person == person
            if coder is not None and not blind:  # what was learnt from the first coding would give it away
                coder = context.lessons.as_it_stands(coder)
            shown = await views.item(connection, context.store.vault, coder, reviewing.proposer, interaction_id)
        claim = {"purpose": SECOND if blind else "review"}
        answer: dict[str, Any] = jsonable_encoder(
            claim | shown | {"decision": None if blind else views.shown(row, now)}
        )
        return answer

    @routes.get("/review-queue/{interaction_id}/alike", summary="Others in the queue that read like this one")
    async def alike(
        request: Request,
        principal: Writer,
        interaction_id: str,
        by: Annotated[str | None, Query(max_length=100)] = None,
        limit: Annotated[int, Query(ge=1, le=MOST)] = 20,
    ) -> dict[str, Any]:
        async with context.store.reading() as connection:
            if await views.decision(connection, interaction_id) is None:
                raise of_label(LabelRefused("unknown_interaction"), request)
            found = await views.alike(
                connection,
                context.store.vault,
                context.clock.now(),
                interaction_id,
                by or principal.name,
                limit,
            )
        return {"items": found}

    return routes


def deciding(context: Context, reviewing: Reviewing) -> APIRouter:
    """Deciding several at once, deciding a second time, and how well people agree."""
    routes = APIRouter(prefix="/classification/v1", tags=["review"])

    @routes.post(
        "/interactions/label-many",
        summary="One decision about several contacts, each its own event and its own result",
        description="Contacts that cannot be labelled say why; the others are. The same again changes nothing.",
    )
    async def label_many(request: Request, principal: Writer, body: LabelManyIn) -> Response:
        person = _who(principal, body)

        async def do(unit: Unit) -> dict[str, Any]:
            results = [
                await _labelled(reviewing, unit, request, interaction_id, body, person)
                for interaction_id in dict.fromkeys(body.interaction_ids)
            ]
            labelled = sum(one["status"] == "labelled" for one in results)
            return {"labelled": labelled, "refused": len(results) - labelled, "results": results}

        return await carried_out(context, request, principal, do, LabelRefused, of_label)

    @routes.post(
        "/interactions/{interaction_id}/second-coding",
        summary="What a second person says; the decision in force stays",
        status_code=201,
    )
    async def second_coding(request: Request, principal: Writer, interaction_id: str, body: SecondIn) -> Response:
        async def do(unit: Unit) -> Any:
            return await reviewing.second(unit, interaction_id, body.motive, body.cause, _who(principal, body))

        return await carried_out(context, request, principal, do, LabelRefused, of_label, 201)

    @routes.get("/second-codings", summary="Contacts that two people coded, newest first")
    async def second_codings(
        principal: Reader,
        paged: Annotated[Paging, Depends(paging)],
        disagreed: Annotated[bool, Query(description="only where the two differ")] = False,
        person: Annotated[str | None, Query(max_length=100)] = None,
    ) -> dict[str, Any]:
        async with context.store.reading() as connection:
            rows = await views.second_codings(
                connection, disagreed=disagreed, person=person, after=paged.position, limit=paged.limit
            )
        return paged.page(rows, lambda row: [row["at"].isoformat(), row["interaction_id"]])

    @routes.get(
        "/agreement",
        summary="Cohen's kappa of people who coded the same contacts (R07, indicator 26)",
        description="Overall, by motive, by person, and of the machine against the second person.",
    )
    async def agreement(
        principal: Reader,
        since: Annotated[AwareDatetime | None, Query()] = None,
        until: Annotated[AwareDatetime | None, Query()] = None,
    ) -> dict[str, Any]:
        async with context.store.reading() as connection:
            found = await views.agreement(connection, since, until)
        return {"share": reviewing.share, "since": since, "until": until, **found}

    return routes


def _who(principal: Principal, body: _Body) -> str:
    return body.by or principal.name


async def _labelled(
    reviewing: Reviewing, unit: Unit, request: Request, interaction_id: str, body: LabelManyIn, person: str
) -> dict[str, Any]:
    """One of many: done, or why not. A refusal comes before anything of it is written."""
    try:
        data = await reviewing.label(unit, interaction_id, body.motive, body.cause, person)
    except LabelRefused as refused:
        problem = of_label(refused, request)
        told = {"status": problem.status, "code": refused.code.replace("_", "-"), "detail": problem.detail}
        return {"interaction_id": interaction_id, "status": "refused", "problem": told}
    return {"interaction_id": interaction_id, "status": "labelled", "revision": data.revision}
