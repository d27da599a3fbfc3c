"""One connection to an upstream, as a conversation: bytes in, calls out."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from OpenSSL import SSL
from service_identity import VerificationError
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from gptload.core.headers import OutgoingRequest
from gptload.core.paths import parse_upstream
from gptload.wire.codec import RESPONSE_HEAD_LIMIT, ResponseHead
from gptload.wire.upstream import (
    IdleLimits,
    Trouble,
    UpstreamConnection,
    UpstreamFailure,
    request_bytes,
)

REQUEST = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


class Sink:
    """Notes what it hears of one response.

    Attributes:
        during: run at each call that isn't the end, with the call's name.
    """

    def __init__(self, during: Callable[[str], None] | None = None) -> None:
        self.heads: list[ResponseHead] = []
        self.body = b""
        self.ended = False
        self.failure: UpstreamFailure | None = None
        self.heard: list[str] = []
        self.during = during or (lambda call: None)

    def head_received(self, head: ResponseHead) -> None:
        self.heads.append(head)
        self.during("head")

    def body_received(self, data: bytes) -> None:
        assert data, "an empty part"
        self.body += data
        self.during("body")

    def body_ended(self, last: bytes) -> None:
        assert not self.ended, "a second end"
        self.body += last
        self.ended = True

    def failed(self, failure: UpstreamFailure) -> None:
        assert not self.ended, "a failure after the end"
        self.failure = failure

    def sending_paused(self) -> None:
        self.heard.append("paused")

    def sending_resumed(self) -> None:
        self.heard.append("resumed")

    @property
    def statuses(self) -> list[int]:
        return [head.status for head in self.heads]

    @property
    def trouble(self) -> Trouble | None:
        return self.failure.trouble if self.failure is not None else None


class Talk:
    """One connection, the upstream at its other end, and the pool behind it."""

    def __init__(self, *, secure: bool = False) -> None:
        self.calls: list[str] = []
        self.ready: list[UpstreamFailure | None] = []
        self.connection = UpstreamConnection(self, self.ready.append, secure=secure)
        self.transport = StringTransport()
        self.connection.makeConnection(self.transport)

    def release(self, connection: UpstreamConnection) -> None:
        self.calls.append("released")

    def forget(self, connection: UpstreamConnection) -> None:
        self.calls.append("forgotten")

    def asks(
        self, sink: Sink | None = None, *, is_head: bool = False, complete: bool = True
    ) -> Sink:
        sink = sink or Sink()
        limits = IdleLimits(60.0, 5, 5)
        self.connection.begin(REQUEST, sink, is_head=is_head, complete=complete, limits=limits)
        return sink

    def says(self, data: bytes) -> None:
        self.connection.dataReceived(data)

    def closes(self, error: Exception | None = None) -> None:
        self.transport.connected = False
        self.connection.connectionLost(Failure(error or ConnectionDone()))

    @property
    def kept(self) -> bool:
        """In the pool and fit for the next request."""
        return self.calls == ["released"] and not self.connection.dead

    @property
    def aborted(self) -> bool:
        return self.connection.dead and self.transport.disconnected and self.calls == []


# Each way to frame an answer: its bytes after the status line, its body, whether the
# connection can be used again.
FRAMINGS = {
    "content-length": (b"Content-Length: 5\r\n\r\nhello", b"hello", True),
    "empty": (b"Content-Length: 0\r\n\r\n", b"", True),
    "chunked": (
        b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\nX: t\r\n\r\n",
        b"hello",
        True,
    ),
    "empty and chunked": (b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"", True),
    "until the connection ends": (b"X: y\r\n\r\nhello", b"hello", False),
    "nothing until the connection ends": (b"\r\n", b"", False),
    "closing": (b"Connection: close\r\nContent-Length: 5\r\n\r\nhello", b"hello", False),
}
INTERIM = [
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 102 Processing\r\nX: y\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\nContent-Length: 9\r\n\r\n",
]


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_each_framing_has_its_body_and_its_end(framing: str, size: int) -> None:
    wire, body, reusable = FRAMINGS[framing]
    wire = b"HTTP/1.1 200 OK\r\n" + wire
    talk = Talk()
    sink = talk.asks()
    for start in range(0, len(wire), size):
        talk.says(wire[start : start + size])
    if "until" in framing:
        assert not sink.ended
        talk.closes()
        assert sink.ended and talk.calls == ["forgotten"]
    else:
        assert sink.ended and talk.kept == reusable and talk.aborted != reusable
    assert (sink.statuses, sink.body, sink.failure) == ([200], body, None)


@given(
    interim=st.lists(st.sampled_from(INTERIM), max_size=3),
    framing=st.sampled_from(sorted(FRAMINGS)),
    beyond=st.sampled_from([b"", b"!", OK]),
    places=st.lists(st.integers(0, 2000), max_size=12),
)
def test_any_split_of_an_answer_into_packets_gives_the_same_calls(
    interim: list[bytes], framing: str, beyond: bytes, places: list[int]
) -> None:
    rest, body, reusable = FRAMINGS[framing]
    until_close = "until" in framing
    wire = b"".join(interim) + b"HTTP/1.1 200 OK\r\n" + rest + beyond
    talk = Talk()
    sink = talk.asks()
    edges = [0, *sorted({place % (len(wire) + 1) for place in places}), len(wire)]
    for start, end in zip(edges, edges[1:], strict=False):
        if start < end:
            talk.says(wire[start:end])
    if until_close:
        talk.closes()
        body += beyond
    assert (sink.statuses, sink.body, sink.ended) == ([200], body, True)
    assert talk.connection.dead == bool(beyond or not reusable)


@pytest.mark.parametrize(
    ("status", "is_head"), [(204, False), (304, False), (200, True), (404, True)]
)
@pytest.mark.parametrize(
    "framing", [b"Content-Length: 42\r\n", b"Transfer-Encoding: chunked\r\n", b""]
)
def test_some_answers_have_no_body_whatever_their_fields_say(
    status: int, is_head: bool, framing: bytes
) -> None:
    talk = Talk()
    sink = talk.asks(is_head=is_head)
    talk.says(b"HTTP/1.1 %d X\r\n%b\r\n" % (status, framing))
    assert sink.ended and sink.body == b"" and talk.kept
    second = talk.asks()
    talk.says(OK)
    assert second.body == b"hi"


def test_interim_answers_are_nobodys_business() -> None:
    talk = Talk()
    sink = talk.asks()
    talk.says(INTERIM[0])
    talk.says(INTERIM[2] + INTERIM[1] + OK)
    assert sink.statuses == [200] and sink.body == b"hi" and talk.kept


def test_one_connection_carries_one_answer_after_another() -> None:
    talk = Talk()
    for number in range(3):
        sink = talk.asks()
        talk.says(OK.replace(b"hi", b"%02d" % number))
        assert sink.ended and sink.body == b"%02d" % number
    assert talk.calls == ["released"] * 3
    assert talk.transport.value() == REQUEST * 3 and talk.connection.uses == 3


def test_an_old_servers_connection_is_not_kept() -> None:
    talk = Talk()
    sink = talk.asks()
    talk.says(OK.replace(b"HTTP/1.1", b"HTTP/1.0"))
    assert sink.ended and sink.body == b"hi" and talk.aborted


# When a connection must not be used again.


def test_bytes_past_the_end_spoil_the_connection_not_the_answer() -> None:
    talk = Talk()
    sink = talk.asks()
    talk.says(OK + OK)
    assert sink.ended and sink.body == b"hi" and talk.aborted


def test_an_answer_before_the_request_was_sent_spoils_the_connection() -> None:
    talk = Talk()
    sink = talk.asks(complete=False)
    talk.connection.send(b"part", last=False)
    talk.says(OK)
    assert sink.ended and sink.body == b"hi" and talk.aborted


def test_an_answer_while_the_request_waits_in_our_buffer_spoils_it_too() -> None:
    """Who answers without reading may never read; the next request would wait behind this one."""
    talk = Talk()
    sink = talk.asks()
    talk.connection.pauseProducing()
    talk.says(OK)
    assert sink.ended and talk.aborted
    drained = Talk()
    drained.asks()
    drained.connection.pauseProducing()
    drained.connection.resumeProducing()
    drained.says(OK)
    assert drained.kept


def test_a_request_that_was_sent_in_parts_keeps_its_connection() -> None:
    talk = Talk()
    sink = talk.asks(complete=False)
    talk.connection.send(b"one", last=False)
    talk.connection.send(b"two", last=True)
    talk.says(OK)
    assert sink.ended and talk.kept
    assert talk.transport.value() == REQUEST + b"onetwo"


def test_bytes_that_nobody_asked_for_end_an_idle_connection() -> None:
    talk = Talk()
    talk.asks()
    talk.says(OK)
    talk.says(b"HTTP/1.1 408 Request Timeout\r\n\r\n")
    assert talk.connection.dead and talk.transport.disconnected
    unused = Talk()
    unused.says(b"220 mail ready\r\n")
    assert unused.aborted


def test_an_answer_that_ends_while_paused_leaves_a_connection_that_reads() -> None:
    """Found by hanging: put back paused, it never read again."""
    talk = Talk()
    sink = talk.asks()
    talk.says(OK[:-1])
    talk.connection.pause()
    assert talk.transport.producerState == "paused"
    talk.says(OK[-1:])  # had been read before the pause
    assert sink.ended and talk.kept and talk.transport.producerState == "producing"


# Answers that break.


def test_a_used_connection_that_closes_unread_was_stale() -> None:
    talk = Talk()
    first = talk.asks()
    talk.says(OK)
    second = talk.asks()
    talk.closes()
    assert first.ended and first.failure is None
    assert second.failure is not None and second.failure.stale
    assert second.trouble is Trouble.CLOSED and talk.calls == ["released", "forgotten"]


def test_a_new_connection_or_one_that_began_to_answer_is_not_stale() -> None:
    new = Talk()
    sink = new.asks()
    new.closes()
    assert sink.failure is not None and not sink.failure.stale
    begun = Talk()
    begun.asks()
    begun.says(OK)
    sink = begun.asks()
    begun.says(b"H")
    begun.closes(ConnectionLost())
    assert sink.failure is not None and not sink.failure.stale
    assert sink.trouble is Trouble.CLOSED


@pytest.mark.parametrize(
    ("wire", "error"),
    [
        (b"Content-Length: 5\r\n\r\nhell", ConnectionDone()),
        (b"Content-Length: 5\r\n\r\n", ConnectionLost()),
        (b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", ConnectionDone()),
        (b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n", ConnectionDone()),
        (b"\r\nhello", ConnectionLost()),
    ],
)
def test_a_body_that_lacks_its_end_is_broken(wire: bytes, error: Exception) -> None:
    talk = Talk()
    sink = talk.asks()
    talk.says(b"HTTP/1.1 200 OK\r\n" + wire)
    talk.closes(error)
    assert sink.trouble is Trouble.BROKEN and not sink.ended
    assert b"hello".startswith(sink.body) and talk.calls == ["forgotten"]


def test_broken_chunks_are_a_broken_body() -> None:
    talk = Talk()
    sink = talk.asks()
    talk.says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n")
    talk.says(b"xyz\r\n")
    assert sink.body == b"he" and sink.trouble is Trouble.BROKEN and talk.aborted
    talk.closes()
    assert not sink.ended


@pytest.mark.parametrize(
    "wire",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"\x15\x03\x03\x00\x02\x02\x46\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 2x0 OK\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nrubbish\r\n\r\n",
    ],
)
def test_what_is_no_answer_is_garbage(wire: bytes) -> None:
    talk = Talk()
    sink = talk.asks()
    talk.says(wire)
    assert sink.trouble is Trouble.GARBAGE and sink.heads == [] and talk.aborted


@pytest.mark.parametrize("end", [b"", b"\r\n\r\n"])
def test_an_endless_head_is_given_up(end: bytes) -> None:
    talk = Talk()
    sink = talk.asks()
    talk.says(b"HTTP/1.1 200 OK\r\n")
    for _ in range(RESPONSE_HEAD_LIMIT // 65_536):
        assert sink.failure is None
        talk.says(b"X: %b\r\n" % (b"x" * 65_531))
    talk.says(end)
    assert sink.trouble is Trouble.GARBAGE and talk.aborted


def test_after_an_abort_the_sink_hears_nothing() -> None:
    talk = Talk()
    sink = talk.asks()
    talk.says(OK[:-1])
    talk.connection.abort()
    talk.says(OK[-1:])
    talk.closes()
    assert not sink.ended and sink.failure is None and talk.calls == ["forgotten"]


@pytest.mark.parametrize("when", ["head", "body"])
def test_a_sink_may_abort_in_the_middle_of_a_call(when: str) -> None:
    talk = Talk()
    sink = Sink(lambda call: talk.connection.abort() if call == when else None)
    talk.asks(sink)
    talk.says(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nsome")
    assert talk.aborted and sink.body == (b"" if when == "head" else b"some")


def test_a_sink_may_hand_the_body_over_when_it_has_the_head() -> None:
    talk = Talk()
    body = Sink()
    head = Sink(lambda call: talk.connection.hand_over(body))
    talk.asks(head)
    talk.says(OK)
    assert head.statuses == [200] and head.body == b"" and not head.ended
    assert body.heads == [] and body.body == b"hi" and body.ended


# Back-pressure.


def test_pausing_and_resuming_reaches_the_transport() -> None:
    talk = Talk()
    talk.asks()
    talk.connection.pause()
    assert talk.transport.producerState == "paused"
    talk.connection.resume()
    assert talk.transport.producerState == "producing"


def test_an_upstream_that_reads_slowly_pauses_the_sender() -> None:
    talk = Talk()
    assert talk.transport.producer is talk.connection and talk.transport.streaming
    sink = talk.asks(complete=False)
    talk.connection.pauseProducing()
    talk.connection.resumeProducing()
    assert sink.heard == ["paused", "resumed"]
    idle = Talk()
    idle.connection.pauseProducing()
    idle.connection.resumeProducing()  # nobody is there to be told
    idle.connection.stopProducing()
    assert not idle.connection.dead


# Getting ready.


def test_ready_is_said_once_after_tcp_or_after_tls() -> None:
    plain = Talk()
    assert plain.ready == [None]
    secure = Talk(secure=True)
    assert secure.ready == []
    secure.connection.handshakeCompleted()
    secure.closes()
    assert secure.ready == [None]


@pytest.mark.parametrize(
    ("error", "trouble", "words"),
    [
        (ConnectionLost(), Trouble.CLOSED, "ConnectionLost"),
        (SSL.Error([("ssl", "f", "certificate verify failed")]), Trouble.TLS, "verify failed"),
        (SSL.Error(), Trouble.TLS, "Error"),
        (VerificationError(errors=[]), Trouble.TLS, "another host"),
    ],
)
def test_a_handshake_that_fails_says_why(error: Exception, trouble: Trouble, words: str) -> None:
    talk = Talk(secure=True)
    talk.closes(error)
    (failure,) = talk.ready
    assert failure is not None and failure.trouble is trouble and words in str(failure)


# What goes out.


def test_a_request_goes_out_as_it_is() -> None:
    upstream = parse_upstream("https://api.example:8443/v1", 1)
    request = OutgoingRequest(b"POST", b"/v1/chat?a=b", [(b"x-a", b"X-A: 1"), (b"y", b"y:2")])
    assert request_bytes(request, upstream, b"Content-Length: 2\r\n", b"{}") == (
        b"POST /v1/chat?a=b HTTP/1.1\r\nHost: api.example:8443\r\nX-A: 1\r\ny:2\r\n"
        b"Content-Length: 2\r\n\r\n{}"
    )
    bare = OutgoingRequest(b"GET", b"/", [])
    bare.set(b"Host", b"other")
    assert request_bytes(bare, upstream, b"") == b"GET / HTTP/1.1\r\nHost: other\r\n\r\n"


def test_a_plain_proxy_is_told_the_origin_and_its_own_credentials() -> None:
    upstream = parse_upstream("http://api.example", 1)
    request = OutgoingRequest(b"GET", b"/a", [])
    wire = request_bytes(request, upstream, b"", absolute=True, proxy_credentials=b"Basic eA==")
    assert wire == (
        b"GET http://api.example/a HTTP/1.1\r\nHost: api.example\r\n"
        b"Proxy-Authorization: Basic eA==\r\n\r\n"
    )
