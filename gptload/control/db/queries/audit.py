"""The audit log: added to by every change, read by people, shortened after a year."""

from __future__ import annotations

from typing import Any, Final

from attrs import asdict, frozen
from sqlalchemy import ColumnElement, Connection, delete, func, insert, select

from gptload.control.db.tables import audit_log

KEEP_S: Final = 366 * 86_400.0


@frozen
class Entry:
    """One call that changed something. `before` and `after` hold no secrets."""

    at: float
    source_ip: str
    method: str
    route: str
    subject: str
    subject_id: int | None
    status: int
    before: dict[str, Any] | None
    after: dict[str, Any] | None


@frozen
class Filter:
    """What somebody looks for; None and "" look for anything.

    Attributes:
        route: a part of it; `%` and `_` stand for themselves.
        since, until: epoch seconds, both included.
    """

    subject: str = ""
    subject_id: int | None = None
    method: str = ""
    route: str = ""
    source_ip: str = ""
    since: float | None = None
    until: float | None = None


def add(connection: Connection, entry: Entry) -> None:
    """Write an entry, and delete those that are older than a year."""
    connection.execute(delete(audit_log).where(audit_log.c.at < entry.at - KEEP_S))
    connection.execute(insert(audit_log).values(asdict(entry, recurse=False)))


def page(
    connection: Connection, wanted: Filter, *, offset: int, limit: int
) -> tuple[list[dict[str, Any]], int]:
    """Rows by column, the newest first, and how many match."""
    conditions = _conditions(wanted)
    total = connection.execute(
        select(func.count()).select_from(audit_log).where(*conditions)
    ).scalar_one()
    query = (
        select(audit_log)
        .where(*conditions)
        .order_by(audit_log.c.id.desc())
        .offset(offset)
        .limit(limit)
    )
    return [dict(row) for row in connection.execute(query).mappings()], total


def _conditions(wanted: Filter) -> list[ColumnElement[bool]]:
    table = audit_log.c
    exact = {
        table.subject: wanted.subject or None,
        table.subject_id: wanted.subject_id,
        table.method: wanted.method or None,
        table.source_ip: wanted.source_ip or None,
    }
    conditions = [column == value for column, value in exact.items() if value is not None]
    if wanted.route:
        conditions.append(table.route.contains(wanted.route, autoescape=True))
    if wanted.since is not None:
        conditions.append(table.at >= wanted.since)
    if wanted.until is not None:
        conditions.append(table.at <= wanted.until)
    return conditions
