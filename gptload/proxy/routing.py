"""Group → sub-group → upstream → key: what this data plane holds, and whose turn it is.

All of it is in memory and nothing of it waits: no network, no lock
(docs/decisions/0003).
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from copy import deepcopy
from enum import IntEnum
from typing import Final

from attrs import define, evolve, field, frozen

from gptload.core.affinity import Affinity
from gptload.core.balance import Either, Rotation
from gptload.core.keypool import KeyPool, PoolKey
from gptload.core.keystate import State
from gptload.core.snapshot import Group, Snapshot, Upstream
from gptload.core.sticky import Owner, Owners
from gptload.link.messages import (
    BreakerMoved,
    GroupRemoved,
    KeyChange,
    KeysAdded,
    KeysRemoved,
    KeyStateChanged,
    OwnersKnown,
    WaySuspected,
)
from gptload.proxy.ways import Way, name_of
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
        way: how well it is.
    """

    number: int
    upstream: Upstream
    route: Route
    absolute: bool
    proxy_credentials: bytes
    limits: IdleLimits
    shown: str
    way: Way


@define  # Hot: a frozen one costs twice as much to make, and nobody changes it anyway
class Choice:
    """Who serves an attempt."""

    group: Group
    destination: Destination
    key: PoolKey


@define
class Tried:
    """What an exchange has tried.

    Attributes:
        spent: ids of keys that it must not use again.
        avoid: ids of keys that failed without their fault: only when none is left.
        bad: (group id, upstream number) of upstreams that failed in it.
        accounts: the provider's ids of accounts that failed in it.
    """

    spent: set[int] = field(factory=set)
    avoid: set[int] = field(factory=set)
    bad: set[tuple[int, int]] = field(factory=set)
    accounts: set[str] = field(factory=set)


class _Pass(IntEnum):
    """How much choosing overlooks."""

    WELL = 0  # upstreams that are well and didn't fail in this exchange
    FAILED = 1  # those that did, too
    ANY = 2  # and those whose breaker is open


# A first attempt goes anywhere rather than nowhere. Another one through an open breaker
# would only repeat what the first has shown.
_FIRST: Final = (_Pass.WELL, _Pass.ANY)
_AGAIN: Final = (_Pass.WELL, _Pass.FAILED)
_THROUGH: Final = (*_AGAIN, _Pass.ANY)
_NOTHING: Final[frozenset[int]] = frozenset()


class Routing:
    """The data plane's picture of groups and keys.

    Args:
        proxy_for: outbound proxy from the environment for (scheme, host, port).
        moved: hears of each move of a breaker.

    Attributes:
        owners: which keys made which resources.
        woke: called with a group's id when keys of it may have come back.
        snapshot: replaced as a whole; a request keeps the groups that it began with.
    """

    def __init__(
        self,
        proxy_for: Callable[[str, str, int], str],
        moved: Callable[[BreakerMoved], None],
    ) -> None:
        self._proxy_for = proxy_for
        self._moved = moved
        self._ways: dict[str, Way] = {}
        self._affinities: dict[int, Affinity] = {}
        self.owners = Owners()
        self.woke: Callable[[int], None] = lambda group_id: None
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
                self._destinations[group_id] = self._ways_of(group)
            if old is None or old.upstreams != group.upstreams:
                self._upstream_turns[group_id] = _turns(
                    (number, upstream.weight) for number, upstream in enumerate(group.upstreams)
                )
            if group.sub_groups is not None and (old is None or old.sub_groups != group.sub_groups):
                self._member_turns[group_id] = _turns(group.sub_groups)
        self.snapshot = snapshot
        used = {way.way.name for ways in self._destinations.values() for way in ways}
        for name in self._ways.keys() - used:
            self._ways.pop(name).forgotten()

    def apply(self, change: KeyChange) -> None:
        """Something holds now."""
        match change:
            case KeyStateChanged(group_id, key_id, state, strikes, until, rests, account):
                if group_id in self._pools:
                    self._pools[group_id].change(key_id, state, strikes, until, rests, account)
                    if state is State.ACTIVE:
                        self.woke(group_id)
            case KeysAdded(group_id, keys):
                pool = self._pools.setdefault(group_id, KeyPool())
                for key in keys:
                    pool.add(key)
                self.woke(group_id)
            case KeysRemoved(group_id, key_ids):
                for key_id in key_ids:
                    self.owners.forget_key(key_id)
                    if group_id in self._pools:
                        self._pools[group_id].remove(key_id)
                self.woke(group_id)  # who waits for them waits in vain
            case OwnersKnown(notes):
                for note in notes:
                    owner = Owner(note.key_id, note.upstream, note.until)
                    self.owners.note(note.group_id, note.resource, owner)
            case GroupRemoved(group_id):
                self._pools.pop(group_id, None)
                self._affinities.pop(group_id, None)
                self.woke(group_id)
            case WaySuspected(name, at, reason, sure):
                if name in self._ways:
                    self._ways[name].suspect(at, reason, sure=sure)

    def _forget(self, group_id: int) -> None:
        # Not its keys: a group that can't be used for a while comes back with them.
        for table in (self._destinations, self._upstream_turns, self._member_turns):
            table.pop(group_id, None)

    def _ways_of(self, group: Group) -> tuple[Destination, ...]:
        return tuple(self._destination(group, number) for number in range(len(group.upstreams)))

    def _destination(self, group: Group, number: int) -> Destination:
        upstream = group.upstreams[number]
        origin = upstream.origin
        proxy = group.settings.proxy_url or self._proxy_for(origin.scheme, origin.host, origin.port)
        route = Route(origin, proxy)
        name = name_of(group.id, upstream.url, proxy)
        way = self._ways.get(name)
        if way is None:
            way = self._ways[name] = Way(name, self._moved)
        return Destination(
            number,
            upstream,
            route,
            route.absolute,
            route.credentials,
            IdleLimits.of(group.settings),
            upstream.url.partition("?")[0].rstrip("/"),
            way,
        )

    # What a request asks.

    def choose(
        self,
        entry: Group,
        now: float,
        model: str = "",
        tried: Tried | None = None,
        session: bytes | None = None,
        *,
        surest: bool = False,
        through: bool = False,
    ) -> Choice | None:
        """Key, group and upstream of the next attempt; None when nobody can serve.

        Args:
            entry: the group that the client named, an aggregate or not.
            now: wall clock, epoch seconds: rests end by it.
            model: what is asked for; "" when the request names none.
            tried: by this exchange so far; None for its first attempt.
            session: whom the request belongs to, for affinity; b"" when that isn't known,
                None in a group without affinity.
            surest: it is the last attempt: rather a key that has just served than the
                one whose turn it is.
            through: another attempt may go through an open breaker too: the last one
                failed because of its key.
        """
        # Hot: once an attempt.
        for step in _FIRST if tried is None else _THROUGH if through else _AGAIN:
            if entry.sub_groups is None:
                choice = self._choose(entry, now, model, tried, session, step)
            else:
                choice = self._choose_member(entry, now, model, tried, session, step)
            if choice is not None:
                return self._surest(choice, now, model, tried) if surest else choice
        return None

    def _surest(self, choice: Choice, now: float, model: str, tried: Tried | None) -> Choice:
        key_id = choice.destination.way.breaker.ok_key
        if tried is None or key_id in tried.spent or key_id in tried.avoid:
            return choice
        key = self._pools[choice.group.id].take(key_id, now, model)
        return choice if key is None else Choice(choice.group, choice.destination, key)

    def _choose_member(
        self,
        entry: Group,
        now: float,
        model: str,
        tried: Tried | None,
        session: bytes | None,
        step: _Pass,
    ) -> Choice | None:
        turns = self._member_turns.get(entry.id)
        dry: set[int] = set()
        while turns is not None and (member := turns.pick(dry)) is not None:
            group = self.snapshot.by_id.get(member)
            if group is not None:
                choice = self._choose(group, now, model, tried, session, step)
                if choice is not None:
                    return choice
            dry.add(member)
        return None

    def _choose(
        self,
        group: Group,
        now: float,
        model: str,
        tried: Tried | None,
        session: bytes | None,
        step: _Pass,
    ) -> Choice | None:
        pool = self._pools.get(group.id)
        ways = self._destinations.get(group.id)
        if pool is None or not ways:
            return None
        way = self._turn(group.id, ways, now, model, tried, step)
        if way is None:
            return None
        if session is not None:
            key = self._preferred(group.id, pool, now, model, tried, session)
        elif tried is None:
            key = pool.pick(now, (), model)
        else:
            key = _pick_again(pool, now, model, tried)
        return None if key is None else Choice(group, way, key)

    def _turn(
        self,
        group_id: int,
        ways: tuple[Destination, ...],
        now: float,
        model: str,
        tried: Tried | None,
        step: _Pass,
    ) -> Destination | None:
        bad: Container[tuple[int, int]] = tried.bad if tried is not None else ()
        if len(ways) == 1:
            way = ways[0]
            if step is _Pass.ANY:
                return way
            if way.way.prefers_others(model, now) or (step is _Pass.WELL and (group_id, 0) in bad):
                return None
            return way
        skip: Container[int] = _NOTHING
        if step is not _Pass.ANY:
            skip = {
                way.number
                for way in ways
                if way.way.prefers_others(model, now)
                or (step is _Pass.WELL and (group_id, way.number) in bad)
            }
        number = self._upstream_turns[group_id].pick(skip)
        return None if number is None else ways[number]

    def _preferred(
        self,
        group_id: int,
        pool: KeyPool,
        now: float,
        model: str,
        tried: Tried | None,
        session: bytes,
    ) -> PoolKey | None:
        """The key that served the session last, if it may; else the one whose turn it is."""
        affinity = self._affinities.get(group_id)
        if affinity is None:
            affinity = self._affinities[group_id] = Affinity()
        key = None
        key_id = affinity.prefers(session, now) if session else None
        if key_id is not None and not (
            tried is not None and (key_id in tried.spent or key_id in tried.avoid)
        ):
            key = pool.take(key_id, now, model)
        if key is None:
            key = _pick_again(pool, now, model, tried or Tried())
        return key

    def took(self, choice: Choice, session: bytes, now: float) -> None:
        """An attempt of this session goes out so; see `Affinity.served`."""
        affinity, pool = self._affinities.get(choice.group.id), self._pools.get(choice.group.id)
        if affinity is not None and pool is not None:
            affinity.served(session or None, choice.key.id, now, pool.serving())

    def has_other_way(self, entry: Group, now: float, model: str, tried: Tried) -> bool:
        """Whether an upstream that is well hasn't failed in this exchange."""
        return any(
            (group.id, way.number) not in tried.bad and not way.way.prefers_others(model, now)
            for group in self.members(entry)
            for way in self._destinations.get(group.id, ())
        )

    def choose_key(
        self, group_id: int, key_id: int, mark: int, now: float, model: str
    ) -> Choice | None:
        """This very key at this very upstream, whoever's turn it is; None when it can't serve now.

        For what only that key can do: a resource that it made lives with its account.

        Args:
            mark: `Upstream.mark`; if there is none of that mark any more, the first one.
        """
        group = self.snapshot.by_id.get(group_id)
        pool = self._pools.get(group_id)
        ways = self._destinations.get(group_id)
        if group is None or pool is None or not ways:
            return None
        key = pool.take(key_id, now, model)
        way = next((way for way in ways if way.upstream.mark == mark), ways[0])
        return None if key is None else Choice(group, way, key)

    def key(self, group_id: int, key_id: int) -> PoolKey | None:
        """A key in whatever state; None when there is none of that id."""
        pool = self._pools.get(group_id)
        return None if pool is None else pool.get(key_id)

    def pool(self, group_id: int) -> KeyPool | None:
        """A group's keys, to be looked at; None when it has never had any."""
        return self._pools.get(group_id)

    def destinations(self, group_id: int) -> tuple[Destination, ...]:
        """A group's upstreams and the ways to them, in the group's order."""
        return self._destinations.get(group_id, ())

    def rehearsed(self, entry: Group, look: Callable[[KeyPool], KeyPool]) -> Routing:
        """A picture of one group whose turns and breakers may be spent: nobody is told.

        Args:
            entry: the group, an aggregate or not.
            look: makes of a pool one whose turns nobody loses.
        """
        copy = Routing(self._proxy_for, lambda moved: None)
        copy.snapshot = self.snapshot
        copy._member_turns = self._copies(self._member_turns, [entry])
        groups = self.members(entry)
        copy._upstream_turns = self._copies(self._upstream_turns, groups)
        for group in groups:
            if group.id in self._pools:
                copy._pools[group.id] = look(self._pools[group.id])
            copy._destinations[group.id] = tuple(
                evolve(each, way=each.way.rehearsed()) for each in self.destinations(group.id)
            )
        return copy

    def _copies(
        self, turns: dict[int, Rotation[int]], groups: Iterable[Group]
    ) -> dict[int, Rotation[int]]:
        return {group.id: deepcopy(turns[group.id]) for group in groups if group.id in turns}

    def hold(self, group_id: int, key_id: int, until: float, model: str) -> None:
        """Pass a key over from now on, before the ledger has spoken.

        Args:
            model: for requests of this model only; "" for all.
        """
        pool = self._pools.get(group_id)
        if pool is not None:
            pool.hold(key_id, until, model)

    def serving(self, group_id: int) -> int:
        """How many keys of the group may serve now."""
        pool = self._pools.get(group_id)
        return 0 if pool is None else pool.serving()

    def members(self, entry: Group) -> list[Group]:
        """An aggregate's members; of another group, itself."""
        if entry.sub_groups is None:
            return [entry]
        known = self.snapshot.by_id
        return [known[member] for member, _ in entry.sub_groups if member in known]

    def wakes_at(self, entry: Group, model: str) -> float | None:
        """Epoch seconds at which the first key that rests may serve the model; None: never."""
        wakes = [pool.wakes_at(model) for pool in self._pools_of(entry)]
        return min((wake for wake in wakes if wake is not None), default=None)

    def has_keys(self, entry: Group) -> bool:
        """Whether the group has any key, in whatever state."""
        return any(len(pool) for pool in self._pools_of(entry))

    def _pools_of(self, entry: Group) -> list[KeyPool]:
        members = self.members(entry)
        return [self._pools[group.id] for group in members if group.id in self._pools]


def _pick_again(pool: KeyPool, now: float, model: str, tried: Tried) -> PoolKey | None:
    if not tried.avoid:
        return pool.pick(now, tried.spent, model)
    key = pool.pick(now, Either(tried.spent, tried.avoid), model)
    return key if key is not None else pool.pick(now, tried.spent, model)


def _turns(members: Iterable[tuple[int, int]]) -> Rotation[int]:
    rotation: Rotation[int] = Rotation()
    for member, weight in members:
        if weight > 0:
            rotation.add(member, weight)
    return rotation
