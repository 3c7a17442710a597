"""What is coming up among the texts that fit nothing, and what people make of it."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Select, and_, or_, select
from starlette.responses import Response

from libs.events.catalogue.interactions import InteractionRecorded
from libs.events.sealing import opened
from libs.events.store import Unit
from libs.service.http import Paging, Problem, paging
from services.classification import archive, tables
from services.classification.api.commanding import carried_out
from services.classification.api.context import Context, Reader, Writer, say
from services.classification.emerging import DISMISSED, EMERGING, EXAMPLES, PROPOSED, Emerging, TopicRefused

OPENS_WORDS = "classification:write"
"""Whoever may code a contact reads its text; others see that there are examples, and their ids."""
STATES = (EMERGING, PROPOSED, DISMISSED)


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")

    by: str | None = Field(
        default=None, min_length=1, max_length=100, description="who decided; the key's name when left out"
    )


class ProposeIn(_Body):
    motive: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$", description="the code it should get in the rulebook")


def router(context: Context, emerging: Emerging) -> APIRouter:
    routes = APIRouter(prefix="/classification/v1", tags=["topics"])

    @routes.get("/topics", summary="Groups of alike texts that fit nothing in the rulebook, largest first")
    async def list_topics(
        principal: Reader,
        paged: Annotated[Paging, Depends(paging)],
        state: Annotated[Literal["emerging", "proposed", "dismissed"], Query()] = "emerging",
    ) -> dict[str, Any]:
        """Size, distinct customers, words that several of them used, examples. Nothing is ever coded by a topic."""
        query = _listed(state, paged.position).limit(paged.limit + 1)
        async with context.store.reading() as connection:
            items = [_shown(row) for row in await connection.execute(query)]
            if principal.may(OPENS_WORDS):
                wanted = [example["interaction_id"] for item in items for example in item["examples"]]
                texts = await _words(context, connection, wanted)
                for item in items:
                    for example in item["examples"]:
                        example["text"] = texts.get(example["interaction_id"])
        return paged.page(items, lambda item: [item["size"], item["topic_id"]])

    @routes.post("/topics/search", summary="Look for topics now instead of at the next full period")
    async def search(principal: Writer) -> dict[str, Any]:
        async with context.store.unit() as unit:
            found = await emerging.search(unit)
        return {"topics": len(found), "texts": sum(topic.size for topic in found)}

    @routes.post(
        "/topics/{topic_id}/propose", summary="Propose a topic as a new motive; answers with a draft of its entry"
    )
    async def propose(request: Request, principal: Writer, topic_id: str, body: ProposeIn) -> Response:
        return await _settle(request, principal, topic_id, PROPOSED, body.motive, body.by)

    @routes.post("/topics/{topic_id}/dismiss", summary="A topic that is no motive; it is not shown again")
    async def dismiss(request: Request, principal: Writer, topic_id: str, body: _Body) -> Response:
        return await _settle(request, principal, topic_id, DISMISSED, None, body.by)

    @routes.post("/topics/{topic_id}/take-up", summary="Take up again what was proposed or dismissed")
    async def take_up(request: Request, principal: Writer, topic_id: str, body: _Body) -> Response:
        return await _settle(request, principal, topic_id, EMERGING, None, body.by)

    async def _settle(
        request: Request, principal: Any, topic_id: str, outcome: str, motive: str | None, by: str | None
    ) -> Response:
        async def do(unit: Unit) -> dict[str, Any]:
            await emerging.settle(unit, topic_id, outcome, motive, by or principal.name)
            query = select(tables.topics).where(tables.topics.c.topic_id == topic_id)
            shown = _shown((await unit.connection.execute(query)).one())
            if motive is not None:
                # What a person pastes into the rulebook and finishes: names, severity, causes.
                shown["draft"] = {"code": motive, "name": {}, "terms": {"": shown["words"]}}
            return shown

        return await carried_out(context, request, principal, do, TopicRefused, _of)

    return routes


def _of(refused: TopicRefused, request: Request) -> Problem:
    text = say(refused.code, request, refused.value)
    if refused.code == "unknown_topic":
        return Problem(404, "not-found", text)
    return Problem.field("/motive", "code-taken", text)


def _listed(state: str, after: Any) -> Select[Any]:
    table = tables.topics
    query = select(table).where(table.c.state == state)
    if state == EMERGING:
        query = query.where(table.c.current)
    if after is not None:
        size, topic_id = after
        query = query.where(or_(table.c.size < size, and_(table.c.size == size, table.c.topic_id > topic_id)))
    return query.order_by(table.c.size.desc(), table.c.topic_id)


def _shown(row: Any) -> dict[str, Any]:
    found = dict(row._mapping)  # noqa: SLF001  # the public way to a row's names
    members = found.pop("members")
    return {**found, "examples": [{"interaction_id": one} for one in members[:EXAMPLES]]}


async def _words(context: Context, connection: Any, interaction_ids: list[str]) -> dict[str, str]:
    held = await archive.fetch(connection, interaction_ids)
    found = await opened(context.store.vault, list(held.values()))
    return {
        contact.interaction_id: archive.words_of(contact)
        for contact in found
        if isinstance(contact, InteractionRecorded)
    }
