"""A stream on its way to the client: held until its first word, then passed on as it comes.

The rule of this file: until the first event with content has been released, a stream
that fails is no stream at all, and can be tried again. From then on nothing is retried,
and a stream that breaks ends with an error event in its API's own form.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from twisted.internet.interfaces import IDelayedCall

from gptload.core.dialects import Sign
from gptload.core.stream import Opened, Opening, Tail
from gptload.core.usage import SEARCHED_BYTES, joined, said_first_in
from gptload.core.verdict import Answer
from gptload.proxy.answers import hidden
from gptload.wire.codec import ResponseHead
from gptload.wire.sweep import SECONDS
from gptload.wire.upstream import Trouble, UpstreamConnection, UpstreamFailure

if TYPE_CHECKING:
    from gptload.proxy.attempts import Attempt
    from gptload.proxy.exchange import Exchange


def is_event_stream(head: ResponseHead) -> bool:
    """Whether the answer says that it consists of events."""
    return head.content_type[:17].lower() == b"text/event-stream"


def _is_plain(head: ResponseHead | None) -> bool:
    return head is not None and head.coding in (b"", b"identity")


class StreamStart:
    """The sink of a stream's answer until what comes may be released."""

    __slots__ = ("_attempt", "_exchange", "_head", "_hold_s", "_opening", "_timer")

    def __init__(self, exchange: Exchange, attempt: Attempt, head: ResponseHead) -> None:
        settings = attempt.choice.group.settings
        self._exchange = exchange
        self._attempt = attempt
        self._head = head
        self._opening = Opening(exchange.provider.stream_sign)
        self._hold_s = settings.stream_hold_milliseconds / 1000
        self._timer: IDelayedCall | None = None
        # With a limit for the first event, an upstream that says nothing at all is
        # replaced at that limit; what it says is held no longer than anybody's.
        if not settings.first_token_timeout:
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
            self.stop()
            self._exchange.answer_erred(
                self._attempt, self._head, self._opening.error, self._opening.held, whole=False
            )

    def body_ended(self, last: bytes) -> None:
        self.stop()
        opening, attempt, exchange = self._opening, self._attempt, self._exchange
        attempt.connection = None
        opened = opening.feed(last) if last else Opened.WAIT
        if opened is Opened.WAIT:
            opened = opening.end()
        if opened is Opened.CONTENT:
            self._note_opening()
            exchange.begin_response(attempt, self._head)
            StreamRelay(exchange, attempt, None).body_ended(opening.held)
        elif opened is Opened.ERROR:
            exchange.answer_erred(attempt, self._head, opening.error, opening.held, whole=True)
        else:
            exchange.attempt_failed(attempt, UpstreamFailure(Trouble.EMPTY))

    def failed(self, failure: UpstreamFailure) -> None:
        self.stop()
        self._exchange.attempt_failed(self._attempt, failure)

    def sending_paused(self) -> None:
        self._exchange.downstream.pause_reading()

    def sending_resumed(self) -> None:
        self._exchange.downstream.resume_reading()

    def stop(self) -> None:
        """Nobody waits for it any more."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _set_timer(self) -> None:
        self._timer = self._exchange.plane.call_later(self._hold_s, self._held_long_enough)

    def _held_long_enough(self) -> None:
        self._timer = None
        self._release()

    def _note_opening(self) -> None:
        attempt, opening = self._attempt, self._opening
        if opening.heard:
            attempt.first_token = self._exchange.plane.ticks()
        # Anthropic says at the start what was put in, and at the end what came out.
        if _is_plain(self._head):
            attempt.usage = said_first_in(opening.held[:SEARCHED_BYTES])

    def _release(self) -> None:
        self.stop()
        self._note_opening()
        opening = self._opening
        listening = None if opening.heard else opening
        self._exchange.stream_opened(self._attempt, self._head, opening.released(), listening)


class StreamRelay:
    """Passes a released stream on: one write an event, and a look at its end.

    Args:
        connection: None when the whole stream has come already.

    Attributes:
        opening: listens on for the first content, of a stream that was released without;
            None for all others, and once it has been heard.
    """

    __slots__ = (
        "_attempt",
        "_connection",
        "_downstream",
        "_end",
        "_exchange",
        "_idle_s",
        "_secret",
        "_sweep",
        "_tail",
        "opening",
    )

    def __init__(
        self, exchange: Exchange, attempt: Attempt, connection: UpstreamConnection | None
    ) -> None:
        settings = attempt.choice.group.settings
        self.opening: Opening | None = None
        self._exchange = exchange
        self._attempt = attempt
        self._connection = connection
        self._downstream = exchange.downstream
        self._secret = attempt.choice.key.secret
        self._sweep = exchange.plane.sweep
        # The sweep's time may be that old: nobody is to be cut off too early.
        self._idle_s = (settings.stream_idle_timeout or inf) + SECONDS
        self._end = exchange.plane.ticks() + (settings.stream_timeout or inf)
        self._tail = Tail()
        self._alive()

    def head_received(self, head: ResponseHead) -> None:
        """The head was there before the relay was; its caller has passed it on."""

    def body_received(self, data: bytes) -> None:
        # Hot: once an event. All but the first ones pay a look at one slot for the time of
        # the first token.
        if self.opening is not None:
            self._listen(self.opening, data)
        self._tail.seen(data)
        deadline = self._sweep.now + self._idle_s
        self._exchange.deadline = deadline if deadline < self._end else self._end
        if self._secret in data:  # in an error, by an upstream that quotes it
            data = hidden(data, self._secret)
        self._downstream.write_body(data)

    def body_ended(self, last: bytes) -> None:
        """The stream is complete, as far as the connection knows."""
        exchange, attempt, tail = self._exchange, self._attempt, self._tail
        attempt.connection = None
        if last:
            if self.opening is not None:
                self._listen(self.opening, last)
            tail.seen(last)
            last = hidden(last, self._secret)
        self.note_usage()
        if attempt.recorded:
            pass  # an error that nobody could mend; it is passed on
        elif tail.is_empty:
            self.failed(UpstreamFailure(Trouble.EMPTY))
            return
        else:
            provider = exchange.provider
            events = tail.last_events()
            errors = [event for event in events if provider.stream_sign(event) is Sign.ERROR]
            if errors:
                answer = Answer(200, attempt.answer().fields, errors[0].data)
                exchange.answer_failed(attempt, answer)
            elif provider.stream_ended(events) or not self._downstream.can_grow:
                if events:
                    exchange.note_made(events[-1].data)
                exchange.succeeded(attempt)
            else:
                if last:
                    self._downstream.write_body(last)
                self.failed(UpstreamFailure(Trouble.BROKEN, "the stream has no end"))
                return
        self._downstream.end_response(last)
        exchange.finish()

    def failed(self, failure: UpstreamFailure) -> None:
        """It will never be complete: say so in its API's own form."""
        exchange, attempt = self._exchange, self._attempt
        attempt.connection = None
        if self._downstream.withdraw_response():
            exchange.attempt_failed(attempt, failure)
            return
        self.note_usage()
        exchange.answer_broke(attempt, failure)
        end = self._last_event()
        if end:
            self._downstream.write_body(end)
            self._downstream.end_response()
        else:
            self._downstream.abort_response()
        exchange.finish()

    def note_usage(self) -> None:
        """Keep what the stream has said of its tokens by now, however it ends."""
        attempt = self._attempt
        if _is_plain(attempt.head):
            attempt.usage = joined(attempt.usage, self._tail.usage())

    def sending_paused(self) -> None:
        self._downstream.pause_reading()

    def sending_resumed(self) -> None:
        self._downstream.resume_reading()

    def writing_paused(self) -> None:
        """The client is slow: read no more for it. Its own time-out watches over it now."""
        if self._connection is not None:
            self._connection.pause()
            self._exchange.deadline = self._end

    def writing_resumed(self) -> None:
        """The client has caught up."""
        if self._connection is not None:
            self._connection.resume()
            self._alive()

    def _listen(self, opening: Opening, data: bytes) -> None:
        if opening.listen(data):
            self.opening = None
            if opening.heard:
                self._attempt.first_token = self._exchange.plane.ticks()

    def _alive(self) -> None:
        self._exchange.deadline = min(self._sweep.now + self._idle_s, self._end)

    def _last_event(self) -> bytes:
        """An error event for the end of a broken stream; b"" where none can be read there."""
        head = self._attempt.head
        if (
            head is None
            or not self._downstream.can_grow
            or not is_event_stream(head)
            or not _is_plain(head)
        ):
            return b""
        boundary = self._tail.to_boundary()
        if boundary is None:
            return b""
        return boundary + self._exchange.provider.stream_error(
            502, "upstream_broken", "The upstream broke off in the middle of its stream"
        )
