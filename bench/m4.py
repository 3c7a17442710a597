"""M4: rebuild the indicators' read model from the log, on PostgreSQL.

Limit: consume, parse the JSON, COPY a row per event, one grouped upsert per batch of 5,000. Peers: FastStream and Quix
Streams with an upsert per event. The rebuild itself reads envelopes, keeps the inbox, and writes the full rows of the read
model with all their keys and indexes.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from datetime import datetime

import asyncpg
import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition

from bench.lab import Lab, note
from bench.m2 import plain
from bench.report import Bar, at_least, middle, than_peers, told
from bench.world import environment, facts, records
from libs.events.log_kafka import KafkaLog
from libs.events.runtime import Runtime
from libs.service.migration import location_of
from services.indicators.projection import projection

BATCH = 5_000
TOPICS = ("lazo.interactions", "lazo.classifications", "lazo.feedback")


async def publish(log: KafkaLog, contacts: int) -> int:
    """Fill the log; how many events."""
    partitions = await log.partitions(TOPICS[0])
    made = records(facts(contacts), partitions)
    publisher = log.publisher("bench-filler")
    await publisher.start()
    try:
        for start in range(0, len(made), 3_000):
            await publisher.publish(made[start : start + 3_000])
    finally:
        await publisher.close()
    return len(made)


async def rebuilt(lab: Lab, kafka: str, prefix: str, *, again: bool) -> tuple[float, float]:
    """Events a second of a first build, and (with `again`) of a second one that is compared with the first."""
    async with environment(lab, database=lab.database(), kafka=kafka, prefix=prefix) as opened:
        await opened.migrate("indicators", location_of("indicators"))
        runtime = Runtime(
            service="indicators", engine=opened.engine("indicators"), log=opened.log, vault=opened.vault,
            clock=opened.clock, projections=[projection()],
        )  # fmt: skip
        began = time.perf_counter()
        outcome = await runtime.rebuild("facts")
        first = outcome.events / (time.perf_counter() - began)
        if not again:
            return first, 0.0
        began = time.perf_counter()
        outcome = await runtime.rebuild("facts")
        if not outcome.agrees:
            raise RuntimeError("two builds from one log do not agree")
        return first, outcome.events / (time.perf_counter() - began)


async def bare(database: str, kafka: str, prefix: str, events: int) -> float:
    """What any consumer of this log with one grouped write per batch could reach."""
    connection = await asyncpg.connect(database)
    await connection.execute(
        'CREATE TABLE bare (id text COLLATE "C" PRIMARY KEY, type text, key text, at timestamptz, kind text, channel text,'
        " motive text)"
    )
    await connection.execute(
        "CREATE TABLE counts (day date, type text, channel text, n bigint, PRIMARY KEY (day, type, channel))"
    )
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka, enable_auto_commit=False, auto_offset_reset="earliest", isolation_level="read_committed",
        fetch_max_bytes=8 * 1024 * 1024, max_partition_fetch_bytes=4 * 1024 * 1024,
    )  # fmt: skip
    await consumer.start()
    try:
        found = [(topic, await _partitions(consumer, prefix + topic)) for topic in TOPICS]
        consumer.assign([TopicPartition(prefix + topic, number) for topic, count in found for number in range(count)])
        await consumer.seek_to_beginning()
        seen = 0
        held = []
        began = time.perf_counter()
        while seen < events:
            for several in (await consumer.getmany(timeout_ms=100, max_records=BATCH)).values():
                held += several
            while len(held) >= BATCH or (held and seen + len(held) >= events):
                batch, held = held[:BATCH], held[BATCH:]
                await _fold(connection, batch)
                seen += len(batch)
        return seen / (time.perf_counter() - began)
    finally:
        await consumer.stop()
        await connection.close()


async def _partitions(consumer: AIOKafkaConsumer, topic: str) -> int:
    await consumer._client.add_topic(topic)  # noqa: SLF001 - otherwise metadata comes with the first subscription only
    await consumer._client.force_metadata_update()  # noqa: SLF001 - as above
    return len(consumer.partitions_for_topic(topic) or ())


async def _fold(connection: asyncpg.Connection, batch: list[AIOKafkaConsumer]) -> None:
    rows = []
    for record in batch:
        data = orjson.loads(record.value)
        at = datetime.fromisoformat(data.get("occurred_at") or data["received_at"])
        identity = record.topic + data["interaction_id"]
        rows.append(
            (identity, record.topic, data["customer_id"], at, data["kind"], data["channel"], data.get("motive"))
        )
    counted = Counter((row[3].date(), row[1], row[5]) for row in rows)
    async with connection.transaction():
        await connection.copy_records_to_table("bare", records=rows)
        await connection.execute(
            "INSERT INTO counts SELECT * FROM unnest($1::date[], $2::text[], $3::text[], $4::bigint[])"
            " ON CONFLICT (day, type, channel) DO UPDATE SET n = counts.n + excluded.n",
            *map(list, zip(*[(*place, number) for place, number in counted.items()], strict=True)),
        )


async def measure(lab: Lab) -> list[Bar]:
    rounds, contacts = (1, 7_000) if lab.quick else (3, 50_000)
    kafka, prefix = lab.kafka(), lab.prefix()
    seen: dict[str, list[float]] = {}
    async with environment(lab, database=lab.database(), kafka=kafka, prefix=prefix) as opened:
        assert isinstance(opened.log, KafkaLog)
        events = await publish(opened.log, contacts)
    note(f"M4 {events} events in the log")
    sample = str(2_000 if lab.quick else 10_000)
    for number in range(rounds):
        first, second = await rebuilt(lab, kafka, prefix, again=number == 0)
        seen.setdefault("rebuild", []).append(first)
        if second:
            seen.setdefault("compared", []).append(second)
        seen.setdefault("bare", []).append(await bare(plain(lab.database()), kafka, prefix, events))
        for name in ("faststream", "quixstreams"):
            found = await asyncio.to_thread(
                lab.peer, f"{name}_upsert.py", "--kafka", kafka, "--topic", prefix + TOPICS[0], "--group",
                f"{prefix}{name}-{number}", "--url", plain(lab.database()), "--events", sample,
            )  # fmt: skip
            if found is not None:
                seen.setdefault(name, []).append(found["rate"])
        note("M4 " + ", ".join(f"{name} {found[-1]:,.0f}/s" for name, found in seen.items()))
    rate = {name: middle(found) for name, found in seen.items()}
    peers: dict[str, float] = {name: rate[name] for name in ("faststream", "quixstreams") if name in rate}
    absent = [name for name in ("faststream", "quixstreams") if name not in rate]
    return [
        at_least("M4", "rebuild the indicators from the log against bare fold", rate["rebuild"], "1/s", 0.4, rate["bare"], peers=peers),
        than_peers("M4.peer", "rebuild against an upsert per event", rate["rebuild"], "1/s", 10, peers, absent),
        told(
            "M4.compared", "rebuild with the comparison of both slots", rate["compared"], "1/s", limit=rate["bare"],
            note="the digests of live and rebuilt rows are part of it",
        ),
    ]  # fmt: skip


def run(lab: Lab) -> list[Bar]:
    return asyncio.run(measure(lab))
