"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.mysql import MEDIUMTEXT

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# As they were when this step was written; tables.py moves on.
Id = sa.BigInteger().with_variant(sa.Integer, "sqlite")
Instant: sa.Double[float] = sa.Double()
# MySQL's TEXT ends at 65,535 bytes.
LongText = sa.Text().with_variant(MEDIUMTEXT, "mysql")


def upgrade() -> None:
    op.create_table(
        "system_settings",
        sa.Column("id", Id, primary_key=True, autoincrement=True),
        sa.Column("setting_key", sa.String(255), nullable=False, unique=True),
        sa.Column("setting_value", LongText, nullable=False),
        sa.Column("description", sa.String(512), nullable=False, server_default=""),
        sa.Column("created_at", Instant, nullable=False),
        sa.Column("updated_at", Instant, nullable=False),
    )
    op.create_table(
        "groups",
        sa.Column("id", Id, primary_key=True, autoincrement=True),
        sa.Column("name", sa.String(255), nullable=False, unique=True),
        sa.Column("display_name", sa.String(255), nullable=False, server_default=""),
        sa.Column("proxy_keys", LongText, nullable=False),
        sa.Column("description", sa.String(512), nullable=False, server_default=""),
        sa.Column("group_type", sa.String(50), nullable=False, server_default="standard"),
        sa.Column("upstreams", sa.JSON, nullable=False),
        sa.Column("validation_endpoint", sa.String(255), nullable=False, server_default=""),
        sa.Column("channel_type", sa.String(50), nullable=False),
        sa.Column("sort", sa.Integer, nullable=False, server_default="0"),
        sa.Column("test_model", sa.String(255), nullable=False),
        sa.Column("param_overrides", sa.JSON, nullable=False),
        sa.Column("config", sa.JSON, nullable=False),
        sa.Column("header_rules", sa.JSON, nullable=False),
        sa.Column("model_redirect_rules", sa.JSON, nullable=False),
        sa.Column("model_redirect_strict", sa.Boolean, nullable=False, server_default="0"),
        sa.Column("last_validated_at", Instant, nullable=True),
        sa.Column("created_at", Instant, nullable=False),
        sa.Column("updated_at", Instant, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "group_sub_groups",
        sa.Column("id", Id, primary_key=True, autoincrement=True),
        sa.Column("group_id", Id, sa.ForeignKey("groups.id", ondelete="CASCADE"), nullable=False),
        sa.Column(
            "sub_group_id", Id, sa.ForeignKey("groups.id", ondelete="CASCADE"), nullable=False
        ),
        sa.Column("weight", sa.Integer, nullable=False, server_default="0"),
        sa.Column("created_at", Instant, nullable=False),
        sa.Column("updated_at", Instant, nullable=False),
        sa.UniqueConstraint("group_id", "sub_group_id", name="idx_group_sub"),
    )
    op.create_table(
        "api_keys",
        sa.Column("id", Id, primary_key=True, autoincrement=True),
        sa.Column("key_value", sa.Text, nullable=False),
        sa.Column("key_hash", sa.String(128), nullable=False),
        sa.Column("group_id", Id, sa.ForeignKey("groups.id", ondelete="CASCADE"), nullable=False),
        sa.Column("status", sa.String(50), nullable=False, server_default="active"),
        sa.Column("notes", sa.String(255), nullable=False, server_default=""),
        sa.Column("request_count", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("failure_count", sa.Integer, nullable=False, server_default="0"),
        sa.Column("last_used_at", Instant, nullable=True),
        sa.Column("created_at", Instant, nullable=False),
        sa.Column("updated_at", Instant, nullable=False),
        sa.Column("rest_until", Instant, nullable=True),
        sa.Column("reason", sa.String(128), nullable=False, server_default=""),
        sa.Column("changed_at", Instant, nullable=True),
        sa.Column("weight", sa.Integer, nullable=False, server_default="1"),
        sa.UniqueConstraint("group_id", "key_hash", name="idx_api_keys_group_hash"),
        sqlite_autoincrement=True,
    )
    op.create_index("idx_api_keys_key_hash", "api_keys", ["key_hash"])
    op.create_index("idx_api_keys_group_status", "api_keys", ["group_id", "status"])
    op.create_index(
        "idx_api_keys_group_last_used_id", "api_keys", ["group_id", "last_used_at", "id"]
    )
    op.create_table(
        "request_logs",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("timestamp", Instant, nullable=False),
        sa.Column("group_id", Id, nullable=False),
        sa.Column("group_name", sa.String(255), nullable=False, server_default=""),
        sa.Column("parent_group_id", Id, nullable=False, server_default="0"),
        sa.Column("parent_group_name", sa.String(255), nullable=False, server_default=""),
        sa.Column("key_value", sa.Text, nullable=False),
        sa.Column("key_hash", sa.String(128), nullable=False, server_default=""),
        sa.Column("model", sa.String(255), nullable=False, server_default=""),
        sa.Column("is_success", sa.Boolean, nullable=False),
        sa.Column("source_ip", sa.String(64), nullable=False, server_default=""),
        sa.Column("status_code", sa.Integer, nullable=False),
        sa.Column("request_path", sa.String(500), nullable=False, server_default=""),
        sa.Column("duration", sa.BigInteger, nullable=False),
        sa.Column("error_message", sa.Text, nullable=False),
        sa.Column("user_agent", sa.String(512), nullable=False, server_default=""),
        sa.Column("request_type", sa.String(20), nullable=False, server_default="final"),
        sa.Column("upstream_addr", sa.String(500), nullable=False, server_default=""),
        sa.Column("is_stream", sa.Boolean, nullable=False),
        sa.Column("request_body", LongText, nullable=False),
        sa.Column("exchange_id", sa.String(36), nullable=False, server_default=""),
        sa.Column("key_id", Id, nullable=False, server_default="0"),
        sa.Column("first_byte_ms", sa.BigInteger, nullable=True),
        sa.Column("total_ms", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("outcome", sa.String(32), nullable=False, server_default=""),
        sa.Column("reason", sa.String(128), nullable=False, server_default=""),
        sa.Column("method", sa.String(16), nullable=False, server_default=""),
    )
    op.create_index("idx_request_logs_timestamp", "request_logs", ["timestamp", "id"])
    op.create_index("idx_request_logs_group_id", "request_logs", ["group_id", "timestamp"])
    op.create_index("idx_request_logs_key_hash", "request_logs", ["key_hash"])
    op.create_index("idx_request_logs_model", "request_logs", ["model"])
    op.create_index("idx_request_logs_exchange_id", "request_logs", ["exchange_id"])
    op.create_table(
        "group_hourly_stats",
        sa.Column("id", Id, primary_key=True, autoincrement=True),
        sa.Column("time", Instant, nullable=False),
        sa.Column("group_id", Id, nullable=False),
        sa.Column("success_count", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("failure_count", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("created_at", Instant, nullable=False),
        sa.Column("updated_at", Instant, nullable=False),
        sa.UniqueConstraint("time", "group_id", name="idx_group_time"),
    )
    op.create_table(
        "journal_positions",
        sa.Column("segment", sa.String(64), primary_key=True),
        sa.Column("offset", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "facts",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )


def downgrade() -> None:
    for name in (
        "facts",
        "journal_positions",
        "group_hourly_stats",
        "request_logs",
        "api_keys",
        "group_sub_groups",
        "groups",
        "system_settings",
    ):
        op.drop_table(name)
