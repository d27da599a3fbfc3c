"""How a request waits for work that must not end with it."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock

from gptload.control.waiting import at_most, whole


def test_work_ends_whole_when_nobody_waits_any_more() -> None:
    gate: Deferred[None] = Deferred()
    done: list[str] = []

    @whole
    async def work(name: str) -> str:
        await gate
        done.append(name)
        return name

    waiting = work("a")
    waiting.addErrback(lambda failure: failure.trap(CancelledError))
    waiting.cancel()
    gate.callback(None)
    assert done == ["a"]


def test_results_and_errors_reach_who_waits() -> None:
    @whole
    async def work(fault: bool) -> int:
        if fault:
            raise KeyError("x")
        return 7

    seen: list[Any] = []
    work(False).addCallback(seen.append)
    work(True).addErrback(lambda failure: seen.append(failure.type))
    assert seen == [7, KeyError]


@pytest.mark.parametrize("ending", ["late", "fault"])
def test_waiting_ends_in_time(ending: str) -> None:
    clock = Clock()
    gate: Deferred[None] = Deferred()
    seen: list[Any] = []

    async def work() -> None:
        await gate

    Deferred.fromCoroutine(at_most(clock, 2.0, work())).addCallback(seen.append)
    if ending == "late":
        clock.advance(2.0)
    else:
        gate.errback(KeyError("x"))
    assert seen == [None]
    assert clock.getDelayedCalls() == []
    if ending == "late":
        gate.callback(None)  # it went on, and nobody minds
