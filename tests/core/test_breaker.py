"""Laws of the breaker: when it opens, how long it waits, how traffic comes back."""

from __future__ import annotations

from itertools import permutations, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gptload.core.breaker import (
    FIRST_WAIT_S,
    LONGEST_WAIT_S,
    NEXT,
    WINDOW_S,
    Breaker,
    Event,
    State,
)

T = 1_800_000_000.0
FAULTS_IN_A_ROW = 10
ATTEMPTS = 10
PROOFS = 5
KEY = 7

# What happens, and seconds until it does. A sixteenth is exact in a float.
PAUSE = st.integers(0, 6400).map(lambda sixteenths: sixteenths / 16) | st.integers(0, 32).map(
    lambda sixteenths: sixteenths / 16
)
STEP = st.tuples(
    st.sampled_from(
        ["ok", "answer", "fault", "fault", "named", "old ok", "old fault", "trip", "ask"]
    ),
    PAUSE,
)
STEPS = st.lists(STEP, max_size=80)
NAMED_S = 40.0


def take(breaker: Breaker, step: str, now: float) -> bool:
    """One step. Whether it said that the breaker moved."""
    current = breaker.generation
    match step:
        case "ok":
            return breaker.succeeded(KEY, now, current)
        case "answer":
            return breaker.answered(now, current)
        case "fault":
            return breaker.failed(now, current, "fault")
        case "named":
            return breaker.failed(now, current, "fault", NAMED_S)
        case "old ok":
            return breaker.succeeded(KEY, now, current - 1)
        case "old fault":
            return breaker.failed(now, current - 1, "old", NAMED_S)
        case "trip":
            return breaker.trip(now, "correlated")
        case _:
            before = breaker.generation
            if not breaker.prefers_others(now):
                breaker.trying(now)
            return breaker.generation != before


def opened(now: float = T, wait_s: float | None = None) -> Breaker:
    breaker = Breaker()
    for _ in range(FAULTS_IN_A_ROW):
        breaker.failed(now, breaker.generation, "fault", wait_s)
    assert breaker.state is State.OPEN
    return breaker


def half_open(now: float = T) -> Breaker:
    breaker = opened(now - FIRST_WAIT_S)
    assert not breaker.prefers_others(now)
    assert breaker.state is State.HALF_OPEN
    return breaker


def test_every_pair_is_named() -> None:
    assert set(NEXT) == set(product(State, Event))


def test_only_a_proof_closes_it() -> None:
    ways = {pair for pair, then in NEXT.items() if then is State.CLOSED}
    assert {event for state, event in ways if state is not State.CLOSED} == {Event.PROVEN}


@settings(max_examples=300)
@given(STEPS)
def test_in_no_sequence_is_a_breaker_lost_between_its_states(
    steps: list[tuple[str, float]],
) -> None:
    """Closed it refuses nothing, open it has a time to try again, and each move is told."""
    breaker, now = Breaker(), T
    for step, pause_s in steps:
        now += pause_s
        before, generation = breaker.state, breaker.generation
        moved = take(breaker, step, now)
        assert breaker.generation == generation + moved
        assert moved or breaker.state is before
        assert not (moved and step.startswith("old"))
        assert not moved or breaker.changed_at == now
        if breaker.state is State.CLOSED:
            assert not breaker.prefers_others(now)
        if breaker.state is State.OPEN:
            assert breaker.retry_at is not None and breaker.changed_at is not None
            assert breaker.retry_at <= breaker.changed_at + LONGEST_WAIT_S
            assert breaker.reason in ("fault", "correlated")
        else:
            assert breaker.retry_at is None


@settings(max_examples=300)
@given(STEPS)
def test_an_open_one_lets_a_try_through_at_its_time_and_not_before(
    steps: list[tuple[str, float]],
) -> None:
    breaker, now = Breaker(), T
    for step, pause_s in steps:
        now += pause_s
        take(breaker, step, now)
    if breaker.retry_at is None or breaker.changed_at is None:  # it isn't open
        return
    assert breaker.prefers_others(breaker.retry_at - 0.01)
    assert not breaker.prefers_others(breaker.changed_at + LONGEST_WAIT_S)
    assert breaker.state is State.HALF_OPEN


@settings(max_examples=300)
@given(STEPS)
def test_results_of_an_older_generation_change_nothing(steps: list[tuple[str, float]]) -> None:
    """The same story with and without them is the same."""
    with_them, without, now = Breaker(), Breaker(), T
    for step, pause_s in steps:
        now += pause_s
        take(with_them, step, now)
        if not step.startswith("old"):
            take(without, step, now)
        assert with_them.state is without.state
        assert with_them.generation == without.generation
        assert with_them.retry_at == without.retry_at


def test_what_began_before_it_closed_does_not_open_it_again() -> None:
    """Requests without another way went through it while it was open, and time out now."""
    breaker = opened()
    began = breaker.generation
    for _ in range(PROOFS):
        breaker.succeeded(KEY, T + 1, breaker.generation)
    assert breaker.state is State.CLOSED
    assert not any(breaker.failed(T + 2, began, "time-out") for _ in range(100))


@settings(max_examples=300)
@given(STEPS, st.lists(st.sampled_from(["ok", "answer"]), min_size=PROOFS, max_size=PROOFS))
def test_after_enough_good_answers_it_is_closed(
    steps: list[tuple[str, float]], answers: list[str]
) -> None:
    """Also through an open one, by requests that have no other way."""
    breaker, now = Breaker(), T
    for step, pause_s in steps:
        now += pause_s
        take(breaker, step, now)
    for answer in answers:
        take(breaker, answer, now)
    assert breaker.state is State.CLOSED


def test_fewer_good_answers_do_not_close_it() -> None:
    breaker = half_open()
    for _ in range(PROOFS - 1):
        assert not breaker.succeeded(KEY, T, breaker.generation)
    assert breaker.state is State.HALF_OPEN
    assert breaker.succeeded(KEY, T, breaker.generation)


def test_good_answers_before_a_fault_prove_nothing_after_it() -> None:
    breaker = half_open()
    for _ in range(PROOFS - 1):
        breaker.succeeded(KEY, T, breaker.generation)
    breaker.failed(T, breaker.generation, "fault")
    assert not breaker.prefers_others(T + LONGEST_WAIT_S)
    for _ in range(PROOFS - 1):
        assert not breaker.succeeded(KEY, T + LONGEST_WAIT_S, breaker.generation)


@pytest.mark.parametrize("step", ["fault", "named", "trip"])
def test_one_fault_opens_a_half_open_one(step: str) -> None:
    breaker = half_open()
    assert take(breaker, step, T)
    assert breaker.state is State.OPEN


@given(st.lists(st.tuples(st.sampled_from(["ask", "ask", "ok"]), PAUSE), max_size=60))
def test_the_trickle_is_never_more_than_its_doubling_rate(
    steps: list[tuple[str, float]],
) -> None:
    """One a second, two after the first success, then four, eight, sixteen."""
    breaker, now, oks = half_open(), T, 0
    last_try: tuple[float, int] | None = None
    for step, pause_s in steps:
        now += pause_s / 16
        if step == "ok":
            breaker.succeeded(KEY, now, breaker.generation)
            oks += 1
            if breaker.state is State.CLOSED:
                return
        elif not breaker.prefers_others(now):
            if last_try is not None:
                at, oks_then = last_try
                assert now >= at + 1 / 2**oks_then
            breaker.trying(now)
            last_try = (now, oks)
        else:
            assert last_try is not None
            at, oks_then = last_try
            assert now < at + 1 / 2**oks_then


def test_a_try_that_shows_nothing_does_not_keep_the_next_one_waiting() -> None:
    """A key that is limited says nothing about the upstream; a client may just go."""
    breaker = half_open()
    breaker.trying(T)
    assert breaker.prefers_others(T + 0.9)
    assert not breaker.prefers_others(T + 1.0)


def test_waits_double_up_to_the_longest_and_start_anew_after_closing() -> None:
    breaker, now = opened(), T
    waits = []
    for _ in range(8):
        assert breaker.retry_at is not None
        waits.append(breaker.retry_at - now)
        now = breaker.retry_at
        assert not breaker.prefers_others(now)
        assert breaker.failed(now, breaker.generation, "fault")
    assert waits == [5, 10, 20, 40, 80, 160, 300, 300]

    for _ in range(PROOFS):
        breaker.succeeded(KEY, now, breaker.generation)
    breaker.trip(now, "correlated")
    assert breaker.retry_at == now + FIRST_WAIT_S


@given(st.floats(0, 10_000))
def test_a_named_wait_is_obeyed_up_to_the_longest(wait_s: float) -> None:
    breaker = opened(wait_s=wait_s)
    assert breaker.retry_at == T + min(max(FIRST_WAIT_S, wait_s), LONGEST_WAIT_S)


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 900)), max_size=30))
def test_a_wait_that_an_open_one_hears_of_puts_its_try_off_but_not_for_ever(
    faults: list[tuple[int, int]],
) -> None:
    """Requests without another way go on failing there, each with a new time."""
    breaker, now, wanted = opened(), T, T + FIRST_WAIT_S
    for pause_s, wait_s in faults:
        now += pause_s
        assert not breaker.failed(now, breaker.generation, "fault", float(wait_s))
        wanted = max(wanted, now + wait_s)
        assert breaker.retry_at == min(wanted, T + LONGEST_WAIT_S)


def test_a_trip_opens_it_and_leaves_an_open_one_waiting_as_it_did() -> None:
    breaker = Breaker()
    assert breaker.trip(T, "7 keys were answered alike")
    assert breaker.state is State.OPEN and breaker.reason == "7 keys were answered alike"
    assert not breaker.trip(T + 3, "again")
    assert breaker.retry_at == T + FIRST_WAIT_S and breaker.reason != "again"


# When it opens.


def is_sick(attempts: list[tuple[bool, float]], window_s: float) -> bool:
    """More than half of enough attempts failed, in so long a time up to the last one."""
    now = attempts[-1][1]
    oks = [ok for ok, at in attempts if at > now - window_s]
    return len(oks) >= ATTEMPTS and 2 * oks.count(False) > len(oks)


@settings(max_examples=500)
@given(
    st.lists(
        st.tuples(st.booleans(), st.integers(0, 40).map(lambda sixteenths: sixteenths / 16)),
        max_size=120,
    ),
    st.integers(1, 16),
)
def test_it_opens_by_its_rule_and_by_nothing_else(
    attempts: list[tuple[bool, float]], faster: int
) -> None:
    """Its window is between a half and a whole of `WINDOW_S`: whatever that allows may be."""
    breaker, now, row = Breaker(), T, 0
    seen: list[tuple[bool, float]] = []
    for ok, pause_s in attempts:
        now += pause_s / faster
        seen.append((ok, now))
        take(breaker, "ok" if ok else "fault", now)
        row = 0 if ok else row + 1
        lengths = {now - at + 0.001 for _, at in seen if WINDOW_S / 2 <= now - at <= WINDOW_S}
        sick = [is_sick(seen, length) for length in (WINDOW_S / 2, *lengths, WINDOW_S)]
        if breaker.state is State.OPEN:
            assert row == FAULTS_IN_A_ROW or (not ok and any(sick))
            return
        assert row < FAULTS_IN_A_ROW
        assert ok or not all(sick)


@given(
    st.sampled_from(sorted(set(permutations("FFOOO")))),
    st.lists(st.integers(0, 80).map(lambda sixteenths: sixteenths / 16), min_size=1, max_size=7),
)
def test_an_upstream_that_fails_two_in_five_stays_in_use(
    cycle: tuple[str, ...], pauses: list[float]
) -> None:
    """However its faults lie and however requests bunch: it answers more than it fails."""
    breaker, now = Breaker(), T
    for turn in range(200):
        now += pauses[turn % len(pauses)]
        take(breaker, "ok" if cycle[turn % 5] == "O" else "fault", now)
        assert breaker.state is State.CLOSED


def test_successes_count_for_as_long_as_faults_do() -> None:
    """A burst of faults among a thousand good answers is a small share of them."""
    breaker, now = Breaker(), T
    for _ in range(10_000):
        now += 0.01
        take(breaker, "ok", now)
    for _ in range(3):
        for step in ["fault"] * (FAULTS_IN_A_ROW - 1) + ["ok"]:
            assert not take(breaker, step, now)


def test_faults_of_the_last_seconds_count_whenever_counting_began() -> None:
    """No slice's end hides what lies right before it."""
    for first in range(20):
        breaker, now = Breaker(), T
        take(breaker, "ok", now)
        now += first / 2
        moves = []
        for turn in range(ATTEMPTS + 2):
            now += 0.25
            moves.append(take(breaker, "ok" if turn % 3 == 2 else "fault", now))
        assert any(moves)


def test_what_was_counted_before_it_opened_is_forgotten_when_it_closes() -> None:
    breaker = opened()
    for _ in range(PROOFS):
        breaker.succeeded(KEY, T + 1, breaker.generation)
    for _ in range(FAULTS_IN_A_ROW - 1):
        assert not take(breaker, "fault", T + 1)


def test_faults_in_a_row_count_however_slowly_they_come() -> None:
    """An upstream that is asked once an hour is found as well."""
    breaker = Breaker()
    for hour in range(FAULTS_IN_A_ROW - 1):
        assert not take(breaker, "fault", T + hour * 3600)
    assert take(breaker, "fault", T + FAULTS_IN_A_ROW * 3600)


# Who else succeeded.


@given(st.lists(st.tuples(st.integers(1, 3), st.sampled_from(["ok", "answer"])), max_size=30))
def test_it_knows_when_another_key_last_succeeded(steps: list[tuple[int, str]]) -> None:
    breaker, last = Breaker(), {}
    for second, (key_id, step) in enumerate(steps):
        now = T + second
        if step == "ok":
            breaker.succeeded(key_id, now, breaker.generation)
            last[key_id] = now
        else:
            breaker.answered(now, breaker.generation)
        for asked in range(1, 5):
            others = [at for known, at in last.items() if known != asked]
            assert breaker.others_ok_at(asked) == max(others, default=None)
    assert last.get(breaker.ok_key, 0.0) == breaker.ok_at
