"""Keys as a person sees, adds and deletes them; hundreds of thousands in a group."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TypeVar

from attrs import frozen
from sqlalchemy import Connection, delete, func, insert, select, update

from gptload.control.db.queries.groups import must_exist
from gptload.control.db.tables import api_keys, key_changes
from gptload.core.errors import NotFound
from gptload.core.keypool import PoolKey
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


def page(
    connection: Connection,
    vault: Vault,
    group_id: int,
    *,
    status: str,
    value: str,
    offset: int,
    limit: int,
) -> tuple[list[KeyRow], int]:
    """Keys of a group, the last used first, and how many there are.

    Args:
        status: empty for any.
        value: a whole key; empty for any.

    Raises:
        NotFound: there is no such group.
    """
    must_exist(connection, group_id)
    keys = api_keys.c
    wanted = [keys.group_id == group_id]
    if status:
        wanted.append(keys.status == status)
    if value:
        wanted.append(keys.key_hash.in_(hashes(vault, value.encode())))
    total = connection.execute(
        select(func.count()).select_from(api_keys).where(*wanted)
    ).scalar_one()
    query = (
        select(
            keys.id,
            keys.key_value,
            keys.key_hash,
            keys.group_id,
            keys.status,
            keys.notes,
            keys.request_count,
            keys.failure_count,
            keys.last_used_at,
            keys.created_at,
            keys.updated_at,
            keys.rest_until,
            keys.reason,
            keys.weight,
            keys.account,
            keys.model_rests,
        )
        .where(*wanted)
        .order_by(keys.last_used_at.desc().nulls_last(), keys.id.desc())
        .offset(offset)
        .limit(limit)
    )
    rows = connection.execute(query).all()
    found = [
        KeyRow(key_id, open_for_people(vault, stored), *rest) for key_id, stored, *rest in rows
    ]
    return found, total


def add(
    connection: Connection, vault: Vault, group_id: int, secrets: Iterable[bytes], now: float
) -> tuple[list[PoolKey], int]:
    """Add what the group doesn't have yet. Encrypts here, in the database's thread.

    Returns:
        The keys that are new, and how many the group has now.

    Raises:
        NotFound: there is no such group.
    """
    must_exist(connection, group_id)
    added: list[PoolKey] = []
    for chunk in _chunks(dict.fromkeys(secrets), CHUNK):
        added += _add_chunk(connection, vault, group_id, chunk, now)
    return added, count(connection, group_id)


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


def count(connection: Connection, group_id: int) -> int:
    """How many keys the group has."""
    query = select(func.count()).select_from(api_keys).where(api_keys.c.group_id == group_id)
    return connection.execute(query).scalar_one()


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


def remove(
    connection: Connection, group_id: int, key_ids: Iterable[int], status: str = ""
) -> list[int]:
    """Delete these keys of the group, if they have that status; empty for any.

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
        connection.execute(delete(api_keys).where(keys.id.in_(found)))
        connection.execute(delete(key_changes).where(key_changes.c.key_id.in_(found)))
        gone += found
    return gone


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
