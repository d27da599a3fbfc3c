"""Which heads and chunks are believed, and that llhttp doesn't read them otherwise."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptload.core.headers import KNOWN, LINES, Field, value_of
from gptload.wire.codec import (
    FIELDS_LIMIT,
    LAST_CHUNK,
    REQUEST_HEAD_LIMIT,
    SIZE_LINE_LIMIT,
    TRAILER_LIMIT,
    ChunkReader,
    CodecError,
    RequestHead,
    ResponseHead,
    chunk,
    parse_request_head,
    parse_response_head,
)

GET = b"GET /x HTTP/1.1\r\nHost: api.test\r\n"
OK = b"HTTP/1.1 200 OK\r\n"


def request(*lines: bytes, first: bytes = b"GET /x HTTP/1.1", host: bool = True) -> RequestHead:
    hosts = (b"Host: api.test",) if host else ()
    return parse_request_head(b"\r\n".join((first, *hosts, *lines)))


def response(*lines: bytes, first: bytes = b"HTTP/1.1 200 OK") -> ResponseHead:
    return parse_response_head(b"\r\n".join((first, *lines)))


def refusal(parse: Callable[..., object], *arguments: Any, **named: Any) -> int:
    with pytest.raises(CodecError) as caught:
        parse(*arguments, **named)
    return caught.value.status


def names(fields: Sequence[Field]) -> list[bytes]:
    return [name.lower for name, _ in fields]


# Requests: what is read.


def test_a_requests_line_and_fields_are_read() -> None:
    head = parse_request_head(
        b"POST /v1/chat?x=1 HTTP/1.1\r\nHost: api.test:8080\r\n"
        b"content-LENGTH:  17 \r\nExpect: 100-Continue"
    )
    assert (head.method, head.target, head.minor) == (b"POST", b"/v1/chat?x=1", 1)
    assert (head.host, head.content_length, head.chunked) == (b"api.test:8080", 17, False)
    assert (head.keep_alive, head.expects_continue) == (True, True)


def test_fields_stay_in_order_repeated_and_byte_for_byte() -> None:
    """UTF-8 and Latin-1 alike (field case F23)."""
    lines = [
        b"X-Title:\t\xe4\xbd\xa0\xe5\xa5\xbd  ",
        b"x-TITLE:caf\xe9",
        b"Empty:",
        b"A: b:c\td",
        b"X-Long: " + b"v" * 20_000,
    ]
    for fields in (request(*lines).fields[1:], response(*lines).fields):
        assert [line for _, line in fields] == lines
        assert names(fields)[:2] == [b"x-title", b"x-title"]
        assert value_of(fields[1]) == b"caf\xe9"


@pytest.mark.parametrize(
    ("version", "lines", "stays"),
    [
        (b"HTTP/1.1", [], True),
        (b"HTTP/1.1", [b"Connection: Keep-Alive"], True),
        (b"HTTP/1.1", [b"Connection: x, CLOSE ,y"], False),
        (b"HTTP/1.1", [b"Connection: x", b"connection: close"], False),
        (b"HTTP/1.1", [b"Connection: closed"], True),
        (b"HTTP/1.1", [b"Connection: keep-alive, close"], False),
        (b"HTTP/1.0", [], False),
        (b"HTTP/1.0", [b"Connection: keep-alive"], True),
        (b"HTTP/1.0", [b"Connection: close, keep-alive"], False),
    ],
)
def test_the_version_and_connection_say_whether_it_stays_open(
    version: bytes, lines: list[bytes], stays: bool
) -> None:
    assert request(*lines, first=b"GET / " + version).keep_alive is stays
    assert response(*lines, first=version + b" 200 OK").keep_alive is stays


def test_fields_that_connection_names_are_for_this_hop_only() -> None:
    lines = [b"X-Hop: 1", b"Connection: X-HOP,, upgrade", b"Upgrade: h2c", b"X-Other: 2"]
    for fields in (request(*lines, host=True).fields[1:], response(*lines).fields):
        assert names(fields) == [b"connection", b"x-other"]


def test_connection_cannot_take_the_framing_away() -> None:
    head = request(
        b"Connection: content-length, host, expect, connection, transfer-encoding",
        b"Content-Length: 5",
    )
    assert names(head.fields) == [b"host", b"connection", b"content-length"]
    assert (head.content_length, head.host) == (5, b"api.test")


def test_a_connection_field_of_many_names_costs_no_more_than_its_bytes() -> None:
    """A look at each field for each name would be the square of a head's size."""
    many = b",".join(b"a%d" % number for number in range(9000))
    assert names(request(b"A7: x", b"Connection: " + many).fields) == [b"host", b"connection"]


@pytest.mark.parametrize(
    ("first", "target", "host"),
    [
        (b"GET / HTTP/1.1", b"/", b"api.test"),
        (b"GET //a//b?c=%20&d HTTP/1.1", b"//a//b?c=%20&d", b"api.test"),
        (b"GET http://other/p?q HTTP/1.1", b"/p?q", b"other"),
        (b"GET HTTPS://other:443 HTTP/1.1", b"/", b"other:443"),
        (b"GET http://other?q HTTP/1.1", b"/?q", b"other"),
        (b"GET http://[::1]:80/p HTTP/1.1", b"/p", b"[::1]:80"),
        (b"OPTIONS * HTTP/1.1", b"*", b"api.test"),
        (b"CONNECT other:443 HTTP/1.1", b"other:443", b"api.test"),
        (b"PURGE /x HTTP/1.1", b"/x", b"api.test"),
    ],
)
def test_targets_of_each_form_are_understood(first: bytes, target: bytes, host: bytes) -> None:
    head = request(first=first)
    assert (head.target, head.host) == (target, host)


def test_http_1_0_needs_no_host() -> None:
    head = request(first=b"GET / HTTP/1.0", host=False)
    assert (head.minor, head.host) == (0, b"")
    assert not request(b"Expect: 100-continue", first=b"GET / HTTP/1.0").expects_continue


def test_names_are_learnt_up_to_a_limit_and_judged_the_same_beyond_it() -> None:
    before = dict(KNOWN)
    try:
        for number in range(5000):
            assert names(request(b"X-%d: 1" % number).fields)[1] == b"x-%d" % number
        assert len(KNOWN) <= 4096
    finally:
        KNOWN.clear()
        KNOWN.update(before)


# Requests: what is refused.


@pytest.mark.parametrize(
    ("first", "status"),
    [
        (b"", 400),
        (b"GET /x", 400),
        (b"GET  /x HTTP/1.1", 400),
        (b"GET /x  HTTP/1.1", 400),
        (b"GET /x HTTP/1.1 ", 400),
        (b" GET /x HTTP/1.1", 400),
        (b"GET\t/x HTTP/1.1", 400),
        (b"GET /a b HTTP/1.1", 400),
        (b"GET /a\tb HTTP/1.1", 400),
        (b"GET /a\x7fb HTTP/1.1", 400),
        (b"GET /a\x00b HTTP/1.1", 400),
        (b"GET /\xc3\xa9 HTTP/1.1", 400),
        (b"G@T /x HTTP/1.1", 400),
        (b"G\xc3T /x HTTP/1.1", 400),
        (b"(GET) /x HTTP/1.1", 400),
        (b" /x HTTP/1.1", 400),
        (b"M" * 33 + b" /x HTTP/1.1", 400),
        (b"GET  HTTP/1.1", 400),
        (b"CONNECT  HTTP/1.1", 400),
        (b"GET x HTTP/1.1", 400),
        (b"GET * HTTP/1.1", 400),
        (b"GET api.test:80 HTTP/1.1", 400),
        (b"GET ?x HTTP/1.1", 400),
        (b"GET ftp://other/ HTTP/1.1", 400),
        (b"GET http:///x HTTP/1.1", 400),
        (b"GET http://user@other/x HTTP/1.1", 400),
        (b"GET http://o\xc3ther/x HTTP/1.1", 400),
        (b"GET /x HTTP/1.1x", 400),
        (b"GET /x http/1.1", 400),
        (b"GET /x HTTP/11", 400),
        (b"GET /x ICY/1.1", 400),
        (b"GET /x HTTP/0.9", 505),
        (b"GET /x HTTP/1.2", 505),
        (b"PRI * HTTP/2.0", 505),
    ],
)
def test_a_bad_request_line_is_refused(first: bytes, status: int) -> None:
    assert refusal(request, first=first) == status


BAD_FIELDS = [
    b"A : b",
    b"A\t: b",
    b" A: b",
    b"\tfolded",
    b" folded",
    b"A: b\r\n folded",
    b"A",
    b"Host",
    b": b",
    b"",
    b"A b: c",
    b"A(b): c",
    b"\xc3\xa9: c",
    b"A\x00: b",
    b"A: \x00",
    b"A: \x01",
    b"A: \x1b[0m",
    b"A: \x0b",
    b"A: \x7f",
    b"A: b\nC: d",
    b"A: b\n",
    b"A: b\rC: d",
    b"A: b\r",
    b"A: b\n\r",
    b"Content-Length: ",
    b"Content-Length: +5",
    b"Content-Length: -5",
    b"Content-Length: 0x5",
    b"Content-Length: 5.0",
    b"Content-Length: 5 5",
    b"Content-Length: 5,5",
    b"Content-Length: 5, 5",
    b"Content-Length: 1_0",
    b"Content-Length: \xb2",
    b"Content-Length: 5;",
    b"Content-Length: 9999999999999999999",
    b"Content-Length: 5\r\nContent-Length: 6",
    b"Content-Length: 5\r\nTransfer-Encoding: chunked",
    b"Transfer-Encoding: chunked\r\nContent-Length: 0",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
]
BAD_CODINGS = [
    b"gzip",
    b"gzip, chunked",
    b"chunked, gzip",
    b"chunked, chunked",
    b"chunked,",
    b",chunked",
    b"identity",
    b"chunked;q=1",
    b"xchunked",
    b"chunked x",
    b'"chunked"',
    b"chunked\x0c",
    b"",
]


@pytest.mark.parametrize("line", BAD_FIELDS)
def test_a_bad_field_is_refused(line: bytes) -> None:
    assert refusal(request, line) == 400
    refusal(response, line)


@pytest.mark.parametrize("coding", BAD_CODINGS)
def test_a_coding_that_is_not_one_chunked_is_refused(coding: bytes) -> None:
    status = refusal(request, b"Transfer-Encoding: " + coding)
    assert status == (400 if b"\x0c" in coding else 501)
    refusal(response, b"Transfer-Encoding: " + coding)


def test_a_coding_in_http_1_0_is_refused() -> None:
    assert refusal(request, b"Transfer-Encoding: chunked", first=b"GET / HTTP/1.0") == 400
    refusal(response, b"Transfer-Encoding: chunked", first=b"HTTP/1.0 200 OK")


def test_a_length_twice_is_refused_in_a_request_even_if_they_agree() -> None:
    assert refusal(request, b"Content-Length: 5", b"Content-Length: 5") == 400


def test_exactly_one_good_host_is_needed() -> None:
    assert refusal(request, host=False) == 400
    assert refusal(request, b"Host: api.test") == 400
    assert refusal(request, b"Host: other") == 400
    assert refusal(request, b"Host: a", b"Host: b", first=b"GET / HTTP/1.0", host=False) == 400
    for value in (b"a/b", b"a b", b"a@b", b"a?b", b"a#b", b"\xc3\xa9", b"a\\b", b'"a"'):
        assert refusal(request, b"Host: " + value, host=False) == 400
    assert request(b"Host:", host=False).host == b""


def test_too_many_fields_are_refused() -> None:
    assert len(request(*[b"A: b"] * (FIELDS_LIMIT - 1)).fields) == FIELDS_LIMIT
    assert refusal(request, *[b"A: b"] * FIELDS_LIMIT) == 431
    refusal(response, *[b"A: b"] * (FIELDS_LIMIT + 1))
    assert refusal(parse_request_head, b"\r\n" * (REQUEST_HEAD_LIMIT // 2)) == 431


def test_chunked_is_read_in_any_case() -> None:
    for coding in (b"chunked", b" Chunked\t", b"CHUNKED"):
        assert request(b"Transfer-Encoding:" + coding).chunked
        assert response(b"Transfer-Encoding:" + coding).chunked


# Responses.


@pytest.mark.parametrize(
    ("first", "status", "reason"),
    [
        (b"HTTP/1.1 200 OK", 200, b"OK"),
        (b"HTTP/1.1 200 ", 200, b""),
        (b"HTTP/1.1 200", 200, b""),
        (b"HTTP/1.0 404 Not  Found ", 404, b"Not  Found "),
        (b"HTTP/1.1 529 \xe4\xbd\xa0", 529, b"\xe4\xbd\xa0"),
        (b"HTTP/1.1 999 x", 999, b"x"),
        (b"HTTP/1.1 100 Continue", 100, b"Continue"),
    ],
)
def test_a_status_line_is_read(first: bytes, status: int, reason: bytes) -> None:
    head = response(first=first)
    assert (head.status, head.reason) == (status, reason)
    assert (head.content_length, head.chunked) == (None, False)


@pytest.mark.parametrize(
    "first",
    [
        b"",
        b"HTTP/1.1",
        b"HTTP/1.1 ",
        b"HTTP/1.1  200 OK",
        b"HTTP/1.1\t200 OK",
        b"HTTP/1.1 200\tOK",
        b"HTTP/1.1 200OK",
        b"HTTP/1.1 20 OK",
        b"HTTP/1.1 2000 OK",
        b"HTTP/1.1 099 OK",
        b"HTTP/1.1 2\xb20 OK",
        b"HTTP/1.1 -20 OK",
        b"HTTP/1.1 200 a\x01",
        b"HTTP/1.2 200 OK",
        b"HTTP/2 200",
        b"http/1.1 200 OK",
        b"ICY 200 OK",
        b" HTTP/1.1 200 OK",
        b"<html>",
    ],
)
def test_a_bad_status_line_is_refused(first: bytes) -> None:
    refusal(response, first=first)


def test_lengths_that_agree_count_as_one_in_a_response() -> None:
    """RFC 9112 §6.3 allows it, and real servers send them."""
    assert response(b"Content-Length: 5", b"content-length: 5").content_length == 5
    assert response(b"Content-Length: 5", b"Content-Length: 05").content_length == 5
    refusal(response, b"Content-Length: 5", b"Content-Length: 6")
    refusal(response, b"Content-Length: 5, 5")


# Chunks.


def read(parts: Sequence[bytes]) -> tuple[bytes, bool, bytes]:
    reader = ChunkReader()
    payload = b"".join([reader.feed(part) for part in parts])
    return payload, reader.ended, reader.rest


def verdict(parts: Sequence[bytes]) -> tuple[bytes, bool, bytes] | None:
    """What a reader makes of it; None when it refuses it."""
    try:
        return read(parts)
    except CodecError as error:
        assert error.status == 400
        return None


def bytewise(data: bytes) -> list[bytes]:
    return [bytes((byte,)) for byte in data]


def pieces(data: bytes, cuts: Sequence[int]) -> list[bytes]:
    places = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    return [data[start:end] for start, end in zip(places, places[1:], strict=False)]


@pytest.mark.parametrize(
    ("message", "payload"),
    [
        (b"0\r\n\r\n", b""),
        (b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
        (b"0000005\r\nhello\r\n1\r\n!\r\n000\r\n\r\n", b"hello!"),
        (b"a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", b"0123456789" * 2),
        (b"2\r\n\r\n\r\n0\r\n\r\n", b"\r\n"),
        (b"5;a\r\nhello\r\n0;b=c\r\n\r\n", b"hello"),
        (b'5;a="x;y\\"0";b=c\r\nhello\r\n0\r\n\r\n', b"hello"),
        (b"5 \t; a = b ;c\r\nhello\r\n0\r\n\r\n", b"hello"),
        (b'5;a="\xe4\xbd\xa0 \t"\r\nhello\r\n0\r\n\r\n', b"hello"),
        (b"5\r\nhello\r\n0\r\nX-Sum: 1\r\nEmpty:\r\n\r\n", b"hello"),
        (b"5\r\nhello\r\n0\r\nContent-Length: 9\r\nTransfer-Encoding: x\r\n\r\n", b"hello"),
    ],
)
def test_a_chunked_body_is_read(message: bytes, payload: bytes) -> None:
    for rest in (b"", b"GET / HTTP/1.1\r\n"):
        assert read([message + rest]) == (payload, True, rest)
        assert read(bytewise(message + rest)) == (payload, True, rest)


@pytest.mark.parametrize(
    "message",
    [
        b"\r\n",
        b"x\r\n",
        b"0x5\r\nhello\r\n",
        b"-1\r\n",
        b"+5\r\nhello\r\n",
        b" 5\r\nhello\r\n",
        b"5 \r\nhello\r\n",
        b"5_0\r\n",
        b"5\xb2\r\n",
        b";a\r\n",
        b"5\nhello\r\n",
        b"5\n",
        b"5\r\r\n",
        b"5;a\nb\r\n",
        b"5;a\rb\r\n",
        b"5;a\x00b\r\n",
        b"5;\r\n",
        b"5;;a\r\n",
        b"5;a \r\n",
        b"5;a b\r\n",
        b"5;a=\r\n",
        b"5;=b\r\n",
        b"5;a=b=c\r\n",
        b"5;\xe4\r\n",
        b'5;a="b\r\n',
        b'5;a="b\\\r\n"\r\n',
        b'5;a="b\x01"\r\n',
        b'5;a="b"c\r\n',
        b"5\rx",
        b"5\r\nhello\n0\r\n\r\n",
        b"5\r\nhello0\r\n\r\n",
        b"5\r\nhello!\r\n0\r\n\r\n",
        b"5\r\nhello\rx",
        b"5\r\nhello\r\n\r\n",
        b"1000000000000000\r\n",
        b"0" * SIZE_LINE_LIMIT + b"5\r\nhello\r\n",
        b"0" * (SIZE_LINE_LIMIT + 2),
        b"5;" + b"a" * SIZE_LINE_LIMIT + b"\r\n",
        b"0\r\nA\r\n\r\n",
        b"0\r\n A: b\r\n\r\n",
        b"0\r\nA : b\r\n\r\n",
        b"0\r\nHost\r\n\r\n",
        b"0\r\n: b\r\n\r\n",
        b"0\r\nA: \x01\r\n\r\n",
        b"0\r\nA: b\n\r\n",
        b"0\r\nA: b\rc\r\n\r\n",
        b"0\r\n\n",
        b"0\r\n\rx",
        b"0\r\nA: " + b"b" * TRAILER_LIMIT + b"\r\n\r\n",
        b"0\r\nA: " + b"b" * TRAILER_LIMIT,
        b"0\r\n" + b"A: b\r\n" * (TRAILER_LIMIT // 6 + 1),
    ],
)
def test_broken_framing_is_refused(message: bytes) -> None:
    assert verdict([message]) is None
    assert verdict(bytewise(message)) is None


def test_lines_up_to_the_limits_are_read() -> None:
    long_size = b"5".rjust(SIZE_LINE_LIMIT, b"0") + b"\r\nhello\r\n0\r\n"
    trailer = b"A: ".ljust(TRAILER_LIMIT - 2, b"b") + b"\r\n\r\n"
    assert read([long_size + trailer]) == (b"hello", True, b"")
    assert read(bytewise(long_size + trailer)) == (b"hello", True, b"")


def test_a_body_that_breaks_off_has_not_ended() -> None:
    message = b"5;x\r\nhello\r\n0\r\nA: b\r\n\r\n"
    for end in range(len(message)):
        payload, ended, rest = read([message[:end]])
        assert b"hello".startswith(payload)
        assert not ended
        assert rest == b""


def test_a_chunk_in_one_packet_is_not_waited_for() -> None:
    """An event of a stream must go on at once, whether or not its CRLF is there."""
    reader = ChunkReader()
    assert reader.feed(b"5\r\nhel") == b"hel"
    assert reader.feed(b"lo") == b"lo"
    assert reader.feed(b"\r") == b""
    assert reader.feed(b"\n3\r\nabc\r\n") == b"abc"


def test_one_chunk_is_encoded_and_none_for_no_data() -> None:
    assert chunk(b"hello, reader of chunks") == b"17\r\nhello, reader of chunks\r\n"
    assert chunk(b"") == b""


EXTENSIONS = st.sampled_from([b"", b"", b";a", b';a="b;c\\"";d=e', b" ;x = y"])


@st.composite
def chunked_messages(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """A message with its end, and its payload."""
    message = b""
    payloads = draw(st.lists(st.binary(min_size=1, max_size=40) | st.just(b"\r\n0\r\n\r\n")))
    for data in payloads:
        size = b"%x" % len(data)
        size = b"0" * draw(st.integers(0, 3)) + draw(st.sampled_from([size, size.upper()]))
        message += size + draw(EXTENSIONS) + b"\r\n" + data + b"\r\n"
    message += b"0" * draw(st.integers(1, 4)) + draw(EXTENSIONS) + b"\r\n"
    for value in draw(st.lists(st.sampled_from([b"", b" x", b"\t\xff:;"]), max_size=3)):
        message += b"X-Trailer:" + value + b"\r\n"
    return message + b"\r\n", b"".join(payloads)


CUTS = st.lists(st.integers(0, 10_000), max_size=12)


@given(made=chunked_messages(), rest=st.binary(max_size=20), cuts=CUTS)
def test_any_split_of_a_chunked_message_gives_the_same_payload(
    made: tuple[bytes, bytes], rest: bytes, cuts: list[int]
) -> None:
    message, payload = made
    assert read(pieces(message + rest, cuts)) == (payload, True, rest)
    assert read(bytewise(message + rest)) == (payload, True, rest)


@given(parts=st.lists(st.binary(max_size=50)), cuts=CUTS)
def test_what_chunk_writes_a_reader_reads(parts: list[bytes], cuts: list[int]) -> None:
    message = b"".join(chunk(part) for part in parts) + LAST_CHUNK
    assert read(pieces(message, cuts)) == (b"".join(parts), True, b"")


# Differences in how the same bytes are read are what smuggling lives on, so llhttp, in
# its strict default mode, is asked about everything that we accept.


class Oracle:
    """What llhttp makes of one message."""

    def __init__(self, parser: type[Any], data: bytes) -> None:
        self.target = self.reason = self.body = b""
        self.fields: list[tuple[bytes, bytes]] = []
        self.headed = self.complete = self.keep_alive = False
        self.error: Exception | None = None
        self.method, self.status = b"", 0
        self._parser = parser(self)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # accepted, and what follows belongs to another protocol
        except httptools.HttpParserError as error:
            self.error = error

    def on_url(self, part: bytes) -> None:
        self.target += part

    def on_status(self, part: bytes) -> None:
        self.reason += part

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.headed:
            return  # a trailer
        self.fields.append((name.lower(), value.strip(b" \t")))

    def on_headers_complete(self) -> None:
        self.headed = True
        self.keep_alive = self._parser.should_keep_alive()
        if isinstance(self._parser, httptools.HttpRequestParser):
            self.method = self._parser.get_method()
        else:
            self.status = self._parser.get_status_code()

    def on_body(self, part: bytes) -> None:
        self.body += part

    def on_message_complete(self) -> None:
        self.complete = True

    @property
    def passed_on(self) -> list[tuple[bytes, bytes]]:
        """Its fields without those that `Connection` names."""
        framing = (b"content-length", b"host", b"expect", b"connection", b"transfer-encoding")
        named = b",".join(value for name, value in self.fields if name == b"connection")
        hop = {option.strip(b" \t") for option in named.lower().split(b",")} - set(framing)
        return [field for field in self.fields if field[0] not in hop]


def received(head: RequestHead | ResponseHead) -> list[tuple[bytes, bytes]]:
    return [(field[0].lower, value_of(field)) for field in head.fields]


def is_plain(head: RequestHead | ResponseHead) -> bool:
    """Whether both read `Connection` alike.

    llhttp searches it for words and lets keep-alive win in HTTP/1.0; we take whole
    options, and close wins.
    """
    named = b",".join(value_of(field) for field in head.fields if field[0].lower == b"connection")
    options = [option.strip(b" \t") for option in named.lower().split(b",")]
    return set(options) <= {b"", b"x-hop", b"upgrade", b"close"} or options == [b"keep-alive"]


def body_for(head: RequestHead | ResponseHead) -> bytes:
    """The shortest body that its framing allows."""
    return LAST_CHUNK if head.chunked else b"b" * (head.content_length or 0)


def is_huge(head: RequestHead | ResponseHead) -> bool:
    return (head.content_length or 0) > 100_000


def assert_llhttp_reads_the_same_request(data: bytes) -> None:
    """Everything that we accept, it accepts, and reads alike.

    The documented differences are the classes of its errors that are no framing:
    methods that it doesn't know, and targets (of CONNECT, which nobody serves, and of
    odd authorities) that it won't parse.
    """
    head = data.partition(b"\r\n\r\n")[0]
    try:
        ours = parse_request_head(head)
    except CodecError:
        return
    if is_huge(ours):
        return  # its body would be made in vain
    theirs = Oracle(httptools.HttpRequestParser, head + b"\r\n\r\n" + body_for(ours))
    if isinstance(
        theirs.error, httptools.HttpParserInvalidMethodError | httptools.HttpParserInvalidURLError
    ):
        return
    assert theirs.error is None
    assert theirs.headed
    assert theirs.complete
    assert theirs.method == ours.method
    assert theirs.passed_on == received(ours)
    if theirs.target != ours.target:
        assert theirs.target.lower().startswith((b"http://", b"https://"))
        assert theirs.target.endswith(ours.target.removeprefix(b"/"))
    if is_plain(ours):
        assert theirs.keep_alive == ours.keep_alive


def assert_llhttp_reads_the_same_response(data: bytes) -> None:
    """Everything that we accept, it accepts, and reads alike.

    The one documented difference: it refuses repeated lengths that agree.
    """
    head = data.partition(b"\r\n\r\n")[0]
    try:
        ours = parse_response_head(head)
    except CodecError:
        return
    if is_huge(ours):
        return
    theirs = Oracle(httptools.HttpResponseParser, head + b"\r\n\r\n" + body_for(ours))
    if [name for name, _ in received(ours)].count(b"content-length") > 1:
        assert str(theirs.error) == "Duplicate Content-Length"
        return
    assert theirs.error is None
    assert theirs.headed
    assert (theirs.status, theirs.reason) == (ours.status, ours.reason)
    assert theirs.passed_on == received(ours)
    if ours.chunked or ours.content_length is not None:
        assert theirs.complete
        if is_plain(ours):
            assert theirs.keep_alive == ours.keep_alive


FIELD_LINES = st.sampled_from(
    [
        b"Host: api.test",
        b"Content-Length: 5",
        b"Content-Length: 5",
        b"content-length:0",
        b"Transfer-Encoding: chunked",
        b"transfer-encoding:Chunked ",
        b"Transfer-Encoding: gzip, chunked",
        b"Connection: close",
        b"Connection: keep-alive",
        b"Connection: close, X-Hop",
        b"Connection: Upgrade",
        b"Upgrade: websocket",
        b"X-Hop: 1",
        b"Accept: */*",
        b"Authorization: Bearer sk-1",
        b"X-Text: \xe4\xbd\xa0\t\xe9 ",
        b"Empty:",
        b"Expect: 100-continue",
    ]
)
REQUEST_LINES = st.sampled_from(
    [
        b"GET / HTTP/1.1",
        b"POST /v1/chat?a=b HTTP/1.1",
        b"POST /v1/x HTTP/1.0",
        b"GET http://other:80/p?q HTTP/1.1",
        b"OPTIONS * HTTP/1.1",
        b"CONNECT other:443 HTTP/1.1",
        b"FOO / HTTP/1.1",
    ]
)
STATUS_LINES = st.sampled_from(
    [b"HTTP/1.1 200 OK", b"HTTP/1.0 200 OK", b"HTTP/1.1 429", b"HTTP/1.1 500 \xe4\xbd\xa0"]
)
NASTY = st.sampled_from(
    b"\r|\n|\r\n|\n\n|\r\n |\r\n\t| |\t|:| :|: |,|;|\0|\x01|\x0b|\x7f|\x80|\xff|0|5|+|-|x|/|"
    b"HTTP/1.1|Host|chunked|, chunked|close|\r\nContent-Length: 6|\r\nTransfer-Encoding: chunked|"
    b"\r\nTransfer-Encoding : chunked|\r\nContent-Length:\t5".split(b"|")
)


@st.composite
def mutated(draw: st.DrawFn, originals: st.SearchStrategy[bytes]) -> bytes:
    """A good message with up to three bad changes."""
    data = draw(originals)
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(data)))
        end = start + draw(st.sampled_from([0, 0, 1, 2, 9]))
        data = data[:start] + draw(NASTY | st.binary(max_size=2)) + data[end:]
    return data


def heads(first: st.SearchStrategy[bytes], *, host: bytes) -> st.SearchStrategy[bytes]:
    lines = st.lists(FIELD_LINES, max_size=4).map(lambda lines: host + b"\r\n".join(lines))
    return mutated(st.builds(lambda line, rest: line + b"\r\n" + rest, first, lines))


@given(data=heads(REQUEST_LINES, host=b"Host: api.test\r\nA: b\r\n"))
def test_llhttp_reads_every_accepted_request_alike(data: bytes) -> None:
    assert_llhttp_reads_the_same_request(data)


@given(data=heads(STATUS_LINES, host=b"A: b\r\n"))
def test_llhttp_reads_every_accepted_response_alike(data: bytes) -> None:
    assert_llhttp_reads_the_same_response(data)


def test_we_are_stricter_than_llhttp_about_these_fields_alone() -> None:
    bad = [*BAD_FIELDS, *(b"Transfer-Encoding: " + coding for coding in BAD_CODINGS)]
    accepted = {
        line
        for line in bad
        if Oracle(httptools.HttpRequestParser, GET + line + b"\r\n\r\n").error is None
    }
    assert accepted == {
        b"",  # for llhttp the end of the head, and no caller of ours hands that in
        b"Content-Length: 9999999999999999999",
        b"Transfer-Encoding: gzip, chunked",
        b"Transfer-Encoding: ,chunked",
    }


@pytest.mark.parametrize(
    "head",
    [
        GET + b"Content-Length: 5",
        GET + b"Transfer-Encoding: chunked",
        b"POST /x HTTP/1.0\r\nContent-Length: 3\r\nConnection: keep-alive",
        GET + b"Connection: close\r\nA: \xff",
        b"GET http://other/x HTTP/1.1\r\nHost: api.test",
    ],
)
def test_llhttp_accepts_the_ordinary_requests_that_we_accept(head: bytes) -> None:
    """So that the law above isn't kept by refusing everything."""
    parse_request_head(head)
    assert_llhttp_reads_the_same_request(head)


CHUNKED_HEAD = GET + b"Transfer-Encoding: chunked\r\n\r\n"
# What it refuses and we drop, because it can't move a boundary.
TRAILERS = (
    "Content-Length can't be present with Transfer-Encoding",
    "Invalid `Transfer-Encoding` header value",
)


@given(data=mutated(chunked_messages().map(lambda made: made[0])), cuts=CUTS)
def test_llhttp_reads_every_accepted_chunk_alike(data: bytes, cuts: list[int]) -> None:
    """Documented differences: framing fields in trailers, and blanks around the `;` and
    `=` of extensions, which RFC 9112 §7.1.1 asks recipients to take.
    """
    ours = verdict([data])
    assert verdict(pieces(data, cuts)) == ours
    assert verdict(bytewise(data)) == ours
    if ours is None:
        return
    payload, ended, rest = ours
    theirs = Oracle(httptools.HttpRequestParser, CHUNKED_HEAD + data[: len(data) - len(rest)])
    if not ended:
        assert not theirs.complete  # it may refuse now what we refuse at the line's end
        return
    if theirs.error is not None:
        text = str(theirs.error)
        has_blanks = re.search(rb"[ \t][;=]|[;=][ \t]", data)
        assert text in TRAILERS or (has_blanks and text.startswith("Invalid character in chunk"))
        return
    assert (theirs.body, theirs.complete) == (payload, ended)


def test_lines_from_outside_cant_fill_the_memory_and_secrets_are_not_kept() -> None:
    KNOWN.clear()
    LINES.clear()
    for number in range(100):
        parse_response_head(b"HTTP/1.1 200 OK\r\nx-request-id: %d" % number)
    kept = [line for line in LINES if line.startswith(b"x-request-id")]
    assert len(kept) == 32
    for line in (b"Authorization: Bearer sk-a", b"Content-Length: 5", b"x-long: " + b"x" * 300):
        parse_request_head(b"POST / HTTP/1.1\r\nHost: h\r\n" + line)
        assert line not in LINES
    for number in range(5000):
        parse_response_head(b"HTTP/1.1 200 OK\r\nx-made-up-line-%d: 1" % number)
    assert len(LINES) <= 4096
