"""Late commits on SQLite: as on PostgreSQL, a position may become visible after a higher one."""

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from libs.events.store.dialect import Sqlite
from libs.events.store.drafts import COLUMNS, Row


class Positions:
    """The sequence of one database, which outlives processes. `gaps` were drawn by transactions that are still open."""

    def __init__(self) -> None:
        self.skip = 0  # others draw so many before the next transaction
        self.fill = False  # the next transaction is one of those
        self.gaps: list[int] = []
        self._highest = 0

    def draw(self, count: int, there: int) -> list[int]:
        """Numbers for a transaction; `there` is the highest in the table. A number is never drawn twice."""
        if self.fill and len(self.gaps) >= count:
            numbers, self.gaps, self.fill = self.gaps[:count], self.gaps[count:], False
            return numbers
        first = max(self._highest, there) + 1
        self.gaps += range(first, first + self.skip)
        first, self.skip = first + self.skip, 0
        self._highest = first + count - 1
        return list(range(first, first + count))


class LateSqlite(Sqlite):
    """The real statements, with numbers drawn as PostgreSQL draws them. For intake, whose facts all begin a stream: a later
    version of one could not be inserted, hence would draw no number, before the earlier one is committed."""

    def __init__(self, positions: Positions) -> None:
        self._positions = positions

    async def insert(self, connection: AsyncConnection, rows: Sequence[Row]) -> dict[str, int]:
        assert all(row[2] == 1 for row in rows)
        found = await connection.exec_driver_sql("SELECT coalesce(max(position), 0) FROM events")
        numbers = self._positions.draw(len(rows), int(found.scalar_one()))
        names = ", ".join(COLUMNS)
        await connection.exec_driver_sql(
            f"INSERT INTO events (position, {names}) VALUES ({', '.join('?' * (len(COLUMNS) + 1))})",  # noqa: S608 - names
            [(number, *row) for number, row in zip(numbers, rows, strict=True)],
        )
        await connection.exec_driver_sql("INSERT INTO outbox (position) VALUES (?)", [(number,) for number in numbers])
        return {row[0]: number for number, row in zip(numbers, rows, strict=True)}
