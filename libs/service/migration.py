"""Each service's Alembic history: run, compared with the tables in the code, written.

`services/<x>/migrations/env.py` is three lines::

    from libs.service.migration import run
    from services.<x>.tables import metadata
    run(metadata)

`python -m libs.service.migration <x> "what changes"` writes the next revision: the difference between a database migrated
to the newest revision and the tables in the code, as explicit operations, to be read before it is committed.
"""

import argparse
import asyncio
import importlib
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import Connection, MetaData, TypeDecorator, text
from sqlalchemy.ext.asyncio import AsyncEngine

from libs.events.engines import make_engine

if TYPE_CHECKING:
    from alembic.config import Config  # Alembic brings Mako and Pygments: 0.3 s, which `lazo keys` need not wait for

TEMPLATE = '''"""${message}"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
${chr(10) + imports if imports else ""}
revision: str = ${repr(up_revision)}
down_revision: str | None = ${repr(down_revision)}
branch_labels: str | Sequence[str] | None = ${repr(branch_labels)}
depends_on: str | Sequence[str] | None = ${repr(depends_on)}


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    ${downgrades if downgrades else "pass"}
'''


class NotMigrated(RuntimeError):
    """The database has none of the tables, or those of a newer version of the program."""


def location_of(service: str) -> Path:
    """The folder of a service's migrations."""
    package = importlib.import_module(f"services.{service}")
    assert package.__file__ is not None
    return Path(package.__file__).parent / "migrations"


def _config(location: Path, connection: Connection | None = None) -> "Config":
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(location).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def run(metadata: MetaData) -> None:
    """What an `env.py` does: migrate over the connection that `migrate` opened, in its transaction."""
    from alembic import context

    connection = context.config.attributes.get("connection")
    if connection is None:
        raise RuntimeError("run migrations with `lazo migrate`")
    context.configure(
        connection=connection,
        target_metadata=metadata,
        render_as_batch=True,  # SQLite cannot alter most things in place
        compare_type=True,
        transactional_ddl=True,  # SQLite too: the transaction is begun by us, not late by the driver
        include_object=_ours(metadata),
        render_item=_render,
    )
    with context.begin_transaction():
        context.run_migrations()


def _ours(metadata: MetaData) -> Any:
    def include(item: Any, name: str | None, kind: str, reflected: bool, compare_to: Any) -> bool:
        # Tables made at run time (a projection's slots, full-text shadows) are their makers' business.
        return not (kind == "table" and reflected and name not in metadata.tables)

    return include


def _render(kind: str, item: Any, autogen: Any) -> str | Literal[False]:
    if kind == "type" and isinstance(item, TypeDecorator):
        module = type(item).__module__
        autogen.imports.add(f"import {module}")
        return f"{module}.{type(item).__name__}()"
    return False


async def migrate(
    engine: AsyncEngine, location: Path | str, *, service: str | None = None, revision: str = "head"
) -> None:
    """Bring the engine's database to `revision`, all or nothing; instances that start together wait for one another.

    `location` is the folder with the Alembic scripts. On PostgreSQL the schema (`service`, else the engine's own) is made.
    """
    location = Path(location)
    if not (location / "env.py").exists() or newest(location) is None:
        raise NotMigrated(f"{location} holds no migrations (python -m libs.service.migration {location.parent.name} …)")
    name = service or location.parent.name
    migrating = make_engine(engine.url.render_as_string(hide_password=False), service=name, for_migrations=True)
    try:
        async with migrating.begin() as connection:
            if migrating.dialect.name == "postgresql":
                await connection.execute(
                    text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))"), {"name": f"lazo-migrate-{name}"}
                )
                await connection.execute(text(f'CREATE SCHEMA IF NOT EXISTS "{name}"'))
            await connection.run_sync(_upgrade, location, revision)
            if migrating.dialect.name == "sqlite":
                broken = (await connection.exec_driver_sql("PRAGMA foreign_key_check")).fetchall()
                if broken:
                    raise NotMigrated(f"the migration left {len(broken)} dangling references, first in {broken[0][0]}")
    finally:
        await migrating.dispose()


def _upgrade(connection: Connection, location: Path, revision: str) -> None:
    from alembic import command

    command.upgrade(_config(location, connection), revision)


async def current(engine: AsyncEngine) -> str | None:
    """The revision the database stands at; None while it has none."""
    from alembic.runtime.migration import MigrationContext

    def read(connection: Connection) -> str | None:
        return MigrationContext.configure(connection).get_current_revision()

    async with engine.connect() as connection:
        return await connection.run_sync(read)


def newest(location: Path) -> str | None:
    """The newest revision in the code."""
    from alembic.script import ScriptDirectory

    return ScriptDirectory.from_config(_config(location)).get_current_head()


async def differences(engine: AsyncEngine, metadata: MetaData) -> list[Any]:
    """What separates the migrated database from the tables in the code; empty when they agree."""
    from alembic.autogenerate import compare_metadata
    from alembic.runtime.migration import MigrationContext

    def compare(connection: Connection) -> list[Any]:
        migration = MigrationContext.configure(
            connection, opts={"compare_type": True, "include_object": _ours(metadata)}
        )
        return list(compare_metadata(migration, metadata))

    async with engine.connect() as connection:
        return await connection.run_sync(compare)


async def write_revision(location: Path, tables: str, message: str) -> Path:
    """Write the next revision into `location` from the difference between its history and the `metadata` in the module
    `tables`; returns the file."""
    versions = location / "versions"
    versions.mkdir(parents=True, exist_ok=True)
    env = location / "env.py"
    if not env.exists():
        env.write_text(f"from libs.service.migration import run\nfrom {tables} import metadata\n\nrun(metadata)\n")
    service = location.parent.name
    with tempfile.TemporaryDirectory() as folder:
        template = Path(folder) / "script.py.mako"
        template.write_text(TEMPLATE)
        engine = make_engine(Path(folder) / "empty.db", service=service, for_migrations=True)
        number = len(list(versions.glob("[0-9]*.py"))) + 1
        try:
            if number > 1:
                await migrate(engine, location, service=service)
            async with engine.begin() as connection:
                await connection.run_sync(_revision, location, Path(folder), message, f"{number:04d}")
        finally:
            await engine.dispose()
    written = next(iter(versions.glob(f"{number:04d}_*.py")))
    lines = [line for line in written.read_text().splitlines() if not line.strip().startswith("# ### ")]
    written.write_text("\n".join(lines) + "\n")
    return written


def _revision(connection: Connection, location: Path, templates: Path, message: str, number: str) -> None:
    from alembic import command

    config = _config(location, connection)
    config.set_main_option("file_template", "%%(rev)s_%%(slug)s")
    mako = location / "script.py.mako"
    borrowed = not mako.exists()
    if borrowed:  # Alembic looks for its template among the scripts; it is the same for every service
        mako.write_text((templates / "script.py.mako").read_text())
    try:
        command.revision(config, message=message, autogenerate=True, rev_id=number)
    finally:
        if borrowed:
            mako.unlink()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m libs.service.migration", description="Write a service's next revision."
    )
    parser.add_argument("service")
    parser.add_argument("message")
    parser.add_argument(
        "--anew", action="store_true", help="write the whole history as one revision; before a release only"
    )
    given = parser.parse_args(arguments)
    location = location_of(given.service)
    if given.anew:
        for old in (location / "versions").glob("[0-9]*.py"):
            old.unlink()
    path = asyncio.run(write_revision(location, f"services.{given.service}.tables", given.message))
    sys.stdout.write(f"{path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
