"""what series of product, team, procedure and component are counted by"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0006"
down_revision: str | None = "0005"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

NAMES = ("product", "team", "procedure", "component")
HELD = ("product", "team", "procedure")


def upgrade() -> None:
    op.create_table(
        "snapshots",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("under", sa.String(), nullable=False),
        sa.Column("at", sa.Date(), nullable=False),
        sa.Column("checksum", sa.String(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    with op.batch_alter_table("contacts", schema=None) as batch_op:
        for name in NAMES:
            batch_op.add_column(sa.Column(name, sa.String(), server_default="", nullable=False))
    op.add_column("particulars", sa.Column("component", sa.String(), nullable=True))
    # What was counted before is counted anew in the new series when the service starts: by what is written down of it here.
    contacts = sa.table("contacts", sa.column("interaction_id"), *(sa.column(name) for name in HELD))
    particulars = sa.table("particulars", sa.column("interaction_id"), *(sa.column(name) for name in HELD))
    known = {
        name: sa.func.coalesce(
            sa.select(particulars.c[name])
            .where(particulars.c.interaction_id == contacts.c.interaction_id)
            .scalar_subquery(),
            "",
        )
        for name in HELD
    }
    op.execute(sa.update(contacts).values(known))
    with op.batch_alter_table("contacts", schema=None) as batch_op:
        for name in NAMES:
            batch_op.alter_column(name, existing_type=sa.String(), existing_nullable=False, server_default=None)


def downgrade() -> None:
    op.drop_table("snapshots")
    op.execute("DELETE FROM days WHERE series NOT IN ('touchpoint', 'location')")
    op.execute("DELETE FROM watermarks WHERE name = 'series'")
    op.drop_column("particulars", "component")
    with op.batch_alter_table("contacts", schema=None) as batch_op:
        for name in reversed(NAMES):
            batch_op.drop_column(name)
