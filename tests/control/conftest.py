"""A real database file for whoever tests the control plane."""

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


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """A migrated SQLite file of this test's own."""
    engine = make_engine(parse_dsn(str(tmp_path / "gptload.db")))
    migrate(engine)
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
