"""Rests by model and account, timelines, owners of resources, operators' error rules."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

Id = sa.BigInteger().with_variant(sa.Integer, "sqlite")
Instant: sa.Double[float] = sa.Double()


def upgrade() -> None:
    op.add_column("groups", sa.Column("error_rules", sa.JSON, nullable=True))
    op.add_column(
        "api_keys", sa.Column("account", sa.String(128), nullable=False, server_default="")
    )
    op.add_column("api_keys", sa.Column("model_rests", sa.JSON, nullable=True))
    for column in (
        sa.Column("scope", sa.String(16), nullable=False, server_default=""),
        sa.Column("rest_until", Instant, nullable=True),
        sa.Column("account", sa.String(128), nullable=False, server_default=""),
        sa.Column("signature", sa.String(255), nullable=False, server_default=""),
    ):
        op.add_column("request_logs", column)
    op.create_table(
        "key_changes",
        sa.Column("id", Id, primary_key=True, autoincrement=True),
        sa.Column("key_id", Id, nullable=False),
        sa.Column("group_id", Id, nullable=False),
        sa.Column("at", Instant, nullable=False),
        sa.Column("event", sa.String(32), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("strikes", sa.Integer, nullable=False, server_default="0"),
        sa.Column("until", Instant, nullable=True),
        sa.Column("model", sa.String(255), nullable=False, server_default=""),
        sa.Column("account", sa.String(128), nullable=False, server_default=""),
        sa.Column("reason", sa.String(128), nullable=False, server_default=""),
        sa.Column("status_code", sa.Integer, nullable=False, server_default="0"),
        sa.Column("exchange_id", sa.String(36), nullable=False, server_default=""),
    )
    op.create_index("idx_key_changes_key_id", "key_changes", ["key_id", "id"])
    op.create_index("idx_key_changes_at", "key_changes", ["at"])
    op.create_table(
        "resource_owners",
        sa.Column("group_id", Id, primary_key=True, autoincrement=False),
        sa.Column("resource", sa.String(200), primary_key=True),
        sa.Column("key_id", Id, nullable=False),
        sa.Column("upstream", sa.Integer, nullable=False),
        sa.Column("until", Instant, nullable=False),
    )
    op.create_index("idx_resource_owners_until", "resource_owners", ["until"])


def downgrade() -> None:
    op.drop_table("resource_owners")
    op.drop_table("key_changes")
    for column in ("signature", "account", "rest_until", "scope"):
        op.drop_column("request_logs", column)
    op.drop_column("api_keys", "model_rests")
    op.drop_column("api_keys", "account")
    op.drop_column("groups", "error_rules")
