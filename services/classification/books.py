"""Published rulebooks, and the coder compiled from the newest."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.events.catalogue.rulebook import RulebookPublished
from libs.events.offload import offload
from libs.events.store import Draft, Unit
from services.classification import tables
from services.classification.domain.coder import Coder
from services.classification.domain.rulebook import Rulebook, checksum, document_of

STREAM = "rulebook/main"
KEY = "main"
RECODE = "recode"
_NEWEST = select(func.max(tables.rulebooks.c.version))


@dataclass(frozen=True, slots=True)
class Head:
    """The newest version and what it holds; version 0 and no checksum before the first."""

    version: int
    checksum: str | None


class Books:
    """Reads versions from the service's database; compiled coders are kept by version, of which two are in use at most."""

    def __init__(self) -> None:
        self._coders: dict[int, Coder] = {}
        self._books: dict[int, Rulebook] = {}

    async def head(self, connection: AsyncConnection) -> Head:
        table = tables.rulebooks
        newest = select(table.c.version, table.c.checksum).order_by(table.c.version.desc()).limit(1)
        row = (await connection.execute(newest)).one_or_none()
        return Head(0, None) if row is None else Head(row.version, row.checksum)

    async def version(self, connection: AsyncConnection) -> int:
        found = (await connection.execute(_NEWEST)).scalar_one_or_none()
        return int(found or 0)

    async def book(self, connection: AsyncConnection, version: int) -> Rulebook | None:
        if version not in self._books:
            table = tables.rulebooks
            found = (
                await connection.execute(select(table.c.document).where(table.c.version == version))
            ).scalar_one_or_none()
            if found is None:
                return None
            self._books[version] = await offload(Rulebook.model_validate, found)
        return self._books[version]

    async def history(self, connection: AsyncConnection) -> list[tuple[int, Rulebook]]:
        """Every published version, oldest first."""
        found: list[tuple[int, Rulebook]] = []
        for version in range(1, await self.version(connection) + 1):
            book = await self.book(connection, version)
            assert book is not None
            found.append((version, book))
        return found

    async def coder(self, connection: AsyncConnection) -> Coder | None:
        """The coder of the newest version; None before the first."""
        version = await self.version(connection)
        if version == 0:
            return None
        if version not in self._coders:
            book = await self.book(connection, version)
            assert book is not None
            # Two batches may compile at once; both get the same thing.
            coder = await offload(Coder, book, version)
            self._coders = {number: held for number, held in self._coders.items() if number >= version - 1}
            self._coders[version] = coder
        return self._coders[version]


async def publish(unit: Unit, book: Rulebook, by: str, after: int) -> RulebookPublished:
    """Append the book as the version after `after`. Raises ConcurrencyConflict when another was published meanwhile."""
    document = document_of(book)
    name = book.name.get("es") or next(iter(book.name.values()))
    event = RulebookPublished(
        version=after + 1,
        name=name,
        published_at=unit.now,
        published_by=by,
        checksum=checksum(document),
        document=document,
    )
    unit.emit(Draft(stream=STREAM, data=event, key=KEY, time=unit.now), expected=after)
    await unit.flush()
    await unit.connection.execute(insert(tables.rulebooks).values(**row_of(event)))
    unit.schedule(RECODE, KEY, unit.now + timedelta(0), {})
    return event


def row_of(event: RulebookPublished) -> dict[str, Any]:
    return {
        "version": event.version,
        "name": event.name,
        "published_at": event.published_at,
        "published_by": event.published_by,
        "checksum": event.checksum,
        "document": event.document,
    }


def fold(events: list[RulebookPublished]) -> Mapping[int, dict[str, Any]]:
    """The table as the events alone make it."""
    return {event.version: row_of(event) for event in events}
