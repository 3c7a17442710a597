"""Fitted models in the database: which is in force, their files, and the fold of the stream that says so."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.events.catalogue.base import EventData
from libs.events.catalogue.models import (
    ModelFitted,
    ModelPromoted,
    ModelRolledBack,
    ModelShadowEnded,
    ModelShadowStarted,
)
from libs.events.offload import offload
from services.classification import tables
from services.classification.model_files import KeptCoder, Unreadable, read

STREAM = "models/main"
KEY = "models"


@dataclass(frozen=True, slots=True)
class Standing:
    """What follows from the stream: the models there are, the one in force, those before it, and the shadow."""

    fitted: tuple[str, ...] = ()
    live: str | None = None
    before: tuple[str | None, ...] = ()
    shadow: str | None = None
    promoted: ModelPromoted | None = None


def evolve(state: Standing, data: EventData) -> Standing:
    if isinstance(data, ModelFitted):
        return replace(state, fitted=(*state.fitted, data.model_id))
    if isinstance(data, ModelPromoted):
        return replace(state, live=data.model_id, before=(*state.before, state.live), promoted=data)
    if isinstance(data, ModelRolledBack):
        return replace(state, live=data.to, before=state.before[:-1], promoted=None)
    if isinstance(data, ModelShadowStarted):
        return replace(state, shadow=data.model_id)
    if isinstance(data, ModelShadowEnded):
        return replace(state, shadow=None)
    return state


def fold(events: Sequence[EventData]) -> Standing:
    state = Standing()
    for data in events:
        state = evolve(state, data)
    return state


def model_row(data: ModelFitted) -> dict[str, Any]:
    """The row of a model that decides nothing yet."""
    row = data.model_dump(exclude={"at"})
    return row | {"fitted_at": data.at, "live": False, "shadow": False, "promoted_at": None, "promoted_by": None}


# Asked with each batch, so put together once: half of what such a question costs here is putting it together.
_LIVE = select(tables.models.c.model_id).where(tables.models.c.live)
_SHADOW = select(tables.models.c.model_id).where(tables.models.c.shadow)


async def live_model(connection: AsyncConnection) -> str | None:
    """The model in force; None: words and the on-line learner decide."""
    found: str | None = (await connection.execute(_LIVE)).scalar_one_or_none()
    return found


async def shadow_model(connection: AsyncConnection) -> str | None:
    found: str | None = (await connection.execute(_SHADOW)).scalar_one_or_none()
    return found


async def opened_model(connection: AsyncConnection, model_id: str) -> KeptCoder:
    """The model, every byte checked against its manifest and the manifest against its id. Raises Unreadable."""
    files = await model_files(connection, model_id)
    kept = await offload(read, files, model_id)
    if kept.digest != model_id:
        raise Unreadable("changed", Path(model_id), file="manifest.json")
    return kept


async def model_files(connection: AsyncConnection, model_id: str) -> dict[str, bytes]:
    table = tables.model_files
    rows = await connection.execute(select(table.c.name, table.c.content).where(table.c.model_id == model_id))
    return {row.name: bytes(row.content) for row in rows}


async def keep_model(connection: AsyncConnection, data: ModelFitted, files: Mapping[str, bytes]) -> None:
    await connection.execute(insert(tables.models), [model_row(data)])
    rows = [{"model_id": data.model_id, "name": name, "content": content} for name, content in sorted(files.items())]
    await connection.execute(insert(tables.model_files), rows)


async def show_standing(connection: AsyncConnection, state: Standing) -> None:
    """Bring the rows' marks up to the stream."""
    table = tables.models
    await connection.execute(update(table).values(live=False, shadow=False).where(table.c.live | table.c.shadow))
    if state.live is not None:
        values: dict[str, Any] = {"live": True}
        if state.promoted is not None:
            values |= {"promoted_at": state.promoted.at, "promoted_by": state.promoted.by}
        await connection.execute(update(table).where(table.c.model_id == state.live).values(**values))
    if state.shadow is not None:
        await connection.execute(update(table).where(table.c.model_id == state.shadow).values(shadow=True))


def state_of(row: Mapping[str, Any]) -> str:
    """`live`, `shadow`, `retired` (decided once and does not now) or `candidate` (never decided)."""
    if row["live"]:
        return "live"
    if row["shadow"]:
        return "shadow"
    return "candidate" if row["promoted_at"] is None else "retired"


async def models(connection: AsyncConnection) -> list[dict[str, Any]]:
    """Every model, newest first, without its files."""
    table = tables.models
    rows = await connection.execute(select(table).order_by(table.c.fitted_at.desc(), table.c.model_id))
    return [_shown(row) for row in rows]


async def model(connection: AsyncConnection, model_id: str) -> dict[str, Any] | None:
    table = tables.models
    row = (await connection.execute(select(table).where(table.c.model_id == model_id))).one_or_none()
    return None if row is None else _shown(row)


def _shown(row: Any) -> dict[str, Any]:
    found = dict(row._mapping)  # noqa: SLF001  # the public way to a row's names
    return found | {"state": state_of(found)}


async def shadow_report(connection: AsyncConnection, model_id: str) -> dict[str, Any] | None:
    """What the shadow has said so far beside what was decided."""
    table = tables.shadows
    row = (await connection.execute(select(table).where(table.c.model_id == model_id))).one_or_none()
    return None if row is None else dict(row._mapping)  # noqa: SLF001  # the public way to a row's names
