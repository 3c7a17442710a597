"""The witness: reads the log's file and the services' databases from outside, with plain SQL."""

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from libs.events.envelope import Event, from_record
from libs.events.log import Record, TopicPartition
from libs.events.log_sqlite import _read

Attempted = tuple[str, str, int]
"""Consumer group, topic and offset of a record that is handled alone."""
Positions = dict[tuple[str, str, int], int]


@dataclass(frozen=True, slots=True)
class Place:
    """An event and where it stands in the log."""

    tp: TopicPartition
    offset: int
    event: Event


@dataclass(frozen=True, slots=True)
class Item:
    """What the quarantine holds."""

    id: str
    number: int
    group: str
    handler: str
    state: str
    topic: str
    offset: int
    key: str
    event_id: str
    error: str


class Witness:
    """Open for the length of one run."""

    def __init__(self, log: Path, databases: Mapping[str, Path]) -> None:
        self._log = sqlite3.connect(log, isolation_level=None)
        self._log.text_factory = bytes
        self._stores = {name: sqlite3.connect(path, isolation_level=None) for name, path in databases.items()}
        self.copies: set[tuple[TopicPartition, int]] = set()  # records that the harness itself put into the log

    def close(self) -> None:
        for database in (self._log, *self._stores.values()):
            database.close()

    def open(self, service: str, path: Path) -> None:
        """Look at another database from now on."""
        self._stores[service].close()
        self._stores[service] = sqlite3.connect(path, isolation_level=None)

    def rows(self, service: str, query: str, *values: Any) -> list[tuple[Any, ...]]:
        return self._stores[service].execute(query, values).fetchall()

    def ends(self) -> dict[TopicPartition, int]:
        """Next offset of every partition."""
        found = self._log.execute("SELECT topic, partition, next FROM partitions").fetchall()
        return {TopicPartition(topic.decode(), partition): following for topic, partition, following in found}

    def records(self, tp: TopicPartition) -> list[Record]:
        return _read(self._log, tp, 0, 1_000_000)

    def places(self, topic: str, *, copies: bool = False) -> list[Place]:
        """The topic's events by partition and offset, without the harness's own copies."""
        return [
            Place(tp, record.offset, from_record(record))
            for tp in sorted(self.ends(), key=str)
            if tp.topic == topic
            for record in self.records(tp)
            if copies or (tp, record.offset) not in self.copies
        ]

    def copy(self, tp: TopicPartition, offset: int) -> None:
        """Put a record into its partition once more, behind everybody's back."""
        end = self.ends()[tp]
        at = (tp.topic, tp.partition)
        self._log.execute("BEGIN IMMEDIATE")
        self._log.execute(
            "INSERT INTO records SELECT topic, partition, ?, key, value, headers, timestamp_ms FROM records"
            ' WHERE topic = ? AND partition = ? AND "offset" = ?',
            (end, *at, offset),
        )
        self._log.execute("UPDATE partitions SET next = ? WHERE topic = ? AND partition = ?", (end + 1, *at))
        self._log.execute("COMMIT")
        self.copies.add((tp, end))

    def offsets(self, service: str) -> Positions:
        """Stored positions: of consumer groups, and of the relay under the name `relay`."""
        found = self.rows(service, "SELECT consumer_group, topic, partition, next FROM offsets")
        found += self.rows(service, "SELECT 'relay', topic, partition, next_offset FROM relay_positions")
        return {(group, topic, partition): at for group, topic, partition, at in found}

    def live_group(self) -> str | None:
        """The consumer group of the projection's live slot."""
        found = self.rows("indicators", "SELECT slot FROM projections WHERE state = 'live'")
        return f"indicators.cases.{found[0][0]}" if found else None

    def pending(self) -> int:
        """Events not yet published."""
        return sum(self.rows(name, "SELECT count(*) FROM outbox")[0][0] for name in self._stores)

    def quarantine(self, *states: str) -> list[Item]:
        """What is in one of these states, in all services, in the order it was parked."""
        wanted = ", ".join("?" * len(states))
        columns = 'id, number, consumer_group, handler, state, topic, "offset", key, event_id, error'
        query = f"SELECT {columns} FROM quarantine WHERE state IN ({wanted}) ORDER BY number"  # noqa: S608 - question marks
        return [Item(*row) for name in self._stores for row in self.rows(name, query, *states)]

    def attempted(self, service: str) -> list[Attempted]:
        """Records that are handled alone at the moment, for fear that they kill."""
        query = "SELECT consumer_group, topic, \"offset\" FROM attempts WHERE handler = '*record'"
        return [(group, topic, offset) for group, topic, offset in self.rows(service, query)]

    def timers(self) -> list[str]:
        """When feedback's timers are due, earliest first."""
        return [row[0] for row in self.rows("feedback", "SELECT due FROM timers ORDER BY due")]
