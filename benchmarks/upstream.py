"""The AI API of the benchmarks: one `epoll` loop, so cheap that it hides nothing.

Run as a process of its own: `python -m benchmarks.upstream HTTP-PORT HTTPS-PORT PEM-FILE`.
The path says what it answers:

    /small/…      a chat completion behind a head of 8 fields
    /sdk/…        the same behind the 20 fields that a real AI API sends
    /stream-N/…   N server-sent events of about 200 bytes, 20 a second, and an end
    /flood/…      server-sent events without pause or end, as fast as they are taken

An event carries the monotonic time at which it was sent, for who measures its delay.
"""

from __future__ import annotations

import gc
import json
import re
import select
import socket
import ssl
import sys
import time
from typing import Final

EVENTS_A_SECOND: Final = 20
# Streams begin in one of these slots of a period, so that their events are spread.
_SLOTS: Final = 50
_SLOT_S: Final = 1 / EVENTS_A_SECOND / _SLOTS
_MEMO_REQUESTS: Final = 512
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_PATH: Final = re.compile(rb"[A-Z]+ /(small|sdk|flood|stream-(\d+))/")

_BODY: Final = json.dumps(
    {
        "id": "chatcmpl-9Zr0bench",
        "object": "chat.completion",
        "created": 1790000000,
        "model": "bench-small",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Two and two make four."},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 19, "completion_tokens": 7, "total_tokens": 26},
    }
).encode()

_SMALL: Final = (
    "HTTP/1.1 200 OK",
    "Date: Wed, 25 Nov 2026 10:00:00 GMT",
    "Content-Type: application/json",
    f"Content-Length: {len(_BODY)}",
    "Connection: keep-alive",
    "Server: bench",
    "X-Request-Id: req_0123456789abcdef0123456789abcdef",
    "Cache-Control: no-store",
    "Vary: Accept-Encoding",
)
_SDK: Final = (
    "HTTP/1.1 200 OK",
    "Date: Wed, 25 Nov 2026 10:00:00 GMT",
    "Content-Type: application/json",
    f"Content-Length: {len(_BODY)}",
    "Connection: keep-alive",
    "access-control-expose-headers: X-Request-ID",
    "openai-organization: user-0123456789abcdef",
    "openai-processing-ms: 412",
    "openai-project: proj_0123456789abcdef",
    "openai-version: 2020-10-01",
    "x-envoy-upstream-service-time: 431",
    "x-ratelimit-limit-requests: 10000",
    "x-ratelimit-limit-tokens: 200000",
    "x-ratelimit-remaining-requests: 9999",
    "x-ratelimit-remaining-tokens: 199963",
    "x-ratelimit-reset-requests: 8.64s",
    "x-ratelimit-reset-tokens: 11ms",
    "x-request-id: req_0123456789abcdef0123456789abcdef",
    "strict-transport-security: max-age=31536000; includeSubDomains; preload",
    "cf-cache-status: DYNAMIC",
    "alt-svc: h3=:443; ma=86400",
)
_STREAM_HEAD: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n"
    b"Transfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n"
)
_UNKNOWN: Final = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"


def _message(lines: tuple[str, ...]) -> bytes:
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + _BODY


_ANSWERS: Final = {b"small": _message(_SMALL), b"sdk": _message(_SDK)}
_EVENT: Final = (
    b'data: {"id":"chatcmpl-9Zr0bench","object":"chat.completion.chunk","created":1790000000,'
    b'"model":"bench-small","choices":[{"index":0,"delta":{"content":" word"}}],'
    b'"sent_ns":"%020d"}\n\n'
)
# A stream without these has broken off, which a proxy may say in an event of its own.
END_EVENTS: Final = 2
_LAST_EVENTS: Final = (
    b'data: {"id":"chatcmpl-9Zr0bench","object":"chat.completion.chunk","created":1790000000,'
    b'"model":"bench-small","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
    b"data: [DONE]\n\n"
)
_END: Final = b"%x\r\n%b\r\n0\r\n\r\n" % (len(_LAST_EVENTS), _LAST_EVENTS)
_FLOOD_EVENT: Final = b"data: " + b"x" * 1016 + b"\n\n"
_FLOOD: Final = b"%x\r\n%b\r\n" % (64 * len(_FLOOD_EVENT), 64 * _FLOOD_EVENT)


def event(now_ns: int) -> bytes:
    """One server-sent event as a chunk."""
    data = _EVENT % now_ns
    return b"%x\r\n%b\r\n" % (len(data), data)


class _Connection:
    """A socket of a proxy.

    Attributes:
        events_left: of the stream that is under way.
        waiting: what the kernel hasn't taken yet.
    """

    __slots__ = ("events_left", "floods", "received", "shaking", "socket", "waiting")

    def __init__(self, connection: socket.socket, shaking: bool) -> None:
        self.socket = connection
        self.shaking = shaking
        self.received = b""
        self.waiting = b""
        self.events_left = 0
        self.floods = False


class _Upstream:
    """The loop."""

    def __init__(self, http_port: int, https_port: int, pem_file: str) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(pem_file)
        self._poller = select.epoll()
        self._listeners: dict[int, tuple[socket.socket, bool]] = {}
        for port, is_tls in ((http_port, False), (https_port, True)):
            listener = socket.create_server(("127.0.0.1", port), backlog=4096)
            listener.setblocking(False)
            self._listeners[listener.fileno()] = (listener, is_tls)
            self._poller.register(listener, select.EPOLLIN)
        self._connections: dict[int, _Connection] = {}
        self._slots: list[set[_Connection]] = [set() for _ in range(_SLOTS)]
        self._streams = 0
        self._begun = 0
        # Whole requests whose answer is known: with few keys there are few of them.
        self._memo: dict[bytes, bytes] = {}

    def run(self) -> None:
        """Serve until a signal ends the process."""
        poll = self._poller.poll
        connections = self._connections
        slot = 0
        due = 0.0
        while True:
            timeout = -1.0
            if self._streams:
                now = time.monotonic()
                if due < now - 1:  # the first stream for a while
                    due = now
                while due <= now:
                    self._send_events(self._slots[slot])
                    slot = (slot + 1) % _SLOTS
                    due += _SLOT_S
                timeout = max(0.0, due - time.monotonic())
            for descriptor, events in poll(timeout):
                connection = connections.get(descriptor)
                if connection is None:
                    if descriptor in self._listeners:
                        self._accept(*self._listeners[descriptor])
                    continue
                try:
                    if events & select.EPOLLIN or connection.shaking:
                        self._read(connection)
                    if events & select.EPOLLOUT and connection.socket.fileno() >= 0:
                        self._write(connection)
                    if events & (select.EPOLLHUP | select.EPOLLERR):
                        self._close(connection)
                except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                    continue
                except OSError:
                    self._close(connection)

    def _accept(self, listener: socket.socket, is_tls: bool) -> None:
        while True:
            try:
                accepted, _ = listener.accept()
            except BlockingIOError:
                return
            accepted.setblocking(False)
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if is_tls:
                accepted = self._context.wrap_socket(
                    accepted, server_side=True, do_handshake_on_connect=False
                )
            self._connections[accepted.fileno()] = _Connection(accepted, is_tls)
            self._poller.register(accepted, select.EPOLLIN)

    def _read(self, connection: _Connection) -> None:
        link = connection.socket
        if connection.shaking:
            assert isinstance(link, ssl.SSLSocket)
            link.do_handshake()
            connection.shaking = False
        data = link.recv(65536)
        if not data:
            self._close(connection)
            return
        while isinstance(link, ssl.SSLSocket) and link.pending():
            data += link.recv(65536)
        answer = None if connection.received else self._memo.get(data)
        if answer is None:
            self._take(connection, connection.received + data)
        elif link.send(answer) < len(answer):
            raise OSError("an answer of this size always fits an idle connection")

    def _take(self, connection: _Connection, data: bytes) -> None:
        """Answer all requests that are complete; keep the rest."""
        while True:
            end = data.find(b"\r\n\r\n") + 4
            length = _LENGTH.search(data, 0, end) if end > 3 else None
            total = end + (int(length[1]) if length else 0)
            if end <= 3 or len(data) < total:
                connection.received = data
                return
            self._answer(connection, data[:total])
            data = data[total:]

    def _answer(self, connection: _Connection, request: bytes) -> None:
        path = _PATH.match(request)
        kind = path[1] if path else b""
        if kind in _ANSWERS:
            if len(self._memo) >= _MEMO_REQUESTS:
                self._memo.clear()
            self._memo[request] = _ANSWERS[kind]
            self._send(connection, _ANSWERS[kind])
        elif path is not None and path[2]:
            self._send(connection, _STREAM_HEAD)
            connection.events_left = int(path[2])
            self._begun += 1
            self._streams += 1
            self._slots[self._begun % _SLOTS].add(connection)
        elif kind == b"flood":
            connection.floods = True
            self._send(connection, _STREAM_HEAD)
            self._poller.modify(connection.socket, select.EPOLLIN | select.EPOLLOUT)
        else:
            self._send(connection, _UNKNOWN)

    def _send_events(self, slot: set[_Connection]) -> None:
        data = event(time.monotonic_ns())
        for connection in list(slot):
            connection.events_left -= 1
            try:
                if connection.events_left:
                    self._send(connection, data)
                else:
                    slot.discard(connection)
                    self._streams -= 1
                    self._send(connection, data + _END)
            except OSError:
                self._close(connection)

    def _send(self, connection: _Connection, data: bytes) -> None:
        if connection.waiting:
            connection.waiting += data
            return
        try:
            sent = connection.socket.send(data)
        except (BlockingIOError, ssl.SSLWantWriteError):
            sent = 0
        if sent < len(data):
            connection.waiting = data[sent:]
            self._poller.modify(connection.socket, select.EPOLLIN | select.EPOLLOUT)

    def _write(self, connection: _Connection) -> None:
        data = connection.waiting or (_FLOOD if connection.floods else b"")
        connection.waiting = data[connection.socket.send(data) :] if data else b""
        if not connection.waiting and not connection.floods:
            self._poller.modify(connection.socket, select.EPOLLIN)

    def _close(self, connection: _Connection) -> None:
        if self._connections.pop(connection.socket.fileno(), None) is None:
            return
        for slot in self._slots:
            if connection in slot:
                slot.discard(connection)
                self._streams -= 1
        connection.socket.close()


if __name__ == "__main__":
    upstream = _Upstream(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
    gc.freeze()
    upstream.run()
