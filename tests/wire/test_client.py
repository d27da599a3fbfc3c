"""Single requests for the control plane, to a real upstream."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater

from gptload.core.headers import OutgoingRequest, first
from gptload.core.paths import parse_upstream
from gptload.core.settings import Settings
from gptload.wire.client import BODY_LIMIT, Client, Reply
from gptload.wire.upstream import Trouble, UpstreamFailure
from tests.wire.peers import REPLY, Peers, Way

Answers = Callable[[int, int], bytes | None]


class Site:
    """An upstream that answers each request as it is told.

    Args:
        answers: bytes for a connection's number and a request's number on it; None
            closes instead.

    Attributes:
        asked: (connection's number, head and body) of all requests.
        left: connections that the other side has closed.
    """

    def __init__(self, peers: Peers, answers: Answers) -> None:
        self._answers = answers
        self.asked: list[tuple[int, bytes]] = []
        self.connections = 0
        self.left = 0
        self.url = f"http://127.0.0.1:{peers.start(self.serve)}"

    async def serve(self, reader: Any, writer: Any) -> None:
        self.connections += 1
        me, number = self.connections, 0
        while data := await self._request(reader):
            self.asked.append((me, data))
            number += 1
            answer = self._answers(me, number)
            if answer is None:
                writer.close()
                return
            writer.write(answer)
        self.left += 1
        writer.close()

    async def _request(self, reader: Any) -> bytes:
        try:
            head: bytes = await reader.readuntil(b"\r\n\r\n")
            length = head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0]
            body: bytes = await reader.readexactly(int(length or 0))
        except (asyncio.IncompleteReadError, ConnectionError):
            return b""
        return head + body


def asks(
    way: Way, url: str, method: bytes = b"GET", body: bytes = b"", timeout_s: float = 5.0
) -> Deferred[Reply]:
    request = OutgoingRequest(method, b"/v1/models", [(b"x", b"X: y")])
    client = Client(way.pool, way.sweep)
    return client.request(parse_upstream(url, 1), "", request, body, Settings(), timeout_s)


def always(answer: bytes | None) -> Answers:
    return lambda connection, number: answer


async def test_a_reply_has_its_status_fields_and_body(peers: Peers, way: Way) -> None:
    wire = b"HTTP/1.1 429 Slow\r\nRetry-After: 7\r\nTransfer-Encoding: chunked\r\n\r\n"
    site = Site(peers, always(wire + b"3\r\n{'e\r\n2\r\n'}\r\n0\r\n\r\n"))
    reply = await asks(way, site.url)
    assert (reply.status, reply.body) == (429, b"{'e'}")
    assert first(reply.fields, b"retry-after") == b"7"
    assert way.pool.idle_count == 1


@pytest.mark.parametrize(
    ("method", "body", "framing"),
    [
        (b"GET", b"", None),
        (b"POST", b"{}", b"Content-Length: 2\r\n\r\n{}"),
        (b"POST", b"", b"Content-Length: 0\r\n\r\n"),
    ],
)
async def test_a_request_is_framed_as_its_method_wants(
    peers: Peers, way: Way, method: bytes, body: bytes, framing: bytes | None
) -> None:
    site = Site(peers, always(REPLY))
    await asks(way, site.url, method, body)
    ((_, wire),) = site.asked
    assert wire.startswith(method + b" /v1/models HTTP/1.1\r\nHost: 127.0.0.1:")
    assert wire.endswith(framing if framing is not None else b"X: y\r\n\r\n")


async def test_the_answer_to_head_has_no_body(peers: Peers, way: Way) -> None:
    site = Site(peers, always(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"))
    for _ in range(2):
        assert (await asks(way, site.url, b"HEAD")).body == b""
    assert site.connections == 1


async def test_requests_one_after_another_share_a_connection(peers: Peers, way: Way) -> None:
    site = Site(peers, always(REPLY))
    for _ in range(3):
        assert (await asks(way, site.url)).body == b"hi"
    assert site.connections == 1 and len(site.asked) == 3


async def test_a_stale_connection_costs_nothing_but_a_new_one(peers: Peers, way: Way) -> None:
    """The upstream closed it as we wrote on it: the same request goes out once more."""
    site = Site(peers, lambda connection, number: REPLY if number == 1 else None)
    for _ in range(3):
        assert (await asks(way, site.url)).body == b"hi"
    assert [connection for connection, _ in site.asked] == [1, 1, 2, 2, 3]


async def test_several_stale_ones_are_no_reason_to_try_them_all(peers: Peers, way: Way) -> None:
    site = Site(peers, lambda connection, number: REPLY if number == 1 else None)
    for reply in [asks(way, site.url) for _ in range(3)]:
        await reply
    assert way.pool.idle_count == 3
    assert (await asks(way, site.url)).body == b"hi"
    assert len(site.asked) == 5


async def test_a_new_connection_that_closes_is_not_tried_again(peers: Peers, way: Way) -> None:
    site = Site(peers, always(None))
    with pytest.raises(UpstreamFailure) as caught:
        await asks(way, site.url)
    assert caught.value.trouble is Trouble.CLOSED and len(site.asked) == 1


@pytest.mark.parametrize(
    "sofar", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab"]
)
async def test_an_answer_that_takes_too_long_ends_the_connection(
    peers: Peers, way: Way, sofar: bytes
) -> None:
    site = Site(peers, always(sofar))
    with pytest.raises(UpstreamFailure) as caught:
        await asks(way, site.url, timeout_s=0.2)
    assert caught.value.trouble is Trouble.TIMEOUT
    await has_left(site, way)


async def has_left(site: Site, way: Way) -> None:
    while not site.left:
        await deferLater(way.reactor, 0.01)


async def test_a_cancelled_request_ends_its_connection_at_once(peers: Peers, way: Way) -> None:
    site = Site(peers, always(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab"))
    reply = asks(way, site.url)
    while not site.asked:
        await deferLater(way.reactor, 0.01)
    reply.cancel()
    with pytest.raises(CancelledError):
        await reply
    await has_left(site, way)


async def test_a_request_cancelled_before_it_is_connected_leaves_nothing(
    peers: Peers, way: Way
) -> None:
    site = Site(peers, always(REPLY))
    reply = asks(way, site.url)
    reply.cancel()
    with pytest.raises(CancelledError):
        await reply
    await deferLater(way.reactor, 0.05)
    assert site.asked == [] and not way.pool._routes


async def test_of_a_long_body_the_beginning_is_enough(peers: Peers, way: Way) -> None:
    size = BODY_LIMIT * 3
    body = b"x" * size
    site = Site(peers, always(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (size, body)))
    assert len((await asks(way, site.url)).body) == BODY_LIMIT
    assert way.pool.idle_count == 1


@pytest.mark.parametrize(
    ("wire", "trouble"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab", Trouble.BROKEN),
        (b"SSH-2.0-x\r\n\r\n", Trouble.GARBAGE),
        (b"HTTP/1.1 200", Trouble.CLOSED),
    ],
)
async def test_what_is_no_whole_answer_is_a_failure(
    peers: Peers, way: Way, wire: bytes, trouble: Trouble
) -> None:
    async def serve(reader: Any, writer: Any) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(wire)
        writer.close()

    with pytest.raises(UpstreamFailure) as caught:
        await asks(way, f"http://127.0.0.1:{peers.start(serve)}")
    assert caught.value.trouble is trouble and not way.sweep._timed
