"""One connection to one upstream. Carries one attempt at a time.

What arrives goes to the attempt's sink as plain calls: head, body parts, end, or a
failure that says how far we got, because that decides about a retry.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from math import inf
from typing import Final, Protocol

from attrs import frozen
from OpenSSL import SSL
from service_identity import VerificationError
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHandshakeListener, IPushProducer, ITransport
from twisted.internet.protocol import Protocol as TwistedProtocol
from zope.interface import implementer

from gptload.core.headers import OutgoingRequest
from gptload.core.settings import Settings
from gptload.core.snapshot import Upstream
from gptload.wire import codec
from gptload.wire.codec import ChunkReader, CodecError, ResponseHead
from gptload.wire.socketoptions import send_at_once

_ENDLESS: Final = -1  # a body that ends when the connection does


class Trouble(Enum):
    """Where an attempt broke."""

    CONNECT = "connection failed"
    TLS = "TLS failed"
    OUTBOUND_PROXY = "outbound proxy failed"
    CLOSED = "connection closed before an answer"
    GARBAGE = "the answer is not HTTP/1.1"
    BROKEN = "connection closed inside the answer"
    EMPTY = "the stream ended without an event"
    TIMEOUT = "time is up"


class UpstreamFailure(Exception):
    """An upstream gave no whole answer.

    Attributes:
        trouble: where it broke.
        detail: for the log only; may name addresses, never a key.
        stale: the connection had been used before and nothing at all came back on
            it, so the upstream has most likely closed it while it was idle.
    """

    def __init__(self, trouble: Trouble, detail: str = "", *, stale: bool = False) -> None:
        super().__init__(f"{trouble.value}: {detail}" if detail else trouble.value)
        self.trouble = trouble
        self.detail = detail
        self.stale = stale


class ResponseSink(Protocol):
    """Who gets one response."""

    def head_received(self, head: ResponseHead) -> None:
        """The final head; interim ones (1xx) never come here."""

    def body_received(self, data: bytes) -> None:
        """A part of the body, unframed, never empty."""

    def body_ended(self, last: bytes) -> None:
        """The response is complete. The connection is no longer the sink's.

        Args:
            last: the body's last part, maybe empty. It comes with the end so that
                both can share one write.
        """

    def failed(self, failure: UpstreamFailure) -> None:
        """It will never be complete. The connection is gone."""

    def sending_paused(self) -> None:
        """The upstream reads more slowly than we send: stop."""

    def sending_resumed(self) -> None:
        """Go on sending."""


@frozen
class IdleLimits:
    """How long and how many idle connections are kept; see the settings of these names."""

    timeout_s: float
    per_origin: int
    in_all: int

    @classmethod
    def of(cls, settings: Settings) -> IdleLimits:
        """What a group's settings allow."""
        return cls(
            settings.idle_conn_timeout, settings.max_idle_conns_per_host, settings.max_idle_conns
        )


class Idle(Protocol):
    """Where a connection goes between two attempts."""

    def release(self, connection: UpstreamConnection) -> None:
        """The connection is idle and sound."""

    def forget(self, connection: UpstreamConnection) -> None:
        """The connection is gone."""


def request_bytes(
    request: OutgoingRequest,
    upstream: Upstream,
    framing: bytes,
    body: bytes = b"",
    *,
    absolute: bool = False,
    proxy_credentials: bytes = b"",
) -> bytes:
    """A request as it goes on the wire.

    Args:
        framing: whole framing line with CRLF, or nothing for a request without a body.
        absolute: name the origin in the request line, for a plain HTTP proxy.
        proxy_credentials: `Proxy-Authorization` value towards that proxy.
    """
    target = request.target
    if absolute:
        target = b"http://%b%b" % (upstream.authority, target)
    if proxy_credentials:
        framing += b"Proxy-Authorization: %b\r\n" % proxy_credentials
    return b"%b %b HTTP/1.1\r\nHost: %b\r\n%b%b\r\n%b" % (
        request.method,
        target,
        request.host or upstream.authority,
        request.block,
        framing,
        body,
    )


@implementer(IPushProducer, IHandshakeListener)
class UpstreamConnection(TwistedProtocol):
    """A persistent HTTP/1.1 connection.

    Args:
        ready: called once, when a request may be begun (after the handshake, with
            TLS) or with the reason why that will never be.

    Attributes:
        uses: attempts begun on it so far.
        dead: lost; nobody may begin on it.
        limits: what its last user allows for its idle life.
        deadline: end of its idle life, monotonic seconds.
    """

    transport: ITransport

    def __init__(
        self, idle: Idle, ready: Callable[[UpstreamFailure | None], None], *, secure: bool
    ) -> None:
        self._idle = idle
        self._ready: Callable[[UpstreamFailure | None], None] | None = ready
        self._secure = secure
        self._sink: ResponseSink | None = None
        self._buffer = b""
        self._in_body = False
        self._left = 0
        self._chunks: ChunkReader | None = None
        self._is_head = False
        self._keep_alive = True
        self._sending = False  # the request isn't handed to the transport completely
        self._backed_up = False  # the transport's buffer is full of it
        self._received = False  # at least one byte of the response
        self._paused = False
        self.uses = 0
        self.dead = False
        self.limits = IdleLimits(0.0, 0, 0)
        self.deadline = inf

    def begin(
        self,
        request: bytes,
        sink: ResponseSink,
        *,
        is_head: bool,
        complete: bool,
        limits: IdleLimits,
    ) -> None:
        """Send a request. Only on an idle connection; the pool sees to that.

        Args:
            request: head, and as much of the body as there is, framed.
            is_head: its method is HEAD, so its answer has no body.
            complete: `request` is all of it; else `send` follows.
        """
        self.uses += 1
        self.limits = limits
        self.deadline = inf
        self._sink = sink
        self._is_head = is_head
        self._sending = not complete
        self._in_body = self._received = False
        self._keep_alive = True
        self.transport.write(request)

    def send(self, data: bytes, *, last: bool) -> None:
        """Send more of the request's body, framed."""
        if data:
            self.transport.write(data)
        if last:
            self._sending = False

    def pause(self) -> None:
        """Read no more of the response for now."""
        self._paused = True
        self.transport.pauseProducing()  # type: ignore[attr-defined]

    def resume(self) -> None:
        """Go on reading the response."""
        self._paused = False
        self.transport.resumeProducing()  # type: ignore[attr-defined]

    def hand_over(self, sink: ResponseSink) -> None:
        """From here on the response goes to another sink."""
        self._sink = sink

    def abort(self) -> None:
        """End it at once; the sink hears nothing more."""
        self._sink = None
        self.dead = True
        self.transport.abortConnection()  # type: ignore[attr-defined]

    # The transport's side.

    def connectionMade(self) -> None:
        send_at_once(self.transport)
        self.transport.registerProducer(self, True)  # type: ignore[attr-defined]
        if not self._secure:
            self.handshakeCompleted()

    def handshakeCompleted(self) -> None:
        """TLS is up and the certificate is the upstream's; without TLS, TCP is."""
        ready, self._ready = self._ready, None
        if ready is not None:
            ready(None)

    def dataReceived(self, data: bytes) -> None:
        # Hot: once a segment. No Deferred, log line or copy from here to the client;
        # benchmarks/RESULTS.md prices them.
        if self._sink is None:
            # Nobody asked: the answer to something else, or a farewell. Never reuse it.
            self.abort()
        elif self._in_body:
            self._body(data)
        else:
            self._head(data)

    def connectionLost(self, reason: object = None) -> None:
        self.dead = True
        self._idle.forget(self)
        ready, self._ready = self._ready, None
        if ready is not None:
            ready(UpstreamFailure(*cause_of(reason)))
        sink, self._sink = self._sink, None
        if sink is None:
            return
        endless = self._left == _ENDLESS and self._chunks is None
        if self._in_body and endless and isinstance(getattr(reason, "value", None), ConnectionDone):
            sink.body_ended(b"")
        elif self._in_body:
            sink.failed(UpstreamFailure(Trouble.BROKEN))
        else:
            trouble, detail = cause_of(reason)
            sink.failed(
                UpstreamFailure(trouble, detail, stale=self.uses > 1 and not self._received)
            )

    # IPushProducer, for the transport: its buffer of what we send fills and drains.

    def pauseProducing(self) -> None:
        self._backed_up = True
        if self._sink is not None:
            self._sink.sending_paused()

    def resumeProducing(self) -> None:
        self._backed_up = False
        if self._sink is not None:
            self._sink.sending_resumed()

    def stopProducing(self) -> None:
        """The transport is closing; `connectionLost` says the rest."""

    def deadline_passed(self) -> None:
        """Its idle life is over."""
        self.abort()

    # The response.

    def _head(self, data: bytes) -> None:
        self._received = True
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        while True:
            end = data.find(b"\r\n\r\n")
            if end < 0 or end > codec.RESPONSE_HEAD_LIMIT:
                if len(data) > codec.RESPONSE_HEAD_LIMIT:
                    self._fail(UpstreamFailure(Trouble.GARBAGE, "its head is too large"))
                else:
                    self._buffer = data
                return
            try:
                head = codec.parse_response_head(data[:end])
                if head.status == 101:
                    raise CodecError(502, "it switched protocols unasked")
            except CodecError as error:
                self._fail(UpstreamFailure(Trouble.GARBAGE, str(error)))
                return
            data = data[end + 4 :]
            if head.status >= 200:
                break
            if not data:
                return
        sink = self._sink
        assert sink is not None
        self._keep_alive = head.keep_alive
        self._chunks = None
        if self._is_head or head.status in (204, 304):
            self._left = 0
        elif head.chunked:
            self._chunks = ChunkReader()
            self._left = _ENDLESS
        elif head.content_length is not None:
            self._left = head.content_length
        else:
            self._left = _ENDLESS
            self._keep_alive = False
        self._in_body = True
        sink.head_received(head)
        if self._sink is None:
            return  # aborted by the sink
        if not self._left:
            self._end(b"", data)
        elif data:
            self._body(data)

    def _body(self, data: bytes) -> None:
        sink = self._sink
        assert sink is not None
        chunks = self._chunks
        if chunks is not None:
            try:
                part = chunks.feed(data)
            except CodecError as error:
                self._fail(UpstreamFailure(Trouble.BROKEN, str(error)))
                return
            if chunks.ended:
                self._end(part, chunks.rest)
            elif part:
                sink.body_received(part)
        elif self._left == _ENDLESS:
            sink.body_received(data)
        else:
            left = self._left
            if len(data) < left:
                self._left = left - len(data)
                sink.body_received(data)
            elif len(data) == left:
                self._end(data, b"")
            else:
                self._end(data[:left], data[left:])

    def _end(self, last: bytes, rest: bytes) -> None:
        sink, self._sink = self._sink, None
        assert sink is not None
        self._in_body = False
        self._chunks = None
        if rest or self._sending or self._backed_up or not self._keep_alive:
            # Bytes past the end, or an answer before we had sent everything: nobody
            # can say any more where the next answer would begin.
            self.abort()
        else:
            if self._paused:
                # A response may end while its client is slow. Put back so, the
                # connection would never read again and its next user would hang.
                self.resume()
            self._idle.release(self)
        sink.body_ended(last)

    def _fail(self, failure: UpstreamFailure) -> None:
        sink = self._sink
        self.abort()
        if sink is not None:
            sink.failed(failure)


def cause_of(reason: object) -> tuple[Trouble, str]:
    """What a connection's end says about its cause, in words without addresses."""
    value = getattr(reason, "value", None)
    if isinstance(value, SSL.Error):
        return Trouble.TLS, _tls_words(value)
    if isinstance(value, VerificationError):
        return Trouble.TLS, "the certificate is for another host"
    return Trouble.CLOSED, type(value).__name__ if value is not None else ""


def _tls_words(error: SSL.Error) -> str:
    """OpenSSL's own words, e.g. `certificate verify failed`."""
    stack = error.args[0] if error.args else None
    if isinstance(stack, list):
        return "; ".join(str(part[-1]) for part in stack if part)
    return str(error) or type(error).__name__
