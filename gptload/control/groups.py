"""What a person does to groups. A change is in force when the call returns."""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any

from attrs import frozen
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
from gptload.core.vault import Vault
from gptload.provider import Providers

# An answer that is a little older is better than one that is late.
FRESH_S = 2.0
STATISTICS_HOURS = (24, 24 * 7, 24 * 30)

Drain = Callable[[], Coroutine[Any, Any, None]]


@frozen
class Changed:
    """A group before and after a change."""

    before: Group
    after: Group


@frozen
class GroupStatistics:
    """What a group's page shows.

    Attributes:
        requests: of the last day, week and month; whole hours, the current one included.
    """

    keys: KeyCounts
    requests: tuple[Requests, ...]


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
    async def change(self, group_id: int, given: Mapping[str, Any]) -> Changed:
        """Change what is given of a group.

        Raises:
            NotFound, ValidationFailed, Duplicate: as the text says.
        """
        now = self._clock.seconds()
        check = partial(groupdraft.check_change, allow_link_local=self._allow_link_local)
        changed = await self._database.write(_change, group_id, given, self._channels, check, now)
        await self._snapshots.rebuild()
        return changed

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
    channels: Sequence[str],
    check: Callable[..., dict[str, Any]],
    now: float,
) -> Changed:
    # Checked inside the transaction: what it is checked against can't change meanwhile.
    current = queries.one(connection, group_id)
    memberships = queries.count_parents(connection, group_id)
    values = check(current, given, channels, memberships=memberships)
    return Changed(current, queries.change(connection, group_id, values, now))


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
