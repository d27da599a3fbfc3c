"""Who said how long a key rests."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("key_changes", sa.Column("named", sa.Boolean(), nullable=True))


def downgrade() -> None:
    op.drop_column("key_changes", "named")
