"""Each service's Alembic history gives the tables that its code speaks to, on both databases."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import text

from libs.service.database import differences, make_engine, migrate
from libs.service.migration import NotMigrated, current, newest
from tests.service.toy.tables import metadata

LOCATION = Path(__file__).parent / "toy" / "migrations"


async def _migrated_and_compared(target: str) -> None:
    engine = make_engine(target, service="toy")
    try:
        assert (await _missing(engine)) == {table.name for table in metadata.sorted_tables}
        await migrate(engine, LOCATION)
        assert await differences(engine, metadata) == []
        assert await current(engine) == newest(LOCATION)
        await migrate(engine, LOCATION)
        assert await differences(engine, metadata) == []
    finally:
        await engine.dispose()


async def _missing(engine: object) -> set[str]:
    found = await differences(engine, metadata)  # type: ignore[arg-type]  # an AsyncEngine
    return {change[1].name for change in found if change[0] == "add_table"}


async def test_the_migrated_sqlite_database_has_the_tables_of_the_code(tmp_path: Path) -> None:
    await _migrated_and_compared(str(tmp_path / "toy.db"))


async def test_the_migrated_postgres_schema_has_the_tables_of_the_code(postgres_url: str) -> None:
    await _migrated_and_compared(postgres_url)


async def test_services_share_a_postgres_database_without_seeing_each_others_tables(postgres_url: str) -> None:
    toy, other = make_engine(postgres_url, service="toy"), make_engine(postgres_url, service="other")
    try:
        await migrate(toy, LOCATION)
        await migrate(other, LOCATION, service="other")
        async with toy.begin() as connection:
            await connection.execute(text("INSERT INTO things (name) VALUES ('mine')"))
        async with other.connect() as connection:
            assert (await connection.execute(text("SELECT count(*) FROM things"))).scalar_one() == 0
            schemas = await connection.execute(
                text("SELECT table_schema FROM information_schema.tables WHERE table_name = 'alembic_version'")
            )
            assert {row[0] for row in schemas} == {"toy", "other"}
    finally:
        await toy.dispose()
        await other.dispose()


async def test_instances_that_start_together_migrate_once(postgres_url: str) -> None:
    engines = [make_engine(postgres_url, service="toy") for _ in range(4)]
    try:
        await asyncio.gather(*(migrate(engine, LOCATION) for engine in engines))
        assert await differences(engines[0], metadata) == []
    finally:
        for engine in engines:
            await engine.dispose()


async def test_a_difference_between_code_and_history_is_seen(tmp_path: Path) -> None:
    engine = make_engine(tmp_path / "toy.db", service="toy")
    try:
        await migrate(engine, LOCATION)
        async with engine.begin() as connection:
            await connection.execute(text("ALTER TABLE things DROP COLUMN name"))
        found = await differences(engine, metadata)
        assert [(change[0], change[3].name) for change in found] == [("add_column", "name")]
    finally:
        await engine.dispose()


async def test_a_migration_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    location = tmp_path / "toy" / "migrations"
    (location / "versions").mkdir(parents=True)
    (location / "env.py").write_text((LOCATION / "env.py").read_text())
    (location / "versions" / "0001_half.py").write_text(
        "from alembic import op\nimport sqlalchemy as sa\n"
        'revision = "0001"\ndown_revision = None\nbranch_labels = None\ndepends_on = None\n'
        "def upgrade() -> None:\n"
        '    op.create_table("things", sa.Column("id", sa.Integer, primary_key=True))\n'
        '    raise RuntimeError("the power fails")\n'
    )
    engine = make_engine(tmp_path / "toy.db", service="toy")
    try:
        with pytest.raises(RuntimeError, match="the power fails"):
            await migrate(engine, location)
        async with engine.connect() as connection:
            assert (await connection.execute(text("SELECT name FROM sqlite_master"))).all() == []
    finally:
        await engine.dispose()


async def test_a_folder_without_migrations_is_refused_rather_than_taken_as_done(tmp_path: Path) -> None:
    engine = make_engine(tmp_path / "toy.db", service="toy")
    with pytest.raises(NotMigrated, match="holds no migrations"):
        await migrate(engine, tmp_path / "toy" / "migrations")
    await engine.dispose()


def test_the_next_revision_is_written_from_what_changed(tmp_path: Path) -> None:
    """In a process of its own: Alembic's proxies and the changed metadata are global."""
    location = tmp_path / "toy" / "migrations"
    (location / "versions").mkdir(parents=True)
    (location / "versions" / "0001_first_tables.py").write_text(
        (LOCATION / "versions" / "0001_first_tables.py").read_text()
    )
    script = f"""
import asyncio, sys
from pathlib import Path
from sqlalchemy import Column, Integer, Table
from tests.service.toy.tables import metadata
from libs.service.migration import write_revision
Table("more", metadata, Column("id", Integer, primary_key=True))
print(asyncio.run(write_revision(Path({str(location)!r}), "tests.service.toy.tables", "more things")))
"""
    subprocess.run([sys.executable, "-c", script], check=True, cwd=Path(__file__).parents[2], capture_output=True)
    written = (location / "versions" / "0002_more_things.py").read_text()
    assert "op.create_table(\n" in written or "op.create_table('more'" in written
    assert "down_revision: str | None = '0001'" in written
    assert written.count("create_table") == 1
