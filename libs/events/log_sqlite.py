"""The embedded log: one SQLite file behind the same port as Kafka.

Two threads own one connection each, one writes and one reads; in WAL mode neither waits for the other. A publish is one
transaction that checks the fence first, made durable by `synchronous=FULL` before it returns.
"""

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import orjson

from libs.events.log import (
    FencedError,
    LogUnavailable,
    Outgoing,
    OutOfRange,
    PublisherSpent,
    Record,
    TopicPartition,
    UnknownOutcome,
    UnknownTopic,
)

T = TypeVar("T")

# Other processes are seen by looking: PRAGMA data_version costs 2 µs, so 20 looks a second cost nothing.
LOOK_SECONDS = 0.05

_SCHEMA = """
CREATE TABLE IF NOT EXISTS partitions (
    topic TEXT NOT NULL, partition INTEGER NOT NULL, next INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (topic, partition)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS records (
    topic TEXT NOT NULL, partition INTEGER NOT NULL, "offset" INTEGER NOT NULL, key BLOB, value BLOB NOT NULL,
    headers BLOB NOT NULL, timestamp_ms INTEGER NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS records_position ON records (topic, partition, "offset");
CREATE TABLE IF NOT EXISTS fences (name TEXT PRIMARY KEY, epoch INTEGER NOT NULL) WITHOUT ROWID;
"""


def _packed(headers: tuple[tuple[str, bytes], ...]) -> bytes:
    # Latin-1 maps every byte to one character and back, so any header survives, and plain ones can be read in a shell.
    return orjson.dumps([(name, value.decode("latin-1")) for name, value in headers])


def _headers(packed: Any) -> tuple[tuple[str, bytes], ...]:
    try:
        return tuple((name, value.encode("latin-1")) for name, value in orjson.loads(packed))
    except (ValueError, TypeError, AttributeError):
        # Somebody was at the file. The record is handed on, so that its reader can park it and `lazo verify` can name it.
        return (("unreadable", _bytes(packed) or b""),)


class _Connection:
    """One connection and the one thread that ever touches it."""

    def __init__(self, path: Path, name: str, *, busy_seconds: float, text: type[str] | type[bytes] = str) -> None:
        self._path = path
        self._text = text
        self._busy = busy_seconds
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
        self._db: sqlite3.Connection | None = None

    def _open(self) -> None:
        db = sqlite3.connect(self._path, isolation_level=None, timeout=self._busy, check_same_thread=False)
        try:
            for pragma in ("journal_mode=WAL", "synchronous=FULL", "secure_delete=ON", "temp_store=MEMORY"):
                db.execute(f"PRAGMA {pragma}").fetchall()
            db.text_factory = self._text
        except BaseException:
            db.close()
            raise
        self._db = db

    def _close(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None

    async def open(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._open)

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do the work in the thread. SQLite's own errors become LogUnavailable: nothing was done."""

        def call() -> T:
            if self._db is None:
                raise LogUnavailable(f"{self._path} is not open")
            try:
                return work(self._db)
            except sqlite3.Error as error:
                raise LogUnavailable(f"{self._path}: {error}") from error

        try:
            future = self._thread.submit(call)
        except RuntimeError as error:  # the pool was shut down
            raise LogUnavailable(f"{self._path} was closed") from error
        return await asyncio.wrap_future(future)

    async def close(self) -> None:
        with contextlib.suppress(RuntimeError):  # closed before
            await asyncio.wrap_future(self._thread.submit(self._close))
        self._thread.shutdown(wait=False)


def _publish(db: sqlite3.Connection, name: str, epoch: int, records: Sequence[Outgoing]) -> list[int]:
    db.execute("BEGIN IMMEDIATE")
    try:
        fence = db.execute("SELECT epoch FROM fences WHERE name = ?", (name,)).fetchone()
        if fence is None or fence[0] != epoch:
            raise FencedError(f"another publisher of {name!r} was started")
        following: dict[tuple[str, int], int] = {}
        offsets, rows = [], []
        for record in records:
            at = (record.topic, record.partition)
            offset = following.get(at)
            if offset is None:
                found = db.execute("SELECT next FROM partitions WHERE topic = ? AND partition = ?", at).fetchone()
                if found is None:
                    raise UnknownTopic(f"{record.topic}/{record.partition}")
                offset = int(found[0])
            following[at] = offset + 1
            offsets.append(offset)
            rows.append((*at, offset, record.key, record.value, _packed(record.headers), record.timestamp_ms))
        db.executemany("INSERT INTO records VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
        db.executemany(
            "UPDATE partitions SET next = ? WHERE topic = ? AND partition = ?",
            [(offset, *at) for at, offset in following.items()],
        )
    except BaseException:
        _roll_back(db)
        raise
    try:
        db.execute("COMMIT")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_IOERR:
            # The disk failed somewhere between writing and syncing: the commit may be found there later.
            _roll_back(db)
            raise UnknownOutcome(f"the commit of {len(rows)} records failed: {error}") from error
        _roll_back(db)
        raise
    return offsets


def _roll_back(db: sqlite3.Connection) -> None:
    # After SQLITE_FULL or SQLITE_IOERR SQLite may have rolled back by itself; then ROLLBACK would only hide the cause.
    if db.in_transaction:
        with contextlib.suppress(sqlite3.Error):
            db.execute("ROLLBACK")


def _read(db: sqlite3.Connection, tp: TopicPartition, start: int, limit: int) -> list[Record]:
    topic, partition = tp.topic, tp.partition
    rows = db.execute(
        'SELECT "offset", key, value, headers, timestamp_ms FROM records'
        ' WHERE topic = ? AND partition = ? AND "offset" >= ? ORDER BY "offset" LIMIT ?',
        (topic, partition, start, limit),
    )
    return [
        Record(topic, partition, row[0], _bytes(row[1]), _bytes(row[2]) or b"", _headers(row[3]), _whole(row[4]))
        for row in rows
    ]


def _bytes(value: Any) -> bytes | None:
    # An editor that was at the file leaves numbers where bytes were. They must reach the reader to be named.
    return value if value is None or isinstance(value, bytes) else str(value).encode()


def _whole(value: Any) -> int:
    return value if isinstance(value, int) else -1


def _end(db: sqlite3.Connection, tp: TopicPartition) -> int:
    query = "SELECT next FROM partitions WHERE topic = ? AND partition = ?"
    found = db.execute(query, (tp.topic, tp.partition)).fetchone()
    if found is None:
        raise UnknownTopic(str(tp))
    return int(found[0])


class SqliteLog:
    """The embedded log in the file `path`. Opened once per process; the data directory's lock keeps others out."""

    gapless = True

    def __init__(self, path: str | Path, *, busy_seconds: float = 10.0) -> None:
        self._path = Path(path)
        self._writer = _Connection(self._path, "log-writer", busy_seconds=busy_seconds)
        # Text as bytes: what an editor left in place of bytes may not even be UTF-8.
        self._reader = _Connection(self._path, "log-reader", busy_seconds=busy_seconds, text=bytes)
        self._news = asyncio.Event()
        self._waiting = 0
        self._watcher: asyncio.Task[None] | None = None
        self._partitions: dict[str, int] = {}

    async def start(self) -> None:
        try:
            await self._writer.open()
            await self._writer.run(lambda db: db.executescript(_SCHEMA))
            await self._reader.open()
        except sqlite3.Error as error:
            await self.stop()
            raise LogUnavailable(f"{self._path}: {error}") from error

    async def stop(self) -> None:
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.wait([self._watcher])
            self._watcher = None
        await self._writer.close()
        await self._reader.close()
        self.announce()  # whoever still waits in poll() finds the log closed

    async def ensure_topics(self, partitions: Mapping[str, int]) -> None:
        def create(db: sqlite3.Connection) -> None:
            db.execute("BEGIN IMMEDIATE")
            try:
                for topic, wanted in partitions.items():
                    if db.execute("SELECT 1 FROM partitions WHERE topic = ? LIMIT 1", (topic,)).fetchone() is None:
                        rows = [(topic, number) for number in range(wanted)]
                        db.executemany("INSERT INTO partitions (topic, partition) VALUES (?, ?)", rows)
                db.execute("COMMIT")
            except BaseException:
                _roll_back(db)
                raise

        await self._writer.run(create)

    async def partitions(self, topic: str) -> int:
        if topic not in self._partitions:
            self._partitions[topic] = len(await self.ends(topic))
        return self._partitions[topic]

    async def ends(self, topic: str) -> dict[int, int]:
        query = "SELECT partition, next FROM partitions WHERE topic = ? ORDER BY partition"
        found = await self._reader.run(lambda db: db.execute(query, (topic,)).fetchall())
        if not found:
            raise UnknownTopic(topic)
        return {int(partition): int(following) for partition, following in found}

    async def read(self, tp: TopicPartition, start: int, limit: int) -> list[Record]:
        def work(db: sqlite3.Connection) -> list[Record]:
            records = _read(db, tp, start, limit)
            if not records:
                _end(db, tp)  # an unknown partition is an error, an empty one is not
            return records

        return await self._reader.run(work)

    async def damage(self) -> list[str]:
        """What SQLite's own check finds wrong in the file; empty when all is well. Reads the whole file."""
        found = await self._reader.run(lambda db: [row[0].decode() for row in db.execute("PRAGMA integrity_check(20)")])
        return [] if found == ["ok"] else found

    def publisher(self, name: str) -> "SqlitePublisher":
        return SqlitePublisher(self, name)

    def member(self, group: str, topics: Sequence[str]) -> "SqliteMember":
        return SqliteMember(self, group, topics)

    # What publishers and members of this module need.

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await self._writer.run(work)

    async def query(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await self._reader.run(work)

    def announce(self) -> None:
        """Wake everybody in this process who waits for news."""
        self._news.set()
        self._news = asyncio.Event()

    def news(self) -> asyncio.Event:
        """Set when something may have been published after this call."""
        return self._news

    async def wait(self, news: asyncio.Event, timeout: float) -> None:
        """Wait for the news or for `timeout` seconds, and look out for other processes meanwhile."""
        self._waiting += 1
        if self._watcher is None or self._watcher.done():
            self._watcher = asyncio.create_task(self._watch(), name="log-watcher")
        try:
            async with asyncio.timeout(timeout):
                await news.wait()
        except TimeoutError:
            pass
        finally:
            self._waiting -= 1

    async def _watch(self) -> None:
        seen = None
        while self._waiting:
            try:
                version = await self._reader.run(lambda db: db.execute("PRAGMA data_version").fetchone()[0])
            except LogUnavailable:
                self.announce()  # the pollers meet the same error and report it
                return
            if version != seen:
                self.announce()
                seen = version
            await asyncio.sleep(LOOK_SECONDS)


class SqlitePublisher:
    def __init__(self, log: SqliteLog, name: str) -> None:
        self._log = log
        self._name = name
        self._epoch: int | None = None

    async def start(self) -> None:
        def take(db: sqlite3.Connection) -> int:
            query = (
                "INSERT INTO fences (name, epoch) VALUES (?, 1)"
                " ON CONFLICT (name) DO UPDATE SET epoch = epoch + 1 RETURNING epoch"
            )
            return int(db.execute(query, (self._name,)).fetchall()[0][0])

        self._epoch = await self._log.write(take)

    async def publish(self, records: Sequence[Outgoing]) -> list[int]:
        epoch, name = self._epoch, self._name
        if epoch is None:
            raise PublisherSpent(f"publisher {name!r} must be started")
        if not records:
            return []
        self._epoch = None  # spent, unless all goes well
        offsets = await self._log.write(lambda db: _publish(db, name, epoch, records))
        self._epoch = epoch
        self._log.announce()
        return offsets

    async def close(self) -> None:
        self._epoch = None


class SqliteMember:
    """Owns every partition of its topics. A second member of the group in the process owns them too: the consumer's
    compare-and-set on its stored offset decides between them, as it does between zombies on Kafka."""

    def __init__(self, log: SqliteLog, group: str, topics: Sequence[str]) -> None:
        self._log = log
        self._group = group
        self._topics = tuple(topics)
        self._assigned: list[TopicPartition] = []
        self._positions: dict[TopicPartition, int] = {}
        self._paused: set[TopicPartition] = set()
        self._turn = 0

    async def start(self) -> None:
        self._assigned = [
            TopicPartition(topic, number) for topic in self._topics for number in await self._log.ends(topic)
        ]

    async def stop(self) -> None:
        self._assigned, self._positions, self._paused = [], {}, set()

    def assigned(self) -> set[TopicPartition]:
        return set(self._assigned)

    def unpositioned(self) -> set[TopicPartition]:
        return {tp for tp in self._assigned if tp not in self._positions}

    async def seek(self, positions: Mapping[TopicPartition, int]) -> None:
        owned = self.assigned()
        for tp, position in positions.items():
            if tp in owned:
                self._positions[tp] = position
                self._paused.discard(tp)

    async def pause(self, partitions: Iterable[TopicPartition]) -> None:
        self._paused.update(partitions)

    async def resume(self, partitions: Iterable[TopicPartition]) -> None:
        self._paused.difference_update(partitions)

    async def poll(self, max_records: int, timeout: float) -> dict[TopicPartition, list[Record]]:
        deadline = asyncio.get_running_loop().time() + timeout
        while True:
            news = self._log.news()
            batch = await self._fetch(max_records)
            left = deadline - asyncio.get_running_loop().time()
            if batch or left <= 0:
                return batch
            await self._log.wait(news, left)

    async def _fetch(self, max_records: int) -> dict[TopicPartition, list[Record]]:
        ready = [(tp, self._positions[tp]) for tp in self._assigned if tp in self._positions and tp not in self._paused]
        if not ready:
            return {}
        # Every partition gets its turn to be first, or a busy one would starve the rest for as long as it is behind.
        self._turn = (self._turn + 1) % len(ready)
        ready = ready[self._turn :] + ready[: self._turn]

        def work(db: sqlite3.Connection) -> tuple[dict[TopicPartition, list[Record]], TopicPartition | None]:
            found: dict[TopicPartition, list[Record]] = {}
            left = max_records
            for tp, start in ready:
                if left <= 0:
                    break
                end = _end(db, tp)
                if not 0 <= start <= end:
                    return {}, tp
                if start < end and (records := _read(db, tp, start, left)):
                    found[tp] = records
                    left -= len(records)
            return found, None

        batch, lost = await self._log.query(work)
        if lost is not None:
            position = self._positions.pop(lost)
            raise OutOfRange(f"{lost} has no offset {position}")
        for tp, records in batch.items():
            self._positions[tp] = records[-1].offset + 1
        return batch

    async def ends(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        wanted = list(partitions)
        return await self._log.query(lambda db: {tp: _end(db, tp) for tp in wanted})

    async def hint(self, positions: Mapping[TopicPartition, int]) -> None:
        # Nothing but `lazo status` measures lag here, and that reads the consumers' own offsets. A row would cost an fsync.
        return
