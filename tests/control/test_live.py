"""Live figures: of the last seconds, bounded, and gone when nobody listens."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import CancelledError
from twisted.internet.task import Clock

from gptload.control.breakers import Breakers
from gptload.control.db.queries.tasks import TaskRow
from gptload.control.live import (
    MOST_KEYS,
    MOST_LISTENERS,
    TAILED,
    WINDOW_S,
    Live,
    TooManyListeners,
)
from gptload.core.breaker import State
from gptload.core.keystate import State as KeyState
from gptload.link.messages import BreakerMoved, KeysRemoved, KeyStateChanged
from tests.parts.records import make_record


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def live(clock: Clock) -> Live:
    live = Live(clock, clock.seconds, Breakers(), "1.2.3", lambda: 5)
    live.startService()
    return live


def test_a_frame_tells_of_the_last_seconds(clock: Clock, live: Live) -> None:
    for _ in range(3):
        for number in range(10):
            live.noted(
                [make_record(total_ms=1 + number, outcome="ok" if number else "client_gone")]
            )
        live.noted([make_record(is_final=False, outcome="rate_limited")])
        clock.advance(1)
    frame = live.frame()
    assert (frame["requests"], frame["requests_per_s"], frame["retried"]) == (30, 10.0, 3)
    assert frame["success_rate"] == pytest.approx(0.9)
    assert (frame["p50_ms"], frame["p95_ms"]) == (5, 10)
    assert frame["under_way"] == 5
    assert frame["node"] == {"state": "running", "version": "1.2.3", "uptime_s": 3.0}


def test_what_is_past_is_forgotten_and_nothing_is_no_success(clock: Clock, live: Live) -> None:
    live.noted([make_record()])
    for _ in range(int(WINDOW_S) + 1):
        clock.advance(1)
    frame = live.frame()
    assert frame["requests"] == 0
    assert frame["success_rate"] is None
    assert frame["p50_ms"] is None


def test_a_tick_that_comes_late_is_not_a_burst(clock: Clock, live: Live) -> None:
    for _ in range(40):
        live.noted([make_record()])
    clock.advance(4)
    assert live.frame()["requests_per_s"] == 10.0


def test_open_breakers_are_counted(clock: Clock) -> None:
    breakers = Breakers()
    live = Live(clock, clock.seconds, breakers, "", lambda: 0)
    breakers.moved(BreakerMoved("https://a", State.OPEN, 0.0, 5.0, "x"))
    breakers.moved(BreakerMoved("https://b", State.HALF_OPEN, 0.0, None, ""))
    assert live.frame()["breakers_open"] == 1


def test_a_listener_hears_at_once_and_every_second_until_it_goes(clock: Clock, live: Live) -> None:
    frames: list[dict[str, Any]] = []
    ended = live.listen(frames.append)
    clock.advance(1)
    clock.advance(1)
    assert len(frames) == 3
    ended.addErrback(lambda failure: failure.trap(CancelledError))
    ended.cancel()
    clock.advance(1)
    assert len(frames) == 3


def test_listeners_are_bounded_and_a_place_that_is_left_is_free(live: Live) -> None:
    listening = [live.listen(lambda frame, number=number: None) for number in range(MOST_LISTENERS)]  # type: ignore[misc]
    with pytest.raises(TooManyListeners):
        live.listen(lambda frame: None)
    listening[0].addErrback(lambda failure: None)
    listening[0].cancel()
    live.listen(lambda frame: None)


def test_all_listeners_are_let_go_when_the_service_stops(clock: Clock, live: Live) -> None:
    done: list[None] = []
    live.listen(lambda frame: None).addCallback(done.append)
    live.stopService()
    assert done == [None]
    assert clock.getDelayedCalls() == []


def test_single_attempts_are_told_up_to_a_number_and_the_others_counted(
    clock: Clock, live: Live
) -> None:
    told: list[tuple[str, Any]] = []
    ended = live.listen(lambda frame: None, ["logs"], lambda *news: told.append(news))
    for number in range(TAILED + 7):
        live.noted([make_record(id=str(number))])
    clock.advance(1)
    ((topic, tail),) = told
    assert (topic, len(tail.records), tail.skipped) == ("logs", TAILED, 7)
    ended.addErrback(lambda failure: None)
    ended.cancel()
    live.noted([make_record()])  # which nobody wants to hear of
    clock.advance(1)
    assert len(told) == 1


def test_so_many_keys_are_told_and_then_that_there_are_more(clock: Clock, live: Live) -> None:
    told: list[Any] = []
    live.listen(lambda frame: None, ["keys:1"], lambda topic, news: told.append(news))
    for key_id in range(MOST_KEYS + 1):
        for state in (KeyState.RESTING, KeyState.ACTIVE):
            live.key_changed(KeyStateChanged(1, key_id, state, 0, None))
    clock.advance(1)
    live.key_changed(KeysRemoved(1, (4,)))
    live.key_changed(KeysRemoved(2, (5,)))
    clock.advance(1)
    many, removed = told
    assert (len(many.states), many.is_all) == (MOST_KEYS, False)
    assert {change.state for change in many.states} == {KeyState.ACTIVE}
    assert (removed.group_id, removed.states, removed.is_all) == (1, (), False)


def test_tasks_are_told_when_they_are_others(clock: Clock) -> None:
    running: list[Any] = []
    live = Live(clock, clock.seconds, Breakers(), "", lambda: 0, lambda: running)
    live.startService()
    told: list[Any] = []
    live.listen(lambda frame: None, ["tasks"], lambda topic, news: told.append(news))
    clock.advance(1)
    running.append(
        TaskRow(1, "import", 1, "openai", "running", False, 3, 9, {}, None, "", 0.0, 1.0, None)
    )
    clock.advance(1)
    clock.advance(1)
    assert [len(rows) for rows in told] == [0, 1]


def test_tokens_are_counted_while_somebody_looks(clock: Clock, live: Live) -> None:
    said = '{"input_tokens":30,"output_tokens":20}'
    live.noted([make_record(usage=said)])
    clock.advance(1)
    assert live.frame()["tokens_per_s"] is None
    live.listen(lambda frame: None)
    for _ in range(2):
        live.noted([make_record(usage=said), make_record()])
        clock.advance(1)
    assert live.frame()["tokens_per_s"] == 50
    live.noted([make_record(usage=said)] * 3000)
    clock.advance(1)
    assert live.frame()["tokens_per_s"] == round(50 * 3002 / 3, 2)
