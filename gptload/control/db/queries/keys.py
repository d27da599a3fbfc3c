"""Keys as a person sees, adds and deletes them; hundreds of thousands in a group."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeVar

from attrs import frozen
from sqlalchemy import (
    Boolean,
    ColumnElement,
    Connection,
    and_,
    case,
    delete,
    func,
    insert,
    literal,
    literal_column,
    not_,
    or_,
    select,
    update,
)
from sqlalchemy.ext.compiler import compiles

from gptload.control.db.queries import keystates
from gptload.control.db.queries.groups import must_exist
from gptload.control.db.queries.keystates import Loaded
from gptload.control.db.tables import Instant, api_keys, key_changes, removed_keys
from gptload.core.errors import NotFound
from gptload.core.idspans import Span
from gptload.core.keykinds import KINDS
from gptload.core.keypool import PoolKey
from gptload.core.resttime import RATE_LIMIT_CAP_S
from gptload.core.vault import Vault, VaultError

# A database takes only so many values in one statement.
CHUNK = 500

T = TypeVar("T")


@frozen
class KeyRow:
    """One key, for people.

    Attributes:
        value: the key itself; None when it can't be decrypted.
        model_rests: epoch seconds by model; they may be over. None for none.
        changed_at: epoch seconds of what last happened to it; None for nothing.
    """

    id: int
    value: str | None
    key_hash: str
    group_id: int
    status: str
    notes: str
    request_count: int
    failure_count: int
    last_used_at: float | None
    created_at: float
    updated_at: float
    rest_until: float | None
    reason: str
    weight: int
    account: str
    model_rests: dict[str, float] | None
    changed_at: float | None


def hashes(vault: Vault, secret: bytes) -> list[str]:
    """What a key may be stored under: also a plain hash, from before there was ENCRYPTION_KEY."""
    found = [vault.hash(secret)]
    if vault.encrypts:
        found.append(hashlib.sha256(secret).hexdigest())
    return found


def open_for_people(vault: Vault, stored: str) -> str | None:
    """The key as text; None when it can't be decrypted."""
    try:
        return vault.open(stored).decode("utf-8", "replace")
    except VaultError:
        return None


@frozen
class KeyFilter:
    """Which keys of a group are meant; what is empty asks for nothing.

    Attributes:
        status: the reference's word: to it a key that rests is `active`.
        state: ours: `active`, `resting`, `invalid` or `disabled`.
        reason: why a key is not active, as its verdict said.
        value: a whole key.
        ids: of no others.
        kind: ours: one of `gptload.core.keykinds.KINDS`.
        notes: a part of the note, capitals aside.
        exhausted: for `kind`: reasons that say that a key is used up.
        unused_since: not used since then, epoch seconds, or never.
        spans: only with ids in one of these; a few hundred of them.
    """

    status: str = ""
    state: str = ""
    reason: str = ""
    value: str = ""
    ids: tuple[int, ...] | None = None
    kind: str = ""
    notes: str = ""
    exhausted: frozenset[str] = frozenset()
    unused_since: float | None = None
    spans: tuple[Span, ...] | None = None


ALL = KeyFilter()


def _meant(group_id: int, wanted: KeyFilter, now: float, vault: Vault | None = None) -> list[Any]:
    keys = api_keys.c
    is_resting = and_(keys.status == "active", keys.rest_until > now)
    is_active = and_(keys.status == "active", func.coalesce(keys.rest_until, 0) <= now)
    conditions: list[Any] = [keys.group_id == group_id]
    if wanted.status:
        conditions.append(keys.status == wanted.status)
    if wanted.state == "resting":
        conditions.append(is_resting)
    elif wanted.state == "active":
        conditions.append(is_active)
    elif wanted.state:
        conditions.append(keys.status == wanted.state)
    if wanted.reason:  # of a key that is well again it may still be there
        conditions.append(and_(keys.reason == wanted.reason, not_(is_active)))
    if wanted.value and vault is not None:
        conditions.append(keys.key_hash.in_(hashes(vault, wanted.value.encode())))
    if wanted.ids is not None:
        conditions.append(keys.id.in_(wanted.ids))
    if wanted.kind:
        conditions.append(_kind(now, wanted.exhausted) == wanted.kind)
    if wanted.notes:
        conditions.append(func.lower(keys.notes).contains(wanted.notes.lower(), autoescape=True))
    if wanted.unused_since is not None:
        is_older = keys.last_used_at < wanted.unused_since
        conditions.append(or_(keys.last_used_at.is_(None), is_older))
    if wanted.spans is not None:
        single = [first for first, last in wanted.spans if first == last]
        longer = [keys.id.between(*span) for span in wanted.spans if span[0] < span[1]]
        conditions.append(or_(keys.id.in_(single), *longer))
    return conditions


class _ModelRests(ColumnElement[bool]):
    """Whether a key rests for one of its models."""

    inherit_cache = False
    type = Boolean()

    def __init__(self, now: float) -> None:
        self.now = literal(now)


# Each database has its own way to look through the values of a JSON object.
_VALUES = {
    "sqlite": "SELECT 1 FROM json_each(api_keys.model_rests) AS rests WHERE rests.value > {}",
    "postgresql": (
        "SELECT 1 FROM json_each_text(api_keys.model_rests) AS rests "
        "WHERE CAST(rests.value AS DOUBLE PRECISION) > {}"
    ),
    "mysql": (
        "SELECT 1 FROM JSON_TABLE(api_keys.model_rests, '$.*' COLUMNS (until DOUBLE PATH '$')) "
        "AS rests WHERE rests.until > {}"
    ),
}


@compiles(_ModelRests)
def _model_rests(element: _ModelRests, compiler: Any, **kw: Any) -> str:
    name = "mysql" if compiler.dialect.name == "mariadb" else compiler.dialect.name
    return f"EXISTS ({_VALUES[name].format(compiler.process(element.now, **kw))})"


def state_at(now: float) -> Any:
    """As `KeyFilter.state` names it: the status, or `resting` where that is so for now."""
    keys = api_keys.c
    rests = and_(keys.status == "active", func.coalesce(keys.rest_until, 0) > now)
    return case((rests, "resting"), else_=keys.status)


def _kind(now: float, exhausted: frozenset[str]) -> Any:
    """As `gptload.core.keykinds.kind_of` says it of one key."""
    keys = api_keys.c
    is_long = keys.rest_until - func.coalesce(keys.changed_at, keys.rest_until) > RATE_LIMIT_CAP_S
    return case(
        (keys.status != "active", keys.status),
        (
            func.coalesce(keys.rest_until, 0) > now,
            case((or_(is_long, keys.reason.in_(sorted(exhausted))), "exhausted"), else_="cooling"),
        ),
        (and_(keys.model_rests.is_not(None), _ModelRests(now)), "cooling"),
        (keys.failure_count > 0, "suspect"),
        else_="active",
    )


_SHOWN = tuple(
    api_keys.c[name]
    for name in (
        "id",
        "key_value",
        "key_hash",
        "group_id",
        "status",
        "notes",
        "request_count",
        "failure_count",
        "last_used_at",
        "created_at",
        "updated_at",
        "rest_until",
        "reason",
        "weight",
        "account",
        "model_rests",
        "changed_at",
    )
)


# By what a list of keys is put in order; `-` before it: the other way round.
SORTS = ("id", "used", "requests", "strikes", "rest", "weight", "created", "status")


def _order(sort: str, now: float) -> list[Any]:
    keys = api_keys.c
    name = sort.removeprefix("-")
    if name == "rest":
        # A rest that is over is none.
        until = case((keys.rest_until > now, keys.rest_until))
        first = until.desc() if sort.startswith("-") else until.asc()
        return [first.nulls_last(), keys.id.desc()]
    column = {
        "id": keys.id,
        "used": keys.last_used_at,
        "requests": keys.request_count,
        "strikes": keys.failure_count,
        "weight": keys.weight,
        "created": keys.created_at,
        "status": keys.status,
    }[name]
    first = column.desc() if sort.startswith("-") else column.asc()
    return [first.nulls_last(), keys.id.desc()] if column.nullable else [first, keys.id.desc()]


def _shown(vault: Vault, rows: Iterable[Any]) -> list[KeyRow]:
    return [KeyRow(key_id, open_for_people(vault, stored), *rest) for key_id, stored, *rest in rows]


def page(
    connection: Connection,
    vault: Vault,
    group_id: int,
    wanted: KeyFilter,
    *,
    now: float,
    offset: int,
    limit: int,
    sort: str = "-used",
) -> tuple[list[KeyRow], int]:
    """Keys of a group in that order, and how many there are.

    Args:
        sort: one of `SORTS`, also with a `-` before it.

    Raises:
        NotFound: there is no such group.
    """
    must_exist(connection, group_id)
    conditions = _meant(group_id, wanted, now, vault)
    total = connection.execute(
        select(func.count()).select_from(api_keys).where(*conditions)
    ).scalar_one()
    query = (
        select(*_SHOWN).where(*conditions).order_by(*_order(sort, now)).offset(offset).limit(limit)
    )
    return _shown(vault, connection.execute(query)), total


def lookup(connection: Connection, vault: Vault, secret: bytes, limit: int) -> list[KeyRow]:
    """This very key, in every group that has it."""
    keys = api_keys.c
    query = select(*_SHOWN).where(keys.key_hash.in_(hashes(vault, secret)))
    return _shown(vault, connection.execute(query.order_by(keys.id).limit(limit)))


def opened_after(
    connection: Connection,
    vault: Vault,
    group_id: int,
    wanted: KeyFilter,
    *,
    now: float,
    after_id: int,
    limit: int,
) -> list[tuple[int, bytes | None]]:
    """Ids and keys in the order of their ids; None for one that can't be decrypted.

    Raises:
        NotFound: there is no such group.
    """
    must_exist(connection, group_id)
    keys = api_keys.c
    query = (
        select(keys.id, keys.key_value)
        .where(*_meant(group_id, wanted, now), keys.id > after_id)
        .order_by(keys.id)
        .limit(limit)
    )
    found: list[tuple[int, bytes | None]] = []
    for key_id, stored in connection.execute(query):
        try:
            found.append((key_id, vault.open(stored)))
        except VaultError:
            found.append((key_id, None))
    return found


def add(
    connection: Connection, vault: Vault, group_id: int, secrets: Iterable[bytes], now: float
) -> list[PoolKey]:
    """Add what the group doesn't have yet. Encrypts here, in the database's thread.

    Returns:
        The keys that are new.

    Raises:
        NotFound: there is no such group.
    """
    must_exist(connection, group_id)
    added: list[PoolKey] = []
    for chunk in _chunks(dict.fromkeys(secrets), CHUNK):
        added += _add_chunk(connection, vault, group_id, chunk, now)
    return added


def _add_chunk(
    connection: Connection, vault: Vault, group_id: int, secrets: Sequence[bytes], now: float
) -> list[PoolKey]:
    keys = api_keys.c
    forms = {secret: hashes(vault, secret) for secret in secrets}
    known = set(_in_group(connection, group_id, (form for all_ in forms.values() for form in all_)))
    fresh = {found[0]: secret for secret, found in forms.items() if known.isdisjoint(found)}
    if not fresh:
        return []
    connection.execute(
        insert(api_keys),
        [
            {
                "key_value": vault.seal(secret),
                "key_hash": key_hash,
                "group_id": group_id,
                "created_at": now,
                "updated_at": now,
            }
            for key_hash, secret in fresh.items()
        ],
    )
    # Read back instead of RETURNING, which not every database has.
    query = select(keys.id, keys.key_hash).where(
        keys.group_id == group_id, keys.key_hash.in_(list(fresh))
    )
    rows = sorted(connection.execute(query).all())
    return [PoolKey(key_id, fresh[key_hash]) for key_id, key_hash in rows]


def _chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    rest = iter(items)
    while chunk := list(islice(rest, size)):
        yield chunk


def _in_group(connection: Connection, group_id: int, wanted: Iterable[str]) -> Iterator[str]:
    keys = api_keys.c
    for chunk in _chunks(wanted, CHUNK):
        query = select(keys.key_hash).where(keys.group_id == group_id, keys.key_hash.in_(chunk))
        yield from connection.execute(query).scalars()


def find(
    connection: Connection, vault: Vault, group_id: int, secrets: Iterable[bytes]
) -> dict[bytes, int]:
    """Ids of those keys that the group has, in the order in which they are asked for.

    Raises:
        NotFound: there is no such group.
    """
    must_exist(connection, group_id)
    keys = api_keys.c
    wanted = list(dict.fromkeys(secrets))
    found: dict[bytes, int] = {}
    for chunk in _chunks(wanted, CHUNK // 2):
        forms = {form: secret for secret in chunk for form in hashes(vault, secret)}
        query = select(keys.key_hash, keys.id).where(
            keys.group_id == group_id, keys.key_hash.in_(list(forms))
        )
        for key_hash, key_id in connection.execute(query):
            found[forms[key_hash]] = key_id
    return {secret: found[secret] for secret in wanted if secret in found}


def count(connection: Connection, group_id: int, wanted: KeyFilter = ALL, now: float = 0) -> int:
    """How many such keys the group has."""
    query = select(func.count()).select_from(api_keys).where(*_meant(group_id, wanted, now))
    return connection.execute(query).scalar_one()


def last_id(connection: Connection, group_id: int) -> int:
    """The highest id of the group's keys; 0 without any."""
    query = select(func.max(api_keys.c.id)).where(api_keys.c.group_id == group_id)
    return connection.execute(query).scalar() or 0


def ids_after(
    connection: Connection, group_id: int, after_id: int, limit: int, status: str = ""
) -> list[int]:
    """Ids of the group's keys in their order; `status` empty for any.

    Raises:
        NotFound: there is no such group.
    """
    must_exist(connection, group_id)
    keys = api_keys.c
    query = select(keys.id).where(keys.group_id == group_id, keys.id > after_id)
    if status:
        query = query.where(keys.status == status)
    return list(connection.execute(query.order_by(keys.id).limit(limit)).scalars())


def meant_after(
    connection: Connection,
    group_id: int,
    wanted: KeyFilter,
    *,
    now: float,
    after_id: int,
    limit: int,
) -> list[int]:
    """As `ids_after`, of those that a filter means.

    Raises:
        NotFound: there is no such group.
    """
    must_exist(connection, group_id)
    keys = api_keys.c
    query = select(keys.id).where(*_meant(group_id, wanted, now), keys.id > after_id)
    return list(connection.execute(query.order_by(keys.id).limit(limit)).scalars())


def states(connection: Connection, group_id: int, now: float) -> dict[str, int]:
    """How many keys of a group there are in each state, as `KeyFilter.state` names them."""
    query = (
        select(state_at(now).label("state"), func.count())
        .where(api_keys.c.group_id == group_id)
        .group_by(literal_column("state"))
    )
    found = dict.fromkeys(("active", "resting", "invalid", "disabled"), 0)
    for name, count in connection.execute(query):
        found[name] = count
    return found


def kinds(
    connection: Connection, group_id: int, exhausted: frozenset[str], now: float
) -> dict[str, int]:
    """How many keys of a group there are of each of `KINDS`.

    Raises:
        NotFound: there is no such group.
    """
    must_exist(connection, group_id)
    kind = _kind(now, exhausted).label("kind")
    query = (
        select(kind, func.count())
        .where(api_keys.c.group_id == group_id)
        .group_by(literal_column("kind"))
    )
    counts = dict.fromkeys(KINDS, 0)
    for word, count_ in connection.execute(query):
        counts[word] = count_
    return counts


def counts_of_all(
    connection: Connection, exhausted: frozenset[str], now: float
) -> list[tuple[int, str, str, int]]:
    """(group id, state, kind, how many keys), of all groups that have keys.

    States are those of `KeyFilter.state`, kinds those of `KINDS`.
    """
    group_id = api_keys.c.group_id
    state, kind = state_at(now).label("state"), _kind(now, exhausted).label("kind")
    query = select(group_id, state, kind, func.count()).group_by(
        group_id, literal_column("state"), literal_column("kind")
    )
    return [tuple(row) for row in connection.execute(query)]


def reasons(connection: Connection, group_id: int, now: float, limit: int) -> list[tuple[str, int]]:
    """Why keys of a group are not active, the most frequent first."""
    keys = api_keys.c
    is_well = and_(keys.status == "active", func.coalesce(keys.rest_until, 0) <= now)
    query = (
        select(keys.reason, func.count())
        .where(keys.group_id == group_id, keys.reason != "", not_(is_well))
        .group_by(keys.reason)
        .order_by(func.count().desc(), keys.reason)
        .limit(limit)
    )
    return [(reason, count) for reason, count in connection.execute(query)]


def group_of(connection: Connection, key_id: int) -> int:
    """The id of a key's group.

    Raises:
        NotFound: there is no such key.
    """
    query = select(api_keys.c.group_id).where(api_keys.c.id == key_id)
    group_id: int | None = connection.execute(query).scalar()
    if group_id is None:
        raise NotFound("Resource not found")
    return group_id


def value_of(connection: Connection, vault: Vault, key_id: int) -> str | None:
    """A key itself; None when it can't be decrypted.

    Raises:
        NotFound: there is no such key.
    """
    query = select(api_keys.c.key_value).where(api_keys.c.id == key_id)
    stored: str | None = connection.execute(query).scalar()
    if stored is None:
        raise NotFound("Resource not found")
    return open_for_people(vault, stored)


# Deleting, and taking that back. A deleted key has its row in another table, so that
# no query that looks for keys can meet it, and keeps its id and its timeline.

_MOVED = [column.name for column in api_keys.columns]


def remove(
    connection: Connection,
    group_id: int,
    key_ids: Iterable[int],
    *,
    batch: str,
    now: float,
    status: str = "",
) -> list[int]:
    """Delete these keys of the group, if they have that status; empty for any.

    Args:
        batch: by which `give_back` finds them.

    Returns:
        The ids of those that are gone now.
    """
    keys = api_keys.c
    gone: list[int] = []
    for chunk in _chunks(key_ids, CHUNK):
        query = select(keys.id).where(keys.group_id == group_id, keys.id.in_(chunk))
        if status:
            query = query.where(keys.status == status)
        found = list(connection.execute(query).scalars())
        if not found:
            continue
        moved = select(*[keys[name] for name in _MOVED], literal(batch), literal(now, Instant))
        connection.execute(
            insert(removed_keys).from_select(
                [*_MOVED, "batch", "removed_at"], moved.where(keys.id.in_(found))
            )
        )
        connection.execute(delete(api_keys).where(keys.id.in_(found)))
        gone += found
    return gone


def give_back(
    connection: Connection, vault: Vault, batch: str, after_id: int
) -> tuple[list[Loaded], int, int | None]:
    """Undo a deletion, the next `CHUNK` keys by their ids.

    Returns:
        The keys that serve again; how many rows came back, with those that can't be
        decrypted; where to go on, None when these were the last. A key that was added
        anew meanwhile doesn't come back.
    """
    gone = removed_keys.c
    rows = connection.execute(
        select(gone.id, gone.group_id, gone.key_hash)
        .where(gone.batch == batch, gone.id > after_id)
        .order_by(gone.id)
        .limit(CHUNK)
    ).all()
    if not rows:
        return [], 0, None
    group_id = rows[0].group_id  # a batch is of one group
    anew = set(_in_group(connection, group_id, [row.key_hash for row in rows]))
    back = [row.id for row in rows if row.key_hash not in anew]
    if back:
        moved = select(*[gone[name] for name in _MOVED]).where(gone.id.in_(back))
        connection.execute(insert(api_keys).from_select(_MOVED, moved))
        connection.execute(delete(removed_keys).where(gone.id.in_(back)))
    last_id = rows[-1].id if len(rows) == CHUNK else None
    return keystates.chosen(connection, vault, back), len(back), last_id


@frozen
class Batch:
    """What one command deleted, as far as it can still come back.

    Attributes:
        removed_at: epoch seconds of the first one.
    """

    batch: str
    group_id: int
    count: int
    removed_at: float


def batches(connection: Connection, group_id: int, since: float) -> list[Batch]:
    """Deletions in a group since then, the last one first."""
    gone = removed_keys.c
    first = func.min(gone.removed_at)
    query = (
        select(gone.batch, gone.group_id, func.count(), first)
        .where(gone.group_id == group_id)
        .group_by(gone.batch, gone.group_id)
        .having(first >= since)
        .order_by(first.desc())
        .limit(CHUNK)
    )
    return [Batch(*row) for row in connection.execute(query)]


def batch_of(connection: Connection, batch: str, since: float) -> Batch:
    """
    Raises:
        NotFound: nothing of it is left, or it is older than that.
    """
    gone = removed_keys.c
    query = (
        select(gone.batch, gone.group_id, func.count(), func.min(gone.removed_at))
        .where(gone.batch == batch)
        .group_by(gone.batch, gone.group_id)
    )
    row = connection.execute(query).one_or_none()
    if row is None or row[3] < since:
        raise NotFound(
            "There is no such deletion any more",
            hint="Deleted keys are kept for ten minutes; GET /api/keys/deleted lists them.",
        )
    return Batch(*row)


def forget_removed(connection: Connection, before: float, limit: int) -> int:
    """Let go of keys that were deleted before then, with their timelines; how many went."""
    gone = removed_keys.c
    query = select(gone.id).where(gone.removed_at < before).order_by(gone.removed_at).limit(limit)
    old = list(connection.execute(query).scalars())
    for chunk in _chunks(old, CHUNK):
        connection.execute(delete(removed_keys).where(gone.id.in_(chunk)))
        connection.execute(delete(key_changes).where(key_changes.c.key_id.in_(chunk)))
    return len(old)


def write_notes(connection: Connection, key_id: int, notes: str, now: float) -> None:
    """
    Raises:
        NotFound: there is no such key.
    """
    changed = connection.execute(
        update(api_keys).where(api_keys.c.id == key_id).values(notes=notes, updated_at=now)
    )
    if not changed.rowcount:
        raise NotFound("Resource not found")


def write_weight(
    connection: Connection, vault: Vault, key_id: int, weight: int, now: float
) -> tuple[int, bytes | None]:
    """Set a key's weight.

    Returns:
        Its group's id, and the key itself; None when it can't be decrypted.

    Raises:
        NotFound: there is no such key.
    """
    keys = api_keys.c
    row = connection.execute(
        select(keys.group_id, keys.key_value).where(keys.id == key_id)
    ).one_or_none()
    if row is None:
        raise NotFound("Resource not found")
    connection.execute(
        update(api_keys).where(keys.id == key_id).values(weight=weight, updated_at=now)
    )
    try:
        return row.group_id, vault.open(row.key_value)
    except VaultError:
        return row.group_id, None


def write_all_notes(connection: Connection, key_ids: Sequence[int], notes: str, now: float) -> None:
    """As `write_notes`, for many; those that are gone are passed over."""
    keys = api_keys.c
    for start in range(0, len(key_ids), CHUNK):
        meant = keys.id.in_(key_ids[start : start + CHUNK])
        connection.execute(update(api_keys).where(meant).values(notes=notes, updated_at=now))


def write_weights(
    connection: Connection, vault: Vault, key_ids: Sequence[int], weight: int, now: float
) -> list[tuple[int, bytes]]:
    """As `write_weight`, for many: ids and keys, but for those that can't be decrypted."""
    keys = api_keys.c
    found: list[tuple[int, bytes]] = []
    for start in range(0, len(key_ids), CHUNK):
        meant = keys.id.in_(key_ids[start : start + CHUNK])
        connection.execute(update(api_keys).where(meant).values(weight=weight, updated_at=now))
        for key_id, stored in connection.execute(select(keys.id, keys.key_value).where(meant)):
            try:
                found.append((key_id, vault.open(stored)))
            except VaultError:
                continue
    return found
