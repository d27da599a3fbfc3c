"""Brings a database to the schema that this version knows. Runs before the reactor does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import as_file, files

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, inspect, text

from gptload.control.db.database import run_read, run_write
from gptload.core.errors import DatabaseUnavailable, GptloadError

# Any number, as long as nobody else who uses the same database takes it.
_POSTGRESQL_LOCK = 764_231
_LOCK_S = 60


class ForeignDatabase(GptloadError):
    """The database is none that this version can take over."""

    code = "FOREIGN_DATABASE"


def migrate(engine: Engine) -> str:
    """Run every step that is missing, all or none.

    Only MySQL can't take back a step that broke off half-way: it commits each change
    of a table by itself. Several processes may call this at once: one works, the others
    wait and find nothing left to do.

    Returns:
        The schema's revision.

    Raises:
        ForeignDatabase: it was made by a newer gptload, or by another program.
        DatabaseUnavailable: it is locked, full or away.
    """
    return run_write(engine, _migrate)


def is_current(engine: Engine) -> bool:
    """Whether `migrate` would find nothing to do."""
    return run_read(engine, _is_current)


def undo(engine: Engine, revision: str) -> None:
    """Take steps back to `revision`; `base` is the empty database."""
    run_write(engine, _undo, revision)


def _migrate(connection: Connection) -> str:
    with _alone(connection), _configuration(connection) as config:
        known = ScriptDirectory.from_config(config)
        current = MigrationContext.configure(connection).get_current_revision()
        if current is None and "groups" in inspect(connection).get_table_names():
            raise ForeignDatabase(
                "The database belongs to another program, or to GPT-Load itself",
                hint="Point DATABASE_DSN at a new database; nothing was changed.",
            )
        if current is not None and current not in {
            step.revision for step in known.walk_revisions()
        }:
            raise ForeignDatabase(
                f"The database's schema is {current}, which is newer than this gptload",
                hint="Start the newer gptload again, or restore a copy; nothing was changed.",
            )
        command.upgrade(config, "head")
        return known.get_current_head() or ""


def _is_current(connection: Connection) -> bool:
    with _configuration(connection) as config:
        head = ScriptDirectory.from_config(config).get_current_head()
        return MigrationContext.configure(connection).get_current_revision() == head


def _undo(connection: Connection, revision: str) -> None:
    with _alone(connection), _configuration(connection) as config:
        command.downgrade(config, revision)


@contextmanager
def _alone(connection: Connection) -> Iterator[None]:
    """Keep other processes from migrating meanwhile; SQLite's write transaction does already."""
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SET LOCAL lock_timeout = '{_LOCK_S}s'"))
        # Ends with the transaction.
        connection.execute(text(f"SELECT pg_advisory_xact_lock({_POSTGRESQL_LOCK})"))
        yield
    elif connection.dialect.name == "mysql":
        # Such locks are the server's, not the database's; a name has 64 characters at most.
        name = "CONCAT('gptload ', MD5(DATABASE()))"
        if connection.execute(text(f"SELECT GET_LOCK({name}, {_LOCK_S})")).scalar() != 1:
            raise DatabaseUnavailable("Another process has been changing the tables for a minute")
        try:
            yield
            # Before the lock goes: the next process has to see how far we came.
            connection.execute(text("COMMIT"))
        finally:
            connection.execute(text(f"SELECT RELEASE_LOCK({name})"))
    else:
        yield


@contextmanager
def _configuration(connection: Connection) -> Iterator[Config]:
    # A wheel may be a zip: alembic needs a folder.
    with as_file(files("gptload.migrations")) as folder:
        config = Config()
        config.set_main_option("script_location", str(folder).replace("%", "%%"))
        config.attributes["connection"] = connection
        yield config
