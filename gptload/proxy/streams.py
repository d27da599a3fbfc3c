"""A stream on its way to the client: held until its first word, then passed on as it comes.

The rule of this file: until the first event with content has been released, a stream
that fails is no stream at all, and can be tried again. From then on nothing is retried,
and a stream that breaks ends with an error event in its API's own form.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from twisted.internet.interfaces import IDelayedCall

from gptload.core.stream import Opened, Opening, Tail
from gptload.wire.codec import ResponseHead
from gptload.wire.server import ServerConnection
from gptload.wire.sweep import SECONDS
from gptload.wire.upstream import Trouble, UpstreamConnection, UpstreamFailure

if TYPE_CHECKING:
    from gptload.proxy.attempts import Attempt
    from gptload.proxy.exchange import Exchange


class StreamStart:
    """The sink of a stream's answer until what comes may be released."""

    __slots__ = ("_attempt", "_exchange", "_head", "_hold_s", "_opening", "_timer", "_waits_long")

    def __init__(self, exchange: Exchange, attempt: Attempt, head: ResponseHead) -> None:
        settings = attempt.choice.group.settings
        self._exchange = exchange
        self._attempt = attempt
        self._head = head
        self._opening = Opening(exchange.provider.stream_sign)
        self._hold_s = settings.stream_hold_milliseconds / 1000
        # With a limit for the first event, an upstream that says nothing at all is
        # replaced at that limit; what it says is held no longer than anybody's.
        self._waits_long = settings.first_token_timeout > 0
        self._timer: IDelayedCall | None = None
        if not self._waits_long:
            self._set_timer()

    def head_received(self, head: ResponseHead) -> None:
        """It came before."""

    def body_received(self, data: bytes) -> None:
        opened = self._opening.feed(data)
        if opened is Opened.WAIT:
            if not self._hold_s:
                self._release()
            elif self._timer is None:
                self._set_timer()
        elif opened is Opened.CONTENT:
            self._release()
        else:
            self._stop_timer()
            self._exchange.stream_erred(
                self._attempt, self._head, self._opening.error, self._opening.held, whole=False
            )

    def body_ended(self, last: bytes) -> None:
        self._stop_timer()
        opening, attempt = self._opening, self._attempt
        attempt.connection = None
        opened = opening.feed(last) if last else Opened.WAIT
        if opened is Opened.WAIT:
            opened = opening.end()
        if opened is Opened.CONTENT:
            self._exchange.stream_was_short(attempt, self._head, opening.held)
        elif opened is Opened.ERROR:
            self._exchange.stream_erred(
                attempt, self._head, opening.error, opening.held, whole=True
            )
        else:
            self._exchange.attempt_failed(attempt, UpstreamFailure(Trouble.EMPTY))

    def failed(self, failure: UpstreamFailure) -> None:
        self._stop_timer()
        self._exchange.attempt_failed(self._attempt, failure)

    def sending_paused(self) -> None:
        self._exchange.downstream.pause_reading()

    def sending_resumed(self) -> None:
        self._exchange.downstream.resume_reading()

    def stop(self) -> None:
        """Nobody waits for it any more."""
        self._stop_timer()

    def _set_timer(self) -> None:
        self._timer = self._exchange.plane.call_later(self._hold_s, self._held_long_enough)

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _held_long_enough(self) -> None:
        self._timer = None
        self._release()

    def _release(self) -> None:
        self._stop_timer()
        self._exchange.stream_opened(self._attempt, self._head, self._opening.held)


class StreamRelay:
    """Passes a released stream on: one write an event, and a look at its end."""

    __slots__ = ("_connection", "_downstream", "_end", "_exchange", "_idle_s", "_sweep", "tail")

    def __init__(
        self, exchange: Exchange, downstream: ServerConnection, connection: UpstreamConnection
    ) -> None:
        settings = exchange.request.entry.settings
        self._exchange = exchange
        self._downstream = downstream
        self._connection = connection
        self._sweep = exchange.plane.sweep
        # The sweep's time may be that old: nobody is to be cut off too early.
        self._idle_s = (settings.stream_idle_timeout or inf) + SECONDS
        total_s = settings.stream_timeout or inf
        self._end = exchange.plane.ticks() + total_s
        self.tail = Tail()
        self._alive()

    def head_received(self, head: ResponseHead) -> None:
        """The head was there before the relay was; its caller has passed it on."""

    def body_received(self, data: bytes) -> None:
        # Hot: once an event.
        self.tail.seen(data)
        deadline = self._sweep.now + self._idle_s
        self._exchange.deadline = deadline if deadline < self._end else self._end
        self._downstream.write_body(data)

    def body_ended(self, last: bytes) -> None:
        if last:
            self.tail.seen(last)
        self._exchange.stream_ended(self.tail, last)

    def failed(self, failure: UpstreamFailure) -> None:
        self._exchange.stream_broke(self.tail, failure)

    def sending_paused(self) -> None:
        self._downstream.pause_reading()

    def sending_resumed(self) -> None:
        self._downstream.resume_reading()

    def writing_paused(self) -> None:
        """The client is slow: read no more for it. Its own time-out watches over it now."""
        self._connection.pause()
        self._exchange.deadline = self._end

    def writing_resumed(self) -> None:
        """The client has caught up."""
        self._connection.resume()
        self._alive()

    def _alive(self) -> None:
        self._exchange.deadline = min(self._sweep.now + self._idle_s, self._end)
