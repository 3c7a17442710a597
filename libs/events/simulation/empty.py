"""Empty databases, made once and copied for each run."""

import sqlite3
import tempfile
from functools import cache
from pathlib import Path

from sqlalchemy import create_engine

from libs.events.log_sqlite import _SCHEMA
from libs.events.simulation import model


@cache
def empty_store() -> bytes:
    """A service's empty database. Made once, copied for each run."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "empty.db"
        engine = create_engine(f"sqlite:///{path}")
        with engine.begin() as connection:
            model.metadata.create_all(connection)
        engine.dispose()
        database = sqlite3.connect(path, isolation_level=None)
        database.execute("PRAGMA journal_mode=WAL").fetchall()
        database.close()
        return path.read_bytes()


@cache
def empty_log() -> bytes:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "empty.db"
        database = sqlite3.connect(path, isolation_level=None)
        database.execute("PRAGMA journal_mode=WAL").fetchall()
        database.executescript(_SCHEMA)
        rows = [(topic, number) for topic in model.TOPICS for number in range(model.PARTITIONS)]
        database.executemany("INSERT INTO partitions (topic, partition) VALUES (?, ?)", rows)
        database.close()
        return path.read_bytes()
