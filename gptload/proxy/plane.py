"""What every exchange needs, handed in once by `gptload.node`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from attrs import define, frozen
from twisted.internet.interfaces import IDelayedCall

from gptload.core.record import AttemptRecord
from gptload.core.sticky import Resources
from gptload.link.messages import KeyEvent, OwnerNoted
from gptload.provider import IProvider
from gptload.proxy.routing import Routing
from gptload.proxy.waiting import WaitingRoom
from gptload.wire.pool import ConnectionPool
from gptload.wire.sweep import Sweep


@frozen
class Cors:
    """What browsers of other origins may do.

    Attributes:
        origins: allowed origins; `*` allows all.
        headers: allowed request fields; `*` allows what the browser asks for, since a
            literal `*` doesn't cover `Authorization` (Fetch standard, CORS protocol).
    """

    origins: frozenset[str]
    methods: tuple[str, ...]
    headers: tuple[str, ...]
    credentials: bool

    def lines(self, origin: bytes | None) -> list[bytes]:
        """Field lines for a response to a request from that origin."""
        if origin is None:
            return [b"Vary: Origin"]
        text = origin.decode("latin-1")
        if "*" not in self.origins and text not in self.origins:
            return [b"Vary: Origin"]
        lines = [b"Access-Control-Allow-Origin: " + origin, b"Vary: Origin"]
        if self.credentials:
            lines.append(b"Access-Control-Allow-Credentials: true")
        return lines

    def preflight(self, origin: bytes, asked: bytes | None) -> list[bytes]:
        """Field lines of the answer to a preflight.

        Args:
            asked: its `Access-Control-Request-Headers`.
        """
        lines = self.lines(origin)
        if len(lines) == 1:
            return lines
        allowed = (
            (asked or b"authorization, content-type")
            if "*" in self.headers
            else (", ".join(self.headers).encode("latin-1"))
        )
        return [
            *lines,
            b"Access-Control-Allow-Methods: " + ", ".join(self.methods).encode("latin-1"),
            b"Access-Control-Allow-Headers: " + allowed,
            b"Access-Control-Max-Age: 600",
        ]


@define
class Plane:
    """The data plane's parts.

    Attributes:
        seconds: wall clock, epoch seconds: for records and rests.
        ticks: monotonic seconds: for durations and deadlines.
        record: takes an attempt's facts; never blocks.
        report: takes what was seen of a key; never blocks.
        waiting: who waits for a key.
        call_later: as the reactor's; for back-offs and held streams, never for a plain
            request.
        chance: a number from 0 to 1.
        resources: what each channel's API keeps for the key that made it.
        note_owner: takes who made what; never blocks.
        secret: signs the tickets of uploads; the same in all data planes.
        limit: how many exchanges may be under way at once.
    """

    routing: Routing
    providers: Mapping[str, IProvider]
    connections: ConnectionPool
    sweep: Sweep
    seconds: Callable[[], float]
    ticks: Callable[[], float]
    new_id: Callable[[], str]
    record: Callable[[AttemptRecord], None]
    report: Callable[[KeyEvent], None]
    waiting: WaitingRoom
    call_later: Callable[..., IDelayedCall]
    chance: Callable[[], float]
    resources: Mapping[str, Resources]
    note_owner: Callable[[OwnerNoted], None]
    secret: bytes
    cors: Cors | None
    limit: int
    under_way: int = 0
