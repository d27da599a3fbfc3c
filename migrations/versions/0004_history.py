"""The history of settings, and the audit log of the admin API."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

Id = sa.BigInteger().with_variant(sa.Integer, "sqlite")
Instant: sa.Double[float] = sa.Double()
LongText = sa.Text().with_variant(mysql.MEDIUMTEXT, "mysql")


def upgrade() -> None:
    op.create_table(
        "setting_history",
        sa.Column("id", Id, primary_key=True, autoincrement=True),
        sa.Column("at", Instant, nullable=False),
        sa.Column("source_ip", sa.String(64), nullable=False, server_default=""),
        sa.Column("setting_key", sa.String(255), nullable=False),
        sa.Column("old_value", LongText, nullable=True),
        sa.Column("new_value", LongText, nullable=True),
        sa.Column("undo_of", Id, nullable=True),
    )
    op.create_index("idx_setting_history_key", "setting_history", ["setting_key", "id"])
    op.create_table(
        "audit_log",
        sa.Column("id", Id, primary_key=True, autoincrement=True),
        sa.Column("at", Instant, nullable=False),
        sa.Column("source_ip", sa.String(64), nullable=False, server_default=""),
        sa.Column("method", sa.String(16), nullable=False),
        sa.Column("route", sa.String(128), nullable=False),
        sa.Column("subject", sa.String(32), nullable=False),
        sa.Column("subject_id", Id, nullable=True),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("before", sa.JSON, nullable=True),
        sa.Column("after", sa.JSON, nullable=True),
    )
    op.create_index("idx_audit_log_at", "audit_log", ["at"])
    op.create_index("idx_audit_log_subject", "audit_log", ["subject", "subject_id"])


def downgrade() -> None:
    op.drop_table("audit_log")
    op.drop_table("setting_history")
