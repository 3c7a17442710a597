"""what natures are read from, contacts of findings, lessons of dismissals, changes and exposure"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

import libs.events.tables

revision: str = "0005"
down_revision: str | None = "0004"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

KEPT = ("interaction_id", "revision", "customer_id", "occurred_at", "counted", "motive", "cause", "supplier")


def upgrade() -> None:
    op.create_table(
        "particulars",
        sa.Column("interaction_id", sa.String(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("customer_id", sa.String(), nullable=False),
        sa.Column("occurred_at", libs.events.tables.UtcDateTime(), nullable=False),
        sa.Column("counted", sa.Boolean(), nullable=False),
        sa.Column("motive", sa.String(), nullable=False),
        sa.Column("cause", sa.String(), nullable=False),
        sa.Column("severity", sa.String(), nullable=True),
        sa.Column("channel", sa.String(), nullable=True),
        sa.Column("touchpoint", sa.String(), nullable=True),
        sa.Column("location", sa.String(), nullable=True),
        sa.Column("product", sa.String(), nullable=True),
        sa.Column("team", sa.String(), nullable=True),
        sa.Column("agent", sa.String(), nullable=True),
        sa.Column("supplier", sa.String(), nullable=True),
        sa.Column("segment", sa.String(), nullable=True),
        sa.Column("procedure", sa.String(), nullable=True),
        sa.Column("procedure_version", sa.Integer(), nullable=True),
        sa.Column("norm", sa.String(), nullable=True),
        sa.Column("signed", sa.Boolean(), nullable=True),
        sa.PrimaryKeyConstraint("interaction_id"),
    )
    with op.batch_alter_table("particulars", schema=None) as batch_op:
        batch_op.create_index("particulars_customer", ["customer_id", "occurred_at"], unique=False)
        batch_op.create_index("particulars_motive", ["motive", "occurred_at"], unique=False)
    # What the monitor had counted before; team, agent and the rest of older contacts stay unknown.
    names = ", ".join(KEPT)
    op.execute(
        f"INSERT INTO particulars ({names}, touchpoint, location) "  # noqa: S608  # names of our own
        f"SELECT {names}, NULLIF(touchpoint, ''), NULLIF(location, '') FROM contacts"
    )
    op.create_table(
        "outcomes",
        sa.Column("case_id", sa.String(), nullable=False),
        sa.Column("interaction_id", sa.String(), nullable=True),
        sa.Column("customer_id", sa.String(), nullable=False),
        sa.Column("outcome", sa.String(), nullable=True),
        sa.Column("outcome_at", libs.events.tables.UtcDateTime(), nullable=True),
        sa.Column("procedure", sa.String(), nullable=True),
        sa.Column("procedure_at", libs.events.tables.UtcDateTime(), nullable=True),
        sa.Column("helped", sa.String(), nullable=True),
        sa.Column("score", sa.Integer(), nullable=True),
        sa.Column("answered_at", libs.events.tables.UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("case_id"),
    )
    with op.batch_alter_table("outcomes", schema=None) as batch_op:
        batch_op.create_index("outcomes_interaction", ["interaction_id"], unique=False)

    op.create_table(
        "links",
        sa.Column("finding_id", sa.String(), nullable=False),
        sa.Column("interaction_id", sa.String(), nullable=False),
        sa.Column("joined_at", libs.events.tables.UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("finding_id", "interaction_id"),
    )
    with op.batch_alter_table("links", schema=None) as batch_op:
        batch_op.create_index("links_interaction", ["interaction_id"], unique=False)

    op.create_table(
        "thresholds",
        sa.Column("finding_id", sa.String(), nullable=False),
        sa.Column("slice", sa.JSON(), nullable=False),
        sa.Column("slice_key", sa.String(), nullable=False),
        sa.Column("factor", sa.Float(), nullable=False),
        sa.Column("at", libs.events.tables.UtcDateTime(), nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("withdrawn", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("finding_id"),
    )
    with op.batch_alter_table("thresholds", schema=None) as batch_op:
        batch_op.create_index("thresholds_slice", ["slice_key", "withdrawn"], unique=False)

    op.create_table(
        "changes",
        sa.Column("change_id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("at", libs.events.tables.UtcDateTime(), nullable=False),
        sa.Column("what", sa.String(), nullable=False),
        sa.Column("code", sa.String(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=True),
        sa.Column("where", sa.JSON(), nullable=False),
        sa.Column("recorded_at", libs.events.tables.UtcDateTime(), nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("withdrawn", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("change_id"),
    )
    with op.batch_alter_table("changes", schema=None) as batch_op:
        batch_op.create_index("changes_at", ["at", "change_id"], unique=False)

    op.create_table(
        "exposures",
        sa.Column("unit", sa.String(), nullable=False),
        sa.Column("slice_key", sa.String(), nullable=False),
        sa.Column("since", sa.Date(), nullable=False),
        sa.Column("until", sa.Date(), nullable=False),
        sa.Column("slice", sa.JSON(), nullable=False),
        sa.Column("amount", sa.Float(), nullable=False),
        sa.Column("recorded_at", libs.events.tables.UtcDateTime(), nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("unit", "slice_key", "since", "until"),
    )
    empty = sa.text("'[]'")
    with op.batch_alter_table("findings", schema=None) as batch_op:
        batch_op.add_column(sa.Column("confirmed_by", sa.String(), nullable=True))
        batch_op.add_column(sa.Column("investigation", sa.JSON(), nullable=True))
        batch_op.add_column(sa.Column("proposals", sa.JSON(), server_default=empty, nullable=False))
        batch_op.add_column(sa.Column("levels", sa.JSON(), server_default=empty, nullable=False))
        batch_op.add_column(sa.Column("part_of", sa.String(), nullable=True))
        batch_op.add_column(sa.Column("parts", sa.JSON(), server_default=sa.text("'{}'"), nullable=False))
        batch_op.add_column(sa.Column("split_from", sa.String(), nullable=True))
        batch_op.add_column(sa.Column("ended_at", libs.events.tables.UtcDateTime(), nullable=True))
        batch_op.create_index("findings_part_of", ["part_of"], unique=False)
    with op.batch_alter_table("findings", schema=None) as batch_op:
        for name in ("proposals", "levels", "parts"):
            batch_op.alter_column(name, existing_type=sa.JSON(), existing_nullable=False, server_default=None)


def downgrade() -> None:
    with op.batch_alter_table("findings", schema=None) as batch_op:
        batch_op.drop_index("findings_part_of")
        for name in (
            "ended_at", "split_from", "parts", "part_of", "levels", "proposals", "investigation", "confirmed_by",
        ):  # fmt: skip
            batch_op.drop_column(name)
    for name in ("exposures", "changes", "thresholds", "links", "outcomes", "particulars"):
        op.drop_table(name)
