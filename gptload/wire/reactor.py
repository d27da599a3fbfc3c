"""Two subclasses that halve the cost of a request, and the probe that decides about them.

Twisted's `transport.write` only queues: it asks epoll to watch for room, waits for
the next turn, sends, and asks epoll to stop watching. For a proxy, whose socket
nearly always has room, that is four system calls and two dispatches a request for
nothing. So here what is written on a transport with nothing queued is sent at the end
of the same turn, and a plain "readable" or "writable" event calls its descriptor
without the detour that sets a log context for each.

Why not at once: a send wakes whoever waits at the other end, and waking is the
dearest part of it. Sent one after another, the writes of a turn wake each peer once.

What is given up: the log context of a descriptor's callbacks. Everything odd, mixed
or failed takes Twisted's own way. docs/decisions/0009 has the figures; with
`twistd -r epoll` all runs on stock Twisted, and the tests pass both ways.

Twisted's insides that this file touches are named in `fits`, and nowhere else.
"""

from __future__ import annotations

import errno
import socket
import sys
from collections.abc import Callable
from select import EPOLLIN, EPOLLOUT
from typing import Any, Final

from twisted.internet import abstract, tcp
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.interfaces import IProtocolFactory
from twisted.python import log

# More than this isn't kept for the end of the turn.
_JOIN_BYTES: Final = 16 * 1024
# Nor do more transports than this wait for one another: about a millisecond at most.
_TOGETHER: Final = 32


class _SendsSoon:
    """A TCP transport that sends what a turn wrote at that turn's end, without epoll's leave."""

    _unsent = False  # in the reactor's list, with all that it holds in `_tempDataBuffer`

    def write(self: Any, data: bytes) -> None:
        # Hot: once an event.
        if not self._unsent:
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
            if not data:
                return
            self._unsent = True
            self.reactor.unsent.append(self)
        self._tempDataBuffer.append(data)
        self._tempDataLen += len(data)
        if self._tempDataLen > _JOIN_BYTES:
            self.reactor.send()

    def send(self: Any) -> None:
        """Hand the kernel what this turn wrote; what it doesn't take goes Twisted's own way."""
        # Hot: once a write or less. `connectionLost` must never fire in here, so an
        # error counts as nothing sent: `doWrite` meets it again in a later turn.
        self._unsent = False
        waiting = self._tempDataBuffer
        if not waiting or not self.connected or self._aborting:
            return
        if self.dataBuffer:
            self.startWriting()
            return
        data = waiting[0] if len(waiting) == 1 else b"".join(waiting)
        waiting.clear()
        try:
            sent = self.socket.send(data)
        except OSError:
            sent = 0
        if sent == len(data):
            self._tempDataLen = 0
        else:
            waiting.append(data[sent:])
            self._tempDataLen = len(data) - sent
            self.startWriting()
            self._maybePauseProducer()


class DirectServer(_SendsSoon, tcp.Server):
    """The transport of an accepted connection."""


class DirectClient(_SendsSoon, tcp.Client):
    """The transport of a connection that we opened."""


class DirectPort(tcp.Port):
    """A listening port whose connections send within the turn."""

    transport = DirectServer


class DirectConnector(tcp.Connector):
    """Opens connections that send within the turn."""

    def _makeTransport(self) -> DirectClient:
        return DirectClient(self.host, self.port, self.bindAddress, self, self.reactor)


class LeanEPollReactor(EPollReactor):
    """epoll with a short way from a plain event to its descriptor."""

    def __init__(self) -> None:
        super().__init__()
        self.unsent: list[_SendsSoon] = []
        self._calls: list[Callable[[], None]] = []

    def before_sending(self, call: Callable[[], None]) -> None:
        """Call it once, before anything that was or will be written in this turn is sent."""
        self._calls.append(call)

    def send(self) -> None:
        """Send what has been written so far, after what must come before that."""
        while self._calls or self.unsent:
            calls, self._calls = self._calls, []
            for call in calls:
                call()
            transports, self.unsent = self.unsent, []
            for transport in transports:
                try:
                    transport.send()
                except Exception:  # one that fails must not keep the others' bytes back
                    log.err()

    def doPoll(self, timeout: float | None) -> None:
        """Wait for events and dispatch them."""
        self.send()  # what timed calls wrote
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
            if len(self.unsent) >= _TOGETHER:
                self.send()
        self.send()

    doIteration = doPoll

    def listenTCP(
        self, port: int, factory: IProtocolFactory, backlog: int = 50, interface: str = ""
    ) -> DirectPort:
        """As Twisted's, with connections that send within the turn."""
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
        """As Twisted's, with a connection that sends within the turn."""
        connector = DirectConnector(host, port, factory, timeout, bindAddress, self)
        connector.connect()
        return connector

    def adoptStreamPort(
        self, fileDescriptor: int, addressFamily: int, factory: IProtocolFactory
    ) -> Any:
        """As Twisted's, with connections that send within the turn."""
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
            hasattr(descriptor, "_maybePauseProducer"),
            hasattr(tcp.Connection, "_aborting"),
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
