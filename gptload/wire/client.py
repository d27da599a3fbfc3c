"""One request, one whole answer: for the control plane's probes.

The same connections and the same bytes as the data path, so that a probe tells
what a request would meet. The data path itself never comes through here.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from attrs import frozen
from twisted.internet.defer import Deferred

from gptload.core.headers import Field, OutgoingRequest
from gptload.core.settings import Settings
from gptload.core.snapshot import Upstream
from gptload.wire import codec
from gptload.wire.connect import Route
from gptload.wire.pool import ConnectionPool
from gptload.wire.sweep import Sweep
from gptload.wire.upstream import (
    IdleLimits,
    Trouble,
    UpstreamConnection,
    UpstreamFailure,
    request_bytes,
)

BODY_LIMIT = 1024 * 1024


@frozen
class Reply:
    """A whole answer.

    Attributes:
        body: as received, at most `BODY_LIMIT` bytes of it.
    """

    status: int
    fields: list[Field]
    body: bytes


class Client:
    """Sends single requests over the shared connections."""

    def __init__(self, pool: ConnectionPool, sweep: Sweep) -> None:
        self._pool = pool
        self._sweep = sweep

    def request(
        self,
        upstream: Upstream,
        proxy: str,
        request: OutgoingRequest,
        body: bytes,
        settings: Settings,
        timeout_s: float,
    ) -> Deferred[Reply]:
        """Send it and collect the answer.

        Args:
            proxy: URL of the outbound proxy; empty for none.
            timeout_s: for all of it.

        Returns:
            Fails with `UpstreamFailure` where no whole answer came. Cancelling it
            ends the request at once.
        """
        route = Route(upstream.origin, proxy)
        framing = (
            b"Content-Length: %d\r\n" % len(body)
            if body or request.method in (b"POST", b"PUT", b"PATCH")
            else b""
        )
        wire = request_bytes(
            request,
            upstream,
            framing,
            body,
            absolute=route.absolute,
            proxy_credentials=route.credentials,
        )
        limits = IdleLimits.of(settings)
        call = _Call(self._pool, self._sweep, route, wire, request.method == b"HEAD", limits)
        call.begin(min(timeout_s, settings.connect_timeout), timeout_s)
        return call.result


class _Call:
    """One request under way."""

    def __init__(
        self,
        pool: ConnectionPool,
        sweep: Sweep,
        route: Route,
        wire: bytes,
        is_head: bool,
        limits: IdleLimits,
    ) -> None:
        self._pool = pool
        self._sweep = sweep
        self._route = route
        self._wire = wire
        self._is_head = is_head
        self._limits = limits
        self._connection: UpstreamConnection | None = None
        self._give_up: Callable[[], None] | None = None
        self._connect_timeout_s = 0.0
        self._head: codec.ResponseHead | None = None
        self._parts: list[bytes] = []
        self._size = 0
        self.deadline = inf
        self.result: Deferred[Reply] = Deferred(lambda _: self._stop())

    def begin(self, connect_timeout_s: float, timeout_s: float) -> None:
        self._connect_timeout_s = connect_timeout_s
        self.deadline = self._sweep.now + timeout_s
        self._sweep.add(self)
        self._acquire(fresh=False)

    def _acquire(self, *, fresh: bool) -> None:
        self._give_up = self._pool.acquire(self._route, self, self._connect_timeout_s, fresh=fresh)

    def connected(self, connection: UpstreamConnection) -> None:
        self._connection = connection
        connection.begin(
            self._wire, self, is_head=self._is_head, complete=True, limits=self._limits
        )

    def connect_failed(self, failure: UpstreamFailure) -> None:
        self._fail(failure)

    def deadline_passed(self) -> None:
        self._stop()
        self._fail(UpstreamFailure(Trouble.TIMEOUT))

    def head_received(self, head: codec.ResponseHead) -> None:
        self._head = head

    def body_received(self, data: bytes) -> None:
        if self._size < BODY_LIMIT:
            self._parts.append(data)
        self._size += len(data)

    def body_ended(self, last: bytes) -> None:
        self.body_received(last)
        self._connection = None
        self._sweep.discard(self)
        head = self._head
        assert head is not None
        if not self.result.called:
            body = b"".join(self._parts)[:BODY_LIMIT]
            self.result.callback(Reply(head.status, head.fields, body))

    def failed(self, failure: UpstreamFailure) -> None:
        self._connection = None
        if failure.stale:
            self._acquire(fresh=True)
        else:
            self._fail(failure)

    def sending_paused(self) -> None:
        pass  # the whole request is in the transport's buffer already

    def sending_resumed(self) -> None:
        pass

    def _stop(self) -> None:
        self._sweep.discard(self)
        if self._connection is not None:
            self._connection.abort()
            self._connection = None
        elif self._give_up is not None:
            self._give_up()

    def _fail(self, failure: UpstreamFailure) -> None:
        self._sweep.discard(self)
        if not self.result.called:
            self.result.errback(failure)
