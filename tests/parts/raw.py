"""A client that sends exactly the bytes it is given, and reads answers strictly.

For everything that an HTTP library would tidy up: odd framings, half requests,
pipelining, slow readers. Blocking; the server is another process.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self


class Ended(Exception):
    """The connection ended before the answer was whole; carries what had come."""

    def __init__(self, so_far: bytes) -> None:
        super().__init__(f"ended after {len(so_far)} bytes of body")
        self.so_far = so_far


@dataclass
class Reply:
    """One answer.

    Attributes:
        fields: name and value, one character a byte.
        interim: heads that came first, 1xx.
        framing: `length`, `chunked`, `close` or `none`.
        chunks: the body as it was cut, when it was chunked.
    """

    status: int
    fields: list[tuple[str, str]]
    body: bytes = b""
    interim: list[tuple[int, list[tuple[str, str]]]] = field(default_factory=list)
    framing: str = "none"
    chunks: list[bytes] = field(default_factory=list)
    trailers: list[tuple[str, str]] = field(default_factory=list)

    def all(self, name: str) -> list[str]:
        """Every value of a field, in order."""
        return [value for n, value in self.fields if n.lower() == name.lower()]

    def get(self, name: str) -> str | None:
        """The first value of a field."""
        return next(iter(self.all(name)), None)


def request(
    method: str,
    target: str,
    fields: Iterable[tuple[str, str | bytes]] = (),
    body: bytes | None = None,
    *,
    host: str = "localhost",
) -> bytes:
    """A request's bytes; a body gets its Content-Length."""
    lines = [f"{method} {target} HTTP/1.1".encode("latin-1"), b"Host: " + host.encode()]
    for name, value in fields:
        raw = value if isinstance(value, bytes) else value.encode("latin-1")
        lines.append(name.encode("latin-1") + b": " + raw)
    if body is not None:
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + (body or b"")


class Raw:
    """One connection."""

    def __init__(self, port: int, host: str = "127.0.0.1", timeout_s: float = 10.0) -> None:
        self.socket = socket.create_connection((host, port), timeout=timeout_s)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = bytearray()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Send all of it."""
        self.socket.sendall(data)

    def send_slowly(self, data: bytes, size: int = 1, pause_s: float = 0.0) -> None:
        """Send it in pieces, each its own packet as far as the kernel allows."""
        for at in range(0, len(data), size):
            self.socket.sendall(data[at : at + size])
            time.sleep(pause_s)

    def reset(self) -> None:
        """Hang up by RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def ask(self, data: bytes, method: str = "") -> Reply:
        """Send a request and read its answer."""
        self.send(data)
        return self.reply(method or data.split(b" ", 1)[0].decode())

    def head(self) -> tuple[int, list[tuple[str, str]]]:
        """The next head, interim or final."""
        first, *lines = self._until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        version, status, _ = (first + " ").split(" ", 2)
        assert version == "HTTP/1.1", first
        fields = []
        for line in lines:
            name, colon, value = line.partition(":")
            assert colon and name and name == name.strip(), f"field line {line!r}"
            fields.append((name, value.strip(" \t")))
        return int(status), fields

    def reply(self, method: str = "GET") -> Reply:
        """The next answer, whole."""
        interim = []
        status, fields = self.head()
        while 100 <= status < 200:
            interim.append((status, fields))
            status, fields = self.head()
        found = Reply(status, fields, interim=interim)
        lengths, codings = found.all("content-length"), found.all("transfer-encoding")
        assert len(lengths) + len(codings) <= 1, f"two framings: {fields}"
        if method == "HEAD" or status in (204, 304):
            return found
        if codings:
            found.framing = "chunked"
            self._chunks(found)
        elif lengths:
            found.framing = "length"
            found.body = self._exactly(int(lengths[0]), b"")
        else:
            found.framing = "close"
            found.body = self.rest()
        return found

    def rest(self) -> bytes:
        """All that comes until the connection ends cleanly."""
        while data := self.socket.recv(65536):
            self._buffer += data
        taken = bytes(self._buffer)
        self._buffer.clear()
        return taken

    def is_closed(self, within_s: float = 5.0) -> bool:
        """Whether the other side has closed, with nothing more to say."""
        self.socket.settimeout(within_s)
        try:
            return not self._buffer and self.socket.recv(1) == b""
        except TimeoutError:
            return False
        except ConnectionError:
            return True

    def is_quiet(self, for_s: float) -> bool:
        """Whether nothing at all arrives."""
        self.socket.settimeout(for_s)
        try:
            self._buffer += self.socket.recv(1)
        except TimeoutError:
            return not self._buffer
        finally:
            self.socket.settimeout(10)
        return False

    def _chunks(self, found: Reply) -> None:
        while True:
            size = int(self._until(b"\r\n", found.body).split(b";")[0], 16)
            if not size:
                break
            chunk = self._exactly(size, found.body)
            found.chunks.append(chunk)
            found.body += chunk
            assert self._exactly(2, found.body) == b"\r\n"
        while line := self._until(b"\r\n", found.body):
            name, _, value = line.decode("latin-1").partition(":")
            found.trailers.append((name, value.strip()))

    def _until(self, mark: bytes, so_far: bytes = b"") -> bytes:
        while (at := self._buffer.find(mark)) < 0:
            self._more(so_far)
        taken = bytes(self._buffer[:at])
        del self._buffer[: at + len(mark)]
        return taken

    def _exactly(self, count: int, so_far: bytes) -> bytes:
        while len(self._buffer) < count:
            self._more(so_far + bytes(self._buffer))
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken

    def _more(self, so_far: bytes) -> None:
        try:
            data = self.socket.recv(262144)
        except ConnectionError:
            data = b""
        if not data:
            raise Ended(so_far)
        self._buffer += data
