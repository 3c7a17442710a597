"""The SQLite connection that makes one trip per statement."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from libs.events.engines import make_engine, reading, writing


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncEngine:
    made = make_engine(tmp_path / "x.db", service="x", pool_size=2)
    async with writing(made) as connection:
        await connection.execute(text("CREATE TABLE t (n INTEGER)"))
    return made


async def test_a_writer_cancelled_while_it_begins_leaves_no_transaction_open(tmp_path: Path) -> None:
    """The thread comes to the BEGIN only after its caller was cancelled; every writer after it would wait in vain."""
    engine = make_engine(tmp_path / "x.db", service="x", pool_size=1)
    async with writing(engine) as connection:
        await connection.execute(text("CREATE TABLE t (n INTEGER)"))
        driver: Any = (await connection.get_raw_connection()).driver_connection

    async def write() -> None:
        async with writing(engine) as connection:
            await connection.execute(text("INSERT INTO t VALUES (1)"))

    busy = asyncio.create_task(driver.trip(lambda _: time.sleep(0.3)))  # a slow disk
    await asyncio.sleep(0.05)
    begun = asyncio.create_task(write())
    await asyncio.sleep(0.05)
    begun.cancel()
    await asyncio.wait([begun, busy])
    other = make_engine(tmp_path / "x.db", service="x")
    async with asyncio.timeout(5), writing(other) as connection:
        await connection.execute(text("INSERT INTO t VALUES (2)"))
    await write()
    async with reading(engine) as connection:
        assert (await connection.execute(text("SELECT count(*) FROM t"))).scalar_one() == 2
    await other.dispose()
    await engine.dispose()


async def test_large_results_come_whole_and_can_be_streamed(engine: AsyncEngine) -> None:
    async with writing(engine) as connection:
        await connection.exec_driver_sql("INSERT INTO t VALUES (?)", [(number,) for number in range(5_500)])
    async with reading(engine) as connection:
        assert len((await connection.execute(text("SELECT n FROM t"))).all()) == 5_500
        result = await connection.stream(text("SELECT n FROM t ORDER BY n"))
        assert [row.n async for rows in result.partitions(700) for row in rows] == list(range(5_500))
        result = await connection.stream(text("SELECT n FROM t ORDER BY n"))
        assert (await result.fetchone()) == (0,)
        await result.close()
        assert (await connection.execute(text("SELECT count(*) FROM t"))).scalar_one() == 5_500
    await engine.dispose()
