"""What it costs to read a head: our codec beside llhttp with its callbacks (httptools).

Run by `make bench`, or alone: `python -m benchmarks.codec`.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from statistics import median
from typing import Any, Final

import httptools

from gptload.wire.codec import parse_request_head, parse_response_head

_HEADS: Final = 4_000
_ROUNDS: Final = 9

_FIELDS: Final = (
    b"Host: 127.0.0.1:3001",
    b"Accept: application/json",
    b"Content-Type: application/json",
    b"User-Agent: OpenAI/Python 3.1.0",
    b"Authorization: Bearer sk-0123456789abcdef0123456789abcdef",
    b"Accept-Encoding: gzip, deflate",
    b"Connection: keep-alive",
    b"Content-Length: 0",
    # What the official SDKs add.
    b"X-Stainless-Lang: python",
    b"X-Stainless-Package-Version: 3.1.0",
    b"X-Stainless-OS: Linux",
    b"X-Stainless-Arch: x64",
    b"X-Stainless-Runtime: CPython",
    b"X-Stainless-Runtime-Version: 3.11.2",
    b"X-Stainless-Async: async:asyncio",
    b"X-Stainless-Retry-Count: 0",
    b"X-Stainless-Read-Timeout: 600",
    b"Idempotency-Key: stainless-python-retry-0123456789ab",
)
_ANSWER_FIELDS: Final = (
    b"Date: Wed, 25 Nov 2026 10:00:00 GMT",
    b"Content-Type: application/json",
    b"Content-Length: 0",
    b"Connection: keep-alive",
    b"openai-processing-ms: 312",
    b"openai-version: 2020-10-01",
    b"x-request-id: req_0123456789abcdef0123456789abcdef",
    b"Server: cloudflare",
)


class Callbacks:
    """The least that somebody who has to know a head does with llhttp."""

    def __init__(self, parser: type[Any]) -> None:
        self.fields: list[tuple[bytes, bytes]] = []
        self.url = b""
        self.keep_alive = False
        self.parser = parser(self)

    def on_message_begin(self) -> None:
        """A new head."""
        self.fields = []

    def on_url(self, url: bytes) -> None:
        """The target."""
        self.url = url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One field; names are compared in lower case."""
        self.fields.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Right only in here: httptools answers no afterwards."""
        self.keep_alive = self.parser.should_keep_alive()


def us_a_call(call: Callable[[bytes], object], head: bytes) -> float:
    """Microseconds of CPU for one of many heads."""
    turns = itertools.repeat(None, _HEADS)
    began = time.process_time_ns()
    for _ in turns:
        call(head)
    return (time.process_time_ns() - began) / _HEADS / 1000


def compare(
    parse: Callable[[bytes], object], parser: type[Any], head: bytes
) -> tuple[float, float, float]:
    """Median microseconds of ours and of llhttp's, and the median ratio of bursts in turn."""
    feed = Callbacks(parser).parser.feed_data
    rounds = [(us_a_call(parse, head), us_a_call(feed, head + b"\r\n\r\n")) for _ in range(_ROUNDS)]
    return (
        median(ours for ours, _ in rounds),
        median(theirs for _, theirs in rounds),
        median(ours / theirs for ours, theirs in rounds),
    )


def main() -> None:
    """Print one line a case."""
    line = b"POST /proxy/openai/v1/chat/completions HTTP/1.1"
    cases = (
        ("request of 8 fields", parse_request_head, httptools.HttpRequestParser, _FIELDS[:8]),
        ("request of 18 fields", parse_request_head, httptools.HttpRequestParser, _FIELDS),
        ("answer of 8 fields", parse_response_head, httptools.HttpResponseParser, _ANSWER_FIELDS),
    )
    for title, parse, parser, fields in cases:
        first = line if parser is httptools.HttpRequestParser else b"HTTP/1.1 200 OK"
        ours, theirs, ratio = compare(parse, parser, b"\r\n".join((first, *fields)))
        print(f"{title}: {ours:.2f} µs, httptools {theirs:.2f} µs, ratio {ratio:.2f}")


if __name__ == "__main__":
    main()
