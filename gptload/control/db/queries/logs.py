"""The request log, as a person searches it.

Every filter has an index that ends in the order in which rows are shown. A part of a
name is first looked up among the names that there are, which are few, so that it too
becomes a question that an index can answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from attrs import evolve, frozen
from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Select,
    false,
    func,
    literal,
    or_,
    select,
    union_all,
)

from gptload.control.db.queries.keys import CHUNK, hashes, open_for_people
from gptload.control.db.tables import request_logs
from gptload.core.vault import Vault

COUNTED: Final = 10_000
"""As far as rows are counted for who reads with a cursor."""

_MOST_NAMES: Final = 500
_MOST_BRANCHES: Final = 20


@frozen
class Filter:
    """What somebody looks for; None and "" look for anything.

    Attributes:
        model, group_name, parent_group_name, error: a part of the text; `%` and `_`
            stand for themselves.
        key: a whole key.
        since, until: epoch seconds, both included.
    """

    model: str = ""
    group_name: str = ""
    parent_group_name: str = ""
    error: str = ""
    key: str = ""
    request_type: str = ""
    source_ip: str = ""
    is_success: bool | None = None
    status_code: int | None = None
    since: float | None = None
    until: float | None = None


def page(
    connection: Connection, vault: Vault, wanted: Filter, *, offset: int, limit: int
) -> tuple[list[dict[str, Any]], int]:
    """Rows by column, the newest first, and how many match.

    `key_value` is the key itself, or None when it can't be decrypted.
    """
    search = _search(connection, vault, wanted)
    # By id first: what is passed over then costs a step in an index, and no row is read.
    query = _newest(search, request_logs.c.id, offset + limit).offset(offset).limit(limit)
    ids = connection.execute(query).scalars().all()
    # A last page says by itself how many there are; a rare text is looked for once, then.
    is_last = 0 < len(ids) < limit or not (ids or offset)
    total = offset + len(ids) if is_last else _count(connection, search)
    return _rows(connection, vault, ids), total


@frozen
class Place:
    """A row's place in the log: between two pages that were read with a cursor.

    Attributes:
        at: epoch seconds.
    """

    at: float
    id: str


@frozen
class Stretch:
    """A part of the log.

    Attributes:
        following: where the next older rows begin; None at the end.
        total: how many rows match; no more than `COUNTED` + 1 is counted.
    """

    rows: list[dict[str, Any]]
    following: Place | None
    total: int


def stretch(
    connection: Connection, vault: Vault, wanted: Filter, after: Place | None, limit: int
) -> Stretch:
    """Rows older than a place. Costs the same anywhere; rows that come in move nothing."""
    search = _search(connection, vault, wanted)
    following = search if after is None else _older(search, after)
    query = _newest(following, request_logs.c.id, limit + 1).limit(limit + 1)
    ids = list(connection.execute(query).scalars())
    rows = _rows(connection, vault, ids[:limit])
    last = Place(rows[-1]["timestamp"], rows[-1]["id"]) if rows and len(ids) > limit else None
    is_all = after is None and last is None
    total = len(ids) if is_all else _count(connection, search, COUNTED + 1)
    return Stretch(rows, last, total)


def batch(
    connection: Connection, vault: Vault, wanted: Filter, after: Place | None, limit: int
) -> tuple[list[dict[str, Any]], Place | None]:
    """As `stretch`, for who reads it all: nothing is counted."""
    search = _search(connection, vault, wanted)
    following = search if after is None else _older(search, after)
    ids = connection.execute(_newest(following, request_logs.c.id, limit).limit(limit)).scalars()
    rows = _rows(connection, vault, list(ids))
    last = Place(rows[-1]["timestamp"], rows[-1]["id"]) if len(rows) == limit else None
    return rows, last


def latest_of_keys(
    connection: Connection, vault: Vault, wanted: Filter, after: str, limit: int
) -> list[dict[str, Any]]:
    """The latest matching row of each key, by the key's hash, from behind the hash `after`."""
    table = request_logs.c
    search = _search(connection, vault, wanted)
    conditions = list(search.conditions)
    if search.branches:
        conditions.append(or_(*search.branches))
    hashes_query = (
        select(table.key_hash)
        .where(table.key_hash > after, *conditions)
        .distinct()
        .order_by(table.key_hash)
        .limit(limit)
    )
    found = list(connection.execute(hashes_query).scalars())
    newest = func.row_number().over(
        partition_by=table.key_hash, order_by=(table.timestamp.desc(), table.id.desc())
    )
    ranked = (
        select(table.id, table.key_hash, newest.label("rank"))
        .where(table.key_hash.in_(found), *conditions)
        .subquery()
    )
    ids = select(ranked.c.id).where(ranked.c.rank == 1).order_by(ranked.c.key_hash)
    return _rows(connection, vault, list(connection.execute(ids).scalars()))


@frozen
class _Search:
    """What rows must fulfil: all of `conditions`, and one of `branches`.

    Each branch is read by itself in the order of its index, and no two hold the same
    row: a database would sort everything that matches any of them.
    """

    conditions: tuple[ColumnElement[bool], ...]
    branches: tuple[ColumnElement[bool], ...] = ()


def _older(search: _Search, place: Place) -> _Search:
    table = request_logs.c
    # Two conditions, because not every database bounds an index by a comparison of pairs.
    before = (
        table.timestamp <= place.at,
        or_(table.timestamp < place.at, table.id < place.id),
    )
    return evolve(search, conditions=(*search.conditions, *before))


def _newest(search: _Search, column: Column[Any], limit: int) -> Select[Any]:
    """The values of a column in the newest `limit` rows or more, the newest first."""
    table = request_logs.c
    order = (table.timestamp.desc(), table.id.desc())
    query = select(table.timestamp, table.id, column.label("value")).where(*search.conditions)
    if not search.branches:
        return query.with_only_columns(column).order_by(*order)
    parts = [
        select(query.where(branch).order_by(*order).limit(limit).subquery())
        for branch in search.branches
    ]
    found = union_all(*parts).subquery()
    return select(found.c.value).order_by(found.c.timestamp.desc(), found.c.id.desc())


def _count(connection: Connection, search: _Search, most: int | None = None) -> int:
    # Sums over branches: each is a stretch of one index.
    total = 0
    for branch in search.branches or (None,):
        conditions = search.conditions if branch is None else (*search.conditions, branch)
        query: Select[Any] = select(func.count()).select_from(request_logs).where(*conditions)
        if most is not None:
            some = select(request_logs.c.id).where(*conditions).limit(most - total).subquery()
            query = select(func.count()).select_from(some)
        total += connection.execute(query).scalar_one()
        if most is not None and total >= most:
            break
    return total


def _rows(connection: Connection, vault: Vault, ids: Sequence[str]) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for begin in range(0, len(ids), CHUNK):
        query = select(request_logs).where(request_logs.c.id.in_(ids[begin : begin + CHUNK]))
        for row in connection.execute(query).mappings():
            value = open_for_people(vault, row["key_value"])
            found[row["id"]] = dict(row) | {"key_value": value}
    return [found[row_id] for row_id in ids if row_id in found]


def _search(connection: Connection, vault: Vault, wanted: Filter) -> _Search:
    """The filter as conditions; names are looked up among those that there are."""
    table = request_logs.c
    conditions: list[ColumnElement[bool]] = []
    branches: tuple[ColumnElement[bool], ...] = ()
    names = {
        table.model: wanted.model,
        table.group_name: wanted.group_name,
        table.parent_group_name: wanted.parent_group_name,
    }
    for column, part in names.items():
        if not part:
            continue
        values = _values(connection, column, part)
        if values is None:
            conditions.append(column.icontains(part, autoescape=True))
        elif len(values) > 1 and len(values) <= _MOST_BRANCHES and not branches:
            branches = tuple(column == value for value in values)
        elif len(values) == 1:
            conditions.append(column == values[0])
        else:
            conditions.append(column.in_(values) if values else false())
    return _Search((*conditions, *_exact(vault, wanted)), branches)


def _values(connection: Connection, column: Column[str], part: str) -> list[str] | None:
    """The column's values that hold the text; None when there are too many to look at.

    Steps from each value to the next in the column's index, so it costs as many steps as
    there are values, not as there are rows.
    """
    first = select(func.min(column).label("value"), literal(1).label("number"))
    steps = first.cte("steps", recursive=True)
    following = select(func.min(column)).where(column > steps.c.value).scalar_subquery()
    steps = steps.union_all(
        select(following, steps.c.number + 1).where(
            steps.c.value.is_not(None), steps.c.number <= _MOST_NAMES
        )
    )
    holds = steps.c.value.icontains(part, autoescape=True)
    query = select(steps.c.value, holds).where(steps.c.value.is_not(None))
    found = connection.execute(query).all()
    if len(found) > _MOST_NAMES:
        return None
    return [value for value, matches in found if matches]


def _exact(vault: Vault, wanted: Filter) -> list[ColumnElement[bool]]:
    table = request_logs.c
    exact = {
        table.request_type: wanted.request_type or None,
        table.source_ip: wanted.source_ip or None,
        table.is_success: wanted.is_success,
        table.status_code: wanted.status_code,
    }
    conditions: list[ColumnElement[bool]] = [
        column == value for column, value in exact.items() if value is not None
    ]
    if wanted.error:
        # No index knows a part of a text, but what succeeded has none.
        conditions.append(table.is_success.is_(False))
        conditions.append(table.error_message.icontains(wanted.error, autoescape=True))
    if wanted.key:
        conditions.append(table.key_hash.in_(hashes(vault, wanted.key.encode())))
    if wanted.since is not None:
        conditions.append(table.timestamp >= wanted.since)
    if wanted.until is not None:
        conditions.append(table.timestamp <= wanted.until)
    return conditions
