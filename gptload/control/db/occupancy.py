"""Who is at work on a database: services together, or one command alone.

A lock on a file, as the kernel takes it back whatever becomes of the process. It says
nothing of other machines, which only a server has; there we ask the server who is
connected.
"""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path
from typing import Final

from sqlalchemy import URL, Connection, text

from gptload.control.db.database import sqlite_file
from gptload.core.errors import GptloadError

_SESSIONS: Final = {
    "postgresql": (
        "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND application_name = current_setting('application_name')"
        " AND pid <> pg_backend_pid()"
    ),
    "mysql": (
        "SELECT COUNT(*) FROM information_schema.processlist"
        " WHERE db = DATABASE() AND id <> CONNECTION_ID()"
    ),
}


class Occupied(GptloadError):
    """Somebody else is at work on the database."""

    code = "DATABASE_OCCUPIED"


class Occupancy:
    """The lock, for as long as this is open; a process that ends gives it back, too.

    Args:
        url: the database's.
        data_dir: where the file is if the database is on a server.
    """

    def __init__(self, url: URL, data_dir: Path) -> None:
        database = sqlite_file(url)
        # Never the database's own file: to close that would take SQLite's locks away.
        path = data_dir / "gptload.lock" if database is None else Path(f"{database}.lock")
        path.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def share(self) -> None:
        """Be one of the services.

        Raises:
            Occupied: a command has the database for itself.
        """
        if not self._lock(fcntl.LOCK_SH):
            raise Occupied(
                "`gptload migrate-keys` is at work on this database",
                hint="Start again when it is done.",
            )

    def claim(self) -> None:
        """Have the database alone.

        Raises:
            Occupied: a service runs.
        """
        if not self._lock(fcntl.LOCK_EX):
            raise Occupied(
                "gptload runs on this database, or another migrate-keys does",
                hint="Stop it first.",
            )

    def _lock(self, kind: int) -> bool:
        try:
            fcntl.flock(self._descriptor, kind | fcntl.LOCK_NB)
        except OSError as error:
            # Some file systems have no locks: then an operator has to know.
            return error.errno not in (errno.EWOULDBLOCK, errno.EACCES)
        return True

    def close(self) -> None:
        """Give the lock back."""
        os.close(self._descriptor)


def refuse_others(connection: Connection) -> None:
    """See to it that no service on another machine is connected to this server.

    Raises:
        Occupied: somebody is.
    """
    query = _SESSIONS.get(connection.dialect.name)
    if query is None:
        return
    count = connection.execute(text(query)).scalar_one()
    if count:
        raise Occupied(
            f"Others are connected to this database ({count} sessions)",
            hint="Stop every gptload that uses it, on other machines too, and try again.",
        )
