"""Tasks, and keys that were deleted a moment ago."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

Id = sa.BigInteger().with_variant(sa.Integer, "sqlite")
Instant: sa.Double[float] = sa.Double()


def upgrade() -> None:
    op.create_table(
        "tasks",
        sa.Column("id", Id, primary_key=True, autoincrement=True),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("group_id", Id, nullable=False),
        sa.Column("group_name", sa.String(255), nullable=False, server_default=""),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("running_group", Id, nullable=True),
        sa.Column("owner", sa.String(64), nullable=False),
        sa.Column("lease_until", Instant, nullable=False),
        sa.Column("is_cancelled", sa.Boolean, nullable=False, server_default="0"),
        sa.Column("processed", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("total", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("result", sa.JSON, nullable=True),
        sa.Column("error", sa.String(512), nullable=False, server_default=""),
        sa.Column("started_at", Instant, nullable=False),
        sa.Column("updated_at", Instant, nullable=False),
        sa.Column("finished_at", Instant, nullable=True),
        sa.UniqueConstraint("running_group", name="idx_tasks_running_group"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "removed_keys",
        sa.Column("id", Id, primary_key=True, autoincrement=False),
        sa.Column("key_value", sa.Text, nullable=False),
        sa.Column("key_hash", sa.String(128), nullable=False),
        sa.Column("group_id", Id, sa.ForeignKey("groups.id", ondelete="CASCADE"), nullable=False),
        sa.Column("status", sa.String(50), nullable=False),
        sa.Column("notes", sa.String(255), nullable=False),
        sa.Column("request_count", sa.BigInteger, nullable=False),
        sa.Column("failure_count", sa.Integer, nullable=False),
        sa.Column("last_used_at", Instant, nullable=True),
        sa.Column("created_at", Instant, nullable=False),
        sa.Column("updated_at", Instant, nullable=False),
        sa.Column("rest_until", Instant, nullable=True),
        sa.Column("reason", sa.String(128), nullable=False),
        sa.Column("changed_at", Instant, nullable=True),
        sa.Column("weight", sa.Integer, nullable=False),
        sa.Column("account", sa.String(128), nullable=False),
        sa.Column("model_rests", sa.JSON, nullable=True),
        sa.Column("batch", sa.String(32), nullable=False),
        sa.Column("removed_at", Instant, nullable=False),
    )
    op.create_index("idx_removed_keys_batch", "removed_keys", ["batch", "id"])
    op.create_index("idx_removed_keys_group_id", "removed_keys", ["group_id"])
    op.create_index("idx_removed_keys_removed_at", "removed_keys", ["removed_at"])


def downgrade() -> None:
    op.drop_table("removed_keys")
    op.drop_table("tasks")
