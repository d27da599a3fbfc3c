"""The database engine and the threads that work with it.

All SQL runs in threads of our own, never on the reactor's. SQLite has one writer at a
time, so its writes share one thread and wait there instead of failing on each other.
What goes wrong crosses this file's border as `DatabaseUnavailable`, which names the
cause and never a statement or a value.
"""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import DatabaseError, DataError, IntegrityError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import QueuePool
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from gptload.core.errors import DatabaseUnavailable

P = ParamSpec("P")
T = TypeVar("T")
Work = Callable[Concatenate[Connection, P], T]

READERS = 4
# As the reference's driver; long enough for a backup, short enough for a person.
BUSY_MS = 5000

_SUPPORTED = (
    "DATABASE_DSN must be a file for SQLite: a path such as ./data/gptload.db, "
    "sqlite:///absolute/path.db, sqlite://relative/path.db or file:path.db"
)
_PRAGMAS = (
    "journal_mode=WAL",
    # With WAL a crash of the process loses nothing, and one of the machine no more
    # than the last moments; the journal has those.
    "synchronous=NORMAL",
    "foreign_keys=ON",
    "temp_store=MEMORY",
)
_CAUSES = {
    sqlite3.SQLITE_BUSY: "The database is locked",
    sqlite3.SQLITE_LOCKED: "The database is locked",
    sqlite3.SQLITE_FULL: "The database's disk is full",
    sqlite3.SQLITE_READONLY: "The database can only be read",
    sqlite3.SQLITE_CANTOPEN: "The database file can't be opened",
    sqlite3.SQLITE_IOERR: "The database's disk failed",
    sqlite3.SQLITE_CORRUPT: "The database file is damaged",
    sqlite3.SQLITE_NOTADB: "The file is not a database",
}


def parse_dsn(dsn: str) -> URL:
    """`DATABASE_DSN` as an engine's URL.

    Args:
        dsn: `sqlite://data/x.db` is relative and `sqlite:///data/x.db` absolute: one
            slash fewer than SQLAlchemy's own reading. A query is dropped.

    Raises:
        ValueError: it is none that we can open; the text doesn't repeat it, because
            it may hold a password.
    """
    text = dsn.strip()
    if re.match(r"postgres(ql)?://|mysql(\+\w+)?://", text) or re.search(r"@(tcp|unix)\(", text):
        raise ValueError(f"PostgreSQL and MySQL are not supported; {_SUPPORTED}")
    if re.match(r"\w+\s*=", text):
        raise ValueError(f"the key=value form is not supported; {_SUPPORTED}")
    path = re.sub(r"^(sqlite:(//)?|file:(//(?=/))?)", "", text).split("?", 1)[0]
    if ":memory:" in path or "mode=memory" in text:
        raise ValueError(f"a database in memory would lose everything; {_SUPPORTED}")
    if not path or "://" in path or "\0" in path:
        raise ValueError(_SUPPORTED)
    return URL.create("sqlite", database=os.path.abspath(path))


def make_engine(url: URL, busy_ms: int = BUSY_MS) -> Engine:
    """An engine whose every connection is set up for sharing.

    A file that doesn't exist yet is made, its folder too, for its owner alone: it
    will hold keys.

    Args:
        busy_ms: how long work waits for another process's lock before it fails.

    Raises:
        ValueError: the file can't be made or opened; the text names it.
    """
    path = Path(url.database or "")
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
        hide_parameters=True,
    )

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


def run_read(engine: Engine, work: Work[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run `work(connection, …)` here and now, on one consistent view.

    Raises:
        DatabaseUnavailable: the database, not the work, is at fault.
    """
    try:
        with engine.connect() as connection:
            return work(connection, *args, **kwargs)
    except (DatabaseError, PoolTimeout) as error:
        raise _translate(error) from None


def run_write(engine: Engine, work: Work[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run `work(connection, …)` here and now in one transaction: all of it or nothing.

    Raises:
        DatabaseUnavailable: the database, not the work, is at fault.
    """
    try:
        with engine.connect().execution_options(write=True) as connection, connection.begin():
            return work(connection, *args, **kwargs)
    except (DatabaseError, PoolTimeout) as error:
        raise _translate(error) from None


def _translate(error: Exception) -> Exception:
    if isinstance(error, PoolTimeout):
        return DatabaseUnavailable("The database is too slow: no connection was free in time")
    # These are the work's own faults: a name that is taken, a value that doesn't fit.
    if isinstance(error, IntegrityError | DataError | ProgrammingError):
        return error
    original = getattr(error, "orig", None)
    code = getattr(original, "sqlite_errorcode", None)
    if code is None or code & 0xFF not in _CAUSES:
        # SQLite's own words name tables and columns, never values.
        return DatabaseUnavailable(f"The database failed: {original}")
    return DatabaseUnavailable(_CAUSES[code & 0xFF])


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
        return await deferToThreadPool(self._reactor, pool, run, self.engine, work, *args, **kwargs)
