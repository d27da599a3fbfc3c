"""What the log's rows have in common: group, aggregate, model, status, kind of request.

A row names its kind, and a kind counts its rows in the transaction that adds or deletes
them. So whoever adds or deletes rows of the log goes through here.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection, bindparam, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from gptload.control.db.tables import log_kinds
from gptload.control.statistics import OTHERS

NAMED: Final = (
    "group_name",
    "parent_group_name",
    "model",
    "is_success",
    "status_code",
    "request_type",
)
"""Columns of the log, and of its kinds."""

MOST_KINDS: Final = 5000
"""A model's name is the client's text: past so many kinds, new ones share one for all models."""

_CHUNK: Final = 500
_LARGEST_STATUS: Final = 2**31 - 1


def digest(row: Mapping[str, Any]) -> str:
    """Tells kinds apart on every database, whatever that takes for one text."""
    values = [row[name] for name in NAMED]
    # No text of a row holds a NUL.
    joined = "\0".join(str(int(v) if isinstance(v, bool) else v) for v in values)
    return hashlib.blake2b(joined.encode("utf-8", "replace"), digest_size=16).hexdigest()


def assign(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Give each row its `kind_id`; kinds that nobody has met yet are made.

    They are held until the transaction ends, so that none of them can be forgotten before
    `count` has counted the rows.
    """
    by_digest = {digest(row): row for row in rows}
    known = _known(connection, by_digest)
    new = [one for one in by_digest if one not in known]
    if new:
        there = connection.execute(select(func.count()).select_from(log_kinds)).scalar_one()
        room = max(0, MOST_KINDS - there)
        shared = {one: {**by_digest[one], "model": OTHERS} for one in new[room:]}
        shared_digests = {one: digest(row) for one, row in shared.items()}
        wanted = {one: by_digest[one] for one in new[:room]}
        wanted |= {shared_digests[one]: row for one, row in shared.items()}
        known |= _make(connection, wanted)
        known |= {one: known[other] for one, other in shared_digests.items()}
    for row in rows:
        row["kind_id"] = known[digest(row)]


def count(connection: Connection, kind_ids: Iterable[int], sign: int = 1) -> None:
    """Count rows that were added (`sign` 1) or deleted (-1), by the kind of each."""
    # Always in one order, so that two who write can't wait for each other.
    more = sorted(Counter(kind_ids).items())
    if more:
        connection.execute(
            update(log_kinds)
            .where(log_kinds.c.id == bindparam("one"))
            .values(count=log_kinds.c.count + bindparam("more")),
            [{"one": kind_id, "more": sign * number} for kind_id, number in more],
        )


def forget_empty(connection: Connection) -> int:
    """Drop the kinds that no row has any more; how many went."""
    return connection.execute(delete(log_kinds).where(log_kinds.c.count <= 0)).rowcount


def _known(connection: Connection, digests: Iterable[str]) -> dict[str, int]:
    wanted = list(digests)
    found: dict[str, int] = {}
    for begin in range(0, len(wanted), _CHUNK):
        query = (
            select(log_kinds.c.digest, log_kinds.c.id)
            .where(log_kinds.c.digest.in_(wanted[begin : begin + _CHUNK]))
            .order_by(log_kinds.c.id)
            .with_for_update()
        )
        found |= dict(connection.execute(query).all())
    return found


def _make(connection: Connection, wanted: Mapping[str, Mapping[str, Any]]) -> dict[str, int]:
    missing = {one: row for one, row in wanted.items() if one not in _known(connection, wanted)}
    for one, row in missing.items():
        values = {name: row[name] for name in NAMED}
        # A row that no column could hold is refused by itself, later.
        values["status_code"] = max(-_LARGEST_STATUS, min(row["status_code"], _LARGEST_STATUS))
        try:
            with connection.begin_nested():
                connection.execute(insert(log_kinds).values(digest=one, count=0, **values))
        except IntegrityError:
            continue  # another process met it in the same moment
    return _known(connection, wanted)
