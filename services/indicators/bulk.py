"""Many rows in one statement, doing nothing for those that are there already."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import BigInteger, Double, Integer, SmallInteger, Table
from sqlalchemy.ext.asyncio import AsyncConnection

Row = tuple[Any, ...]


def _array(column: Any) -> str:
    match column.type:
        case SmallInteger():
            return "smallint[]"
        case BigInteger():
            return "bigint[]"
        case Integer():
            return "integer[]"
        case Double():
            return "double precision[]"
        case _:
            return "text[]"


@lru_cache(maxsize=64)
def _postgres(table: Table) -> str:
    names = ", ".join(f'"{column.name}"' for column in table.columns)
    arrays = ", ".join(f"${number}::{_array(column)}" for number, column in enumerate(table.columns, 1))
    return f'INSERT INTO "{table.name}" ({names}) SELECT * FROM unnest({arrays}) ON CONFLICT DO NOTHING'  # noqa: S608 - our own names


@lru_cache(maxsize=64)
def _sqlite(table: Table) -> str:
    names = ", ".join(f'"{column.name}"' for column in table.columns)
    marks = ", ".join("?" * len(table.columns))
    return f'INSERT INTO "{table.name}" ({names}) VALUES ({marks}) ON CONFLICT DO NOTHING'  # noqa: S608 - our own names


async def insert(connection: AsyncConnection, table: Table, rows: Sequence[Row]) -> None:
    """Insert rows (all columns, in the table's order); one that is there already stays as it is.

    On PostgreSQL one `unnest` of column arrays: a round trip and one statement whatever the number of rows. Duplicates
    within the rows are harmless too.
    """
    if not rows:
        return
    if connection.dialect.name != "postgresql":
        await connection.exec_driver_sql(_sqlite(table), list(rows))
        return
    raw = await connection.get_raw_connection()
    driver: Any = raw.driver_connection
    if not driver.is_in_transaction():
        # SQLAlchemy begins with its first statement, not with ours, which would commit alone.
        await connection.exec_driver_sql("SELECT 1")
    await driver.execute(_postgres(table), *zip(*rows, strict=True))
