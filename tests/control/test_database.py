"""The engine and its threads, on real files."""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, func, insert, select, text
from sqlalchemy.exc import IntegrityError
from twisted.internet.defer import Deferred, gatherResults

from gptload.control.db.database import (
    Database,
    make_engine,
    parse_dsn,
    run_read,
    run_write,
)
from gptload.control.db.tables import api_keys, facts
from gptload.core.errors import DatabaseUnavailable


def add_fact(connection: Connection, name: str, value: str = "") -> None:
    connection.execute(insert(facts).values(name=name, value=value))


def count_facts(connection: Connection) -> int:
    return connection.execute(select(func.count()).select_from(facts)).scalar() or 0


@pytest.mark.parametrize(
    ("dsn", "path"),
    [
        ("data/x.db", "data/x.db"),
        ("./data/gpt-load.db?_busy_timeout=5000", "data/gpt-load.db"),
        ("sqlite://data/x.db", "data/x.db"),
        ("sqlite:///data/x.db", "/data/x.db"),
        ("file:data/x.db?mode=rwc", "data/x.db"),
        ("file:///data/x.db", "/data/x.db"),
        ("/var/lib/gptload/a b.db", "/var/lib/gptload/a b.db"),
    ],
)
def test_every_spelling_of_a_file_is_understood(dsn: str, path: str) -> None:
    assert parse_dsn(dsn).database == os.path.abspath(path)


def test_a_new_file_and_its_folder_are_made_for_their_owner_alone(
    tmp_path: Path,
) -> None:
    path = tmp_path / "deep" / "er" / "x.db"
    make_engine(parse_dsn(str(path))).dispose()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"can't open .*/file/x\.db: "):
        make_engine(parse_dsn(str(tmp_path / "file" / "x.db")))


@pytest.mark.sqlite_only
@pytest.mark.parametrize(
    ("pragma", "value"),
    [
        ("journal_mode", "wal"),
        ("foreign_keys", 1),
        ("busy_timeout", 5000),
        ("synchronous", 1),
    ],
)
def test_every_connection_is_set_up(engine: Engine, pragma: str, value: object) -> None:
    with engine.connect() as connection:
        assert connection.execute(text(f"PRAGMA {pragma}")).scalar() == value


async def test_work_runs_in_threads_of_its_own_and_one_thread_writes(
    database: Database,
) -> None:
    def name(_connection: Connection) -> str:
        return threading.current_thread().name

    reader, writer = await database.read(name), await database.write(name)
    assert "-db-" in reader
    assert "-db-writer-" in writer
    assert threading.current_thread().name not in (reader, writer)


async def test_a_write_that_raises_leaves_nothing_behind(database: Database) -> None:
    def half(connection: Connection) -> None:
        add_fact(connection, "first")
        raise LookupError

    with pytest.raises(LookupError):
        await database.write(half)
    assert await database.read(count_facts) == 0


async def test_many_writes_beside_many_reads_all_succeed(database: Database) -> None:
    """Reading first and writing then fails at once in a plain transaction; ours are not."""

    def count_and_add(connection: Connection, name: str) -> int:
        before = count_facts(connection)
        add_fact(connection, name)
        return before

    def start(number: int) -> Deferred[int]:
        if number % 2:
            return Deferred.fromCoroutine(database.read(count_facts))
        return Deferred.fromCoroutine(database.write(count_and_add, f"fact {number}"))

    await gatherResults([start(number) for number in range(200)], consumeErrors=True)
    assert await database.read(count_facts) == 100


async def test_a_locked_file_is_said_to_be_locked(impatient: Database, tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "gptload.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        with pytest.raises(DatabaseUnavailable, match="The database is locked"):
            await impatient.write(add_fact, "x", "s3cret")
    finally:
        other.execute("ROLLBACK")
        other.close()
    await impatient.write(add_fact, "x", "s3cret")


def test_a_damaged_file_is_said_to_be_none(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    path.write_bytes(b"not a database at all " * 100)
    engine = make_engine(parse_dsn(str(path)))
    with pytest.raises(DatabaseUnavailable, match="not a database"):
        run_read(engine, count_facts)
    engine.dispose()


@pytest.mark.sqlite_only
def test_no_error_repeats_a_statement_or_a_value(engine: Engine) -> None:
    def broken(connection: Connection) -> None:
        connection.execute(text("SELECT :key FROM nowhere"), {"key": "s3cret"})

    with pytest.raises(DatabaseUnavailable) as caught:
        run_write(engine, broken)
    assert caught.value.message == "The database failed: no such table: nowhere"
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_a_name_that_is_taken_is_the_works_own_fault(engine: Engine) -> None:
    """The servers' drivers quote the values."""
    run_write(engine, add_fact, "s3cret", "s3cret")
    with pytest.raises(IntegrityError) as caught:
        run_write(engine, add_fact, "s3cret", "s3cret")
    assert "s3cret" not in str(caught.value)


def test_a_key_of_no_group_is_refused(engine: Engine) -> None:
    def orphan(connection: Connection) -> None:
        connection.execute(
            insert(api_keys).values(
                key_value="x", key_hash="x", group_id=7, created_at=0, updated_at=0
            )
        )

    with pytest.raises(IntegrityError):
        run_write(engine, orphan)


async def test_a_stopped_database_answers_at_once(engine: Engine, reactor: object) -> None:
    database = Database(reactor, engine)
    database.start()
    await database.stop()
    await database.stop()
    with pytest.raises(DatabaseUnavailable, match="closed"):
        await database.read(count_facts)
