"""Who would serve a request now: the choice of `Routing`, without anybody's turn being taken.

It mirrors `Routing.choose` for a first attempt. tests/proxy/test_rehearsal.py holds the
two to the same answer.
"""

from __future__ import annotations

from typing import Final

from gptload.core.balance import Rotation
from gptload.core.keypool import KeyPool, PoolKey
from gptload.core.snapshot import Group
from gptload.core.vault import mask
from gptload.link.rehearsal import ChoiceSeen, KeySeen, MemberSeen, Out, Rehearsal, WaySeen
from gptload.proxy.routing import Destination, Routing

# Keys that are named for the case that the chosen one fails.
_THEN: Final = 4


def rehearse(routing: Routing, group_id: int, model: str, now: float) -> Rehearsal | None:
    """What would become of a request's first attempt.

    Args:
        model: what is asked for; "" when the request names none.
        now: epoch seconds.

    Returns:
        None when the group can't be used.
    """
    entry = routing.snapshot.by_id.get(group_id)
    if entry is None:
        return None
    return Rehearsal(
        members=tuple(_member(routing, *each, model, now) for each in _members(entry)),
        choice=_Turns(routing, entry, model, now).choice(),
        has_affinity=bool(entry.settings.session_affinity),
    )


def _members(entry: Group) -> tuple[tuple[int, int | None], ...]:
    return ((entry.id, None),) if entry.sub_groups is None else entry.sub_groups


def _member(
    routing: Routing, group_id: int, weight: int | None, model: str, now: float
) -> MemberSeen:
    pool = routing.pool(group_id)
    ways = tuple(_way(each, model, now) for each in routing.destinations(group_id))
    return MemberSeen(
        group_id=group_id,
        weight=weight,
        keys=len(pool) if pool is not None else 0,
        serving=pool.serving() if pool is not None else 0,
        resting_for_model=pool.resting_for(model) if pool is not None else 0,
        wakes_at=pool.wakes_at(model) if pool is not None else None,
        ways=ways,
        out=_out(routing, group_id, weight, pool, ways, model, now),
    )


def _out(
    routing: Routing,
    group_id: int,
    weight: int | None,
    pool: KeyPool | None,
    ways: tuple[WaySeen, ...],
    model: str,
    now: float,
) -> Out | None:
    if weight is not None and weight <= 0:
        return Out.NO_WEIGHT
    if group_id not in routing.snapshot.by_id:
        return Out.GONE
    if pool is None or not len(pool):
        return Out.NO_KEYS
    if len(ways) != 1 and not any(way.weight > 0 for way in ways):
        return Out.NO_WAY
    return Out.NONE_AWAKE if pool.peek(now, (), model) is None else None


def _way(destination: Destination, model: str, now: float) -> WaySeen:
    way = destination.way
    is_avoided = way.prefers_others(model, now)  # ends a wait that is over
    breaker = way.models.get(model, way.breaker) if is_avoided else way.breaker
    return WaySeen(
        number=destination.number,
        url=destination.shown,
        weight=destination.upstream.weight,
        state=breaker.state,
        retry_at=breaker.retry_at,
        reason=breaker.reason,
        is_avoided=is_avoided,
    )


class _Turns:
    """The turns of one rehearsal: copies where they are few, a look at the keys' own."""

    def __init__(self, routing: Routing, entry: Group, model: str, now: float) -> None:
        self._routing = routing
        self._entry = entry
        self._model = model
        self._now = now
        _, self._members = routing.turns(entry.id)
        self._upstreams: dict[int, Rotation[int]] = {}

    def choice(self) -> ChoiceSeen | None:
        """Ways that are well first; then anywhere rather than nowhere."""
        for is_forced in (False, True):
            choice = self._pass(is_forced)
            if choice is not None:
                return choice
        return None

    def _pass(self, is_forced: bool) -> ChoiceSeen | None:
        if self._entry.sub_groups is None:
            return self._of(self._entry, is_forced)
        dry: set[int] = set()
        while (member := self._members.pick(dry)) is not None:
            group = self._routing.snapshot.by_id.get(member)
            choice = None if group is None else self._of(group, is_forced)
            if choice is not None:
                return choice
            dry.add(member)
        return None

    def _of(self, group: Group, is_forced: bool) -> ChoiceSeen | None:
        pool, ways = self._routing.pool(group.id), self._routing.destinations(group.id)
        if pool is None or not ways:
            return None
        way = self._way(group.id, ways, is_forced)
        key = None if way is None else pool.peek(self._now, (), self._model)
        if way is None or key is None:
            return None
        return ChoiceSeen(
            group_id=group.id,
            way=way.number,
            key=_seen(key),
            then=self._then(pool, key),
            is_forced=is_forced and way.way.prefers_others(self._model, self._now),
        )

    def _way(
        self, group_id: int, ways: tuple[Destination, ...], is_forced: bool
    ) -> Destination | None:
        avoided = set()
        if not is_forced:
            avoided = {way.number for way in ways if self._is_avoided(way)}
        if len(ways) == 1:
            return None if avoided else ways[0]
        if group_id not in self._upstreams:
            self._upstreams[group_id], _ = self._routing.turns(group_id)
        number = self._upstreams[group_id].pick(avoided)
        return None if number is None else ways[number]

    def _is_avoided(self, way: Destination) -> bool:
        return way.way.prefers_others(self._model, self._now)

    def _then(self, pool: KeyPool, key: PoolKey) -> tuple[KeySeen, ...]:
        spent = {key.id}
        found: list[KeySeen] = []
        while len(found) < _THEN:
            following = pool.peek(self._now, spent, self._model)
            if following is None:
                break
            spent.add(following.id)
            found.append(_seen(following))
        return tuple(found)


def _seen(key: PoolKey) -> KeySeen:
    return KeySeen(key.id, mask(key.secret.decode("utf-8", "replace")), key.weight)
