"""A body on its way from an upstream to a client, with back-pressure.

Each part goes out as it comes in: one write an event, no copy, nothing kept.
"""

from __future__ import annotations

from collections.abc import Callable

from gptload.wire.codec import ResponseHead
from gptload.wire.server import ServerConnection
from gptload.wire.upstream import UpstreamConnection, UpstreamFailure


class Relay:
    """Moves one response. The sink of an upstream, and what a slow client pauses.

    Args:
        completed: called once the upstream's response is complete and before its last
            bytes go to the client: who has the whole answer has left a trace.
        broken: called once if it never will be. What the client is to see of that is
            the caller's decision.
    """

    __slots__ = (
        "_broken",
        "_completed",
        "_connection",
        "_downstream",
        "moved_bytes",
    )

    def __init__(
        self,
        downstream: ServerConnection,
        connection: UpstreamConnection,
        completed: Callable[[], None],
        broken: Callable[[UpstreamFailure], None],
    ) -> None:
        self._downstream = downstream
        self._connection = connection
        self._completed = completed
        self._broken = broken
        self.moved_bytes = 0

    def head_received(self, head: ResponseHead) -> None:
        """The head was there before the relay was; its caller has passed it on."""

    def body_received(self, data: bytes) -> None:
        # Hot: once a segment.
        self.moved_bytes += len(data)
        self._downstream.write_body(data)

    def body_ended(self, last: bytes) -> None:
        self.moved_bytes += len(last)
        self._completed()
        self._downstream.end_response(last)

    def failed(self, failure: UpstreamFailure) -> None:
        self._broken(failure)

    def sending_paused(self) -> None:
        self._downstream.pause_reading()

    def sending_resumed(self) -> None:
        self._downstream.resume_reading()

    def writing_paused(self) -> None:
        """The client is slow: read no more for it."""
        self._connection.pause()

    def writing_resumed(self) -> None:
        """The client has caught up."""
        self._connection.resume()
