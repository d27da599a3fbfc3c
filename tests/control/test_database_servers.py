"""PostgreSQL and MariaDB when they are slow, wrong, silent or gone."""

from __future__ import annotations

import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from sqlalchemy import Connection, Engine, delete, func, insert, select, text
from sqlalchemy.exc import DataError, ProgrammingError
from twisted.internet.task import Clock

from gptload.control.db.database import (
    CONNECT_S,
    Database,
    make_engine,
    parse_dsn,
    run_read,
    run_write,
)
from gptload.control.db.faults import ServerAway
from gptload.control.db.migrate import migrate
from gptload.control.db.tables import facts, request_logs
from gptload.control.jobs.records import Backlog, Records
from gptload.core.errors import DatabaseUnavailable
from gptload.proxy.journal import RETRY_S, Journal
from tests.parts.databases import SERVERS, Server
from tests.parts.records import make_record
from tests.parts.service import Service, free_port, wait_for
from tests.service.conftest import make_group
from tests.service.test_durability import Traffic, models_logged
from tests.upstream.control import Upstream

pytestmark = pytest.mark.servers_only

SILENT = {
    "postgresql": "postgres://u:s3cret@127.0.0.1:{}/db",
    "mariadb": "u:s3cret@tcp(127.0.0.1:{})/db",
}


@pytest.fixture
def server(database_kind: str) -> Iterator[Server]:
    """One of the test's own, to be stopped."""
    server = SERVERS[database_kind]()
    try:
        server.start()
        yield server
    finally:
        server.remove()


def ask(connection: Connection) -> Any:
    return connection.execute(select(1)).scalar()


def test_a_server_that_refuses_connections_is_away_at_once(database_kind: str) -> None:
    engine = make_engine(parse_dsn(SILENT[database_kind].format(free_port())))
    began = time.monotonic()
    with pytest.raises(ServerAway, match="The database server is away") as caught:
        run_read(engine, ask)
    assert time.monotonic() - began < 1
    assert caught.value.status == 503
    assert caught.value.hint
    assert "s3cret" not in repr(caught.value)


async def test_nobody_waits_in_turn_for_a_server_that_says_nothing(
    reactor: Any, database_kind: str
) -> None:
    """One call finds out, within its time; those behind it hear so at once."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        dsn = SILENT[database_kind].format(silent.getsockname()[1])
        database = Database(reactor, make_engine(parse_dsn(dsn)))
        database.start()
        try:
            began = time.monotonic()
            with pytest.raises(ServerAway):
                await database.read(ask)
            assert time.monotonic() - began < CONNECT_S + 2
            began = time.monotonic()
            for _ in range(20):
                with pytest.raises(ServerAway):
                    await database.read(ask)
            assert time.monotonic() - began < 0.5
        finally:
            await database.stop()


def test_a_database_that_is_not_there_is_said_to_be_missing(dsn: str) -> None:
    engine = make_engine(parse_dsn(dsn).set(database="nowhere"))
    with pytest.raises(DatabaseUnavailable, match="no database of that name"):
        run_read(engine, ask)


def test_a_user_whom_the_server_does_not_know_is_refused_by_that_name(dsn: str) -> None:
    engine = make_engine(parse_dsn(dsn).set(username="nobody", password="s3cret"))
    with pytest.raises(DatabaseUnavailable, match="refuses the user or the password") as caught:
        run_read(engine, ask)
    assert "s3cret" not in str(caught.value)


def test_a_locked_row_is_said_to_be_locked(engine: Engine) -> None:
    run_write(engine, lambda c: c.execute(insert(facts).values(name="x", value="")))
    impatient = make_engine(engine.url, busy_ms=1000)
    with engine.connect() as other, other.begin():
        other.execute(delete(facts))
        with pytest.raises(DatabaseUnavailable, match="The database is locked"):
            run_write(impatient, lambda c: c.execute(delete(facts)))
    impatient.dispose()


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        ("INSERT INTO facts (name, value) VALUES (:value, '')", DataError),
        ("SELECT :value FROM nowhere", ProgrammingError),
    ],
)
def test_the_works_own_fault_repeats_no_value(
    engine: Engine, statement: str, kind: type[Exception]
) -> None:
    too_long = "s3cret" * 100
    with pytest.raises(kind) as caught:
        run_write(engine, lambda c: c.execute(text(statement), {"value": too_long}))
    assert "s3cret" not in str(caught.value)


def test_a_reading_sees_one_moment(engine: Engine) -> None:
    """A snapshot is made of several statements; a write between them must not show."""

    def look_twice(connection: Connection) -> list[Any]:
        query = select(facts.c.name)
        first = connection.execute(query).all()
        run_write(engine, lambda c: c.execute(insert(facts).values(name="x", value="")))
        return [first, connection.execute(query).all()]

    assert run_read(engine, look_twice) == [[], []]


def test_after_a_restart_of_the_server_no_work_fails(server: Server) -> None:
    """Connections that the restart has broken are found out before they are used."""
    engine = make_engine(parse_dsn(server.create("gptload")))
    assert run_read(engine, ask) == 1
    server.stop()
    with pytest.raises(ServerAway):
        run_read(engine, ask)
    server.start()
    assert run_read(engine, ask) == 1
    server.stop()
    server.start()
    assert run_write(engine, ask) == 1
    engine.dispose()


def count_logs(connection: Connection) -> Any:
    return connection.scalar(select(func.count()).select_from(request_logs))


@pytest_twisted.async_yield_fixture
async def own_database(reactor: Any, server: Server) -> AsyncIterator[Database]:
    """One on that server, migrated."""
    engine = make_engine(parse_dsn(server.create("gptload")))
    migrate(engine)
    database = Database(reactor, engine)
    database.start()
    yield database
    await database.stop()


async def test_a_server_that_is_away_for_long_fills_the_journal_no_further_than_its_limit(
    server: Server, own_database: Database, tmp_path: Path
) -> None:
    """Then all that is there is caught up with, and all that isn't has been counted."""
    limit_bytes, clock = 200_000, Clock()
    journal = Journal(
        tmp_path,
        clock.callLater,
        time.time,
        segment_bytes=20_000,
        waiting_bytes=50_000,
        limit_bytes=limit_bytes,
    )
    mover = Records(clock, own_database, tmp_path, lambda: 60.0, limit_bytes=limit_bytes)
    server.stop()
    with pytest.raises(DatabaseUnavailable):
        await mover.drain()
    made = 0
    while journal.dropped < 100:
        journal.extend([make_record() for _ in range(10)])
        made += 10
    size = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert limit_bytes <= size < limit_bytes + 20_000
    assert 2 * mover.backlog().waiting_bytes > limit_bytes

    server.start()
    await mover.drain()
    clock.advance(RETRY_S)
    assert journal.held_bytes == 0
    dropped = journal.dropped
    journal.extend([make_record() for _ in range(10)])
    journal.close()
    assert journal.dropped == dropped
    await mover.drain()
    assert await own_database.read(count_logs) == made + 10 - dropped
    assert mover.backlog() == Backlog(0, 0)


def test_a_server_that_goes_away_under_load_costs_no_record(
    server: Server, own_service: Callable[..., Service], upstream: Upstream, name: str
) -> None:
    """Proxying goes on; the admin API says 503 at once; then all is caught up, each once."""
    service = own_service(DATABASE_DSN=server.create("gptload")).start()
    service.set(request_log_write_interval_minutes=0)
    group = make_group(service, upstream, name, keys=3)
    traffic = Traffic(service, group.name, clients=2)
    try:
        for _ in range(2):
            traffic.wait_answered(len(traffic.answered) + 50)
            server.stop()
            began = time.monotonic()
            status, said = service.call("GET", "/api/groups")
            assert time.monotonic() - began < 2
            assert (status, said["code"]) == (503, "DATABASE_ERROR")
            assert said["hint"]
            traffic.wait_answered(len(traffic.answered) + 100)
            server.start()
        traffic.wait_answered(len(traffic.answered) + 50)
    finally:
        traffic.stop()
    answered = set(traffic.answered)
    logged = wait_for(lambda: models_logged(service), lambda found: found >= answered, 30)
    assert answered - logged == set()
    service.stop()  # what is still in memory is written by now
    service.start()
    used = sum(key["request_count"] for key in service.keys(group.id))
    assert used == service.api("GET", "/logs?page_size=1")["pagination"]["total_items"]
    service.stop()
