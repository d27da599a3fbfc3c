"""A real database for whoever tests the control plane, of each kind in turn.

Whatever asks for a database here runs on SQLite, PostgreSQL and MariaDB, so that no
query works on one of them only. A test that is about one kind alone says so with
`@pytest.mark.sqlite_only`, or asks for `impatient`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from sqlalchemy import Engine
from twisted.internet.defer import Deferred

from gptload.control.db.database import Database, make_engine, parse_dsn
from gptload.control.db.migrate import migrate
from tests.parts.databases import KINDS, Databases

# What these test is not in the queries: one database is as good as another.
_ON_SQLITE = {
    "test_access",
    "test_app",
    "test_encryption_status",
    "test_languages",
    "test_probes",
    "test_upstreams",
}
# The cases of a test differ in what is refused before any query: on a server one will do.
_ONE_CASE = {"test_groups", "test_keys", "test_settings", "test_snapshots", "test_statistics"}


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker here, next to what reads it."""
    config.addinivalue_line("markers", "sqlite_only: what it tests is in SQLite alone")
    config.addinivalue_line("markers", "servers_only: what it tests is not in SQLite")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test once for each kind of database that it must work on."""
    if "database_kind" not in metafunc.fixturenames:
        return
    sqlite_only = (
        metafunc.module.__name__.rpartition(".")[2] in _ON_SQLITE
        or "impatient" in metafunc.fixturenames
    )
    if not sqlite_only:
        metafunc.parametrize("database_kind", KINDS)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out what would test nothing more: a mark may be on one case of many."""
    seen: set[tuple[str, str]] = set()
    items[:] = [item for item in items if _is_wanted(item, seen)]


def _is_wanted(item: pytest.Item, seen: set[tuple[str, str]]) -> bool:
    """Whether a case says something that no other one says.

    Args:
        seen: kinds of server and tests that have a case already.
    """
    kind = item.callspec.params.get("database_kind") if hasattr(item, "callspec") else None
    if kind is None or not isinstance(item, pytest.Function):
        return True
    if item.get_closest_marker("servers_only" if kind == "sqlite" else "sqlite_only"):
        return False
    if kind == "sqlite" or item.module.__name__.rpartition(".")[2] not in _ONE_CASE:
        return True
    case = (kind, item.nodeid.partition("[")[0])
    known = case in seen
    seen.add(case)
    return not known


@pytest.fixture
def database_kind() -> str:
    """One of `KINDS`."""
    return "sqlite"


@pytest.fixture(scope="session")
def all_databases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Databases]:
    """The run's servers."""
    databases = Databases(tmp_path_factory.mktemp("databases"))
    yield databases
    databases.remove()


@pytest.fixture
def databases(all_databases: Databases) -> Iterator[Databases]:
    """The same; what a test makes there goes when it ends."""
    yield all_databases
    all_databases.drop()


@pytest.fixture
def dsn(databases: Databases, database_kind: str, tmp_path: Path) -> str:
    """Where a migrated database of this test's own is."""
    return databases.make(database_kind, tmp_path / "gptload.db", migrate)


@pytest.fixture
def engine(dsn: str) -> Iterator[Engine]:
    """The same, opened."""
    engine = make_engine(parse_dsn(dsn))
    yield engine
    engine.dispose()


@pytest.fixture
def impatient(clean_reactor: None, reactor: Any, engine: Engine) -> Iterator[Database]:
    """The same file for whoever tests locks: it fails soon instead of after five seconds."""
    database = Database(reactor, make_engine(engine.url, busy_ms=20))
    database.start()
    yield database
    pytest_twisted.blockon(Deferred.fromCoroutine(database.stop()))


@pytest.fixture
def database(clean_reactor: None, reactor: Any, engine: Engine) -> Iterator[Database]:
    """`engine` with its threads running."""
    database = Database(reactor, engine)
    database.start()
    yield database
    pytest_twisted.blockon(Deferred.fromCoroutine(database.stop()))
