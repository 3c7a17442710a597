"""Interactions as they came, sealed: shown to a reviewer, searched for precedents, coded again. Opened through the vault only."""

from collections.abc import Sequence
from typing import Any

import orjson
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.events import bulk
from libs.events.catalogue.interactions import InteractionRecorded
from libs.events.envelope import Event
from libs.events.offload import in_turns
from services.classification import tables


async def store(connection: AsyncConnection, events: Sequence[Event], contacts: Sequence[InteractionRecorded]) -> None:
    """Keep these interactions. One that is there already stays."""
    if not events:
        return
    rows = [_kept(event, contact) for event, contact in zip(events, contacts, strict=True)]
    await bulk.write(connection, tables.sealed, rows, key=["interaction_id"], replaced=())


async def fetch(connection: AsyncConnection, interaction_ids: Sequence[str]) -> dict[str, Event]:
    """The events of these interactions; those from before they were kept are missing."""
    if not interaction_ids:
        return {}
    table = tables.sealed
    rows = await bulk.among(connection, select(table), table.c.interaction_id, dict.fromkeys(interaction_ids))
    return {row.interaction_id: event_of(row) async for row in in_turns(rows)}


def event_of(row: Any) -> Event:
    """The event as it was kept. Its place in intake's store is not needed again and not known here."""
    return Event(
        id=row.event_id,
        type=row.type,
        source="/lazo/intake",
        subject=f"interaction/{row.interaction_id}",
        streamversion=1,
        sequence=0,
        time=row.time,
        recordedtime=row.recordedtime,
        partitionkey=row.key,
        correlationid=row.correlationid,
        causationid=None,
        traceparent=row.traceparent,
        data=bytes(row.data),
    )


def erased(event: Event, opened: InteractionRecorded) -> bool:
    """Whether words came with it that nobody can open any more."""
    before = orjson.loads(event.data)  # a model would cost ten times as much, and these two fields keep their names
    return any(before.get(name) is not None and getattr(opened, name) is None for name in ("text", "subject"))


def words_of(contact: InteractionRecorded) -> str:
    """Subject and text; empty where there are none, or the person was erased."""
    return "\n".join(part for part in (contact.subject, contact.text) if part)


def _kept(event: Event, contact: InteractionRecorded) -> dict[str, Any]:
    return {
        "interaction_id": contact.interaction_id,
        "event_id": event.id,
        "type": event.type,
        "correlationid": event.correlationid,
        "traceparent": event.traceparent,
        "key": event.partitionkey,
        "time": event.time,
        "recordedtime": event.recordedtime,
        "data": event.data,
    }
