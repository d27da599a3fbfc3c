"""Tasks as the database keeps them: one row each, one running row a group.

A row belongs to its owner as long as its lease lasts. Whoever looks takes a running
row whose lease is over for what it is: interrupted, its owner is gone.
"""

from __future__ import annotations

from typing import Any

from attrs import fields_dict, frozen
from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from gptload.control.db.queries.groups import one
from gptload.control.db.queries.records import fit
from gptload.control.db.tables import tasks
from gptload.core.errors import NotFound, NothingToRetry, TaskInProgress

# Kept for people who want to know what was done; older ones go.
KEPT = 1000
STATES = ("running", "done", "failed", "cancelled", "interrupted")
GONE = "The process that ran it ended before it did"


@frozen
class TaskRow:
    """One task.

    Attributes:
        state: one of `STATES`.
        source_ip: who asked for it; "" where nobody noted that.
        result: figures of what was done so far, or in all; None before the first.
        remainder: what it failed at or didn't come to, by `gptload.control.keycourse`;
            also `of`, the task that it retries, and `next`, its own retry. None: that
            isn't known.
    """

    id: int
    kind: str
    group_id: int
    group_name: str
    state: str
    is_cancelled: bool
    processed: int
    total: int
    result: dict[str, Any] | None
    remainder: dict[str, Any] | None
    error: str
    started_at: float
    updated_at: float
    finished_at: float | None
    source_ip: str = ""


_COLUMNS = tuple(tasks.c[name] for name in fields_dict(TaskRow))


def _rows(connection: Connection, *wanted: Any, offset: int = 0, limit: int = 1) -> list[TaskRow]:
    query = select(*_COLUMNS).where(*wanted).order_by(tasks.c.id.desc())
    rows = connection.execute(query.offset(offset).limit(limit)).all()
    return [TaskRow(*row) for row in rows]


def begin(
    connection: Connection,
    kind: str,
    group_id: int,
    total: int,
    *,
    owner: str,
    now: float,
    lease_s: float,
    remainder: dict[str, Any] | None = None,
    retried: int | None = None,
) -> TaskRow:
    """Make `owner` the one who runs a task of this group.

    Args:
        retried: the task that this one is the retry of; there is one retry of each.

    Raises:
        NotFound: there is no such group.
        TaskInProgress: another task of it runs.
        NothingToRetry: that task has its retry.
    """
    group = one(connection, group_id)
    interrupt_orphans(connection, now)
    running = _rows(connection, tasks.c.running_group == group_id)
    if running:
        raise in_progress(running[0])
    last = None if retried is None else one_task(connection, retried)
    if last is not None and last.remainder is not None and "next" in last.remainder:
        raise _retried(last.id, last.remainder["next"])
    values = {
        "kind": kind,
        "group_id": group_id,
        "group_name": group["name"],
        "state": "running",
        "running_group": group_id,
        "owner": owner,
        "lease_until": now + lease_s,
        "total": total,
        "remainder": remainder,
        "started_at": now,
        "updated_at": now,
    }
    try:
        connection.execute(insert(tasks).values(values))
    except IntegrityError:  # another node was faster
        raise TaskInProgress("a task is already running, please wait") from None
    begun = _rows(connection, tasks.c.running_group == group_id)[0]
    if last is not None:
        known = {**(last.remainder or {}), "next": begun.id}
        connection.execute(update(tasks).where(tasks.c.id == last.id).values(remainder=known))
    return begun


def in_progress(task: TaskRow) -> TaskInProgress:
    """Says which task it is, how far it is, and what stops it."""
    return TaskInProgress(
        "a task is already running, please wait",
        hint=f"Task {task.id} ({task.kind}) of group '{task.group_name}' has done "
        f"{task.processed} of {task.total}; POST /api/tasks/{task.id}/cancel stops it.",
        data={"task_id": task.id},
    )


def _retried(task_id: int, by: int) -> NothingToRetry:
    return NothingToRetry(
        "This task was retried already",
        hint=f"Task {by} is the retry of task {task_id}; what is left of that can be retried.",
        data={"task_id": by},
    )


def renew(
    connection: Connection,
    task_id: int,
    *,
    owner: str,
    processed: int,
    result: dict[str, Any],
    remainder: dict[str, Any] | None,
    now: float,
    lease_s: float,
) -> str:
    """Keep the lease, and write how far the task is.

    Returns:
        `running`; `cancelled` when somebody asked for its end; `interrupted` when the
        lease was lost.
    """
    changed = connection.execute(
        update(tasks)
        .where(tasks.c.id == task_id, tasks.c.owner == owner, tasks.c.state == "running")
        .values(
            processed=processed,
            result=result,
            remainder=remainder,
            updated_at=now,
            lease_until=now + lease_s,
        )
    )
    if not changed.rowcount:
        return "interrupted"
    is_cancelled = connection.execute(
        select(tasks.c.is_cancelled).where(tasks.c.id == task_id)
    ).scalar()
    return "cancelled" if is_cancelled else "running"


def end(
    connection: Connection,
    task_id: int,
    state: str,
    *,
    owner: str,
    processed: int,
    result: dict[str, Any],
    remainder: dict[str, Any] | None,
    error: str,
    now: float,
) -> None:
    """Write how it ended, unless the lease was lost; let the group have another task."""
    connection.execute(
        update(tasks)
        .where(tasks.c.id == task_id, tasks.c.owner == owner, tasks.c.state == "running")
        .values(
            state=state,
            running_group=None,
            processed=processed,
            result=result,
            remainder=remainder,
            error=fit(error, 512),
            updated_at=now,
            finished_at=now,
        )
    )


def ask_to_end(connection: Connection, task_id: int) -> TaskRow:
    """Note that somebody wants this task to end; one that has ended stays as it is.

    Raises:
        NotFound: there is no such task.
    """
    connection.execute(
        update(tasks)
        .where(tasks.c.id == task_id, tasks.c.state == "running")
        .values(is_cancelled=True)
    )
    return one_task(connection, task_id)


def one_task(connection: Connection, task_id: int) -> TaskRow:
    """
    Raises:
        NotFound: there is no such task.
    """
    found = _rows(connection, tasks.c.id == task_id)
    if not found:
        raise NotFound("Resource not found")
    return found[0]


def interrupt_orphans(connection: Connection, now: float) -> int:
    """End all running tasks whose owner let the lease run out; how many there were."""
    return connection.execute(
        update(tasks)
        .where(tasks.c.state == "running", tasks.c.lease_until < now)
        .values(state="interrupted", running_group=None, error=GONE, finished_at=tasks.c.updated_at)
    ).rowcount


def page(
    connection: Connection, *, state: str = "", offset: int, limit: int
) -> tuple[list[TaskRow], int]:
    """Tasks in a state, or in any, the last started first, and how many there are."""
    wanted = [tasks.c.state == state] if state else []
    total = connection.execute(select(func.count()).select_from(tasks).where(*wanted)).scalar_one()
    return _rows(connection, *wanted, offset=offset, limit=limit), total


def sign(connection: Connection, task_id: int, source_ip: str) -> None:
    """Note who asked for it."""
    connection.execute(update(tasks).where(tasks.c.id == task_id).values(source_ip=source_ip[:64]))


def latest(connection: Connection, since: float) -> TaskRow | None:
    """The task that runs; without one the last that ended since then."""
    running = _rows(connection, tasks.c.state == "running")
    found = running or _rows(connection, tasks.c.updated_at >= since)
    return found[0] if found else None


def drop_old(connection: Connection) -> None:
    """Let go of all but the last `KEPT` tasks."""
    oldest = connection.execute(
        select(tasks.c.id).order_by(tasks.c.id.desc()).offset(KEPT).limit(1)
    ).scalar()
    if oldest is not None:
        connection.execute(delete(tasks).where(tasks.c.id <= oldest, tasks.c.state != "running"))
