"""One attempt: one key, one upstream, one upstream response.

An attempt doesn't decide what its ending means for the client; it tells its
exchange how far it got, and what the upstream said.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from gptload.core.headers import OutgoingRequest, value_of
from gptload.core.keystate import State
from gptload.core.verdict import Answer
from gptload.proxy.outgoing import follow, header_rules, signed
from gptload.proxy.routing import Choice
from gptload.wire.codec import LAST_CHUNK, ResponseHead, chunk
from gptload.wire.upstream import (
    UpstreamConnection,
    UpstreamFailure,
    request_bytes,
)

if TYPE_CHECKING:
    from gptload.proxy.exchange import Exchange

# Of an error body, this much is read before it is judged; what is longer than this
# and goes to the client is relayed as it comes.
ERROR_BYTES: Final = 64 * 1024


class Attempt:
    """Sends the request once and takes the answer's head, and an error's body.

    Attributes:
        began: monotonic seconds of its begin.
        connected_at: monotonic seconds of when it had a connection; None until then.
        first_byte: of the response's head; None until it came.
        first_token: of a stream's first event with content; None until one was seen.
        status: of the response; None until it came.
        error: the error body as far as it has been read.
        generation: of its way when it began; see `gptload.core.breaker`.
        recorded: its record has been made.
        usage: what the answer has said of its tokens; see `gptload.core.usage`.
    """

    __slots__ = (
        "_body",
        "_exchange",
        "_give_up",
        "_path",
        "began",
        "choice",
        "connected_at",
        "connection",
        "error",
        "first_byte",
        "first_token",
        "generation",
        "head",
        "recorded",
        "status",
        "usage",
    )

    def __init__(self, exchange: Exchange, choice: Choice) -> None:
        self._exchange = exchange
        self._give_up: Callable[[], None] | None = None
        self._path = b""
        self._body = b""
        self.choice = choice
        self.began = exchange.plane.ticks()
        self.connected_at: float | None = None
        self.first_byte: float | None = None
        self.first_token: float | None = None
        self.head: ResponseHead | None = None
        self.status: int | None = None
        self.connection: UpstreamConnection | None = None
        self.error = b""
        self.generation = 0
        self.recorded = False
        self.usage = b""

    def start(self) -> None:
        """Apply the group's rules and get a connection; `connected` goes on.

        Raises:
            BadRequest: a rule of the group forbids the request.
        """
        exchange, choice = self._exchange, self.choice
        self._path, self._body = exchange.request.towards(choice.group)
        self.generation = choice.destination.way.trying(
            exchange.request.model, exchange.plane.seconds()
        )
        self._acquire(fresh=False)

    def _acquire(self, *, fresh: bool) -> None:
        exchange = self._exchange
        timeout_s = self.choice.group.settings.connect_timeout
        # The connector keeps this time itself, exactly; the sweep only stands behind it.
        exchange.await_until(exchange.plane.ticks() + timeout_s + 2.0)
        self._give_up = exchange.plane.connections.acquire(
            self.choice.destination.route, self, timeout_s, fresh=fresh
        )

    def cancel(self) -> None:
        """End it at once; nobody hears of it any more."""
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.abort()
        elif self._give_up is not None:
            self._give_up()

    def send(self, data: bytes, *, last: bool) -> None:
        """Pass on more of a request body that isn't kept."""
        connection = self.connection
        if connection is None:
            return
        if self._exchange.request.head.content_length is None:
            data = chunk(data) + LAST_CHUNK if last else chunk(data)
        connection.send(data, last=last)
        if last:
            self._request_sent()

    def answer(self) -> Answer:
        """The error as far as it has been read, for judging it."""
        assert self.head is not None
        return Answer(
            self.head.status,
            [(field[0].lower, value_of(field)) for field in self.head.fields],
            self.error,
        )

    # The connection pool's side.

    def connected(self, connection: UpstreamConnection) -> None:
        exchange = self._exchange
        client = exchange.request
        key, group = self.choice.key, self.choice.group
        if (
            key.state is not State.ACTIVE
            or client.model in key.rests
            or exchange.plane.routing.key(group.id, key.id) is not key
        ):
            # While we connected, somebody has learnt that it must rest, or removed it.
            connection.limits = self.choice.destination.limits
            exchange.plane.connections.release(connection)
            exchange.key_went()
            return
        self.connection = connection
        self.connected_at = exchange.plane.ticks()
        destination = self.choice.destination
        complete, body = True, self._body
        length: int | None = len(body)
        if not client.kept:
            body, complete = client.take(), client.whole
            length = client.head.content_length
        framing = b""
        if length is None:
            framing = b"Transfer-Encoding: chunked\r\n"
            body = chunk(body) + LAST_CHUNK if complete else chunk(body)
        elif length or client.head.content_length is not None or client.head.chunked:
            framing = b"Content-Length: %d\r\n" % length
        wire = request_bytes(
            self._request(),
            destination.upstream,
            framing,
            body,
            absolute=destination.absolute,
            proxy_credentials=destination.proxy_credentials,
        )
        if complete:
            self._request_sent()
        connection.begin(
            wire,
            self,
            is_head=client.head.method == b"HEAD",
            complete=complete,
            limits=destination.limits,
        )
        if not complete:
            exchange.downstream.resume_reading()

    def connect_failed(self, failure: UpstreamFailure) -> None:
        self._exchange.attempt_failed(self, failure)

    # The upstream's side.

    def head_received(self, head: ResponseHead) -> None:
        self.first_byte = self._exchange.plane.ticks()
        self.head = head
        self.status = head.status
        if head.status < 400 and not self._exchange.request.is_page(head):
            self._exchange.attempt_answered(self, head)

    def body_received(self, data: bytes) -> None:
        self.error += data
        if len(self.error) > ERROR_BYTES:
            self._exchange.attempt_refused(self, complete=False)

    def body_ended(self, last: bytes) -> None:
        self.connection = None
        self.error += last
        self._exchange.attempt_refused(self, complete=True)

    def failed(self, failure: UpstreamFailure) -> None:
        self.connection = None
        if failure.stale and self._exchange.request.can_repeat:
            # The upstream closed a kept connection while we wrote on it. That is no
            # attempt: the same key goes out again on a fresh one.
            self._acquire(fresh=True)
        else:
            self._exchange.attempt_failed(self, failure)

    def sending_paused(self) -> None:
        self._exchange.downstream.pause_reading()

    def sending_resumed(self) -> None:
        self._exchange.downstream.resume_reading()

    # The request.

    def _request_sent(self) -> None:
        exchange = self._exchange
        limit_s = self.choice.group.settings.response_header_timeout
        exchange.await_until(exchange.plane.ticks() + limit_s)

    def _request(self) -> OutgoingRequest:
        exchange, choice = self._exchange, self.choice
        client = exchange.request
        request = signed(exchange.provider, client, choice, self._path)
        rules = header_rules(client.entry, choice.group)
        if rules:
            follow(request, rules, choice, exchange.downstream.peer, exchange.plane.seconds())
        return request
