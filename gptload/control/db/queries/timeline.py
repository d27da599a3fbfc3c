"""Timelines: what happened to each key, line by line, and why."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select

from gptload.control.db.queries.records import fit
from gptload.control.db.tables import api_keys, key_changes
from gptload.core.errors import NotFound
from gptload.core.keyevents import Change


def add(connection: Connection, changes: Iterable[Change]) -> None:
    """Write these lines, each key's in their order."""
    rows = [
        {
            "key_id": change.key_id,
            "group_id": change.group_id,
            "at": change.at,
            "event": change.event.value,
            "state": change.holds.state.name.lower(),
            "strikes": change.holds.strikes,
            "until": change.until,
            "model": fit(change.model, 255),
            "account": fit(change.holds.account, 128),
            "reason": fit(change.reason, 128),
            "status_code": change.status,
            "exchange_id": fit(change.exchange_id, 36),
        }
        for change in changes
    ]
    if rows:
        connection.execute(insert(key_changes), rows)


def page(
    connection: Connection, key_id: int, *, offset: int, limit: int
) -> tuple[list[dict[str, Any]], int]:
    """Lines by column, the newest first, and how many there are.

    Raises:
        NotFound: there is no such key.
    """
    if connection.execute(select(api_keys.c.id).where(api_keys.c.id == key_id)).first() is None:
        raise NotFound("Resource not found")
    lines = key_changes.c
    total = connection.execute(
        select(func.count()).select_from(key_changes).where(lines.key_id == key_id)
    ).scalar_one()
    query = (
        select(key_changes)
        .where(lines.key_id == key_id)
        .order_by(lines.id.desc())
        .offset(offset)
        .limit(limit)
    )
    return [dict(row) for row in connection.execute(query).mappings()], total


def delete_slice(connection: Connection, before: float, rows: int) -> int:
    """Delete so many lines, the oldest first, that are older than that; how many went."""
    lines = key_changes.c
    # The inner query walks the index on the time, so that a slice costs the same at any size.
    old = select(lines.id).where(lines.at < before).order_by(lines.at).limit(rows).subquery()
    # In a table of its own, or MySQL would not let itself read what it deletes from.
    return connection.execute(delete(key_changes).where(lines.id.in_(select(old.c.id)))).rowcount
