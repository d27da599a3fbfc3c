"""Heads and chunks: what is believed, what is refused, and that cuts don't matter."""

from __future__ import annotations

import httptools
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gptload.core.headers import value_of
from gptload.wire.codec import (
    FIELDS_LIMIT,
    SIZE_LINE_LIMIT,
    TRAILER_LIMIT,
    ChunkReader,
    CodecError,
    chunk,
    parse_request_head,
    parse_response_head,
)

HOST = b"\r\nHost: example.org"


def request(start: bytes = b"POST /a HTTP/1.1", *lines: bytes) -> bytes:
    return b"\r\n".join((start, b"Host: example.org", *lines))


def response(*lines: bytes, start: bytes = b"HTTP/1.1 200 OK") -> bytes:
    return b"\r\n".join((start, *lines))


def test_a_head_is_taken_apart_and_its_lines_stay_as_they_came() -> None:
    head = parse_request_head(
        request(b"POST /a/b%2Fc?x=1 HTTP/1.1", b"X-Title:  caf\xc3\xa9 \xe9", b"X-A: 1", b"x-a: 2")
    )
    assert (head.method, head.target, head.minor) == (b"POST", b"/a/b%2Fc?x=1", 1)
    assert [line for _, line in head.fields] == [
        b"Host: example.org",
        b"X-Title:  caf\xc3\xa9 \xe9",
        b"X-A: 1",
        b"x-a: 2",
    ]
    assert [name.lower for name, _ in head.fields] == [b"host", b"x-title", b"x-a", b"x-a"]
    assert value_of(head.fields[1]) == b"caf\xc3\xa9 \xe9"
    assert head.host == b"example.org"
    assert head.content_length is None and not head.chunked and head.keep_alive


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ((b"Content-Length: 1", b"Transfer-Encoding: chunked"), 400),
        ((b"Content-Length: 1", b"Content-Length: 1"), 400),
        ((b"Content-Length: 1", b"Content-Length: 2"), 400),
        ((b"Content-Length: 1, 1",), 400),
        ((b"Content-Length: +1",), 400),
        ((b"Content-Length: -1",), 400),
        ((b"Content-Length: 0x1",), 400),
        ((b"Content-Length: 1_0",), 400),
        ((b"Content-Length:",), 400),
        ((b"Content-Length: 99999999999999999999",), 400),
        ((b"Transfer-Encoding: gzip",), 501),
        ((b"Transfer-Encoding: gzip, chunked",), 501),
        ((b"Transfer-Encoding: chunked, chunked",), 501),
        ((b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"), 400),
        ((b"Transfer-Encoding: \x0bchunked",), 400),
        ((b"Transfer-Encoding : chunked",), 400),
        ((b" folded: yes",), 400),
        ((b"X: 1", b"\tfolded"), 400),
        ((b": empty",), 400),
        ((b"no colon",), 400),
        ((b"nocolon",), 400),
        ((b"b\xc3\xa4d: 1",), 400),
        ((b"X: a\x00b",), 400),
        ((b"X: a\x07b",), 400),
        ((b"X: a\rb",), 400),
        ((b"X: a\nb",), 400),
        ((b"Host: other",), 400),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(lines: tuple[bytes, ...], status: int) -> None:
    """Each is a way in which two readers of the same bytes disagree about where a body ends."""
    with pytest.raises(CodecError) as caught:
        parse_request_head(request(b"POST /a HTTP/1.1", *lines))
    assert caught.value.status == status


@pytest.mark.parametrize(
    ("start", "status"),
    [
        (b"GET /", 400),
        (b"GET  / HTTP/1.1", 400),
        (b"GET /a b HTTP/1.1", 400),
        (b"GET / HTTP/1.1 ", 400),
        (b" GET / HTTP/1.1", 400),
        (b"G(T / HTTP/1.1", 400),
        (b"GET / http/1.1", 400),
        (b"GET / HTTP/2.0", 505),
        (b"GET / HTTP/0.9", 505),
        (b"GET a HTTP/1.1", 400),
        (b"GET * HTTP/1.1", 400),
        (b"GET /caf\xc3\xa9 HTTP/1.1", 400),
        (b"GET ftp://h/ HTTP/1.1", 400),
        (b"", 400),
    ],
)
def test_a_request_line_of_another_form_is_refused(start: bytes, status: int) -> None:
    with pytest.raises(CodecError) as caught:
        parse_request_head(start + HOST)
    assert caught.value.status == status


def test_http_11_needs_one_host_and_http_10_none() -> None:
    with pytest.raises(CodecError):
        parse_request_head(b"GET / HTTP/1.1")
    assert parse_request_head(b"GET / HTTP/1.0").host == b""
    with pytest.raises(CodecError):
        parse_request_head(b"GET / HTTP/1.0\r\nTransfer-Encoding: chunked")


def test_too_many_fields_are_431() -> None:
    lines = [b"X-%d: 1" % number for number in range(FIELDS_LIMIT)]
    with pytest.raises(CodecError) as caught:
        parse_request_head(request(b"GET / HTTP/1.1", *lines))
    assert caught.value.status == 431


@pytest.mark.parametrize(
    ("target", "origin_form", "host"),
    [
        (b"http://h.example:8080/a?b", b"/a?b", b"h.example:8080"),
        (b"HTTPS://h.example", b"/", b"h.example"),
        (b"http://h.example?q", b"/?q", b"h.example"),
    ],
)
def test_an_absolute_target_counts_more_than_host(
    target: bytes, origin_form: bytes, host: bytes
) -> None:
    """RFC 9112 §3.2.2."""
    head = parse_request_head(request(b"GET %b HTTP/1.1" % target))
    assert (head.target, head.host) == (origin_form, host)


def test_the_other_target_forms_pass_for_their_methods() -> None:
    assert parse_request_head(request(b"OPTIONS * HTTP/1.1")).target == b"*"
    assert parse_request_head(request(b"CONNECT h:443 HTTP/1.1")).target == b"h:443"


@pytest.mark.parametrize(
    ("start", "connection", "keep_alive"),
    [
        (b"GET / HTTP/1.1", None, True),
        (b"GET / HTTP/1.1", b"close", False),
        (b"GET / HTTP/1.1", b"Keep-Alive, CLOSE", False),
        (b"GET / HTTP/1.0", None, False),
        (b"GET / HTTP/1.0", b"keep-alive", True),
    ],
)
def test_keep_alive_follows_version_and_connection(
    start: bytes, connection: bytes | None, keep_alive: bool
) -> None:
    lines = [] if connection is None else [b"Connection: " + connection]
    assert parse_request_head(request(start, *lines)).keep_alive is keep_alive


def test_what_connection_names_is_for_this_hop_only() -> None:
    head = parse_request_head(
        request(
            b"GET / HTTP/1.1",
            b"Connection: x-secret, Host , content-length",
            b"X-Secret: 1",
            b"X-Other: 2",
            b"Content-Length: 3",
        )
    )
    names = [name.lower for name, _ in head.fields]
    assert b"x-secret" not in names and b"x-other" in names
    assert head.content_length == 3  # framing is never up to the other side


def test_expect_is_heard_from_http_11_only() -> None:
    assert parse_request_head(request(b"PUT / HTTP/1.1", b"Expect: 100-Continue")).expects_continue
    old = parse_request_head(request(b"PUT / HTTP/1.0", b"Expect: 100-continue"))
    assert not old.expects_continue


def test_a_response_head_is_taken_apart() -> None:
    head = parse_response_head(
        response(b"Content-Length: 5", b"Link: <a>", b"Link: <b>", start=b"HTTP/1.1 404 Not Found")
    )
    assert (head.status, head.reason, head.content_length) == (404, b"Not Found", 5)
    assert [line for name, line in head.fields if name.lower == b"link"] == [
        b"Link: <a>",
        b"Link: <b>",
    ]
    assert parse_response_head(b"HTTP/1.1 204").reason == b""
    assert parse_response_head(b"HTTP/1.1 200 ").status == 200


def test_a_long_response_field_stays_whole() -> None:
    long = b"X-Long: " + b"a" * 20_000
    assert parse_response_head(response(long)).fields[0][1] == long


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/2 200 OK",
        b"ICY 200 OK",
        b"HTTP/1.1 20 OK",
        b"HTTP/1.1 2000 OK",
        b"HTTP/1.1 -20 OK",
        b"HTTP/1.1  200 OK",
        b"<html>",
        response(b"Content-Length: 1", b"Content-Length: 2"),
        response(b"Content-Length: 1", b"Transfer-Encoding: chunked"),
        response(b"Transfer-Encoding: gzip"),
    ],
)
def test_a_response_that_cant_be_trusted_is_refused(head: bytes) -> None:
    with pytest.raises(CodecError):
        parse_response_head(head)


def test_equal_lengths_of_a_response_count_as_one() -> None:
    """RFC 9112 §6.3 lets a recipient do so, and real servers send them."""
    head = parse_response_head(response(b"Content-Length: 5", b"Content-Length: 5"))
    assert head.content_length == 5


# Chunks.


def read_all(pieces: list[bytes]) -> tuple[bytes, bool, bytes]:
    reader = ChunkReader()
    payload = b""
    rest = b""
    for piece in pieces:
        if reader.ended:
            rest += piece
            continue
        payload += reader.feed(piece)
        rest += reader.rest
    return payload, reader.ended, rest


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted({place % (len(data) + 1) for place in places}), len(data)]
    return [data[a:b] for a, b in zip(edges, edges[1:], strict=False) if a < b]


ODD = (
    b'5;a="b;c"\r\nhello\r\n000A\r\n0123456789\r\n1 ;x\r\n\xce\r\n0;end\r\nX-Trailer: 1\r\n'
    b"Y: 2\r\n\r\nNEXT"
)


def test_every_single_cut_of_an_odd_body_gives_the_same_payload() -> None:
    for place in range(len(ODD) + 1):
        assert read_all(cut(ODD, [place])) == (b"hello0123456789\xce", True, b"NEXT")
    assert read_all([ODD[i : i + 1] for i in range(len(ODD))])[0] == b"hello0123456789\xce"


@given(
    parts=st.lists(st.binary(min_size=1, max_size=300), max_size=8),
    places=st.lists(st.integers(0, 10_000), max_size=12),
    extension=st.sampled_from([b"", b";a", b';a="\xc3\xa9;b"', b" ;q=1"]),
    upper=st.booleans(),
)
def test_any_split_of_any_chunked_body_gives_the_same_payload(
    parts: list[bytes], places: list[int], extension: bytes, upper: bool
) -> None:
    size = b"%X" if upper else b"%x"
    wire = b"".join((size % len(part)) + extension + b"\r\n" + part + b"\r\n" for part in parts)
    wire += b"0\r\n\r\n"
    assert read_all(cut(wire + b"rest", places)) == (b"".join(parts), True, b"rest")


@given(st.lists(st.binary(min_size=1, max_size=200), max_size=6))
def test_what_is_encoded_is_read_back(parts: list[bytes]) -> None:
    wire = b"".join(map(chunk, parts)) + b"0\r\n\r\n"
    assert read_all([wire]) == (b"".join(parts), True, b"")


def test_an_empty_chunk_is_never_written() -> None:
    assert chunk(b"") == b""


@pytest.mark.parametrize(
    "wire",
    [
        b"\r\n",
        b"g\r\n",
        b"-1\r\n",
        b"0x5\r\nhello\r\n",
        b" 5\r\nhello\r\n",
        b"5\nhello\r\n",
        b"5\r\nhelloX\r\n",
        b"5\r\nhello\n0\r\n\r\n",
        b"5\r\nhello\rX",
        b"5;a\rb\r\nhello\r\n",
        b"5;\x00\r\nhello\r\n",
        b"1000000000000000000\r\n",
        b"5;" + b"a" * SIZE_LINE_LIMIT + b"\r\n",
        b"5;" + b"a" * SIZE_LINE_LIMIT,
        b"0\r\n" + b"X: " + b"a" * TRAILER_LIMIT + b"\r\n\r\n",
        b"0\r\nX: 1\n\r\n",
    ],
)
def test_broken_chunk_framing_is_refused_wherever_it_is_cut(wire: bytes) -> None:
    for pieces in ([wire], [wire[i : i + 1] for i in range(len(wire))]):
        with pytest.raises(CodecError):
            read_all(pieces)


# llhttp as the oracle.


class Oracle:
    """What llhttp makes of a message."""

    def __init__(self) -> None:
        self.fields: list[tuple[bytes, bytes]] = []
        self.url = b""
        self.done = False

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name, value))

    def on_headers_complete(self) -> None:
        self.done = True


def judged(head: bytes) -> tuple[Oracle, bytes, bool] | None:
    oracle = Oracle()
    parser = httptools.HttpRequestParser(oracle)
    try:
        parser.feed_data(head + b"\r\n\r\n")
    except httptools.HttpParserUpgrade:
        pass
    except httptools.HttpParserError:
        return None
    if not oracle.done:
        return None
    return oracle, parser.get_method(), parser.should_keep_alive()


TOKEN = st.sampled_from([b"X-A", b"x-stainless-lang", b"Accept", b"content-type", b"Te", b"Cookie"])
VALUE = st.one_of(
    st.sampled_from([b"", b"chunked", b"1", b"close", b"text/event-stream", b"a, b", b"\xc3\xa4"]),
    st.binary(max_size=12),
)
FRAMING = st.sampled_from(
    [
        b"Content-Length: 3",
        b"Content-Length: 3",
        b"content-length:3",
        b"Content-Length: 3, 3",
        b"Transfer-Encoding: chunked",
        b"transfer-encoding: Chunked",
        b"Transfer-Encoding: identity",
        b"Connection: keep-alive",
        b"Connection: close",
        b"Content-Length : 3",
        b" Content-Length: 3",
    ]
)
LINE = st.one_of(st.builds(lambda n, v: n + b": " + v, TOKEN, VALUE), FRAMING)
START = st.sampled_from(
    [
        b"GET / HTTP/1.1",
        b"POST /a?b=c HTTP/1.1",
        b"POST /a HTTP/1.0",
        b"GET /a b HTTP/1.1",
        b"DELETE /%2F HTTP/1.1",
        b"GET  / HTTP/1.1",
        b"HEAD / HTTP/1.1",
    ]
)


@settings(max_examples=600, deadline=None)
@given(start=START, lines=st.lists(LINE, max_size=6))
def test_what_we_accept_llhttp_reads_alike(start: bytes, lines: list[bytes]) -> None:
    """We may be stricter than llhttp, never looser, and never of another opinion."""
    head = request(start, *lines)
    try:
        ours = parse_request_head(head)
    except CodecError:
        return
    theirs = judged(head)
    assert theirs is not None, head
    oracle, method, _ = theirs
    assert (ours.method, ours.target) == (method, oracle.url)
    lengths = [value for name, value in oracle.fields if name.lower() == b"content-length"]
    assert ours.content_length == (int(lengths[0]) if lengths else None)
    codings = [value for name, value in oracle.fields if name.lower() == b"transfer-encoding"]
    assert ours.chunked is bool(codings)
    named = {
        option.strip().lower()
        for name, value in oracle.fields
        if name.lower() == b"connection"
        for option in value.split(b",")
    }
    assert [(line.partition(b":")[0], value_of((name, line))) for name, line in ours.fields] == [
        (name, value.strip(b" \t"))
        for name, value in oracle.fields
        if name.lower() not in named or name.lower() in (b"content-length", b"host")
    ]


@settings(max_examples=300, deadline=None)
@given(data=st.binary(max_size=80), base=st.sampled_from([0, 1]))
def test_no_bytes_make_the_parsers_fail_otherwise(data: bytes, base: int) -> None:
    """Hostile heads end in a CodecError or a head, never in another exception."""
    for text in (data, request(b"GET / HTTP/1.1") + b"\r\n" + data, response(data)):
        for parse in (parse_request_head, parse_response_head):
            try:
                parse(text)
            except CodecError:
                continue
