"""Intake's own tables, beside the machinery's."""

from typing import Any

from sqlalchemy import Boolean, Column, Index, Integer, LargeBinary, MetaData, PrimaryKeyConstraint, String, Table, Text

from libs.events.tables import UtcDateTime, machinery

metadata = MetaData()
tables = machinery(metadata)


def _column(name: str, kind: Any, *args: Any, **options: Any) -> "Column[Any]":
    return Column(name, kind, *args, nullable=options.pop("nullable", False), **options)


# Who may send. What happened to a source stands in its events; this is the newest state.
sources = Table(
    "sources",
    metadata,
    _column("id", String, primary_key=True),
    _column("name", String),
    _column("form", String),
    _column("active", Boolean),
    _column("region", String, nullable=True),
    _column("defaults", Text),  # JSON, member to value
    _column("created_at", UtcDateTime),
    _column("changed_at", UtcDateTime),
)

# Signing secrets, sealed by the vault. Several may be live at once, so that a sender can change over without a gap.
source_secrets = Table(
    "source_secrets",
    metadata,
    _column("id", String, primary_key=True),
    _column("source_id", String),
    _column("sealed", LargeBinary),
    _column("created_at", UtcDateTime),
    _column("expires_at", UtcDateTime, nullable=True),  # None: until it is rotated away
    Index("source_secrets_source", "source_id"),
)

# The other system's case number: which contact and person it belongs to. `holder` is the person made up for a case whose
# customer is not known yet, so that what was said about it can be sealed, and erased with the customer.
case_refs = Table(
    "case_refs",
    metadata,
    _column("source_id", String),
    _column("case_ref", String),
    _column("interaction_id", String, nullable=True),
    _column("customer_id", String, nullable=True),
    _column("holder", String, nullable=True),
    PrimaryKeyConstraint("source_id", "case_ref"),
    Index("case_refs_customer", "customer_id"),
)

# What was authentic and could not be read. The raw bytes are sealed under a key of their own per item.
unread = Table(
    "unread",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    _column("id", String, unique=True),
    _column("source_id", String),
    _column("adapter", String),
    _column("delivery_id", String),
    _column("received_at", UtcDateTime),
    _column("headers", Text),  # JSON; only those that say how to read the body
    _column("sealed", LargeBinary),
    _column("problem", Text),  # JSON: faults as (pointer, code, values)
    _column("attempts", Integer),
    Index("unread_delivery", "source_id", "delivery_id", unique=True),
)

# A wish to be forgotten, from the moment it is durable. `done_at` None: the key may still exist, somebody must finish.
erasures = Table(
    "erasures",
    metadata,
    _column("customer_id", String, primary_key=True),
    _column("requested_at", UtcDateTime),
    _column("done_at", UtcDateTime, nullable=True),
    _column("reason", Text, nullable=True),
)
