"""Another ENCRYPTION_KEY, none any more, or the first one: for all that is stored.

It goes in three steps: *survey* opens everything and changes nothing, *change* puts
slice after slice under the new key, and *settle* reads the keys back and makes the new
key the database's own. From the first change to the last step a note in the database
keeps services from starting. Since each row says by itself under which key it is, the
same command again finishes what was broken off, wherever that was.

Blocks, and has no reactor: for a command.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping

from attrs import frozen
from sqlalchemy import Engine, Table

from gptload.control.db.database import run_read, run_write
from gptload.control.db.queries import facts, rekey
from gptload.control.db.queries.rekey import MUST_OPEN, TABLES
from gptload.core.errors import DatabaseUnavailable, GptloadError
from gptload.core.reseal import Reseal
from gptload.core.vault import Vault

_LOOK_ROWS = 10_000
# One transaction, and what a kill takes back.
_CHANGE_ROWS = 1000
_SHOWN_IDS = 5

Tick = Callable[[int], object]
"""Told of rows that are done."""


class RekeyRefused(GptloadError):
    """The keys given don't fit what is stored; nothing was changed."""

    code = "REKEY_REFUSED"


@frozen
class Found:
    """What a survey saw in a table."""

    rows: int
    changing: int
    unreadable: int


Survey = Mapping[str, Found]


class Rekey:
    """One change, from `old` to `new`; a vault without a password is plain text."""

    def __init__(self, engine: Engine, old: Vault, new: Vault) -> None:
        self._engine = engine
        self._old = old
        self._new = new
        self._reseal = Reseal(old, new)

    def rows(self) -> int:
        """How many rows a survey looks at, and a change again."""
        return sum(run_read(self._engine, rekey.count, table) for table in TABLES)

    def check(self) -> bool:
        """Whether the database says that it is under `new` already; its rows may not all be.

        Raises:
            RekeyRefused: it is under neither.
        """
        known = run_read(self._engine, facts.proofs)
        is_old = facts.proves(self._old, known.current)
        is_new = facts.proves(self._new, known.current)
        if known.following is not None:
            onward = is_old and facts.proves(self._new, known.following)
            back = is_new and facts.proves(self._old, known.following)
            if not (onward or back):
                raise RekeyRefused(
                    "A change of the key was broken off, and it was not this one",
                    hint="Run it again with the same --from and --to as then, or with the two "
                    "exchanged to take it back.",
                )
            return False
        if known.current is None or is_old or is_new:
            return is_new and not is_old
        if not self._old.encrypts:
            raise RekeyRefused(
                "The keys are encrypted already", hint="Name their ENCRYPTION_KEY with --from."
            )
        if facts.proves(Vault(None, b""), known.current):
            raise RekeyRefused("The keys are not encrypted", hint="Leave --from out.")
        raise RekeyRefused(
            "--from is not the ENCRYPTION_KEY that the keys are encrypted with",
            hint="Give the one that gptload was last started with.",
        )

    def survey(self, tick: Tick) -> Survey:
        """Open all that is stored.

        Raises:
            RekeyRefused: there are keys that neither `old` nor `new` opens.
        """
        return {table.name: self._look(table, tick) for table in TABLES}

    def change(self, tick: Tick) -> None:
        """Put everything under `new`, in slices that each are there or not."""
        run_write(self._engine, facts.begin_change, self._old, self._new)
        for table in TABLES:
            after = None
            while True:
                step = run_write(
                    self._engine, rekey.change, table, self._reseal, after, _CHANGE_ROWS
                )
                tick(step.rows)
                after = step.last_id
                if after is None:
                    break

    def settle(self, tick: Tick) -> None:
        """Read every key back, then make `new` the database's key.

        Raises:
            RekeyRefused: a key doesn't come back as it should; the change stays open.
        """
        # As if for the first time: what was remembered proves nothing.
        self._reseal = Reseal(self._old, self._new)
        left = self._look(MUST_OPEN, tick)
        if left.changing:
            raise RekeyRefused(
                f"{left.changing} keys are not under the new key after all",
                hint="Run the same command again.",
            )
        if self._new.encrypts:
            self._forget_old_pages()
        run_write(self._engine, facts.end_change, self._new)

    def _look(self, table: Table, tick: Tick) -> Found:
        rows = changing = 0
        unreadable: list[object] = []
        after = None
        while True:
            step = run_read(self._engine, rekey.look, table, self._reseal, after, _LOOK_ROWS)
            rows += step.rows
            changing += step.changing
            unreadable += step.unreadable
            tick(step.rows)
            after = step.last_id
            if after is None:
                break
        if unreadable and table is MUST_OPEN:
            shown = ", ".join(map(str, unreadable[:_SHOWN_IDS]))
            more = ", …" if len(unreadable) > _SHOWN_IDS else ""
            raise RekeyRefused(
                f"{len(unreadable)} of {rows} keys open with neither key (ids {shown}{more})",
                hint="They are damaged, or under a third key: delete them first.",
            )
        return Found(rows, changing, len(unreadable))

    def _forget_old_pages(self) -> None:
        """SQLite keeps what was overwritten in free pages and its log, for anybody to read."""
        if self._engine.dialect.name != "sqlite":
            return
        # Not through SQLAlchemy, which begins a transaction before everything.
        link = self._engine.raw_connection()
        try:
            for statement in ("VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)"):
                link.cursor().execute(statement)
        except sqlite3.Error as error:
            raise DatabaseUnavailable(
                f"The file can't be written anew without its old pages ({error})",
                hint="That takes as much disk as the file itself.",
            ) from None
        finally:
            link.close()
