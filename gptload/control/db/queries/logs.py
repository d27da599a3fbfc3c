"""The request log, as a person searches it.

**How rows are found.** What people filter by, other than times, keys and addresses, is in
a row's kind (`log_kinds`), and some thousands of kinds stand for all combinations. So any
of these filters together are a set of kinds, found in a small table, and never a long walk
past rows that fulfil one filter but not the other. The newest rows of a set of kinds are
merged from the newest of each, from as few kinds as can hold them: n rows can only be of
the n kinds that had a row last. How many rows there are is the sum of what kinds count.

**What is bounded.** No index knows a part of an error's text, an outcome, an upstream or a
duration, so `_LOOKED_AT` rows are looked at in one go, fewer where most of them have to be
read; the answer says where it stopped, and a cursor goes on from there.
Rows of a time, a key or an address are counted up to a bound. A page by its number costs
more, the further it is from the first; a cursor costs the same everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final, TypeVar

from attrs import evolve, frozen
from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Connection,
    Select,
    bindparam,
    delete,
    func,
    literal,
    or_,
    select,
    true,
    union_all,
)

from gptload.control.db.queries import logfilters, logkinds
from gptload.control.db.queries.keys import CHUNK, hashes, open_for_people
from gptload.control.db.queries.logfilters import Filter
from gptload.control.db.tables import log_kinds, request_logs
from gptload.control.statistics import OTHERS
from gptload.core.vault import Vault

Q = TypeVar("Q", bound=Select[Any])

COUNTED: Final = 10_000
"""As far as rows are counted, one by one, for who reads with a cursor."""

COUNTED_FOR_PAGES: Final = 100_000
"""As far as they are for who reads pages by their number, and would miss the rest."""

COUNTED_ON_DEMAND: Final = 5_000_000
"""As far as they are for who asks for just that, and waits."""

_LOOKED_AT: Final = 100_000
# Of these; the others are passed over by their kind, which the index holds.
_READ_WHOLE: Final = 25_000
# So many rows are sorted sooner than they are found in order.
_FEW_ROWS: Final = 20_000
_BRANCHES: Final = 40
_MOST_MERGED: Final = 2000
_MOST_GUESSES: Final = 30
# Beyond the ids of all rows of a moment.
_FIRST_ID, _LAST_ID = "", "z" * 36


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
        preceding: behind which the next newer rows begin; None where there were none yet.
        total: how many rows match; a bound where it isn't exact.
        searched_since: epoch seconds; older rows have not been looked at for the text.
    """

    rows: list[dict[str, Any]]
    following: Place | None
    total: int
    is_exact: bool = True
    searched_since: float | None = None
    preceding: Place | None = None


def page(
    connection: Connection, vault: Vault, wanted: Filter, *, offset: int, limit: int
) -> Stretch:
    """Rows by column, the newest first, and how many match.

    `key_value` is the key itself, or None when it can't be decrypted.
    """
    search = _search(connection, vault, wanted)
    if offset and not search.texts:
        # What lies behind the last row takes no looking for.
        total, is_exact = _count(connection, search, COUNTED_FOR_PAGES)
        if is_exact and offset >= total:
            return Stretch([], None, total)
    found = _newest(connection, search, offset, limit)
    rows = _rows(connection, vault, [row_id for _, row_id in found.places])
    if found.is_all and (rows or not offset):
        # A last page says by itself how many there are.
        total, is_exact = offset + len(found.places), found.reached is None
    elif search.texts:
        total, is_exact = _count_looked_at(connection, search)
    elif not offset:
        total, is_exact = _count(connection, search, COUNTED_FOR_PAGES)
    return Stretch(rows, None, total, is_exact, found.reached)


def stretch(
    connection: Connection,
    vault: Vault,
    wanted: Filter,
    place: Place | None,
    limit: int,
    *,
    is_upward: bool = False,
) -> Stretch:
    """The next older rows from a place, or the next newer ones, the newest first.

    Costs the same anywhere; rows that come in move nothing.
    """
    whole = _search(connection, vault, wanted)
    search = whole if place is None else evolve(whole, after=place, is_upward=is_upward)
    found = _newest(connection, search, 0, limit + 1)
    places = found.places[:limit]
    going_on = _following(found, limit, is_upward=is_upward)
    following: Place | None
    preceding: Place | None
    if is_upward and place is not None:
        places.reverse()
        preceding, following = going_on, Place(*places[-1]) if places else Place(place.at, _LAST_ID)
    else:
        following = going_on
        preceding = Place(*places[0]) if places else place and Place(place.at, _FIRST_ID)
    rows = _rows(connection, vault, [row_id for _, row_id in places])
    if place is None and found.is_all:
        total, is_exact = len(found.places), found.reached is None
    elif search.texts:
        total, is_exact = _count_looked_at(connection, whole)
    else:
        total, is_exact = _count(connection, whole, COUNTED)
    since = None if is_upward else found.reached
    return Stretch(rows, following, total, is_exact, since, preceding)


def count(connection: Connection, vault: Vault, wanted: Filter) -> tuple[int, bool]:
    """How many rows match, and whether that is exact or a bound."""
    search = _search(connection, vault, wanted)
    if search.texts:
        return _count_looked_at(connection, search)
    return _count(connection, search, COUNTED_ON_DEMAND)


def batch(
    connection: Connection, vault: Vault, wanted: Filter, after: Place | None, limit: int
) -> tuple[list[dict[str, Any]], Place | None]:
    """As `stretch`, for who reads it all: nothing is counted."""
    search = _search(connection, vault, wanted)
    if after is not None:
        search = evolve(search, after=after)
    found = _newest(connection, search, 0, limit + 1)
    rows = _rows(connection, vault, [row_id for _, row_id in found.places[:limit]])
    return rows, _following(found, limit)


def latest_of_keys(
    connection: Connection, vault: Vault, wanted: Filter, after: str, limit: int
) -> tuple[list[dict[str, Any]], str | None]:
    """The latest matching row of each key, by the key's hash.

    Args:
        after: hash behind which to begin.
        limit: how many keys are looked at; some may have no row that matches.

    Returns:
        The rows, and the hash to go on from; None at the end.
    """
    search = _search(connection, vault, wanted)
    keys = sorted(search.hashes) if search.hashes else _keys(connection, after, limit)
    latest = [_latest_of(connection, search, key) for key in keys if key > after]
    rows = _rows(connection, vault, [row_id for row_id in latest if row_id is not None])
    is_all = bool(search.hashes) or len(keys) < limit
    return rows, None if is_all else keys[-1]


def _keys(connection: Connection, after: str, limit: int) -> list[str]:
    """Hashes of keys in the log, from behind that one on."""
    table = request_logs.c
    # From each to the next one in the index: as many steps as there are keys.
    first = select(func.min(table.key_hash).label("value")).where(table.key_hash > after)
    steps = first.cte("steps", recursive=True)
    following = select(func.min(table.key_hash)).where(table.key_hash > steps.c.value)
    steps = steps.union_all(select(following.scalar_subquery()).where(steps.c.value.is_not(None)))
    query = select(steps.c.value).where(steps.c.value.is_not(None)).limit(limit)
    return list(connection.execute(query).scalars())


def _latest_of(connection: Connection, search: _Search, key: str) -> str | None:
    conditions = [request_logs.c.key_hash == key, *_each(search), *search.times]
    index = "idx_request_logs_exchange_id" if search.exchange_id else "idx_request_logs_key"
    query = _using(select(request_logs.c.id), index).where(*conditions)
    row_id: str | None = connection.execute(query.order_by(*_ORDER).limit(1)).scalar()
    return row_id


def delete_slice(connection: Connection, before: float, rows: int) -> int:
    """Delete so many rows, the oldest first, that are older than that; how many went."""
    table = request_logs.c
    # Walks the index on the time, so that a slice costs the same at any size.
    query = (
        select(table.id, table.kind_id)
        .where(table.timestamp < before)
        .order_by(table.timestamp)
        .limit(rows)
        .with_for_update()
    )
    found = connection.execute(query).all()
    for begin in range(0, len(found), CHUNK):
        ids = [row_id for row_id, _ in found[begin : begin + CHUNK]]
        connection.execute(delete(request_logs).where(table.id.in_(ids)))
    logkinds.count(connection, (kind_id for _, kind_id in found), -1)
    return len(found)


_ORDER: Final = (request_logs.c.timestamp.desc(), request_logs.c.id.desc())
_UPWARD: Final = (request_logs.c.timestamp.asc(), request_logs.c.id.asc())


@frozen
class _Search:
    """What rows must fulfil.

    Attributes:
        kinds: how many rows each kind has, by its id; None for any kind.
        hashes: of one key, any of them.
        since, until: epoch seconds, both included.
        after: all rows are older than it; newer, where the search goes upward.
        is_upward: from the oldest row on, not from the newest.
        texts: what only the row itself tells, so that a search of many rows ends early.
        looked_at: after so many.
    """

    kinds: dict[int, int] | None
    hashes: tuple[str, ...]
    source_ip: str
    since: float | None
    until: float | None
    texts: tuple[ColumnElement[bool], ...]
    exchange_id: str = ""
    looked_at: int = 0
    after: Place | None = None
    is_upward: bool = False

    @property
    def order(self) -> tuple[ColumnElement[Any], ColumnElement[Any]]:
        """In which rows are read."""
        return _UPWARD if self.is_upward else _ORDER

    @property
    def times(self) -> list[ColumnElement[bool]]:
        """One bound at each end: a database may take any of two for its index."""
        table = request_logs.c
        place, found = self.after, []
        since, until = self.since, self.until
        # Not as a pair: not every database bounds an index by that.
        if place is not None and self.is_upward and (since is None or place.at >= since):
            since = place.at
            found.append(or_(table.timestamp > place.at, table.id > place.id))
        elif place is not None and not self.is_upward and (until is None or place.at <= until):
            until = place.at
            found.append(or_(table.timestamp < place.at, table.id < place.id))
        if until is not None:
            found.append(table.timestamp <= until)
        if since is not None:
            found.append(table.timestamp >= since)
        return found

    def up_to(self, at: float) -> _Search:
        """The same, as far as that moment in its direction."""
        return evolve(self, until=at) if self.is_upward else evolve(self, since=at)

    @property
    def is_of_few(self) -> bool:
        """Whether all rows of its kinds can be looked at."""
        return self.kinds is not None and sum(self.kinds.values()) <= _FEW_ROWS


@frozen
class _Found:
    """(timestamp, id) of rows, in the search's order.

    Attributes:
        is_all: there are no more.
        reached: epoch seconds; no row beyond it has been looked at.
    """

    places: list[tuple[float, str]]
    is_all: bool
    reached: float | None = None


def _following(found: _Found, limit: int, *, is_upward: bool = False) -> Place | None:
    if len(found.places) > limit:
        return Place(*found.places[limit - 1])
    if found.reached is None:
        return None
    return Place(found.reached, _LAST_ID if is_upward else _FIRST_ID)


def _newest(connection: Connection, search: _Search, offset: int, limit: int) -> _Found:
    """Up to `limit` rows in the search's order, without the first `offset` of them."""
    if search.kinds is not None and not search.kinds:
        return _Found([], is_all=True)
    reached = _reach(connection, search)
    if reached is not None:
        search = search.up_to(reached)
    is_merged = search.kinds is not None and not search.texts and not search.hashes
    if is_merged and not search.is_of_few and not search.exchange_id:
        search, offset = _skipped(connection, search, offset)
        places = _merged(connection, search, offset + limit)[offset:]
    else:
        query = _matching(search).order_by(*search.order).limit(limit).offset(offset)
        places = [(row.timestamp, row.id) for row in connection.execute(query)]
    is_all = len(places) < limit
    return _Found(places, is_all, reached if is_all else None)


def _skipped(connection: Connection, search: _Search, offset: int) -> tuple[_Search, int]:
    """The same without most of the first `offset` rows, and how many of them are left.

    Rows between two moments are counted, and never put in order.
    """
    if offset <= _MOST_MERGED:
        return search, offset
    begin, end = _ends(connection, search)
    per_s = sum((search.kinds or {}).values()) / max(end - begin, 1.0)
    for _ in range(_MOST_GUESSES):
        if offset <= _MOST_MERGED or end <= begin:
            break
        # A little less than a steady flow of rows would have it.
        middle = max(end - 0.95 * offset / max(per_s, 1e-9), (begin + end) / 2)
        part = evolve(search, since=math.nextafter(middle, math.inf), until=end)
        count, is_exact = _count(connection, part, offset)
        per_s = max(count, 1) / max(end - middle, 1e-6)
        if is_exact:
            offset, end = offset - count, middle
        else:
            begin = middle
    return evolve(search, until=end), offset


def _ends(connection: Connection, search: _Search) -> tuple[float, float]:
    """Moments between which all rows are."""
    time = request_logs.c.timestamp
    found = [
        connection.execute(select(function(time)).where(*search.times)).scalar()
        for function in (func.min, func.max)
    ]
    begin, end = (float(at or 0.0) for at in found)
    return begin, end


def _reach(connection: Connection, search: _Search) -> float | None:
    """How far a text is looked for in one go; None is as far as there are rows."""
    if not search.texts or search.is_of_few or search.exchange_id:
        return None
    query = select(request_logs.c.timestamp).where(*search.times).order_by(*search.order)
    query = _using(query, "idx_request_logs_timestamp").offset(search.looked_at).limit(1)
    reached: float | None = connection.execute(query).scalar()
    return reached


def _matching(search: _Search) -> Select[tuple[float, str]]:
    """All rows that match, as one walk along the index that has the fewest to pass over."""
    table = request_logs.c
    query = select(table.timestamp, table.id)
    if search.exchange_id:
        query = _using(query, "idx_request_logs_exchange_id").where(*_each(search))
        if search.hashes:
            query = query.where(table.key_hash.in_(search.hashes))
        return query.where(*search.times)
    if search.is_of_few:
        query = _using(query, "idx_request_logs_kind").where(table.kind_id.in_(search.kinds or ()))
        if search.hashes:
            query = query.where(table.key_hash.in_(search.hashes))
        if search.source_ip:
            query = query.where(table.source_ip == search.source_ip)
        return query.where(*search.texts, *search.times)
    if search.hashes:
        index, conditions = "idx_request_logs_key", [table.key_hash.in_(search.hashes)]
    else:
        index, conditions = "idx_request_logs_timestamp", []
    return _using(query, index).where(*conditions, *_each(search), *search.times)


def _each(search: _Search) -> list[ColumnElement[bool]]:
    """What each row of a walk along an index is asked."""
    table = request_logs.c
    conditions: list[ColumnElement[bool]] = []
    if search.kinds is not None:
        # An expression, so that nobody thinks of another index.
        conditions.append((table.kind_id + 0).in_(search.kinds))
    if search.source_ip:
        conditions.append(table.source_ip == search.source_ip)
    if search.exchange_id:
        conditions.append(table.exchange_id == search.exchange_id)
    return [*conditions, *search.texts]


def _merged(connection: Connection, search: _Search, limit: int) -> list[tuple[float, str]]:
    """The first rows of many kinds: n of them are of the n kinds that have a row first."""
    table, is_upward = request_logs.c, search.is_upward
    index, address = "idx_request_logs_kind", []
    if search.source_ip:
        index, address = "idx_request_logs_ip", [table.source_ip == search.source_ip]
    first = _using(select((func.min if is_upward else func.max)(table.timestamp)), index).where(
        table.kind_id == log_kinds.c.id, *address, *search.times
    )
    query = select(first.correlate(log_kinds).scalar_subquery().label("at"), log_kinds.c.id)
    if search.kinds is not None:
        query = query.where(log_kinds.c.id.in_(search.kinds))
    ranked = query.subquery()
    by_time = ranked.c.at.asc() if is_upward else ranked.c.at.desc()
    ordered = select(ranked).where(ranked.c.at.is_not(None)).order_by(by_time)
    kinds = connection.execute(ordered).all()
    places: list[tuple[float, str]] = []
    for begin in range(0, len(kinds), _BRANCHES):
        if len(places) >= limit:
            last, begins = places[limit - 1][0], kinds[begin][0]
            if begins > last if is_upward else begins < last:
                break
            search = search.up_to(last)
        parts = [
            select(
                _using(select(table.timestamp, table.id), index)
                .where(table.kind_id == kind_id, *address, *search.times)
                .order_by(*search.order)
                .limit(limit)
                .subquery()
            )
            for _, kind_id in kinds[begin : begin + _BRANCHES]
        ]
        found = union_all(*parts).subquery()
        columns = found.c.timestamp, found.c.id
        order = [column.asc() if is_upward else column.desc() for column in columns]
        more = connection.execute(select(found).order_by(*order).limit(limit)).all()
        places = _both(connection, search, places, list(more))[:limit]
    return places


def _both(
    connection: Connection,
    search: _Search,
    some: list[tuple[float, str]],
    more: list[tuple[float, str]],
) -> list[tuple[float, str]]:
    """Both in one order; the database's, where the time is one and the same."""
    if not some or not more:
        return some or more
    together = sorted((*some, *more), key=lambda place: place[0], reverse=not search.is_upward)
    if len({at for at, _ in together}) == len(together):
        return together
    ids = [row_id for _, row_id in together]
    query = select(request_logs.c.timestamp, request_logs.c.id).where(request_logs.c.id.in_(ids))
    return list(connection.execute(query.order_by(*search.order)))


def _count(connection: Connection, search: _Search, most: int) -> tuple[int, bool]:
    """How many rows match, and whether that is exact or a bound."""
    if search.kinds is not None and not search.kinds:
        return 0, True
    is_by_row = search.hashes or search.texts or search.exchange_id
    if not (is_by_row or search.source_ip or search.times):
        if search.kinds is not None:
            return sum(search.kinds.values()), True
        total = connection.execute(select(func.sum(log_kinds.c.count))).scalar()
        return int(total or 0), True
    query = _matching(search)
    if search.kinds is not None and not is_by_row:
        query = _of_kinds(connection, search)
    some = query.limit(most + 1).subquery()
    counted = connection.execute(select(func.count()).select_from(some)).scalar_one()
    return min(counted, most), counted <= most


def _of_kinds(connection: Connection, search: _Search) -> Select[tuple[float, str]]:
    """As `_matching`, kind after kind: in no order of time."""
    table = request_logs.c
    along = select(table.timestamp, table.id).where(*search.times)
    if search.source_ip:
        along = along.where(table.source_ip == search.source_ip)
    if connection.dialect.name == "postgresql":
        # It takes no hint, and would sooner walk along the time, past all other kinds.
        kinds = literal(list(search.kinds or ()), ARRAY(BigInteger))
        each = func.unnest(kinds).table_valued("id").render_derived(name="kinds")
        part = along.where(table.kind_id == each.c.id).offset(0).lateral()
        return select(part.c.timestamp, part.c.id).select_from(each).join(part, true())
    index = "idx_request_logs_ip" if search.source_ip else "idx_request_logs_kind"
    return _using(along, index).where(table.kind_id.in_(search.kinds or ()))


def _count_looked_at(connection: Connection, search: _Search) -> tuple[int, bool]:
    """As `_count`, of the rows that one go looks at."""
    reached = _reach(connection, search)
    if reached is not None:
        search = search.up_to(reached)
    total, is_exact = _count(connection, search, COUNTED)
    return total, is_exact and reached is None


def _using(query: Q, index: str) -> Q:
    """The query along that index. PostgreSQL knows by itself: it counts what is in a table."""
    return query.with_hint(request_logs, f"INDEXED BY {index}", "sqlite").with_hint(
        request_logs, f"FORCE INDEX ({index})", "mysql"
    )


def _rows(connection: Connection, vault: Vault, ids: Sequence[str]) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for begin in range(0, len(ids), CHUNK):
        query = select(request_logs).where(request_logs.c.id.in_(ids[begin : begin + CHUNK]))
        for row in connection.execute(query).mappings():
            value = open_for_people(vault, row["key_value"])
            found[row["id"]] = dict(row) | {"key_value": value}
    return [found[row_id] for row_id in ids if row_id in found]


def _search(connection: Connection, vault: Vault, wanted: Filter) -> _Search:
    """The filter, with the kinds that it means."""
    kinds, is_sure = _kinds(connection, wanted)
    if kinds is None and wanted.source_ip and not wanted.key:
        kinds = dict(connection.execute(select(log_kinds.c.id, log_kinds.c.count)).all())
    texts = logfilters.of_rows(vault, wanted)
    if not is_sure:
        texts += logfilters.of_models(wanted)
    found = _hashes(connection, vault, wanted.key) if wanted.key else ()
    return _Search(
        kinds,
        found,
        wanted.source_ip,
        wanted.since,
        wanted.until,
        tuple(texts),
        wanted.exchange_id,
        _looked_at(connection, kinds) if texts else 0,
    )


def _looked_at(connection: Connection, kinds: dict[int, int] | None) -> int:
    """How many rows are passed in one go, so that no more than `_READ_WHOLE` are read."""
    total = int(connection.execute(select(func.sum(log_kinds.c.count))).scalar() or 0)
    read = total if kinds is None else sum(kinds.values())
    return min(_LOOKED_AT, _READ_WHOLE * max(total, 1) // max(read, 1))


def _hashes(connection: Connection, vault: Vault, key: str) -> tuple[str, ...]:
    """What the key is known by here: nearly always one, which an index can follow in order."""
    possible = hashes(vault, key.encode())
    known = select(request_logs.c.key_hash).where(request_logs.c.key_hash == bindparam("one"))
    found = [one for one in possible if connection.execute(known.limit(1), {"one": one}).first()]
    return tuple(found or possible[:1])


def _kinds(connection: Connection, wanted: Filter) -> tuple[dict[int, int] | None, bool]:
    """Rows by kind, of the kinds that can match; and whether their rows surely do."""
    kinds = log_kinds.c
    conditions = logfilters.of_kinds(wanted)
    if not conditions:
        return None, True
    query = select(kinds.id, kinds.count, kinds.model).where(*conditions)
    found = connection.execute(query).all()
    is_sure = all(model != OTHERS for _, _, model in found)
    return {kind_id: count for kind_id, count, _ in found}, is_sure
