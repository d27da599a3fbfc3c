"""Getting there: TCP, TLS and outbound proxies, on real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHostnameResolver
from twisted.internet.task import deferLater
from twisted.internet.testing import MemoryReactorClock
from zope.interface import implementer

from gptload.core.paths import parse_upstream
from gptload.core.snapshot import Origin
from gptload.wire.connect import Connector, Route
from gptload.wire.pool import ConnectionPool
from gptload.wire.sweep import Sweep
from gptload.wire.upstream import Trouble, UpstreamConnection, UpstreamFailure
from tests.upstream import certificates
from tests.wire.peers import Peers, Way


async def test_plain_and_tls_connections_are_made_and_kept(peers: Peers, way: Way) -> None:
    for tls in (False, True):
        port = peers.start(peers.upstream, tls)
        url = f"{'https' if tls else 'http'}://localhost:{port}"
        assert (await way.get(url)).body == b"hi"
        assert (await way.get(url)).status == 200
    assert way.pool.idle_count == 2


async def refusal(way: Way, url: str, proxy: str = "") -> UpstreamFailure:
    """How getting there fails."""
    with pytest.raises(UpstreamFailure) as caught:
        await way.get(url, proxy)
    return caught.value


async def test_a_certificate_of_an_unknown_authority_is_refused(reactor: Any, peers: Peers) -> None:
    stranger = Way(reactor)
    port = peers.start(peers.upstream, True)
    with pytest.raises(UpstreamFailure) as caught:
        await stranger.get(f"https://localhost:{port}")
    assert caught.value.trouble is Trouble.TLS and peers.seen == []
    await stranger.close()


async def test_a_server_that_never_shakes_hands_is_given_up_in_time(peers: Peers, way: Way) -> None:
    port = peers.start(peers.silent)
    with pytest.raises(UpstreamFailure) as caught:
        await way.get(f"https://localhost:{port}", timeout_s=0.5)
    assert caught.value.trouble is Trouble.TIMEOUT
    await peers.have_seen_off(1)


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


@pytest.mark.parametrize("through", ["tcp", "tls", "http", "socks5", "https"])
async def test_giving_up_leaves_nothing_behind(peers: Peers, way: Way, through: str) -> None:
    """Whatever it was waiting for: the sockets are closed, and nobody is called."""
    heard: list[UpstreamConnection | UpstreamFailure] = []
    port = peers.start(peers.silent, tls=through == "https")
    direct = through in ("tcp", "tls")
    proxy = "" if direct else f"{through}://localhost:{port}"
    for wait_s in (0.0, 0.1):  # before it is connected, and while the other side is silent
        route = Route(parse_upstream(f"https://localhost:{port}", 1).origin, proxy)
        cancel = way.connector.connect(route, 5.0, way.pool, heard.append)
        await deferLater(way.reactor, wait_s)
        cancel()
    await peers.have_seen_off(1)
    assert heard == []  # clean_reactor checks the rest


@pytest.mark.parametrize("scheme", ["http", "socks5", "https"])
async def test_a_silent_proxy_is_given_up_in_time_and_left(
    peers: Peers, way: Way, scheme: str
) -> None:
    proxy = peers.start(peers.silent, tls=scheme == "https")
    with pytest.raises(UpstreamFailure) as caught:
        await way.get("https://far.example", f"{scheme}://localhost:{proxy}", timeout_s=0.3)
    assert caught.value.trouble is Trouble.TIMEOUT
    await peers.have_seen_off(1)


async def test_giving_up_too_late_ends_nothing(peers: Peers, way: Way) -> None:
    """Its connection may be somebody else's by now."""
    port = peers.start(peers.upstream)
    opened: Deferred[UpstreamConnection | UpstreamFailure] = Deferred()
    route = Route(parse_upstream(f"http://localhost:{port}", 1).origin)
    cancel = way.connector.connect(route, 5.0, way.pool, opened.callback)
    connection = await opened
    assert isinstance(connection, UpstreamConnection)
    cancel()
    assert not connection.dead
    connection.abort()


async def test_a_refused_connection_says_so(way: Way) -> None:
    with socket.socket() as taken:  # bound, and nobody listens
        taken.bind(("127.0.0.1", 0))
        failure = await refusal(way, f"http://127.0.0.1:{taken.getsockname()[1]}")
    assert failure.trouble is Trouble.CONNECT and "refused" in str(failure)


async def test_a_full_backlog_is_given_up_in_time(way: Way) -> None:
    with socket.socket() as full, contextlib.ExitStack() as others:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):
            other = others.enter_context(socket.socket())
            other.setblocking(False)
            other.connect_ex(full.getsockname())
        with pytest.raises(UpstreamFailure) as caught:
            await way.get(f"http://127.0.0.1:{full.getsockname()[1]}", timeout_s=0.3)
    assert caught.value.trouble is Trouble.TIMEOUT


async def test_a_socket_file_is_an_upstream_too(peers: Peers, way: Way, tmp_path: Path) -> None:
    path = tmp_path / "control.sock"

    async def begin() -> None:
        await asyncio.start_unix_server(peers.upstream, path)

    asyncio.run_coroutine_threadsafe(begin(), peers._loop).result(5)
    opened: Deferred[UpstreamConnection | UpstreamFailure] = Deferred()
    way.connector.connect(Route(Origin("unix", str(path), 0)), 5.0, way.pool, opened.callback)
    connection = await opened
    assert isinstance(connection, UpstreamConnection)
    connection.abort()


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
async def test_an_address_is_verified_as_a_name_is(peers: Peers, way: Way, host: str) -> None:
    port = peers.start(peers.upstream, True, host.strip("[]"))
    assert (await way.get(f"https://{host}:{port}")).body == b"hi"
    (head,) = peers.seen
    assert b"Host: %b:%d\r\n" % (host.encode(), port) in head


async def test_a_certificate_for_another_host_is_refused(
    peers: Peers, way: Way, tmp_path: Path, reactor: Any
) -> None:
    (tmp_path / "other").mkdir()
    other = certificates.make(tmp_path / "other", "other.example")
    port = peers.start(peers.upstream, other)
    way = Way(reactor, other.ca)
    for host in ("localhost", "127.0.0.1"):
        failure = await refusal(way, f"https://{host}:{port}")
        assert failure.trouble is Trouble.TLS and "another host" in str(failure)
    assert peers.seen == []
    await way.close()


async def test_an_expired_certificate_is_refused(
    peers: Peers, tmp_path: Path, reactor: Any
) -> None:
    (tmp_path / "old").mkdir()
    old = certificates.make(tmp_path / "old", lasts=timedelta(minutes=-5))
    port = peers.start(peers.upstream, old)
    way = Way(reactor, old.ca)
    failure = await refusal(way, f"https://localhost:{port}")
    assert failure.trouble is Trouble.TLS and "certificate" in str(failure) and peers.seen == []
    await way.close()


async def test_a_server_without_tls_is_no_https_upstream(peers: Peers, way: Way) -> None:
    async def plain(reader: Any, writer: Any) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    failure = await refusal(way, f"https://localhost:{peers.start(plain)}")
    assert failure.trouble is Trouble.TLS


async def test_without_credentials_a_proxy_is_shown_none(peers: Peers, way: Way) -> None:
    port = peers.start(peers.upstream, True)
    proxy = f"http://127.0.0.1:{peers.start(peers.http_proxy())}"
    assert (await way.get(f"https://localhost:{port}", proxy)).body == b"hi"
    assert await way.get("http://far.example", f"http://127.0.0.1:{peers.start(peers.upstream)}")
    assert not any(b"Proxy-Authorization" in head for head in peers.seen)


async def test_a_tunnel_carries_one_request_after_another(peers: Peers, way: Way) -> None:
    port = peers.start(peers.upstream, True)
    proxy = f"http://127.0.0.1:{peers.start(peers.http_proxy())}"
    for _ in range(3):
        assert (await way.get(f"https://localhost:{port}", proxy)).body == b"hi"
    assert len(peers.seen) == 4 and way.pool.idle_count == 1


async def test_a_certificate_is_verified_through_a_tunnel_too(
    peers: Peers, way: Way, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    port = peers.start(peers.upstream, certificates.make(tmp_path / "other"))
    proxy = f"http://127.0.0.1:{peers.start(peers.http_proxy())}"
    failure = await refusal(way, f"https://localhost:{port}", proxy)
    assert failure.trouble is Trouble.TLS and len(peers.seen) == 1


@pytest.mark.parametrize("upstream_tls", [False, True])
async def test_a_proxy_is_spoken_to_over_tls(peers: Peers, way: Way, upstream_tls: bool) -> None:
    if upstream_tls:
        port = peers.start(peers.upstream, True)
        proxy = peers.start(peers.http_proxy(), True)
        url = f"https://localhost:{port}"
    else:
        proxy = peers.start(peers.upstream, True)
        url = "http://far.example"
    assert (await way.get(url, f"https://localhost:{proxy}")).body == b"hi"
    assert (await way.get(url, f"https://localhost:{proxy}")).body == b"hi"
    assert way.pool.idle_count == 1


@pytest.mark.parametrize("url", ["https://far.example", "http://far.example"])
async def test_a_proxy_whose_certificate_is_bad_hears_nothing(
    peers: Peers, way: Way, tmp_path: Path, url: str
) -> None:
    (tmp_path / "other").mkdir()
    proxy = peers.start(peers.upstream, certificates.make(tmp_path / "other"))
    failure = await refusal(way, url, f"https://u:p@localhost:{proxy}")
    assert failure.trouble in (Trouble.TLS, Trouble.OUTBOUND_PROXY) and peers.seen == []
    assert "certificate verify failed" in str(failure)


async def test_a_proxy_that_closes_early_is_the_one_to_blame(peers: Peers, way: Way) -> None:
    async def closes(reader: Any, writer: Any) -> None:
        await reader.read(1)
        writer.close()

    port = peers.start(closes)
    for scheme in ("http", "socks5"):
        failure = await refusal(way, "https://far.example", f"{scheme}://127.0.0.1:{port}")
        assert failure.trouble is Trouble.OUTBOUND_PROXY


async def test_a_proxy_that_talks_without_end_is_given_up(peers: Peers, way: Way) -> None:
    proxy = peers.start(peers.http_proxy_of(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000))
    failure = await refusal(way, "https://far.example", f"http://127.0.0.1:{proxy}")
    assert failure.trouble is Trouble.OUTBOUND_PROXY and "too long" in str(failure)


async def test_socks5_is_told_an_ipv6_address_as_such(peers: Peers, way: Way) -> None:
    port = peers.start(peers.upstream, False, "::1")
    proxy = peers.start(peers.socks())
    assert (await way.get(f"http://[::1]:{port}", f"socks5://127.0.0.1:{proxy}")).body == b"hi"
    assert peers.seen[0] == b"kind 4"


async def test_socks5_without_credentials_refuses_to_make_some_up(peers: Peers, way: Way) -> None:
    proxy = peers.start(peers.socks(method=2))
    failure = await refusal(way, "http://far.example", f"socks5://127.0.0.1:{proxy}")
    assert failure.trouble is Trouble.OUTBOUND_PROXY and "authentication" in str(failure)


async def test_socks5_credentials_that_are_refused_say_so_without_them(
    peers: Peers, way: Way
) -> None:
    async def serve(reader: Any, writer: Any) -> None:
        await reader.readexactly(4)
        writer.write(b"\x05\x02")
        await reader.readexactly(1)
        writer.write(b"\x01\x01")
        await reader.read()
        writer.close()

    proxy = f"socks5h://me:secret@127.0.0.1:{peers.start(serve)}"
    failure = await refusal(way, "http://far.example", proxy)
    assert failure.trouble is Trouble.OUTBOUND_PROXY
    assert "password" in str(failure) and "secret" not in str(failure)


async def test_a_proxy_that_isnt_there_is_a_failed_connection(way: Way) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        for scheme in ("http", "socks5", "https"):
            failure = await refusal(way, "https://far.example", f"{scheme}://127.0.0.1:{port}")
            assert failure.trouble is Trouble.CONNECT


@implementer(IHostnameResolver)
class Names:
    """A resolver to which every name means the same addresses."""

    def __init__(self, *addresses: str) -> None:
        self._addresses = addresses

    def resolveHostName(self, receiver: Any, hostName: str, portNumber: int = 0, *_: Any) -> Any:
        receiver.resolutionBegan(self)
        for address in self._addresses:
            kind = IPv6Address if ":" in address else IPv4Address
            receiver.addressResolved(kind("TCP", address, portNumber))
        receiver.resolutionComplete()
        return self

    def cancel(self) -> None: ...


@contextlib.contextmanager
def names_meaning(reactor: Any, *addresses: str) -> Iterator[None]:
    former = reactor.installNameResolver(Names(*addresses))
    try:
        yield
    finally:
        reactor.installNameResolver(former)


@pytest.mark.parametrize(
    "address", ["169.254.169.254", "fe80::1", "::ffff:169.254.169.254", "fd00:ec2::254"]
)
@pytest.mark.parametrize("url", ["http://rebound.example", "https://rebound.example"])
async def test_a_name_that_leads_to_a_link_local_address_is_refused_and_says_so(
    way: Way, url: str, address: str
) -> None:
    with names_meaning(way.reactor, address):
        failure = await refusal(way, url)
    assert failure.trouble is Trouble.CONNECT
    assert f"link-local address {address}; ALLOW_LINK_LOCAL_UPSTREAMS" in failure.detail


@pytest.mark.parametrize("scheme", ["http", "socks5"])
async def test_an_outbound_proxy_is_no_link_local_address_either(way: Way, scheme: str) -> None:
    with names_meaning(way.reactor, "169.254.169.254"):
        failure = await refusal(way, "https://far.example", f"{scheme}://proxy.example:80")
    assert "link-local address 169.254.169.254" in failure.detail


async def test_the_other_addresses_of_a_name_are_used(peers: Peers, way: Way) -> None:
    """Loopback is none of those that are refused, nor are private networks."""
    port = peers.start(peers.upstream)
    with names_meaning(way.reactor, "169.254.169.254", "127.0.0.1"):
        assert (await way.get(f"http://mixed.example:{port}")).body == b"hi"


@pytest.mark.parametrize("allowed", [True, False])
def test_link_local_addresses_are_called_where_they_are_allowed(allowed: bool) -> None:
    reactor = MemoryReactorClock()  # type: ignore[no-untyped-call]
    reactor.installNameResolver(Names("169.254.0.1"))
    connector = Connector(reactor, allow_link_local=allowed)
    route = Route(parse_upstream("http://near.example:1", 1).origin)
    pool = ConnectionPool(connector, Sweep(reactor, reactor.seconds))
    connector.connect(route, 1, pool, lambda _: None)()
    assert [client[0] for client in reactor.tcpClients] == ["169.254.0.1"] * allowed
