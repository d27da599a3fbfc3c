"""Many open streams, and readers that stop reading."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable
from statistics import quantiles
from typing import Final
from urllib.parse import urlsplit

from attrs import frozen

from benchmarks.load import body, model
from benchmarks.peers import STREAM_EVENTS, Peer
from benchmarks.processes import Process
from benchmarks.upstream import END_EVENTS, EVENTS_A_SECOND

STREAMS: Final = 1000
WINDOW_S: Final = 10.0
READERS: Final = 20
_STALL_S: Final = 6.0
_RESUME_BYTES: Final = 8 * 1024 * 1024
_SENT: Final = b'"sent_ns":"'
_LAST: Final = b"\r\n0\r\n\r\n"


@frozen
class Streamed:
    """What many streams cost.

    Attributes:
        cpu_us: of the peer an event, while all streams were open.
        rss_bytes: of the peer a stream.
        p50_ms, p99_ms: from the upstream's write to our read.
        delivered, expected: events, all streams together.
        broken: streams that didn't begin or end as they should.
    """

    label: str
    cpu_us: float
    rss_bytes: float
    p50_ms: float
    p99_ms: float
    delivered: int
    expected: int
    broken: int


@frozen
class Stalled:
    """What readers that stopped cost, each.

    Attributes:
        rss_bytes: while they don't read.
        growth_bytes: of that, what came in the last seconds.
        cpu_percent: of one core, all together, while they don't read.
        resumed: whether a reader got more at once when it read again.
    """

    rss_bytes: float
    growth_bytes: float
    cpu_percent: float
    resumed: bool


class _Stream:
    """One client of a stream."""

    __slots__ = ("ended", "events", "socket", "started", "tail")

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.started = False
        self.ended = False
        self.events = 0
        self.tail = b""


class _Streams:
    """All clients in one loop."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url
        self._token = token
        self._poller = select.epoll()
        self._open: dict[int, _Stream] = {}
        self.all: list[_Stream] = []
        self.events = 0
        self.delays_ns: list[int] = []

    def begin(self) -> None:
        """Open one more."""
        stream = _Stream(request(self._url, self._token))
        stream.socket.setblocking(False)
        self._open[stream.socket.fileno()] = stream
        self._poller.register(stream.socket, select.EPOLLIN)
        self.all.append(stream)

    def run(self, until: Callable[[], bool], timeout_s: float) -> bool:
        """Read until a condition holds, looked at a hundred times a second; whether it does."""
        end = time.monotonic() + timeout_s
        while not until():
            now = time.monotonic()
            if now > end:
                return False
            look = now + 0.01
            while (left := look - time.monotonic()) > 0:
                for descriptor, _ in self._poller.poll(left):
                    self._read(self._open[descriptor])
        return True

    def all_begun(self) -> bool:
        return all(stream.events or stream.ended for stream in self.all)

    def all_over(self) -> bool:
        return not self._open

    def close(self) -> None:
        for stream in self._open.values():
            stream.socket.close()

    def _read(self, stream: _Stream) -> None:
        try:
            data = stream.socket.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        now_ns = time.monotonic_ns()
        if not stream.started and data:
            stream.started = data.startswith(b"HTTP/1.1 200 ")
        # One blank line an event; between two reads it may be cut in two.
        count = data.count(b"\n\n")
        if data[:1] == b"\n" and stream.tail[-1:] == b"\n" != stream.tail[-2:-1]:
            count += 1
        stream.events += count
        self.events += count
        stream.tail = (stream.tail + data)[-len(_LAST) :]
        at = data.rfind(_SENT)
        if at >= 0 and len(data) >= at + len(_SENT) + 20:
            self.delays_ns.append(now_ns - int(data[at + len(_SENT) :][:20]))
        if not data or stream.tail == _LAST:
            stream.ended = bool(data)
            del self._open[stream.socket.fileno()]
            stream.socket.close()


def request(url: str, token: str) -> socket.socket:
    """A connection on which a streamed chat has been asked for."""
    parts = urlsplit(url)
    asked = body(model("small"), stream=True).encode()
    connection = socket.create_connection((parts.hostname or "", parts.port or 0))
    connection.sendall(
        f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
        f"Authorization: Bearer {token}\r\nAccept: text/event-stream\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(asked)}\r\n\r\n".encode()
        + asked
    )
    return connection


def measure(label: str, peer: Peer | None, direct_url: str) -> Streamed:
    """Open many streams, watch them for some seconds, and see them to their end.

    Args:
        peer: just started; None for the upstream itself.
        direct_url: the upstream's, with the same path for every kind.
    """
    process = peer.process if peer is not None else None
    token = peer.token if peer is not None else "sk-bench-direct"

    def url(kind: str) -> str:
        return peer.url(kind) if peer is not None else direct_url.format(kind=kind)

    _warm_up(url("stream-1"), token)
    rss = process.rss_bytes() if process else 0
    streams = _Streams(url(f"stream-{STREAM_EVENTS}"), token)
    try:
        for _ in range(STREAMS // 10):
            for _ in range(10):
                streams.begin()
            streams.run(lambda: False, 0.01)
        streams.run(streams.all_begun, 10)
        streams.delays_ns.clear()
        cpu, events = _cpu(process), streams.events
        middle = time.monotonic() + WINDOW_S / 2
        streams.run(lambda: time.monotonic() >= middle, WINDOW_S)
        rss = (process.rss_bytes() if process else 0) - rss
        streams.run(lambda: time.monotonic() >= middle + WINDOW_S / 2, WINDOW_S)
        cpu, events = _cpu(process) - cpu, streams.events - events
        cuts = quantiles(streams.delays_ns, n=100) if len(streams.delays_ns) > 1 else [0.0] * 99
        streams.run(streams.all_over, STREAM_EVENTS / EVENTS_A_SECOND + 10)
    finally:
        streams.close()
    return Streamed(
        label,
        cpu * 1e6 / max(1, events),
        rss / STREAMS,
        cuts[49] / 1e6,
        cuts[98] / 1e6,
        streams.events,
        STREAMS * (STREAM_EVENTS + END_EVENTS),
        sum(not (stream.started and stream.ended) for stream in streams.all),
    )


def measure_stalled(peer: Peer) -> Stalled:
    """Let some readers of an endless stream stop, and watch the peer's memory."""
    process = peer.process
    url = peer.url("flood")
    for _ in range(3):  # code and buffers that the first streams bring in
        with request(url, peer.token) as connection:
            _read_some(connection, _RESUME_BYTES)
    time.sleep(1)
    before = process.rss_bytes()
    readers = [request(url, peer.token) for _ in range(READERS)]
    try:
        for reader in readers:
            if not reader.recv(1024).startswith(b"HTTP/1.1 200 "):
                raise RuntimeError("the endless stream doesn't begin")
        time.sleep(2)
        early, cpu = process.rss_bytes(), process.cpu_s()
        time.sleep(_STALL_S)
        late, cpu = process.rss_bytes(), process.cpu_s() - cpu
        resumed = _read_some(readers[0], _RESUME_BYTES)
    finally:
        for reader in readers:
            reader.close()
    return Stalled(
        (late - before) / READERS, (late - early) / READERS, 100 * cpu / _STALL_S, resumed
    )


def _warm_up(url: str, token: str) -> None:
    streams = _Streams(url, token)
    for _ in range(20):
        streams.begin()
    streams.run(streams.all_over, 5)
    streams.close()


def _read_some(connection: socket.socket, count: int) -> bool:
    """Whether that many bytes come within a few seconds."""
    connection.settimeout(5)
    try:
        while count > 0:
            data = connection.recv(65536)
            if not data:
                return False
            count -= len(data)
    except TimeoutError:
        return False
    return True


def _cpu(process: Process | None) -> float:
    return process.cpu_s() if process else 0.0
