"""Settings and groups as a snapshot needs them; nothing is judged here."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen
from sqlalchemy import Connection, Text, cast, insert, select

from gptload.control.db.tables import group_sub_groups, groups, system_settings
from gptload.core.settings import SETTINGS, store


@frozen
class GroupRow:
    """One group as stored. JSON is text still: one broken text must not hide the others."""

    id: int
    name: str
    display_name: str
    group_type: str
    channel_type: str
    proxy_keys: str
    test_model: str
    validation_endpoint: str
    model_redirect_strict: bool
    upstreams: str | None
    config: str | None
    header_rules: str | None
    param_overrides: str | None
    model_redirect_rules: str | None
    error_rules: str | None


@frozen
class Stored:
    """All that a snapshot is made from, read at one moment.

    Attributes:
        settings: text by key, unknown keys included.
        members: (sub-group id, weight) by aggregate id, in the order they were added.
    """

    settings: Mapping[str, str]
    groups: tuple[GroupRow, ...]
    members: Mapping[int, tuple[tuple[int, int], ...]]


def read(connection: Connection) -> Stored:
    """Read it all."""
    table = system_settings.c
    settings = connection.execute(select(table.setting_key, table.setting_value)).all()
    column = groups.c
    rows = connection.execute(
        select(
            column.id,
            column.name,
            column.display_name,
            column.group_type,
            column.channel_type,
            column.proxy_keys,
            column.test_model,
            column.validation_endpoint,
            column.model_redirect_strict,
            cast(column.upstreams, Text),
            cast(column.config, Text),
            cast(column.header_rules, Text),
            cast(column.param_overrides, Text),
            cast(column.model_redirect_rules, Text),
            cast(column.error_rules, Text),
        ).order_by(column.id)
    ).all()
    member = group_sub_groups.c
    members: dict[int, list[tuple[int, int]]] = {}
    for group_id, sub_group_id, weight in connection.execute(
        select(member.group_id, member.sub_group_id, member.weight).order_by(member.id)
    ):
        members.setdefault(group_id, []).append((sub_group_id, weight))
    return Stored(
        {row.setting_key: row.setting_value for row in settings},
        tuple(GroupRow(*row) for row in rows),
        {group_id: tuple(listed) for group_id, listed in members.items()},
    )


def seed(connection: Connection, first: Mapping[str, str], now: float) -> list[str]:
    """Give every setting without a row its first value; rows that are there stay.

    Args:
        first: values other than the default, by key.

    Returns:
        The keys that got one. Their values may be secret.
    """
    known = set(connection.execute(select(system_settings.c.setting_key)).scalars())
    missing = [setting for setting in SETTINGS if setting.key not in known]
    for setting in missing:
        value = first.get(setting.key, setting.default)
        connection.execute(
            insert(system_settings).values(
                setting_key=setting.key,
                setting_value=store(setting.key, value),
                description=setting.description,
                created_at=now,
                updated_at=now,
            )
        )
    return [setting.key for setting in missing]
