"""What breakers said last: the log tells of trouble, and memory stays bounded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from twisted.logger import globalLogPublisher

from gptload.control.breakers import Breakers
from gptload.core.breaker import State
from gptload.link.messages import BreakerMoved


@pytest.fixture
def said() -> Iterator[list[tuple[str, str]]]:
    lines: list[tuple[str, str]] = []

    def observe(event: dict[str, Any]) -> None:
        lines.append((event["log_level"].name, str(event["log_format"]).format(**event)))

    globalLogPublisher.addObserver(observe)  # type: ignore[arg-type]
    yield lines
    globalLogPublisher.removeObserver(observe)  # type: ignore[arg-type]


def moved(way: str, state: State, at: float = 10.0) -> BreakerMoved:
    retry_at = at + 5 if state is State.OPEN else None
    return BreakerMoved(way, state, at, retry_at, "openai.status_500")


def test_the_last_move_of_each_way_is_listed() -> None:
    breakers = Breakers()
    assert breakers.listed() == []
    for event in (moved("b", State.OPEN), moved("a", State.OPEN), moved("b", State.HALF_OPEN)):
        breakers.moved(event)
    assert breakers.listed() == [moved("a", State.OPEN), moved("b", State.HALF_OPEN)]


def test_the_log_tells_when_a_breaker_opens_and_closes(said: list[tuple[str, str]]) -> None:
    breakers = Breakers()
    for state in (State.OPEN, State.HALF_OPEN, State.CLOSED):
        breakers.moved(moved("https://api.example", state))
    assert said == [
        (
            "warn",
            "https://api.example is left alone: openai.status_500. Others are preferred for 5 s.",
        ),
        ("info", "https://api.example works again"),
    ]


def test_ways_that_moved_long_ago_are_forgotten() -> None:
    breakers = Breakers()
    for number in range(10_001):
        breakers.moved(moved(f"{number:05}", State.HALF_OPEN))
    assert len(breakers.listed()) == 10_000
    assert breakers.listed()[0].way == "00001"
