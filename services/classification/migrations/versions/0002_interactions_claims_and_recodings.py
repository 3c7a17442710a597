"""interactions kept sealed, claims, second codings, recodings"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

import libs.events.tables

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

EPOCH = "2020-01-01 00:00:00.000000"


def upgrade() -> None:
    op.rename_table("uncoded", "sealed")
    op.create_table(
        "claims",
        sa.Column("interaction_id", sa.String(), nullable=False),
        sa.Column("purpose", sa.String(), nullable=False),
        sa.Column("person", sa.String(), nullable=False),
        sa.Column("claimed_at", libs.events.tables.UtcDateTime(), nullable=False),
        sa.Column("until", libs.events.tables.UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("interaction_id", "purpose"),
    )
    op.create_table(
        "second_codings",
        sa.Column("interaction_id", sa.String(), nullable=False),
        sa.Column("at", libs.events.tables.UtcDateTime(), nullable=False),
        sa.Column("person", sa.String(), nullable=False),
        sa.Column("motive", sa.String(), nullable=False),
        sa.Column("cause", sa.String(), nullable=False),
        sa.Column("first_person", sa.String(), nullable=False),
        sa.Column("first_motive", sa.String(), nullable=False),
        sa.Column("first_cause", sa.String(), nullable=False),
        sa.Column("machine_motive", sa.String(), nullable=True),
        sa.Column("machine_cause", sa.String(), nullable=True),
        sa.Column("rulebook_version", sa.Integer(), nullable=False),
        sa.Column("agreed", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("interaction_id"),
    )
    with op.batch_alter_table("second_codings", schema=None) as batch_op:
        batch_op.create_index("second_codings_at", ["at", "interaction_id"], unique=False)

    op.create_table(
        "recodings",
        sa.Column("recoding_id", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("asked_by", sa.String(), nullable=False),
        sa.Column("asked_at", libs.events.tables.UtcDateTime(), nullable=False),
        sa.Column("started_by", sa.String(), nullable=True),
        sa.Column("started_at", libs.events.tables.UtcDateTime(), nullable=True),
        sa.Column("ended_at", libs.events.tables.UtcDateTime(), nullable=True),
        sa.Column("rulebook_version", sa.Integer(), nullable=False),
        sa.Column("model_version", sa.String(), nullable=False),
        sa.Column("since", libs.events.tables.UtcDateTime(), nullable=True),
        sa.Column("until", libs.events.tables.UtcDateTime(), nullable=True),
        sa.Column("motive", sa.String(), nullable=True),
        sa.Column("per_second", sa.Integer(), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("position", sa.String(), nullable=False),
        sa.Column("counts", sa.JSON(), nullable=False),
        sa.Column("moves", sa.JSON(), nullable=False),
        sa.Column("preview", sa.JSON(), nullable=True),
        sa.PrimaryKeyConstraint("recoding_id"),
    )
    with op.batch_alter_table("recodings", schema=None) as batch_op:
        batch_op.create_index("recodings_asked", ["asked_at", "recoding_id"], unique=False)

    with op.batch_alter_table("decisions", schema=None) as batch_op:
        batch_op.add_column(sa.Column("by", sa.String(), nullable=True))
        batch_op.add_column(
            sa.Column("decided_at", libs.events.tables.UtcDateTime(), nullable=False, server_default=EPOCH)
        )
        batch_op.add_column(sa.Column("gain", sa.Float(), nullable=False, server_default="0"))
        batch_op.add_column(sa.Column("sample", sa.Float(), nullable=False, server_default="1"))
        batch_op.drop_index("decisions_review")
        batch_op.create_index("decisions_gain", ["review", "gain", "interaction_id"], unique=False)
        batch_op.create_index("decisions_version", ["rulebook_version", "interaction_id"], unique=False)
        batch_op.create_index("decisions_motive", ["motive", "decided_by", "interaction_id"], unique=False)
        batch_op.create_index("decisions_sample", ["decided_by", "sample"], unique=False)

    # Decisions from before stand in the queue by their uncertainty alone, and are not coded twice; the next decision about an
    # interaction gives its row the exact numbers.
    op.execute("UPDATE decisions SET gain = 1 - confidence")
    op.execute(
        "UPDATE decisions SET decided_at = (SELECT time FROM events WHERE stream = 'classification/' || interaction_id"
        " ORDER BY version DESC LIMIT 1) WHERE EXISTS (SELECT 1 FROM events WHERE stream = 'classification/' || interaction_id)"
    )
    with op.batch_alter_table("decisions", schema=None) as batch_op:
        for column in ("decided_at", "gain", "sample"):
            batch_op.alter_column(column, server_default=None)


def downgrade() -> None:
    with op.batch_alter_table("decisions", schema=None) as batch_op:
        for index in ("decisions_sample", "decisions_motive", "decisions_version", "decisions_gain"):
            batch_op.drop_index(index)
        for column in ("sample", "gain", "decided_at", "by"):
            batch_op.drop_column(column)
        batch_op.create_index("decisions_review", ["review", "confidence", "interaction_id"], unique=False)

    with op.batch_alter_table("recodings", schema=None) as batch_op:
        batch_op.drop_index("recodings_asked")

    op.drop_table("recodings")
    with op.batch_alter_table("second_codings", schema=None) as batch_op:
        batch_op.drop_index("second_codings_at")

    op.drop_table("second_codings")
    op.drop_table("claims")
    op.execute(
        "DELETE FROM sealed WHERE interaction_id NOT IN (SELECT interaction_id FROM decisions WHERE rulebook_version = 0)"
    )
    op.rename_table("sealed", "uncoded")
