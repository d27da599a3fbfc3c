"""Live figures: of the last seconds, bounded, and gone when nobody listens."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import CancelledError
from twisted.internet.task import Clock

from gptload.control.breakers import Breakers
from gptload.control.live import MOST_LISTENERS, WINDOW_S, Live, TooManyListeners
from gptload.core.breaker import State
from gptload.link.messages import BreakerMoved
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
