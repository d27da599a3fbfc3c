"""Roll-ups in the place of hourly counts, and an index for each filter of the log."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.mysql import MEDIUMTEXT

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

Id = sa.BigInteger().with_variant(sa.Integer, "sqlite")
Instant: sa.Double[float] = sa.Double()
LongText = sa.Text().with_variant(MEDIUMTEXT, "mysql")

FILTERS = {
    "idx_request_logs_key": "key_hash",
    "idx_request_logs_model_time": "model",
    "idx_request_logs_group_name": "group_name",
    "idx_request_logs_parent_name": "parent_group_name",
    "idx_request_logs_success": "is_success",
    "idx_request_logs_type": "request_type",
    "idx_request_logs_status": "status_code",
    "idx_request_logs_ip": "source_ip",
}
REPLACED = {"idx_request_logs_key_hash": "key_hash", "idx_request_logs_model": "model"}
_NO_DETAIL = "[[],[],[]]"


def upgrade() -> None:
    rollups = op.create_table(
        "rollups",
        sa.Column("kind", sa.String(8), primary_key=True),
        sa.Column("step", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("at", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("subject", sa.String(64), primary_key=True),
        sa.Column("group_id", Id, nullable=False, server_default="0"),
        sa.Column("name", sa.String(255), nullable=False, server_default=""),
        sa.Column("requests", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("succeeded", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("attempts", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("detail", sa.Text, nullable=False),
    )
    op.create_table(
        "rollup_pending",
        sa.Column("id", Id, primary_key=True, autoincrement=True),
        sa.Column("count", sa.Integer, nullable=False),
        sa.Column("records", LongText, nullable=False),
    )
    _keep_hours(rollups)
    op.drop_table("group_hourly_stats")
    for name in REPLACED:
        op.drop_index(name, "request_logs")
    for name, column in FILTERS.items():
        op.create_index(name, "request_logs", [column, "timestamp", "id"])


def downgrade() -> None:
    for name in FILTERS:
        op.drop_index(name, "request_logs")
    for name, column in REPLACED.items():
        op.create_index(name, "request_logs", [column])
    hours = op.create_table(
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
    old = sa.table("rollups", *map(sa.column, ("kind", "step", "at", "group_id")))
    counts = [sa.column("succeeded"), sa.column("requests") - sa.column("succeeded")]
    query = sa.select(old.c.at, old.c.group_id, *counts, sa.literal(0.0), sa.literal(0.0)).where(
        old.c.kind == "group", old.c.step == 3600, old.c.group_id > 0
    )
    op.execute(
        hours.insert().from_select(
            ["time", "group_id", "success_count", "failure_count", "created_at", "updated_at"],
            query.select_from(old),
        )
    )
    op.drop_table("rollup_pending")
    op.drop_table("rollups")


def _keep_hours(rollups: sa.Table) -> None:
    """What was counted so far, as the hours and days of each group and of all together.

    An aggregate's requests are also its members', so they are left out of the sum.
    """
    connection = op.get_bind()
    old = sa.table(
        "group_hourly_stats",
        *map(sa.column, ("time", "group_id", "success_count", "failure_count")),
    )
    groups = sa.table("groups", sa.column("id"), sa.column("name"), sa.column("group_type"))
    names = {row.id: row for row in connection.execute(sa.select(groups))}
    sums: dict[tuple[str, int, int, int], list[int]] = {}
    for time, group_id, good, bad in connection.execute(sa.select(old)):
        group = names.get(group_id)
        for step in (3600, 86_400):
            at = int(time) // step * step
            places = [("group", step, at, int(group_id))]
            if group is not None and group.group_type != "aggregate":
                places.append(("all", step, at, 0))
            for place in places:
                counts = sums.setdefault(place, [0, 0])
                counts[0] += good
                counts[1] += bad
    rows = [
        {
            "kind": kind,
            "step": step,
            "at": at,
            "subject": str(group_id) if kind == "group" else "",
            "group_id": group_id,
            "name": names[group_id].name if group_id in names else "",
            "requests": good + bad,
            "succeeded": good,
            "attempts": good + bad,
            "detail": _NO_DETAIL,
        }
        for (kind, step, at, group_id), (good, bad) in sums.items()
    ]
    if rows:
        op.bulk_insert(rollups, rows)
