"""Getting there through outbound proxies, on real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from gptload.core.headers import OutgoingRequest
from gptload.core.paths import parse_upstream
from gptload.core.settings import Settings
from gptload.wire.client import Client
from gptload.wire.connect import Connector, Route
from gptload.wire.pool import ConnectionPool
from gptload.wire.sweep import Sweep
from gptload.wire.upstream import Trouble, UpstreamConnection, UpstreamFailure
from tests.upstream import certificates

REPLY = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


class Peers:
    """An upstream and proxies of each kind, in a thread of their own.

    Attributes:
        seen: request heads that the upstream got, and what the proxies were asked for.
    """

    def __init__(self, folder: Path) -> None:
        self.certificates = certificates.make(folder)
        self.seen: list[bytes] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def start(self, handler: Any, tls: bool = False) -> int:
        """Serve on a free port; its number."""
        context = None
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.certificates.cert, self.certificates.key)

        async def begin() -> int:
            server = await asyncio.start_server(handler, "127.0.0.1", 0, ssl=context)
            port: int = server.sockets[0].getsockname()[1]
            return port

        return asyncio.run_coroutine_threadsafe(begin(), self._loop).result(5)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    async def upstream(self, reader: Any, writer: Any) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                self.seen.append(await reader.readuntil(b"\r\n\r\n"))
                writer.write(REPLY)

    def http_proxy(self, answer: bytes = b"HTTP/1.1 200 Connection established\r\n\r\n") -> Any:
        async def serve(reader: Any, writer: Any) -> None:
            head = await reader.readuntil(b"\r\n\r\n")
            self.seen.append(head)
            for index in range(len(answer)):  # one byte at a time
                writer.write(answer[index : index + 1])
                await writer.drain()
            if b" 200 " in answer:
                await _splice(reader, writer, *_target(head))
            else:
                writer.close()

        return serve

    def socks(self, method: int = 0, status: int = 0) -> Any:
        async def serve(reader: Any, writer: Any) -> None:
            count = (await reader.readexactly(2))[1]
            await reader.readexactly(count)
            writer.write(bytes((5, method)))
            if method == 2:
                _, length = await reader.readexactly(2)
                user = await reader.readexactly(length)
                password = await reader.readexactly((await reader.readexactly(1))[0])
                self.seen.append(b"%b:%b" % (user, password))
                writer.write(b"\x01\x00")
            *_, kind = await reader.readexactly(4)
            size = {1: 4, 4: 16}.get(kind) or (await reader.readexactly(1))[0]
            host = await reader.readexactly(size)
            port = int.from_bytes(await reader.readexactly(2), "big")
            self.seen.append(b"kind %d" % kind)
            for byte in bytes((5, status, 0, 1, 0, 0, 0, 0, 0, 0)):
                writer.write(bytes((byte,)))
                await writer.drain()
            if not status:
                name = "127.0.0.1" if kind == 1 else host.decode()
                await _splice(reader, writer, name, port)

        return serve


def _target(head: bytes) -> tuple[str, int]:
    host, _, port = head.split(b" ")[1].rpartition(b":")
    return host.decode(), int(port)


async def _splice(reader: Any, writer: Any, host: str, port: int) -> None:
    far_reader, far_writer = await asyncio.open_connection(host, port)

    async def move(source: Any, sink: Any) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await source.read(65536):
                sink.write(data)
        sink.close()

    await asyncio.gather(move(reader, far_writer), move(far_reader, writer))


@pytest.fixture
def peers(tmp_path: Path) -> Iterator[Peers]:
    started = Peers(tmp_path)
    yield started
    started.stop()


class Way:
    """Connections of the service's own kind, and a request over them."""

    def __init__(self, reactor: Any, authority: Path | None = None) -> None:
        self.reactor = reactor
        self.sweep = Sweep(reactor, reactor.seconds)
        self.sweep.start()
        self.connector = Connector(reactor, authority)
        self.pool = ConnectionPool(self.connector, self.sweep)

    def get(self, url: str, proxy: str = "", timeout_s: float = 5.0) -> Deferred[Any]:
        request = OutgoingRequest(b"GET", b"/a?b", [])
        client = Client(self.pool, self.sweep)
        return client.request(parse_upstream(url, 1), proxy, request, b"", Settings(), timeout_s)

    async def close(self) -> None:
        self.pool.close()
        self.sweep.stop()
        await deferLater(self.reactor, 0.02)  # connections are lost a turn after they are aborted


@pytest_twisted.async_yield_fixture
async def way(reactor: Any, peers: Peers) -> AsyncIterator[Way]:
    made = Way(reactor, peers.certificates.ca)
    yield made
    await made.close()


async def test_plain_and_tls_connections_are_made_and_kept(peers: Peers, way: Way) -> None:
    for tls in (False, True):
        port = peers.start(peers.upstream, tls)
        url = f"{'https' if tls else 'http'}://localhost:{port}"
        assert (await way.get(url)).body == b"hi"
        assert (await way.get(url)).status == 200
    assert way.pool.idle_count == 2


async def test_a_certificate_of_an_unknown_authority_is_refused(reactor: Any, peers: Peers) -> None:
    stranger = Way(reactor)
    port = peers.start(peers.upstream, True)
    with pytest.raises(UpstreamFailure) as caught:
        await stranger.get(f"https://localhost:{port}")
    assert caught.value.trouble is Trouble.TLS and peers.seen == []
    await stranger.close()


async def test_a_server_that_never_shakes_hands_is_given_up_in_time(peers: Peers, way: Way) -> None:
    async def silent(reader: Any, writer: Any) -> None:
        await asyncio.sleep(60)

    port = peers.start(silent)
    with pytest.raises(UpstreamFailure) as caught:
        await way.get(f"https://localhost:{port}", timeout_s=0.5)
    assert caught.value.trouble is Trouble.TIMEOUT


async def test_https_goes_through_an_http_proxys_tunnel(peers: Peers, way: Way) -> None:
    port = peers.start(peers.upstream, True)
    proxy = peers.start(peers.http_proxy())
    url = f"https://localhost:{port}"
    assert (await way.get(url, f"http://us%40er:p%3Aw@127.0.0.1:{proxy}")).body == b"hi"
    asked, got = peers.seen
    assert asked.startswith(b"CONNECT localhost:%d HTTP/1.1\r\n" % port)
    assert b"Proxy-Authorization: Basic dXNAZXI6cDp3\r\n" in asked
    assert got.startswith(b"GET /a?b HTTP/1.1\r\n") and b"roxy" not in got


async def test_plain_http_names_its_origin_to_an_http_proxy(peers: Peers, way: Way) -> None:
    proxy = peers.start(peers.upstream)
    assert (await way.get("http://far.example", f"http://u:p@127.0.0.1:{proxy}")).body == b"hi"
    (asked,) = peers.seen
    assert asked.startswith(b"GET http://far.example/a?b HTTP/1.1\r\nHost: far.example\r\n")
    assert b"Proxy-Authorization: Basic dTpw\r\n" in asked


@pytest.mark.parametrize(
    "answer",
    [b"HTTP/1.1 407 Who\r\n\r\n", b"HTTP/1.1 502 No\r\n\r\n", b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 2"],
)
async def test_a_proxy_that_refuses_is_the_one_to_blame(
    peers: Peers, way: Way, answer: bytes
) -> None:
    proxy = peers.start(peers.http_proxy(answer))
    with pytest.raises(UpstreamFailure) as caught:
        await way.get("https://far.example", f"http://127.0.0.1:{proxy}")
    assert caught.value.trouble is Trouble.OUTBOUND_PROXY


@pytest.mark.parametrize(("host", "kind"), [("127.0.0.1", b"kind 1"), ("localhost", b"kind 3")])
@pytest.mark.parametrize("tls", [False, True])
async def test_socks5_leads_there_and_resolves_names(
    peers: Peers, way: Way, host: str, kind: bytes, tls: bool
) -> None:
    port = peers.start(peers.upstream, tls)
    proxy = peers.start(peers.socks())
    url = f"{'https' if tls else 'http'}://{host}:{port}"
    assert (await way.get(url, f"socks5://127.0.0.1:{proxy}")).body == b"hi"
    assert peers.seen[0] == kind


async def test_socks5_takes_user_and_password(peers: Peers, way: Way) -> None:
    port = peers.start(peers.upstream)
    proxy = peers.start(peers.socks(method=2))
    reply = await way.get(f"http://localhost:{port}", f"socks5://me:secret@127.0.0.1:{proxy}")
    assert reply.body == b"hi" and peers.seen[0] == b"me:secret"


@pytest.mark.parametrize(("method", "status"), [(255, 0), (0, 5), (0, 2)])
async def test_a_socks5_proxy_that_refuses_is_the_one_to_blame(
    peers: Peers, way: Way, method: int, status: int
) -> None:
    proxy = peers.start(peers.socks(method, status))
    with pytest.raises(UpstreamFailure) as caught:
        await way.get("http://far.example", f"socks5://127.0.0.1:{proxy}")
    assert caught.value.trouble is Trouble.OUTBOUND_PROXY


async def test_a_name_that_nobody_knows_is_a_failed_connection(way: Way) -> None:
    with pytest.raises(UpstreamFailure) as caught:
        await way.get("http://does-not-exist.invalid")
    assert caught.value.trouble is Trouble.CONNECT


async def test_giving_up_leaves_nothing_behind(peers: Peers, way: Way) -> None:
    async def silent(reader: Any, writer: Any) -> None:
        await asyncio.sleep(60)

    port = peers.start(silent)
    heard: list[UpstreamConnection | UpstreamFailure] = []
    route = Route(parse_upstream(f"https://localhost:{port}", 1).origin)
    cancel = way.connector.connect(route, 5.0, way.pool, heard.append)
    cancel()
    assert heard == []  # clean_reactor checks the rest
