"""The downstream protocol: keep-alive, pipelining, time-outs.

One request at a time: what a client sends ahead waits in a buffer, and past
`AHEAD_BYTES` it isn't read at all. What a request means is the sink's business;
this file knows bytes and their order.

Source: RFC 9112.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Final, Protocol

from attrs import frozen
from twisted.internet.interfaces import IAddress, IPushProducer, ITransport
from twisted.internet.protocol import Factory
from twisted.internet.protocol import Protocol as TwistedProtocol
from zope.interface import implementer

from gptload.wire import codec
from gptload.wire.codec import ChunkReader, CodecError, RequestHead
from gptload.wire.repeats import Repeats
from gptload.wire.socketoptions import send_at_once
from gptload.wire.sweep import Sweep

AHEAD_BYTES: Final = 64 * 1024
# An answer may come before the request's body has been read (413, 401). Closing with
# unread bytes resets the connection and may take the answer with it, so that much
# more is read and thrown away first.
DRAIN_BYTES: Final = 1024 * 1024
DRAIN_SECONDS: Final = 2.0

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class RequestSink(Protocol):
    """Who gets one request, and hears what becomes of its client."""

    def body_received(self, data: bytes) -> None:
        """A part of the request's body, unframed, never empty."""

    def body_ended(self, last: bytes) -> None:
        """The request is complete. Comes for a request without a body too.

        Args:
            last: the body's last part, maybe empty.
        """

    def client_gone(self) -> None:
        """The connection is lost and the response isn't complete."""

    def writing_paused(self) -> None:
        """The client reads more slowly than we write: stop."""

    def writing_resumed(self) -> None:
        """Go on writing."""


@frozen
class Timeouts:
    """Seconds. All measure progress, not a whole request: a slow upload that moves is fine.

    Attributes:
        read: between two pieces of one request; infinity for no limit.
        write: of a response that the client doesn't take.
        idle: between two requests.
    """

    read: float = 60.0
    write: float = 600.0
    idle: float = 120.0


class _Nobody:
    """Hears of a request that is over or was never understood."""

    def body_received(self, data: bytes) -> None:
        pass

    def body_ended(self, last: bytes) -> None:
        pass

    def client_gone(self) -> None:
        pass

    def writing_paused(self) -> None:
        pass

    def writing_resumed(self) -> None:
        pass


NOBODY: Final = _Nobody()


@implementer(IPushProducer)
class ServerConnection(TwistedProtocol):
    """One client's connection.

    Attributes:
        peer: the client's address as text; empty on a socket that has none.
        can_grow: no length was promised for the answer that has begun.
        deadline: see `gptload.wire.sweep.Timed`.
    """

    transport: ITransport

    def __init__(
        self,
        begin: Callable[[RequestHead, ServerConnection], RequestSink],
        refuse: Callable[[CodecError], bytes],
        read: Callable[[bytes], RequestHead],
        sweep: Sweep,
        timeouts: Timeouts,
        connections: set[ServerConnection],
    ) -> None:
        self._begin = begin
        self._read = read
        self._refuse = refuse
        self._sweep = sweep
        self._timeouts = timeouts
        self._connections = connections
        self._ahead = bytearray()
        self._sink: RequestSink = NOBODY
        self._head: RequestHead | None = None  # until its response has begun
        self._answered: RequestHead | None = None  # from then on
        self._body_left = 0  # of a content-length body
        self._chunks: ChunkReader | None = None
        self._request_open = False  # between a request's head and the end of its body
        self._response_open = False  # between a request's head and the end of its response
        self._pending = b""  # response head that waits for the first body bytes
        self._chunked = False
        self._bodyless = False
        self.can_grow = False
        self._keep_alive = True
        self._draining = 0
        self._closing = False
        self._advancing = False
        self._reading_paused = False
        self._writing_paused = False
        self._lost = False
        self.peer = ""
        self.deadline = inf

    # The transport's side.

    def connectionMade(self) -> None:
        self.peer = getattr(self.transport.getPeer(), "host", "")
        send_at_once(self.transport)
        self.transport.registerProducer(self, True)  # type: ignore[attr-defined]
        self._connections.add(self)
        self.deadline = self._sweep.now + self._timeouts.idle
        self._sweep.add(self)

    def dataReceived(self, data: bytes) -> None:
        # Hot: once a segment. The common case, one whole request in one segment on an
        # idle connection, copies nothing and goes straight through.
        if self._closing:
            return
        if self._request_open:
            self._body(data)
        elif self._response_open or self._ahead:
            self._ahead += data
            if len(self._ahead) > AHEAD_BYTES and self._response_open:
                self._pause_transport()
        else:
            self._request(data)
        if self._ahead and not (self._response_open or self._request_open):
            self._advance()

    def connectionLost(self, reason: object = None) -> None:
        self._lost = True
        self._connections.discard(self)
        self._sweep.discard(self)
        self._ahead.clear()
        sink, self._sink = self._sink, NOBODY
        if self._response_open:
            self._response_open = False
            sink.client_gone()

    # IPushProducer, for the transport: it calls these when its buffer fills and drains.

    def pauseProducing(self) -> None:
        self._writing_paused = True
        self.deadline = self._sweep.now + self._timeouts.write
        self._sink.writing_paused()

    def resumeProducing(self) -> None:
        self._writing_paused = False
        self.deadline = inf
        self._sink.writing_resumed()

    def stopProducing(self) -> None:
        """The transport is closing; `connectionLost` says the rest."""

    def deadline_passed(self) -> None:
        """Too slow, or idle for long enough."""
        if self._closing or (self._response_open and self._writing_paused):
            self.transport.abortConnection()  # type: ignore[attr-defined]
        elif self._request_open and not self._draining:
            self._reject(CodecError(408, "the request took too long to arrive"))
        else:
            self._close()

    # Requests.

    def _advance(self) -> None:
        """Take the requests that wait in the buffer, one after another."""
        if self._advancing:
            return  # a response that ends at once must not recurse
        self._advancing = True
        try:
            while self._ahead and not (self._response_open or self._request_open or self._closing):
                waiting = len(self._ahead)
                data = bytes(self._ahead)
                self._ahead.clear()
                self._request(data)
                if len(self._ahead) >= waiting and not self._response_open:
                    break  # an incomplete head
        finally:
            self._advancing = False
        if not self._response_open or len(self._ahead) <= AHEAD_BYTES:
            self._resume_transport()

    def _request(self, data: bytes) -> None:
        start = 0
        while data.startswith(b"\r\n", start):  # RFC 9112 §2.2: before a request line
            start += 2
        end = data.find(b"\r\n\r\n", start)
        if end < 0:
            if len(data) - start > codec.REQUEST_HEAD_LIMIT:
                self._reject(CodecError(431, "the request's head is too large"))
                return
            self._ahead[:] = data[start:]
            self.deadline = self._sweep.now + self._timeouts.read
            return
        try:
            if end - start > codec.REQUEST_HEAD_LIMIT:
                raise CodecError(431, "the request's head is too large")
            head = self._read(data[start:end])
        except CodecError as error:
            self._reject(error)
            return
        self._head = head
        self._keep_alive = head.keep_alive
        self._response_open = True
        self._body_left = head.content_length or 0
        self._chunks = ChunkReader() if head.chunked else None
        self._request_open = bool(self._body_left) or head.chunked
        self.deadline = self._sweep.now + self._timeouts.read if self._request_open else inf
        sink = self._begin(head, self)
        if self._response_open:
            self._sink = sink
        rest = data[end + 4 :]
        if self._request_open:
            if head.expects_continue and not rest and not self._response_begun():
                self.transport.write(_CONTINUE)
            if rest:
                self._body(rest)
        else:
            if rest:
                self._ahead += rest
            self._sink.body_ended(b"")

    def _body(self, data: bytes) -> None:
        if self._draining:
            self._drain(data)
            return
        if not self._reading_paused:
            self.deadline = self._sweep.now + self._timeouts.read
        chunks = self._chunks
        if chunks is None:
            left = self._body_left
            part = data if len(data) <= left else data[:left]
            self._body_left = left = left - len(part)
            ended = not left
            rest = data[len(part) :] if len(part) < len(data) else b""
        else:
            try:
                part = chunks.feed(data)
            except CodecError as error:
                self._reject(error)
                return
            ended, rest = chunks.ended, chunks.rest
        if ended:
            self._request_open = False
            self._chunks = None
            self.deadline = inf if self._response_open else self._sweep.now + self._timeouts.idle
            self._ahead += rest
        if ended:
            self._sink.body_ended(part)
        elif part:
            self._sink.body_received(part)

    def _drain(self, data: bytes) -> None:
        self._draining -= len(data)
        self._body_left -= len(data)
        if self._draining <= 0 or (self._chunks is None and self._body_left <= 0):
            self._close()

    def _reject(self, error: CodecError) -> None:
        """Answer what can't be understood, and close: who knows where the next request begins."""
        sink, self._sink = self._sink, NOBODY
        if self._response_open:
            self._response_open = False
            sink.client_gone()  # its request will never be complete
            if self._response_begun():
                self.transport.abortConnection()  # type: ignore[attr-defined]
                return
        self._request_open = False
        self._ahead.clear()
        self.transport.write(self._refuse(error))
        self._linger()

    # Responses: the sink's side.

    def _response_begun(self) -> bool:
        return self._head is None

    def begin_response(
        self, status: int, reason: bytes, fields: list[bytes], length: int | None
    ) -> None:
        """Start the answer; it goes out with its first body bytes, or at `flush_head`.

        Args:
            fields: whole lines without CRLF; no framing and no connection fields.
            length: of the body in bytes; None when nobody knows yet.
        """
        head = self._head
        assert head is not None, "a response without a request"
        self._bodyless = head.method == b"HEAD" or status in (204, 304)
        self._chunked = False
        self.can_grow = length is None and not self._bodyless
        framing = b""
        if length is not None:
            if status != 204:
                framing = b"Content-Length: %d\r\n" % length
        elif not self._bodyless:
            if head.minor:
                self._chunked = True
                framing = b"Transfer-Encoding: chunked\r\n"
            else:
                self._keep_alive = False
        if self._request_open and not self._can_finish_reading():
            self._keep_alive = False
        if not self._keep_alive:
            framing += b"Connection: close\r\n"
        elif not head.minor:
            framing += b"Connection: keep-alive\r\n"
        lines = b"\r\n".join(fields)
        self._pending = b"HTTP/1.1 %d %b\r\n%b%b%b\r\n" % (
            status,
            reason,
            lines,
            b"\r\n" if lines else b"",
            framing,
        )
        self._head, self._answered = None, head

    def flush_head(self) -> None:
        """Send the head now, if it still waits for body bytes."""
        if self._pending:
            pending, self._pending = self._pending, b""
            self.transport.write(pending)

    def withdraw_response(self) -> bool:
        """Take the head back, if it hasn't gone out; then another may be begun.

        Returns:
            Whether the client has seen nothing so far.
        """
        if self._answered is None or not self._pending:
            return False
        self._head, self._answered, self._pending = self._answered, None, b""
        return True

    def write_body(self, data: bytes) -> None:
        """Send a part of the body, with the head in front of the first one."""
        # Hot: one write an event.
        if self._bodyless:
            return
        if self._chunked:
            data = b"%b%x\r\n%b\r\n" % (self._pending, len(data), data)
        elif self._pending:
            data = self._pending + data
        self._pending = b""
        self.transport.write(data)

    def end_response(self, last: bytes = b"") -> None:
        """The answer is complete.

        Args:
            last: the rest of the body; given here, it shares a write with the end.
        """
        if self._lost:
            return
        pending, self._pending = self._pending, b""
        # Before the last write, which may fill the transport's buffer: nobody may be
        # paused for it, since nothing would ever resume them.
        self._response_open = False
        self._sink = NOBODY
        if self._bodyless:
            last = b""
        if self._chunked:
            chunk = b"%x\r\n%b\r\n" % (len(last), last) if last else b""
            self.transport.write(b"%b%b0\r\n\r\n" % (pending, chunk))
        elif pending or last:
            self.transport.write(pending + last)
        if self._reading_paused:
            self.resume_reading()  # to read the rest of the request and drop it
        if self._request_open and not self._can_finish_reading():
            self._keep_alive = False
        if not self._keep_alive:
            self._linger()
        elif not self._request_open:
            self.deadline = self._sweep.now + self._timeouts.idle
            if self._ahead:
                self._advance()

    def abort_response(self) -> None:
        """The answer can't be completed: the client must see that it is broken."""
        if self._lost:
            return
        self._response_open = False
        self._sink = NOBODY
        pending, self._pending = self._pending, b""
        if self._chunked:
            # What was relayed still arrives; the missing last chunk shows the break.
            if pending:
                self.transport.write(pending)
            self._close()
        else:
            self.transport.abortConnection()  # type: ignore[attr-defined]

    def pause_reading(self) -> None:
        """The request's body comes faster than its upstream takes it: stop."""
        self._reading_paused = True
        self.deadline = inf
        self._pause_transport()

    def resume_reading(self) -> None:
        """Go on reading the request's body."""
        self._reading_paused = False
        if self._request_open:
            self.deadline = self._sweep.now + self._timeouts.read
        self._resume_transport()

    @property
    def is_idle(self) -> bool:
        """No request is under way."""
        return not (self._response_open or self._request_open)

    def finish(self) -> None:
        """Close once the request under way has been answered; at once if there is none."""
        self._keep_alive = False
        if self.is_idle:
            self._close()

    # Closing.

    def _can_finish_reading(self) -> bool:
        """Whether the rest of the request's body is short enough to be read and dropped."""
        return self._chunks is None and self._body_left <= AHEAD_BYTES

    def _linger(self) -> None:
        if self._request_open and not self._lost:
            self._draining = DRAIN_BYTES
            self.deadline = self._sweep.now + DRAIN_SECONDS
            self._resume_transport()
        else:
            self._close()

    def _close(self) -> None:
        self._closing = True
        self.transport.unregisterProducer()  # type: ignore[attr-defined]
        self.transport.loseConnection()
        # A client that never takes the rest must not keep the socket for ever.
        self.deadline = self._sweep.now + self._timeouts.write

    def _pause_transport(self) -> None:
        self.transport.pauseProducing()  # type: ignore[attr-defined]

    def _resume_transport(self) -> None:
        if not (self._lost or self._closing or self._reading_paused):
            self.transport.resumeProducing()  # type: ignore[attr-defined]


class ServerFactory(Factory):
    """Makes a `ServerConnection` for each client.

    Attributes:
        connections: those that are open.
    """

    noisy = False

    def __init__(
        self,
        begin: Callable[[RequestHead, ServerConnection], RequestSink],
        refuse: Callable[[CodecError], bytes],
        sweep: Sweep,
        timeouts: Timeouts,
    ) -> None:
        self._begin = begin
        self._refuse = refuse
        self._sweep = sweep
        self._timeouts = timeouts
        self._read = Repeats().read
        self.connections: set[ServerConnection] = set()

    def buildProtocol(self, addr: IAddress | None) -> ServerConnection:
        return ServerConnection(
            self._begin,
            self._refuse,
            self._read,
            self._sweep,
            self._timeouts,
            self.connections,
        )
