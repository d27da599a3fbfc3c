"""What a glance at the service asks of the database: does it answer, and which keys are there?"""

from __future__ import annotations

from sqlalchemy import Connection, case, func, literal, select

from gptload.control.db.tables import api_keys


def ping(connection: Connection) -> None:
    """Answer at all."""
    connection.execute(select(literal(1))).scalar()


def keys_by_state(connection: Connection, now: float) -> dict[tuple[int, str], int]:
    """How many keys there are by group id and state: `active`, `resting`, `invalid`, `disabled`."""
    keys = api_keys.c
    is_resting = (keys.status == "active") & (keys.rest_until > now)
    state = case((is_resting, "resting"), else_=keys.status).label("state")
    query = select(keys.group_id, state, func.count()).group_by(keys.group_id, state)
    return {(group_id, name): count for group_id, name, count in connection.execute(query)}
