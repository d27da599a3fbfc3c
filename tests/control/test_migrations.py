"""The schema that migrations make is the one that the code describes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, Engine, insert, inspect, select, text

from gptload.control.db.database import make_engine, parse_dsn, run_read, run_write
from gptload.control.db.migrate import ForeignDatabase, migrate, undo
from gptload.control.db.queries.records import row_of
from gptload.control.db.tables import facts, groups, metadata, request_logs
from tests.parts.databases import Databases
from tests.parts.records import make_record
from tests.parts.rows import add_group


@pytest.fixture
def empty_dsn(databases: Databases, database_kind: str, tmp_path: Path) -> str:
    return databases.make(database_kind, tmp_path / "empty.db")


@pytest.fixture
def empty(empty_dsn: str) -> Iterator[Engine]:
    engine = make_engine(parse_dsn(empty_dsn))
    yield engine
    engine.dispose()


def described(engine: Engine) -> list[str]:
    """Each table with its columns, keys and indexes, in one order."""
    return run_read(engine, statements if engine.dialect.name == "sqlite" else reflected)


def reflected(connection: Connection) -> list[str]:
    """As the server tells it."""
    found = []
    for table in inspect(connection).get_table_names():
        if table == "alembic_version":
            continue
        about = inspect(connection)
        found += [f"{table} {column}" for column in about.get_columns(table)]
        found += [f"{table} {index}" for index in about.get_indexes(table)]
        found += [f"{table} {key}" for key in about.get_foreign_keys(table)]
        found += [f"{table} {about.get_pk_constraint(table)} {about.get_table_options(table)}"]
    return sorted(found)


def statements(connection: Connection) -> list[str]:
    """What made each table and index, its columns and constraints in one order.

    A column that a later step adds stands behind the constraints, and its default may
    be written in another way.
    """
    rows = connection.execute(
        text("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND tbl_name != :own"),
        {"own": "alembic_version"},
    )
    return sorted(",".join(sorted(_parts(row[0]))) for row in rows)


def _parts(statement: str) -> list[str]:
    head, _, body = statement.partition("(")
    parts, depth = [""], 0
    for character in body.rstrip().removesuffix(")"):
        depth += (character == "(") - (character == ")")
        if character == "," and not depth:
            parts.append("")
        else:
            parts[-1] += character
    return [head.strip(), *(" ".join(part.split()) for part in parts)]


def test_migrations_make_exactly_the_tables_that_the_code_describes(
    engine: Engine, empty: Engine
) -> None:
    run_write(empty, metadata.create_all)
    assert described(engine) == described(empty)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_migrating_twice_changes_nothing(engine: Engine) -> None:
    run_write(engine, lambda c: c.execute(insert(facts).values(name="a", value="b")))
    before = described(engine)
    migrate(engine)
    assert described(engine) == before
    assert run_read(engine, lambda c: c.execute(select(facts.c.value)).scalar()) == "b"


def test_every_step_can_be_undone(engine: Engine) -> None:
    undo(engine, "base")
    assert set(inspect(engine).get_table_names()) <= {
        "alembic_version",
        "sqlite_sequence",
    }
    migrate(engine)
    assert "groups" in inspect(engine).get_table_names()


def test_the_database_of_another_program_is_left_alone(empty: Engine) -> None:
    run_write(empty, lambda c: c.execute(text("CREATE TABLE groups (id INTEGER)")))
    with pytest.raises(ForeignDatabase, match="another program"):
        migrate(empty)
    assert inspect(empty).get_table_names() == ["groups"]


def test_the_database_of_a_newer_version_is_left_alone(engine: Engine) -> None:
    run_write(
        engine,
        lambda c: c.execute(text("UPDATE alembic_version SET version_num = '9999'")),
    )
    with pytest.raises(ForeignDatabase, match="9999, which is newer"):
        migrate(engine)


def test_names_that_differ_in_case_are_two_everywhere(engine: Engine) -> None:
    """MySQL's own collations would take them for one, and refuse what isn't in latin1."""
    names = ["gpt", "GPT", "gpt-模型", "gpt-é", "gpt-e", "🔑"]
    for name in names:
        run_write(engine, add_group, name)
    query = select(groups.c.name).where(groups.c.name.in_(["GPT", "gpt-é", "🔑"]))
    found = run_read(engine, lambda c: set(c.execute(query).scalars()))
    assert found == {"GPT", "gpt-é", "🔑"}


def test_processes_that_start_at_once_migrate_once(empty_dsn: str) -> None:
    program = (
        "import sys\n"
        "from gptload.control.db.database import make_engine, parse_dsn\n"
        "from gptload.control.db.migrate import migrate\n"
        "print(migrate(make_engine(parse_dsn(sys.argv[1]))))\n"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", program, empty_dsn],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    ended = [process.communicate(timeout=60) for process in started]
    assert [process.returncode for process in started] == [0, 0, 0], ended
    assert len({output for output, _ in ended}) == 1


@pytest.mark.parametrize(
    ("version", "column"), [("0007", "first_token_ms"), ("0009", "connect_ms")]
)
def test_the_log_of_a_version_before_is_kept_without_what_it_lacks(
    engine: Engine, version: str, column: str
) -> None:
    record = make_record(id="old", first_token_ms=250, connect_ms=31)
    row = row_of(record, "", "") | {"kind_id": 0}
    run_write(engine, lambda c: c.execute(insert(request_logs).values(row)))
    undo(engine, version)
    assert column not in {c["name"] for c in inspect(engine).get_columns("request_logs")}
    migrate(engine)
    query = select(request_logs.c.id, request_logs.c.total_ms, request_logs.c[column])
    assert run_read(engine, lambda c: list(c.execute(query))) == [("old", 130, None)]
