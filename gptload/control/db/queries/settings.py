"""System settings, as a person changes them. Reading them is the snapshot's affair."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, insert, update

from gptload.control.db.tables import system_settings
from gptload.core.settings import BY_KEY, Value, store


def write(connection: Connection, values: Mapping[str, Value], now: float) -> None:
    """Store checked values, all or none."""
    table = system_settings.c
    for key, value in values.items():
        text = store(key, value)
        changed = connection.execute(
            update(system_settings)
            .where(table.setting_key == key)
            .values(setting_value=text, updated_at=now)
        )
        if not changed.rowcount:
            connection.execute(
                insert(system_settings).values(
                    setting_key=key,
                    setting_value=text,
                    description=BY_KEY[key].description,
                    created_at=now,
                    updated_at=now,
                )
            )
