"""How to get there: TCP, verified TLS, HTTP CONNECT, SOCKS5, or a socket file.

One seam for all of it: `Connector.connect` takes a route and calls back with a
connection that is ready for a request. Nothing else knows how it came about.

A group's URL may not name a link-local address, where clouds keep credentials; here a
name that leads to one is refused too, by the very addresses that would be connected to.

Sources: RFC 9110 §9.3.6 (CONNECT), RFC 1928 and 1929 (SOCKS5), RFC 6125 (whose
certificate it is; service-identity checks that).
"""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from attrs import frozen
from OpenSSL import SSL

# Private, but the only way to trust the system's authorities and one file more.
from twisted.internet._sslverify import IOpenSSLTrustRoot
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import HostnameEndpoint, UNIXClientEndpoint, wrapClientTLS
from twisted.internet.error import (
    ConnectError,
    ConnectionRefusedError,
    DNSLookupError,
    TimeoutError,
)
from twisted.internet.interfaces import (
    IAddress,
    IHostnameResolver,
    IHostResolution,
    IProtocol,
    IProtocolFactory,
    IReactorPluggableNameResolver,
    IResolutionReceiver,
    IStreamClientEndpoint,
    ITransport,
)
from twisted.internet.protocol import Factory
from twisted.internet.ssl import optionsForClientTLS
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from zope.interface import directlyProvides, implementer, providedBy

from gptload.core.paths import is_link_local
from gptload.core.snapshot import Origin
from gptload.wire.upstream import Idle, Trouble, UpstreamConnection, UpstreamFailure, cause_of

_TLS_HOSTS: Final = 256
_PROXY_HEAD_LIMIT: Final = 16 * 1024
_SOCKS_ERRORS: Final = {
    1: "general failure",
    2: "not allowed by its rules",
    3: "network unreachable",
    4: "host unreachable",
    5: "connection refused",
    6: "time to live expired",
    7: "command not supported",
    8: "address type not supported",
}


@frozen(cache_hash=True)  # looked up by it for every attempt
class Route:
    """Where a connection leads, and through what. Connections of one route are alike.

    Attributes:
        proxy: URL of an outbound proxy (http, https, socks5, socks5h); empty for none.
    """

    origin: Origin
    proxy: str = ""

    @property
    def absolute(self) -> bool:
        """Whether requests must name their origin: plain HTTP through an HTTP proxy."""
        return self.origin.scheme == "http" and self.proxy.startswith("http")

    @property
    def credentials(self) -> bytes:
        """`Proxy-Authorization` value that each request must carry; empty for none."""
        return proxy_authorization(self.proxy) if self.absolute else b""


def proxy_authorization(proxy: str) -> bytes:
    """`Proxy-Authorization` value for a proxy's URL; empty when it names no user."""
    parts = urlsplit(proxy)
    if parts.username is None:
        return b""
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return b"Basic " + base64.b64encode(pair.encode())


@implementer(IOpenSSLTrustRoot)
class SystemTrust:
    """The system's certificate authorities, and those of one more file if there is one."""

    def __init__(self, extra: Path | None) -> None:
        self._extra = extra

    def _addCACertsToContext(self, context: SSL.Context) -> None:
        context.set_default_verify_paths()
        if self._extra is not None:
            context.load_verify_locations(str(self._extra))


class Connector:
    """Opens connections.

    Args:
        reactor: whose sockets are used.
        extra_authorities: PEM file beside the system's trust store, or None.
        allow_link_local: whether names may lead to link-local and metadata addresses.
    """

    def __init__(
        self,
        reactor: Any,
        extra_authorities: Path | None = None,
        *,
        allow_link_local: bool = False,
    ) -> None:
        self._reactor = reactor
        self._allow_link_local = allow_link_local
        self._trust = SystemTrust(extra_authorities)
        self._tls: dict[str, Any] = {}

    def connect(
        self,
        route: Route,
        timeout_s: float,
        idle: Idle,
        done: Callable[[UpstreamConnection | UpstreamFailure], None],
    ) -> Callable[[], None]:
        """Open a connection.

        Args:
            timeout_s: for TCP, proxy and TLS together.
            done: called once, never before this returns an answer of its own; not
                called after a cancel.

        Returns:
            How to give up.
        """
        attempt = _Opening(self._reactor, timeout_s, done)
        # Whose TLS the request waits for: that of a proxy that gets it, else the origin's.
        secure = (route.proxy if route.absolute else route.origin.scheme).startswith("https")
        factory = Factory.forProtocol(
            lambda: UpstreamConnection(idle, attempt.handshake_ended, secure=secure)
        )
        factory.noisy = False
        try:
            endpoint = self._endpoint(route, timeout_s)
        except Exception as error:  # an unusable host name, a proxy URL of another kind
            self._reactor.callLater(
                0, attempt.handshake_ended, UpstreamFailure(Trouble.CONNECT, str(error))
            )
            return attempt.cancel
        attempt.begin(endpoint.connect(factory))
        return attempt.cancel

    def _endpoint(self, route: Route, timeout_s: float) -> IStreamClientEndpoint:
        origin = route.origin
        if origin.scheme == "unix":
            return UNIXClientEndpoint(self._reactor, origin.host, timeout=timeout_s)
        endpoint: IStreamClientEndpoint
        if not route.proxy:
            endpoint = self._named(origin.host, origin.port, timeout_s)
        else:
            endpoint = self._through(route, timeout_s)
        if origin.scheme == "https":
            endpoint = wrapClientTLS(self._options(origin.host), endpoint)
        return endpoint

    def _named(self, host: str, port: int, timeout_s: float) -> IStreamClientEndpoint:
        if self._allow_link_local:
            return HostnameEndpoint(self._reactor, host, port, timeout=timeout_s)
        return _WaryEndpoint(self._reactor, host, port, timeout_s)

    def _through(self, route: Route, timeout_s: float) -> IStreamClientEndpoint:
        parts = urlsplit(route.proxy)
        host = parts.hostname or ""
        ports = {"http": 80, "https": 443}
        proxy = self._named(host, parts.port or ports.get(parts.scheme, 1080), timeout_s)
        if parts.scheme == "https":
            proxy = wrapClientTLS(self._options(host), proxy)
        if route.absolute:
            return proxy
        if parts.scheme in ports:
            authorization = proxy_authorization(route.proxy)
            return _Tunnel(proxy, lambda: _Connect(route.origin, authorization))
        user = unquote(parts.username or "").encode()
        password = unquote(parts.password or "").encode()
        return _Tunnel(proxy, lambda: _Socks5(route.origin, user, password))

    def _options(self, host: str) -> Any:
        # Making one reads the whole trust store (some 10 ms), so it's kept.
        options = self._tls.get(host)
        if options is None:
            if len(self._tls) >= _TLS_HOSTS:
                self._tls.clear()
            options = self._tls[host] = optionsForClientTLS(host, trustRoot=self._trust)
        return options


class _Opening:
    """One connection that is being opened: exactly one ending, whatever comes first."""

    def __init__(
        self,
        reactor: Any,
        timeout_s: float,
        done: Callable[[UpstreamConnection | UpstreamFailure], None],
    ) -> None:
        self._done: Callable[[UpstreamConnection | UpstreamFailure], None] | None = done
        self._connecting: Deferred[Any] | None = None
        self._connection: UpstreamConnection | None = None
        self._ready = False
        # One timer a *new* connection; a request on a kept one has none.
        self._alarm = reactor.callLater(timeout_s, self._timed_out)

    def begin(self, connecting: Deferred[Any]) -> None:
        self._connecting = connecting
        connecting.addCallbacks(self._connected, self._refused)

    def handshake_ended(self, failure: UpstreamFailure | None) -> None:
        if failure is not None:
            self._end(failure)
        else:
            self._ready = True
            if self._connection is not None:
                self._end(self._connection)

    def cancel(self) -> None:
        self._done = None
        self._stop()

    def _connected(self, protocol: Any) -> None:
        # wrapClientTLS hands out the protocol inside TLS; a tunnel's is ours already.
        self._connection = protocol
        if self._done is None:
            protocol.abort()
        elif self._ready:
            self._end(protocol)

    def _refused(self, failure: Failure) -> None:
        error = failure.value
        if isinstance(error, CancelledError):
            return
        if isinstance(error, UpstreamFailure):
            self._end(error)
        elif isinstance(error, TimeoutError):
            self._end(UpstreamFailure(Trouble.TIMEOUT, "connecting"))
        elif isinstance(error, DNSLookupError):
            self._end(UpstreamFailure(Trouble.CONNECT, "its name can't be resolved"))
        elif isinstance(error, ConnectionRefusedError):
            self._end(UpstreamFailure(Trouble.CONNECT, "refused"))
        elif isinstance(error, ConnectError):
            self._end(UpstreamFailure(Trouble.CONNECT, type(error).__name__))
        else:
            self._end(UpstreamFailure(Trouble.CONNECT, str(error)))

    def _timed_out(self) -> None:
        self._end(UpstreamFailure(Trouble.TIMEOUT, "connecting"))

    def _end(self, result: UpstreamConnection | UpstreamFailure) -> None:
        done, self._done = self._done, None
        if done is None:
            return
        if isinstance(result, UpstreamFailure):
            self._stop()
        else:
            self._connection = None  # not ours any more: a late cancel must not end it
            if self._alarm.active():
                self._alarm.cancel()
        done(result)

    def _stop(self) -> None:
        if self._alarm.active():
            self._alarm.cancel()
        if self._connection is not None:
            self._connection.abort()
        elif self._connecting is not None:
            self._connecting.cancel()


@implementer(IStreamClientEndpoint)
class _WaryEndpoint:
    """A host by its name, at any of its addresses that isn't link-local."""

    def __init__(self, reactor: Any, host: str, port: int, timeout_s: float) -> None:
        self._reactor = reactor
        self._host = host
        self._port = port
        self._timeout_s = timeout_s

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        wary = _WaryReactor(self._reactor)
        endpoint = HostnameEndpoint(wary, self._host, self._port, timeout=self._timeout_s)
        return endpoint.connect(protocolFactory).addErrback(wary.explained)


@implementer(IReactorPluggableNameResolver, IHostnameResolver)
class _WaryReactor:
    """A reactor for one connection, whose resolver keeps link-local addresses to itself."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._refused: list[str] = []
        self.nameResolver = self

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Sequence[type[IAddress]] | None = None,
        transportSemantics: str = "TCP",
    ) -> IHostResolution:
        resolution: IHostResolution = self._reactor.nameResolver.resolveHostName(
            _WaryReceiver(resolutionReceiver, self._refused),
            hostName,
            portNumber,
            addressTypes,
            transportSemantics,
        )
        return resolution

    def explained(self, failure: Failure) -> Failure:
        """The same, or why no address was left to connect to."""
        if not self._refused or not failure.check(DNSLookupError):
            return failure
        return Failure(
            UpstreamFailure(
                Trouble.CONNECT,
                f"its name leads to the link-local address {self._refused[0]}; "
                "ALLOW_LINK_LOCAL_UPSTREAMS=true allows that",
            )
        )


@implementer(IResolutionReceiver)
class _WaryReceiver:
    """Passes on what a resolver finds, but for link-local addresses."""

    def __init__(self, receiver: IResolutionReceiver, refused: list[str]) -> None:
        self._refused = refused
        self.resolutionBegan = receiver.resolutionBegan
        self.resolutionComplete = receiver.resolutionComplete
        self._resolved = receiver.addressResolved

    def addressResolved(self, address: Any) -> None:
        if is_link_local(address.host):
            self._refused.append(address.host)
        else:
            self._resolved(address)


@implementer(IStreamClientEndpoint)
class _Tunnel:
    """An endpoint behind a proxy: connect, agree, then step aside."""

    def __init__(
        self, proxy: IStreamClientEndpoint, make: Callable[[], _Connect | _Socks5]
    ) -> None:
        self._proxy = proxy
        self._make = make

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        def give_up(_: object) -> None:
            connecting.cancel()
            for tunnel in factory.protocols:  # connected already, and waiting for the proxy
                tunnel.transport.abortConnection()

        result: Deferred[IProtocol] = Deferred(give_up)
        factory = _TunnelFactory(protocolFactory, self._make, result)
        connecting = self._proxy.connect(factory)
        connecting.addErrback(lambda failure: None if result.called else result.errback(failure))
        return result


class _TunnelProtocol(ProtocolWrapper):
    """Speaks to the proxy until the way is open; then only passes bytes on."""

    factory: _TunnelFactory
    transport: ITransport

    def makeConnection(self, transport: ITransport) -> None:
        # Not super(): that would tell the inner protocol at once that it is connected.
        directlyProvides(self, providedBy(transport))
        self.transport = transport
        self.factory.registerProtocol(self)
        self._dialogue = self.factory.make()
        self._open = False
        self._received = b""
        self.transport.write(self._dialogue.hello())

    def dataReceived(self, data: bytes) -> None:
        if self._open:
            self.wrappedProtocol.dataReceived(data)
            return
        self._received += data
        try:
            reply, rest = self._dialogue.received(self._received)
        except UpstreamFailure as failure:
            self._refuse(failure)
            return
        if reply:
            self.transport.write(reply)
        if rest is None:
            if len(self._received) > _PROXY_HEAD_LIMIT:
                self._refuse(UpstreamFailure(Trouble.OUTBOUND_PROXY, "its answer is too long"))
            return
        if not self._dialogue.open:
            self._received = rest
            return
        self._received = b""
        self._open = True
        self.wrappedProtocol.makeConnection(self)  # type: ignore[arg-type]
        if not self.factory.result.called:
            self.factory.result.callback(self.wrappedProtocol)
        if rest:
            self.wrappedProtocol.dataReceived(rest)

    def connectionLost(self, reason: Any = None) -> None:
        if self._open:
            super().connectionLost(reason)
        elif not self.factory.result.called:
            trouble, words = cause_of(reason)
            if trouble is not Trouble.TLS:
                words = "it closed the connection"
            self.factory.result.errback(UpstreamFailure(Trouble.OUTBOUND_PROXY, words))

    def _refuse(self, failure: UpstreamFailure) -> None:
        if not self.factory.result.called:
            self.factory.result.errback(failure)
        self.transport.abortConnection()  # type: ignore[attr-defined]


class _TunnelFactory(WrappingFactory):
    noisy = False
    protocol = _TunnelProtocol

    def __init__(
        self,
        wrapped: Any,
        make: Callable[[], _Connect | _Socks5],
        result: Deferred[IProtocol],
    ) -> None:
        super().__init__(wrapped)
        self.make = make
        self.result = result


class _Connect:
    """HTTP CONNECT, from its request to its 2xx."""

    open = False

    def __init__(self, origin: Origin, authorization: bytes) -> None:
        host = f"[{origin.host}]" if ":" in origin.host else origin.host
        self._authority = f"{host}:{origin.port}".encode("ascii")
        self._authorization = authorization

    def hello(self) -> bytes:
        field = b"Proxy-Authorization: %b\r\n" % self._authorization if self._authorization else b""
        return b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n%b\r\n" % (
            self._authority,
            self._authority,
            field,
        )

    def received(self, data: bytes) -> tuple[bytes, bytes | None]:
        head, found, rest = data.partition(b"\r\n\r\n")
        if not found:
            return b"", None
        status = head.split(b"\r\n", 1)[0].split(b" ")[1:2]
        if not head.startswith(b"HTTP/1.") or not status or not status[0].isdigit():
            raise UpstreamFailure(Trouble.OUTBOUND_PROXY, "it doesn't speak HTTP")
        if not status[0].startswith(b"2"):
            raise UpstreamFailure(Trouble.OUTBOUND_PROXY, f"it answered {status[0].decode()}")
        self.open = True
        return b"", rest


class _Socks5:
    """SOCKS5 with no authentication or user and password; the proxy resolves names."""

    def __init__(self, origin: Origin, user: bytes, password: bytes) -> None:
        self._origin = origin
        self._user = user[:255]
        self._password = password[:255]
        self._step = self._method
        self.open = False

    def hello(self) -> bytes:
        return b"\x05\x02\x00\x02" if self._user else b"\x05\x01\x00"

    def received(self, data: bytes) -> tuple[bytes, bytes | None]:
        return self._step(data)

    def _method(self, data: bytes) -> tuple[bytes, bytes | None]:
        if len(data) < 2:
            return b"", None
        if data[:1] != b"\x05":
            raise UpstreamFailure(Trouble.OUTBOUND_PROXY, "it doesn't speak SOCKS5")
        if data[1] == 2 and self._user:
            self._step = self._authenticated
            pair = (len(self._user), self._user, len(self._password), self._password)
            return b"\x01%c%b%c%b" % pair, data[2:]
        if data[1] != 0:
            raise UpstreamFailure(Trouble.OUTBOUND_PROXY, "it wants another authentication")
        self._step = self._connected
        return self._request(), data[2:]

    def _authenticated(self, data: bytes) -> tuple[bytes, bytes | None]:
        if len(data) < 2:
            return b"", None
        if data[1] != 0:
            raise UpstreamFailure(Trouble.OUTBOUND_PROXY, "it refused user and password")
        self._step = self._connected
        return self._request(), data[2:]

    def _request(self) -> bytes:
        host = self._origin.host
        try:
            address = ipaddress.ip_address(host)
            kind = b"\x01" if address.version == 4 else b"\x04"
            where = kind + address.packed
        except ValueError:
            name = host.encode("ascii")
            where = b"\x03%c%b" % (len(name), name)
        return b"\x05\x01\x00" + where + self._origin.port.to_bytes(2, "big")

    def _connected(self, data: bytes) -> tuple[bytes, bytes | None]:
        if len(data) < 5:
            return b"", None
        if data[1] != 0:
            words = _SOCKS_ERRORS.get(data[1], f"error {data[1]}")
            raise UpstreamFailure(Trouble.OUTBOUND_PROXY, words)
        length = {1: 4, 4: 16, 3: 1 + data[4]}.get(data[3])
        if length is None:
            raise UpstreamFailure(Trouble.OUTBOUND_PROXY, "it doesn't speak SOCKS5")
        end = 4 + length + 2
        if len(data) < end:
            return b"", None
        self.open = True
        return b"", data[end:]
