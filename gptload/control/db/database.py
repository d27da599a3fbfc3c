"""The database engine and the threads that work with it.

All SQL runs in threads of our own, never on the reactor's. Writes share one thread:
SQLite has one writer at a time, and on a server too no write of ours ever waits for
another one, or finds a row that was not there a moment ago.
What goes wrong crosses this file's border as `DatabaseUnavailable`, which names the
cause and never a statement or a value.
"""

from __future__ import annotations

import os
import re
import socket
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import (
    URL,
    Connection,
    Engine,
    FromClause,
    Table,
    UnaryExpression,
    create_engine,
    event,
)
from sqlalchemy.dialects.sqlite.base import SQLiteCompiler
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.pool import QueuePool
from sqlalchemy.sql import operators
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from gptload.control.db.dsn import SUPPORTED, server_url
from gptload.control.db.faults import ServerAway, translate
from gptload.core.errors import DatabaseUnavailable

P = ParamSpec("P")
T = TypeVar("T")
Work = Callable[Concatenate[Connection, P], T]

READERS = 4
# As the reference's driver; long enough for a backup, short enough for a person.
BUSY_MS = 5000

# A server that doesn't answer is away: nobody waits at a dashboard for longer.
CONNECT_S = 3
# After that wait: for so long nobody else waits for the same.
AWAY_S = 1.0
# Data that a server hasn't confirmed for so long is lost, and the connection with it.
_UNCONFIRMED_MS = 10_000
# MySQL's servers and the firewalls before them cut idle connections, some within the hour.
_RECYCLE_S = 1500

_PRAGMAS = (
    "journal_mode=WAL",
    # With WAL a crash of the process loses nothing, and one of the machine no more
    # than the last moments; the journal has those.
    "synchronous=NORMAL",
    "foreign_keys=ON",
    "temp_store=MEMORY",
    # KiB a connection. The system's cache has the pages, too; SQLite's own, of 2 MiB, only grew
    # the process, and made no question faster (`benchmarks.logs`).
    "cache_size=-512",
)


def parse_dsn(dsn: str) -> URL:
    """`DATABASE_DSN` as an engine's URL.

    Args:
        dsn: `sqlite://data/x.db` is relative and `sqlite:///data/x.db` absolute: one
            slash fewer than SQLAlchemy's own reading; its query is dropped. A server's
            forms are in `gptload.control.db.dsn`.

    Raises:
        ValueError: it is none that we can open; the text doesn't repeat it, because
            it may hold a password.
    """
    text = dsn.strip()
    url = server_url(text)
    if url is not None:
        return url
    path = re.sub(r"^(sqlite:(//)?|file:(//(?=/))?)", "", text).split("?", 1)[0]
    if ":memory:" in path or "mode=memory" in text:
        raise ValueError(f"a database in memory would lose everything; expected {SUPPORTED}")
    if not path or "://" in path or "\0" in path:
        raise ValueError(f"expected {SUPPORTED}")
    return URL.create("sqlite", database=os.path.abspath(path))


def sqlite_file(url: URL) -> Path | None:
    """The file of a database that is one."""
    if url.get_backend_name() != "sqlite" or not url.database:
        return None
    return Path(url.database)


def make_engine(url: URL, busy_ms: int = BUSY_MS) -> Engine:
    """An engine whose every connection is set up for sharing. Asks no server anything.

    An SQLite file that doesn't exist yet is made, its folder too, for its owner alone:
    it will hold keys.

    Args:
        url: from `parse_dsn`.
        busy_ms: how long work waits for another process's lock before it fails.

    Raises:
        ValueError: the file can't be made or opened; the text names it.
    """
    path = sqlite_file(url)
    if path is not None:
        return _sqlite(url, path, busy_ms)
    if url.get_backend_name() == "postgresql":
        return _postgresql(url, busy_ms)
    return _mysql(url, busy_ms)


def _sqlite(url: URL, path: Path, busy_ms: int) -> Engine:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise ValueError(f"DATABASE_DSN: can't open {path}: {error.strerror}") from None
    engine = create_engine(
        url,
        connect_args={"timeout": busy_ms / 1000, "check_same_thread": False},
        poolclass=QueuePool,
        pool_size=READERS + 2,  # the writer, and what is done before the reactor runs
        max_overflow=0,
        pool_timeout=10,
        pool_use_lifo=True,  # the one that was used last has the pages at hand
        hide_parameters=True,
    )
    engine.dialect.statement_compiler = _HintedSQLite

    @event.listens_for(engine, "connect")
    def set_up(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # we begin by ourselves
        for pragma in (f"busy_timeout={busy_ms}", *_PRAGMAS):
            connection.execute(f"PRAGMA {pragma}").close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # A plain BEGIN that reads first and writes then fails at once when another
        # writer was faster, busy_timeout or not.
        write = connection.get_execution_options().get("write")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine


def _postgresql(url: URL, busy_ms: int) -> Engine:
    wanted: dict[str, str | int] = {
        "connect_timeout": CONNECT_S,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 2,
        "tcp_user_timeout": _UNCONFIRMED_MS,
        "application_name": "gptload",
    }
    # What the operator wrote counts.
    chosen: dict[str, Any] = {name: wanted[name] for name in wanted if name not in url.query}
    # Nothing is prepared: a plan that was made for an empty table would stay with its
    # connection, and an import of 40,000 keys take twice as long. PgBouncer wants it too.
    engine = _server(url, chosen | {"prepare_threshold": None})

    @event.listens_for(engine, "connect")
    def set_up(connection: Any, _record: object) -> None:
        connection.autocommit = True  # or the setting would go with the first rollback
        # Not in the start packet: PgBouncer takes none there.
        connection.execute(f"SET lock_timeout = {busy_ms}")
        connection.autocommit = False

    return engine


def _mysql(url: URL, busy_ms: int) -> Engine:
    seconds = max(1, round(busy_ms / 1000))
    engine = _server(
        url,
        {
            "connect_timeout": CONNECT_S,
            "read_timeout": CONNECT_S,
            # A text that is too long is an error, as everywhere, and not cut in silence.
            "sql_mode": "TRADITIONAL",
            "init_command": f"SET SESSION innodb_lock_wait_timeout = {seconds}",
        },
    )

    @event.listens_for(engine, "connect")
    def set_up(connection: Any, _record: object) -> None:
        # PyMySQL has no time-out for its greeting alone; this one would end long work too.
        connection._read_timeout = None
        if url.host:
            level, option = socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT
            connection._sock.setsockopt(level, option, _UNCONFIRMED_MS)

    return engine


def _server(url: URL, connect_args: dict[str, Any]) -> Engine:
    return create_engine(
        url,
        connect_args=connect_args,
        pool_size=READERS + 2,
        max_overflow=0,
        pool_timeout=10,
        pool_pre_ping=True,  # after a restart of the server no work fails any more
        pool_recycle=_RECYCLE_S,
        hide_parameters=True,
    )


class _HintedSQLite(SQLiteCompiler):
    """Puts the hints of a query where SQLite reads them: `logs INDEXED BY …`."""

    def get_from_hint_text(self, table: FromClause, text: str | None) -> str | None:
        return text


@event.listens_for(Table, "before_create")
def _compare_exactly(table: Table, connection: Connection, **_more: object) -> None:
    # MySQL's own default takes `GPT` and `gpt` for one name, and cuts what isn't in plane 0.
    if connection.dialect.name == "mysql":
        table.kwargs["mysql_charset"] = "utf8mb4"
        table.kwargs["mysql_collate"] = "utf8mb4_bin"
        table.kwargs["mysql_engine"] = "InnoDB"


@compiles(UnaryExpression, "mysql")
def _nulls_last(element: UnaryExpression[Any], compiler: Any, **more: Any) -> str:
    """`x DESC NULLS LAST`, which MySQL has no words for: it does just that by itself."""
    if element.modifier is operators.nulls_last_op:
        return str(compiler.process(element.element, **more))
    return str(compiler.visit_unary(element, **more))


def run_read(engine: Engine, work: Work[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run `work(connection, …)` here and now, on one consistent view.

    Raises:
        DatabaseUnavailable: the database, not the work, is at fault.
    """
    try:
        with engine.connect() as connection:
            if engine.dialect.name == "postgresql":
                # As the others do by themselves: else every statement has its own view.
                connection.execution_options(isolation_level="REPEATABLE READ")
            return work(connection, *args, **kwargs)
    except (DBAPIError, PoolTimeout) as error:
        raise translate(error) from None


def run_write(engine: Engine, work: Work[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run `work(connection, …)` here and now in one transaction: all of it or nothing.

    Raises:
        DatabaseUnavailable: the database, not the work, is at fault.
    """
    try:
        with engine.connect().execution_options(write=True) as connection, connection.begin():
            return work(connection, *args, **kwargs)
    except (DBAPIError, PoolTimeout) as error:
        raise translate(error) from None


class Database:
    """Runs work off the reactor's thread: `await database.write(insert_group, draft)`."""

    def __init__(self, reactor: Any, engine: Engine) -> None:
        """
        Args:
            reactor: provides IReactorFromThreads and `getThreadPool`.
            engine: from `make_engine`; closed by `stop`.
        """
        self.engine = engine
        self._reactor = reactor
        self._readers = ThreadPool(1, READERS, name="db")
        self._writer = ThreadPool(1, 1, name="db-writer")
        self._running = False
        self._away_until = 0.0

    def start(self) -> None:
        """Start the threads. Whoever calls it calls `stop`, or the process never ends."""
        self._running = True
        self._readers.start()
        self._writer.start()

    async def stop(self) -> None:
        """Let work under way end, then close everything."""
        if not self._running:
            return
        self._running = False
        for pool in (self._writer, self._readers):
            # Joining blocks, so it may not happen on the reactor's thread.
            await deferToThreadPool(self._reactor, self._reactor.getThreadPool(), pool.stop)
        self.engine.dispose()

    async def read(self, work: Work[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What `work(connection, …)` returns; plain values, no rows of the connection.

        Raises:
            DatabaseUnavailable: the database, not the work, is at fault.
        """
        result: T = await self._defer(self._readers, run_read, work, *args, **kwargs)
        return result

    async def write(self, work: Work[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """As `read`, in one transaction that may change something.

        Raises:
            DatabaseUnavailable: the database, not the work, is at fault.
        """
        result: T = await self._defer(self._writer, run_write, work, *args, **kwargs)
        return result

    async def _defer(self, pool: ThreadPool, run: Any, work: Any, *args: Any, **kwargs: Any) -> Any:
        if not self._running:  # a stopped pool would never answer
            raise DatabaseUnavailable("The database is closed")
        began = self._reactor.seconds()
        if began < self._away_until:
            raise ServerAway()
        try:
            return await deferToThreadPool(
                self._reactor, pool, run, self.engine, work, *args, **kwargs
            )
        except ServerAway:
            # Nobody refuses, nobody answers: those behind us must not wait for it in turn.
            ended = self._reactor.seconds()
            if ended - began >= AWAY_S:
                self._away_until = ended + AWAY_S
            raise
