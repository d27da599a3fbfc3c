"""Group → sub-group → upstream → key: what this data plane holds, and whose turn it is.

All of it is in memory and nothing of it waits: no network, no lock
(docs/decisions/0003).
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable

from attrs import define, frozen

from gptload.core.balance import Rotation
from gptload.core.keypool import KeyPool, PoolKey
from gptload.core.snapshot import Group, Snapshot, Upstream
from gptload.link.messages import (
    GroupRemoved,
    KeyChange,
    KeysAdded,
    KeysRemoved,
    KeyStateChanged,
)
from gptload.wire.connect import Route
from gptload.wire.upstream import IdleLimits


@frozen
class Destination:
    """An upstream, and the way to it.

    Attributes:
        number: its place in the group's list.
        absolute: requests must name their origin, and carry `proxy_credentials`: the
            way leads through a plain HTTP proxy.
        limits: for the idle life of connections.
        shown: the base URL without its query, for records.
    """

    number: int
    upstream: Upstream
    route: Route
    absolute: bool
    proxy_credentials: bytes
    limits: IdleLimits
    shown: str


@define  # Hot: a frozen one costs twice as much to make, and nobody changes it anyway
class Choice:
    """Who serves an attempt."""

    group: Group
    destination: Destination
    key: PoolKey


_NONE: frozenset[int] = frozenset()


class Routing:
    """The data plane's picture of groups and keys.

    Args:
        proxy_for: outbound proxy from the environment for (scheme, host, port).

    Attributes:
        snapshot: replaced as a whole; a request keeps the groups that it began with.
    """

    def __init__(self, proxy_for: Callable[[str, str, int], str]) -> None:
        self._proxy_for = proxy_for
        self._pools: dict[int, KeyPool] = {}
        self._destinations: dict[int, tuple[Destination, ...]] = {}
        self._upstream_turns: dict[int, Rotation[int]] = {}
        self._member_turns: dict[int, Rotation[int]] = {}
        self.snapshot = Snapshot()

    # What the control plane says.

    def replace(self, snapshot: Snapshot) -> None:
        """A new picture. Turns go on where a group's upstreams or members are the same."""
        before = self.snapshot.by_id
        for gone in before.keys() - snapshot.by_id.keys():
            self._forget(gone)
        for group_id, group in snapshot.by_id.items():
            old = before.get(group_id)
            if old is None or old.upstreams != group.upstreams or old.settings != group.settings:
                self._destinations[group_id] = self._ways(group)
            if old is None or old.upstreams != group.upstreams:
                self._upstream_turns[group_id] = _turns(
                    (number, upstream.weight) for number, upstream in enumerate(group.upstreams)
                )
            if group.sub_groups is not None and (old is None or old.sub_groups != group.sub_groups):
                self._member_turns[group_id] = _turns(group.sub_groups)
        self.snapshot = snapshot

    def apply(self, change: KeyChange) -> None:
        """Something holds now."""
        match change:
            case KeyStateChanged(group_id, key_id, state, strikes, until):
                if group_id in self._pools:
                    self._pools[group_id].change(key_id, state, strikes, until)
            case KeysAdded(group_id, keys):
                pool = self._pools.setdefault(group_id, KeyPool())
                for key in keys:
                    pool.add(key)
            case KeysRemoved(group_id, key_ids):
                if group_id in self._pools:
                    for key_id in key_ids:
                        self._pools[group_id].remove(key_id)
            case GroupRemoved(group_id):
                self._pools.pop(group_id, None)

    def _forget(self, group_id: int) -> None:
        # Not its keys: a group that can't be used for a while comes back with them.
        for table in (self._destinations, self._upstream_turns, self._member_turns):
            table.pop(group_id, None)

    def _ways(self, group: Group) -> tuple[Destination, ...]:
        return tuple(self._way(group, number) for number in range(len(group.upstreams)))

    def _way(self, group: Group, number: int) -> Destination:
        upstream = group.upstreams[number]
        origin = upstream.origin
        proxy = group.settings.proxy_url or self._proxy_for(origin.scheme, origin.host, origin.port)
        route = Route(origin, proxy)
        return Destination(
            number,
            upstream,
            route,
            route.absolute,
            route.credentials,
            IdleLimits.of(group.settings),
            upstream.url.partition("?")[0].rstrip("/"),
        )

    # What a request asks.

    def choose(
        self,
        entry: Group,
        now: float,
        spent: Container[int] = _NONE,
        avoid: Container[int] = _NONE,
        bad: Container[tuple[int, int]] = frozenset(),
    ) -> Choice | None:
        """Key, group and upstream of the next attempt; None when nobody can serve.

        Args:
            entry: the group that the client named, an aggregate or not.
            now: wall clock, epoch seconds: rests end by it.
            spent: ids of keys that this exchange must not use again.
            avoid: ids of keys that failed without their fault: only when none is left.
            bad: (group id, upstream number) of upstreams that failed in this exchange.
        """
        if entry.sub_groups is None:
            return self._choose(entry, now, spent, avoid, bad)
        turns = self._member_turns.get(entry.id)
        dry: set[int] = set()
        while turns is not None and (member := turns.pick(dry)) is not None:
            group = self.snapshot.by_id.get(member)
            choice = self._choose(group, now, spent, avoid, bad) if group is not None else None
            if choice is not None:
                return choice
            dry.add(member)
        return None

    def _choose(
        self,
        group: Group,
        now: float,
        spent: Container[int],
        avoid: Container[int],
        bad: Container[tuple[int, int]],
    ) -> Choice | None:
        pool = self._pools.get(group.id)
        ways = self._destinations.get(group.id)
        if pool is None or not ways:
            return None
        if avoid:
            key = pool.pick(now, _Either(spent, avoid)) or pool.pick(now, spent)
        else:
            key = pool.pick(now, spent)
        if key is None:
            return None
        if len(ways) == 1:
            return Choice(group, ways[0], key)
        turns = self._upstream_turns[group.id]
        number = None
        if bad:
            number = turns.pick({n for n in range(len(ways)) if (group.id, n) in bad})
        if number is None:
            number = turns.pick()
        return None if number is None else Choice(group, ways[number], key)

    def hold(self, group_id: int, key_id: int, until: float) -> None:
        """Pass a key over from now on, before the ledger has spoken."""
        pool = self._pools.get(group_id)
        if pool is not None:
            pool.hold(key_id, until)

    def members(self, entry: Group) -> list[Group]:
        """An aggregate's members; of another group, itself."""
        if entry.sub_groups is None:
            return [entry]
        known = self.snapshot.by_id
        return [known[member] for member, _ in entry.sub_groups if member in known]

    def wakes_at(self, entry: Group) -> float | None:
        """Epoch seconds at which the first resting key of the group comes back; None: never."""
        wakes = [pool.wakes_at() for pool in self._pools_of(entry)]
        return min((wake for wake in wakes if wake is not None), default=None)

    def has_keys(self, entry: Group) -> bool:
        """Whether the group has any key, in whatever state."""
        return any(len(pool) for pool in self._pools_of(entry))

    def _pools_of(self, entry: Group) -> list[KeyPool]:
        members = self.members(entry)
        return [self._pools[group.id] for group in members if group.id in self._pools]


class _Either:
    """Both of two containers, without copying them."""

    __slots__ = ("_one", "_other")

    def __init__(self, one: Container[int], other: Container[int]) -> None:
        self._one = one
        self._other = other

    def __contains__(self, item: object) -> bool:
        return item in self._one or item in self._other


def _turns(members: Iterable[tuple[int, int]]) -> Rotation[int]:
    rotation: Rotation[int] = Rotation()
    for member, weight in members:
        if weight > 0:
            rotation.add(member, weight)
    return rotation
