"""Many rows in one statement, made ready in pieces between which others have the event loop.

`execute(insert, rows)` sends PostgreSQL the rows one by one: parameters put together for each by SQLAlchemy, bound and
executed each by the server, with the index of each looked up anew. One statement over arrays of columns costs both sides a
third of that from ten rows on.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from operator import itemgetter
from typing import Any

import orjson
from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Dialect,
    Float,
    Integer,
    LargeBinary,
    Select,
    SmallInteger,
    String,
    Table,
    Text,
    TypeDecorator,
    any_,
    cast,
    func,
    select,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.events.offload import each

FEW = 3
"""Rows up to which they are sent one by one; a statement over arrays is planned each time."""
PIECE = 100
"""Rows whose values are made ready in one go. SQLAlchemy does that for all of them at once, 30-50 µs a row, which holds the event
loop for 20 ms of 500; here they take 5 µs each, and others are let in."""

_KINDS: tuple[tuple[type[Any], str], ...] = (  # subclasses before what they derive from
    (SmallInteger, "smallint"), (BigInteger, "bigint"), (Integer, "integer"), (Float, "double precision"),
    (Boolean, "boolean"), (DateTime, "timestamptz"), (Date, "date"), (LargeBinary, "bytea"), (String, "text"),
)  # fmt: skip

_Process = Callable[[Any], Any]


async def write(
    connection: AsyncConnection,
    table: Table,
    rows: Sequence[Mapping[str, Any]],
    *,
    key: Sequence[str] = (),
    replaced: Collection[str] | None = None,
    added: Collection[str] = (),
) -> None:
    """Insert rows, all of the same columns. With `key`, a row whose key is there gets the `replaced` columns of the new one
    (None: all but the key) and the sum of both in the `added` ones; with neither it stays as it is. Rows of one key follow
    each other as they stand."""
    if not rows:
        return
    names = tuple(rows[0])
    new = tuple(name for name in names if name not in key) if replaced is None else tuple(replaced)
    sqlite = connection.dialect.name == "sqlite"
    if len(rows) > FEW:
        made = _made(connection, (table, names, tuple(key), new, tuple(added)))
        if made is not None and (sqlite or _all_different(rows, key)):
            statement, processes = made
            columns: list[list[Any]] = []
            for name, process in zip(names, processes, strict=True):
                values = await each(itemgetter(name), rows, every=5 * PIECE)
                columns.append(values if process is None else await each(process, values, every=PIECE))
            given = list(zip(*columns, strict=True)) if sqlite else tuple(columns)
            await connection.exec_driver_sql(statement, given)
            return
    insert: Any = (sqlite_insert if sqlite else postgres_insert)(table)
    if key and (new or added):
        changes = {name: insert.excluded[name] for name in new}
        changes |= {name: table.c[name] + insert.excluded[name] for name in added}
        insert = insert.on_conflict_do_update(index_elements=list(key), set_=changes)
    elif key:
        insert = insert.on_conflict_do_nothing(index_elements=list(key))
    await connection.execute(insert, list(rows))


async def among(connection: AsyncConnection, query: Select[Any], column: Any, values: Collection[Any]) -> list[Any]:
    """The query's rows whose column, of text, has one of the values: sent as one, since SQLAlchemy takes 10 µs for each of a list."""
    if not values:
        return []
    if connection.dialect.name == "sqlite":
        given = func.json_each(orjson.dumps(list(values)).decode()).table_valued("value")
        condition = column.in_(select(given.c.value))
    else:
        condition = column == any_(cast(list(values), ARRAY(Text)))
    return list((await connection.execute(query.where(condition))).all())


async def rows_of(connection: AsyncConnection, query: Select[Any], piece: int = 1_000) -> list[Any]:
    """All rows of a query, made ready in pieces: SQLAlchemy takes 1-4 µs a row, which holds the event loop for 50 ms of 17,000."""
    result = await connection.stream(query)
    found: list[Any] = []
    async for part in result.partitions(piece):
        found += part
    return found


def _all_different(rows: Sequence[Mapping[str, Any]], key: Sequence[str]) -> bool:
    """PostgreSQL refuses to change one row twice in a statement."""
    return not key or len({tuple(row[name] for name in key) for row in rows}) == len(rows)


_Asked = tuple[Table, tuple[str, ...], tuple[str, ...], tuple[str, ...], tuple[str, ...]]


def _made(connection: AsyncConnection, asked: _Asked) -> tuple[str, list[_Process | None]] | None:
    """Made once for each connection of the pool, and gone with it: what a statement does with its values knows the engine, and
    would keep it, with all its connections, for as long as the module remembers it."""
    held: dict[_Asked, tuple[str, list[_Process | None]] | None] = connection.info.setdefault("lazo.bulk", {})
    if asked not in held:
        held[asked] = _statement(*asked, connection.dialect)
    return held[asked]


def _statement(
    table: Table,
    names: tuple[str, ...],
    key: tuple[str, ...],
    new: tuple[str, ...],
    added: tuple[str, ...],
    dialect: Dialect,
) -> tuple[str, list[_Process | None]] | None:
    """The statement, and what becomes of a value of each column before it is sent; None where SQLAlchemy has to do more
    than that: another type, or a default that it would fill in."""
    if any(column.default is not None and column.name not in names for column in table.columns):
        return None
    kinds = [_kind(table.columns[name]) for name in names]
    if None in kinds:
        return None
    quoted = {name: f'"{name}"' for name in table.columns.keys()}  # noqa: SIM118 - columns are no mapping
    listed = ", ".join(quoted[name] for name in names)
    # JSON goes as text, since its arrays have no codec.
    arrays = ", ".join(
        f"${number}::{'text' if kind == 'json' else kind}[]" for number, kind in enumerate(kinds, start=1)
    )
    taken = ", ".join(
        f"{quoted[name]}::json" if kind == "json" else quoted[name] for name, kind in zip(names, kinds, strict=True)
    )
    if dialect.name == "sqlite":
        head = f'INSERT INTO "{table.name}" ({listed}) VALUES ({", ".join("?" * len(names))})'  # noqa: S608 - our own names
    else:
        head = f'INSERT INTO "{table.name}" ({listed}) SELECT {taken} FROM unnest({arrays}) AS given({listed})'  # noqa: S608 - our own names
    statement = head
    if key:
        places = ", ".join(quoted[name] for name in key)
        set_ = [f"{quoted[name]} = excluded.{quoted[name]}" for name in new]
        set_ += [f'{quoted[name]} = "{table.name}".{quoted[name]} + excluded.{quoted[name]}' for name in added]
        changes = ", ".join(set_)
        statement += f" ON CONFLICT ({places}) DO " + (f"UPDATE SET {changes}" if changes else "NOTHING")
    processes: list[_Process | None] = [
        table.columns[name].type.dialect_impl(dialect).bind_processor(dialect) for name in names
    ]
    return statement, processes


def _kind(column: Column[Any]) -> str | None:
    kind = column.type
    if isinstance(kind, TypeDecorator):
        kind = kind.impl_instance
    if isinstance(kind, JSON):
        return "json"
    return next((name for one, name in _KINDS if isinstance(kind, one)), None)


__all__ = ["among", "rows_of", "write"]
