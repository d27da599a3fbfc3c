"""Reading a request byte by byte, and what is remembered of it.

Strict where a gateway must be right (one framing, no bare LF), indifferent otherwise.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import socket
import struct
import time
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import parse_qsl, urlsplit

KEPT_BODY_BYTES = 32 << 20  # of each body, because the answer depends on it
TOLD_BODY_BYTES = 1 << 20  # of each body, to whoever asks; the hash covers the whole
BUFFER_BYTES = 1 << 18  # beyond this we stop reading, so that back-pressure can be seen


class PeerGone(Exception):
    """The other side closed or reset the connection."""


class BadRequestBytes(Exception):
    """What came is not an HTTP/1.1 request that a strict server accepts."""


@dataclass
class Request:
    """One request as it came.

    Attributes:
        number: counted over all connections since the last reset, from 1.
        connection: number of the connection that carried it.
        nth_on_connection: counted on its connection, from 1.
        fields: name and value as sent, one character a byte.
        credentials: every credential found and the place where it was.
        ended: `complete`, `peer_gone` (it hung up on us) or `cut` (we did as told).
        made: the id of what it makes, where the answer's maker doesn't choose it.
    """

    number: int
    connection: int
    nth_on_connection: int
    tls: bool
    method: str
    target: str
    version: str
    fields: list[tuple[str, str]]
    began_at: float
    body: bytearray = field(default_factory=bytearray)
    body_length: int = 0
    body_complete: bool = False
    ended: Literal["running", "complete", "peer_gone", "cut"] = "running"
    ended_at: float | None = None
    answered: int | None = None
    made: str = ""
    _hash: Any = field(default_factory=hashlib.sha256)

    def get(self, name: str) -> str | None:
        """The first value of a field."""
        return next((v for n, v in self.fields if n.lower() == name), None)

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.target).query, keep_blank_values=True))

    @property
    def credentials(self) -> list[tuple[str, str]]:
        found = []
        for name, value in self.fields:
            lower = name.lower()
            if lower == "authorization":
                found.append((lower, value.partition(" ")[2]))
            elif lower in ("x-api-key", "x-goog-api-key", "api-key"):
                found.append((lower, value))
        if key := self.query.get("key"):
            found.append(("?key", key))
        return found

    @property
    def key(self) -> str:
        """The credential, when there is one."""
        return self.credentials[0][1] if self.credentials else ""

    def add(self, data: bytes) -> None:
        """Take a piece of the body."""
        self._hash.update(data)
        self.body_length += len(data)
        if len(self.body) < KEPT_BODY_BYTES:
            self.body += data

    def json(self) -> dict[str, Any]:
        """The body as a JSON object; empty when it is none."""
        try:
            said = json.loads(bytes(self.body))
        except ValueError:
            return {}
        return said if isinstance(said, dict) else {}

    def end(self, how: Literal["complete", "peer_gone", "cut"]) -> None:
        if self.ended == "running":
            self.ended, self.ended_at = how, time.time()

    def plain(self) -> dict[str, Any]:
        """As JSON, for the test that asks."""
        return {
            "number": self.number,
            "connection": self.connection,
            "nth_on_connection": self.nth_on_connection,
            "tls": self.tls,
            "method": self.method,
            "target": self.target,
            "version": self.version,
            "fields": self.fields,
            "key": self.key,
            "credentials": self.credentials,
            "body_length": self.body_length,
            "body_complete": self.body_complete,
            "body_sha256": self._hash.hexdigest(),
            "body_base64": base64.b64encode(self.body[:TOLD_BODY_BYTES]).decode(),
            "began_at": self.began_at,
            "ended": self.ended,
            "ended_at": self.ended_at,
            "answered": self.answered,
        }


class Wire(asyncio.Protocol):
    """One accepted connection: bytes in, bytes out, and whether the peer is still there."""

    def __init__(self, accepted: Any) -> None:
        self._accepted = accepted
        self.buffer = bytearray()
        self.gone = asyncio.Event()
        self._news = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._paused = False
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self._accepted(self)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        self._news.set()
        if len(self.buffer) > BUFFER_BYTES and not self._paused:
            self._paused = True
            self.transport.pause_reading()

    def eof_received(self) -> bool:
        self._lost()
        return False

    def connection_lost(self, reason: Exception | None) -> None:
        self._lost()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def _lost(self) -> None:
        self.gone.set()
        self._news.set()
        self._writable.set()

    async def more(self) -> None:
        """Wait for more bytes than there are; PeerGone if none will come."""
        if self.gone.is_set():
            raise PeerGone
        self._news.clear()
        if self._paused:
            self._paused = False
            self.transport.resume_reading()
        await self._news.wait()

    async def until(self, mark: bytes, limit: int = 1 << 20) -> bytes:
        """Bytes before `mark`, which is taken away too."""
        while (at := self.buffer.find(mark)) < 0:
            if len(self.buffer) > limit:
                raise BadRequestBytes(f"{limit} bytes without {mark!r}")
            await self.more()
        found = bytes(self.buffer[:at])
        del self.buffer[: at + len(mark)]
        return found

    async def some(self, most: int) -> bytes:
        """At least one byte, at most `most`."""
        while not self.buffer:
            await self.more()
        taken = bytes(self.buffer[:most])
        del self.buffer[:most]
        return taken

    async def send(self, data: bytes) -> None:
        """Write, and wait while the peer is slower than we are."""
        if self.gone.is_set():
            raise PeerGone
        self.transport.write(data)
        await self._writable.wait()

    async def rest(self, seconds: float) -> None:
        """Wait; PeerGone as soon as the peer hangs up."""
        try:
            await asyncio.wait_for(self.gone.wait(), seconds)
        except TimeoutError:
            return
        raise PeerGone

    async def for_ever(self) -> None:
        """Wait until the peer hangs up."""
        await self.gone.wait()
        raise PeerGone

    def close(self) -> None:
        self.transport.close()

    def reset(self) -> None:
        """End by RST: what is unsent is lost, and the peer gets an error."""
        raw: socket.socket = self.transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()


async def read_head(wire: Wire) -> tuple[str, str, str, list[tuple[str, str]]]:
    """The next head: method, target, version, fields."""
    while wire.buffer[:2] == b"\r\n":
        del wire.buffer[:2]
    head = (await wire.until(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.split("\r\n")
    parts = first.split(" ")
    if len(parts) != 3 or not parts[2].startswith("HTTP/1."):
        raise BadRequestBytes(f"request line {first!r}")
    fields = []
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or name != name.strip() or "\n" in line or "\r" in line:
            raise BadRequestBytes(f"field line {line!r}")
        fields.append((name, value.strip(" \t")))
    return parts[0], parts[1], parts[2], fields


async def read_body(wire: Wire, request: Request) -> None:
    """Read what the framing promises. Two framings are refused, as model servers do."""
    lengths = [v for n, v in request.fields if n.lower() == "content-length"]
    coding = request.get("transfer-encoding")
    if len(lengths) > 1 or (lengths and coding):
        raise BadRequestBytes("two framings")
    if request.get("expect") == "100-continue" and (lengths or coding):
        await wire.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    if coding:
        if coding.lower() != "chunked":
            raise BadRequestBytes(f"transfer coding {coding!r}")
        while size := int((await wire.until(b"\r\n")).split(b";")[0], 16):
            while size:
                piece = await wire.some(size)
                size -= len(piece)
                request.add(piece)
            if await wire.until(b"\r\n"):
                raise BadRequestBytes("chunk longer than its size")
        while await wire.until(b"\r\n"):
            pass  # trailers
    elif lengths:
        left = int(lengths[0])
        while left:
            piece = await wire.some(left)
            left -= len(piece)
            request.add(piece)
    request.body_complete = True
