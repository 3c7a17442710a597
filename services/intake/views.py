"""Reads for the API: one interaction, opened, and its receipt."""

from collections.abc import Mapping
from typing import Any, cast

import orjson
from sqlalchemy import select

from libs.events.catalogue.interactions import InteractionRecorded
from libs.events.errors import is_transient
from libs.events.log import Log, Record, TopicPartition
from libs.events.sealing import opened
from libs.events.store import Store
from libs.events.store.drafts import events_of
from libs.events.vault import Vault


async def interaction(store: Store, vault: Vault, interaction_id: str) -> dict[str, Any] | None:
    """The interaction as it was accepted, personal fields in the clear; they are null once the person is erased."""
    async with store.reading() as connection:
        rows = await store.dialect.streams(connection, [f"interaction/{interaction_id}"])
    events = events_of(rows, store.source)
    if not events:
        return None
    data = cast("InteractionRecorded", (await opened(vault, events[:1]))[0])
    shown = data.model_dump(mode="json")
    shown["source"] = shown.pop("origin")
    shown["id"] = shown.pop("interaction_id")
    identifiers = shown.pop("identifiers") or {}
    shown["customer"] = {
        "customer_id": shown.pop("customer_id"),
        "name": shown.pop("customer_name"),
        "email": shown.pop("email"),
        "phone": shown.pop("phone"),
        "segment": shown.pop("segment"),
        "locale": shown.pop("locale"),
        "internal": shown.pop("internal"),
        **identifiers,
    }
    shown["recorded_at"] = events[0].recordedtime
    return shown


async def receipt(store: Store, vault: Vault, log: Log, interaction_id: str) -> dict[str, Any] | None:
    """What whoever sent an interaction can hold against us (G6): that we had it, when, and where it stands in the chain.

    `content_hash` is keyed: it proves equality to us without giving the content to others. `seal` covers the line above
    it, so that a receipt cannot be made up.
    """
    events, outbox = store.tables.events, store.tables.outbox
    async with store.reading() as connection:
        row = (
            await connection.execute(
                select(
                    events.c.id,
                    events.c.position,
                    events.c.recordedtime,
                    events.c.fingerprint,
                    events.c.topic,
                    events.c.partition,
                    events.c.data,
                    outbox.c.position.label("waiting"),
                )
                .outerjoin(outbox, outbox.c.position == events.c.position)
                .where(events.c.stream == f"interaction/{interaction_id}", events.c.version == 1)
            )
        ).first()
    if row is None:
        return None
    content = bytes(row.fingerprint or b"").hex()
    moment = row.recordedtime.isoformat()
    published: Mapping[str, Any] | None = None
    if row.waiting is None:
        published = await _place(log, TopicPartition(row.topic, row.partition), row.id, row.position)
    return {
        "id": row.id,
        "source": orjson.loads(row.data)["origin"],
        "recorded_at": moment,
        "content_hash": content,
        "position": row.position,
        "seal": vault.hash("receipt", row.id, moment, content, str(row.position)).hex(),
        "published": published,
    }


async def _place(log: Log, tp: TopicPartition, event_id: str, position: int) -> Mapping[str, Any] | None:
    """Topic, partition, offset and chain hash of a published event; None when the log cannot say now.

    Within a partition `sequence` rises, so the place is found by halving: 20 reads for a million records. Commits that
    finished late on PostgreSQL may stand a little further on; the neighbourhood is read for them.
    """
    try:
        low, high = 0, (await log.ends(tp.topic)).get(tp.partition, 0)
        while low < high:
            middle = (low + high) // 2
            found = await log.read(tp, middle, 1)
            if found and _sequence(found[0]) < position:
                low = found[0].offset + 1
            else:
                high = middle
        for start, stop in ((low, low + 1), (max(0, low - _NEAR), low + _NEAR)):
            place = start
            while place < stop and (records := await log.read(tp, place, _NEAR)):
                for record in records:
                    headers = dict(record.headers)
                    if headers.get("ce_id") == event_id.encode():
                        chain = headers.get("ce_chainhash")
                        return {
                            "topic": tp.topic,
                            "partition": tp.partition,
                            "offset": record.offset,
                            "chain_hash": None if chain is None else chain.decode(),
                        }
                place = records[-1].offset + 1
    except Exception as error:
        if not is_transient(error):
            raise
    return None


_NEAR = 100


def _sequence(record: Record) -> int:
    return int(dict(record.headers)["ce_sequence"])
