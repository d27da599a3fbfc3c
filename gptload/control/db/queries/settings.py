"""System settings, as a person changes them. Reading them is the snapshot's affair.

A row whose times are equal was seeded, not set: nobody has chosen its value.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen
from sqlalchemy import Connection, delete, func, insert, select, update

from gptload.control.db.tables import setting_history, system_settings
from gptload.core.errors import Conflict, NotFound
from gptload.core.settings import BY_KEY, Value, store


class SettingsMoved(Conflict):
    """The version that was read isn't there any more."""

    hint = "Nothing was changed. Load the settings again, or leave If-Match out."


@frozen
class Change:
    """One setting's texts before and after; None: unset.

    Attributes:
        id: of its entry in the history.
    """

    key: str
    old: str | None
    new: str | None
    id: int = 0


def set_by_people(connection: Connection) -> dict[str, float]:
    """When each setting got the value that somebody chose: epoch seconds by key."""
    table = system_settings.c
    query = select(table.setting_key, table.updated_at).where(table.updated_at > table.created_at)
    return {key: at for key, at in connection.execute(query) if key in BY_KEY}


def change(
    connection: Connection,
    values: Mapping[str, Value | None],
    source_ip: str,
    now: float,
    undo_of: int | None = None,
    seen: int | None = None,
) -> list[Change]:
    """Store checked values, all or none, and their history; None unsets.

    Args:
        seen: the version that the values were made from; None: never mind.

    Returns:
        What is different now. A value that is there already is no change.

    Raises:
        SettingsMoved: there is another version by now.
    """
    if seen is not None and seen != version(connection):
        raise SettingsMoved("The settings have been changed meanwhile")
    table = system_settings.c
    rows = connection.execute(select(system_settings).where(table.setting_key.in_(list(values))))
    stored = {row.setting_key: row for row in rows}
    changed: list[Change] = []
    for key, value in values.items():
        row = stored.get(key)
        is_set = row is not None and row.updated_at > row.created_at
        default = store(key, BY_KEY[key].default)
        present = default if row is None else row.setting_value
        new = None if value is None else store(key, value)
        if (new is None and not is_set) or new == present:
            continue
        _store(connection, key, new, row is not None, now)
        # What was seeded other than the default, such as the first proxy key, can come back.
        old = present if is_set or present != default else None
        written = connection.execute(
            insert(setting_history).values(
                at=now,
                source_ip=source_ip,
                setting_key=key,
                old_value=old,
                new_value=new,
                undo_of=undo_of,
            )
        )
        (entry_id,) = written.inserted_primary_key or (0,)
        changed.append(Change(key, old, new, int(entry_id)))
    return changed


def version(connection: Connection) -> int:
    """Greater after each change of a setting."""
    return connection.execute(select(func.max(setting_history.c.id))).scalar() or 0


def _store(connection: Connection, key: str, text: str | None, is_there: bool, now: float) -> None:
    table = system_settings.c
    if text is None:
        connection.execute(delete(system_settings).where(table.setting_key == key))
    elif is_there:
        connection.execute(
            update(system_settings)
            .where(table.setting_key == key)
            .values(setting_value=text, updated_at=now)
        )
    else:
        connection.execute(
            insert(system_settings).values(
                setting_key=key,
                setting_value=text,
                description=BY_KEY[key].description,
                created_at=0.0,  # set by somebody, so it must be older than the change
                updated_at=now,
            )
        )


def history(
    connection: Connection, key: str, *, offset: int, limit: int
) -> tuple[list[dict[str, Any]], int]:
    """Changes by column, the newest first, and how many there are; `key` empty for any."""
    table = setting_history.c
    wanted = [table.setting_key == key] if key else []
    total = connection.execute(
        select(func.count()).select_from(setting_history).where(*wanted)
    ).scalar_one()
    query = (
        select(setting_history).where(*wanted).order_by(table.id.desc()).offset(offset).limit(limit)
    )
    return [dict(row) for row in connection.execute(query).mappings()], total


def one_change(connection: Connection, entry_id: int) -> Change:
    """
    Raises:
        NotFound: there is no such entry.
    """
    table = setting_history.c
    query = select(table.setting_key, table.old_value, table.new_value).where(table.id == entry_id)
    row = connection.execute(query).first()
    if row is None:
        raise NotFound("Resource not found")
    return Change(*row)
