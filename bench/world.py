"""Lazo's own parts inside the measuring process: an environment on given engines, and events to fill a log with."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import orjson

from bench.lab import MASTER_KEY, Lab
from bench.payload import CHANNELS, KINDS, PLACES, PRODUCTS, TOUCHPOINTS
from libs.events.catalogue.classifications import InteractionClassified
from libs.events.catalogue.feedback import CaseOpened
from libs.events.catalogue.interactions import InteractionRecorded
from libs.events.chain import GENESIS, chained
from libs.events.envelope import Event, natural_id, unchained
from libs.events.log import Outgoing, TopicPartition, partition_of
from libs.service.environment import Environment
from libs.service.settings import Settings, load

SEALED = "lz1." + "QmVuY2htYXJrcyBob2xkIG5vYm9keSdzIHdvcmRz" * 5  # as long as a sealed sentence
Fact = InteractionRecorded | InteractionClassified | CaseOpened
START = datetime(2026, 1, 1, tzinfo=UTC)


@contextlib.asynccontextmanager
async def environment(lab: Lab, *, database: str, kafka: str, prefix: str) -> AsyncIterator[Environment]:
    """What `lazo` would open with these settings."""
    folder = lab.directory / f"in-process-{prefix}"
    folder.mkdir(exist_ok=True)
    opened = await Environment.open(
        load(Settings, data=Path(folder), database=database, kafka=kafka, kafka_prefix=prefix, master_key=MASTER_KEY)
    )
    try:
        await opened.topics_ready.wait()
        yield opened
    finally:
        await opened.close()


def facts(count: int) -> list[tuple[str, list[Fact]]]:
    """Contacts with what became of them: recorded, coded, opened as a case; each with its customer."""
    random = Random(4)
    made: list[tuple[str, list[Fact]]] = []
    for number in range(count):
        customer = f"cus_{natural_id('bench', str(random.randrange(20_000)))}"
        interaction, at = natural_id("interaction", "bench", str(number)), START + timedelta(seconds=37 * number)
        kind, channel = random.choice(KINDS), random.choice(CHANNELS)
        place = {
            "touchpoint": random.choice(TOUCHPOINTS),
            "product": random.choice(PRODUCTS),
            "location": random.choice(PLACES),
            "language": "es",
        }
        recorded = InteractionRecorded.model_validate(
            {
                "interaction_id": interaction, "external_id": f"b-{number}", "origin": "bench", "kind": kind,
                "channel": channel, "occurred_at": at, "customer_id": customer, "customer_name": SEALED[:60],
                "email": SEALED[:70], "text": SEALED, **place,
            }
        )  # fmt: skip
        coded = InteractionClassified.model_validate(
            {
                "interaction_id": interaction, "customer_id": customer, "occurred_at": at, "kind": kind,
                "channel": channel, "motive": f"billing.{random.randrange(12)}", "cause": f"process.{random.randrange(20)}",
                "component": "procedure", "expectation": "quality", "procedure": f"p-{random.randrange(8)}",
                "confidence": 0.83, "rulebook_version": 1, "model_version": "words-1", "origin": "bench",
                "evidence": [{"code": "billing", "term": "cobraron dos veces", "weight": 1.7}], **place,
            }
        )  # fmt: skip
        opened = CaseOpened.model_validate(
            {
                "case_id": natural_id("case", interaction), "interaction_id": interaction, "customer_id": customer,
                "kind": kind, "channel": channel, "origin": "bench", "received_at": at,
                "acknowledge_by": at + timedelta(days=1), "due_at": at + timedelta(days=15), "calendar": "CO",
                "term": {"amount": 15, "unit": "business-days", "regime": "telecom-co"}, "address": SEALED[:70],
                "reply_channel": channel, "language": "es",
            }
        )  # fmt: skip
        made.append((customer, [recorded, coded, opened]))
    return made


def records(found: Sequence[tuple[str, Sequence[Fact]]], partitions: int) -> list[Outgoing]:
    """The events as their services' relays would publish them, chained."""
    services = {"lazo.interactions": "intake", "lazo.classifications": "classification", "lazo.feedback": "feedback"}
    sequence = dict.fromkeys(services, 0)
    chains: dict[TopicPartition, str] = {}
    made = []
    for customer, several in found:
        for data in several:
            topic = data.TOPIC
            sequence[topic] += 1
            values = data.__pydantic_serializer__.to_python(data, mode="json", exclude_none=True)
            event_id = (
                values["interaction_id"]
                if topic == "lazo.interactions"
                else natural_id(data.TYPE, values["interaction_id"])
            )
            at = data.received_at if isinstance(data, CaseOpened) else data.occurred_at
            event = Event(
                event_id, data.TYPE, f"/lazo/{services[topic]}", f"bench/{event_id}", 1, sequence[topic], at,
                at + timedelta(seconds=1), customer, event_id, None, None, orjson.dumps(values),
            )  # fmt: skip
            tp = TopicPartition(topic, partition_of(customer.encode(), partitions))
            record, chains[tp] = chained(unchained(event, tp.topic, tp.partition), chains.get(tp, GENESIS))
            made.append(record)
    return made
