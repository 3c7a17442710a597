"""the first tables"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

import libs.events.tables

revision: str = "0001"
down_revision: str | None = None
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "attempts",
        sa.Column("consumer_group", sa.String(), nullable=False),
        sa.Column("topic", sa.String(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("handler", sa.String(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("consumer_group", "topic", "partition", "offset", "handler"),
    )
    op.create_table(
        "cases",
        sa.Column("case_id", sa.String(), nullable=False),
        sa.Column("interaction_id", sa.String(), nullable=False),
        sa.Column("customer_id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("channel", sa.String(), nullable=False),
        sa.Column("origin", sa.String(), nullable=False),
        sa.Column("case_ref", sa.String(), nullable=True),
        sa.Column("effects", sa.String(), nullable=False),
        sa.Column("language", sa.String(), nullable=False),
        sa.Column("reply_channel", sa.String(), nullable=True),
        sa.Column("received_at", libs.events.tables.UtcDateTime(timezone=True), nullable=False),
        sa.Column("acknowledge_by", libs.events.tables.UtcDateTime(timezone=True), nullable=False),
        sa.Column("due_at", libs.events.tables.UtcDateTime(timezone=True), nullable=False),
        sa.Column("term", sa.JSON(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("open", sa.Boolean(), nullable=False),
        sa.Column("awaited", sa.Boolean(), nullable=False),
        sa.Column("acknowledged_at", libs.events.tables.UtcDateTime(timezone=True), nullable=True),
        sa.Column("responded_at", libs.events.tables.UtcDateTime(timezone=True), nullable=True),
        sa.Column("resolved_at", libs.events.tables.UtcDateTime(timezone=True), nullable=True),
        sa.Column("closed_at", libs.events.tables.UtcDateTime(timezone=True), nullable=True),
        sa.Column("outcome", sa.String(), nullable=True),
        sa.Column("agent", sa.String(), nullable=True),
        sa.Column("team", sa.String(), nullable=True),
        sa.Column("referred_to", sa.String(), nullable=True),
        sa.Column("reopenings", sa.Integer(), nullable=False),
        sa.Column("acknowledged_late", sa.Boolean(), nullable=False),
        sa.Column("in_time", sa.Boolean(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("stamp", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("case_id"),
    )
    with op.batch_alter_table("cases", schema=None) as batch_op:
        batch_op.create_index("cases_customer", ["customer_id"], unique=False)
        batch_op.create_index("cases_due", ["awaited", "due_at"], unique=False)
        batch_op.create_index("cases_interaction", ["interaction_id"], unique=False)
        batch_op.create_index("cases_received", ["received_at", "case_id"], unique=False)
        batch_op.create_index("cases_ref", ["origin", "case_ref"], unique=False)
        batch_op.create_index("cases_status", ["status", "received_at", "case_id"], unique=False)

    op.create_table(
        "events",
        sa.Column("position", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("id", sa.String().with_variant(sa.String(collation="C"), "postgresql"), nullable=False),
        sa.Column("stream", sa.String().with_variant(sa.String(collation="C"), "postgresql"), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("topic", sa.String(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("time", libs.events.tables.UtcDateTime(timezone=True), nullable=False),
        sa.Column("recordedtime", libs.events.tables.UtcDateTime(timezone=True), nullable=False),
        sa.Column("correlationid", sa.String(), nullable=False),
        sa.Column("causationid", sa.String(), nullable=True),
        sa.Column("traceparent", sa.String(), nullable=True),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("position"),
        sa.UniqueConstraint("id"),
        sa.UniqueConstraint("stream", "version", name="events_stream_version"),
    )
    op.create_table(
        "idempotency",
        sa.Column("principal", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("request_hash", sa.LargeBinary(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("content_type", sa.String(), nullable=False),
        sa.Column("headers", sa.LargeBinary(), nullable=True),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", libs.events.tables.UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("principal", "key"),
    )
    with op.batch_alter_table("idempotency", schema=None) as batch_op:
        batch_op.create_index("idempotency_created", ["created_at"], unique=False)

    op.create_table(
        "inbox",
        sa.Column("consumer_group", sa.String(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("home", sa.Integer(), nullable=False),
        sa.Column("chunk", sa.BigInteger(), nullable=False),
        sa.Column("marks", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("consumer_group", "source", "home", "chunk"),
    )
    op.create_table(
        "meetings",
        sa.Column("place", sa.String(), nullable=False),
        sa.Column("touched", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("place"),
    )
    op.create_table(
        "offsets",
        sa.Column("consumer_group", sa.String(), nullable=False),
        sa.Column("topic", sa.String(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("next", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("consumer_group", "topic", "partition"),
    )
    op.create_table(
        "outbox",
        sa.Column(
            "position", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.PrimaryKeyConstraint("position"),
    )
    op.create_table(
        "projections",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("slot", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("changed_at", libs.events.tables.UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", "slot"),
    )
    op.create_table(
        "quarantine",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("consumer_group", sa.String(), nullable=False),
        sa.Column("handler", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("topic", sa.String(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("key", sa.String(), nullable=True),
        sa.Column("event_id", sa.String(), nullable=True),
        sa.Column("type", sa.String(), nullable=True),
        sa.Column("headers", sa.LargeBinary(), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.Column("timestamp_ms", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("code_version", sa.String(), nullable=False),
        sa.Column("traceparent", sa.String(), nullable=True),
        sa.Column("parked_at", libs.events.tables.UtcDateTime(timezone=True), nullable=False),
        sa.Column("settled_at", libs.events.tables.UtcDateTime(timezone=True), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("number"),
        sa.UniqueConstraint("id"),
    )
    with op.batch_alter_table("quarantine", schema=None) as batch_op:
        batch_op.create_index("quarantine_open", ["consumer_group", "handler", "key", "state"], unique=False)
        batch_op.create_index("quarantine_state", ["state"], unique=False)

    op.create_table(
        "relay_positions",
        sa.Column("topic", sa.String(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("next_offset", sa.BigInteger(), nullable=False),
        sa.Column("chain", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("topic", "partition"),
    )
    op.create_table(
        "requests",
        sa.Column("request_id", sa.String(), nullable=False),
        sa.Column("event_id", sa.String(), nullable=False),
        sa.Column("case_id", sa.String(), nullable=True),
        sa.Column("customer_id", sa.String(), nullable=False),
        sa.Column("channel", sa.String(), nullable=False),
        sa.Column("purpose", sa.String(), nullable=False),
        sa.Column("language", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("pending", sa.Boolean(), nullable=False),
        sa.Column("closed", sa.Boolean(), nullable=False),
        sa.Column("delivery", sa.String(), nullable=False),
        sa.Column("requested_at", libs.events.tables.UtcDateTime(timezone=True), nullable=False),
        sa.Column("expires_at", libs.events.tables.UtcDateTime(timezone=True), nullable=True),
        sa.Column("answered_at", libs.events.tables.UtcDateTime(timezone=True), nullable=True),
        sa.Column("expired_at", libs.events.tables.UtcDateTime(timezone=True), nullable=True),
        sa.Column("expired_reason", sa.String(), nullable=True),
        sa.Column("token_hash", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("request_id"),
    )
    with op.batch_alter_table("requests", schema=None) as batch_op:
        batch_op.create_index("requests_case", ["case_id"], unique=False)
        batch_op.create_index("requests_customer", ["customer_id", "closed"], unique=False)
        batch_op.create_index("requests_queue", ["pending", "channel", "requested_at", "request_id"], unique=False)
        batch_op.create_index("requests_time", ["requested_at", "request_id"], unique=False)
        batch_op.create_index("requests_token", ["token_hash"], unique=True)

    op.create_table(
        "timers",
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("due", libs.events.tables.UtcDateTime(timezone=True), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.Column("correlationid", sa.String(), nullable=True),
        sa.Column("causationid", sa.String(), nullable=True),
        sa.Column("traceparent", sa.String(), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("kind", "key"),
    )
    with op.batch_alter_table("timers", schema=None) as batch_op:
        batch_op.create_index("timers_due", ["due"], unique=False)

    op.create_table(
        "updates",
        sa.Column("event_id", sa.String(), nullable=False),
        sa.Column("origin", sa.String(), nullable=False),
        sa.Column("case_ref", sa.String(), nullable=False),
        sa.Column("interaction_id", sa.String(), nullable=True),
        sa.Column("occurred_at", libs.events.tables.UtcDateTime(timezone=True), nullable=False),
        sa.Column("waiting", sa.Boolean(), nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("correlationid", sa.String(), nullable=False),
        sa.Column("traceparent", sa.String(), nullable=True),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("event_id"),
    )
    with op.batch_alter_table("updates", schema=None) as batch_op:
        batch_op.create_index("updates_interaction", ["interaction_id"], unique=False)
        batch_op.create_index("updates_ref", ["origin", "case_ref"], unique=False)


def downgrade() -> None:
    with op.batch_alter_table("updates", schema=None) as batch_op:
        batch_op.drop_index("updates_ref")
        batch_op.drop_index("updates_interaction")

    op.drop_table("updates")
    with op.batch_alter_table("timers", schema=None) as batch_op:
        batch_op.drop_index("timers_due")

    op.drop_table("timers")
    with op.batch_alter_table("requests", schema=None) as batch_op:
        batch_op.drop_index("requests_token")
        batch_op.drop_index("requests_time")
        batch_op.drop_index("requests_queue")
        batch_op.drop_index("requests_customer")
        batch_op.drop_index("requests_case")

    op.drop_table("requests")
    op.drop_table("relay_positions")
    with op.batch_alter_table("quarantine", schema=None) as batch_op:
        batch_op.drop_index("quarantine_state")
        batch_op.drop_index("quarantine_open")

    op.drop_table("quarantine")
    op.drop_table("projections")
    op.drop_table("outbox")
    op.drop_table("meetings")
    op.drop_table("offsets")
    op.drop_table("inbox")
    with op.batch_alter_table("idempotency", schema=None) as batch_op:
        batch_op.drop_index("idempotency_created")

    op.drop_table("idempotency")
    op.drop_table("events")
    with op.batch_alter_table("cases", schema=None) as batch_op:
        batch_op.drop_index("cases_status")
        batch_op.drop_index("cases_ref")
        batch_op.drop_index("cases_received")
        batch_op.drop_index("cases_interaction")
        batch_op.drop_index("cases_due")
        batch_op.drop_index("cases_customer")

    op.drop_table("cases")
    op.drop_table("attempts")
