"""The attempts of one client request: what a row of the log belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection, case, select

from gptload.control.db.queries.keys import CHUNK, open_for_people
from gptload.control.db.tables import request_logs
from gptload.core.vault import Vault

MOST_ATTEMPTS: Final = 1000
# Of an attempt, where it is told beside others.
_SHORT: Final = ("id", "key_id", "outcome", "status_code", "duration")
# What ends a request without an attempt, such as keys that ran out, is of the request's begin.
_ORDER: Final = (
    case((request_logs.c.request_type == "final", 1), else_=0),
    request_logs.c.timestamp,
    request_logs.c.id,
)


def attempts(connection: Connection, vault: Vault, exchange_id: str) -> list[dict[str, Any]]:
    """Rows of the log of one exchange, the first attempt first, and its ending last.

    `key_value` is the key itself, or None when it can't be decrypted.
    """
    table = request_logs.c
    query = (
        select(request_logs)
        .where(table.exchange_id == exchange_id)
        .order_by(*_ORDER)
        .limit(MOST_ATTEMPTS)
    )
    return [
        dict(row) | {"key_value": open_for_people(vault, row["key_value"])}
        for row in connection.execute(query).mappings()
    ]


def in_short(
    connection: Connection, exchange_ids: Sequence[str]
) -> dict[str, list[dict[str, Any]]]:
    """Of each of these exchanges all attempts, the first first."""
    table = request_logs.c
    wanted = sorted({each for each in exchange_ids if each})
    found: dict[str, list[dict[str, Any]]] = {each: [] for each in wanted}
    for start in range(0, len(wanted), CHUNK):
        query = (
            select(table.exchange_id, *(table[name] for name in _SHORT))
            .where(table.exchange_id.in_(wanted[start : start + CHUNK]))
            .order_by(*_ORDER)
        )
        for row in connection.execute(query).mappings():
            shown = {name: row[name] for name in _SHORT}
            shown["duration_ms"] = shown.pop("duration")
            found[row["exchange_id"]].append(shown)
    return found
