"""Rechecks: never sooner than the interval, rarer with each rejection, spread from the start."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gptload.core.recheck import DAY_S, Recheck, first, wait_s

HOUR_S = 3600.0
NOW = 1_800_000_000.0
intervals = st.integers(1, 100_000).map(lambda minutes: minutes * 60.0)


def test_a_wait_doubles_up_to_a_day() -> None:
    waits = [wait_s(HOUR_S, rejections) / HOUR_S for rejections in range(9)]
    assert waits == [1, 1, 2, 4, 8, 16, 24, 24, 24]


@given(intervals, st.integers(0, 10_000))
def test_a_wait_is_never_shorter_than_the_interval(interval_s: float, rejections: int) -> None:
    wait = wait_s(interval_s, rejections)
    assert interval_s <= wait <= max(DAY_S, interval_s)
    assert wait <= wait_s(interval_s, rejections + 1)


@given(intervals, st.integers(1, 10**9), st.none() | st.floats(0, 10**8))
def test_the_first_check_comes_within_one_wait(
    interval_s: float, key_id: int, age_s: float | None
) -> None:
    turn = first(key_id, None if age_s is None else NOW - age_s, NOW, interval_s)
    assert 0 <= turn.due(interval_s) - NOW <= wait_s(interval_s, turn.rejections)


def test_a_key_that_is_long_dead_is_asked_rarely_from_the_first_time_on() -> None:
    assert first(1, NOW - 60, NOW, HOUR_S).rejections == 0
    assert wait_s(HOUR_S, first(1, NOW - 5 * HOUR_S, NOW, HOUR_S).rejections) == 4 * HOUR_S
    assert wait_s(HOUR_S, first(1, NOW - 90 * DAY_S, NOW, HOUR_S).rejections) == DAY_S


@given(st.integers(1, 10**6), st.integers(2, 500))
def test_keys_that_turn_bad_at_once_are_spread(first_id: int, count: int) -> None:
    """No twentieth of the interval gets more than a fair share and a few."""
    dues = [
        first(key_id, NOW, NOW, HOUR_S).due(HOUR_S) for key_id in range(first_id, first_id + count)
    ]
    for slot in range(20):
        begin = NOW + slot * HOUR_S / 20
        here = sum(begin <= due < begin + HOUR_S / 20 for due in dues)
        assert here <= count / 20 + 4


def test_a_turn_is_due_one_wait_after_it_asked() -> None:
    assert Recheck(NOW, 3).due(HOUR_S) == NOW + 4 * HOUR_S
