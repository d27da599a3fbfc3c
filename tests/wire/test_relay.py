"""A body between two real socket pairs: whoever is slow slows the other side, and no more."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import tcp
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from zope.interface import directlyProvides, providedBy

from gptload.core.paths import parse_upstream
from gptload.proxy.replies import refusal
from gptload.wire.codec import RequestHead, ResponseHead
from gptload.wire.connect import Route
from gptload.wire.relay import Relay
from gptload.wire.server import ServerConnection, ServerFactory, Timeouts
from gptload.wire.upstream import IdleLimits, Trouble, UpstreamConnection, UpstreamFailure
from tests.wire.peers import Peers, Way

MIB = 1024 * 1024
# One read and what a transport takes before it says stop, twice over.
BUFFERED_LIMIT = 256 * 1024
BLOCK = bytes(range(256)) * 256


class Passage:
    """What an exchange would be if there were nothing to decide: one request, one relay."""

    def __init__(self, head: RequestHead, downstream: ServerConnection, house: House) -> None:
        self.head = head
        self.downstream = downstream
        self.house = house
        self.connection: UpstreamConnection | None = None
        self.relay: Relay | None = None
        self.broken: UpstreamFailure | None = None
        self.completed = self.gone = False
        self.early = b""  # of the request's body, before there is a connection
        if head.content_length:
            downstream.pause_reading()
        house.way.pool.acquire(house.route, self, 5.0)

    # As a pool's waiter.

    def connected(self, connection: UpstreamConnection) -> None:
        self.connection = connection
        self.house.upstreams.append(connection)
        length = self.head.content_length
        connection.begin(
            b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%b"
            % (length or 0, self.early),
            self,
            is_head=False,
            complete=not length,
            limits=IdleLimits(60.0, 5, 5),
        )
        if length:
            self.downstream.resume_reading()

    def connect_failed(self, failure: UpstreamFailure) -> None:
        raise failure

    # As the upstream's sink, until there is a relay.

    def head_received(self, head: ResponseHead) -> None:
        assert self.connection is not None
        self.relay = Relay(self.downstream, self.connection, self.on_completed, self.on_broken)
        self.connection.hand_over(self.relay)
        self.downstream.begin_response(head.status, head.reason, [], head.content_length)

    def failed(self, failure: UpstreamFailure) -> None:
        self.on_broken(failure)

    def sending_paused(self) -> None:
        self.downstream.pause_reading()

    def sending_resumed(self) -> None:
        self.downstream.resume_reading()

    def on_completed(self) -> None:
        self.completed = True
        self.relay = None

    def on_broken(self, failure: UpstreamFailure) -> None:
        self.broken = failure
        self.relay = None
        if not self.downstream.withdraw_response():
            self.downstream.abort_response()

    # As the client's sink.

    def body_received(self, data: bytes) -> None:
        if self.connection is None:
            self.early += data
        else:
            self.connection.send(data, last=False)

    def body_ended(self, last: bytes) -> None:
        assert not self.head.content_length, "nobody here uploads to the end"

    def client_gone(self) -> None:
        self.gone = True
        assert self.connection is not None
        self.connection.abort()

    def writing_paused(self) -> None:
        if self.relay is not None:
            self.relay.writing_paused()

    def writing_resumed(self) -> None:
        if self.relay is not None:
            self.relay.writing_resumed()


class Caller(Protocol):
    """A client that counts what it gets and can stop reading."""

    def __init__(self) -> None:
        self.received = 0
        self.content = hashlib.sha256()
        self.start = b""
        self.lost = False
        self.sent = 0
        self.uploading = False

    def dataReceived(self, data: bytes) -> None:
        self.received += len(data)
        if len(self.start) < 1000:
            self.start += data
        self.content.update(data)

    def connectionLost(self, reason: object = None) -> None:
        self.lost = True

    def asks(self, length: int = 0) -> None:
        self.write(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % length)

    def write(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(data)

    def pauses(self) -> None:
        self.transport.pauseProducing()  # type: ignore[union-attr]

    def resumes(self) -> None:
        self.transport.resumeProducing()  # type: ignore[union-attr]

    # IPushProducer, for an upload without an end.

    def uploads(self) -> None:
        self.transport.registerProducer(self, True)  # type: ignore[union-attr]
        self.resumeProducing()

    def resumeProducing(self) -> None:
        self.uploading = True
        while self.uploading:
            self.sent += len(BLOCK)
            self.write(BLOCK)

    def pauseProducing(self) -> None:
        self.uploading = False

    def stopProducing(self) -> None:
        self.uploading = False


class Flood:
    """An upstream that sends blocks without an end, or so many.

    Attributes:
        sent: bytes that left it.
        served: connections that it got.
        left: those that were closed on it.
    """

    def __init__(self, blocks: int | None = None) -> None:
        self.blocks = blocks
        self.sent = self.left = self.served = 0

    async def serve(self, reader: Any, writer: Any) -> None:
        self.served += 1
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                await self.answer(writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            self.left += 1
        writer.close()

    async def answer(self, writer: Any) -> None:
        if self.blocks is None:
            framing, block = b"Transfer-Encoding: chunked", b"%x\r\n%b\r\n" % (len(BLOCK), BLOCK)
        else:
            framing, block = b"Content-Length: %d" % (self.blocks * len(BLOCK)), BLOCK
        writer.write(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n")
        number = 0
        while number != self.blocks:
            number += 1
            writer.write(block)
            self.sent += len(BLOCK)
            await writer.drain()


class Stone:
    """An upstream that begins its answer and reads no request's body until it must."""

    def __init__(self) -> None:
        self.reads = False
        self.left = 0

    async def serve(self, reader: Any, writer: Any) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegin\r\n")
        while not self.reads:
            await asyncio.sleep(0.01)
        with contextlib.suppress(ConnectionError):
            while await reader.read(MIB):
                pass
        writer.close()
        self.left += 1


class Stock:
    """A reactor whose connections are Twisted's own, whatever kind it is."""

    def __init__(self, reactor: Any) -> None:
        directlyProvides(self, providedBy(reactor))
        self._reactor = reactor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def listenTCP(
        self, port: int, factory: Any, backlog: int = 50, interface: str = ""
    ) -> tcp.Port:
        listening = tcp.Port(port, factory, backlog, interface, self._reactor)
        listening.startListening()
        return listening

    def connectTCP(
        self, host: str, port: int, factory: Any, timeout: float = 30, bindAddress: Any = None
    ) -> tcp.Connector:
        connector = tcp.Connector(host, port, factory, timeout, bindAddress, self._reactor)
        connector.connect()
        return connector


class House:
    """A client, our two halves, and an upstream."""

    def __init__(self, reactor: Any, peers: Peers) -> None:
        self.reactor = reactor
        self.way = Way(reactor)
        self.peers = peers
        self.passages: list[Passage] = []
        self.upstreams: list[UpstreamConnection] = []
        factory = ServerFactory(self.begin, refusal, self.way.sweep, Timeouts())
        self.servers = factory.connections
        self.port = reactor.listenTCP(0, factory, interface="127.0.0.1")

    def begin(self, head: RequestHead, downstream: ServerConnection) -> Passage:
        self.passages.append(Passage(head, downstream, self))
        return self.passages[-1]

    async def calls(self, serve: Any) -> Caller:
        url = f"http://127.0.0.1:{self.peers.start(serve)}"
        self.route = Route(parse_upstream(url, 1).origin)
        made: Deferred[Caller] = Deferred()
        caller = Caller()
        caller.connectionMade = lambda: made.callback(caller)  # type: ignore[method-assign]
        factory = Factory.forProtocol(lambda: caller)
        endpoint = TCP4ClientEndpoint(self.reactor, "127.0.0.1", self.port.getHost().port)
        endpoint.connect(factory).addErrback(made.errback)
        return await made

    async def waits(self, until: Callable[[], Any]) -> None:
        while not until():  # the test's limit ends it
            await deferLater(self.reactor, 0.005)

    async def stands_still(self, count: Callable[[], int]) -> None:
        """Wait until a count has begun to move and doesn't any more."""
        await self.waits(count)
        last, same = count(), 0
        while same < 4:
            await deferLater(self.reactor, 0.05)
            same = same + 1 if count() == last else 0
            last = count()

    def buffered(self) -> int:
        """Bytes in the buffers of our own transports."""
        ends = [*self.servers, *self.upstreams]
        return sum(
            len(end.transport.dataBuffer) - end.transport.offset + end.transport._tempDataLen  # type: ignore[attr-defined]
            for end in ends
        )

    async def close(self, caller: Caller) -> None:
        assert caller.transport is not None
        caller.transport.abortConnection()  # type: ignore[attr-defined]
        await self.waits(lambda: caller.lost and not self.servers)


@pytest_twisted.async_yield_fixture(params=["stock", "lean"])
async def house(reactor: Any, peers: Peers, request: pytest.FixtureRequest) -> AsyncIterator[House]:
    """Over each kind of transport."""
    made = House(Stock(reactor) if request.param == "stock" else reactor, peers)
    yield made
    await made.port.stopListening()
    await made.way.close()


async def test_a_reader_that_stalls_stalls_the_upstream_and_fills_no_memory(house: House) -> None:
    flood = Flood()
    caller = await house.calls(flood.serve)
    caller.asks()
    await house.waits(lambda: caller.received > MIB)
    caller.pauses()
    await house.stands_still(lambda: flood.sent)
    assert 0 < house.buffered() < BUFFERED_LIMIT
    stalled_at = caller.received
    caller.resumes()
    await house.waits(lambda: caller.received > stalled_at + 30 * MIB)
    assert house.buffered() < BUFFERED_LIMIT
    caller.pauses()
    await house.stands_still(lambda: flood.sent)
    assert house.buffered() < BUFFERED_LIMIT
    await house.close(caller)  # while it is stalled
    await house.waits(lambda: flood.left)
    assert house.passages[0].gone and not house.way.pool._routes


async def test_stalls_change_no_byte_and_leave_a_connection_that_reads(house: House) -> None:
    """One connection on each side for all of it: found by hanging."""
    blocks = 60
    flood = Flood(blocks)
    caller = await house.calls(flood.serve)
    expected = hashlib.sha256()
    received = 0
    for _ in range(6):
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (blocks * len(BLOCK))
        expected.update(head + BLOCK * blocks)
        received += len(head) + blocks * len(BLOCK)
        caller.pauses()
        caller.asks()
        await deferLater(house.reactor, 0.03)
        while caller.received < received:
            caller.resumes()
            await deferLater(house.reactor, 0.002)
            caller.pauses()
            await deferLater(house.reactor, 0.001)
    assert caller.received == received and caller.content.digest() == expected.digest()
    assert flood.served == 1 and all(passage.completed for passage in house.passages)
    await house.close(caller)


async def test_an_upstream_that_doesnt_read_stalls_the_client(house: House) -> None:
    """The request's body goes on after its answer has begun: the relay pauses it too."""
    stone = Stone()
    caller = await house.calls(stone.serve)
    caller.asks(2**40)
    caller.uploads()
    await house.waits(lambda: b"begin" in caller.start)
    await house.stands_still(lambda: caller.sent)
    assert 0 < house.buffered() < BUFFERED_LIMIT
    stalled_at = caller.sent
    stone.reads = True
    await house.waits(lambda: caller.sent > stalled_at + 30 * MIB)
    assert house.buffered() < BUFFERED_LIMIT
    await house.close(caller)
    await house.waits(lambda: stone.left)


async def test_an_upstream_that_breaks_breaks_the_answer_visibly(house: House) -> None:
    async def serve(reader: Any, writer: Any) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n")
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.close()

    caller = await house.calls(serve)
    caller.asks()
    await house.waits(lambda: caller.lost)
    assert caller.start.endswith(b"\r\n\r\n4\r\npart\r\n")
    broken = house.passages[0].broken
    assert broken is not None and broken.trouble is Trouble.BROKEN
