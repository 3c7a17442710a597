"""Late commits on SQLite: as on PostgreSQL, a position may become visible after a higher one."""

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from libs.events.store.dialect import Sqlite
from libs.events.store.drafts import COLUMNS, Row


class Positions:
    """The sequence of one database, which outlives processes. `gaps` were drawn by transactions that are still open."""

    def __init__(self) -> None:
        self.skip = 0  # draw so many before the next transaction's
        self.fill = False  # the next transaction is one of the late ones
        self.gaps: list[int] = []


class LateSqlite(Sqlite):
    """The real statements, with numbers drawn as PostgreSQL draws them. Only for facts that begin a stream: a later version
    of one cannot be inserted, hence drew no number, before the earlier one was committed."""

    def __init__(self, positions: Positions) -> None:
        self._positions = positions

    async def insert(self, connection: AsyncConnection, rows: Sequence[Row]) -> dict[str, int]:
        drawn = self._positions
        first = all(row[2] == 1 for row in rows)
        if not first or not (drawn.skip or (drawn.fill and len(drawn.gaps) >= len(rows))):
            return await super().insert(connection, rows)
        if drawn.fill:
            numbers, drawn.gaps, drawn.fill = drawn.gaps[: len(rows)], drawn.gaps[len(rows) :], False
        else:
            found = await connection.exec_driver_sql("SELECT coalesce(max(position), 0) FROM events")
            last = int(found.scalar_one())
            drawn.gaps += range(last + 1, last + 1 + drawn.skip)
            numbers = list(range(last + 1 + drawn.skip, last + 1 + drawn.skip + len(rows)))
            drawn.skip = 0
        names = ", ".join(COLUMNS)
        await connection.exec_driver_sql(
            f"INSERT INTO events (position, {names}) VALUES ({', '.join('?' * (len(COLUMNS) + 1))})",  # noqa: S608
            [(number, *row) for number, row in zip(numbers, rows, strict=True)],
        )
        await connection.exec_driver_sql("INSERT INTO outbox (position) VALUES (?)", [(number,) for number in numbers])
        return {row[0]: number for number, row in zip(numbers, rows, strict=True)}
