"""Engines and order for every test.

Fixtures that hand out real engines start them when first asked, once per session, and stop them at its end:

    postgres_server   the server (session)            postgres_url     a fresh, empty database (function)
    fresh_postgres    makes fresh databases on call   module_postgres_url   one database for a module
    kafka_server      the broker (session)            kafka_bootstrap  its `host:port` (session)
    topic_prefix      unique per test: brokers are shared, so topics must not be
    own_kafka, own_postgres   servers for one test alone, running, which it may kill, pause, stop and start
    engines           runs the test twice: `embedded` (SQLite, files) and `real` (Kafka + PostgreSQL)
    chromium          path of the browser
    shared_data       the collected public data sets beside the checkout

A test that uses one of them gets the matching marker by itself. What cannot be had skips with the reason; with CI=true it fails.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NoReturn

import pytest
from hypothesis import settings

from tests.engines.browser import browser_missing, find_chromium
from tests.engines.kafka import KafkaServer, kafka_missing
from tests.engines.memory import forgotten
from tests.engines.postgres import ExternalPostgres, PostgresServer, create_database, drop_database, postgres_missing

ROOT = Path(__file__).resolve().parents[1]

# No deadline per example: two busy cores make a quick example slow now and then. A red automatic check should be about the change,
# so there the examples are the same each time; everywhere else they are new each time, and a failing one is printed.
settings.register_profile("lazo", deadline=None, print_blob=True, derandomize=os.environ.get("CI") == "true")
settings.load_profile("lazo")

# An embedded commit waits for the disk: 1.7 ms here when idle, 8 ms with neighbours, a thousand times over; a new database of
# PostgreSQL is seven megabytes. Memory keeps what a killed process wrote just as well, so temporary directories, the servers' own
# among them, go there where there is room. A run holds less than two gigabytes at once.
MEMORY = Path("/dev/shm")
if MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > 4 * 1024**3:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))
    os.environ.setdefault("TMPDIR", str(MEMORY))
    tempfile.tempdir = None  # asked for again, now that the answer has changed

MARKERS = {
    "postgres": {"postgres_server", "postgres_url", "fresh_postgres", "module_postgres_url", "own_postgres"},
    "kafka": {"kafka_server", "kafka_bootstrap", "own_kafka"},
    "browser": {"chromium"},
}
# Quick answers first; tests that kill processes last. Workers that share a run begin at the other end: whoever is left with
# the last test keeps everybody waiting, so that had better be a short one.
WEIGHT = {"slow": 1, "postgres": 2, "kafka": 3, "browser": 4, "faults": 5}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark by the engines a test uses, and sort by weight; within a weight the order of the files stays."""
    for item in items:
        used = set(getattr(item, "fixturenames", ()))
        for marker, fixtures in MARKERS.items():
            if used & fixtures:
                item.add_marker(marker)
    items.sort(
        key=lambda item: max((weight for name, weight in WEIGHT.items() if item.get_closest_marker(name)), default=0),
        reverse="PYTEST_XDIST_WORKER" in os.environ,
    )


@pytest.fixture(autouse=True, scope="module")
def _forget() -> Iterator[None]:
    """What one module's tests left behind is no burden for the next one's."""
    yield
    forgotten()


def unavailable(reason: str) -> NoReturn:
    """Skip with the reason; where CI promised every engine, fail."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI=true promises every engine, but: {reason}", pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer | ExternalPostgres]:
    """A server where databases may be created: a private one, or LAZO_TEST_POSTGRES."""
    if external := os.environ.get("LAZO_TEST_POSTGRES"):
        yield ExternalPostgres(external)
        return
    if reason := postgres_missing():
        unavailable(reason)
    with PostgresServer() as server:
        yield server


@pytest.fixture
def fresh_postgres(postgres_server: PostgresServer | ExternalPostgres) -> Iterator[Callable[[], str]]:
    """Call it for the URL (`postgresql+asyncpg://…`) of a new empty database; all are dropped after the test."""
    made: list[str] = []

    def make() -> str:
        made.append(create_database(postgres_server))
        return made[-1]

    yield make
    for url in made:
        drop_database(postgres_server, url)


@pytest.fixture
def postgres_url(fresh_postgres: Callable[[], str]) -> str:
    """A new empty database for this test: `postgresql+asyncpg://…`."""
    return fresh_postgres()


@pytest.fixture(scope="module")
def module_postgres_url(postgres_server: PostgresServer | ExternalPostgres) -> Iterator[str]:
    """One database for all tests of a module, where they can share it."""
    url = create_database(postgres_server)
    yield url
    drop_database(postgres_server, url)


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    """A running server for this test alone, to be killed, paused, stopped and started."""
    if reason := postgres_missing():
        unavailable(reason)
    with PostgresServer() as server:
        yield server


@pytest.fixture(scope="session")
def kafka_server() -> Iterator[KafkaServer]:
    """The broker of the session. Tests share it: use `topic_prefix`, and never kill it."""
    if reason := kafka_missing():
        unavailable(reason)
    with KafkaServer() as server:
        yield server


@pytest.fixture(scope="session")
def kafka_bootstrap(request: pytest.FixtureRequest) -> str:
    """`host:port` of a broker: the session's own, or LAZO_TEST_KAFKA."""
    if external := os.environ.get("LAZO_TEST_KAFKA"):
        return external
    server: KafkaServer = request.getfixturevalue("kafka_server")
    return server.bootstrap


@pytest.fixture
def own_kafka() -> Iterator[KafkaServer]:
    """A running broker for this test alone, to be killed, paused, stopped and started; six seconds each time."""
    if reason := kafka_missing():
        unavailable(reason)
    with KafkaServer() as server:
        yield server


@pytest.fixture
def topic_prefix() -> str:
    """A prefix for topics, groups and transactional ids that no other test uses."""
    return f"t{uuid.uuid4().hex[:12]}."


@dataclass(frozen=True)
class Engines:
    """The pair of engines a test runs on. `kafka` and `database` are None in embedded mode: everything is files under `data`."""

    name: Literal["embedded", "real"]
    data: Path
    kafka: str | None
    database: str | None
    topic_prefix: str

    @property
    def environment(self) -> dict[str, str]:
        """The LAZO_… variables that choose these engines for a child process."""
        chosen = {"LAZO_DATA": str(self.data), "LAZO_KAFKA": self.kafka, "LAZO_DATABASE": self.database}
        if self.kafka is not None:
            chosen["LAZO_KAFKA_PREFIX"] = self.topic_prefix
        return {name: value for name, value in chosen.items() if value is not None}


@pytest.fixture(params=["embedded", pytest.param("real", marks=[pytest.mark.postgres, pytest.mark.kafka])])
def engines(request: pytest.FixtureRequest, tmp_path: Path, topic_prefix: str) -> Engines:
    """Both pairs of engines, one after the other: one text of a test holds on both."""
    if request.param == "embedded":
        return Engines("embedded", tmp_path, None, None, "")
    database = request.getfixturevalue("postgres_url")
    bootstrap = request.getfixturevalue("kafka_bootstrap")
    return Engines("real", tmp_path, bootstrap, database, topic_prefix)


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path for `executable_path`; start it with `--no-sandbox` when running as root."""
    if reason := browser_missing():
        unavailable(reason)
    return str(find_chromium())


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The collected public data sets: `../shared/data`, or LAZO_SHARED_DATA. They are no part of the repository, so they may be absent."""
    path = Path(os.environ.get("LAZO_SHARED_DATA") or ROOT.parent / "shared" / "data")
    if not path.is_dir():
        pytest.skip("the public data sets are not beside this checkout; LAZO_SHARED_DATA may name their directory")
    return path
