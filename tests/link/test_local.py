"""The carrier within one process: received when the call returns."""

from __future__ import annotations

from typing import Any

from twisted.logger import globalLogPublisher

from gptload.core.breaker import State
from gptload.core.snapshot import Snapshot
from gptload.link.local import LocalLink
from gptload.link.messages import BreakerMoved, Event, GroupRemoved, KeyEvent, OwnerNoted, Seen

EVENT = KeyEvent(1, 7, Seen.REJECTED, 0.0)


def test_what_is_published_is_received_when_the_call_returns() -> None:
    heard: list[object] = []
    link = LocalLink()
    link.attach_control(heard.append)
    link.attach_data(heard.append, heard.append)
    told = (EVENT, GroupRemoved(1), Snapshot(3))
    link.publish_event(told[0])
    link.publish_change(told[1])
    link.publish_snapshot(told[2])
    assert heard == list(told)


def test_each_kind_of_event_goes_to_whoever_asked_for_it() -> None:
    heard: list[tuple[str, object]] = []
    link = LocalLink()
    told: list[Event] = [
        EVENT,
        BreakerMoved("https://api.example", State.OPEN, 1.0, 6.0, "openai.status_500"),
        OwnerNoted(1, "file-1", 7, 0, 9.0),
    ]
    link.attach_control(
        lambda event: heard.append(("key", event)),
        lambda event: heard.append(("breaker", event)),
        lambda event: heard.append(("owner", event)),
    )
    for event in told:
        link.publish_event(event)
    assert heard == list(zip(("key", "breaker", "owner"), told, strict=True))


def test_an_exchange_does_not_pay_for_a_ledger_that_fails() -> None:
    def fail(_event: KeyEvent) -> None:
        raise LookupError

    said: list[dict[str, Any]] = []
    link = LocalLink()
    link.attach_control(fail)
    globalLogPublisher.addObserver(said.append)
    try:
        link.publish_event(EVENT)
    finally:
        globalLogPublisher.removeObserver(said.append)
    assert [event["event"] for event in said] == [EVENT]
