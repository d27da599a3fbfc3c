"""The real data plane and the real key states, on a fake clock, against the world.

Everything between a client's bytes and an upstream's is what a node runs: codec, front,
exchange, routing, verdicts, breakers, the waiting room, and the folding of key events.
Played are sockets and clocks, and the ledger does without its database.
"""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.task import Clock, LoopingCall
from twisted.python.failure import Failure

from benchmarks.fleet_world import HOSTS, START, Call, Key, World
from gptload.core.keypool import PoolKey
from gptload.core.keystate import State
from gptload.core.snapshot import Origin
from gptload.link.messages import KeyEvent, KeysAdded
from gptload.proxy.front import Front
from gptload.proxy.replies import refusal
from gptload.wire.connect import Route
from gptload.wire.server import ServerFactory, Timeouts
from gptload.wire.upstream import UpstreamConnection
from tests.fakes.scene import PROXY_KEY, Scene, Transport, group

_GROUPS: Final = {"openai": 1, "gemini": 2}
_CALL: Final = re.compile(rb"\r\nX-Call: (\d+)\r\n")
_SECRET: Final = re.compile(rb"\r\n(?:Authorization: Bearer |x-goog-api-key: )(\S+)\r\n", re.I)
# As `gptload.control.ledger` does it.
_WAKE_S: Final = 1.0
_WAKES: Final = 2_000


class Gptload:
    """Sends calls through gptload.

    Args:
        settings: of both groups, as far as a user changes them.

    Attributes:
        clock: moved by whoever runs the night; it begins with it.
    """

    def __init__(self, world: World, settings: Mapping[str, Any]) -> None:
        self._world = world
        self._calls: dict[int, Call] = {}
        self._began: dict[int, float] = {}  # the last attempt of each
        self._scene = scene = Scene(
            *(
                group(
                    *(f"http://{host}/{api}" for host in HOSTS),
                    channel=api,
                    name=api,
                    number=number,
                    settings=dict(settings),
                )
                for api, number in _GROUPS.items()
            ),
            keys=0,
            limit=10_000,
        )
        self.clock: Clock = scene.clock
        self.clock.advance(START - scene.now())
        plane = scene.plane
        plane.connections = _Connections(self._asked)  # type: ignore[assignment]
        numbers = itertools.count(1)
        plane.new_id = lambda: f"id-{next(numbers)}"
        plane.record = lambda record: None
        self._fold = plane.report
        plane.report = self._report
        front = Front(plane, Route(Origin("unix", "/control", 0)))
        self._clients = ServerFactory(front.begin, refusal, plane.sweep, Timeouts())
        for api, number in _GROUPS.items():
            keys = [key for key in world.keys.values() if key.account.api == api]
            pool = tuple(PoolKey(key.id, key.secret.encode()) for key in keys)
            scene.routing.apply(KeysAdded(number, pool))
        waking = LoopingCall(lambda: scene.standings.wake(self.now(), _WAKES))
        waking.clock = self.clock
        waking.start(_WAKE_S, now=False)

    def now(self) -> float:
        """Epoch seconds."""
        return self._scene.now()

    def serve(self, call: Call, ended: Callable[[bool, float], None]) -> None:
        """Have a call answered.

        Args:
            ended: hears whether by a success, and when the last attempt began.
        """

        def closed(heard: bytes) -> None:
            del self._calls[call.number]
            ended(_is_success(heard), self._began.pop(call.number, self.now()))

        self._calls[call.number] = call
        connection = self._clients.buildProtocol(None)
        connection.makeConnection(_Ear(connection, closed))
        connection.dataReceived(_request(call))

    def _asked(self, request: bytes, host: str, connection: UpstreamConnection) -> None:
        """An upstream gets a request: what the world says to it comes in a while."""
        number, secret = _CALL.search(request), _SECRET.search(request)
        assert number is not None and secret is not None
        call = self._calls[int(number[1])]
        key = self._world.by_secret[secret[1].decode()]
        now = self.now()
        self._began[call.number] = now
        rests = self._rests(key, call.model, now)
        after_s, reply = self._world.attempt(call, key, host, now, rests=rests)

        def answered() -> None:
            if connection.dead:
                return
            if reply.status:
                connection.dataReceived(reply.wire())
            else:
                connection.connectionLost(
                    Failure(ConnectionLost() if reply.reset else ConnectionDone())
                )

        self.clock.callLater(after_s, answered)

    def _rests(self, key: Key, model: str, now: float) -> bool:
        """Whether the ledger holds the key to rest."""
        holds = self._scene.standings.view(key.id, now)
        return holds.state is State.RESTING or dict(holds.rests).get(model, 0.0) > now

    def _report(self, event: KeyEvent) -> None:
        scene = self._scene
        self._fold(event)
        for change in scene.changes:
            if change.holds.state is State.INVALID:
                self._world.held_invalid(change.key_id, event.at)
            else:
                self._world.held_valid(change.key_id)
        scene.events.clear()
        scene.changes.clear()


class _Asked(Protocol):
    def __call__(self, request: bytes, host: str, connection: UpstreamConnection) -> None: ...


class _Connections:
    """Connections that lead to the world; see `gptload.wire.pool`."""

    def __init__(self, asked: _Asked) -> None:
        self._asked = asked
        self._idle: defaultdict[str, list[UpstreamConnection]] = defaultdict(list)
        self._host: dict[UpstreamConnection, str] = {}

    def acquire(
        self, route: Route, waiter: Any, connect_timeout_s: float, *, fresh: bool = False
    ) -> Callable[[], None]:
        host = route.origin.host
        if self._idle[host] and not fresh:
            connection = self._idle[host].pop()
        else:
            connection = UpstreamConnection(self, lambda failure: None, secure=False)
            self._host[connection] = host
            connection.makeConnection(_Wire(self._asked, host, connection))
        waiter.connected(connection)
        return lambda: None

    def release(self, connection: UpstreamConnection) -> None:
        self._idle[self._host[connection]].append(connection)

    def forget(self, connection: UpstreamConnection) -> None:
        host = self._host.pop(connection)
        if connection in self._idle[host]:
            self._idle[host].remove(connection)


class _Wire(Transport):
    """Towards an upstream: a request is one write, since its body is kept."""

    def __init__(self, asked: _Asked, host: str, connection: UpstreamConnection) -> None:
        super().__init__()
        self._asked = asked
        self._host = host
        self._connection = connection

    def write(self, data: bytes) -> None:
        self._asked(data, self._host, self._connection)

    def abortConnection(self) -> None:
        if not self.aborted:
            super().abortConnection()
            self._connection.connectionLost(Failure(ConnectionDone()))


class _Ear(Transport):
    """Towards a client that asks once and goes."""

    def __init__(self, connection: Any, closed: Callable[[bytes], None]) -> None:
        super().__init__()
        self._connection = connection
        self._closed = closed

    def loseConnection(self) -> None:
        self._end(self.value())

    def abortConnection(self) -> None:
        self._end(b"")

    def _end(self, heard: bytes) -> None:
        if not self.aborted:
            self.aborted = True
            self._connection.connectionLost(None)
            self._closed(heard)


def _request(call: Call) -> bytes:
    """As an SDK sends it."""
    if call.api == "gemini":
        path = f"/proxy/gemini/v1beta/models/{call.model}:generateContent"
        body = b'{"contents":[{"role":"user","parts":[{"text":"Hi"}]}]}'
    else:
        path = "/proxy/openai/v1/chat/completions"
        streams = b',"stream":true' if call.streams else b""
        body = b'{"model":"%b","messages":[{"role":"user","content":"Hi"}]%b}' % (
            call.model.encode(),
            streams,
        )
    return b"".join(
        (
            b"POST %b HTTP/1.1\r\nHost: gptload\r\n" % path.encode(),
            b"Authorization: Bearer %b\r\nX-Call: %d\r\n" % (PROXY_KEY, call.number),
            b"Content-Type: application/json\r\nConnection: close\r\n",
            b"Content-Length: %d\r\n\r\n%b" % (len(body), body),
        )
    )


def _is_success(heard: bytes) -> bool:
    """Whether a client got a whole answer of status 200."""
    if not heard.startswith(b"HTTP/1.1 200 "):
        return False
    head, _, body = heard.partition(b"\r\n\r\n")
    length = re.search(rb"\r\nContent-Length: (\d+)", head, re.I)
    if length is None:
        return b"data: [DONE]" in body and body.endswith(b"0\r\n\r\n")
    return len(body) == int(length[1])
