"""One suite on SQLite and on PostgreSQL."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from libs.events.log_kafka import KafkaLog
from tests.events.world import World


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    database = None if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    async with World(tmp_path, database) as made:
        yield made


@pytest.fixture
async def sqlite_world(tmp_path: Path) -> AsyncIterator[World]:
    """For what only the embedded database has: one process, one file."""
    async with World(tmp_path, None) as made:
        yield made


@pytest.fixture
async def postgres_world(postgres_url: str, tmp_path: Path) -> AsyncIterator[World]:
    """For what only PostgreSQL has: several instances of a service, late commits."""
    async with World(tmp_path, postgres_url) as made:
        yield made


@pytest.fixture
async def real_world(
    postgres_url: str, kafka_bootstrap: str, topic_prefix: str, tmp_path: Path
) -> AsyncIterator[World]:
    """Apache Kafka and PostgreSQL."""
    async with World(tmp_path, postgres_url, KafkaLog(kafka_bootstrap, prefix=topic_prefix)) as made:
        yield made
