"""The rules under which SQLite and PostgreSQL are opened: without them updates are lost in silence (ADR: SQLite log)."""

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, OperationalError

from libs.events.engines import make_engine, reading, truncate_wal, writing


async def _pragma(target: Path, name: str) -> object:
    engine = make_engine(target, service="toy")
    try:
        async with reading(engine) as connection:
            return (await connection.execute(text(f"PRAGMA {name}"))).scalar_one()
    finally:
        await engine.dispose()


@pytest.mark.parametrize(
    ("name", "value"),
    [("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1), ("secure_delete", 1), ("busy_timeout", 10_000)],
)
async def test_a_sqlite_connection_follows_the_rules(tmp_path: Path, name: str, value: object) -> None:
    assert await _pragma(tmp_path / "x.db", name) == value


async def test_no_update_is_lost_between_writers_that_read_first(tmp_path: Path) -> None:
    """Two engines stand for two processes: the in-process queue does not help them, BEGIN IMMEDIATE does."""
    engines = [make_engine(tmp_path / "x.db", service="toy") for _ in range(2)]
    async with writing(engines[0]) as connection:
        await connection.execute(text("CREATE TABLE counter (n INTEGER)"))
        await connection.execute(text("INSERT INTO counter VALUES (0)"))

    async def add(number: int) -> None:
        async with writing(engines[number % 2]) as connection:
            value = (await connection.execute(text("SELECT n FROM counter"))).scalar_one()
            await asyncio.sleep(0.001)
            await connection.execute(text("UPDATE counter SET n = :n"), {"n": value + 1})

    await asyncio.gather(*(add(number) for number in range(40)))
    async with reading(engines[0]) as connection:
        assert (await connection.execute(text("SELECT n FROM counter"))).scalar_one() == 40
    for engine in engines:
        await engine.dispose()


async def _one_snapshot(target: str) -> None:
    engine = make_engine(target, service="public")
    try:
        async with writing(engine) as connection:
            await connection.execute(text("CREATE TABLE facts (n INTEGER)"))
        async with reading(engine) as connection:
            assert (await connection.execute(text("SELECT count(*) FROM facts"))).scalar_one() == 0
            async with writing(engine) as other:
                await other.execute(text("INSERT INTO facts VALUES (1)"))
            assert (await connection.execute(text("SELECT count(*) FROM facts"))).scalar_one() == 0
        async with reading(engine) as connection:
            assert (await connection.execute(text("SELECT count(*) FROM facts"))).scalar_one() == 1
    finally:
        await engine.dispose()


async def test_a_reader_sees_one_snapshot_on_sqlite(tmp_path: Path) -> None:
    await _one_snapshot(str(tmp_path / "x.db"))


async def test_a_reader_sees_one_snapshot_on_postgres(postgres_url: str) -> None:
    await _one_snapshot(postgres_url)


async def test_a_reader_cannot_write_on_postgres(postgres_url: str) -> None:
    engine = make_engine(postgres_url, service="public")
    try:
        with pytest.raises(DBAPIError, match="read-only"):
            async with reading(engine) as connection:
                await connection.execute(text("CREATE TABLE facts (n INTEGER)"))
    finally:
        await engine.dispose()


async def test_an_error_never_quotes_the_values_of_a_statement(tmp_path: Path) -> None:
    engine = make_engine(tmp_path / "x.db", service="toy")
    with pytest.raises(OperationalError) as caught:
        async with reading(engine) as connection:
            await connection.execute(text("SELECT * FROM nothing WHERE mail = :mail"), {"mail": "ana@example.com"})
    assert "ana@example.com" not in str(caught.value)
    await engine.dispose()


async def test_the_write_ahead_log_is_emptied_even_while_others_read_and_write(tmp_path: Path) -> None:
    engine = make_engine(tmp_path / "x.db", service="toy")
    async with writing(engine) as connection:
        await connection.execute(text("CREATE TABLE t (v TEXT)"))
        await connection.execute(text("INSERT INTO t VALUES ('secret words')"))
        await connection.execute(text("DELETE FROM t"))
    assert await truncate_wal(engine)
    assert (tmp_path / "x.db-wal").stat().st_size == 0
    assert b"secret words" not in (tmp_path / "x.db").read_bytes()
    await engine.dispose()


@pytest.mark.parametrize("target", ["mysql://root@localhost/x", "sqlite://", "sqlite:///:memory:"])
def test_what_is_no_file_and_no_postgres_is_refused(target: str) -> None:
    with pytest.raises(ValueError, match=r"support|files"):
        make_engine(target, service="toy")


@pytest.mark.parametrize("name", ["", "Intake", 'a"b', "a b", "1a"])
def test_a_service_name_that_could_break_a_schema_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        make_engine("postgresql://localhost/x", service=name)
