"""A rehearsal says what the next request meets, and changes nothing by it."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from gptload.core.breaker import State as BreakerState
from gptload.core.keypool import PoolKey
from gptload.core.keystate import State
from gptload.core.paths import parse_upstream
from gptload.core.snapshot import Group, Snapshot
from gptload.link.messages import KeysAdded, KeyStateChanged
from gptload.link.rehearsal import Out, Rehearsal
from gptload.proxy.rehearsal import rehearse
from gptload.proxy.routing import Routing
from tests.fakes.scene import NOW, group


def routing_of(*groups: Group) -> Routing:
    routing = Routing(lambda scheme, host, port: "", lambda moved: None)
    by_id = {each.id: each for each in groups}
    by_name = {each.name.encode(): each for each in groups}
    routing.replace(Snapshot(1, frozenset(), by_name, by_id))
    return routing


def keys(routing: Routing, group_id: int, count: int) -> None:
    many = (PoolKey(group_id * 100 + n, b"sk-of-the-tests-%04d" % n) for n in range(count))
    routing.apply(KeysAdded(group_id, tuple(many)))


def weighted(number: int, *weights: int) -> Group:
    upstreams = tuple(
        parse_upstream(f"http://up{place}.example", weight) for place, weight in enumerate(weights)
    )
    return evolve(group(name=f"g{number}", number=number), upstreams=upstreams)


def aggregate(*members: tuple[int, int]) -> Group:
    return evolve(group(name="all", number=9), upstreams=(), sub_groups=members)


def said(routing: Routing, group_id: int, model: str = "") -> Rehearsal:
    found = rehearse(routing, group_id, model, NOW)
    assert found is not None
    return found


def trip(routing: Routing, group_id: int, number: int) -> None:
    way = routing.destinations(group_id)[number].way
    way.suspect(NOW, "correlated", sure=True)


@given(
    members=st.lists(st.integers(0, 5), min_size=1, max_size=4),
    counts=st.lists(st.integers(0, 5), min_size=4, max_size=4),
    ways=st.lists(st.integers(0, 3), min_size=1, max_size=3).filter(any),
    tripped=st.sets(st.tuples(st.integers(1, 4), st.integers(0, 2))),
    resting=st.sets(st.tuples(st.integers(1, 4), st.integers(0, 4))),
    requests=st.integers(1, 12),
)
def test_it_names_what_the_next_request_uses(
    members: list[int],
    counts: list[int],
    ways: list[int],
    tripped: set[tuple[int, int]],
    resting: set[tuple[int, int]],
    requests: int,
) -> None:
    """Whatever is down: an aggregate and a group of its own, again and again."""
    numbers = range(1, len(members) + 1)
    entry = aggregate(*zip(numbers, members, strict=True))
    routing = routing_of(entry, *(weighted(number, *ways) for number in numbers))
    for number in numbers:
        keys(routing, number, counts[number - 1])
    for number, place in tripped:
        if number in numbers and place < len(ways):
            trip(routing, number, place)
    for number, place in resting:
        routing.hold(number, number * 100 + place, NOW + 60, "m")
    for asked in [entry, routing.snapshot.by_id[1]] * requests:
        expected = said(routing, asked.id, "m").choice
        choice = routing.choose(asked, NOW, "m")
        if choice is None:
            assert expected is None
        else:
            assert expected is not None
            assert (expected.group_id, expected.way, expected.key.id) == (
                choice.group.id,
                choice.destination.number,
                choice.key.id,
            )


def test_keys_are_told_by_their_ends_and_in_their_order() -> None:
    routing = routing_of(weighted(1, 1))
    keys(routing, 1, 3)
    choice = said(routing, 1).choice
    assert choice is not None
    assert choice.key.masked == "sk-o****0000"
    assert [key.id for key in choice.then] == [101, 102]
    assert not choice.is_forced


def test_it_says_why_a_member_is_out() -> None:
    entry = aggregate((1, 1), (2, 0), (3, 1), (4, 1), (5, 1))
    routing = routing_of(entry, *(weighted(number, 1) for number in (1, 2, 3, 5)))
    keys(routing, 1, 2)
    keys(routing, 2, 2)
    keys(routing, 5, 1)
    routing.apply(KeyStateChanged(5, 500, State.RESTING, 0, NOW + 30))
    members = said(routing, 9).members
    assert [member.out for member in members] == [
        None,
        Out.NO_WEIGHT,
        Out.NO_KEYS,
        Out.GONE,
        Out.NONE_AWAKE,
    ]
    assert members[4].wakes_at == NOW + 30
    assert (members[0].keys, members[0].serving, members[4].serving) == (2, 2, 0)


def test_a_way_in_trouble_is_told_and_taken_only_where_there_is_no_other() -> None:
    routing = routing_of(weighted(1, 1, 1))
    keys(routing, 1, 1)
    trip(routing, 1, 0)
    found = said(routing, 1)
    assert [way.is_avoided for way in found.members[0].ways] == [True, False]
    assert found.members[0].ways[0].state is BreakerState.OPEN
    assert found.choice is not None
    assert (found.choice.way, found.choice.is_forced) == (1, False)

    trip(routing, 1, 1)
    forced = said(routing, 1).choice
    assert forced is not None
    assert forced.is_forced


def test_a_rest_for_one_model_counts_for_that_model_alone() -> None:
    routing = routing_of(weighted(1, 1))
    keys(routing, 1, 2)
    routing.hold(1, 100, NOW + 60, "m")
    (about,) = said(routing, 1, "m").members
    assert about.resting_for_model == 1
    (other,) = said(routing, 1, "other").members
    assert other.resting_for_model == 0
    of_model: Any = said(routing, 1, "m").choice
    assert of_model.key.id == 101


def test_affinity_is_told() -> None:
    settings = {"session_affinity": "prefix"}
    routing = routing_of(group(number=1, settings=settings))
    keys(routing, 1, 1)
    assert said(routing, 1).has_affinity


def test_a_group_that_is_unknown_can_serve_nothing() -> None:
    assert rehearse(routing_of(), 1, "", NOW) is None
