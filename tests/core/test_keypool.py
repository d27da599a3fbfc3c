"""The key pool: who may serve now, and never a key that rests."""

from __future__ import annotations

from collections import Counter

from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

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


def test_a_key_that_rests_for_one_model_serves_the_others() -> None:
    pool = pool_of(2)
    pool.hold(0, 100.0, "a")
    assert {pool.pick(0.0, (), "a").id for _ in range(4)} == {1}  # type: ignore[union-attr]
    assert {pool.pick(0.0, (), "b").id for _ in range(4)} == {0, 1}  # type: ignore[union-attr]
    assert set(ids(pool, 4)) == {0, 1}
    assert {pool.pick(100.0, (), "a").id for _ in range(4)} == {0, 1}  # type: ignore[union-attr]
    assert pool.get(0).rests == {}  # type: ignore[union-attr]


def test_a_hold_for_a_model_never_shortens_a_rest_and_the_ledger_may() -> None:
    pool = pool_of(1)
    pool.hold(0, 100.0, "a")
    pool.hold(0, 50.0, "a")
    assert pool.pick(60.0, (), "a") is None
    pool.change(0, State.ACTIVE, 0, None, [("a", 40.0)])
    assert pool.pick(39.0, (), "a") is None
    assert pool.pick(40.0, (), "a") is not None
    pool.hold(0, 100.0, "a")
    pool.change(0, State.ACTIVE, 0, None)
    assert pool.pick(60.0, (), "a") is not None


def test_the_ledger_names_a_keys_account_or_leaves_it() -> None:
    pool = pool_of(1)
    pool.change(0, State.ACTIVE, 0, None, (), "org-1")
    pool.change(0, State.ACTIVE, 1, None)
    key = pool.get(0)
    assert key is not None and key.account == "org-1" and key.strikes == 1
    assert pool.get(1) is None


def test_a_key_brings_its_rests_and_takes_them_with_it() -> None:
    pool = pool_of(1)
    pool.add(PoolKey(0, b"sk-0", rests={"a": 10.0}))
    assert pool.pick(9.0, (), "a") is None and pool.wakes_at("a") == 10.0
    pool.remove(0)
    assert pool.wakes_at("a") is None
    pool.add(PoolKey(0, b"sk-0"))
    assert pool.pick(9.0, (), "a") is not None


def test_a_key_comes_back_for_a_model_when_both_its_rests_are_over() -> None:
    pool = pool_of(2)
    pool.hold(0, 100.0)
    pool.hold(0, 300.0, "a")
    pool.hold(1, 200.0, "a")
    assert pool.wakes_at("a") == 200.0
    assert pool.wakes_at() == pool.wakes_at("b") == 100.0
    pool.hold(1, 400.0)
    assert pool.wakes_at("a") == 300.0
    pool.change(1, State.INVALID, 3, None)
    pool.change(0, State.DISABLED, 0, None, [("a", 300.0)])
    assert pool.wakes_at("a") is None and pool.wakes_at() is None


def test_a_moment_to_come_back_is_never_too_late_however_many_rest_twice() -> None:
    pool = pool_of(1000)
    for number in range(1000):
        pool.hold(number, 100.0 + number)
        pool.hold(number, 5000.0 - number, "a")
    assert 100.0 < pool.wakes_at("a") <= 4001.0  # type: ignore[operator]


def test_a_taken_key_serves_whoever_has_the_turn_and_has_had_its_own() -> None:
    pool = pool_of(3)
    assert pool.take(1, 0.0).id == 1  # type: ignore[union-attr]
    assert ids(pool, 3) == [0, 2, 1]


def test_a_key_is_taken_at_the_end_of_its_rest_and_not_before() -> None:
    pool = pool_of(2)
    pool.hold(0, 100.0)
    pool.hold(1, 100.0, "a")
    assert pool.take(0, 99.0) is None and pool.take(1, 99.0, "a") is None
    assert pool.take(1, 99.0, "b") is not None
    assert pool.take(0, 100.0) is not None and pool.take(1, 100.0, "a") is not None
    pool.change(0, State.INVALID, 3, None)
    assert pool.take(0, 200.0) is None and pool.take(7, 200.0) is None


def test_serving_counts_the_keys_that_take_turns() -> None:
    pool = pool_of(4)
    pool.hold(0, 100.0)
    pool.hold(1, 100.0, "a")
    pool.change(2, State.DISABLED, 0, None)
    assert pool.serving() == 2


def test_a_key_that_is_limited_for_very_many_models_is_limited() -> None:
    """Names of models come from clients: nobody may fill the memory with rests."""
    pool = pool_of(1)
    for number in range(500):
        pool.hold(0, 1000.0 - number, f"m{number}")
    key = pool.get(0)
    assert key is not None and len(key.rests) <= 32
    now = 0.0
    for number in reversed(range(500)):  # each rest ends at its time or later
        now = 1000.0 - number - 0.5
        assert pool.pick(now, (), f"m{number}") is None
    assert pool.pick(1000.0, (), "m0") is not None


class Asked:
    """A container that counts how often it is asked."""

    def __init__(self) -> None:
        self.times = 0

    def __contains__(self, member: object) -> bool:
        self.times += 1
        return False

    def __bool__(self) -> bool:
        return True


def test_a_pick_looks_at_few_keys_however_many_rest_for_the_model() -> None:
    pool = pool_of(20_000)
    for number in range(18_000):
        pool.hold(number, 100.0, "a")
    asked = Asked()
    picked = Counter(pool.pick(0.0, asked, "a").id for _ in range(4_000))  # type: ignore[union-attr]
    assert picked == dict.fromkeys(range(18_000, 20_000), 2)
    assert asked.times == 4_000


def test_a_model_has_even_turns_before_while_and_after_many_rest_for_it() -> None:
    pool = pool_of(2_000)
    picked: Counter[int] = Counter()
    for _ in range(1_000):
        key = pool.pick(0.0, (), "a")
        assert key is not None
        picked[key.id] += 1
        if key.id % 2:
            pool.hold(key.id, 100.0, "a")
    assert max(picked.values()) <= 2  # when its own rotation begins, a few have had a turn
    awake = {n for n in range(2_000) if not pool.get(n).rests}  # type: ignore[union-attr]
    assert len(awake) >= 1_500
    rounds = 20
    picked = Counter(pool.pick(0.0, (), "a").id for _ in range(rounds * len(awake)))  # type: ignore[union-attr]
    assert picked == dict.fromkeys(awake, rounds)
    for _ in range(100):  # they wake a few a pick
        assert pool.pick(100.0, (), "a") is not None
    picked = Counter(pool.pick(100.0, (), "a").id for _ in range(rounds * 2_000))  # type: ignore[union-attr]
    assert all(rounds - 1 <= picked[number] <= rounds + 1 for number in range(2_000))


def test_rests_for_more_models_than_have_rotations_still_hold() -> None:
    pool = pool_of(100)
    for model in range(20):
        for number in range(model, model + 80):
            pool.hold(number, 100.0, f"m{model}")
    for model in range(20):
        picked = {pool.pick(0.0, (), f"m{model}").id for _ in range(60)}  # type: ignore[union-attr]
        assert picked == set(range(100)) - set(range(model, model + 80))


def test_rests_of_models_that_nobody_asks_for_any_more_are_forgotten() -> None:
    pool = pool_of(300)
    for number in range(300):
        pool.hold(number, 100.0, f"m{number}")
    ids(pool, 10, 100.0)
    assert all(not pool.get(number).rests for number in range(300))  # type: ignore[union-attr]


COUNT = 90  # enough that a model may have a rotation of its own
KEYS = st.integers(0, COUNT - 1)
MODELS = st.sampled_from(["", "a", "b", "c"])
NAMED = st.sampled_from(["a", "b", "c"])
SECONDS = st.one_of(st.integers(0, 60).map(float), st.floats(0, 60))


@define
class Known:
    """What is true of a key, as plainly as it can be kept."""

    weight: int
    state: State = State.ACTIVE
    until: float = 0.0
    rests: dict[str, float] = field(factory=dict)

    def back(self, model: str) -> float | None:
        """When it may serve; None: not by waiting."""
        if self.state in (State.INVALID, State.DISABLED):
            return None
        return max(self.until, self.rests.get(model, 0.0)) if model else self.until


class PoolLaws(RuleBasedStateMachine):
    """The pool beside a plain model of it, through any events and times."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = pool_of(COUNT)
        self.known = {number: Known(1) for number in range(COUNT)}
        self.now = 1000.0

    def may_serve(self, model: str) -> set[int]:
        backs = {number: known.back(model) for number, known in self.known.items()}
        return {number for number, back in backs.items() if back is not None and back <= self.now}

    @rule(first=KEYS, count=st.sampled_from([1, 2, 70, COUNT]), lasts=SECONDS, model=MODELS)
    def hold(self, first: int, count: int, lasts: float, model: str) -> None:
        until = self.now + lasts
        for number in range(first, min(first + count, COUNT)):
            self.pool.hold(number, until, model)
            known = self.known.get(number)
            if known is None or known.state in (State.INVALID, State.DISABLED):
                continue
            if model:
                known.rests[model] = max(known.rests.get(model, 0.0), until)
            else:
                known.until = max(known.until, until)

    @rule(
        number=KEYS,
        state=st.sampled_from(State),
        lasts=SECONDS,
        rests=st.dictionaries(NAMED, SECONDS, max_size=2),
    )
    def change(self, number: int, state: State, lasts: float, rests: dict[str, float]) -> None:
        until = self.now + lasts if state is State.RESTING else None
        ends = {model: self.now + seconds for model, seconds in rests.items()}
        self.pool.change(number, state, 0, until, ends.items())
        if number in self.known:
            self.known[number] = Known(self.known[number].weight, state, until or 0.0, ends)

    @rule(number=KEYS, weight=st.integers(1, 3), rests=st.dictionaries(NAMED, SECONDS, max_size=2))
    def add(self, number: int, weight: int, rests: dict[str, float]) -> None:
        ends = {model: self.now + seconds for model, seconds in rests.items()}
        self.pool.add(PoolKey(number, b"x", weight, rests=dict(ends)))
        self.known[number] = Known(weight, rests=ends)

    @rule(number=KEYS)
    def remove(self, number: int) -> None:
        self.pool.remove(number)
        self.known.pop(number, None)

    @rule(seconds=SECONDS)
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(model=MODELS, tried=st.sets(KEYS))
    def pick(self, model: str, tried: set[int]) -> None:
        may = self.may_serve(model) - tried
        key = self.pool.pick(self.now, tried, model)
        assert key.id in may if key is not None else not may

    @rule(model=MODELS, number=KEYS)
    def take(self, model: str, number: int) -> None:
        key = self.pool.take(number, self.now, model)
        assert (key is not None) == (number in self.may_serve(model))

    @rule(model=MODELS)
    def ask_when(self, model: str) -> None:
        backs = [back for known in self.known.values() if (back := known.back(model)) is not None]
        first = min((back for back in backs if back > self.now), default=None)
        wakes = self.pool.wakes_at(model)
        if first is not None:
            assert wakes is not None and wakes <= first

    @rule(model=MODELS)
    def serve_everybody(self, model: str) -> None:
        """Nobody who may serve starves, and all get about their weight."""
        may = self.may_serve(model)
        weights = {number: self.known[number].weight for number in may}
        # Many that are due wake a few a pick, so that the first round may not be whole.
        for _ in range(2 * sum(weights.values()) + 10):
            self.pool.pick(self.now, (), model)
        picks: Counter[int | None] = Counter()
        for _ in range(3 * sum(weights.values())):
            key = self.pool.pick(self.now, (), model)
            picks[None if key is None else key.id] += 1
        assert set(picks) == may
        for number, weight in weights.items():
            assert 3 * weight - 2 <= picks[number] <= 3 * weight + 2


PoolLaws.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestPoolLaws = PoolLaws.TestCase


@given(
    holds=st.lists(
        st.tuples(st.integers(0, 3), st.integers(1, 50), st.sampled_from(["", "a", "b"])),
        max_size=20,
    ),
    now=st.integers(0, 50),
)
def test_a_pool_that_cannot_serve_says_exactly_when_it_can(
    holds: list[tuple[int, int, str]], now: int
) -> None:
    pool = pool_of(4)
    whole: dict[int, float] = {}
    for_a: dict[int, float] = {}
    for number, until, model in holds:
        pool.hold(number, until, model)
        kept = {"": whole, "a": for_a}.get(model, {})
        kept[number] = max(kept.get(number, 0.0), until)
    if pool.pick(now, (), "a") is None:
        backs = [max(whole.get(number, 0.0), for_a.get(number, 0.0)) for number in range(4)]
        assert pool.wakes_at("a") == min(backs)


@given(weights=st.lists(st.integers(1, 9), min_size=1, max_size=6))
def test_weights_are_exact_over_a_cycle(weights: list[int]) -> None:
    pool = KeyPool()
    for number, weight in enumerate(weights):
        pool.add(PoolKey(number, b"x", weight))
    assert Counter(ids(pool, sum(weights))) == dict(enumerate(weights))


def test_a_key_that_rested_for_a_model_gets_no_more_than_the_others_after_it() -> None:
    pool = pool_of(2)
    pool.hold(0, 10.0, "m")
    for _ in range(5):
        key = pool.pick(0.0, (), "m")
        assert key is not None and key.id == 1
    picked = [key.id for _ in range(4) if (key := pool.pick(11.0, (), "m"))]
    assert picked.count(0) == 2


@given(
    rests=st.lists(st.tuples(st.integers(0, 9), st.integers(1, 60), st.booleans()), max_size=12),
    looks=st.lists(st.integers(0, 60), min_size=1, max_size=20),
)
def test_a_look_names_the_key_that_is_picked_next(
    rests: list[tuple[int, int, bool]], looks: list[int]
) -> None:
    pool = pool_of(10)
    for number, until, is_whole in rests:
        pool.hold(number, float(until), "" if is_whole else "m")
    for now in sorted(looks):
        seen, picked = pool.peek(float(now), (), "m"), pool.pick(float(now), (), "m")
        assert seen is picked


def test_a_look_sees_many_that_rest_for_one_model() -> None:
    pool = pool_of(400)
    for number in range(300):
        pool.hold(number, 100.0, "m")
    assert pool.resting_for("m") == 300
    assert pool.resting_for("other") == 0
    for _ in range(250):
        assert pool.peek(1.0, (), "m") is pool.pick(1.0, (), "m")
