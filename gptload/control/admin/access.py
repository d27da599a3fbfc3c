"""Who may use the admin API, and how often somebody may guess.

A right key always gets in and clears the slate, so nobody can lock the operator out
from their own address. A wrong one is answered ever more slowly; past a handful of
guesses that wait at once, the next ones are refused on the spot.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from attrs import define
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.web.iweb import IRequest

from gptload.core.errors import GptloadError, Unauthorized

CLIENT_FIELD: Final = b"x-gptload-client"
FREE_GUESSES: Final = 10
FORGET_S: Final = 15 * 60.0
LONGEST_DELAY_S: Final = 4.0
_FIRST_DELAY_S: Final = 0.25
_WAITING_AT_ONCE: Final = 5
_ADDRESSES: Final = 4096


class TooManyGuesses(GptloadError):
    """Somebody tries one admin key after another."""

    status = 429
    code = "TOO_MANY_ATTEMPTS"
    hint = "Wait for as long as Retry-After says. The right key is AUTH_KEY."


@define
class _Guesses:
    """Wrong keys from one address.

    Attributes:
        at: epoch seconds of the last one.
        waiting: answers that are held back now.
    """

    count: int = 0
    at: float = 0.0
    waiting: int = 0


class Access:
    """Compares what is presented with AUTH_KEY, and remembers who was wrong."""

    def __init__(self, clock: IReactorTime, auth_key: str) -> None:
        self._clock = clock
        self._right = _digest(auth_key.encode("utf-8", "surrogateescape"))
        # The least recently seen address first; it is forgotten when there are too many.
        self._by_address: OrderedDict[str, _Guesses] = OrderedDict()

    async def admit(self, address: str, presented: Sequence[bytes]) -> None:
        """Let a client in if any of its credentials is right.

        Raises:
            Unauthorized: none is, or there are none.
            TooManyGuesses: none is, once too often; raised after a delay.
        """
        place = _network(address)
        if self.knows(presented):
            self._by_address.pop(place, None)
            return
        guesses = self._known(place)
        if guesses is not None and guesses.waiting >= _WAITING_AT_ONCE:
            raise _too_many(guesses)
        if not presented:
            raise Unauthorized(
                "Authentication failed", hint="Send AUTH_KEY as Authorization: Bearer <key>."
            )
        await self._wrong(place, guesses or _Guesses())

    def knows(self, presented: Sequence[bytes]) -> bool:
        """Whether any of these is the right one. No guess is counted."""
        # All of them, always: the time must not say which one was right.
        matches = [hmac.compare_digest(_digest(each), self._right) for each in presented]
        return any(matches)

    async def _wrong(self, place: str, guesses: _Guesses) -> None:
        guesses.count += 1
        guesses.at = self._clock.seconds()
        self._by_address[place] = guesses
        self._by_address.move_to_end(place)
        if len(self._by_address) > _ADDRESSES:
            self._by_address.popitem(last=False)
        if guesses.count <= FREE_GUESSES:
            raise Unauthorized("Authentication failed", hint="The right key is AUTH_KEY.")
        guesses.waiting += 1
        try:
            await deferLater(self._clock, _delay_s(guesses))
        finally:
            guesses.waiting -= 1
        raise _too_many(guesses)

    def _known(self, place: str) -> _Guesses | None:
        guesses = self._by_address.get(place)
        if guesses is not None and self._clock.seconds() - guesses.at > FORGET_S:
            del self._by_address[place]
            return None
        return guesses


def credentials(request: IRequest) -> list[bytes]:
    """Every credential that a request presents, in all the forms that clients use."""
    found = in_query(request)
    fields = request.requestHeaders
    for value in fields.getRawHeaders(b"authorization", []):
        scheme, _, token = value.partition(b" ")
        if scheme.lower() == b"bearer" and token.strip():
            found.append(token.strip())
    for name in (b"x-api-key", b"x-goog-api-key"):
        found += [value.strip() for value in fields.getRawHeaders(name, []) if value.strip()]
    return found


def in_query(request: IRequest) -> list[bytes]:
    """Those of them that stand in its address."""
    return [value for value in request.args.get(b"key", []) if value]


def client_address(request: IRequest) -> str:
    """The client's address, as the front saw it; nobody else can reach this site."""
    values = request.requestHeaders.getRawHeaders(CLIENT_FIELD, [b""])
    return values[0].decode("latin-1").strip() or "unknown"


def is_loopback(address: str) -> bool:
    """Whether a client's address is this machine's own."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()  # of one length, whatever was presented


def _network(address: str) -> str:
    """What one guesser can be told by: IPv6 gives everybody 2^64 addresses."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return address
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((int(found), 64), strict=False))


def _delay_s(guesses: _Guesses) -> float:
    doublings = min(guesses.count - FREE_GUESSES - 1, 10)
    return min(_FIRST_DELAY_S * 2.0**doublings, LONGEST_DELAY_S)


def _too_many(guesses: _Guesses) -> TooManyGuesses:
    return TooManyGuesses("Too many wrong keys", retry_after_s=_delay_s(guesses))
