"""What background checks need to know: whom to ask, and when a group last had its turn."""

from __future__ import annotations

from attrs import frozen
from sqlalchemy import Connection, and_, or_, select, update

from gptload.control.db.tables import api_keys, groups
from gptload.core.vault import Vault, VaultError

# As many as the reactor's thread goes through in a few milliseconds.
PAGE_ROWS = 2000


@frozen
class Candidate:
    """A key that may be asked.

    Attributes:
        changed_at: epoch seconds since when it is as it is; None where nobody knows.
        rest_until: epoch seconds of a long rest's end; None for a key that is invalid.
    """

    key_id: int
    changed_at: float | None
    rest_until: float | None


def candidates(
    connection: Connection,
    group_id: int,
    after_id: int,
    now: float,
    before: float,
    long_rest_s: float,
) -> list[Candidate]:
    """The next `PAGE_ROWS` keys by id: invalid ones, and those whose long rest ends soon.

    Args:
        before: epoch seconds; rests that end later are not meant.
        long_rest_s: a rest that lasts no less is long.
    """
    keys = api_keys.c
    rests = and_(
        keys.status == "active",
        keys.rest_until > now,
        keys.rest_until < before,
        keys.rest_until - keys.changed_at >= long_rest_s,
    )
    query = (
        select(keys.id, keys.status, keys.changed_at, keys.rest_until)
        .where(keys.group_id == group_id, keys.id > after_id)
        .where(or_(keys.status == "invalid", rests))
        .order_by(keys.id)
        .limit(PAGE_ROWS)
    )
    return [
        Candidate(key_id, changed_at, until if status == "active" else None)
        for key_id, status, changed_at, until in connection.execute(query)
    ]


def secret(connection: Connection, vault: Vault, key_id: int) -> bytes | None:
    """The key itself; None when it is gone or can't be decrypted."""
    query = select(api_keys.c.key_value).where(api_keys.c.id == key_id)
    sealed = connection.execute(query).scalar()
    try:
        return None if sealed is None else vault.open(sealed)
    except VaultError:
        return None


def last_validated(connection: Connection) -> dict[int, float]:
    """When each group last had its turn, in epoch seconds; without those that never had one."""
    query = select(groups.c.id, groups.c.last_validated_at)
    found = connection.execute(query.where(groups.c.last_validated_at.is_not(None)))
    return dict(found.all())


def validated(connection: Connection, group_id: int, now: float) -> None:
    """The group has its turn now. Nobody changed it, so `updated_at` stays."""
    connection.execute(update(groups).where(groups.c.id == group_id).values(last_validated_at=now))
