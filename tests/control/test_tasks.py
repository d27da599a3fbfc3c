"""Tasks have one owner, end honestly, and leave a trace."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import pytest_twisted
from sqlalchemy import Connection
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger

from gptload.control.db.database import Database
from gptload.control.db.queries import groups
from gptload.control.db.queries import tasks as queries
from gptload.control.db.queries.tasks import GONE, TaskRow
from gptload.control.tasks import LEASE_S, Run, Tasks
from gptload.core.errors import (
    DatabaseUnavailable,
    NotFound,
    TaskInProgress,
    ValidationFailed,
)

NOW = 1_800_000_000.0


def add_group(connection: Connection, name: str) -> int:
    values = {
        "name": name,
        "proxy_keys": "",
        "upstreams": [],
        "channel_type": "openai",
        "test_model": "m",
        "param_overrides": {},
        "config": {},
        "header_rules": [],
        "model_redirect_rules": {},
    }
    return int(groups.add(connection, values, NOW)["id"])


@pytest.fixture
def tasks(reactor: Any, database: Database) -> Iterator[Tasks]:
    """A runner at work."""
    tasks = Tasks(reactor, database, "this life")
    tasks.startService()
    yield tasks
    if tasks.running:
        pytest_twisted.blockon(tasks.stopService())


async def ended(tasks: Tasks, task: TaskRow, reactor: Any) -> TaskRow:
    for _ in range(300):
        found = await tasks.one(task.id)
        if found.state != "running":
            return found
        await deferLater(reactor, 0.02)
    raise AssertionError("it still runs")


class Steps:
    """Work whose steps a test lets pass one by one."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.gate: Deferred[None] = Deferred()

    async def __call__(self, run: Run) -> None:
        run.result = {"done": 0}
        for _ in range(self.count):
            run.check()
            gate = self.gate
            await gate
            run.processed += 1
            run.result["done"] += 1

    def step(self) -> None:
        gate, self.gate = self.gate, Deferred()
        gate.callback(None)


async def test_a_task_tells_how_far_it_is_and_what_it_did(
    tasks: Tasks, database: Database, reactor: Any
) -> None:
    group = await database.write(add_group, "one")
    work = Steps(2)
    task = await tasks.begin("copy", group, 2, work)
    assert (task.kind, task.group_name, task.state, task.processed) == ("copy", "one", "running", 0)
    work.step()
    latest = await tasks.latest()
    assert latest is not None
    assert (latest.id, latest.processed, latest.result) == (task.id, 1, {"done": 1})
    work.step()
    done = await ended(tasks, task, reactor)
    assert (done.state, done.processed, done.total, done.result) == ("done", 2, 2, {"done": 2})
    assert done.finished_at is not None
    assert await tasks.latest() == done
    assert await tasks.page(offset=0, limit=10) == ([done], 1)


async def test_a_group_has_one_task_at_a_time_and_other_groups_have_theirs(
    tasks: Tasks, database: Database, reactor: Any
) -> None:
    one, two = await database.write(add_group, "one"), await database.write(add_group, "two")
    work, other = Steps(1), Steps(1)
    first = await tasks.begin("import", one, 1, work)
    with pytest.raises(TaskInProgress, match="a task is already running, please wait") as refused:
        await tasks.begin("import", one, 1, work)
    assert f"Task {first.id} (import) of group 'one'" in refused.value.hint
    second = await tasks.begin("import", two, 1, other)
    for started, held in ((first, work), (second, other)):
        held.step()
        assert (await ended(tasks, started, reactor)).state == "done"
    third = await tasks.begin("import", one, 1, held := Steps(1))
    held.step()
    assert (await ended(tasks, third, reactor)).state == "done"


async def test_of_starts_at_the_same_moment_one_wins(
    tasks: Tasks, database: Database, reactor: Any
) -> None:
    group = await database.write(add_group, "one")
    work = Steps(1)
    begun: list[TaskRow] = []
    refused: list[Any] = []
    started = [tasks.begin("import", group, 1, work) for _ in range(5)]
    for one in started:
        one.addCallbacks(begun.append, refused.append)
        await one
    assert (len(begun), len(refused)) == (1, 4)
    assert all(failure.check(TaskInProgress) for failure in refused)
    work.step()
    await ended(tasks, begun[0], reactor)


async def test_a_cancelled_task_ends_after_its_step_and_what_is_done_stays(
    tasks: Tasks, database: Database, reactor: Any
) -> None:
    group = await database.write(add_group, "one")
    work = Steps(9)
    task = await tasks.begin("delete", group, 9, work)
    work.step()
    assert (await tasks.cancel(task.id)).is_cancelled
    work.step()
    found = await ended(tasks, task, reactor)
    assert (found.state, found.processed, found.result) == ("cancelled", 2, {"done": 2})
    assert await tasks.cancel(task.id) == found  # once more changes nothing
    with pytest.raises(NotFound):
        await tasks.cancel(4711)


async def test_a_cancellation_reaches_the_owner_through_the_database(
    tasks: Tasks, database: Database, reactor: Any
) -> None:
    group = await database.write(add_group, "one")
    other = Tasks(reactor, database, "another node")
    work = Steps(9)
    task = await tasks.begin("delete", group, 9, work)
    await other.cancel(task.id)
    await deferLater(reactor, 1.3)
    work.step()
    assert (await ended(tasks, task, reactor)).state == "cancelled"


async def test_a_task_that_fails_says_why(tasks: Tasks, database: Database, reactor: Any) -> None:
    group = await database.write(add_group, "one")

    async def work(run: Run) -> None:
        run.processed = 3
        raise ValidationFailed("no such thing")

    found = await ended(tasks, await tasks.begin("import", group, 5, work), reactor)
    assert (found.state, found.error, found.processed) == ("failed", "no such thing", 3)


async def test_a_fault_of_ours_is_in_the_log_and_nobody_else_s_business(
    tasks: Tasks, database: Database, reactor: Any
) -> None:
    group = await database.write(add_group, "one")
    logged: list[Any] = []
    tasks.log = Logger(observer=logged.append)  # type: ignore[arg-type]

    async def work(run: Run) -> None:
        raise RuntimeError("sk-secret")

    found = await ended(tasks, await tasks.begin("import", group, 5, work), reactor)
    assert found.state == "failed"
    assert found.error == "An unexpected error occurred; the log names the cause"
    assert [event["log_failure"].type for event in logged] == [RuntimeError]


async def test_a_stop_waits_for_the_step_and_says_interrupted(
    tasks: Tasks, database: Database, reactor: Any
) -> None:
    group = await database.write(add_group, "one")
    work = Steps(9)
    task = await tasks.begin("import", group, 9, work)
    stopping = tasks.stopService()
    await deferLater(reactor, 0.05)
    assert not stopping.called
    work.step()
    await stopping
    found = await database.read(queries.one_task, task.id)
    assert (found.state, found.result) == ("interrupted", {"done": 1})
    assert found.error == "the service was stopped before it ended"
    with pytest.raises(DatabaseUnavailable):
        await tasks.begin("import", group, 9, work)
    with pytest.raises(DatabaseUnavailable):
        await tasks.prepare(len, "abc")


async def test_a_step_that_never_ends_does_not_hold_up_a_stop(
    tasks: Tasks, database: Database, reactor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gptload.control.tasks.STOP_S", 0.1)
    group = await database.write(add_group, "one")
    task = await tasks.begin("import", group, 9, Steps(9))
    await tasks.stopService()
    assert (await database.read(queries.one_task, task.id)).state == "interrupted"


async def test_what_a_killed_process_left_says_interrupted_once_its_lease_is_over(
    tasks: Tasks, database: Database, reactor: Any
) -> None:
    group = await database.write(add_group, "one")
    began = reactor.seconds() - LEASE_S - 1
    left = await database.write(
        queries.begin, "import", group, 9, owner="a former life", now=began, lease_s=LEASE_S
    )
    task = await tasks.begin("import", group, 1, work := Steps(1))  # it is in nobody's way
    found = await tasks.one(left.id)
    assert (found.state, found.error, found.finished_at) == ("interrupted", GONE, began)
    work.step()
    assert (await ended(tasks, task, reactor)).state == "done"


async def test_an_owner_that_lost_its_lease_changes_nothing_any_more(database: Database) -> None:
    group = await database.write(add_group, "one")
    task = await database.write(
        queries.begin, "import", group, 9, owner="slow", now=NOW, lease_s=LEASE_S
    )
    about: dict[str, Any] = {"owner": "slow", "processed": 5, "result": {}, "remainder": None}
    at = NOW + LEASE_S - 1
    assert await database.write(queries.renew, task.id, now=at, lease_s=1, **about) == "running"
    assert await database.write(queries.interrupt_orphans, at + 2) == 1
    assert (
        await database.write(queries.renew, task.id, now=at + 3, lease_s=1, **about)
        == "interrupted"
    )
    await database.write(queries.end, task.id, "done", error="", now=at + 3, **about)
    assert (await database.read(queries.one_task, task.id)).state == "interrupted"


async def test_old_tasks_go(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "KEPT", 2)
    group = await database.write(add_group, "one")
    for number in range(4):
        row = await database.write(
            queries.begin, "import", group, 1, owner="me", now=NOW + number, lease_s=1
        )
        about: dict[str, Any] = {"owner": "me", "processed": 1, "result": {}, "remainder": None}
        await database.write(queries.end, row.id, "done", error="", now=NOW, **about)
    await database.write(queries.drop_old)
    rows, total = await database.read(queries.page, offset=0, limit=10)
    assert (total, [row.started_at for row in rows]) == (2, [NOW + 3, NOW + 2])


async def test_work_of_a_group_that_is_not_there_does_not_begin(tasks: Tasks) -> None:
    with pytest.raises(NotFound):
        await tasks.begin("import", 4711, 1, Steps(1))
