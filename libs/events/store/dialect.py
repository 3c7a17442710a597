"""The store's hot statements, in the words of each database.

Both take the rows of one transaction at once. On PostgreSQL one statement inserts, marks as unpublished and says what was
new (`ON CONFLICT DO NOTHING`, since a violation would abort the transaction). On SQLite the writer is alone from its BEGIN
IMMEDIATE on, so what is there is asked first, and positions are numbered here: `executemany` without RETURNING is three
times as fast as a VALUES list of changing length.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

import orjson
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.events.store.drafts import COLUMNS, Row, from_text_time, text_time

_NAMES = ", ".join(COLUMNS)
SELECT_EVENTS = f"SELECT position, {', '.join(COLUMNS[:-1])} FROM events"  # noqa: S608 - names of our own columns


Place = tuple[str, int, int]
"""Where the inbox keeps marks: source, home partition, chunk."""


class Dialect(Protocol):
    """One database's way of doing it."""

    def time(self, value: datetime) -> Any:
        """An instant as the driver wants it."""

    async def versions(
        self, connection: AsyncConnection, streams: Collection[str], ids: Collection[str]
    ) -> tuple[dict[str, int], set[str]]:
        """Current versions of the streams (absent: none), and which of the ids are there already."""

    async def insert(self, connection: AsyncConnection, rows: Sequence[Row]) -> dict[str, int]:
        """Append and mark as unpublished. Positions by id; an id is missing where (stream, version) or id was taken."""

    async def queue(self, connection: AsyncConnection, streams: Collection[str]) -> None:
        """Wait for others who also queue for these streams, until the end of the transaction."""

    async def firsts(
        self, connection: AsyncConnection, streams: Collection[str]
    ) -> dict[str, tuple[str, bytes | None, datetime]]:
        """Id, fingerprint and recordedtime of the first event of each stream that has one."""

    async def streams(self, connection: AsyncConnection, streams: Collection[str]) -> Sequence[Any]:
        """All events of the streams in the order of their versions."""

    async def marks(self, connection: AsyncConnection, group: str, places: Collection[Place]) -> dict[Place, bytes]:
        """The inbox's marks at these places (source, home, chunk); those without any are missing."""

    async def mark(self, connection: AsyncConnection, group: str, marks: Mapping[Place, bytes]) -> None:
        """Write the marks of these places."""


class Sqlite:
    def time(self, value: datetime) -> str:
        return text_time(value)

    async def versions(
        self, connection: AsyncConnection, streams: Collection[str], ids: Collection[str]
    ) -> tuple[dict[str, int], set[str]]:
        found: Any = await connection.exec_driver_sql(
            "SELECT stream, max(version) FROM events WHERE stream IN (SELECT value FROM json_each(?)) GROUP BY stream"
            " UNION ALL SELECT id, 0 FROM events WHERE id IN (SELECT value FROM json_each(?))",
            (_json(streams), _json(ids)),
        )
        return _split(found)

    async def insert(self, connection: AsyncConnection, rows: Sequence[Row]) -> dict[str, int]:
        last = (await connection.exec_driver_sql("SELECT coalesce(max(position), 0) FROM events")).scalar_one()
        numbered = [(last + index, *row) for index, row in enumerate(rows, start=1)]
        await connection.exec_driver_sql(
            f"INSERT INTO events (position, {_NAMES}) VALUES ({', '.join('?' * (len(COLUMNS) + 1))})",  # noqa: S608 - constants
            numbered,
        )
        await connection.exec_driver_sql(
            "INSERT INTO outbox (position) SELECT position FROM events WHERE position > ?", (last,)
        )
        return {row[1]: row[0] for row in numbered}

    async def queue(self, connection: AsyncConnection, streams: Collection[str]) -> None:
        return  # the writer is alone

    async def firsts(
        self, connection: AsyncConnection, streams: Collection[str]
    ) -> dict[str, tuple[str, bytes | None, datetime]]:
        found: Any = await connection.exec_driver_sql(
            "SELECT stream, id, fingerprint, recordedtime FROM events"
            " WHERE stream IN (SELECT value FROM json_each(?)) AND version = 1",
            (_json(streams),),
        )
        return {row[0]: (row[1], row[2], from_text_time(row[3])) for row in found}

    async def streams(self, connection: AsyncConnection, streams: Collection[str]) -> Sequence[Any]:
        found: Any = await connection.exec_driver_sql(
            SELECT_EVENTS + " WHERE stream IN (SELECT value FROM json_each(?)) ORDER BY stream, version",  # noqa: S608 - constants
            (_json(streams),),
        )
        rows: Sequence[Any] = found.all()
        return rows

    async def marks(self, connection: AsyncConnection, group: str, places: Collection[Place]) -> dict[Place, bytes]:
        found: Any = await connection.exec_driver_sql(
            "SELECT source, home, chunk, marks FROM json_each(?) AS place CROSS JOIN inbox ON consumer_group = ?"
            " AND source = json_extract(place.value, '$[0]') AND home = json_extract(place.value, '$[1]')"
            " AND chunk = json_extract(place.value, '$[2]')",
            (_json(places), group),
        )
        return {(row[0], row[1], row[2]): row[3] for row in found}

    async def mark(self, connection: AsyncConnection, group: str, marks: Mapping[Place, bytes]) -> None:
        await connection.exec_driver_sql(
            "INSERT INTO inbox (consumer_group, source, home, chunk, marks) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (consumer_group, source, home, chunk) DO UPDATE SET marks = excluded.marks",
            [(group, *place, value) for place, value in marks.items()],
        )


# SQLAlchemy's adapter for asyncpg sends lists as arrays; the casts say of what.
_TYPES = (
    "text", "text", "int", "text", "text", "int", "text", "timestamptz", "timestamptz", "text", "text", "text", "bytea", "bytea",
)  # fmt: skip
_UNNEST = ", ".join(f"${number}::{kind}[]" for number, kind in enumerate(_TYPES, start=1))
_INSERT = f"""
WITH fresh AS (
    INSERT INTO events ({_NAMES})
    SELECT {_NAMES} FROM unnest({_UNNEST}) WITH ORDINALITY AS t({_NAMES}, ord) ORDER BY ord
    ON CONFLICT DO NOTHING RETURNING position, id
), mark AS (INSERT INTO outbox (position) SELECT position FROM fresh)
SELECT id, position FROM fresh
"""  # noqa: S608 - names of our own columns


class Postgres:
    def time(self, value: datetime) -> datetime:
        return value

    async def versions(
        self, connection: AsyncConnection, streams: Collection[str], ids: Collection[str]
    ) -> tuple[dict[str, int], set[str]]:
        found: Any = await connection.exec_driver_sql(
            "SELECT stream, max(version) FROM events WHERE stream = ANY($1::text[]) GROUP BY stream"
            " UNION ALL SELECT id, 0 FROM events WHERE id = ANY($2::text[])",
            (list(streams), list(ids)),
        )
        return _split(found)

    async def insert(self, connection: AsyncConnection, rows: Sequence[Row]) -> dict[str, int]:
        found: Any = await connection.exec_driver_sql(
            _INSERT, tuple(list(column) for column in zip(*rows, strict=True))
        )
        return {row[0]: row[1] for row in found}

    async def queue(self, connection: AsyncConnection, streams: Collection[str]) -> None:
        await connection.exec_driver_sql(
            "SELECT pg_advisory_xact_lock(key) FROM (SELECT DISTINCT hashtextextended(stream, 0) AS key"
            " FROM unnest($1::text[]) AS stream ORDER BY 1) AS keys",
            (list(streams),),
        )

    async def firsts(
        self, connection: AsyncConnection, streams: Collection[str]
    ) -> dict[str, tuple[str, bytes | None, datetime]]:
        found: Any = await connection.exec_driver_sql(
            "SELECT stream, id, fingerprint, recordedtime FROM events WHERE stream = ANY($1::text[]) AND version = 1",
            (list(streams),),
        )
        return {row[0]: (row[1], row[2], row[3]) for row in found}

    async def streams(self, connection: AsyncConnection, streams: Collection[str]) -> Sequence[Any]:
        found: Any = await connection.exec_driver_sql(
            SELECT_EVENTS + " WHERE stream = ANY($1::text[]) ORDER BY stream, version", (list(streams),)
        )
        rows: Sequence[Any] = found.all()
        return rows

    async def marks(self, connection: AsyncConnection, group: str, places: Collection[Place]) -> dict[Place, bytes]:
        sources, homes, chunks = zip(*places, strict=True)
        found: Any = await connection.exec_driver_sql(
            "SELECT source, home, chunk, marks FROM unnest($2::text[], $3::int[], $4::bigint[]) AS place(source, home, chunk)"
            " JOIN inbox USING (source, home, chunk) WHERE consumer_group = $1",
            (group, list(sources), list(homes), list(chunks)),
        )
        return {(row[0], row[1], row[2]): row[3] for row in found}

    async def mark(self, connection: AsyncConnection, group: str, marks: Mapping[Place, bytes]) -> None:
        sources, homes, chunks = zip(*marks, strict=True)
        await connection.exec_driver_sql(
            "INSERT INTO inbox (consumer_group, source, home, chunk, marks)"
            " SELECT $1::text, * FROM unnest($2::text[], $3::int[], $4::bigint[], $5::bytea[])"
            " ON CONFLICT (consumer_group, source, home, chunk) DO UPDATE SET marks = excluded.marks",
            (group, list(sources), list(homes), list(chunks), list(marks.values())),
        )


def dialect_of(name: str) -> Dialect:
    """The statements for `engine.dialect.name`."""
    return Sqlite() if name == "sqlite" else Postgres()


def _json(values: Iterable[Any]) -> str:
    return orjson.dumps(list(values)).decode()


def _split(found: Iterable[Any]) -> tuple[dict[str, int], set[str]]:
    versions: dict[str, int] = {}
    ids: set[str] = set()
    for name, version in found:
        if version:
            versions[name] = version
        else:
            ids.add(name)
    return versions, ids
