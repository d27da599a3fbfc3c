"""Who asked for each task."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("tasks", sa.Column("source_ip", sa.String(64), nullable=False, server_default=""))


def downgrade() -> None:
    op.drop_column("tasks", "source_ip")
