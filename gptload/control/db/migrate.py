"""Brings a database to the schema that this version knows. Runs before the reactor does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import as_file, files

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, inspect

from gptload.control.db.database import run_write
from gptload.core.errors import GptloadError


class ForeignDatabase(GptloadError):
    """The database is none that this version can take over."""

    code = "FOREIGN_DATABASE"


def migrate(engine: Engine) -> str:
    """Run every step that is missing, all or none.

    Several processes may call this at once: one works, the others wait and find
    nothing left to do.

    Returns:
        The schema's revision.

    Raises:
        ForeignDatabase: it was made by a newer gptload, or by another program.
        DatabaseUnavailable: it is locked, full or away.
    """
    return run_write(engine, _migrate)


def undo(engine: Engine, revision: str) -> None:
    """Take steps back to `revision`; `base` is the empty database."""
    run_write(engine, _undo, revision)


def _migrate(connection: Connection) -> str:
    with _configuration(connection) as config:
        known = ScriptDirectory.from_config(config)
        current = MigrationContext.configure(connection).get_current_revision()
        if current is None and "groups" in inspect(connection).get_table_names():
            raise ForeignDatabase(
                "The database belongs to another program, or to GPT-Load itself",
                hint="Point DATABASE_DSN at a new file; nothing was changed.",
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


def _undo(connection: Connection, revision: str) -> None:
    with _configuration(connection) as config:
        command.downgrade(config, revision)


@contextmanager
def _configuration(connection: Connection) -> Iterator[Config]:
    # A wheel may be a zip: alembic needs a folder.
    with as_file(files("gptload.migrations")) as folder:
        config = Config()
        config.set_main_option("script_location", str(folder).replace("%", "%%"))
        config.attributes["connection"] = connection
        yield config
