"""Laws of the rotation: exact over a cycle, smooth inside it, fair when a neighbour is down."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptload.core import balance
from gptload.core.balance import Either, Rotation

WEIGHTS = st.lists(st.integers(1, 1000), min_size=1, max_size=40)
SMALL = st.lists(st.integers(1, 20), min_size=2, max_size=8)


def rotation_of(weights: list[int]) -> Rotation[int]:
    rotation: Rotation[int] = Rotation()
    for member, weight in enumerate(weights):
        rotation.add(member, weight)
    return rotation


@given(weights=WEIGHTS, rounds=st.integers(1, 3))
def test_a_round_gives_every_member_exactly_its_weight(weights: list[int], rounds: int) -> None:
    rotation = rotation_of(weights)
    picks = Counter(rotation.pick() for _ in range(rounds * sum(weights)))
    assert picks == {member: weight * rounds for member, weight in enumerate(weights)}


@given(count=st.integers(1, 50))
def test_equal_weights_take_turns_in_a_fixed_order(count: int) -> None:
    rotation = rotation_of([7] * count)
    first = [rotation.pick() for _ in range(count)]
    assert first == list(range(count))
    assert all([rotation.pick() for _ in range(count)] == first for _ in range(3))


@given(weights=SMALL)
def test_no_member_is_ever_more_than_one_turn_ahead_of_its_share(weights: list[int]) -> None:
    """Smooth: never a burst for the heavy one."""
    rotation = rotation_of(weights)
    total = sum(weights)
    seen: Counter[int | None] = Counter()
    for turn in range(1, 2 * total + 1):
        seen[rotation.pick()] += 1
        for member, weight in enumerate(weights):
            assert abs(seen[member] - turn * weight / total) < len(weights)


@given(weights=SMALL, data=st.data())
def test_the_share_of_one_that_is_down_goes_to_the_others_in_proportion(
    weights: list[int], data: st.DataObject
) -> None:
    """Caddy's round robin gives all of it to the next neighbour; a law sees that."""
    rotation = rotation_of(weights)
    for _ in range(data.draw(st.integers(0, 30))):
        rotation.pick()
    down = data.draw(st.integers(0, len(weights) - 1))
    others = {member: weight for member, weight in enumerate(weights) if member != down}
    cycles = 200
    picks = Counter(rotation.pick({down}) for _ in range(cycles * sum(others.values())))
    assert down not in picks
    for member, weight in others.items():
        assert abs(picks[member] - cycles * weight) <= 2 * max(weights)


@given(weights=SMALL, data=st.data())
def test_a_removed_member_leaves_exact_shares_behind(
    weights: list[int], data: st.DataObject
) -> None:
    rotation = rotation_of(weights)
    gone = data.draw(st.integers(0, len(weights) - 1))
    rotation.remove(gone)
    others = {member: weight for member, weight in enumerate(weights) if member != gone}
    picks = Counter(rotation.pick() for _ in range(sum(others.values())))
    assert picks == others


def test_a_skipped_member_keeps_its_turn() -> None:
    rotation = rotation_of([1, 1, 1])
    assert rotation.pick({0}) == 1
    assert rotation.pick() == 0


def test_a_returning_member_does_not_catch_up() -> None:
    """What it missed is not owed to it: it would get a burst right after its outage."""
    rotation = rotation_of([1, 1])
    rotation.remove(1)
    for _ in range(100):
        assert rotation.pick() == 0
    rotation.add(1, 1)
    assert Counter(rotation.pick() for _ in range(10)) == {0: 5, 1: 5}


def test_one_that_was_skipped_for_long_has_one_turn_kept_and_no_more() -> None:
    rotation = rotation_of([1, 1, 1])
    for _ in range(100):
        assert rotation.pick({0}) != 0
    assert rotation.pick() == 0
    picks = Counter(rotation.pick() for _ in range(30))
    assert picks == {0: 10, 1: 10, 2: 10}


@given(weights=SMALL, data=st.data())
def test_after_an_outage_nobody_gets_a_burst(weights: list[int], data: st.DataObject) -> None:
    """It catches up on a turn, not on the outage."""
    rotation = rotation_of(weights)
    down = data.draw(st.integers(0, len(weights) - 1))
    for _ in range(20 * sum(weights)):
        rotation.pick({down})
    cycles = 3
    picks = Counter(rotation.pick() for _ in range(cycles * sum(weights)))
    assert abs(picks[down] - cycles * weights[down]) <= 2


@given(weight=st.integers(1, 13), phase=st.integers(0, 30))
def test_equal_weights_alternate_whenever_they_joined(weight: int, phase: int) -> None:
    """In floats, equal turns would drift apart and one of two would go twice in a row."""
    rotation: Rotation[str] = Rotation()
    rotation.add("other", weight)
    for _ in range(phase):
        rotation.pick()
    rotation.add("a", 17)
    rotation.add("b", 17)
    picks = [member for _ in range(1000) if (member := rotation.pick()) != "other"]
    assert picks[::2] == ["a"] * len(picks[::2]) and picks[1::2] == ["b"] * len(picks[1::2])


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(0, 7), st.integers(0, 12)),
        st.tuples(st.just("remove"), st.integers(0, 7), st.just(0)),
        st.tuples(st.just("pick"), st.integers(1, 30), st.just(0)),
    ),
    max_size=40,
)


@given(steps=STEPS)
def test_whatever_went_before_the_next_cycle_is_exact(steps: list[tuple[str, int, int]]) -> None:
    """A changed weight counts at once; a member that left leaves exact shares; one that
    came back is owed nothing and waits for nothing.
    """
    rotation: Rotation[int] = Rotation()
    weights: dict[int, int] = {}
    for step, number, weight in steps:
        if step == "add":
            rotation.add(number, weight)
            weights[number] = weight
        elif step == "remove":
            rotation.remove(number)
            weights.pop(number, None)
        else:
            for _ in range(number):
                rotation.pick()
    weights = {member: weight for member, weight in weights.items() if weight}
    assert set(rotation) == set(weights)
    picks = Counter(rotation.pick() for _ in range(sum(weights.values())))
    assert picks == weights


@given(weights=SMALL, phase=st.integers(0, 40))
def test_one_that_comes_back_gets_its_share_from_its_first_turns_on(
    weights: list[int], phase: int
) -> None:
    rotation = rotation_of(weights)
    rotation.remove(0)
    for _ in range(phase):
        rotation.pick()
    rotation.add(0, weights[0])
    total = sum(weights)
    seen = 0
    for turn in range(1, total + 1):
        seen += rotation.pick() == 0
        assert abs(seen - turn * weights[0] / total) < len(weights)


@given(weights=SMALL)
def test_one_that_comes_and_goes_all_the_time_starves_nobody(weights: list[int]) -> None:
    rotation = rotation_of(weights)
    others = {member: weight for member, weight in enumerate(weights) if member}
    cycles = 20
    picks: Counter[int | None] = Counter()
    while sum(picks[member] for member in others) < cycles * sum(others.values()):
        rotation.remove(0)
        rotation.add(0, weights[0])
        picks[rotation.pick()] += 1
    for member, weight in others.items():  # what it doesn't take, those of its weight may
        assert picks[member] >= cycles * weight / 2 - 2


@given(weights=SMALL, down=st.sets(st.integers(0, 7), max_size=7))
def test_asked_again_without_the_one_that_is_down_the_others_share_in_proportion(
    weights: list[int], down: set[int]
) -> None:
    """As sub-groups are chosen: one turns out to be dry only when its turn has come."""
    rotation = rotation_of(weights)
    others = {member: weight for member, weight in enumerate(weights) if member not in down}
    cycles = 30
    picks: Counter[int | None] = Counter()
    for _ in range(cycles * sum(others.values())):
        dry: set[int] = set()
        while (member := rotation.pick(dry)) in down:
            assert member is not None
            dry.add(member)
        picks[member] += 1
    for member, weight in others.items():
        assert abs(picks[member] - cycles * weight) <= 2 * weight + 2


@given(weights=WEIGHTS, data=st.data())
def test_one_that_served_without_its_turn_goes_behind_those_of_its_weight(
    weights: list[int], data: st.DataObject
) -> None:
    rotation = rotation_of(weights)
    served = data.draw(st.integers(0, len(weights) - 1))
    rotation.yield_turn(served)
    rotation.yield_turn(len(weights))  # not in: nothing happens
    alike = {member for member, weight in enumerate(weights) if weight == weights[served]}
    while len(alike) > 1:
        picked = rotation.pick()
        assert picked != served
        alike.discard(picked)


def test_only_so_many_turns_are_kept_as_a_pick_can_look_at() -> None:
    rotation = rotation_of([1] * 1000)
    assert rotation.pick(range(999)) == 999
    asked = Asked(set(range(999)))
    assert rotation.pick(asked) == 999
    assert asked.times < 1_300  # once round, and the turns that are kept
    assert rotation.pick() == 0


@given(one=st.sets(st.integers(0, 9)), other=st.sets(st.integers(0, 9)), item=st.integers(0, 9))
def test_either_has_what_one_or_the_other_has(one: set[int], other: set[int], item: int) -> None:
    assert (item in Either(one, other)) == (item in one | other)


class Asked:
    """A container that counts how often it is asked."""

    def __init__(self, members: set[int]) -> None:
        self._members = members
        self.times = 0

    def __contains__(self, member: object) -> bool:
        self.times += 1
        return member in self._members


def test_a_pick_looks_at_few_members_however_many_have_left() -> None:
    """A pause for all that has gone would hold up every stream of the process."""
    rotation = rotation_of([1] * 10_000)
    for member in range(1, 9_999):
        rotation.remove(member)
    skip = Asked({0})
    assert rotation.pick(skip) == 9_999
    assert rotation.pick(skip) == 9_999
    assert skip.times < 10


def test_nobody_is_picked_where_nobody_may() -> None:
    rotation: Rotation[str] = Rotation()
    assert rotation.pick() is None
    rotation.add("never", 0)
    assert rotation.pick() is None and len(rotation) == 0
    rotation.add("a", 1)
    assert rotation.pick({"a"}) is None
    assert rotation.pick() == "a"
    rotation.remove("a")
    rotation.remove("a")
    assert rotation.pick() is None


@given(
    st.lists(st.tuples(st.sampled_from("ar"), st.integers(0, 5), st.integers(0, 4)), max_size=60)
)
def test_only_members_are_picked_whoever_came_and_went(
    steps: list[tuple[str, int, int]],
) -> None:
    rotation: Rotation[int] = Rotation()
    members: dict[int, int] = {}
    for step, member, weight in steps:
        if step == "a":
            rotation.add(member, weight)
            members.pop(member, None)
            if weight:
                members[member] = weight
        else:
            rotation.remove(member)
            members.pop(member, None)
        picked = rotation.pick()
        assert picked in members if members else picked is None
    picks = Counter(rotation.pick() for _ in range(40 * sum(members.values())))
    assert set(picks) <= set(members)
    assert all(picks[member] > 0 for member in members)  # nobody starves


@given(weights=SMALL, data=st.data())
def test_a_look_names_the_one_that_is_picked_next_and_takes_no_turn(
    weights: list[int], data: st.DataObject
) -> None:
    looked_at, left_alone = rotation_of(weights), rotation_of(weights)
    members = st.integers(0, len(weights) - 1)
    for _ in range(data.draw(st.integers(1, 40))):
        skip = data.draw(st.sets(members))
        expected = looked_at.peek(skip)
        looked_at.peek(data.draw(st.sets(members)))
        assert looked_at.pick(skip) == expected == left_alone.pick(skip)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["add", "remove", "yield", "pick", "pick", "pick"]),
        st.integers(0, 15),
        st.integers(1, 2),
        st.sets(st.integers(0, 15), max_size=12),
    ),
    max_size=120,
)


@given(steps=STEPS)
def test_a_queue_in_pieces_is_a_queue(steps: list[tuple[str, int, int, set[int]]]) -> None:
    """Whoever comes, goes or is skipped: the same ones are picked as from one piece."""

    def picks() -> list[int | None]:
        rotation = rotation_of([1] * 10)
        found = []
        for what, member, weight, skipped in steps:
            if what == "add":
                rotation.add(member, weight)
            elif what == "remove":
                rotation.remove(member)
            elif what == "yield":
                rotation.yield_turn(member)
            else:
                found += [rotation.peek(skipped), rotation.pick(skipped)]
        return found + [rotation.pick() for _ in range(40)]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(balance, "_PIECE", 3)
        in_pieces = picks()
    assert in_pieces == picks()


def test_a_large_queue_is_in_pieces_that_are_not() -> None:
    """A large table takes long to grow, and nobody is served meanwhile."""
    rotation = rotation_of([1] * 20_000)
    for _ in range(30_000):
        rotation.pick()
    (queue,) = rotation._queues.values()
    assert max(map(len, queue.pieces)) <= balance._PIECE
    assert sum(map(len, queue.pieces)) == queue.size == len(rotation) == 20_000
    for member in range(20_000):
        rotation.remove(member)
    assert rotation.pick() is None
