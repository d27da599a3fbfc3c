"""Rows for tests of the control plane: valid, and different only where the test says so."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, insert

from gptload.control.db.tables import api_keys, group_sub_groups, groups


def add_group(connection: Connection, name: str = "openai", **changes: Any) -> int:
    """A standard group with one upstream; returns its id."""
    row: dict[str, Any] = {
        "name": name,
        "proxy_keys": "",
        "upstreams": [{"url": "https://api.example", "weight": 1}],
        "channel_type": "openai",
        "test_model": "gpt-5-nano",
        "param_overrides": {},
        "config": {},
        "header_rules": [],
        "model_redirect_rules": {},
        "created_at": 0.0,
        "updated_at": 0.0,
    }
    result = connection.execute(insert(groups).values(row | changes))
    return int(result.inserted_primary_key[0])


def add_sub_group(connection: Connection, group_id: int, sub_group_id: int, weight: int) -> None:
    """Make a group a member of an aggregate."""
    connection.execute(
        insert(group_sub_groups).values(
            group_id=group_id,
            sub_group_id=sub_group_id,
            weight=weight,
            created_at=0.0,
            updated_at=0.0,
        )
    )


def add_key(connection: Connection, group_id: int, value: str = "sk-1", **changes: Any) -> int:
    """An active key as a database without ENCRYPTION_KEY holds it; returns its id."""
    row: dict[str, Any] = {
        "key_value": value,
        "key_hash": f"hash of {value}",
        "group_id": group_id,
        "created_at": 0.0,
        "updated_at": 0.0,
    }
    result = connection.execute(insert(api_keys).values(row | changes))
    return int(result.inserted_primary_key[0])
