"""The floor: bytes to and fro on Twisted, and nothing looked at.

Run as a process of its own: `python -m benchmarks.tcprelay PORT UPSTREAM-PORT [stock]`.
What gptload costs more than this is HTTP and the key pool; what this costs more than
nginx is Python.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from twisted.internet.protocol import ClientFactory, Protocol, ServerFactory, connectionDone
from twisted.python.failure import Failure

from gptload.wire import reactor as lean

if TYPE_CHECKING:
    from twisted.internet.interfaces import IAddress, ITCPTransport


class Side(Protocol):
    """One of two connections that belong together."""

    transport: ITCPTransport

    def __init__(self, other: Side | None = None) -> None:
        self.other = other
        self.early: list[bytes] = []

    def dataReceived(self, data: bytes) -> None:
        if self.other is None:
            self.early.append(data)
        else:
            self.other.transport.write(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.loseConnection()


class Downstream(Side):
    """A client's side: opens the upstream's."""

    def __init__(self, clients: Clients) -> None:
        super().__init__()
        self._clients = clients

    def connectionMade(self) -> None:
        self._clients.connect(self)


class Upstream(Side):
    """The upstream's side: sends what came while it was being opened."""

    def connectionMade(self) -> None:
        assert self.other is not None
        self.other.other = self
        self.transport.write(b"".join(self.other.early))


class Upstreams(ClientFactory):
    """Makes the other side of one client."""

    noisy = False

    def __init__(self, downstream: Downstream) -> None:
        self._downstream = downstream

    def buildProtocol(self, addr: IAddress | None) -> Upstream:
        return Upstream(self._downstream)

    def clientConnectionFailed(self, connector: object, reason: Failure) -> None:
        self._downstream.transport.loseConnection()


class Clients(ServerFactory):
    """Accepts clients."""

    noisy = False

    def __init__(self, upstream_port: int) -> None:
        self._upstream_port = upstream_port

    def buildProtocol(self, addr: IAddress | None) -> Downstream:
        return Downstream(self)

    def connect(self, downstream: Downstream) -> None:
        """Open the upstream's side."""
        from twisted.internet import reactor

        reactor.connectTCP("127.0.0.1", self._upstream_port, Upstreams(downstream))


def main(port: int, upstream_port: int, *, is_stock: bool) -> None:
    """Relay until a signal ends the process."""
    if not is_stock:
        lean.install()
    from twisted.internet import reactor

    reactor.listenTCP(port, Clients(upstream_port), interface="127.0.0.1", backlog=1024)
    reactor.run()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), is_stock="stock" in sys.argv[3:])
