"""What the lean reactor and its transports do, each in a process of its own.

`python -m tests.wire.scenes NAME` runs one scene and prints what was seen as JSON.
"""

from __future__ import annotations

import hashlib
import json
import socket
import struct
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from gptload.wire.reactor import DirectServer, install

assert install(), "the lean reactor is not to be had"

from twisted.internet import reactor as installed  # noqa: E402
from twisted.internet import ssl, task  # noqa: E402
from twisted.internet.protocol import ClientFactory, Factory, Protocol  # noqa: E402
from twisted.python import log  # noqa: E402

from tests.upstream import certificates  # noqa: E402

reactor: Any = installed
MIB = 1024 * 1024


class End(Protocol):
    """One end of a connection. Notes what arrives."""

    transport: Any

    def __init__(self) -> None:
        self.received = 0
        self.content = hashlib.sha256()
        self.start = b""
        self.lost: list[str] = []
        self.writing = False
        self.lost_in_write = False

    def dataReceived(self, data: bytes) -> None:
        self.received += len(data)
        self.content.update(data)
        if len(self.start) < 100:
            self.start += data

    def connectionLost(self, reason: Any = None) -> None:
        self.lost.append(type(reason.value).__name__)
        self.lost_in_write |= self.writing

    def write(self, data: bytes) -> None:
        self.writing = True
        self.transport.write(data)
        self.writing = False

    @property
    def has_queue(self) -> bool:
        return bool(self.transport.dataBuffer or self.transport._tempDataBuffer)


class Raises(End):
    """Fails when it is told so."""

    def dataReceived(self, data: bytes) -> None:
        if data == b"bad":
            raise RuntimeError("told so")
        self.transport.write(data)


async def until(true: Callable[[], Any]) -> None:
    """Wait for it; who started this process has a time limit."""
    while not true():
        await task.deferLater(reactor, 0.002)


async def pair(
    make: Callable[[], End] = End, listen: Any = None, connect: Any = None
) -> tuple[End, End]:
    """A server's end and its client's, connected."""
    servers: list[End] = []
    clients: list[End] = []

    def keep(ends: list[End], make: Callable[[], End]) -> ClientFactory:
        def build() -> End:
            ends.append(make())
            return ends[-1]

        return ClientFactory.forProtocol(build)

    port = (listen or reactor.listenTCP)(0, keep(servers, make), interface="127.0.0.1")
    (connect or reactor.connectTCP)("127.0.0.1", port.getHost().port, keep(clients, End))
    await until(lambda: servers and clients and servers[0].connected and clients[0].connected)
    port.stopListening()
    return servers[0], clients[0]


def odd_pieces(total: int) -> Iterator[bytes]:
    """Bytes that tell where they belong, in pieces from 1 byte to 300 kB."""
    seed, sent = 7, 0
    while sent < total:
        seed = (seed * 1_103_515_245 + 12_345) % 2**31
        size = min((1, 3, 80, 1_000, 16_000, 70_000, 300_000)[seed % 7] + seed % 5, total - sent)
        yield b"".join(b"%08x" % (sent + at) for at in range(0, size, 8))[:size]
        sent += size


async def order() -> dict[str, Any]:
    """10 MB each way at once; the readers stop now and then."""
    server, client = await pair()
    expected = hashlib.sha256()
    ways = {"direct": 0, "queued": 0}
    total = 10_000_000
    for number, piece in enumerate(odd_pieces(total)):
        expected.update(piece)
        for end in (server, client):
            ways["queued" if end.has_queue else "direct"] += 1
            end.write(piece)
        if number % 5 == 0:
            await task.deferLater(reactor, 0)
        if number % 40 == 0:
            client.transport.pauseProducing()
        elif number % 40 == 30:
            client.transport.resumeProducing()
    client.transport.resumeProducing()
    await until(lambda: server.received >= total and client.received >= total)
    whole = expected.digest()
    return {
        "same": [server.content.digest() == whole, client.content.digest() == whole],
        "both ways": all(count > 20 for count in ways.values()),
        "kinds": [type(server.transport).__name__, type(client.transport).__name__],
    }


async def soon() -> dict[str, Any]:
    """Two small writes leave together at the turn's end, a large one at once."""
    server, client = await pair()
    raw = socket.socket(fileno=socket.dup(client.transport.fileno()))
    client.transport.pauseProducing()
    seen = []

    def arrived() -> int:
        try:
            return len(raw.recv(1_000_000, socket.MSG_PEEK))
        except BlockingIOError:
            return 0

    server.write(b"")
    server.write(b"hel")
    server.write(b"lo")
    reactor.before_sending(lambda: seen.append(arrived()))
    seen.append(arrived())
    await task.deferLater(reactor, 0)
    there = raw.recv(100)
    reactor.before_sending(lambda: seen.append(arrived()))
    server.write(b"x" * 20_000)
    seen.append(arrived())
    raw.close()
    return {"there": there.decode(), "queue": server.has_queue, "arrived": seen}


async def loss() -> dict[str, Any]:
    """The other end resets the connection, and we write before the reactor knows."""
    ends: list[End] = []

    def build() -> End:
        ends.append(End())
        return ends[-1]

    port = reactor.listenTCP(0, Factory.forProtocol(build), interface="127.0.0.1")
    raw = socket.create_connection(("127.0.0.1", port.getHost().port))
    await until(lambda: ends and ends[0].connected)
    server = ends[0]
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    raw.close()  # a reset
    for _ in range(50):
        server.write(b"x" * 10_000)
    early = list(server.lost)
    await until(lambda: server.lost)
    server.write(b"too late")
    await task.deferLater(reactor, 0.02)
    port.stopListening()
    return {"early": early, "in write": server.lost_in_write, "times": len(server.lost)}


async def flush() -> dict[str, Any]:
    """5 MB and a close at once, to a reader that comes late."""
    server, client = await pair()
    client.transport.pauseProducing()
    server.write(b"x" * 5 * MIB)
    server.transport.loseConnection()
    await task.deferLater(reactor, 0.05)
    early = list(server.lost)
    client.transport.resumeProducing()
    await until(lambda: client.lost and server.lost)
    small, other = await pair()
    small.write(b"bye")
    small.transport.loseConnection()
    await until(lambda: other.lost and small.lost)
    return {
        "early": early,
        "received": client.received,
        "lost": [client.lost, server.lost],
        "small": other.start.decode(),
    }


class Feeder:
    """A push producer that writes until it is told to stop, and notes that it was."""

    def __init__(self, end: End) -> None:
        self.end = end
        self.paused = 0
        self.resumed = 0
        self.on = False
        self.most = 0

    def resumeProducing(self) -> None:
        self.resumed += 1
        self.on = True
        while self.on:
            self.end.write(b"x" * 65_536)
            self.most = max(self.most, self.end.transport._tempDataLen)

    def pauseProducing(self) -> None:
        self.paused += 1
        self.on = False

    def stopProducing(self) -> None:
        self.on = False


async def producers() -> dict[str, Any]:
    """A producer is paused when the kernel takes no more, and resumed when it does."""
    server, client = await pair()
    feeder = Feeder(server)
    client.transport.pauseProducing()
    server.transport.registerProducer(feeder, True)
    feeder.resumeProducing()
    stopped = not feeder.on
    await task.deferLater(reactor, 0.05)
    waited = feeder.resumed == 1
    client.transport.resumeProducing()
    await until(lambda: client.received > 50 * MIB)
    feeder.on = False
    server.transport.unregisterProducer()
    server.transport.loseConnection()
    await until(lambda: server.lost)
    return {"stopped": stopped, "waited": waited, "bounded": feeder.most < 4 * 65_536}


async def tls() -> dict[str, Any]:
    """TLS over the transports: listening so, and switched on later."""
    with tempfile.TemporaryDirectory() as folder:
        made = certificates.make(Path(folder))
        shown = ssl.PrivateCertificate.loadPEM(made.cert.read_bytes() + made.key.read_bytes())
        known = ssl.trustRootFromCertificates([ssl.Certificate.loadPEM(made.ca.read_bytes())])

    def listen(port: int, factory: Factory, interface: str) -> Any:
        return reactor.listenSSL(port, factory, shown.options(), interface=interface)

    def connect(host: str, port: int, factory: Factory) -> Any:
        return reactor.connectSSL(
            host, port, factory, ssl.optionsForClientTLS("localhost", trustRoot=known)
        )

    whole = b"".join(odd_pieces(2_000_000))

    async def speaks(server: End, client: End) -> list[Any]:
        for piece in odd_pieces(len(whole)):
            server.write(piece)
            client.write(piece)
        await until(
            lambda server=server, client=client: server.received == client.received == len(whole)
        )
        same = server.content.digest() == client.content.digest() == hashlib.sha256(whole).digest()
        server.transport.loseConnection()
        await until(lambda server=server, client=client: server.lost and client.lost)
        return [same, client.lost]

    seen = [await speaks(*await pair(End, listen, connect))]
    server, client = await pair()
    server.transport.startTLS(shown.options())
    client.transport.startTLS(ssl.optionsForClientTLS("localhost", trustRoot=known))
    seen.append(await speaks(server, client))
    return {"seen": seen}


async def failing() -> dict[str, Any]:
    """An exception in one protocol, while another one is open."""
    bad, bad_client = await pair(Raises)
    good, good_client = await pair(Raises)
    bad_client.write(b"bad")
    await until(lambda: bad.lost and bad_client.lost)
    good_client.write(b"well")
    await until(lambda: good_client.start == b"well")

    class Breaks(Feeder):
        def resumeProducing(self) -> None:
            raise RuntimeError("told so")

    # The same where it comes out of a write: the queue has drained, who fills it fails.
    server, client = await pair()
    server.transport.registerProducer(Breaks(server), True)
    server.write(b"x" * 8 * MIB)
    await until(lambda server=server, client=client: server.lost and client.lost)
    return {"bad": bad.lost, "good": good.lost, "writer": server.lost}


async def adopted() -> dict[str, Any]:
    """A listening socket that somebody else opened."""
    kinds = []
    with tempfile.TemporaryDirectory() as folder:
        for family, address in (
            (socket.AF_INET, ("127.0.0.1", 0)),
            (socket.AF_UNIX, f"{folder}/socket"),
        ):
            ends: list[End] = []

            def build(ends: list[End] = ends) -> End:
                ends.append(End())
                return ends[-1]

            with socket.socket(family) as opened:
                opened.bind(address)
                opened.listen()
                opened.setblocking(False)
                factory = Factory.forProtocol(build)
                port = reactor.adoptStreamPort(opened.fileno(), family, factory)
                with socket.socket(family) as caller:
                    caller.connect(opened.getsockname())
                    caller.sendall(b"hello")
                    await until(lambda: ends and ends[0].received == 5)  # noqa: B023
            kinds.append(isinstance(ends[0].transport, DirectServer))
            await port.stopListening()
    return {"direct": kinds}


async def turns() -> dict[str, Any]:
    """Connections that close one another within one turn of the reactor."""
    complaints: list[Any] = []
    log.addObserver(lambda event: complaints.append(event) if event["isError"] else None)
    pairs = [await pair(Raises) for _ in range(20)]
    servers = [server for server, _ in pairs]

    class Last(Raises):
        def dataReceived(self, data: bytes) -> None:
            for server in servers:
                server.transport.abortConnection()

    _, client = await pair(Last)
    client.write(b"now")
    for _, other in pairs:
        other.write(b"hello")
    await until(lambda: all(server.lost for server in servers))
    return {
        "times": sorted({len(server.lost) for server in servers}),
        "complaints": len(complaints),
    }


SCENES = {
    scene.__name__: scene
    for scene in (
        adopted,
        failing,
        flush,
        loss,
        order,
        producers,
        soon,
        tls,
        turns,
    )
}


async def main(name: str) -> None:
    """Run one scene."""
    print(json.dumps(await SCENES[name]()))


if __name__ == "__main__":
    task.react(lambda _: task.ensureDeferred(main(sys.argv[1])))
