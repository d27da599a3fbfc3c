"""A data plane whose clients and upstreams are played by the test.

Everything between two transports is real: codec, connections, pool of keys, verdicts,
exchange. Only sockets, clocks and the ledger's database are not. A test reads like a
conversation:

    scene = Scene(group(keys=2))
    client = scene.client()
    client.says(POST)
    scene.upstream(0).answers(b"HTTP/1.1 429 …")
    scene.upstream(1).answers(b"HTTP/1.1 200 …")
    assert client.heard() == …
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import evolve
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from gptload.core import breaker
from gptload.core.correlation import Correlation
from gptload.core.keyevents import Change, WaySuspected
from gptload.core.keypool import PoolKey
from gptload.core.keystate import State
from gptload.core.paths import parse_upstream
from gptload.core.record import AttemptRecord
from gptload.core.settings import Settings
from gptload.core.snapshot import Group, Origin, Snapshot, digest
from gptload.core.standing import Standings
from gptload.link.messages import (
    BreakerMoved,
    KeyEvent,
    KeysAdded,
    KeyStateChanged,
    OwnerNoted,
)
from gptload.provider import discover, resources_of
from gptload.proxy.front import Front
from gptload.proxy.plane import Cors, Plane
from gptload.proxy.replies import refusal
from gptload.proxy.routing import Routing
from gptload.proxy.waiting import WaitingRoom
from gptload.wire.connect import Route
from gptload.wire.server import ServerConnection, ServerFactory, Timeouts
from gptload.wire.sweep import Sweep
from gptload.wire.upstream import UpstreamConnection, UpstreamFailure

NOW = 1_800_000_000.0
PROXY_KEY = b"sk-proxy"
PROVIDERS = discover().by_name


class Transport(StringTransport):
    """Twisted's own fake, with what a TCP transport has beside."""

    aborted = False

    def abortConnection(self) -> None:
        self.aborted = True
        self.disconnecting = True

    def resumeProducing(self) -> None:
        if not self.disconnecting:
            super().resumeProducing()

    def heard(self) -> bytes:
        """What has been written since the last time."""
        data = self.value()
        self.clear()
        return data


def group(
    *urls: str,
    channel: str = "openai",
    name: str = "g",
    number: int = 1,
    settings: dict[str, Any] | None = None,
    **fields: Any,
) -> Group:
    """A group of one upstream, or of these."""
    return Group(
        id=number,
        name=name,
        display_name="",
        channel=channel,
        upstreams=tuple(parse_upstream(url, 1) for url in urls or ("http://up.example",)),
        settings=evolve(Settings(), **(settings or {})),
        access=frozenset({digest(PROXY_KEY)}),
        **fields,
    )


class Upstream:
    """One connection to an upstream, played by the test."""

    def __init__(self, route: Route, connection: UpstreamConnection) -> None:
        self.route = route
        self.connection = connection
        self.transport = Transport()
        connection.makeConnection(self.transport)

    def heard(self) -> bytes:
        """The request, as far as it has been sent."""
        return self.transport.heard()

    def answers(self, data: bytes) -> None:
        """Bytes from the upstream."""
        self.connection.dataReceived(data)

    def closes(self, error: Exception | None = None) -> None:
        """The connection is lost."""
        from twisted.internet.error import ConnectionDone

        self.connection.connectionLost(Failure(error or ConnectionDone()))

    @property
    def gone(self) -> bool:
        """We have dropped it."""
        return self.transport.aborted


class Pool:
    """Hands out connections that the test plays; a released one is used again."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self.idle: list[Upstream] = []
        self.refuse: list[UpstreamFailure] = []
        self.hold = False
        self.waiting: list[Callable[[], None]] = []
        self.cancelled = 0

    def acquire(
        self, route: Route, waiter: Any, connect_timeout_s: float, *, fresh: bool = False
    ) -> Callable[[], None]:
        if self.refuse:
            failure = self.refuse.pop(0)
            self._scene.clock.callLater(0, waiter.connect_failed, failure)
            return lambda: None
        idle = [upstream for upstream in self.idle if upstream.route == route]
        if idle and not fresh:
            upstream = idle[-1]
            self.idle.remove(upstream)
        else:
            upstream = self._scene.open(route, self)
        if self.hold:
            self.waiting.append(lambda: waiter.connected(upstream.connection))
            return self._cancel
        waiter.connected(upstream.connection)
        return lambda: None

    def _cancel(self) -> None:
        self.cancelled += 1

    def release(self, connection: UpstreamConnection) -> None:
        self.idle += [u for u in self._scene.upstreams if u.connection is connection]

    def forget(self, connection: UpstreamConnection) -> None:
        self.idle = [u for u in self.idle if u.connection is not connection]


class Client:
    """One client's connection, played by the test."""

    def __init__(self, connection: ServerConnection) -> None:
        self.connection = connection
        self.transport = Transport()
        connection.makeConnection(self.transport)

    def says(self, data: bytes) -> None:
        self.connection.dataReceived(data)

    def heard(self) -> bytes:
        return self.transport.heard()

    def leaves(self) -> None:
        self.connection.connectionLost(None)


class Scene:
    """One data plane, with everything it says noted."""

    def __init__(
        self, *groups: Group, keys: int = 3, cors: Cors | None = None, limit: int = 100
    ) -> None:
        self.clock = Clock()
        self.clock.advance(100.0)
        self.upstreams: list[Upstream] = []
        self.events: list[KeyEvent] = []
        self.records: list[AttemptRecord] = []
        self.pool = Pool(self)
        self.moves: list[BreakerMoved] = []
        self.changes: list[Change] = []
        self.owners: list[OwnerNoted] = []
        self.standings = Standings(Correlation())
        self.routing = Routing(lambda scheme, host, port: "", self._moved)
        waiting = WaitingRoom(self.routing.members, self.now, self.clock.callLater)
        self.routing.woke = waiting.woke
        numbers = iter(range(1, 10_000))
        sweep = Sweep(self.clock, self.clock.seconds)
        sweep.start()
        self.plane = Plane(
            routing=self.routing,
            providers=PROVIDERS,
            connections=self.pool,  # type: ignore[arg-type]
            sweep=sweep,
            seconds=self.now,
            ticks=self.clock.seconds,
            new_id=lambda: f"id-{next(numbers)}",
            record=self.records.append,
            report=self._report,
            waiting=waiting,
            call_later=self.clock.callLater,
            chance=lambda: 0.0,
            resources={name: resources_of(provider) for name, provider in PROVIDERS.items()},
            note_owner=self.owners.append,
            secret=b"signs tickets",
            cors=cors,
            limit=limit,
        )
        front = Front(self.plane, Route(Origin("unix", "/control", 0)))
        self._factory = ServerFactory(front.begin, refusal, sweep, Timeouts())
        self.publish(*groups)
        for each in groups:
            if each.sub_groups is None:
                added = tuple(
                    PoolKey(each.id * 100 + n, b"sk-pool-%d-%d" % (each.id, n)) for n in range(keys)
                )
                self.routing.apply(KeysAdded(each.id, added))

    def now(self) -> float:
        """Wall clock."""
        return NOW + self.clock.seconds() - 100.0

    def publish(self, *groups: Group) -> None:
        """A new snapshot."""
        self.routing.replace(
            Snapshot(
                version=self.routing.snapshot.version + 1,
                system_access=frozenset({digest(PROXY_KEY)}),
                groups={each.name.encode(): each for each in groups},
                by_id={each.id: each for each in groups},
            )
        )

    def _report(self, event: KeyEvent) -> None:
        """As the ledger does it, without its database."""
        self.events.append(event)
        for news in self.standings.fold(event):
            if isinstance(news, Change):
                self.changes.append(news)
            self.tell(news)

    def tell(self, news: Change | WaySuspected) -> None:
        """The data plane hears what holds now."""
        if isinstance(news, WaySuspected):
            self.routing.apply(news)
            return
        holds = news.holds
        self.routing.apply(
            KeyStateChanged(
                news.group_id,
                news.key_id,
                holds.state,
                holds.strikes,
                holds.until,
                holds.rests,
                holds.account,
            )
        )

    def restore(self, group_id: int, *key_ids: int) -> None:
        """A person says that these keys are good."""
        for change in self.standings.restored(group_id, key_ids, self.now()):
            self.tell(change)

    def _moved(self, move: BreakerMoved) -> None:
        self.moves.append(move)
        if move.state is breaker.State.CLOSED:
            self.standings.way_proven(move.way)

    def state(self, key_id: int) -> State:
        """What holds of a key."""
        return self.standings.view(key_id, self.now()).state

    def client(self) -> Client:
        """A new client."""
        return Client(self._factory.buildProtocol(None))

    def open(self, route: Route, pool: Pool) -> Upstream:
        """A new connection to an upstream."""
        connection = UpstreamConnection(pool, lambda failure: None, secure=False)
        self.upstreams.append(Upstream(route, connection))
        return self.upstreams[-1]

    def advance(self, seconds: int) -> None:
        """Let time pass, a second at a time."""
        self.clock.pump([1.0] * seconds)
