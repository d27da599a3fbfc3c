"""Plays the steps: chooses one for each request, and writes it byte by byte.

One `Provider` holds the script and what was seen; it serves any number of listening
sockets, plain or TLS, and a control port that speaks a few words of HTTP:

    PUT  /script     the script, as JSON; forgets what was seen
    GET  /seen       every request since then
    GET  /state      open connections
    PUT  /listening  {"plain": false}: refuse connections; {"plain": true}: accept again
"""

from __future__ import annotations

import asyncio
import gzip
import json
import ssl
import time
import zlib
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from itertools import cycle
from typing import Any

from tests.upstream import dialects
from tests.upstream.answers import JSON_TYPE, Answer, answer
from tests.upstream.kept import Kept
from tests.upstream.requests import (
    BadRequestBytes,
    PeerGone,
    Request,
    Wire,
    read_body,
    read_head,
)
from tests.upstream.script import FieldPair, Rule, Script, Step

NO_BODY = (204, 304)


class Cut(Exception):
    """A step ended the connection on purpose."""


class Provider:
    """The script, what was seen, and the sockets that it listens on."""

    def __init__(self, script: Script) -> None:
        self.follow(script)
        self._kept = Kept()
        self._connections = 0
        self._open: set[Wire] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._listening: dict[str, asyncio.Server] = {}
        self._addresses: dict[str, tuple[str, int, ssl.SSLContext | None]] = {}

    def follow(self, script: Script) -> None:
        """Begin a new script; forget what was seen."""
        self.script = script
        self.seen: list[Request] = []
        self._used: dict[int, int] = {}

    async def listen(self, name: str, host: str, port: int, tls: ssl.SSLContext | None) -> int:
        """Accept connections; answers the port, which stays the same from then on."""
        loop = asyncio.get_running_loop()

        def accept() -> Wire:
            return Wire(lambda wire: self._serve(wire, tls is not None))

        server = await loop.create_server(accept, host, port, ssl=tls, backlog=1024)
        bound: int = server.sockets[0].getsockname()[1]
        self._listening[name] = server
        self._addresses[name] = (host, bound, tls)
        return bound

    async def hush(self, name: str) -> None:
        """Refuse connections on this socket, and drop those that are open."""
        if server := self._listening.pop(name, None):
            server.close()
        for wire in list(self._open):
            wire.reset()

    async def wake(self, name: str) -> None:
        """Accept them again, on the same port."""
        if name not in self._listening:
            await self.listen(name, *self._addresses[name])

    async def listen_to_orders(self, host: str, port: int) -> int:
        """Open the control port."""
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            lambda: Wire(lambda wire: self._spawn(self._obey(wire))), host, port
        )
        bound: int = server.sockets[0].getsockname()[1]
        return bound

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _serve(self, wire: Wire, tls: bool) -> None:
        self._connections += 1
        self._open.add(wire)
        self._spawn(self._converse(wire, self._connections, tls))

    async def _converse(self, wire: Wire, connection: int, tls: bool) -> None:
        nth = 0
        try:
            while True:
                method, target, version, fields = await read_head(wire)
                nth += 1
                request = Request(
                    len(self.seen) + 1,
                    connection,
                    nth,
                    tls,
                    method,
                    target,
                    version,
                    fields,
                    time.time(),
                )
                self.seen.append(request)
                if not await self._exchange(wire, request):
                    break
        except PeerGone:
            pass
        except Cut:
            return  # the step has closed it in its own way
        except BadRequestBytes as error:
            text = str(error).encode()
            await wire.send(
                b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n"
                b"X-Upstream-Refused: %b\r\nContent-Length: %d\r\n\r\n%b" % (text, len(text), text)
            )
        finally:
            self._open.discard(wire)
        wire.close()

    async def _exchange(self, wire: Wire, request: Request) -> bool:
        """Answer one request; whether the connection stays open."""
        try:
            # The condition `contains` needs the body, the faults below must not read it.
            early = self._choose(request, before_body=True)
            if early is not None and early.fault == "never_read":
                await wire.for_ever()
            if early is not None and early.fault == "early_answer":
                await Performance(wire, request, early, self._kept).play()
                request.end("complete")
                return False
            await read_body(wire, request)
            step = self._choose(request)
            assert step is not None
            open_after = await Performance(wire, request, step, self._kept).play()
            request.end("complete")
        except PeerGone:
            request.end("peer_gone")
            raise
        except Cut:
            request.end("cut")
            raise
        if open_after and step.close_silently_after_ms is not None:
            await wire.rest(step.close_silently_after_ms / 1000)
            return False
        return open_after

    def _choose(self, request: Request, *, before_body: bool = False) -> Step | None:
        if before_body:
            for rule in self.script.rules:
                if rule.then.fault in ("never_read", "early_answer") and self._holds(rule, request):
                    self._use(rule)
                    return rule.then
            return None
        for rule in self.script.rules:
            if self._holds(rule, request):
                self._use(rule)
                return rule.then
        if len({key for _, key in request.credentials}) > 1 or len(request.credentials) > 1:
            return Step(error="two_credentials")
        step = self.script.keys.get(request.key, self.script.others)
        return self.script.pace if step == Step() else step

    def _use(self, rule: Rule) -> None:
        self._used[id(rule)] = self._used.get(id(rule), 0) + 1

    def _holds(self, rule: Rule, request: Request) -> bool:
        if rule.times is not None and self._used.get(id(rule), 0) >= rule.times:
            return False
        return (
            (rule.key is None or rule.key == request.key)
            and (rule.method is None or rule.method == request.method)
            and (rule.path is None or request.target.startswith(rule.path))
            and (rule.turn is None or rule.turn == request.number)
            and (
                rule.nth_on_connection is None
                or rule.nth_on_connection == request.nth_on_connection
            )
            and (rule.contains is None or rule.contains.encode() in request.body)
        )

    async def _obey(self, wire: Wire) -> None:
        try:
            while True:
                method, target, version, fields = await read_head(wire)
                order = Request(0, 0, 0, False, method, target, version, fields, 0.0)
                await read_body(wire, order)
                status, said = await self._carry_out(order)
                text = json.dumps(said).encode()
                head = f"HTTP/1.1 {status} x\r\nContent-Type: {JSON_TYPE}\r\n"
                await wire.send(head.encode() + b"Content-Length: %d\r\n\r\n" % len(text) + text)
        except (PeerGone, BadRequestBytes):
            wire.close()

    async def _carry_out(self, order: Request) -> tuple[int, Any]:
        match order.method, order.path:
            case "PUT", "/script":
                try:
                    self.follow(Script.of(json.loads(bytes(order.body) or b"{}")))
                except (ValueError, TypeError, KeyError) as error:
                    return 400, {"error": str(error)}
                return 200, {}
            case "GET", "/seen":
                return 200, [request.plain() for request in self.seen]
            case "GET", "/state":
                return 200, {"open": len(self._open), "accepted": self._connections}
            case "PUT", "/listening":
                for name, wanted in json.loads(bytes(order.body)).items():
                    await (self.wake(name) if wanted else self.hush(name))
                return 200, {}
        return 404, {"error": "PUT /script, GET /seen, GET /state or PUT /listening"}


class Performance:
    """One step, played for one request."""

    def __init__(self, wire: Wire, request: Request, step: Step, kept: Kept) -> None:
        self._wire = wire
        self._request = request
        self._step = step
        self._kept = kept

    async def play(self) -> bool:
        """Send the answer; whether the connection may carry another one."""
        step, wire = self._step, self._wire
        if step.fault == "close_before_head":
            self._cut()
        if step.fault == "reset_before_head":
            self._cut(reset=True)
        if step.fault == "never_answer":
            await wire.for_ever()
        await wire.rest(step.head_delay_ms / 1000)
        for status, fields in step.interim:
            await self._send(_head(status, None, list(fields)))
        if step.raw is not None:
            await self._send(step.raw)
            self._cut()
        said = self._said()
        self._request.answered = said.status
        parts, fields = self._coded(said)
        bodiless = self._request.method == "HEAD" or said.status in NO_BODY
        framing = self._framing(said)
        if said.status not in NO_BODY:
            if framing == "chunked":
                fields.append(("Transfer-Encoding", "chunked"))
            elif framing == "length":
                fields.append(("Content-Length", str(sum(map(len, parts)))))
        open_after = self._keeps_open() and (bodiless or framing != "close")
        if not open_after:
            fields.append(("Connection", "close"))
        await self._send(_head(said.status, step.reason, fields))
        if bodiless:
            return open_after
        await self._body(said, parts, framing)
        return open_after

    def _said(self) -> Answer:
        step, request = self._step, self._request
        kind = step.content_type
        if step.error is not None:
            refused = dialects.refusal(request, step.error, step.retry_after)
            self._extra: Sequence[FieldPair] = refused.fields
            body = dialects.as_bytes(refused.body) if step.body is None else step.body
            return Answer([body], kind or JSON_TYPE, status=step.status or refused.status)
        self._extra = (("x-request-id", f"req_{request.number:08x}"),)
        if step.body is not None:
            body = step.body * step.repeat
            return Answer([body], kind or JSON_TYPE, status=step.status or 200)
        if step.status is not None and step.status >= 400:
            text = f'{{"error":{{"message":"scripted {step.status}","type":"scripted"}}}}'
            return Answer([text.encode()], kind or JSON_TYPE, status=step.status)
        said = answer(request, step.events, self._kept)
        self._extra = (*self._extra, *said.fields)
        return Answer(
            said.parts, kind or said.content_type, said.is_stream, step.status or said.status
        )

    def _coded(self, said: Answer) -> tuple[list[bytes], list[FieldPair]]:
        """Parts and fields after compression."""
        step = self._step
        fields: list[FieldPair] = [("Content-Type", said.content_type), *self._extra]
        if step.retry_after is not None:
            fields.append(("Retry-After", str(step.retry_after)))
        fields += [(name, value) for name, value in step.fields]
        accepts = "gzip" in (self._request.get("accept-encoding") or "")
        if step.gzip == "never" or (step.gzip == "accepted" and not accepts):
            return list(said.parts), fields
        fields.append(("Content-Encoding", "gzip"))
        if not said.is_stream:
            return [gzip.compress(b"".join(said.parts))], fields
        press = zlib.compressobj(wbits=31)
        parts = [press.compress(part) + press.flush(zlib.Z_SYNC_FLUSH) for part in said.parts]
        return [*parts[:-1], parts[-1] + press.flush()], fields

    def _framing(self, said: Answer) -> str:
        step = self._step
        if step.framing != "auto":
            return step.framing
        chunked = said.is_stream or step.chunk_sizes or step.trailers or step.chunk_extension
        if self._request.version == "HTTP/1.0":
            return "close" if said.is_stream else "length"
        return "chunked" if chunked else "length"

    def _keeps_open(self) -> bool:
        wish = (self._request.get("connection") or "").lower()
        if self._request.version == "HTTP/1.0" and "keep-alive" not in wish:
            return False
        return not self._step.close and "close" not in wish

    async def _body(self, said: Answer, parts: Sequence[bytes], framing: str) -> None:
        step = self._step
        in_body = step.fault in ("close_in_body", "reset_in_body", "stall_in_body")
        if in_body and not said.is_stream:
            whole = b"".join(parts)
            parts = [whole[: len(whole) // 2 if step.fault_after is None else step.fault_after]]
        stop = len(parts)
        if in_body and said.is_stream:
            stop = 1 if step.fault_after is None else step.fault_after
        if step.chunk_sizes:
            parts = list(_pieces(b"".join(parts), step.chunk_sizes))
            stop = len(parts)
        for number, part in enumerate(parts[:stop]):
            if number:
                await self._wire.rest(step.interval_ms / 1000)
            await self._send(self._chunk(part) if framing == "chunked" else part)
        if in_body:
            await self._wire.rest(0.05)  # let it get there before the connection ends
            if step.fault == "stall_in_body":
                await self._wire.for_ever()
            self._cut(reset=step.fault == "reset_in_body")
        if framing == "chunked":
            trailers = "".join(f"{name}: {value}\r\n" for name, value in step.trailers)
            await self._send(f"0\r\n{trailers}\r\n".encode("latin-1"))

    def _chunk(self, part: bytes) -> bytes:
        if not part:
            return b""
        size = f"00{len(part):X}" if self._step.odd_chunks else f"{len(part):x}"
        head = f"{size}{self._step.chunk_extension}\r\n".encode("latin-1")
        return head + part + b"\r\n"

    async def _send(self, data: bytes) -> None:
        split = self._step.split
        if not split:
            await self._wire.send(data)
            return
        for at in range(0, len(data), split):
            await self._wire.send(data[at : at + split])
            if self._step.split_pause_ms:
                await self._wire.rest(self._step.split_pause_ms / 1000)
            else:
                await asyncio.sleep(0)

    def _cut(self, *, reset: bool = False) -> None:
        if reset:
            self._wire.reset()
        else:
            self._wire.close()
        raise Cut


def _head(status: int, reason: str | None, fields: Sequence[FieldPair]) -> bytes:
    if reason is None:
        try:
            reason = HTTPStatus(status).phrase
        except ValueError:
            reason = "Unknown"
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields)
    return f"HTTP/1.1 {status} {reason}\r\n{lines}\r\n".encode("latin-1")


def _pieces(whole: bytes, sizes: Sequence[int]) -> Iterator[bytes]:
    at = 0
    for size in cycle(sizes):
        if at >= len(whole):
            return
        yield whole[at : at + size]
        at += size
