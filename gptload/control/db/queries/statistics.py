"""Counts over time, for the dashboard."""

from __future__ import annotations

from attrs import frozen
from sqlalchemy import Connection, func, select

from gptload.control.db.tables import api_keys, group_hourly_stats, groups, request_logs

HOUR_S = 3600


@frozen
class Requests:
    """Final outcomes of some time."""

    succeeded: int = 0
    failed: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.succeeded + self.failed

    @property
    def failure_rate(self) -> float:
        """From 0 to 1; 0 where there were none."""
        return self.failed / self.total if self.total else 0.0


def keys_by_status(connection: Connection) -> dict[str, int]:
    """How many keys there are, all groups together."""
    query = select(api_keys.c.status, func.count()).group_by(api_keys.c.status)
    return dict(connection.execute(query).all())


def count_exchanges(connection: Connection, since: float, until: float) -> int:
    """Client requests whose last attempt began in `since` ≤ t < `until`."""
    table = request_logs.c
    query = (
        select(func.count())
        .select_from(request_logs)
        .where(table.request_type == "final", table.timestamp >= since, table.timestamp < until)
    )
    return connection.execute(query).scalar_one()


def requests(
    connection: Connection, since: float, until: float, group_id: int | None = None
) -> Requests:
    """Hours that begin in `since` ≤ t < `until`.

    Args:
        group_id: None for all groups but aggregates: their requests are their members'.
    """
    by_hour = hourly(connection, since, until, group_id)
    return Requests(
        sum(hour.succeeded for hour in by_hour.values()),
        sum(hour.failed for hour in by_hour.values()),
    )


def hourly(
    connection: Connection, since: float, until: float, group_id: int | None = None
) -> dict[int, Requests]:
    """As `requests`, by the hour's begin; hours without requests are left out."""
    table = group_hourly_stats.c
    query = (
        select(table.time, func.sum(table.success_count), func.sum(table.failure_count))
        .where(table.time >= since, table.time < until)
        .group_by(table.time)
    )
    if group_id is None:
        aggregates = select(groups.c.id).where(groups.c.group_type == "aggregate")
        query = query.where(table.group_id.not_in(aggregates))
    else:
        query = query.where(table.group_id == group_id)
    return {
        int(time): Requests(int(good), int(bad)) for time, good, bad in connection.execute(query)
    }
