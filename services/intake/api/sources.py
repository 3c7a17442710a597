"""Who may send: registering, changing, rotating secrets."""

import re
from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from starlette.responses import JSONResponse, Response

from libs.service.http.auth import require
from libs.service.http.idempotency import idempotent
from libs.service.http.paging import Paging, paging
from libs.service.http.problems import FieldError, Problem, Words, one_of
from libs.service.keys import Principal
from services.intake.adapters import ADAPTERS
from services.intake.api.answers import words_of
from services.intake.domain.faults import Refused
from services.intake.domain.sources import FORMS_ALIASES, INTERACTIONS_FORM, Source, checked
from services.intake.parts import Parts
from services.intake.sources import KEEP, Listed, NoSuchSource, NotSigned, SourceExists

_READ = Depends(require("intake:read"))
_ADMIN = Depends(require("intake:admin"))
_NOT_IN_ID = re.compile(r"[^a-z0-9._-]+")


class NewSource(BaseModel):
    """A sender to be admitted. Only `id` is needed."""

    model_config = ConfigDict(extra="forbid")

    id: str | None = Field(default=None, description="how it signs its facts")
    name: str | None = Field(default=None, max_length=200)
    form: str = INTERACTIONS_FORM
    active: bool = True
    region: str | None = None
    defaults: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _other_names(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        other = {"source": "id", "adapter": "form"}
        return {name if other.get(name, name) in given else other[name]: value for name, value in given.items()}

    @field_validator("form")
    @classmethod
    def _form(cls, value: str) -> str:
        return _known_form(value)


class Changes(BaseModel):
    """What may change; what is left out stays."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(max_length=200)] | None = None
    form: str | None = None
    active: bool | None = None
    region: str | None = None
    defaults: dict[str, str] | None = None

    @field_validator("form")
    @classmethod
    def _form(cls, value: str | None) -> str | None:
        return None if value is None else _known_form(value)


class Rotation(BaseModel):
    """`keep_hours`: how long the secrets that are live now go on being accepted; 0 ends them at once."""

    model_config = ConfigDict(extra="forbid")

    keep_hours: float = Field(default=KEEP.total_seconds() / 3600, ge=0, le=24 * 90)


def _known_form(value: str) -> str:
    form = FORMS_ALIASES.get(value, value)
    if form != INTERACTIONS_FORM and form not in ADAPTERS:
        raise ValueError(one_of([INTERACTIONS_FORM, *ADAPTERS]))
    return form


def router(parts: Parts) -> APIRouter:
    """`/intake/v1/sources…`."""
    routes = APIRouter(prefix="/intake/v1/sources", tags=["sources"])

    @routes.get("", summary="All sources", dependencies=[_READ])
    async def list_sources(pages: Annotated[Paging, Depends(paging)]) -> dict[str, Any]:
        # Some dozens at most: read whole, shown by the page.
        after = "" if pages.position is None else str(pages.position)
        found = [_shown(listed) for listed in await parts.sources.listed() if listed.source.id > after]
        return pages.page(found[: pages.limit + 1], lambda shown: shown["id"])

    @routes.get("/{id}", summary="One source", dependencies=[_READ])
    async def get_source(id: str) -> dict[str, Any]:
        return _shown(await _one(parts, id))

    @routes.post("", status_code=201, summary="Register a source")
    async def register(request: Request, new: NewSource, principal: Principal = _ADMIN) -> Response:
        """For a webhook the answer holds its `secret`, this once."""
        async with idempotent(request, principal, parts.store) as once:
            if once.stored is not None:
                return once.stored
            identity = new.id or _NOT_IN_ID.sub("-", (new.name or "").lower()).strip("-")[:64]
            source = _checked(
                Source(identity, new.name or identity, new.form, new.active, new.region, {}), new.defaults
            )
            try:
                secret = await parts.sources.register(source)
            except SourceExists:
                path = f"/intake/v1/sources/{identity}"
                detail = Words(
                    f"there is a source {identity} already; change it with PATCH {path}",
                    f"ya hay una fuente {identity}; cámbiela con PATCH {path}",
                )
                raise Problem(409, "conflict", detail, (FieldError("/id", "taken", detail),)) from None
            shown = _shown(await _one(parts, identity))
            if secret is not None:
                shown["secret"] = secret
                shown["webhook"] = f"/intake/v1/webhooks/{identity}"
            response = JSONResponse(shown, 201, {"Location": f"/intake/v1/sources/{identity}"})
            async with parts.store.unit() as unit:
                await once.keep(unit.connection, response)
            return response

    @routes.patch("/{id}", summary="Change a source", dependencies=[_ADMIN])
    async def change(id: str, changes: Changes) -> dict[str, Any]:
        """What was accepted before stays as it was."""
        before = (await _one(parts, id)).source
        given = changes.model_dump(exclude_unset=True)
        given = {name: value for name, value in given.items() if value is not None or name == "region"}
        defaults = given.pop("defaults", dict(before.defaults))
        after = Source(
            before.id,
            given.get("name", before.name),
            given.get("form", before.form),
            given.get("active", before.active),
            given.get("region", before.region),
            {},
        )
        after = _checked(after, defaults)
        await parts.sources.change(after)
        return _shown(await _one(parts, id))

    @routes.post("/{id}/rotate", summary="Hand out a new secret")
    async def rotate(
        request: Request, id: str, rotation: Rotation | None = None, principal: Principal = _ADMIN
    ) -> Response:
        """The new secret is shown this once; the ones before stay live for `keep_hours` (7 days)."""
        async with idempotent(request, principal, parts.store) as once:
            if once.stored is not None:
                return once.stored
            try:
                secret, until = await parts.sources.rotate(id, timedelta(hours=(rotation or Rotation()).keep_hours))
            except NoSuchSource:
                raise _unknown(id) from None
            except NotSigned:
                raise Problem(
                    409,
                    "conflict",
                    Words(
                        "only webhooks are signed; other sources authenticate by API key",
                        "solo se firman los webhooks; las demás fuentes se autentican con llave de API",
                    ),
                ) from None
            response = JSONResponse({"id": id, "secret": secret, "others_live_until": until.isoformat()})
            async with parts.store.unit() as unit:
                await once.keep(unit.connection, response)
            return response

    return routes


async def _one(parts: Parts, id: str) -> Listed:
    found = await parts.sources.listed(id)
    if not found:
        raise _unknown(id)
    return found[0]


def _unknown(id: str) -> Problem:
    return Problem(
        404,
        "not-found",
        Words(
            f"there is no source {id[:64]!r}; GET /intake/v1/sources lists them",
            f"no hay una fuente «{id[:64]}»; GET /intake/v1/sources las enumera",
        ),
    )


def _checked(source: Source, defaults: dict[str, str]) -> Source:
    try:
        return checked(source, defaults)
    except Refused as refusal:
        found = (FieldError(fault.pointer, fault.code, words_of(fault)) for fault in refusal.faults)
        raise Problem.fields(found) from None


def _shown(listed: Listed) -> dict[str, Any]:
    source = listed.source
    return {
        "id": source.id,
        "name": source.name,
        "form": source.form,
        "active": source.active,
        "region": source.region,
        "defaults": dict(source.defaults),
        "created_at": listed.created_at.isoformat(),
        "changed_at": listed.changed_at.isoformat(),
        "secrets": [
            {
                "id": secret.id,
                "created_at": secret.created_at.isoformat(),
                "expires_at": None if secret.expires_at is None else secret.expires_at.isoformat(),
            }
            for secret in listed.secrets
        ],
    }
