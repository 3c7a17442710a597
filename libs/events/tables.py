"""The tables of the machinery, which every service's database holds beside the service's own."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Dialect,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)


class UtcDateTime(TypeDecorator[datetime]):
    """Aware instants in UTC on both databases; a naive one is refused. SQLite keeps `YYYY-MM-DD HH:MM:SS.ffffff`, which
    sorts and which its date functions read."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"a naive time reached the database: {value}")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


# SQLite numbers rows by itself only where the key is written INTEGER.
Position = BigInteger().with_variant(Integer, "sqlite")

# Ids and streams compare as bytes; a locale's comparison makes their indexes slower and is never wanted.
Code = String().with_variant(String(collation="C"), "postgresql")


def _column(name: str, kind: Any, *args: Any, **options: Any) -> Column[Any]:
    return Column(name, kind, *args, nullable=options.pop("nullable", False), **options)


@dataclass(frozen=True, slots=True)
class Machinery:
    """The machinery's tables in one service's metadata."""

    events: Table
    outbox: Table
    relay_positions: Table
    offsets: Table
    inbox: Table
    timers: Table
    attempts: Table
    quarantine: Table
    projections: Table
    idempotency: Table


def machinery(metadata: MetaData) -> Machinery:
    """Add the machinery's tables to a service's metadata, so that its one Alembic history holds them; twice gives the same."""
    if "events" in metadata.tables:
        return Machinery(**{name: metadata.tables[name] for name in Machinery.__dataclass_fields__})
    events = Table(
        "events",
        metadata,
        Column("position", Position, primary_key=True, autoincrement=True),
        _column("id", Code, unique=True),
        _column("stream", Code),
        _column("version", Integer),
        _column("type", String),
        _column("topic", String),
        _column("partition", Integer),
        _column("key", String),
        _column("time", UtcDateTime),
        _column("recordedtime", UtcDateTime),
        _column("correlationid", String),
        _column("causationid", String, nullable=True),
        _column("traceparent", String, nullable=True),
        _column("data", LargeBinary),
        _column("fingerprint", LargeBinary, nullable=True),
        UniqueConstraint("stream", "version", name="events_stream_version"),
    )
    # What is not published yet. Narrow, so that marking is a delete of a few bytes and the big table is never updated.
    outbox = Table("outbox", metadata, Column("position", Position, primary_key=True, autoincrement=False))
    relay_positions = Table(
        "relay_positions",
        metadata,
        _column("topic", String),
        _column("partition", Integer),
        _column("next_offset", BigInteger),
        _column("chain", String),
        PrimaryKeyConstraint("topic", "partition"),
    )
    offsets = Table(
        "offsets",
        metadata,
        _column("consumer_group", String),
        _column("topic", String),
        _column("partition", Integer),
        _column("next", BigInteger),
        PrimaryKeyConstraint("consumer_group", "topic", "partition"),
    )
    # Which events a group has had: a row holds the marks of 128 sequences of a source (see `libs.events.inbox`).
    inbox = Table(
        "inbox",
        metadata,
        _column("consumer_group", String),
        _column("source", String),
        _column("home", Integer),
        _column("chunk", BigInteger),
        _column("marks", LargeBinary),
        PrimaryKeyConstraint("consumer_group", "source", "home", "chunk"),
    )
    timers = Table(
        "timers",
        metadata,
        _column("kind", String),
        _column("key", String),
        _column("id", String),
        _column("due", UtcDateTime),
        _column("data", LargeBinary),
        _column("correlationid", String, nullable=True),
        _column("causationid", String, nullable=True),
        _column("traceparent", String, nullable=True),
        _column("attempts", Integer, server_default=text("0")),
        PrimaryKeyConstraint("kind", "key"),
        Index("timers_due", "due"),
    )
    attempts = Table(
        "attempts",
        metadata,
        _column("consumer_group", String),
        _column("topic", String),
        _column("partition", Integer),
        _column("offset", BigInteger),
        _column("handler", String),
        _column("count", Integer),
        _column("error", Text, nullable=True),
        PrimaryKeyConstraint("consumer_group", "topic", "partition", "offset", "handler"),
    )
    quarantine = Table(
        "quarantine",
        metadata,
        Column("number", Position, primary_key=True, autoincrement=True),
        _column("id", String, unique=True),
        _column("consumer_group", String),
        _column("handler", String),
        _column("state", String),  # parked, waiting, replayed, discarded
        _column("topic", String),
        _column("partition", Integer),
        _column("offset", BigInteger),
        _column("key", String, nullable=True),
        _column("event_id", String, nullable=True),
        _column("type", String, nullable=True),
        _column("headers", LargeBinary),
        _column("value", LargeBinary),
        _column("timestamp_ms", BigInteger),
        _column("attempts", Integer),
        _column("error", Text),
        _column("code_version", String),
        _column("traceparent", String, nullable=True),
        _column("parked_at", UtcDateTime),
        _column("settled_at", UtcDateTime, nullable=True),
        _column("reason", Text, nullable=True),
        Index("quarantine_open", "consumer_group", "handler", "key", "state"),
        Index("quarantine_state", "state"),
    )
    projections = Table(
        "projections",
        metadata,
        _column("name", String),
        _column("slot", String),
        _column("version", Integer),
        _column("state", String),  # live, building, retired
        _column("changed_at", UtcDateTime),
        PrimaryKeyConstraint("name", "slot"),
    )
    idempotency = Table(
        "idempotency",
        metadata,
        _column("principal", String),
        _column("key", String),
        _column("request_hash", LargeBinary),
        _column("status", Integer),
        _column("content_type", String),
        _column("headers", LargeBinary, nullable=True),
        _column("body", LargeBinary),
        _column("created_at", UtcDateTime),
        PrimaryKeyConstraint("principal", "key"),
        Index("idempotency_created", "created_at"),
    )
    return Machinery(
        events, outbox, relay_positions, offsets, inbox, timers, attempts, quarantine, projections, idempotency
    )


__all__ = ["Machinery", "UtcDateTime", "machinery"]
