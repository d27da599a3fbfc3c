"""What a glance at the service asks of the database: does it answer, and which keys are there?"""

from __future__ import annotations

from sqlalchemy import Connection, func, literal, literal_column, select

from gptload.control.db.queries.keys import state_at
from gptload.control.db.tables import api_keys


def ping(connection: Connection) -> None:
    """Answer at all."""
    connection.execute(select(literal(1))).scalar()


def keys_by_state(connection: Connection, now: float) -> dict[tuple[int, str], int]:
    """How many keys there are by group id and state: `active`, `resting`, `invalid`, `disabled`."""
    group_id, state = api_keys.c.group_id, state_at(now).label("state")
    query = select(group_id, state, func.count()).group_by(group_id, literal_column("state"))
    return {(group_id, name): count for group_id, name, count in connection.execute(query)}
