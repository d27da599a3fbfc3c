"""What is old goes, in slices; what is young stays."""

from __future__ import annotations

import pytest
from sqlalchemy import Connection, insert, select
from twisted.internet.task import Clock

from gptload.control.db.database import Database
from gptload.control.db.queries import records as queries
from gptload.control.db.queries import timeline
from gptload.control.db.tables import key_changes, request_logs, rollups
from gptload.control.jobs.retention import DAY_S, INTERVAL_S, SLICE_ROWS, Retention
from gptload.core.keyevents import Change, Happened, KeyView
from tests.parts.records import make_record

NOW = 1_800_000_000.0


@pytest.fixture
def clock() -> Clock:
    clock = Clock()
    clock.advance(NOW)
    return clock


def add_logs(connection: Connection, *ages_days: float) -> None:
    records = [make_record(at=NOW - age * DAY_S, is_final=False) for age in ages_days]
    queries.move(connection, records, "x", 1)


def add_rollup(connection: Connection, step: int, age_days: float) -> None:
    at = int(NOW - age_days * DAY_S)
    row = {"kind": "all", "step": step, "at": at, "subject": "", "detail": "[[],[],[]]"}
    connection.execute(insert(rollups).values(row))


def add_line(connection: Connection, age_days: float) -> None:
    at = NOW - age_days * DAY_S
    timeline.add(connection, [Change(1, 7, at, Happened.STRUCK, KeyView(strikes=1))])


def line_ages(connection: Connection) -> list[float]:
    times = connection.execute(select(key_changes.c.at)).scalars()
    return sorted(round((NOW - time) / DAY_S, 2) for time in times)


def log_ages(connection: Connection) -> list[float]:
    times = connection.execute(select(request_logs.c.timestamp)).scalars()
    return sorted(round((NOW - time) / DAY_S, 2) for time in times)


def rollup_ages(connection: Connection, step: int) -> list[float]:
    times = connection.execute(select(rollups.c.at).where(rollups.c.step == step)).scalars()
    return sorted(round((NOW - time) / DAY_S, 2) for time in times)


async def test_logs_older_than_the_setting_go(clock: Clock, database: Database) -> None:
    await database.write(add_logs, 0, 6.9, 7.1, 30)
    assert await Retention(clock, database, lambda: 7).sweep() == 2
    assert await database.read(log_ages) == [0, 6.9]


async def test_zero_keeps_all(clock: Clock, database: Database) -> None:
    await database.write(add_logs, 0, 5000)
    assert await Retention(clock, database, lambda: 0).sweep() == 0
    assert await database.read(log_ages) == [0, 5000]


async def test_rollups_are_kept_the_longer_the_coarser_whatever_the_logs(
    clock: Clock, database: Database
) -> None:
    for step in (60, 3600, 86_400):
        for age in (0, 2.9, 3.1, 89, 91, 1829, 1831):
            await database.write(add_rollup, step, age)
    await Retention(clock, database, lambda: 0).sweep()
    assert await database.read(rollup_ages, 60) == [0, 2.9]
    assert await database.read(rollup_ages, 3600) == [0, 2.9, 3.1, 89]
    assert await database.read(rollup_ages, 86_400) == [0, 2.9, 3.1, 89, 91, 1829]


async def test_more_than_a_slice_goes_in_one_sweep(clock: Clock, database: Database) -> None:
    await database.write(add_logs, *[10.0] * (2 * SLICE_ROWS + 1), 1)
    assert await Retention(clock, database, lambda: 7).sweep() == 2 * SLICE_ROWS + 1
    assert await database.read(log_ages) == [1]


async def test_lines_of_timelines_are_kept_as_long_as_logs(
    clock: Clock, database: Database
) -> None:
    for age in (0, 6.9, 7.1, 30):
        await database.write(add_line, age)
    await Retention(clock, database, lambda: 7).sweep()
    assert await database.read(line_ages) == [0, 6.9]


async def swept(database: Database) -> None:
    """Wait for a sweep: the writer's thread takes turns, and each kind of row is one."""
    for _ in range(24):
        await database.write(log_ages)


async def test_it_runs_at_the_start_and_hourly_with_the_setting_of_the_moment(
    clock: Clock, database: Database
) -> None:
    days = [7]
    await database.write(add_logs, 2, 8)
    job = Retention(clock, database, lambda: days[0])
    job.startService()
    await swept(database)
    assert await database.read(log_ages) == [2]
    days[0] = 1
    clock.advance(INTERVAL_S)
    await swept(database)
    assert await database.read(log_ages) == []
    await job.stopService()
    assert clock.getDelayedCalls() == []
