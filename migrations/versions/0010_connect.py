"""How long each attempt waited for a connection."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Last, nullable and without a default: all three databases only note that it is there,
    # however many rows the log has.
    op.add_column("request_logs", sa.Column("connect_ms", sa.BigInteger, nullable=True))


def downgrade() -> None:
    op.drop_column("request_logs", "connect_ms")
