"""Owners of resources: told to every data plane, kept over a restart, forgotten in time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import pytest_twisted
from sqlalchemy import Connection, Engine, select
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher

from gptload.control.db.database import Database, run_write
from gptload.control.db.queries import owners
from gptload.control.db.tables import resource_owners
from gptload.control.loop import LONGEST_WAIT_S
from gptload.control.owners import PRUNE_S, WRITE_S, OwnerWriter
from gptload.core.errors import DatabaseUnavailable
from gptload.link.messages import KeyChange, OwnerNoted, OwnersKnown
from tests.parts.rows import add_group, add_key

NOW = 1_800_000_000.0


def noted(resource: str = "file-1", key_id: int = 1, until: float = NOW + 100) -> OwnerNoted:
    return OwnerNoted(1, resource, key_id, 0, until)


def rows(connection: Connection) -> dict[str, int]:
    table = resource_owners.c
    found = connection.execute(select(table.resource, table.key_id))
    return {row.resource: row.key_id for row in found}


class Away:
    """A database that is away until somebody says otherwise."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.failure: Exception | None = None

    async def read(self, work: Any, *args: Any) -> Any:
        return await self.write(work, *args)

    async def write(self, work: Any, *args: Any) -> Any:
        if self.failure is not None:
            raise self.failure
        return run_write(self.engine, work, *args)


class Scene:
    def __init__(self, engine: Engine, limit: int = 100) -> None:
        self.clock = Clock()
        self.clock.advance(NOW)
        self.database = Away(engine)
        self.told: list[KeyChange] = []
        self.writer = OwnerWriter(self.clock, self.database, self.told.append, limit)  # type: ignore[arg-type]

    def stored(self) -> dict[str, int]:
        return run_write(self.database.engine, rows)


@pytest.fixture
def scene(engine: Engine) -> Scene:
    def fill(connection: Connection) -> None:
        group = add_group(connection)
        for value in ("sk-1", "sk-2"):
            add_key(connection, group, value)

    run_write(engine, fill)
    return Scene(engine)


@pytest.fixture
def said() -> Iterator[list[str]]:
    lines: list[str] = []

    def observe(event: dict[str, Any]) -> None:
        lines.append(str(event.get("log_format", "")).format(**event))

    globalLogPublisher.addObserver(observe)
    yield lines
    globalLogPublisher.removeObserver(observe)


def test_what_is_noted_is_told_at_once_and_written_soon(scene: Scene) -> None:
    scene.writer.startService()
    scene.writer.noted(noted())
    assert scene.told == [OwnersKnown((noted(),))]
    assert scene.stored() == {}
    scene.clock.advance(WRITE_S)
    assert scene.stored() == {"file-1": 1}
    scene.writer.stopService()
    assert scene.clock.getDelayedCalls() == []


def test_of_one_resource_the_last_owner_counts(scene: Scene) -> None:
    scene.writer.startService()
    scene.writer.noted(noted(key_id=1))
    scene.writer.noted(noted(key_id=2))
    assert scene.writer.unwritten == 1
    scene.clock.advance(WRITE_S)
    scene.writer.noted(noted(key_id=1))
    scene.clock.advance(WRITE_S)
    assert scene.stored() == {"file-1": 1}


def test_the_last_ones_are_written_at_the_stop(scene: Scene) -> None:
    scene.writer.startService()
    scene.writer.noted(noted())
    scene.writer.stopService()
    assert scene.stored() == {"file-1": 1}


def test_a_new_start_knows_what_still_lives(scene: Scene) -> None:
    lasting, short = noted("b", until=NOW + 200), noted("a", until=NOW + 100)
    run_write(scene.database.engine, owners.write, [lasting, noted("c", until=NOW), short])
    loading = Deferred.fromCoroutine(scene.writer.load())
    scene.clock.advance(0)
    assert loading.called
    assert scene.told == [OwnersKnown((short, lasting))]


def test_nothing_is_lost_while_the_database_is_away(scene: Scene, said: list[str]) -> None:
    scene.writer.startService()
    scene.database.failure = DatabaseUnavailable("The database is locked")
    scene.writer.noted(noted("a", key_id=1))
    scene.writer.noted(noted("b"))
    for _ in range(59):
        scene.clock.advance(WRITE_S)
        scene.writer.noted(noted("a", key_id=2))
    assert len([line for line in said if "wait for the database" in line]) == 1
    scene.database.failure = None
    scene.clock.advance(LONGEST_WAIT_S)
    assert scene.stored() == {"a": 2, "b": 1}
    assert scene.writer.unwritten == 0


def test_an_unexpected_error_ends_nothing(scene: Scene, said: list[str]) -> None:
    scene.writer.startService()
    scene.database.failure = RuntimeError("driver")
    scene.writer.noted(noted())
    scene.clock.advance(WRITE_S)
    assert said == ["The owners of 1 resources wait for the database"]
    scene.database.failure = None
    scene.clock.advance(WRITE_S)
    assert scene.stored() == {"file-1": 1}


def test_what_waits_is_bounded(scene: Scene) -> None:
    writer = Scene(scene.database.engine, limit=3).writer
    for number in range(5):
        writer.noted(noted(str(number)))
    assert writer.unwritten == 3
    assert writer.dropped == 2


def test_what_has_ended_or_has_no_key_is_forgotten(scene: Scene) -> None:
    scene.writer.startService()
    for owner in (noted("ends"), noted("stays", until=NOW + 9e9), noted("keyless", key_id=99)):
        scene.writer.noted(owner)
    scene.clock.advance(WRITE_S)
    assert set(scene.stored()) == {"ends", "stays", "keyless"}
    scene.clock.advance(PRUNE_S)
    assert set(scene.stored()) == {"stays"}


def test_the_table_is_bounded(scene: Scene) -> None:
    many = [noted(str(number), until=NOW + 1 + number) for number in range(10)]
    run_write(scene.database.engine, owners.write, many)
    assert run_write(scene.database.engine, owners.prune, NOW, 4) == 6
    assert set(scene.stored()) == {"6", "7", "8", "9"}
    assert run_write(scene.database.engine, owners.prune, NOW, 4) == 0


def test_writing_twice_changes_nothing(scene: Scene) -> None:
    for _ in range(2):
        run_write(scene.database.engine, owners.write, [noted("a"), noted("b", key_id=2)])
    assert scene.stored() == {"a": 1, "b": 2}


@pytest_twisted.ensureDeferred
async def test_it_works_through_the_databases_threads(database: Database, scene: Scene) -> None:
    clock = Clock()
    clock.advance(NOW)
    writer = OwnerWriter(clock, database, lambda _: None)
    writer.startService()
    writer.noted(noted())
    await writer.stopService()
    assert await database.read(owners.alive, NOW, 10) == [noted()]
