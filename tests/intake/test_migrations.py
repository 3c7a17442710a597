"""Intake's Alembic history leads to the tables in the code."""

from __future__ import annotations

from libs.service.migration import differences
from libs.service.testing import Running
from services.intake.tables import metadata


async def test_the_migrated_database_has_the_tables_of_the_code(either: Running) -> None:
    assert await differences(either.environment.engine("intake"), metadata) == []
