"""How often somebody may guess the admin key."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from gptload.control.admin.access import (
    FORGET_S,
    FREE_GUESSES,
    LONGEST_DELAY_S,
    Access,
    TooManyGuesses,
    is_loopback,
)
from gptload.core.errors import Unauthorized

RIGHT = b"sk-right"


@pytest.fixture
def clock() -> Clock:
    clock = Clock()
    clock.advance(1_800_000_000)
    return clock


@pytest.fixture
def access(clock: Clock) -> Access:
    return Access(clock, RIGHT.decode())


def admit(access: Access, *presented: bytes, address: str = "192.0.2.1") -> list[Any]:
    """What came of it: empty while it is held back, then None or an error."""
    ended: list[Any] = []
    work = Deferred.fromCoroutine(access.admit(address, presented))
    work.addCallbacks(ended.append, lambda failure: ended.append(failure.value))
    return ended


def guess(access: Access, times: int, address: str = "192.0.2.1") -> None:
    for _ in range(times):
        (error,) = admit(access, b"wrong", address=address)
        assert isinstance(error, Unauthorized)


def test_the_right_key_among_others_gets_in(access: Access) -> None:
    assert admit(access, b"wrong", RIGHT, b"") == [None]


def test_no_key_is_no_guess(access: Access) -> None:
    for _ in range(100):
        (error,) = admit(access)
        assert isinstance(error, Unauthorized)
    assert admit(access, RIGHT) == [None]


def test_guesses_wait_ever_longer(access: Access, clock: Clock) -> None:
    guess(access, FREE_GUESSES)
    waited = []
    for _ in range(8):
        answer = admit(access, b"wrong")
        began = clock.seconds()
        while not answer:
            clock.advance(0.05)
        assert isinstance(answer[0], TooManyGuesses)
        assert answer[0].retry_after_s > 0
        waited.append(clock.seconds() - began)
    assert waited == sorted(waited)
    assert waited[0] >= 0.25
    assert waited[-1] == pytest.approx(LONGEST_DELAY_S, abs=0.1)
    assert clock.getDelayedCalls() == []


def test_the_right_key_gets_in_at_once_and_clears_the_slate(access: Access, clock: Clock) -> None:
    guess(access, FREE_GUESSES)
    held = admit(access, b"wrong")
    assert held == []
    assert admit(access, RIGHT) == [None]
    guess(access, FREE_GUESSES)
    clock.advance(LONGEST_DELAY_S)
    assert isinstance(held[0], TooManyGuesses)


def test_only_so_many_wait_at_once(access: Access, clock: Clock) -> None:
    """Else a guesser could make us hold a thousand answers back."""
    guess(access, FREE_GUESSES)
    held = [admit(access, b"wrong") for _ in range(5)]
    assert held == [[]] * 5
    for presented in ([b"wrong"], []):
        (error,) = admit(access, *presented)
        assert isinstance(error, TooManyGuesses)
    clock.advance(LONGEST_DELAY_S)
    assert all(isinstance(answer[0], TooManyGuesses) for answer in held)


def test_the_operator_gets_in_while_guesses_are_held_back(access: Access, clock: Clock) -> None:
    guess(access, FREE_GUESSES)
    for _ in range(5):
        admit(access, b"wrong")
    assert admit(access, RIGHT) == [None]
    clock.advance(LONGEST_DELAY_S)


def test_guesses_are_forgotten(access: Access, clock: Clock) -> None:
    guess(access, FREE_GUESSES)
    clock.advance(FORGET_S + 1)
    guess(access, FREE_GUESSES)


def test_one_address_does_not_pay_for_another(access: Access) -> None:
    guess(access, FREE_GUESSES)
    guess(access, FREE_GUESSES, "192.0.2.2")
    guess(access, FREE_GUESSES, "::ffff:192.0.2.3")
    guess(access, FREE_GUESSES, "::ffff:192.0.2.4")
    guess(access, FREE_GUESSES, "not an address")


def test_a_network_of_ipv6_is_one_guesser(access: Access, clock: Clock) -> None:
    for number in range(FREE_GUESSES):
        guess(access, 1, f"2001:db8::{number:x}")
    held = admit(access, b"wrong", address="2001:db8::ffff%eth0")
    assert held == []
    guess(access, 1, "2001:db8:0:1::1")
    clock.advance(LONGEST_DELAY_S)


def test_the_table_has_an_end(access: Access) -> None:
    for number in range(10_000):
        guess(access, 1, f"10.0.{number // 256}.{number % 256}")
    assert len(access._by_address) <= 4096


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1", True),
        ("127.8.0.1", True),
        ("::1", True),
        ("192.168.1.7", False),
        ("203.0.113.7", False),
        ("::ffff:203.0.113.7", False),
        ("unknown", False),
    ],
)
def test_which_addresses_are_this_machines_own(address: str, expected: bool) -> None:
    assert is_loopback(address) is expected
