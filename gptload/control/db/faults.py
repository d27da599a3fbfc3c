"""What a driver's error means: the database's trouble, or the work's own fault.

No statement and no value gets across: drivers quote both.
"""

from __future__ import annotations

import re
import sqlite3
from typing import Any

from sqlalchemy.exc import DatabaseError, DataError, DBAPIError, IntegrityError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from gptload.core.errors import DatabaseUnavailable

_LOCKED = "The database is locked"
_FULL = "The database's disk is full"
_READ_ONLY = "The database can only be read"
_AWAY = "The database server is away"
_BUSY = "The database server has no connection left"
_LOGIN = "The database server refuses the user or the password"
_MISSING = "The database server has no database of that name"

_SQLITE = {
    sqlite3.SQLITE_BUSY: _LOCKED,
    sqlite3.SQLITE_LOCKED: _LOCKED,
    sqlite3.SQLITE_FULL: _FULL,
    sqlite3.SQLITE_READONLY: _READ_ONLY,
    sqlite3.SQLITE_CANTOPEN: "The database file can't be opened",
    sqlite3.SQLITE_IOERR: "The database's disk failed",
    sqlite3.SQLITE_CORRUPT: "The database file is damaged",
    sqlite3.SQLITE_NOTADB: "The file is not a database",
}
# Source: PostgreSQL's manual, appendix A.
_POSTGRESQL = {
    "25006": _READ_ONLY,
    "28000": _LOGIN,
    "28P01": _LOGIN,
    "3D000": _MISSING,
    "40001": _LOCKED,
    "40P01": _LOCKED,
    "53100": _FULL,
    "53300": _BUSY,
    "55P03": _LOCKED,
    "57P01": _AWAY,
    "57P02": _AWAY,
    "57P03": _AWAY,
}
# Source: MariaDB's and MySQL's error code reference.
_MYSQL = {
    1021: _FULL,
    1040: _BUSY,
    1044: _LOGIN,
    1045: _LOGIN,
    1049: _MISSING,
    1053: _AWAY,
    1114: _FULL,
    1205: _LOCKED,
    1213: _LOCKED,
    1290: _READ_ONLY,
    1698: _LOGIN,
    1792: _READ_ONLY,
    1836: _READ_ONLY,
    1927: _AWAY,
    2002: _AWAY,
    2003: _AWAY,
    2006: _AWAY,
    2013: _AWAY,
    2055: _AWAY,
}


class ServerAway(DatabaseUnavailable):
    """Nobody answers where the database server should be."""

    def __init__(self) -> None:
        super().__init__(_AWAY)


class Unquoted(Exception):
    """Stands for a driver's error whose words may hold values."""


def translate(error: DBAPIError | PoolTimeout) -> Exception:
    """The error that may cross the database's border."""
    if isinstance(error, PoolTimeout):
        return DatabaseUnavailable("The database is too slow: no connection was free in time")
    original: Any = error.orig
    # These are the work's own faults: a name that is taken, a value that doesn't fit.
    if isinstance(error, IntegrityError | DataError | ProgrammingError):
        return _unquoted(error, original)
    cause = _cause(original)
    if cause == _AWAY or error.connection_invalidated or not isinstance(error, DatabaseError):
        return ServerAway()
    if cause is not None:
        return DatabaseUnavailable(cause)
    # SQLite's own words name tables and columns, never values.
    words = original if isinstance(original, sqlite3.Error) else _kind(original)
    return DatabaseUnavailable(f"The database failed: {words}")


def _cause(original: Any) -> str | None:
    if isinstance(original, sqlite3.Error):
        code = getattr(original, "sqlite_errorcode", None)
        return _SQLITE.get(code & 0xFF) if code is not None else None
    if _is_mysql(original):
        return _MYSQL.get(original.args[0]) if original.args else _AWAY
    # A connection that can't be opened has no code, only the server's words.
    return _POSTGRESQL.get(original.sqlstate) if original.sqlstate else _at_connect(original)


def _is_mysql(original: Any) -> bool:
    return type(original).__module__.startswith("pymysql.")


def _at_connect(original: Any) -> str:
    words = str(original)
    if re.search(r"password|authentication|pg_hba|role \"", words):
        return _LOGIN
    if re.search(r"database \".*\" does not exist", words):
        return _MISSING
    if "too many" in words:
        return _BUSY
    return _AWAY


def _unquoted(error: DBAPIError, original: Any) -> DBAPIError:
    if isinstance(original, sqlite3.Error):
        return error
    return type(error)(error.statement, None, Unquoted(_kind(original)), hide_parameters=True)


def _kind(original: Any) -> str:
    """An error's name and code, and the constraint that was broken where it is known."""
    if _is_mysql(original):
        told = original.args[:1]
    else:
        told = (original.sqlstate, original.diag.constraint_name)
    return " ".join((type(original).__name__, *(str(part) for part in told if part)))
