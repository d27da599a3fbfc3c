"""Real peers on loopback: upstreams and proxies in a thread, and our own way to them."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import ssl
import threading
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from gptload.core.headers import OutgoingRequest
from gptload.core.paths import parse_upstream
from gptload.core.settings import Settings
from gptload.wire.client import Client
from gptload.wire.connect import Connector
from gptload.wire.pool import ConnectionPool
from gptload.wire.sweep import Sweep
from tests.upstream import certificates

REPLY = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


class Peers:
    """An upstream and proxies of each kind, in a thread of their own.

    Attributes:
        seen: request heads that the upstream got, and what the proxies were asked for.
        left: how many of those who met `silent` have gone.
    """

    def __init__(self, folder: Path) -> None:
        self.certificates = certificates.make(folder)
        self.seen: list[bytes] = []
        self.left = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def start(
        self,
        handler: Any,
        tls: bool | certificates.Certificates = False,
        interface: str = "127.0.0.1",
    ) -> int:
        """Serve on a free port; its number."""
        context = None
        if tls:
            shown = self.certificates if tls is True else tls
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(shown.cert, shown.key)

        async def begin() -> int:
            server = await asyncio.start_server(handler, interface, 0, ssl=context)
            port: int = server.sockets[0].getsockname()[1]
            return port

        return asyncio.run_coroutine_threadsafe(begin(), self._loop).result(5)

    def stop(self) -> None:
        async def end() -> None:
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end(), self._loop).result(5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    async def upstream(self, reader: Any, writer: Any) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                self.seen.append(await reader.readuntil(b"\r\n\r\n"))
                writer.write(REPLY)

    async def silent(self, reader: Any, writer: Any) -> None:
        """Take everything and say nothing."""
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()
        self.left += 1

    async def have_seen_off(self, count: int) -> None:
        """Wait until so many have closed their connections to `silent`."""
        from twisted.internet import reactor

        while self.left < count:  # the test's limit ends it
            await deferLater(reactor, 0.01)  # type: ignore[arg-type]

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

    def http_proxy_of(self, answer: bytes) -> Any:
        """A proxy that says this in one piece, and then nothing."""

        async def serve(reader: Any, writer: Any) -> None:
            writer.write(answer)
            await self.silent(reader, writer)

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
                name = host.decode() if kind == 3 else str(ipaddress.ip_address(host))
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
