"""signatures under procedures, topics among what fits nothing"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

import libs.events.tables

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "signatures",
        sa.Column("procedure", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("team", sa.String(), nullable=False),
        sa.Column("signed_at", libs.events.tables.UtcDateTime(), nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("changed_at", libs.events.tables.UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("procedure", "version", "team"),
    )
    op.create_table(
        "topics",
        sa.Column("topic_id", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("motive", sa.String(), nullable=True),
        sa.Column("by", sa.String(), nullable=True),
        sa.Column("settled_at", libs.events.tables.UtcDateTime(), nullable=True),
        sa.Column("current", sa.Boolean(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("customers", sa.Integer(), nullable=False),
        sa.Column("words", sa.JSON(), nullable=False),
        sa.Column("members", sa.JSON(), nullable=False),
        sa.Column("first_at", libs.events.tables.UtcDateTime(), nullable=False),
        sa.Column("last_at", libs.events.tables.UtcDateTime(), nullable=False),
        sa.Column("found_at", libs.events.tables.UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("topic_id"),
    )
    with op.batch_alter_table("topics", schema=None) as batch_op:
        batch_op.create_index("topics_state", ["state", "size", "topic_id"], unique=False)


def downgrade() -> None:
    with op.batch_alter_table("topics", schema=None) as batch_op:
        batch_op.drop_index("topics_state")

    op.drop_table("topics")
    op.drop_table("signatures")
