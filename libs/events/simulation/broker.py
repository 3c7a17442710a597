"""The embedded log for simulated processes: the real adapter on the real file, each call let on by the schedule."""

import asyncio
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from libs.events.log import LogUnavailable, Outgoing, PublisherSpent, Record, TopicPartition, UnknownOutcome
from libs.events.log_sqlite import SqliteLog, SqliteMember, SqlitePublisher, _Connection

if TYPE_CHECKING:
    from libs.events.simulation.process import Process

T = TypeVar("T")


class Broker:
    """What the log's users share, and what outlives them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.logs: list[SteppedLog] = []
        self.hints: dict[tuple[str, TopicPartition], int] = {}
        self.slow: dict[TopicPartition, int] = {}  # partitions that deliver nothing for so many decisions

    def ring(self) -> None:
        """Tell every process that there is news, as a broker does."""
        for log in self.logs:
            SqliteLog.announce(log)


class _Stepped(_Connection):
    """A connection without its thread."""

    def __init__(self, process: "Process", path: Path, name: str, text: type[str] | type[bytes] = str) -> None:
        super().__init__(path, name, busy_seconds=0, text=text)
        self._process, self._name = process, name

    async def open(self) -> None:
        self._open()

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        await self._process.gate(self._name)
        if self._db is None:
            raise LogUnavailable(f"{self._path} is not open")
        try:
            return work(self._db)
        except sqlite3.Error as error:
            raise LogUnavailable(f"{self._path}: {error}") from error

    async def close(self) -> None:
        self._close()

    def drop(self) -> None:
        self._close()


class SteppedLog(SqliteLog):
    """The log as one process sees it."""

    def __init__(self, process: "Process", broker: Broker) -> None:
        super().__init__(broker.path)
        self.process, self.broker = process, broker
        self._writer: _Stepped = _Stepped(process, broker.path, "log write")
        self._reader: _Stepped = _Stepped(process, broker.path, "log read", bytes)
        self.members: list[SteppedMember] = []
        broker.logs.append(self)

    def drop(self) -> None:
        """The process ended."""
        self._writer.drop()
        self._reader.drop()
        self.broker.logs.remove(self)

    def announce(self) -> None:
        self.broker.ring()

    async def wait(self, news: asyncio.Event, timeout: float) -> None:
        try:
            async with asyncio.timeout(timeout):
                await news.wait()
        except TimeoutError:
            pass

    def publisher(self, name: str) -> "SteppedPublisher":
        return SteppedPublisher(self, name)

    def member(self, group: str, topics: Sequence[str]) -> "SteppedMember":
        member = SteppedMember(self, group, topics)
        self.members.append(member)
        return member


class SteppedPublisher(SqlitePublisher):
    _log: SteppedLog

    async def publish(self, records: Sequence[Outgoing]) -> list[int]:
        process = self._log.process
        fault = process.fault("publish")
        if fault == "lost" or (fault == "unknown" and not process.coin()):
            await process.gate("log write")
            self._epoch = None
            raise (LogUnavailable if fault == "lost" else UnknownOutcome)("the broker did not answer")
        if not process.variant.fences and self._epoch is not None:
            self._epoch = await self._log.query(self._epoch_now)
        offsets = await super().publish(records)
        if fault == "unknown":
            self._epoch = None
            raise UnknownOutcome("the broker did not answer")
        return offsets

    def _epoch_now(self, db: sqlite3.Connection) -> int:
        found = db.execute("SELECT epoch FROM fences WHERE name = ?", (self._name,)).fetchone()
        if found is None:
            raise PublisherSpent(self._name)
        return int(found[0])


class SteppedMember(SqliteMember):
    _log: SteppedLog

    async def _fetch(self, max_records: int) -> dict[TopicPartition, list[Record]]:
        slow = set(self._log.broker.slow) - self._paused
        self._paused |= slow
        try:
            return await super()._fetch(max_records)
        finally:
            self._paused -= slow

    async def stop(self) -> None:
        await super().stop()
        if self in self._log.members:
            self._log.members.remove(self)

    def rewind(self, records: int) -> None:
        """Deliver again what was delivered: as far back, in every partition."""
        for tp, position in self._positions.items():
            self._positions[tp] = max(position - records, 0)

    async def hint(self, positions: Mapping[TopicPartition, int]) -> None:
        await self._log.process.gate("log hint")
        self._log.broker.hints.update({(self._group, tp): at for tp, at in positions.items()})
