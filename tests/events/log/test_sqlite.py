"""The embedded log keeps every promise of the port, and a few of its own."""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from libs.events.log import Log, LogUnavailable, Outgoing, TopicPartition
from libs.events.log_sqlite import SqliteLog
from tests.events.log.behaviour import LogBehaviour
from tests.events.log.tools import Opener, all_of, outgoing

T0 = TopicPartition("facts", 0)


class TestSqliteLog(LogBehaviour):
    @pytest.fixture
    async def log(self, tmp_path: Path) -> AsyncIterator[Log]:
        log = SqliteLog(tmp_path / "log.db")
        await log.start()
        await log.ensure_topics({"facts": 2, "other": 1})
        yield log
        await log.stop()

    @pytest.fixture
    def another(self, tmp_path: Path) -> Opener:
        @asynccontextmanager
        async def opened() -> AsyncIterator[Log]:
            log = SqliteLog(tmp_path / "log.db")
            await log.start()
            yield log
            await log.stop()

        return opened


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[SqliteLog]:
    log = SqliteLog(tmp_path / "log.db")
    await log.start()
    await log.ensure_topics({"facts": 2})
    yield log
    await log.stop()


async def test_two_members_of_a_group_both_own_everything(log: SqliteLog) -> None:
    """The consumer's compare-and-set decides between them, as between zombies on Kafka."""
    publisher = log.publisher("intake")
    await publisher.start()
    await publisher.publish([outgoing(n) for n in range(3)])
    for _ in range(2):
        member = log.member("g", ["facts"])
        await member.start()
        await member.seek({T0: 0})
        assert len((await member.poll(10, 1))[T0]) == 3


async def test_what_was_published_survives_closing_and_opening(log: SqliteLog, tmp_path: Path) -> None:
    publisher = log.publisher("intake")
    await publisher.start()
    await publisher.publish([outgoing(1)])
    await log.stop()
    again = SqliteLog(tmp_path / "log.db")
    await again.start()
    assert len(await all_of(again, T0)) == 1
    assert await again.ends("facts") == {0: 1, 1: 0}
    await again.stop()


async def test_the_commit_is_durable_before_publish_returns(log: SqliteLog) -> None:
    """WAL with synchronous=FULL: 2 in SQLite's words. NORMAL (1) may lose the last commits with the power."""

    def settings(db: sqlite3.Connection) -> tuple[str, int, int]:
        return tuple(
            db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous", "secure_delete")
        )

    assert await log.write(settings) == ("wal", 2, 1)


async def test_offsets_are_never_given_twice_even_after_a_tail_was_cut_off(log: SqliteLog, tmp_path: Path) -> None:
    publisher = log.publisher("intake")
    await publisher.start()
    await publisher.publish([outgoing(n) for n in range(3)])
    with sqlite3.connect(tmp_path / "log.db") as db:
        db.execute('DELETE FROM records WHERE "offset" = 2')
    assert await publisher.publish([outgoing(3)]) == [3]


async def test_a_full_disk_publishes_nothing_and_says_so(log: SqliteLog) -> None:
    publisher = log.publisher("intake")
    await publisher.start()
    await publisher.publish([outgoing(1)])
    await log.write(
        lambda db: db.execute(f"PRAGMA max_page_count = {db.execute('PRAGMA page_count').fetchone()[0]}").fetchall()
    )
    large = [Outgoing("facts", 0, b"k", bytes(200_000), (), 1)] * 3
    with pytest.raises(LogUnavailable, match="full"):
        await publisher.publish(large)
    await log.write(lambda db: db.execute("PRAGMA max_page_count = 1000000").fetchall())
    await publisher.start()
    assert await publisher.publish(large) == [1, 2, 3]


async def test_a_writer_elsewhere_that_holds_the_file_is_waited_for_and_then_reported(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path / "log.db", busy_seconds=0.3)
    await log.start()
    await log.ensure_topics({"facts": 2})
    publisher = log.publisher("intake")
    await publisher.start()
    blocker = sqlite3.connect(tmp_path / "log.db", isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    with pytest.raises(LogUnavailable, match="locked"):
        await publisher.publish([outgoing(1)])
    blocker.execute("ROLLBACK")
    blocker.close()
    await publisher.start()
    await publisher.publish([outgoing(2)])
    assert [record.value for record in await all_of(log, T0)] == [b"2"]
    await log.stop()


async def test_a_file_that_is_no_log_is_refused(tmp_path: Path) -> None:
    (tmp_path / "log.db").write_bytes(b"this is not a database" * 100)
    log = SqliteLog(tmp_path / "log.db")
    with pytest.raises(LogUnavailable, match="not a database"):
        await log.start()


async def test_a_closed_log_says_so_to_those_who_wait(log: SqliteLog) -> None:
    member = log.member("g", ["facts"])
    await member.start()
    await member.seek({T0: 0})
    waiting = asyncio.create_task(member.poll(10, 10))
    await asyncio.sleep(0.05)
    await log.stop()
    with pytest.raises(LogUnavailable):
        await waiting


async def test_a_cancelled_poll_loses_nothing(log: SqliteLog) -> None:
    publisher = log.publisher("intake")
    await publisher.start()
    member = log.member("g", ["facts"])
    await member.start()
    await member.seek({T0: 0})
    received = []
    for n in range(50):
        poll = asyncio.create_task(member.poll(10, 10))
        await asyncio.sleep(0)
        publish = asyncio.create_task(publisher.publish([outgoing(n)]))
        await asyncio.sleep(0.0001 * (n % 10))
        poll.cancel()
        try:
            received += [record.value for records in (await poll).values() for record in records]
        except asyncio.CancelledError:
            pass
        await publish
    received += [record.value for record in (await member.poll(100, 1)).get(T0, [])]
    assert received == [b"%d" % n for n in range(50)]


@pytest.mark.slow
async def test_tens_of_thousands_of_records_a_second_pass(log: SqliteLog) -> None:
    """A floor, far below what an idle core does (33,000 a second in batches of 500, 50,000 read), that a mistake would break."""
    publisher = log.publisher("intake")
    await publisher.start()
    batch = [outgoing(n, n % 2, size=600) for n in range(500)]
    started = time.monotonic()
    for _ in range(40):
        await publisher.publish(batch)
    written = 20_000 / (time.monotonic() - started)
    started = time.monotonic()
    assert len(await all_of(log, T0, limit=500)) == 10_000
    read = 10_000 / (time.monotonic() - started)
    assert written > 4_000, written
    assert read > 6_000, read
