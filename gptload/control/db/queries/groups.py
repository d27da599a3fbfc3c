"""Groups and their members, as a person sees and changes them."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from attrs import frozen
from sqlalchemy import (
    Connection,
    Row,
    Select,
    Table,
    Text,
    cast,
    delete,
    func,
    insert,
    literal,
    select,
    update,
)

from gptload.control.db.tables import (
    api_keys,
    group_sub_groups,
    groups,
    key_changes,
)
from gptload.core.errors import BadRequest, Duplicate, NotFound, ValidationFailed

# What a column that holds no JSON counts as: one broken text must not hide the others.
_JSON: Final[Mapping[str, Any]] = {
    "upstreams": [],
    "param_overrides": {},
    "config": {},
    "header_rules": [],
    "model_redirect_rules": {},
    "error_rules": [],
}
# Of a key that is copied; its counts and its history are its own.
_KEPT_OF_KEYS: Final = (
    "key_value",
    "key_hash",
    "status",
    "notes",
    "failure_count",
    "rest_until",
    "reason",
    "changed_at",
    "weight",
    "account",
    "model_rests",
)
_LONGEST_NAME: Final = 100
_LONGEST_DISPLAY_NAME: Final = 255
_MOST_COPIES: Final = 1000
_COLUMNS = [
    cast(column, Text).label(column.name) if column.name in _JSON else column
    for column in groups.columns
]

Group = dict[str, Any]
"""A group's row by column, its JSON decoded."""


@frozen
class Member:
    """A sub-group of an aggregate, or the aggregate that a sub-group belongs to.

    Attributes:
        total_keys, active_keys, invalid_keys: of the sub-group.
    """

    group: Group
    weight: int
    total_keys: int = 0
    active_keys: int = 0
    invalid_keys: int = 0


@frozen
class KeyCounts:
    """Keys by what they may do; one that rests is active."""

    total: int = 0
    active: int = 0
    invalid: int = 0


def all_groups(connection: Connection) -> list[Group]:
    """All of them, in the order of the list that people see."""
    query = select(*_COLUMNS).order_by(groups.c.sort, groups.c.id.desc())
    return [_group(row) for row in connection.execute(query)]


def one(connection: Connection, group_id: int) -> Group:
    """
    Raises:
        NotFound: there is no such group.
    """
    row = connection.execute(select(*_COLUMNS).where(groups.c.id == group_id)).first()
    if row is None:
        raise NotFound("Resource not found")
    return _group(row)


def must_exist(connection: Connection, group_id: int) -> None:
    """
    Raises:
        NotFound: there is no such group.
    """
    if connection.execute(select(groups.c.id).where(groups.c.id == group_id)).first() is None:
        raise NotFound("Resource not found")


def _group(row: Row[Any]) -> Group:
    group = dict(row._mapping)
    for name, otherwise in _JSON.items():
        try:
            value = json.loads(group[name]) if group[name] else otherwise
        except ValueError:
            value = otherwise
        group[name] = value if isinstance(value, type(otherwise)) else otherwise
    return group


def add(connection: Connection, values: Mapping[str, Any], now: float) -> Group:
    """A new group.

    Raises:
        Duplicate: the name is taken.
    """
    _claim_name(connection, values["name"], None)
    row = {**values, "created_at": now, "updated_at": now}
    result = connection.execute(insert(groups).values(row))
    (group_id,) = result.inserted_primary_key or (0,)
    return one(connection, group_id)


def copy(connection: Connection, group_id: int, keys: str, now: float) -> tuple[Group, int | None]:
    """A second group like this one, with its members and, if wanted, its keys: all or nothing.

    Keys keep states, notes and weights. Nothing is decrypted.

    Args:
        keys: `all`, `valid_only` or `none`.

    Returns:
        The new group, and the lowest id among its keys; None if it has none.

    Raises:
        NotFound, Duplicate: there is no such group; no name is left for it.
    """
    row = one(connection, group_id)
    display_name = row["display_name"]
    values = {
        key: value
        for key, value in row.items()
        if key not in ("id", "last_validated_at", "created_at", "updated_at")
    }
    values["name"] = _name_of_copy(connection, row["name"])
    if display_name:
        values["display_name"] = display_name[: _LONGEST_DISPLAY_NAME - len(" Copy")] + " Copy"
    group = add(connection, values, now)
    new_id = literal(group["id"])
    member = group_sub_groups.c
    _insert_from(
        connection,
        group_sub_groups,
        select(new_id, member.sub_group_id, member.weight, literal(now), literal(now))
        .where(member.group_id == group_id)
        .order_by(member.id),
        ("group_id", "sub_group_id", "weight", "created_at", "updated_at"),
    )
    if keys != "none":
        source = api_keys.c
        same = [source[name] for name in _KEPT_OF_KEYS]
        wanted = select(new_id, literal(now), literal(now), *same).where(
            source.group_id == group_id
        )
        if keys == "valid_only":
            wanted = wanted.where(source.status == "active")
        columns = ("group_id", "created_at", "updated_at", *_KEPT_OF_KEYS)
        _insert_from(connection, api_keys, wanted.order_by(source.id), columns)
    first = select(func.min(api_keys.c.id)).where(api_keys.c.group_id == group["id"])
    return group, connection.execute(first).scalar()


def _insert_from(
    connection: Connection, table: Table, rows: Select[Any], columns: Sequence[str]
) -> None:
    connection.execute(insert(table).from_select(list(columns), rows, include_defaults=False))


def _name_of_copy(connection: Connection, name: str) -> str:
    taken = set(connection.execute(select(groups.c.name)).scalars())
    for number in range(1, _MOST_COPIES + 1):
        suffix = "_copy" if number == 1 else f"_copy_{number}"
        found = name[: _LONGEST_NAME - len(suffix)] + suffix
        if found not in taken:
            return found
    raise Duplicate("Resource already exists", hint="Too many copies of this group: rename some.")


def change(connection: Connection, group_id: int, values: Mapping[str, Any], now: float) -> Group:
    """Change these columns of a group, and no other.

    Raises:
        NotFound, Duplicate: there is no such group; the new name is taken.
    """
    must_exist(connection, group_id)
    if "name" in values:
        _claim_name(connection, values["name"], group_id)
    if values:
        connection.execute(
            update(groups).where(groups.c.id == group_id).values({**values, "updated_at": now})
        )
    return one(connection, group_id)


def _claim_name(connection: Connection, name: str, group_id: int | None) -> None:
    holder = connection.execute(select(groups.c.id).where(groups.c.name == name)).scalar()
    if holder is not None and holder != group_id:
        raise Duplicate(
            "Resource already exists", hint=f"Another group is named '{name}': choose a new name."
        )


def remove(connection: Connection, group_id: int) -> Group:
    """Delete the group; its keys and memberships go with it. Returns what it was.

    Raises:
        NotFound: there is no such group.
    """
    group = one(connection, group_id)
    connection.execute(delete(key_changes).where(key_changes.c.group_id == group_id))
    connection.execute(delete(groups).where(groups.c.id == group_id))
    return group


def reorder(connection: Connection, sorts: Mapping[int, int], now: float) -> None:
    """Give groups their places, all or none.

    Raises:
        ValidationFailed: one of them is gone.
    """
    for group_id, sort in sorts.items():
        changed = connection.execute(
            update(groups).where(groups.c.id == group_id).values(sort=sort, updated_at=now)
        )
        if not changed.rowcount:
            raise ValidationFailed("Reorder items contain non-existent group")


def count_keys(connection: Connection, group_id: int) -> KeyCounts:
    """The keys of one group."""
    return _key_counts(connection, [group_id]).get(group_id, KeyCounts())


def _key_counts(connection: Connection, group_ids: Collection[int]) -> dict[int, KeyCounts]:
    keys = api_keys.c
    query = (
        select(keys.group_id, keys.status, func.count())
        .where(keys.group_id.in_(group_ids))
        .group_by(keys.group_id, keys.status)
    )
    found: dict[int, dict[str, int]] = {}
    for group_id, status, count in connection.execute(query):
        found.setdefault(group_id, {})[status] = count
    return {
        group_id: KeyCounts(sum(by.values()), by.get("active", 0), by.get("invalid", 0))
        for group_id, by in found.items()
    }


# Sub-groups.


def members(connection: Connection, group_id: int) -> list[Member]:
    """The sub-groups of an aggregate, in the order in which they were added.

    Raises:
        NotFound, BadRequest: there is no such group; it is no aggregate.
    """
    _aggregate(connection, group_id)
    rows = _joined(
        connection,
        _memberships(group_sub_groups.c.sub_group_id).where(
            group_sub_groups.c.group_id == group_id
        ),
    )
    counts = _key_counts(connection, [group["id"] for group, _ in rows])
    found = []
    for group, weight in rows:
        keys = counts.get(group["id"], KeyCounts())
        found.append(Member(group, weight, keys.total, keys.active, keys.invalid))
    return found


def parents(connection: Connection, group_id: int) -> list[Member]:
    """The aggregates that a group belongs to; nothing for a group nobody knows."""
    query = _memberships(group_sub_groups.c.group_id)
    rows = _joined(connection, query.where(group_sub_groups.c.sub_group_id == group_id))
    return [Member(group, weight) for group, weight in rows]


def _memberships(other: Any) -> Select[Any]:
    return (
        select(group_sub_groups.c.weight.label("membership_weight"), *_COLUMNS)
        .join_from(group_sub_groups, groups, groups.c.id == other)
        .order_by(group_sub_groups.c.id)
    )


def _joined(connection: Connection, query: Select[Any]) -> list[tuple[Group, int]]:
    found = []
    for row in connection.execute(query):
        group = _group(row)
        found.append((group, int(group.pop("membership_weight"))))
    return found


def count_parents(connection: Connection, group_id: int) -> int:
    """How many aggregates a group belongs to."""
    query = select(func.count()).where(group_sub_groups.c.sub_group_id == group_id)
    return connection.execute(query).scalar_one()


def _aggregate(connection: Connection, group_id: int) -> Group:
    try:
        group = one(connection, group_id)
    except NotFound:
        raise NotFound("Group not found") from None
    if group["group_type"] != "aggregate":
        raise BadRequest("Group is not an aggregate group")
    return group


def add_members(
    connection: Connection,
    group_id: int,
    weights: Iterable[tuple[int, int]],
    default_paths: Mapping[str, str],
    now: float,
) -> None:
    """Make groups members of an aggregate, all or none.

    Args:
        weights: (group id, weight), each group once.
        default_paths: the validation path of a group without its own, by channel.

    Raises:
        NotFound, BadRequest, ValidationFailed: the text says which rule is broken.
    """
    aggregate = _aggregate(connection, group_id)
    present = {member.group["id"]: member.group for member in members(connection, group_id)}
    endpoints = {_endpoint(group, default_paths) for group in present.values()}
    for number, (sub_group_id, weight) in enumerate(weights):
        hint = f"See sub_groups[{number}].group_id."
        try:
            group = one(connection, sub_group_id)
        except NotFound:
            raise ValidationFailed("One or more sub-groups not found", hint=hint) from None
        if group["group_type"] == "aggregate":
            raise ValidationFailed("Sub-groups cannot be aggregate groups", hint=hint)
        if group["channel_type"] != aggregate["channel_type"]:
            raise ValidationFailed("All sub-groups must use the same channel type", hint=hint)
        endpoints.add(_endpoint(group, default_paths))
        if len(endpoints) > 1:
            raise ValidationFailed(
                "Sub-group endpoints are inconsistent. "
                "All sub-groups of an aggregate must use the same validation endpoint"
            )
        if sub_group_id in present:
            raise BadRequest(f"Sub group {sub_group_id} already exists")
        connection.execute(
            insert(group_sub_groups).values(
                group_id=group_id,
                sub_group_id=sub_group_id,
                weight=weight,
                created_at=now,
                updated_at=now,
            )
        )


def _endpoint(group: Group, default_paths: Mapping[str, str]) -> str:
    return group["validation_endpoint"] or default_paths.get(group["channel_type"], "")


def weigh_member(
    connection: Connection, group_id: int, sub_group_id: int, weight: int, now: float
) -> None:
    """
    Raises:
        NotFound, BadRequest: no such group or member; the group is no aggregate.
    """
    _aggregate(connection, group_id)
    table = group_sub_groups.c
    changed = connection.execute(
        update(group_sub_groups)
        .where(table.group_id == group_id, table.sub_group_id == sub_group_id)
        .values(weight=weight, updated_at=now)
    )
    if not changed.rowcount:
        raise NotFound("Sub group not found")


def remove_member(connection: Connection, group_id: int, sub_group_id: int) -> None:
    """
    Raises:
        NotFound, BadRequest: no such group or member; the group is no aggregate.
    """
    _aggregate(connection, group_id)
    table = group_sub_groups.c
    gone = connection.execute(
        delete(group_sub_groups).where(
            table.group_id == group_id, table.sub_group_id == sub_group_id
        )
    )
    if not gone.rowcount:
        raise NotFound("Sub group not found")
