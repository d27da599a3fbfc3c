"""Heads that repeat themselves are understood as if they never had."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptload.core.headers import Passing
from gptload.wire.codec import CodecError, RequestHead, parse_request_head
from gptload.wire.repeats import Repeats

LINES = [
    b"Authorization: Bearer sk-a",
    b"content-type: application/json",
    b"User-Agent: x/1",
    b"Connection: close",
    b"Connection: x-hop",
    b"X-Hop: 1",
    b"Expect: 100-continue",
    b"Transfer-Encoding: chunked",
    b"Cookie: a=b",
    b"X-Length: Content-Length: 4",
    b"no colon",
]
LENGTHS = [
    b"Content-Length: 0",
    b"Content-Length: 5",
    b"content-length: 12345",
    b"Content-length: 7",
    b"Content-Length:5",
    b"Content-Length:  5",
    b"Content-Length: 5 ",
    b"Content-Length: +5",
    b"Content-Length: ",
    b"Content-Length: 1234567890123456789",
    "Content-Length: ٣".encode(),
]


def facts(head: RequestHead) -> dict[str, Any]:
    """All that a head says but what is only kept for speed."""
    said = {name: getattr(head, name) for name in RequestHead.__slots__ if name != "passing"}
    for name in ("fields", "credentials"):
        said[name] = [(known.lower, line) for known, line in said[name]]
    return said


def verdict(read: Any, head: bytes) -> object:
    try:
        return facts(read(head))
    except CodecError as error:
        return error.status, str(error)


def heads() -> st.SearchStrategy[bytes]:
    lines = st.lists(st.sampled_from(LINES), max_size=4)
    lengths = st.lists(st.sampled_from(LENGTHS), max_size=2)
    return st.builds(
        lambda first, lines, lengths: b"\r\n".join([first, b"Host: h", *lines, *lengths]),
        st.sampled_from([b"POST /a HTTP/1.1", b"GET http://o/ HTTP/1.1", b"POST /b HTTP/1.0"]),
        lines,
        lengths,
    )


@given(st.lists(heads(), min_size=1, max_size=4))
def test_a_head_is_understood_as_by_the_parser_however_often_it_comes(said: list[bytes]) -> None:
    repeats = Repeats()
    for head in said * 4:
        assert verdict(repeats.read, head) == verdict(parse_request_head, head)


def test_heads_that_differ_in_their_length_alone_are_one() -> None:
    repeats = Repeats()
    for length in (1, 22, 333):
        read = repeats.read(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\nX: 1" % length)
        assert read.content_length == length
    assert read.passing is not None  # it was known
    assert read.passing.fields == ((b"x", b"X: 1"),)


def test_what_passes_of_a_known_head_is_what_passes_of_any() -> None:
    repeats = Repeats()
    head = b"\r\n".join([b"POST / HTTP/1.1", b"Host: h", *LINES[:7], b"X-A: 1"])
    for _ in range(3):
        read = repeats.read(head)
    assert read.passing is not None
    assert read.passing.fields == Passing(parse_request_head(head).fields).fields
    assert {name for name, _ in read.passing.fields} == {b"content-type", b"user-agent", b"x-a"}


@pytest.mark.parametrize("times", [1, 2])
def test_heads_from_outside_cant_fill_the_memory(times: int) -> None:
    repeats = Repeats()
    for number in range(20_000):
        head = b"GET /%d HTTP/1.1\r\nHost: h" % number
        for _ in range(times):
            repeats.read(head)
    assert len(repeats._known) <= 512
    assert len(repeats._once) <= 8192
    if times == 1:
        assert not repeats._known


def test_long_heads_are_not_kept() -> None:
    repeats = Repeats()
    head = b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"x" * 5000
    for _ in range(3):
        repeats.read(head)
    assert not repeats._known
    assert sys.getsizeof(repeats._once) < 1000
