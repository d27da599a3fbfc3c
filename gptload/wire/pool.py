"""Idle connections by route. Not to be confused with the key pool.

Choosing one is a list's pop: no Deferred, no lock. The one used last goes first,
so that what a quiet hour doesn't need grows old and is closed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from gptload.wire.connect import Connector, Route
from gptload.wire.sweep import Sweep
from gptload.wire.upstream import UpstreamConnection, UpstreamFailure


class Waiter(Protocol):
    """Who wants a connection."""

    def connected(self, connection: UpstreamConnection) -> None:
        """Here it is: idle, sound, and yours until its response has ended."""

    def connect_failed(self, failure: UpstreamFailure) -> None:
        """There won't be one."""


def _nothing_to_cancel() -> None:
    pass


class ConnectionPool:
    """Keeps connections between attempts.

    Attributes:
        idle_count: connections that wait for work, of all routes.
    """

    def __init__(self, connector: Connector, sweep: Sweep) -> None:
        self._connector = connector
        self._sweep = sweep
        self._idle: dict[Route, list[UpstreamConnection]] = {}
        self._routes: dict[UpstreamConnection, Route] = {}
        self._closed = False
        self.idle_count = 0

    @property
    def open_count(self) -> int:
        """Connections of all routes, the idle ones among them."""
        return len(self._routes)

    def acquire(
        self, route: Route, waiter: Waiter, connect_timeout_s: float, *, fresh: bool = False
    ) -> Callable[[], None]:
        """Give a waiter a connection, at once when there is an idle one.

        Args:
            fresh: take no idle one: the last turned out to be stale.

        Returns:
            How to give up waiting.
        """
        idle = None if fresh else self._idle.get(route)
        while idle:
            connection = idle.pop()
            self.idle_count -= 1
            self._sweep.discard(connection)
            if not connection.dead:
                waiter.connected(connection)
                return _nothing_to_cancel

        def opened(result: UpstreamConnection | UpstreamFailure) -> None:
            if isinstance(result, UpstreamFailure):
                waiter.connect_failed(result)
            else:
                self._routes[result] = route
                waiter.connected(result)

        return self._connector.connect(route, connect_timeout_s, self, opened)

    def release(self, connection: UpstreamConnection) -> None:
        """A response has ended; keep its connection if its user's limits allow."""
        route = self._routes.get(connection)
        limits = connection.limits
        idle = self._idle.get(route) if route is not None else None
        if (
            route is None
            or self._closed
            or self.idle_count >= limits.in_all
            or (idle is not None and len(idle) >= limits.per_origin)
        ):
            connection.abort()
            return
        if idle is None:
            idle = self._idle[route] = []
        idle.append(connection)
        self.idle_count += 1
        connection.deadline = self._sweep.now + limits.timeout_s
        self._sweep.add(connection)

    def forget(self, connection: UpstreamConnection) -> None:
        """A connection is gone."""
        self._sweep.discard(connection)
        route = self._routes.pop(connection, None)
        idle = self._idle.get(route) if route is not None else None
        if idle is not None:
            if connection in idle:
                idle.remove(connection)
                self.idle_count -= 1
            if not idle:
                del self._idle[route]  # type: ignore[arg-type]

    def close(self) -> None:
        """Close what is idle, and keep nothing from now on."""
        self._closed = True
        for connection in [c for idle in self._idle.values() for c in idle]:
            connection.abort()
