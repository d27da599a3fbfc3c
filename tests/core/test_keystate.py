"""The table of key states is total, and never softens a verdict by itself."""

from itertools import product

from gptload.core.keystate import NEXT, Event, State


def test_every_pair_is_named() -> None:
    assert set(NEXT) == set(product(State, Event))


def test_only_a_recovery_or_a_person_ends_a_verdict() -> None:
    ends = {event for event in Event if NEXT[State.INVALID, event] is State.ACTIVE}
    assert ends == {Event.RECOVERED}
    assert {e for e in Event if NEXT[State.DISABLED, e] is not State.DISABLED} == {
        Event.SWITCHED_ON
    }
