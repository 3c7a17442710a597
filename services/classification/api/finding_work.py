"""Work on a finding beside its actions: why it happens, proposals to change a rule, groups and parts."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from libs.events.catalogue.findings import CauseNode, Nature
from libs.events.store import Unit
from services.classification.api.carrying import Code, CommandIn, IfMatch, Name, Reason, carry_out
from services.classification.api.context import Context, Writer
from services.classification.domain.cause_tree import METHODS
from services.classification.domain.finding_work import OUTCOMES, SPLITS, SUBJECTS
from services.classification.domain.findings import (
    Finding,
    Group,
    Investigate,
    Propose,
    Refused,
    SettleProposal,
    Split,
)

Text = Annotated[str, Field(min_length=1, max_length=1000)]


class NodeIn(BaseModel):
    """A place in the tree of causes."""

    model_config = ConfigDict(extra="forbid")

    node_id: Code
    parent: Code | None = Field(default=None, description="the node that this one explains; none: the problem itself")
    text: Text
    component: str | None = Field(
        default=None, description="product, procedures, facilities, systems, information or people"
    )
    cause: Code | None = Field(default=None, description="rulebook code")
    evidence: Text | None = None
    interaction_ids: list[Code] = Field(default_factory=list, max_length=500)
    root: bool = Field(default=False, description="where an action has to begin")


class InvestigateIn(CommandIn):
    method: str = Field(default="five_whys", description=", ".join(METHODS))
    nodes: list[NodeIn] = Field(description="the whole tree; it replaces the one before")
    conclusion: Text | None = None
    nature: Nature | None = Field(default=None, description="where the investigation showed another one")


class ProposeIn(CommandIn):
    """A norm, policy or procedure of the rulebook should change."""

    subject: str = Field(description=", ".join(SUBJECTS))
    code: Code
    text: Reason
    owner: Name | None = Field(default=None, description="who decides")


class SettleIn(CommandIn):
    outcome: str = Field(description=", ".join(OUTCOMES))
    rulebook_version: int | None = Field(default=None, ge=1, le=2**31 - 1, description="the version that enacts it")


class GroupIn(CommandIn):
    into: Code | None = Field(default=None, description="the finding it is a part of; left out: it stands alone again")


class SplitIn(CommandIn):
    parts: list[dict[str, Annotated[str, Field(min_length=1, max_length=200)]]] = Field(
        min_length=1, max_length=20, description=f"slices narrower than the finding's, by {', '.join(SPLITS)}"
    )


def router(context: Context) -> APIRouter:
    routes = APIRouter(prefix="/classification/v1", tags=["findings"])

    async def section(unit: Unit, name: str) -> set[str] | None:
        """The codes of a section of the newest rulebook; None where there is none to ask."""
        version = await context.books.version(unit.connection)
        book = await context.books.book(unit.connection, version) if version else None
        return None if book is None else {entry.code for entry in book.section(name)}

    @routes.post(
        "/findings/{finding_id}/investigate",
        summary="Why it happens: five whys or Ishikawa, as a tree",
        response_model=None,
    )
    async def investigate(
        request: Request, who: Writer, finding_id: str, body: InvestigateIn, if_match: IfMatch = None
    ) -> Response:
        async def known(unit: Unit, _: Finding) -> None:
            causes = await section(unit, "causes")
            for place, node in enumerate(body.nodes):
                if causes is not None and node.cause is not None and node.cause not in causes:
                    raise Refused("unknown_code", f"/nodes/{place}/cause", invalid=True, values={"code_": node.cause})

        order = Investigate(
            by=body.by or who.name,
            method=body.method,
            nodes=tuple(CauseNode(**node.model_dump()) for node in body.nodes),
            conclusion=body.conclusion,
            nature=body.nature,
            reason=body.reason,
        )
        return await carry_out(context, request, who, finding_id, order, if_match, known)

    @routes.post(
        "/findings/{finding_id}/proposals", summary="A norm, policy or procedure should change", response_model=None
    )
    async def propose(
        request: Request, who: Writer, finding_id: str, body: ProposeIn, if_match: IfMatch = None
    ) -> Response:
        async def known(unit: Unit, _: Finding) -> None:
            if body.subject not in SUBJECTS:
                return  # refused by the domain
            codes = await section(
                unit, {"norm": "norms", "policy": "policies", "procedure": "procedures"}[body.subject]
            )
            if codes is not None and body.code not in codes:
                raise Refused("unknown_code", "/code", invalid=True, values={"code_": body.code})

        order = Propose(
            by=body.by or who.name,
            subject=body.subject,
            code=body.code,
            text=body.text,
            owner=body.owner,
            reason=body.reason,
        )
        return await carry_out(context, request, who, finding_id, order, if_match, known)

    @routes.post(
        "/findings/{finding_id}/proposals/{proposal_id}/settle",
        summary="Accepted, rejected, withdrawn, or enacted by a rulebook",
        response_model=None,
    )
    async def settle(
        request: Request, who: Writer, finding_id: str, proposal_id: str, body: SettleIn, if_match: IfMatch = None
    ) -> Response:
        order = SettleProposal(
            by=body.by or who.name,
            proposal_id=proposal_id,
            outcome=body.outcome,
            rulebook_version=body.rulebook_version,
            reason=body.reason,
        )
        return await carry_out(context, request, who, finding_id, order, if_match)

    @routes.post(
        "/findings/{finding_id}/group", summary="It is a part of another finding, or none any more", response_model=None
    )
    async def group(
        request: Request, who: Writer, finding_id: str, body: Annotated[GroupIn | None, Body()] = None, if_match: IfMatch = None
    ) -> Response:  # fmt: skip
        given = body or GroupIn()
        order = Group(by=given.by or who.name, into=given.into, reason=given.reason)
        return await carry_out(context, request, who, finding_id, order, if_match)

    @routes.post(
        "/findings/{finding_id}/split", summary="Narrower slices become findings of their own", response_model=None
    )
    async def split(
        request: Request, who: Writer, finding_id: str, body: SplitIn, if_match: IfMatch = None
    ) -> Response:
        parts: tuple[dict[str, Any], ...] = tuple(body.parts)
        order = Split(by=body.by or who.name, parts=parts, reason=body.reason)
        return await carry_out(context, request, who, finding_id, order, if_match)

    return routes
