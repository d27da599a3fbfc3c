"""What a person does to groups. A change is in force when the call returns."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any

from attrs import evolve, frozen
from sqlalchemy import Connection
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from gptload.control.db.database import Database
from gptload.control.db.queries import groups as queries
from gptload.control.db.queries import keystates, settings, statistics
from gptload.control.db.queries.groups import Group, KeyCounts, Member
from gptload.control.db.queries.statistics import HOUR_S, Requests
from gptload.control.ledger import TURN_KEYS, Ledger
from gptload.control.snapshots import Snapshots
from gptload.control.waiting import at_most, whole
from gptload.core import groupdraft
from gptload.core.errors import Conflict, NotFound
from gptload.core.vault import Vault
from gptload.provider import Providers

# An answer that is a little older is better than one that is late.
FRESH_S = 2.0
# People are told times to the microsecond.
_SAME_S = 2e-6
UNDO_S = 600.0
# Changes that can be undone at once, of all groups.
_UNDOS = 200
STATISTICS_HOURS = (24, 24 * 7, 24 * 30)

Drain = Callable[[], Coroutine[Any, Any, None]]


@frozen
class Changed:
    """A group before and after a change.

    Attributes:
        undo: for `undo_change`; empty when nothing is different.
        until: epoch seconds; so long it can be undone.
    """

    before: Group
    after: Group
    undo: str = ""
    until: float = 0.0


@frozen
class GroupStatistics:
    """What a group's page shows.

    Attributes:
        requests: of the last day, week and month; whole hours, the current one included.
    """

    keys: KeyCounts
    requests: tuple[Requests, ...]


class GroupMoved(Conflict):
    """Somebody else has changed the group meanwhile.

    Attributes:
        current: what it is now.
    """

    hint = "Nothing was changed. Load the group again, or leave if_updated_at out."

    def __init__(self, current: Group) -> None:
        super().__init__("The group was changed meanwhile")
        self.current = current


def _as_given(given: Mapping[str, Any], current: Group) -> Mapping[str, Any]:
    return given


class GroupCommands:
    """Groups and their members, from the database to every data plane."""

    def __init__(
        self,
        clock: IReactorTime,
        database: Database,
        ledger: Ledger,
        snapshots: Snapshots,
        providers: Providers,
        drain: Drain,
        vault: Vault,
        *,
        allow_link_local: bool,
    ) -> None:
        """
        Args:
            drain: moves the request logs that wait in the journal to the database.
            allow_link_local: whether upstreams may be link-local or metadata addresses.
        """
        self._clock = clock
        self._vault = vault
        self._allow_link_local = allow_link_local
        self._database = database
        self._ledger = ledger
        self._snapshots = snapshots
        self._channels = providers.names()
        self._default_paths = {
            name: provider.default_validation_path for name, provider in providers.by_name.items()
        }
        self._drain = drain
        self._undos: OrderedDict[str, tuple[Changed, list[str]]] = OrderedDict()

    async def one(self, group_id: int) -> Group:
        """
        Raises:
            NotFound: there is no such group.
        """
        return await self._database.read(queries.one, group_id)

    async def all(self) -> list[Group]:
        """All groups, in their order."""
        return await self._database.read(queries.all_groups)

    async def chosen_settings(self) -> Collection[str]:
        """Keys of the system settings that somebody has set."""
        return await self._database.read(settings.set_by_people)

    @whole
    async def create(self, given: Mapping[str, Any]) -> Group:
        """A new group.

        Raises:
            ValidationFailed, Duplicate: a value isn't allowed; the name is taken.
        """
        row = groupdraft.check_new(given, self._channels, allow_link_local=self._allow_link_local)
        group = await self._database.write(queries.add, row, self._clock.seconds())
        await self._snapshots.rebuild()
        return group

    @whole
    async def copy(self, group_id: int, keys: str) -> Group:
        """A second group like this one, which serves when the call returns.

        Args:
            keys: `all`, `valid_only` or `none`.

        Raises:
            NotFound, ValidationFailed, Duplicate: nothing was changed.
        """
        groupdraft.check_copied_keys(keys)
        await at_most(self._clock, FRESH_S, self._ledger.flush())
        now = self._clock.seconds()
        group, first_key = await self._database.write(queries.copy, group_id, keys, now)
        await self._snapshots.rebuild()
        after = None if first_key is None else first_key - 1
        while after is not None:
            page = await self._database.read(keystates.page, self._vault, after)
            copied = [item for item in page.keys if item.group_id == group["id"]]
            for start in range(0, len(copied), TURN_KEYS):
                self._ledger.take_up(copied[start : start + TURN_KEYS])
                await deferLater(self._clock, 0)
            after = page.last_id
        return group

    @whole
    async def change(
        self,
        group_id: int,
        given: Mapping[str, Any],
        meant: Callable[[Mapping[str, Any], Group], Mapping[str, Any]] = _as_given,
        *,
        seen: float | None = None,
    ) -> Changed:
        """Change what is given of a group.

        Args:
            meant: what is meant by what is given, of the group as it is.
            seen: when the group was last changed, as far as the caller knows, in epoch
                seconds; None if it doesn't matter.

        Raises:
            NotFound, ValidationFailed, Duplicate: as the text says.
            GroupMoved: it was changed since it was seen.
        """
        now = self._clock.seconds()
        check = partial(groupdraft.check_change, allow_link_local=self._allow_link_local)
        changed = await self._database.write(
            _change, group_id, given, meant, seen, self._channels, check, now
        )
        await self._snapshots.rebuild()
        return self._undoable(changed, now)

    def _undoable(self, changed: Changed, now: float) -> Changed:
        fields = [
            field
            for field, value in changed.after.items()
            if field != "updated_at" and changed.before[field] != value
        ]
        if not fields:
            return changed
        changed = evolve(changed, undo=secrets.token_hex(12), until=now + UNDO_S)
        self._undos[changed.undo] = (changed, fields)
        while len(self._undos) > _UNDOS:
            self._undos.popitem(last=False)
        return changed

    @whole
    async def undo_change(self, group_id: int, undo: str) -> Changed:
        """Give a group back what a change took from it. It is a change like any other.

        Raises:
            NotFound: there is no such change, or it was too long ago; a restart forgets them.
            GroupMoved: the group was changed since.
            Duplicate: its former name is taken by now.
        """
        now = self._clock.seconds()
        former, fields = self._undos.get(undo, (None, []))
        if former is None or former.after["id"] != group_id or former.until < now:
            raise NotFound("That change can't be undone any more")
        values = {field: former.before[field] for field in fields}
        changed = await self._database.write(_put_back, former.after, values, now)
        self._undos.pop(undo, None)
        await self._snapshots.rebuild()
        return self._undoable(changed, now)

    @whole
    async def remove(self, group_id: int) -> Group:
        """Delete a group and its keys: none of them is used again. Returns what it was.

        Raises:
            NotFound: there is no such group.
        """
        # So that the log rows of its last requests still find their key.
        await at_most(self._clock, FRESH_S, self._drain())
        group = await self._database.write(queries.remove, group_id)
        self._ledger.group_removed(group_id)
        await self._snapshots.rebuild()
        return group

    @whole
    async def reorder(self, items: Sequence[tuple[int, int]]) -> None:
        """Give groups their places: (group id, sort).

        Raises:
            ValidationFailed: nothing was changed.
        """
        sorts = groupdraft.check_order(items)
        await self._database.write(queries.reorder, sorts, self._clock.seconds())

    async def statistics(self, group_id: int) -> GroupStatistics:
        """
        Raises:
            NotFound: there is no such group.
        """
        await at_most(self._clock, FRESH_S, self._drain())
        await at_most(self._clock, FRESH_S, self._ledger.flush())
        return await self._database.read(_statistics, group_id, self._clock.seconds())

    async def members(self, group_id: int) -> list[Member]:
        """The sub-groups of an aggregate.

        Raises:
            NotFound, BadRequest: there is no such group; it is no aggregate.
        """
        await at_most(self._clock, FRESH_S, self._ledger.flush())
        return await self._database.read(queries.members, group_id)

    async def parents(self, group_id: int) -> list[Member]:
        """The aggregates that a group belongs to."""
        return await self._database.read(queries.parents, group_id)

    @whole
    async def add_members(self, group_id: int, items: Sequence[tuple[int, int]]) -> None:
        """Make groups members of an aggregate: (group id, weight).

        Raises:
            NotFound, BadRequest, ValidationFailed: nothing was changed.
        """
        weights = groupdraft.check_members(items)
        now = self._clock.seconds()
        await self._database.write(queries.add_members, group_id, weights, self._default_paths, now)
        await self._snapshots.rebuild()

    @whole
    async def weigh_member(self, group_id: int, sub_group_id: int, weight: int) -> None:
        """
        Raises:
            NotFound, BadRequest, ValidationFailed: nothing was changed.
        """
        groupdraft.check_member_weight(weight)
        now = self._clock.seconds()
        await self._database.write(queries.weigh_member, group_id, sub_group_id, weight, now)
        await self._snapshots.rebuild()

    @whole
    async def remove_member(self, group_id: int, sub_group_id: int) -> None:
        """
        Raises:
            NotFound, BadRequest: nothing was changed.
        """
        await self._database.write(queries.remove_member, group_id, sub_group_id)
        await self._snapshots.rebuild()


def _change(
    connection: Connection,
    group_id: int,
    given: Mapping[str, Any],
    meant: Callable[[Mapping[str, Any], Group], Mapping[str, Any]],
    seen: float | None,
    channels: Sequence[str],
    check: Callable[..., dict[str, Any]],
    now: float,
) -> Changed:
    # Checked inside the transaction: what it is checked against can't change meanwhile.
    current = queries.one(connection, group_id)
    if seen is not None and abs(seen - current["updated_at"]) >= _SAME_S:
        raise GroupMoved(current)
    given = meant(given, current)
    memberships = queries.count_parents(connection, group_id)
    values = check(current, given, channels, memberships=memberships)
    return Changed(current, queries.change(connection, group_id, values, now))


def _put_back(
    connection: Connection, seen: Group, values: Mapping[str, Any], now: float
) -> Changed:
    current = queries.one(connection, seen["id"])
    if abs(seen["updated_at"] - current["updated_at"]) >= _SAME_S:
        raise GroupMoved(current)
    return Changed(current, queries.change(connection, seen["id"], values, now))


def _statistics(connection: Connection, group_id: int, now: float) -> GroupStatistics:
    group = queries.one(connection, group_id)
    is_aggregate = group["group_type"] == "aggregate"
    keys = KeyCounts() if is_aggregate else queries.count_keys(connection, group_id)
    end = now // HOUR_S * HOUR_S + HOUR_S
    windows = tuple(
        statistics.requests(connection, end - hours * HOUR_S, end, group_id)
        for hours in STATISTICS_HOURS
    )
    return GroupStatistics(keys, windows)
