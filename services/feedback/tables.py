"""Feedback's tables: the machinery's, and its read models of cases, requests and updates that wait for their case.

Cases and requests are rows written in the transaction of the events they follow from: each is a plain function of the
fold (`rows.py`). No text of a person stands in them; what was said is opened from the sealed events when it is asked for.
"""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
)

from libs.events.tables import UtcDateTime, machinery

metadata = MetaData()
MACHINERY = machinery(metadata)

cases = Table(
    "cases",
    metadata,
    Column("case_id", String, primary_key=True),
    Column("interaction_id", String, nullable=False),
    Column("customer_id", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("channel", String, nullable=False),
    Column("origin", String, nullable=False),
    Column("case_ref", String),
    Column("effects", String, nullable=False),
    Column("language", String, nullable=False),
    Column("reply_channel", String),  # None: no address, nobody can be written to
    Column("received_at", UtcDateTime, nullable=False),
    Column("acknowledge_by", UtcDateTime, nullable=False),
    Column("due_at", UtcDateTime, nullable=False),
    Column("term", JSON, nullable=False),
    Column("status", String, nullable=False),
    Column("open", Boolean, nullable=False),
    Column("awaited", Boolean, nullable=False),  # open and unanswered in its present round: overdue once due_at passes
    Column("acknowledged_at", UtcDateTime),
    Column("responded_at", UtcDateTime),
    Column("resolved_at", UtcDateTime),
    Column("closed_at", UtcDateTime),
    Column("outcome", String),
    Column("agent", String),
    Column("team", String),
    Column("referred_to", String),
    Column("reopenings", Integer, nullable=False),
    Column("acknowledged_late", Boolean, nullable=False),
    Column("in_time", Boolean),  # None: neither answered nor past the due date
    Column("findings", JSON, nullable=False),  # systemic causes that whoever works on it was told of
    Column("version", Integer, nullable=False),
    Column("stamp", BigInteger, nullable=False),  # of this writing; says whether a fold kept at hand is this row's
    Index("cases_ref", "origin", "case_ref"),
    Index("cases_interaction", "interaction_id"),
    Index("cases_customer", "customer_id"),
    Index("cases_received", "received_at", "case_id"),
    Index("cases_status", "status", "received_at", "case_id"),
    Index("cases_due", "awaited", "due_at"),
)

requests = Table(
    "requests",
    metadata,
    Column("request_id", String, primary_key=True),
    Column("event_id", String, nullable=False),  # of the sealed event that holds address, text and token
    Column("case_id", String),
    Column("customer_id", String, nullable=False),
    Column("channel", String, nullable=False),
    Column("purpose", String, nullable=False),
    Column("language", String, nullable=False),
    Column("status", String, nullable=False),
    Column("pending", Boolean, nullable=False),  # no channel has taken it and it may still be sent
    Column("closed", Boolean, nullable=False),
    Column("delivery", String, nullable=False),
    Column("requested_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime),
    Column("answered_at", UtcDateTime),
    Column("expired_at", UtcDateTime),
    Column("expired_reason", String),
    Column(
        "token_hash", LargeBinary
    ),  # keyed hash of the answer page's token; the token itself is only in the sealed event
    Index("requests_token", "token_hash", unique=True),
    Index("requests_case", "case_id"),
    Index("requests_customer", "customer_id", "closed"),
    Index("requests_queue", "pending", "channel", "requested_at", "request_id"),
    Index("requests_time", "requested_at", "request_id"),
)

# Every update, not only those that came before their case: a later contact about the same reference takes them too.
updates = Table(
    "updates",
    metadata,
    Column("event_id", String, primary_key=True),
    Column("origin", String, nullable=False),
    Column("case_ref", String, nullable=False),
    Column("interaction_id", String),
    Column("occurred_at", UtcDateTime, nullable=False),
    Column("waiting", Boolean, nullable=False),  # no case has taken it yet
    Column("type", String, nullable=False),
    Column("correlationid", String, nullable=False),
    Column("traceparent", String),
    Column("data", LargeBinary, nullable=False),  # the event's JSON, sealed as it came
    Index("updates_ref", "origin", "case_ref"),
    Index("updates_interaction", "interaction_id"),
)

# What findings say of which contact. A finding may come to know a contact before its case is opened here.
links = Table(
    "links",
    metadata,
    Column("interaction_id", String, nullable=False),
    Column("finding_id", String, nullable=False),
    Column("nature", String),
    Column("title", JSON, nullable=False),
    Column("event_id", String, nullable=False),
    Column("correlationid", String, nullable=False),
    Column("traceparent", String),
    PrimaryKeyConstraint("interaction_id", "finding_id"),
)

# PostgreSQL alone: whoever opens a case and whoever brings an update of its reference both write its row here, so that of
# two transactions that cannot see each other one is told to go again (40001). Without it each would find nothing of the
# other, and the update would wait for ever. On SQLite writers stand in line anyway.
meetings = Table(
    "meetings",
    metadata,
    Column("place", String, primary_key=True),
    Column("touched", BigInteger, nullable=False),
)
