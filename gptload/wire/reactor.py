"""Two subclasses that halve the cost of a request, and the probe that decides about them.

Twisted's `transport.write` only queues: it asks epoll to watch for room, waits for
the next turn, sends, and asks epoll to stop watching. For a proxy, whose socket
nearly always has room, that is four system calls and two dispatches a request for
nothing. So here a write on a transport with nothing queued is sent at once, and a
plain "readable" or "writable" event calls its descriptor without the detour that
sets a log context for each.

What is given up: the log context of a descriptor's callbacks, and the joining of
small writes (so: one write an event). Everything odd, mixed or failed takes Twisted's
own way. docs/decisions/0009 has the figures; with `twistd -r epoll` all runs on
stock Twisted, and the tests pass both ways.

Twisted's insides that this file touches are named in `fits`, and nowhere else.
"""

from __future__ import annotations

import errno
import socket
import sys
from select import EPOLLIN, EPOLLOUT
from typing import Any

from twisted.internet import abstract, tcp
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.interfaces import IProtocolFactory
from twisted.python import log


class _SendsAtOnce:
    """A TCP transport that doesn't queue what the kernel would take now."""

    def write(self: Any, data: bytes) -> None:
        # Hot: once an event. `connectionLost` must never fire inside a write, so an
        # error counts as nothing sent: `doWrite` meets it again in a later turn.
        if (
            self.TLS
            or self.dataBuffer
            or self._tempDataBuffer
            or not self.connected
            or self.disconnecting
            or self._writeDisconnecting
        ):
            super().write(data)  # type: ignore[misc]
            return
        try:
            sent = self.socket.send(data)
        except OSError:
            sent = 0
        if sent < len(data):
            super().write(data[sent:] if sent else data)  # type: ignore[misc]


class DirectServer(_SendsAtOnce, tcp.Server):
    """The transport of an accepted connection."""


class DirectClient(_SendsAtOnce, tcp.Client):
    """The transport of a connection that we opened."""


class DirectPort(tcp.Port):
    """A listening port whose connections send at once."""

    transport = DirectServer


class DirectConnector(tcp.Connector):
    """Opens connections that send at once."""

    def _makeTransport(self) -> DirectClient:
        return DirectClient(self.host, self.port, self.bindAddress, self, self.reactor)


class LeanEPollReactor(EPollReactor):
    """epoll with a short way from a plain event to its descriptor."""

    def doPoll(self, timeout: float | None) -> None:
        """Wait for events and dispatch them."""
        selectables = self._selectables
        try:
            events = self._poller.poll(-1 if timeout is None else timeout, len(selectables))
        except OSError as error:
            if error.errno == errno.EINTR:
                return
            raise
        stock = self._doReadOrWrite
        for descriptor, event in events:
            selectable = selectables.get(descriptor)
            if selectable is None:
                continue  # closed by an earlier event of this turn
            if event == EPOLLIN:
                try:
                    why = selectable.doRead()
                except BaseException:
                    log.err()
                    why = sys.exc_info()[1]
                if why:
                    self._disconnectSelectable(selectable, why, True)
            elif event == EPOLLOUT:
                try:
                    why = selectable.doWrite()
                except BaseException:
                    log.err()
                    why = sys.exc_info()[1]
                if why:
                    self._disconnectSelectable(selectable, why, False)
            else:
                log.callWithLogger(selectable, stock, selectable, descriptor, event)

    doIteration = doPoll

    def listenTCP(
        self, port: int, factory: IProtocolFactory, backlog: int = 50, interface: str = ""
    ) -> DirectPort:
        """As Twisted's, with connections that send at once."""
        listening = DirectPort(port, factory, backlog, interface, self)
        listening.startListening()
        return listening

    def connectTCP(
        self,
        host: str,
        port: int,
        factory: Any,
        timeout: float = 30,
        bindAddress: Any = None,
    ) -> DirectConnector:
        """As Twisted's, with a connection that sends at once."""
        connector = DirectConnector(host, port, factory, timeout, bindAddress, self)
        connector.connect()
        return connector

    def adoptStreamPort(
        self, fileDescriptor: int, addressFamily: int, factory: IProtocolFactory
    ) -> Any:
        """As Twisted's, with connections that send at once."""
        if addressFamily not in (socket.AF_INET, socket.AF_INET6):
            return super().adoptStreamPort(fileDescriptor, addressFamily, factory)
        listening = DirectPort._fromListeningDescriptor(
            self, fileDescriptor, addressFamily, factory
        )
        listening.startListening()
        return listening


def fits() -> bool:
    """Whether this Twisted has the insides that the two subclasses build on."""
    descriptor = abstract.FileDescriptor.__new__(abstract.FileDescriptor)
    return all(
        (
            hasattr(descriptor, "dataBuffer"),
            hasattr(descriptor, "_writeDisconnecting"),
            "_tempDataBuffer" in abstract.FileDescriptor.__init__.__code__.co_names,
            hasattr(tcp.Connection, "TLS"),
            hasattr(tcp.Connector, "_makeTransport"),
            hasattr(tcp.Port, "_fromListeningDescriptor"),
            getattr(tcp.Port, "transport", None) is tcp.Server,
            hasattr(EPollReactor, "_doReadOrWrite"),
            hasattr(EPollReactor, "_disconnectSelectable"),
            {"_poller", "_selectables"} <= set(EPollReactor.__init__.__code__.co_names),
        )
    )


def install() -> bool:
    """Make the lean reactor the process's, if nobody has chosen one and it fits.

    Returns:
        Whether it is the reactor now.
    """
    if "twisted.internet.reactor" in sys.modules or not fits():
        return False
    from twisted.internet.main import installReactor

    installReactor(LeanEPollReactor())
    return True
