"""Many rows in one statement: the same table as row by row, on both databases."""

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Date,
    Float,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    insert,
    select,
    text,
)
from sqlalchemy.ext.asyncio import AsyncEngine

from libs.events import bulk
from libs.events.engines import make_engine
from libs.events.tables import UtcDateTime

metadata = MetaData()


def table_of(name: str) -> Table:
    return Table(
        name,
        metadata,
        Column("id", String, primary_key=True),
        Column("at", UtcDateTime, nullable=False),
        Column("day", Date),
        Column("number", Integer),
        Column("large", BigInteger),
        Column("small", SmallInteger),
        Column("share", Float),
        Column("yes", Boolean),
        Column("data", LargeBinary),
        Column("said", JSON),
        Column("order", String, server_default=text("'none'")),  # a word of SQL's own, left out of the rows
        Column("made", Integer, nullable=False, default=7),
    )


ONE_BY_ONE, AT_ONCE = table_of("one_by_one"), table_of("at_once")
BOGOTA = timezone(timedelta(hours=-5))


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
async def engine(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    target = tmp_path / "bulk.db" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    made = make_engine(target, service="bulk")
    async with made.begin() as connection:
        if made.dialect.name == "postgresql":
            await connection.execute(text("CREATE SCHEMA IF NOT EXISTS bulk"))
        await connection.run_sync(metadata.create_all)
    yield made
    await made.dispose()


def row(number: int, /, **given: Any) -> dict[str, Any]:
    filled: dict[str, Any] = {
        "id": f"ñ{number}",
        "at": datetime(2026, 1, 1, 12, tzinfo=BOGOTA) + timedelta(hours=number),
        "day": date(2026, 1, 1) + timedelta(days=number),
        "number": number,
        "large": 2**40 + number,
        "small": number % 7,
        "share": number / 3,
        "yes": number % 2 == 0,
        "data": bytes([0, 255, number]),
        "said": {"es": "sí", "list": [[1], {"a": None}]},
        "made": number,
    }
    empty = dict.fromkeys(("day", "number", "large", "small", "share", "yes", "data", "said"))
    return filled | (empty if number % 5 == 4 else {}) | given


async def found(engine: AsyncEngine, table: Table) -> list[dict[str, Any]]:
    async with engine.connect() as connection:
        return [dict(one) for one in (await connection.execute(select(table).order_by(table.c.id))).mappings()]


async def test_rows_written_at_once_are_what_they_are_one_by_one(engine: AsyncEngine) -> None:
    rows = [row(number) for number in range(20)]
    async with engine.begin() as connection:
        for one in rows:
            await connection.execute(insert(ONE_BY_ONE), one)
        await bulk.write(connection, AT_ONCE, rows)
        await bulk.write(connection, AT_ONCE, [])
    assert await found(engine, AT_ONCE) == await found(engine, ONE_BY_ONE)
    assert (await found(engine, AT_ONCE))[0]["at"] == datetime(2026, 1, 1, 17, tzinfo=UTC)


async def test_a_default_of_the_table_is_filled_in(engine: AsyncEngine) -> None:
    rows = [{name: value for name, value in row(number).items() if name != "made"} for number in range(10)]
    async with engine.begin() as connection:
        await bulk.write(connection, AT_ONCE, rows)
    assert {one["made"] for one in await found(engine, AT_ONCE)} == {7}


@pytest.mark.parametrize("size", [1, 10])
async def test_what_is_there_is_replaced_added_to_or_left(engine: AsyncEngine, size: int) -> None:
    before = [row(number) for number in range(size)]
    after = [row(number, number=1_000, large=5, small=3) for number in range(size)]
    async with engine.begin() as connection:
        await bulk.write(connection, AT_ONCE, before)
        await bulk.write(connection, AT_ONCE, after, key=["id"], replaced=())
    assert [one["number"] for one in await found(engine, AT_ONCE)] == [one["number"] for one in before]
    async with engine.begin() as connection:
        await bulk.write(connection, AT_ONCE, after, key=["id"], replaced=["number"], added=["made"])
    held = {one["id"]: one for one in await found(engine, AT_ONCE)}
    assert all(
        (held[one["id"]]["number"], held[one["id"]]["large"], held[one["id"]]["made"])
        == (1_000, one["large"], 2 * one["made"])
        for one in before
    )
    async with engine.begin() as connection:
        await bulk.write(connection, AT_ONCE, after, key=["id"])
    assert {(one["large"], one["small"]) for one in await found(engine, AT_ONCE)} == {(5, 3)}


async def test_rows_of_one_key_follow_each_other(engine: AsyncEngine) -> None:
    rows = [row(number % 5, number=number, made=1) for number in range(20)]
    async with engine.begin() as connection:
        await bulk.write(connection, AT_ONCE, rows, key=["id"], replaced=["number"], added=["made"])
    assert [(one["number"], one["made"]) for one in await found(engine, AT_ONCE)] == [
        (15, 4), (16, 4), (17, 4), (18, 4), (19, 4),
    ]  # fmt: skip
