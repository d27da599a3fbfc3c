"""The key pool: who may serve now, and never a key that rests."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from gptload.core.keypool import KeyPool, PoolKey
from gptload.core.keystate import State


def pool_of(count: int, weight: int = 1) -> KeyPool:
    pool = KeyPool()
    for number in range(count):
        pool.add(PoolKey(number, b"sk-%d" % number, weight))
    return pool


def ids(pool: KeyPool, count: int, now: float = 0.0) -> list[int | None]:
    return [key.id if (key := pool.pick(now)) else None for _ in range(count)]


def test_keys_take_even_turns() -> None:
    pool = pool_of(7)
    assert Counter(ids(pool, 700)) == dict.fromkeys(range(7), 100)


def test_a_tried_key_is_passed_over_and_keeps_its_turn() -> None:
    pool = pool_of(2)
    assert pool.pick(0.0, {0}).id == 1  # type: ignore[union-attr]
    assert pool.pick(0.0).id == 0  # type: ignore[union-attr]
    assert pool.pick(0.0, {0, 1}) is None


def test_a_resting_key_serves_again_at_its_time_and_not_before() -> None:
    pool = pool_of(2)
    pool.hold(0, 100.0)
    assert ids(pool, 5, 99.9) == [1] * 5
    assert pool.wakes_at() == 100.0
    assert Counter(ids(pool, 10, 100.0)) == {0: 5, 1: 5}
    assert pool.wakes_at() is None


def test_a_hold_never_shortens_a_rest() -> None:
    pool = pool_of(1)
    pool.hold(0, 100.0)
    pool.hold(0, 50.0)
    assert pool.pick(60.0) is None
    assert pool.wakes_at() == 100.0


def test_a_rest_without_an_end_is_the_longest() -> None:
    pool = KeyPool()
    pool.add(PoolKey(1, b"a", state=State.RESTING))
    pool.hold(1, 5.0)
    assert pool.pick(1e9) is None


def test_many_keys_that_wake_at_once_hold_up_no_pick() -> None:
    """Daily quotas end for all keys in the same second."""
    pool = pool_of(1000)
    for number in range(1000):
        pool.hold(number, 100.0)
    assert pool.pick(100.0) is not None
    assert 0 < pool.count(State.ACTIVE) < 100
    assert set(ids(pool, 1100, 100.0)) == set(range(1000))


def test_however_many_wake_the_only_one_that_may_serve_is_found() -> None:
    pool = pool_of(1000)
    for number in range(1000):
        pool.hold(number, 100.0)
    tried = set(range(1000)) - {777}
    assert pool.pick(100.0, tried).id == 777  # type: ignore[union-attr]


def test_a_key_that_is_added_again_has_its_new_weight() -> None:
    pool = pool_of(2)
    pool.add(PoolKey(0, b"sk-0", 3))
    assert Counter(ids(pool, 8)) == {0: 6, 1: 2}


def test_a_key_that_is_added_again_as_it_was_keeps_its_turn() -> None:
    pool = pool_of(3)
    assert ids(pool, 1) == [0]
    pool.add(PoolKey(1, b"sk-1"))
    assert ids(pool, 3) == [1, 2, 0]


def test_the_ledgers_word_may_end_a_rest() -> None:
    """A person restores a key, or a test proves it good."""
    pool = pool_of(1)
    pool.hold(0, 1e9)
    pool.change(0, State.ACTIVE, 0, None)
    assert pool.pick(0.0).id == 0  # type: ignore[union-attr]
    assert pool.wakes_at() is None


def test_invalid_and_disabled_keys_are_not_picked_nor_held() -> None:
    pool = pool_of(2)
    pool.change(0, State.INVALID, 3, None)
    pool.change(1, State.DISABLED, 0, None)
    pool.hold(0, 1.0)
    assert ids(pool, 3, 10.0) == [None] * 3
    assert pool.count(State.INVALID) == 1 and len(pool) == 2


def test_a_removed_key_is_never_picked_again() -> None:
    pool = pool_of(2)
    pool.hold(0, 5.0)
    pool.remove(0)
    pool.remove(1)
    pool.change(0, State.ACTIVE, 0, None)
    pool.hold(1, 3.0)
    assert ids(pool, 3, 10.0) == [None] * 3
    assert len(pool) == 0 and pool.wakes_at() is None


def test_a_key_may_be_added_in_any_state() -> None:
    pool = KeyPool()
    pool.add(PoolKey(1, b"a", state=State.RESTING, until=10.0))
    pool.add(PoolKey(2, b"b", state=State.INVALID))
    assert pool.pick(9.0) is None
    assert pool.pick(10.0).id == 1  # type: ignore[union-attr]


def test_a_secret_is_in_no_repr() -> None:
    assert "sk-secret" not in repr(PoolKey(1, b"sk-secret"))


STEP = st.one_of(
    st.tuples(st.just("hold"), st.integers(0, 4), st.floats(0, 100)),
    st.tuples(st.just("pick"), st.sets(st.integers(0, 4)), st.just(0.0)),
    st.tuples(st.just("wait"), st.just(0), st.floats(0, 30)),
    st.tuples(st.just("invalid"), st.integers(0, 4), st.just(0.0)),
    st.tuples(st.just("restore"), st.integers(0, 4), st.just(0.0)),
    st.tuples(st.just("remove"), st.integers(0, 4), st.just(0.0)),
)


@settings(max_examples=300)
@given(st.lists(STEP, max_size=60))
def test_no_sequence_of_events_makes_a_resting_or_invalid_key_serve(steps: list) -> None:
    """The pool against a plain model of it."""
    pool = pool_of(5)
    now = 0.0
    rests: dict[int, float] = {}
    bad: set[int] = set()
    alive = set(range(5))
    for step, target, amount in steps:
        if step == "hold":
            pool.hold(target, now + amount)
            if target in alive - bad:
                rests[target] = max(rests.get(target, 0.0), now + amount)
        elif step == "wait":
            now += amount
        elif step == "invalid":
            pool.change(target, State.INVALID, 3, None)
            bad.add(target)
            rests.pop(target, None)
        elif step == "restore":
            pool.change(target, State.ACTIVE, 0, None)
            bad.discard(target)
            rests.pop(target, None)
        elif step == "remove":
            pool.remove(target)
            alive.discard(target)
        else:
            may = {n for n in alive - bad - set(target) if rests.get(n, 0.0) <= now}
            key = pool.pick(now, target)
            assert key.id in may if key is not None else not may
    # Nobody who may serve starves, and all serve evenly again.
    may = {n for n in alive - bad if rests.get(n, 0.0) <= now}
    picks = Counter(ids(pool, 4 * len(may), now))
    assert set(picks) == may
    # A turn that was kept for one that was skipped comes on top.
    assert all(3 <= turns <= 5 for turns in picks.values())


@given(weights=st.lists(st.integers(1, 9), min_size=1, max_size=6))
def test_weights_are_exact_over_a_cycle(weights: list[int]) -> None:
    pool = KeyPool()
    for number, weight in enumerate(weights):
        pool.add(PoolKey(number, b"x", weight))
    assert Counter(ids(pool, sum(weights))) == dict(enumerate(weights))
