"""what series of segments are counted by; whether something was done or left undone"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0007"
down_revision: str | None = "0006"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    with op.batch_alter_table("contacts", schema=None) as batch_op:
        batch_op.add_column(sa.Column("segment", sa.String(), server_default="", nullable=False))
    contacts = sa.table("contacts", sa.column("interaction_id"), sa.column("segment"))
    particulars = sa.table("particulars", sa.column("interaction_id"), sa.column("segment"))
    known = (
        sa.select(particulars.c.segment)
        .where(particulars.c.interaction_id == contacts.c.interaction_id)
        .scalar_subquery()
    )
    op.execute(sa.update(contacts).values(segment=sa.func.coalesce(known, "")))
    with op.batch_alter_table("contacts", schema=None) as batch_op:
        batch_op.alter_column("segment", existing_type=sa.String(), existing_nullable=False, server_default=None)
    # Of what was coded before, the rulebook says it by the cause: until then no person could say otherwise.
    op.add_column("particulars", sa.Column("act", sa.String(), nullable=True))


def downgrade() -> None:
    op.drop_column("particulars", "act")
    op.execute("DELETE FROM days WHERE series LIKE '%segment%'")
    op.execute("DELETE FROM watermarks WHERE name = 'series'")
    with op.batch_alter_table("contacts", schema=None) as batch_op:
        batch_op.drop_column("segment")
