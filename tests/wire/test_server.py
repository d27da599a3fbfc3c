"""The downstream protocol, as a conversation: bytes in, calls and bytes out."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from gptload.proxy.replies import refusal
from gptload.wire.codec import RequestHead
from gptload.wire.server import AHEAD_BYTES, ServerConnection, ServerFactory, Timeouts
from gptload.wire.sweep import Sweep

GET = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"


class Transport(StringTransport):
    """Twisted's own fake, with what a TCP transport has beside."""

    aborted = False

    def abortConnection(self) -> None:
        self.aborted = True
        self.disconnecting = True

    def setTcpNoDelay(self, enabled: bool) -> None:
        self.no_delay = enabled


class Sink:
    """Notes what it hears of one request."""

    def __init__(self, head: RequestHead, downstream: ServerConnection) -> None:
        self.head = head
        self.downstream = downstream
        self.body = b""
        self.ended = False
        self.heard: list[str] = []

    def body_received(self, data: bytes) -> None:
        self.body += data

    def body_ended(self, last: bytes) -> None:
        self.body += last
        self.ended = True

    def client_gone(self) -> None:
        self.heard.append("gone")

    def writing_paused(self) -> None:
        self.heard.append("paused")

    def writing_resumed(self) -> None:
        self.heard.append("resumed")

    def reply(self, body: bytes = b"hi", length: int | None = 2) -> None:
        self.downstream.begin_response(200, b"OK", [b"X: 1"], length)
        self.downstream.end_response(body)


class Talk:
    """One connection and both its ends."""

    def __init__(self, timeouts: Timeouts | None = None) -> None:
        self.clock = Clock()
        self.sinks: list[Sink] = []
        self.answer: Any = None
        sweep = Sweep(self.clock, self.clock.seconds)
        sweep.start()
        self.factory = ServerFactory(self.begin, refusal, sweep, timeouts or Timeouts())
        self.connection = self.factory.buildProtocol(None)
        self.transport = Transport()
        self.connection.makeConnection(self.transport)

    def begin(self, head: RequestHead, downstream: ServerConnection) -> Sink:
        sink = Sink(head, downstream)
        self.sinks.append(sink)
        if self.answer is not None:
            self.answer(sink)
        return sink

    def says(self, data: bytes) -> None:
        self.connection.dataReceived(data)

    def heard(self) -> bytes:
        data = self.transport.value()
        self.transport.clear()
        return data

    def advance(self, seconds: int) -> None:
        self.clock.pump([1.0] * seconds)


def test_a_request_without_a_body_is_answered_on_a_kept_connection() -> None:
    talk = Talk()
    talk.says(GET)
    assert talk.sinks[0].ended and talk.sinks[0].head.target == b"/a"
    talk.sinks[0].reply()
    assert talk.heard() == b"HTTP/1.1 200 OK\r\nX: 1\r\nContent-Length: 2\r\n\r\nhi"
    talk.says(GET)
    assert len(talk.sinks) == 2 and not talk.transport.disconnecting


@given(
    body=st.binary(max_size=200),
    chunked=st.booleans(),
    places=st.lists(st.integers(0, 2000), max_size=12),
)
def test_any_split_of_requests_into_packets_gives_the_same_exchanges(
    body: bytes, chunked: bool, places: list[int]
) -> None:
    """Two pipelined requests, cut anywhere: the same heads, the same bodies, in order."""
    framing = (
        b"Transfer-Encoding: chunked\r\n\r\n"
        + (b"%x\r\n%b\r\n" % (len(body), body) if body else b"")
        + b"0\r\n\r\n"
        if chunked
        else b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    )
    wire = b"POST /b HTTP/1.1\r\nHost: h\r\n" + framing + GET
    talk = Talk()
    edges = [0, *sorted({place % (len(wire) + 1) for place in places}), len(wire)]
    for start, end in zip(edges, edges[1:], strict=False):
        if start < end:
            talk.says(wire[start:end])
        for sink in talk.sinks:
            if sink.ended and sink.heard == []:
                sink.heard.append("answered")
                sink.reply()
    assert [sink.head.target for sink in talk.sinks] == [b"/b", b"/a"]
    assert talk.sinks[0].body == body
    assert talk.heard().count(b"HTTP/1.1 200 OK") == 2


def test_the_next_request_waits_for_the_answer_to_the_first() -> None:
    talk = Talk()
    talk.says(GET + GET.replace(b"/a", b"/b"))
    assert len(talk.sinks) == 1
    talk.sinks[0].reply()
    assert [sink.head.target for sink in talk.sinks] == [b"/a", b"/b"]


def test_many_pipelined_requests_that_are_answered_at_once_dont_recurse() -> None:
    talk = Talk()
    talk.answer = lambda sink: sink.reply()
    talk.says(GET * 3000)
    assert len(talk.sinks) == 3000


def test_a_client_that_sends_far_ahead_is_not_read() -> None:
    talk = Talk()
    talk.says(GET)
    talk.says(b"x" * (AHEAD_BYTES + 1))
    assert talk.transport.producerState == "paused"


def test_an_unknown_length_is_chunked_for_11_and_ends_with_the_connection_for_10() -> None:
    talk = Talk()
    talk.says(GET)
    talk.sinks[0].downstream.begin_response(200, b"OK", [], None)
    talk.sinks[0].downstream.write_body(b"one")
    talk.sinks[0].downstream.end_response(b"two")
    assert talk.heard() == (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"
    )
    old = Talk()
    old.says(b"GET / HTTP/1.0\r\n\r\n")
    old.sinks[0].downstream.begin_response(200, b"OK", [], None)
    old.sinks[0].downstream.end_response(b"all")
    assert old.heard() == b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall"
    assert old.transport.disconnecting


def test_head_and_first_body_bytes_share_one_write() -> None:
    talk = Talk()
    writes: list[bytes] = []
    talk.transport.write = writes.append  # type: ignore[method-assign]
    talk.says(GET)
    talk.sinks[0].downstream.begin_response(200, b"OK", [], 3)
    talk.sinks[0].downstream.end_response(b"abc")
    assert len(writes) == 1


@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_without_a_body_gets_none(status: int) -> None:
    talk = Talk()
    talk.says(GET)
    talk.sinks[0].downstream.begin_response(status, b"", [], None)
    talk.sinks[0].downstream.end_response()
    assert talk.heard() == b"HTTP/1.1 %d \r\n\r\n" % status
    talk.says(GET)
    assert len(talk.sinks) == 2


def test_the_answer_to_head_keeps_its_length_and_loses_its_body() -> None:
    talk = Talk()
    talk.says(GET.replace(b"GET", b"HEAD"))
    talk.sinks[0].downstream.begin_response(200, b"OK", [], 42)
    talk.sinks[0].downstream.write_body(b"never")
    talk.sinks[0].downstream.end_response(b"sent")
    assert talk.heard() == b"HTTP/1.1 200 OK\r\nContent-Length: 42\r\n\r\n"


def test_a_client_that_waits_for_100_hears_it_before_it_sends() -> None:
    """F11: gateways let curl hang for a body over 1 kB."""
    talk = Talk()
    talk.says(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
    assert talk.heard() == b"HTTP/1.1 100 Continue\r\n\r\n"
    talk.says(b"ok")
    assert talk.sinks[0].body == b"ok"


def test_a_refused_client_is_not_asked_for_its_body() -> None:
    talk = Talk()
    talk.answer = lambda sink: sink.reply()
    talk.says(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
    assert b"100 Continue" not in talk.heard()


def test_an_early_answer_keeps_the_connection_when_the_rest_is_short() -> None:
    talk = Talk()
    talk.answer = lambda sink: sink.reply()
    talk.says(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nab")
    assert b"Connection: close" not in talk.heard()
    talk.says(b"cde" + GET)
    assert len(talk.sinks) == 2


def test_an_early_answer_to_a_long_body_closes_after_reading_some_of_it() -> None:
    """Closing with unread bytes resets the connection, and the answer may be lost with it."""
    talk = Talk()
    talk.answer = lambda sink: sink.reply()
    talk.says(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9000000\r\n\r\n")
    assert b"Connection: close" in talk.heard()
    assert not talk.transport.disconnecting
    talk.says(b"x" * 1000)
    talk.advance(4)
    assert talk.transport.disconnecting


def test_a_malformed_head_is_answered_and_the_connection_closed() -> None:
    talk = Talk()
    talk.says(b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: x\r\n\r\n")
    heard = talk.heard()
    assert heard.startswith(b"HTTP/1.1 400 ") and b"Content-Length is not a number" in heard
    assert talk.transport.disconnecting and talk.sinks == []


def test_an_endless_head_is_431() -> None:
    talk = Talk()
    for _ in range(80):
        talk.says(b"x" * 1000)
    assert talk.heard().startswith(b"HTTP/1.1 431 ")
    assert talk.transport.disconnecting


def test_broken_chunks_end_the_exchange_with_400() -> None:
    talk = Talk()
    talk.says(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab")
    talk.says(b"\r\nxyz\r\n")
    assert talk.sinks[0].body == b"ab" and talk.sinks[0].heard == ["gone"]
    assert talk.heard().startswith(b"HTTP/1.1 400 ")


def test_a_request_that_breaks_under_its_answer_ends_both() -> None:
    """The sink must hear of it, or it would wait, and hold its upstream, for ever."""
    talk = Talk()
    talk.says(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab")
    talk.sinks[0].downstream.begin_response(200, b"OK", [], None)
    talk.sinks[0].downstream.write_body(b"early")
    talk.says(b"\r\nxyz\r\n")
    assert talk.sinks[0].heard == ["gone"] and talk.transport.aborted


def test_a_lost_client_is_news_only_while_its_request_is_open() -> None:
    talk = Talk()
    talk.says(GET)
    talk.connection.connectionLost()
    assert talk.sinks[0].heard == ["gone"]
    done = Talk()
    done.says(GET)
    done.sinks[0].reply()
    done.connection.connectionLost()
    assert done.sinks[0].heard == []
    assert not done.factory.connections


def test_a_slow_reader_pauses_the_sink() -> None:
    talk = Talk()
    talk.says(GET)
    talk.connection.pauseProducing()
    talk.connection.resumeProducing()
    assert talk.sinks[0].heard == ["paused", "resumed"]


def test_a_reader_that_never_reads_is_cut_off() -> None:
    talk = Talk(Timeouts(write=10.0))
    talk.says(GET)
    talk.connection.pauseProducing()
    talk.advance(9)
    assert not talk.transport.aborted
    talk.advance(3)
    assert talk.transport.aborted


def test_a_body_that_stops_coming_is_408() -> None:
    talk = Talk(Timeouts(read=5.0))
    talk.says(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nab")
    talk.advance(4)
    talk.says(b"cd")  # it moves: the time starts anew
    talk.advance(4)
    assert talk.heard() == b""
    talk.advance(3)
    assert talk.heard().startswith(b"HTTP/1.1 408 ")
    assert talk.sinks[0].heard == ["gone"]


def test_a_response_under_way_has_no_time_limit_of_the_connection() -> None:
    talk = Talk(Timeouts(read=5.0, write=5.0, idle=5.0))
    talk.says(GET)
    talk.advance(600)
    assert not talk.transport.disconnecting


def test_an_idle_connection_is_closed_in_time() -> None:
    talk = Talk(Timeouts(idle=5.0))
    talk.says(GET)
    talk.sinks[0].reply()
    talk.advance(4)
    assert not talk.transport.disconnecting
    talk.advance(3)
    assert talk.transport.disconnecting


def test_a_broken_answer_is_visible() -> None:
    """No last chunk, or a reset: never a clean end of half an answer."""
    talk = Talk()
    talk.says(GET)
    talk.sinks[0].downstream.begin_response(200, b"OK", [], None)
    talk.sinks[0].downstream.write_body(b"part")
    talk.sinks[0].downstream.abort_response()
    assert talk.heard().endswith(b"4\r\npart\r\n") and talk.transport.disconnecting
    sized = Talk()
    sized.says(GET)
    sized.sinks[0].downstream.begin_response(200, b"OK", [], 100)
    sized.sinks[0].downstream.write_body(b"part")
    sized.sinks[0].downstream.abort_response()
    assert sized.transport.aborted


def test_a_response_can_be_withdrawn_until_its_first_byte_has_left() -> None:
    talk = Talk()
    talk.says(GET)
    downstream = talk.sinks[0].downstream
    downstream.begin_response(200, b"OK", [], None)
    assert downstream.withdraw_response()
    talk.sinks[0].reply()
    assert talk.heard().startswith(b"HTTP/1.1 200 OK\r\nX: 1")
    talk.says(GET)
    downstream.begin_response(200, b"OK", [], None)
    downstream.flush_head()
    assert not downstream.withdraw_response()


def test_finish_waits_for_the_answer_under_way() -> None:
    talk = Talk()
    talk.says(GET)
    talk.connection.finish()
    assert not talk.transport.disconnecting
    talk.sinks[0].reply()
    assert b"Connection: close" in talk.heard() and talk.transport.disconnecting
    idle = Talk()
    idle.connection.finish()
    assert idle.transport.disconnecting


def test_pausing_and_resuming_the_request_reaches_the_transport() -> None:
    talk = Talk()
    talk.says(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nab")
    talk.connection.pause_reading()
    assert talk.transport.producerState == "paused"
    talk.connection.resume_reading()
    assert talk.transport.producerState == "producing"
