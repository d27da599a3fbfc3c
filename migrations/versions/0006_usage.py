"""What each attempt took in tokens and money."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

TOKENS = (
    "input_tokens",
    "output_tokens",
    "cached_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
    "audio_tokens",
)


def upgrade() -> None:
    for name in TOKENS:
        op.add_column("request_logs", sa.Column(name, sa.Integer, nullable=True))
    op.add_column("request_logs", sa.Column("cost_nano", sa.BigInteger, nullable=True))


def downgrade() -> None:
    for name in ("cost_nano", *TOKENS):
        op.drop_column("request_logs", name)
