"""Timelines: what happened to each key, line by line, and why."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, delete, func, insert, or_, select

from gptload.control.db.queries.records import fit
from gptload.control.db.tables import api_keys, group_sub_groups, key_changes
from gptload.core.errors import NotFound
from gptload.core.keyevents import Change, Happened
from gptload.core.waves import Moment


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
            "named": change.named,
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


def latest(
    connection: Connection, since: float, until: float, group_id: int, limit: int
) -> list[Moment]:
    """So many lines of that time, the newest first; of one group, as many as are among those.

    Args:
        since, until: epoch seconds; `until` is not in it.
        group_id: a group, or an aggregate for all of its members; 0 for all groups.
    """
    lines = key_changes.c
    # One group's lines are looked for within a bound: there is no index that leads to them.
    newest = (
        select(key_changes)
        .where(lines.at >= since, lines.at < until)
        .order_by(lines.at.desc(), lines.id.desc())
        .limit(limit)
        .subquery()
    )
    of = newest.c
    query = select(
        of.at, of.group_id, of.key_id, of.event, of.until, of.reason, of.status_code
    ).order_by(of.at.desc(), of.id.desc())
    if group_id:
        members = select(group_sub_groups.c.sub_group_id).where(
            group_sub_groups.c.group_id == group_id
        )
        query = query.where(or_(of.group_id == group_id, of.group_id.in_(members)))
    return [
        Moment(at, group, key, Happened(event), until, reason, status)
        for at, group, key, event, until, reason, status in connection.execute(query)
    ]


def delete_slice(connection: Connection, before: float, rows: int) -> int:
    """Delete so many lines, the oldest first, that are older than that; how many went."""
    lines = key_changes.c
    # The inner query walks the index on the time, so that a slice costs the same at any size.
    old = select(lines.id).where(lines.at < before).order_by(lines.at).limit(rows).subquery()
    # In a table of its own, or MySQL would not let itself read what it deletes from.
    return connection.execute(delete(key_changes).where(lines.id.in_(select(old.c.id)))).rowcount
