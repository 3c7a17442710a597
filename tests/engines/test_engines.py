"""The engines themselves: what the other tests take for granted."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Callable
from pathlib import Path

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from tests.conftest import Engines
from tests.engines.kafka import KafkaServer
from tests.engines.postgres import PostgresServer, create_database


def plain(url: str) -> str:
    return url.replace("+asyncpg", "")


async def test_each_call_gives_an_empty_database_of_its_own(fresh_postgres: Callable[[], str]) -> None:
    first, second = fresh_postgres(), fresh_postgres()
    assert first.startswith("postgresql+asyncpg://")
    connection = await asyncpg.connect(plain(first))
    await connection.execute("CREATE TABLE t (n int)")
    await connection.close()
    connection = await asyncpg.connect(plain(second))
    assert await connection.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0
    await connection.close()


async def test_an_acknowledged_commit_survives_killing_postgresql(own_postgres: PostgresServer) -> None:
    url = plain(create_database(own_postgres))
    connection = await asyncpg.connect(url)
    await connection.execute("CREATE TABLE t (n int)")
    await connection.execute("INSERT INTO t VALUES (7)")
    own_postgres.kill()
    with pytest.raises((asyncpg.PostgresConnectionError, asyncpg.InterfaceError, OSError)):
        await connection.fetchval("SELECT 1")
    own_postgres.start()
    connection = await asyncpg.connect(url)
    assert await connection.fetchval("SELECT n FROM t") == 7
    await connection.close()
    own_postgres.stop()
    own_postgres.start()


async def test_a_paused_postgresql_is_silent_and_resumes(own_postgres: PostgresServer) -> None:
    connection = await asyncpg.connect(own_postgres.url)
    own_postgres.pause()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(query := asyncio.ensure_future(connection.fetchval("SELECT 1"))), 0.5)
    own_postgres.resume()
    assert await query == 1
    await connection.close()


def test_a_broker_that_is_paused_answers_not_even_one_request_more(own_kafka: KafkaServer) -> None:
    for _ in range(20):
        own_kafka.pause()
        states = {
            stat.read_text().rpartition(") ")[2][0] for stat in Path(f"/proc/{own_kafka.pid}/task").glob("*/stat")
        }
        assert states == {"T"}  # every thread stands
        own_kafka.resume()


async def send_and_read(bootstrap: str, topic: str, value: bytes, expected: list[bytes]) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, enable_idempotence=True, acks="all")
    await producer.start()
    await producer.send_and_wait(topic, value, partition=0)
    await producer.stop()
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, isolation_level="read_committed", auto_offset_reset="none")
    await consumer.start()
    consumer.assign([TopicPartition(topic, 0)])
    consumer.seek(TopicPartition(topic, 0), 0)
    got: list[bytes] = []
    while len(got) < len(expected):
        got += [record.value for records in (await consumer.getmany(timeout_ms=1000)).values() for record in records]
    await consumer.stop()
    assert got == expected


async def create_topic(bootstrap: str, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(topic, 1, 1)])
    await admin.close()


async def test_an_acknowledged_record_survives_killing_kafka(own_kafka: KafkaServer) -> None:
    await create_topic(own_kafka.bootstrap, "t")
    await send_and_read(own_kafka.bootstrap, "t", b"before", [b"before"])
    own_kafka.kill()
    own_kafka.start()
    await send_and_read(own_kafka.bootstrap, "t", b"after", [b"before", b"after"])


async def test_the_broker_of_the_session_creates_no_topic_by_accident(kafka_bootstrap: str, topic_prefix: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_bootstrap)
    await admin.start()
    await admin.describe_topics([f"{topic_prefix}misspelt"])
    assert f"{topic_prefix}misspelt" not in await admin.list_topics()
    await admin.close()


def test_both_pairs_of_engines_are_chosen_by_environment_alone(engines: Engines) -> None:
    if engines.name == "embedded":
        assert set(engines.environment) == {"LAZO_DATA"}
    else:
        assert set(engines.environment) == {"LAZO_DATA", "LAZO_KAFKA", "LAZO_DATABASE", "LAZO_KAFKA_PREFIX"}


def test_the_browser_is_the_distributions(chromium: str) -> None:
    version = subprocess.run(
        [chromium, "--version", "--no-sandbox"], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    assert "Chrom" in version
