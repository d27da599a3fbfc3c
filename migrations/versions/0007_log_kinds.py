"""Kinds of log rows, in the place of an index for each filter."""

from __future__ import annotations

import hashlib

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

Id = sa.BigInteger().with_variant(sa.Integer, "sqlite")

NAMED = (
    "group_name",
    "parent_group_name",
    "model",
    "is_success",
    "status_code",
    "request_type",
)
MOST_KINDS = 5000
OTHERS = "…"
OLD = {
    "idx_request_logs_timestamp": ("timestamp", "id"),
    "idx_request_logs_group_id": ("group_id", "timestamp"),
    "idx_request_logs_key": ("key_hash", "timestamp", "id"),
    "idx_request_logs_model_time": ("model", "timestamp", "id"),
    "idx_request_logs_group_name": ("group_name", "timestamp", "id"),
    "idx_request_logs_parent_name": ("parent_group_name", "timestamp", "id"),
    "idx_request_logs_success": ("is_success", "timestamp", "id"),
    "idx_request_logs_type": ("request_type", "timestamp", "id"),
    "idx_request_logs_status": ("status_code", "timestamp", "id"),
    "idx_request_logs_ip": ("source_ip", "timestamp", "id"),
}
NEW = {
    "idx_request_logs_timestamp": ("timestamp", "id", "kind_id"),
    "idx_request_logs_kind": ("kind_id", "timestamp", "id"),
    "idx_request_logs_key": ("key_hash", "timestamp", "id", "kind_id"),
    "idx_request_logs_ip": ("source_ip", "kind_id", "timestamp", "id"),
}


def upgrade() -> None:
    kinds = op.create_table(
        "log_kinds",
        sa.Column("id", Id, primary_key=True, autoincrement=True),
        sa.Column("digest", sa.String(32), nullable=False),
        sa.Column("group_name", sa.String(255), nullable=False),
        sa.Column("parent_group_name", sa.String(255), nullable=False),
        sa.Column("model", sa.String(255), nullable=False),
        sa.Column("is_success", sa.Boolean, nullable=False),
        sa.Column("status_code", sa.Integer, nullable=False),
        sa.Column("request_type", sa.String(20), nullable=False),
        sa.Column("count", sa.BigInteger, nullable=False, server_default="0"),
        sa.UniqueConstraint("digest", name="idx_log_kinds_digest"),
        sqlite_autoincrement=True,
    )
    for name in OLD:
        op.drop_index(name, "request_logs")
    op.add_column("request_logs", sa.Column("kind_id", Id, nullable=False, server_default="0"))
    _fill(kinds)
    for name, columns in NEW.items():
        op.create_index(name, "request_logs", list(columns))


def downgrade() -> None:
    for name in NEW:
        op.drop_index(name, "request_logs")
    op.drop_column("request_logs", "kind_id")
    op.drop_table("log_kinds")
    for name, columns in OLD.items():
        op.create_index(name, "request_logs", list(columns))


def _fill(kinds: sa.Table) -> None:
    """A kind for each combination that there is, the most frequent ones first."""
    connection = op.get_bind()
    logs = sa.table("request_logs", sa.column("kind_id"), *map(sa.column, NAMED))
    named = [logs.c[name] for name in NAMED]
    number = sa.func.count()
    found = connection.execute(sa.select(*named, number).group_by(*named).order_by(number.desc()))
    rows: dict[str, dict[str, object]] = {}
    for place, (*values, count) in enumerate(found):
        row = dict(zip(NAMED, values, strict=True))
        row["is_success"] = bool(row["is_success"])
        if place >= MOST_KINDS:
            row["model"] = OTHERS
        one = _digest(row)
        rows.setdefault(one, {**row, "digest": one, "count": 0})["count"] += count  # type: ignore[operator]
    if not rows:
        return
    op.bulk_insert(kinds, list(rows.values()))
    op.create_index("idx_log_kinds_model", "log_kinds", ["model"])
    same = [kinds.c[name] == logs.c[name] for name in NAMED if name != "model"]
    for model in (kinds.c.model == logs.c.model, kinds.c.model == OTHERS):
        # The least, where a database takes two names for one.
        kind = sa.select(sa.func.min(kinds.c.id)).where(*same, model).scalar_subquery()
        value = sa.func.coalesce(kind, 0)
        connection.execute(sa.update(logs).where(logs.c.kind_id == 0).values(kind_id=value))
    op.drop_index("idx_log_kinds_model", "log_kinds")


def _digest(row: dict[str, object]) -> str:
    values = [row[name] for name in NAMED]
    joined = "\0".join(str(int(v) if isinstance(v, bool) else v) for v in values)
    return hashlib.blake2b(joined.encode("utf-8", "replace"), digest_size=16).hexdigest()
