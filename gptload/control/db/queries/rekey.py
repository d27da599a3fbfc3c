"""All that the database holds encrypted, slice by slice, for a change of ENCRYPTION_KEY.

These tables are all: settings, proxy keys, tasks, roll-ups, owners and the journal hold
ids of keys and never a key.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final

from attrs import frozen
from sqlalchemy import Connection, Table, bindparam, func, select, update

from gptload.control.db.tables import api_keys, removed_keys, request_logs
from gptload.core.reseal import Reseal
from gptload.core.vault import VaultError

# Which of them have to be readable; the others go by themselves in time.
MUST_OPEN: Final = api_keys
TABLES: Final[tuple[Table, ...]] = (api_keys, removed_keys, request_logs)
# A database takes only so many values in one statement.
_CHUNK: Final = 500


@frozen
class Slice:
    """Some rows of a table.

    Attributes:
        rows: how many.
        changing: how many of them are not yet as they are to be.
        unreadable: ids of those that neither key opens.
        last_id: where the next slice begins; None when this was the last one.
    """

    rows: int
    changing: int
    unreadable: tuple[object, ...]
    last_id: object | None


def count(connection: Connection, table: Table) -> int:
    """How many rows there are."""
    return connection.execute(select(func.count()).select_from(table)).scalar_one()


def look(
    connection: Connection, table: Table, reseal: Reseal, after: object | None, limit: int
) -> Slice:
    """What the next rows by id are; changes nothing."""
    found, _ = _next(connection, table, reseal, after, limit)
    return found


def change(
    connection: Connection, table: Table, reseal: Reseal, after: object | None, limit: int
) -> Slice:
    """Put the next rows by id under the new key; those that can't be read stay as they are."""
    found, renewed = _next(connection, table, reseal, after, limit)
    single: list[dict[str, Any]] = []
    for (value, key_hash), ids in renewed.items():
        if len(ids) == 1:
            single.append({"of_id": ids[0], "new_value": value, "new_hash": key_hash})
            continue
        for begin in range(0, len(ids), _CHUNK):
            alike = update(table).where(table.c.id.in_(ids[begin : begin + _CHUNK]))
            connection.execute(alike.values(key_value=value, key_hash=key_hash))
    if single:
        statement = update(table).where(table.c.id == bindparam("of_id"))
        columns: dict[str, Any] = {
            "key_value": bindparam("new_value"),
            "key_hash": bindparam("new_hash"),
        }
        connection.execute(statement.values(**columns), single)
    return found


def _next(
    connection: Connection, table: Table, reseal: Reseal, after: object | None, limit: int
) -> tuple[Slice, dict[tuple[str, str], Sequence[Any]]]:
    query = select(table.c.id, table.c.key_value, table.c.key_hash).order_by(table.c.id)
    if after is not None:
        query = query.where(table.c.id > after)
    rows = connection.execute(query.limit(limit)).all()
    renewed: defaultdict[tuple[str, str], list[Any]] = defaultdict(list)
    unreadable = []
    changing = 0
    for row_id, value, key_hash in rows:
        if not value:  # a request that was refused before it got a key
            continue
        try:
            form = reseal.renewed(value, key_hash)
        except VaultError:
            unreadable.append(row_id)
            continue
        if form is not None:
            changing += 1
            renewed[form].append(row_id)
    last_id = rows[-1][0] if len(rows) == limit else None
    return Slice(len(rows), changing, tuple(unreadable), last_id), dict(renewed)
