"""M3: the relay, store to Kafka, exactly once. Limit: the same records in bare transactions by `send_batch`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from aiokafka import AIOKafkaProducer

from bench.lab import Lab, note
from bench.payload import CHANNELS, KINDS, TEXTS
from bench.report import Bar, at_least, middle
from bench.world import environment
from libs.events import garbage
from libs.events.catalogue.interactions import InteractionRecorded
from libs.events.envelope import natural_id
from libs.events.log import Outgoing, Publisher
from libs.events.log_kafka import BATCH_BYTES
from libs.events.relay import Relay
from libs.events.runtime import Runtime
from libs.events.store import Draft
from libs.service.environment import Environment
from libs.service.migration import location_of

TRANSACTION = 3_000


class _Copying:
    """Passes everything on and keeps what was published, for the limit to publish it again."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self.records: list[Outgoing] = []

    async def start(self) -> None:
        await self._publisher.start()

    async def publish(self, records: Sequence[Outgoing]) -> list[int]:
        self.records += records
        return await self._publisher.publish(records)

    async def close(self) -> None:
        await self._publisher.close()


async def fill(runtime: Runtime, opened: Environment, count: int, first: int) -> None:
    """Store contacts through the group commit, sealed as always."""
    people = await opened.vault.resolve([{"source": "bench", "id": str(number)} for number in range(2_000)])
    now = opened.clock.now()
    for start in range(first, first + count, 1_000):
        drafts = []
        for number in range(start, start + 1_000):
            interaction = natural_id("interaction", "bench", str(number))
            data = InteractionRecorded.model_validate(
                {
                    "interaction_id": interaction, "external_id": str(number), "origin": "bench",
                    "kind": KINDS[number % len(KINDS)], "channel": CHANNELS[number % len(CHANNELS)],
                    "occurred_at": now, "customer_id": people[number % len(people)], "text": TEXTS[number % len(TEXTS)],
                }
            )  # fmt: skip
            drafts.append(Draft(f"interaction/{interaction}", data, data.customer_id, now, interaction))
        await runtime.group_commit.submit(drafts)


async def relayed(runtime: Runtime, opened: Environment) -> tuple[float, list[Outgoing]]:
    """Rows a second from the store to the log and marked, and what was published."""
    relay = Relay(runtime.store, opened.log, runtime.publishes, runtime.settings)
    publisher = _Copying(opened.log.publisher(relay.name))
    await publisher.start()
    try:
        await relay.recover()
        began = time.perf_counter()
        while await relay.step(publisher):
            pass
        return len(publisher.records) / (time.perf_counter() - began), publisher.records
    finally:
        await publisher.close()


async def bare(bootstrap: str, prefix: str, records: Sequence[Outgoing]) -> float:
    """The same bytes, the same producer, nothing else."""
    from aiokafka.codec import has_lz4

    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap, transactional_id=f"{prefix}bare", acks="all", max_batch_size=BATCH_BYTES,
        compression_type="lz4" if has_lz4() else None,
    )  # fmt: skip
    await producer.start()
    try:
        began = time.perf_counter()
        for start in range(0, len(records), TRANSACTION):
            await producer.begin_transaction()
            by_partition: dict[tuple[str, int], list[Outgoing]] = {}
            for record in records[start : start + TRANSACTION]:
                by_partition.setdefault((record.topic, record.partition), []).append(record)
            waiting: list[Any] = []
            for (topic, partition), found in by_partition.items():
                batch = producer.create_batch()
                for record in found:
                    given = {"timestamp": record.timestamp_ms, "key": record.key, "value": record.value}
                    if batch.append(**given, headers=list(record.headers)) is None:
                        batch.close()
                        waiting.append(await producer.send_batch(batch, prefix + topic, partition=partition))
                        batch = producer.create_batch()
                        batch.append(**given, headers=list(record.headers))
                batch.close()
                waiting.append(await producer.send_batch(batch, prefix + topic, partition=partition))
            await asyncio.gather(*waiting)
            await producer.commit_transaction()
        return len(records) / (time.perf_counter() - began)
    finally:
        await producer.stop()


async def measure(lab: Lab) -> list[Bar]:
    rounds, count = (1, 9_000) if lab.quick else (5, 30_000)
    kafka, prefix, other = lab.kafka(), lab.prefix(), lab.prefix()
    ours: list[float] = []
    limit: list[float] = []
    async with (
        environment(lab, database=lab.database(), kafka=kafka, prefix=prefix) as opened,
        environment(lab, database=lab.database(), kafka=kafka, prefix=other),
    ):
        await opened.migrate("intake", location_of("intake"))
        runtime = Runtime(
            service="intake", engine=opened.engine("intake"), log=opened.log, vault=opened.vault, clock=opened.clock
        )
        await runtime._learn_partitions()  # noqa: SLF001 - what `start` does first; relay and consumers are ours here
        garbage.settle()  # as in a process that serves; the limit is measured in the same process
        for number in range(rounds):
            await fill(runtime, opened, count, number * count)
            rate, records = await relayed(runtime, opened)
            ours.append(rate)
            limit.append(await bare(kafka, other, records))
            note(f"M3 relay {ours[-1]:,.0f}/s, bare {limit[-1]:,.0f}/s")
    return [at_least("M3", "relay, store to Kafka, against bare transactions", middle(ours), "1/s", 0.4, middle(limit))]


def run(lab: Lab) -> list[Bar]:
    return asyncio.run(measure(lab))
