"""Which connection serves next, and that none is forgotten anywhere."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from gptload.core.snapshot import Origin
from gptload.wire.codec import ResponseHead
from gptload.wire.connect import Route
from gptload.wire.pool import ConnectionPool
from gptload.wire.sweep import Sweep
from gptload.wire.upstream import Idle, IdleLimits, Trouble, UpstreamConnection, UpstreamFailure

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
HERE = Route(Origin("http", "here", 80))
THERE = Route(Origin("http", "there", 80))
HERE_BY_PROXY = Route(Origin("http", "here", 80), "http://proxy")

Done = Callable[[UpstreamConnection | UpstreamFailure], None]


class Network:
    """Opens connections when it is told to, each with a transport of its own."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Idle, Done]] = []
        self.given_up = 0

    def connect(self, route: Route, timeout_s: float, idle: Idle, done: Done) -> Callable[[], None]:
        self.waiting.append((idle, done))

        def give_up() -> None:
            self.given_up += 1

        return give_up

    def opens(self) -> UpstreamConnection:
        idle, done = self.waiting.pop(0)
        connection = UpstreamConnection(idle, lambda failure: None, secure=False)
        connection.makeConnection(StringTransport())
        done(connection)
        return connection

    def refuses(self) -> None:
        _, done = self.waiting.pop(0)
        done(UpstreamFailure(Trouble.CONNECT))


class User:
    """Waits for a connection, and makes requests on it when told to."""

    def __init__(self, limits: IdleLimits) -> None:
        self.limits = limits
        self.connection: UpstreamConnection | None = None
        self.failure: UpstreamFailure | None = None

    def connected(self, connection: UpstreamConnection) -> None:
        assert not connection.dead
        self.connection = connection
        connection.begin(b"GET", self, is_head=False, complete=True, limits=self.limits)

    def connect_failed(self, failure: UpstreamFailure) -> None:
        self.failure = failure

    def is_answered(self) -> UpstreamConnection:
        connection = self.connection
        assert connection is not None
        connection.dataReceived(OK)
        return connection

    def head_received(self, head: ResponseHead) -> None:
        pass

    def body_received(self, data: bytes) -> None:
        pass

    def body_ended(self, last: bytes) -> None:
        self.connection = None

    def failed(self, failure: UpstreamFailure) -> None:
        self.connection, self.failure = None, failure

    def sending_paused(self) -> None:
        pass

    def sending_resumed(self) -> None:
        pass


class House:
    """A pool on a made-up network, and a clock."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.network = Network()
        self.sweep = Sweep(self.clock, self.clock.seconds)
        self.sweep.start()
        self.pool = ConnectionPool(self.network, self.sweep)  # type: ignore[arg-type]

    def asks(
        self, route: Route = HERE, limits: IdleLimits | None = None, *, fresh: bool = False
    ) -> User:
        user = User(limits or IdleLimits(60.0, 50, 100))
        self.pool.acquire(route, user, 5.0, fresh=fresh)
        return user

    def uses(
        self, number: int, route: Route = HERE, limits: IdleLimits | None = None
    ) -> list[UpstreamConnection]:
        """So many connections at once, all answered."""
        users = [self.asks(route, limits) for _ in range(number)]
        while self.network.waiting:
            self.network.opens()
        return [user.is_answered() for user in users]

    def knows(self) -> tuple[int, int, int]:
        """Connections, routes with a list, connections watched by the sweep."""
        pool = self.pool
        return len(pool._routes), len(pool._idle), len(self.sweep._timed)


def loses(connection: UpstreamConnection) -> None:
    connection.connectionLost(Failure(ConnectionDone()))


def test_the_connection_used_last_goes_first() -> None:
    house = House()
    first, second = house.uses(2)
    user = house.asks()
    assert user.connection is second and house.network.waiting == []
    assert house.asks().connection is first and house.pool.idle_count == 0


def test_a_connection_serves_its_own_route_only() -> None:
    house = House()
    (connection,) = house.uses(1)
    assert house.asks(THERE).connection is None
    assert house.asks(HERE_BY_PROXY).connection is None
    assert house.asks(Route(Origin("http", "here", 80))).connection is connection


def test_no_more_are_kept_than_an_origin_may_have() -> None:
    house = House()
    limits = IdleLimits(60.0, 2, 100)
    made = house.uses(4, HERE, limits)
    assert [connection.dead for connection in made] == [False, False, True, True]
    assert house.pool.idle_count == 2
    house.uses(2, THERE, limits)
    assert house.pool.idle_count == 4


def test_no_more_are_kept_than_all_may_have_together() -> None:
    house = House()
    limits = IdleLimits(60.0, 50, 3)
    house.uses(2, HERE, limits)
    there = house.uses(2, THERE, limits)
    assert [connection.dead for connection in there] == [False, True]
    assert house.pool.idle_count == 3


def test_what_nobody_needs_is_closed_in_time() -> None:
    house = House()
    (connection,) = house.uses(1, limits=IdleLimits(10.0, 5, 5))
    house.clock.pump([1.0] * 9)
    assert not connection.dead
    house.clock.pump([1.0] * 2)
    assert connection.dead
    loses(connection)
    assert house.knows() == (0, 0, 0) and house.pool.idle_count == 0


def test_a_connection_in_use_has_no_idle_time() -> None:
    house = House()
    house.uses(1, limits=IdleLimits(10.0, 5, 5))
    user = house.asks()
    house.clock.pump([1.0] * 100)
    assert user.connection is not None and not user.connection.dead


def test_one_that_is_taken_in_the_sweep_that_would_close_it_lives() -> None:
    """A time-out's retry may take it in the same turn; closed then, nobody would hear of it."""
    house = House()
    (connection,) = house.uses(1, limits=IdleLimits(1.0, 5, 5))
    taken: list[User] = []

    class Retry:
        deadline = 1.0

        def deadline_passed(self) -> None:
            self.deadline = 1000.0
            if not connection.dead:
                taken.append(house.asks())

    for _ in range(20):  # a set's order is its own: some come before it
        house.sweep.add(Retry())
    house.clock.advance(1.0)
    assert all(user.connection is not connection or not connection.dead for user in taken)


def test_a_dead_one_is_passed_over() -> None:
    house = House()
    first, second = house.uses(2)
    second.dataReceived(b"farewell")  # dead, but its loss comes a turn later
    assert house.asks().connection is first
    assert house.pool.idle_count == 0
    loses(second)
    assert house.asks().connection is None and house.pool.idle_count == 0


def test_fresh_means_new_though_others_are_idle() -> None:
    house = House()
    house.uses(1)
    user = house.asks(fresh=True)
    assert user.connection is None and len(house.network.waiting) == 1
    house.network.opens()
    assert user.connection is not None and house.pool.idle_count == 1


def test_a_lost_one_is_forgotten() -> None:
    house = House()
    first, second = house.uses(2)
    loses(first)
    assert house.pool.idle_count == 1 and house.knows() == (1, 1, 1)
    loses(second)
    assert house.pool.idle_count == 0 and house.knows() == (0, 0, 0)


def test_a_failure_to_connect_reaches_who_waits_and_leaves_nothing() -> None:
    house = House()
    user = house.asks()
    house.network.refuses()
    assert user.failure is not None and user.failure.trouble is Trouble.CONNECT
    assert house.knows() == (0, 0, 0)


def test_giving_up_reaches_the_network() -> None:
    house = House()
    give_up = house.pool.acquire(HERE, User(IdleLimits(1.0, 1, 1)), 5.0)
    give_up()
    assert house.network.given_up == 1


def test_giving_up_what_came_at_once_does_nothing() -> None:
    house = House()
    house.uses(1)
    user = User(IdleLimits(1.0, 1, 1))
    give_up = house.pool.acquire(HERE, user, 5.0)
    give_up()
    assert user.connection is not None and not user.connection.dead


def test_a_closed_pool_closes_the_idle_now_and_the_rest_as_they_end() -> None:
    house = House()
    idle, busy = house.uses(2)
    user = house.asks()
    assert user.connection is busy
    house.pool.close()
    assert idle.dead and not busy.dead
    user.is_answered()
    assert busy.dead
    loses(idle)
    loses(busy)
    assert house.knows() == (0, 0, 0) and house.pool.idle_count == 0


class Life(RuleBasedStateMachine):
    """Whatever happens in whatever order, the pool's books agree with the connections."""

    def __init__(self) -> None:
        super().__init__()
        self.house = House()
        self.users: list[User] = []
        self.open: list[UpstreamConnection] = []

    def busy(self) -> list[User]:
        return [user for user in self.users if user.connection is not None]

    @rule(
        route=st.sampled_from([HERE, THERE, HERE_BY_PROXY]),
        timeout_s=st.integers(1, 4),
        per_origin=st.integers(1, 3),
        in_all=st.integers(1, 5),
        fresh=st.booleans(),
    )
    def somebody_asks(
        self, route: Route, timeout_s: int, per_origin: int, in_all: int, fresh: bool
    ) -> None:
        limits = IdleLimits(float(timeout_s), per_origin, in_all)
        self.users.append(self.house.asks(route, limits, fresh=fresh))
        if self.house.network.waiting:
            self.open.append(self.house.network.opens())

    @precondition(lambda self: self.busy())
    @rule(data=st.data())
    def an_answer_ends(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from(self.busy())).is_answered()

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def a_connection_is_lost(self, data: st.DataObject) -> None:
        connection = data.draw(st.sampled_from(self.open))
        self.open.remove(connection)
        loses(connection)

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def an_upstream_says_farewell(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from(self.open)).dataReceived(b"!")

    @rule()
    def time_passes(self) -> None:
        self.house.clock.advance(1.0)

    @invariant()
    def the_books_agree(self) -> None:
        pool = self.house.pool
        idle = [connection for kept in pool._idle.values() for connection in kept]
        assert len(idle) == len(set(idle)) == pool.idle_count
        assert set(pool._routes) == set(self.open) >= set(idle)
        assert self.house.sweep._timed == set(idle)
        assert not {user.connection for user in self.busy()} & set(idle)

    def teardown(self) -> None:
        for connection in self.open:
            loses(connection)
        assert self.house.knows() == (0, 0, 0) and self.house.pool.idle_count == 0


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
