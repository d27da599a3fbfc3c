"""The request log, as a person searches it."""

from __future__ import annotations

from typing import Any

from attrs import frozen
from sqlalchemy import ColumnElement, Connection, func, select

from gptload.control.db.queries.keys import hashes, open_for_people
from gptload.control.db.tables import request_logs
from gptload.core.vault import Vault


@frozen
class Filter:
    """What somebody looks for; None and "" look for anything.

    Attributes:
        model, group_name, parent_group_name, error: a part of the text; `%` and `_`
            stand for themselves.
        key: a whole key.
        since, until: epoch seconds, both included.
    """

    model: str = ""
    group_name: str = ""
    parent_group_name: str = ""
    error: str = ""
    key: str = ""
    request_type: str = ""
    source_ip: str = ""
    is_success: bool | None = None
    status_code: int | None = None
    since: float | None = None
    until: float | None = None


def page(
    connection: Connection, vault: Vault, wanted: Filter, *, offset: int, limit: int
) -> tuple[list[dict[str, Any]], int]:
    """Rows by column, the newest first, and how many match.

    `key_value` is the key itself, or None when it can't be decrypted.
    """
    conditions = _conditions(vault, wanted)
    table = request_logs.c
    total = connection.execute(
        select(func.count()).select_from(request_logs).where(*conditions)
    ).scalar_one()
    query = (
        select(request_logs)
        .where(*conditions)
        .order_by(table.timestamp.desc(), table.id.desc())
        .offset(offset)
        .limit(limit)
    )
    rows = [dict(row) for row in connection.execute(query).mappings()]
    for row in rows:
        row["key_value"] = open_for_people(vault, row["key_value"])
    return rows, total


def _conditions(vault: Vault, wanted: Filter) -> list[ColumnElement[bool]]:
    table = request_logs.c
    parts = {
        table.model: wanted.model,
        table.group_name: wanted.group_name,
        table.parent_group_name: wanted.parent_group_name,
        table.error_message: wanted.error,
    }
    conditions = [column.contains(part, autoescape=True) for column, part in parts.items() if part]
    exact = {
        table.request_type: wanted.request_type or None,
        table.source_ip: wanted.source_ip or None,
        table.is_success: wanted.is_success,
        table.status_code: wanted.status_code,
    }
    conditions += [column == value for column, value in exact.items() if value is not None]
    if wanted.key:
        conditions.append(table.key_hash.in_(hashes(vault, wanted.key.encode())))
    if wanted.since is not None:
        conditions.append(table.timestamp >= wanted.since)
    if wanted.until is not None:
        conditions.append(table.timestamp <= wanted.until)
    return conditions
