"""Who made which resource of a provider's: what must outlive a restart."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, delete, insert, or_, select, update

from gptload.control.db.tables import api_keys, resource_owners
from gptload.link.messages import OwnerNoted

OWNERS = resource_owners.c


def alive(connection: Connection, now: float, limit: int) -> list[OwnerNoted]:
    """Owners of what still exists; of too many, those of what exists the longest.

    Returns:
        The first to end first, so that a bounded memory that reads them in this order
        keeps the last.
    """
    query = (
        select(OWNERS.group_id, OWNERS.resource, OWNERS.key_id, OWNERS.upstream, OWNERS.until)
        .where(OWNERS.until > now)
        .order_by(OWNERS.until.desc())
        .limit(limit)
    )
    rows = connection.execute(query).all()
    return [
        OwnerNoted(group_id, resource, key_id, upstream, until)
        for group_id, resource, key_id, upstream, until in reversed(rows)
    ]


def write(connection: Connection, owners: Sequence[OwnerNoted]) -> None:
    """Insert or update; the same owners written again change nothing.

    Args:
        owners: no resource twice.
    """
    statement = (
        update(resource_owners)
        .where(
            OWNERS.group_id == bindparam("of_group"), OWNERS.resource == bindparam("of_resource")
        )
        .values(
            key_id=bindparam("new_key_id"),
            upstream=bindparam("new_upstream"),
            until=bindparam("new_until"),
        )
    )
    missing = []
    for owner in owners:
        # One by one: of many at once no driver says which one met no row.
        changed = connection.execute(
            statement,
            {
                "of_group": owner.group_id,
                "of_resource": owner.resource,
                "new_key_id": owner.key_id,
                "new_upstream": owner.upstream,
                "new_until": owner.until,
            },
        )
        if not changed.rowcount:
            missing.append(
                {
                    "group_id": owner.group_id,
                    "resource": owner.resource,
                    "key_id": owner.key_id,
                    "upstream": owner.upstream,
                    "until": owner.until,
                }
            )
    if missing:
        connection.execute(insert(resource_owners), missing)


def prune(connection: Connection, now: float, limit: int) -> int:
    """Delete what has ended, what no key can reach any more, and what is too much.

    Returns:
        How many rows that were.
    """
    keys = select(api_keys.c.id)
    gone = delete(resource_owners).where(or_(OWNERS.until <= now, OWNERS.key_id.not_in(keys)))
    count = connection.execute(gone).rowcount
    cut = connection.execute(
        select(OWNERS.until).order_by(OWNERS.until.desc()).offset(limit).limit(1)
    ).scalar()
    if cut is not None:
        # Several may end at that very moment; they go together.
        count += connection.execute(delete(resource_owners).where(OWNERS.until <= cut)).rowcount
    return count
