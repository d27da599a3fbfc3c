"""What jobs note of themselves, and what a loop makes of it."""

from __future__ import annotations

import pytest
from twisted.internet.task import Clock

from gptload.control.loop import LONGEST_WAIT_S, Loop
from gptload.control.status import Away, Job, LoopDelay, Status
from gptload.core.errors import DatabaseUnavailable


def test_a_job_remembers_its_last_success_and_its_last_failure() -> None:
    job = Job("records")
    job.failed(10.0, DatabaseUnavailable("The database is locked"))
    job.failed(20.0, OSError(28, "No space left on device"))
    assert (job.failures, job.failing_since, job.last_failure_at) == (2, 10.0, 20.0)
    assert job.last_failure == "No space left on device"
    job.succeeded(30.0, next_run_at=90.0)
    assert (job.failures, job.failing_since, job.next_run_at) == (0, None, 90.0)
    assert (job.last_success_at, job.last_failure_at) == (30.0, 20.0)


def test_a_failure_that_nobody_expected_says_nothing_of_its_text() -> None:
    """It may quote anything, even a key."""
    job = Job("validation")
    job.failed(1.0, ValueError("sk-secret is bad"))
    assert job.last_failure == "unexpected ValueError; the log names the cause"


def test_the_database_is_away_since_the_first_job_missed_it() -> None:
    status = Status()
    assert status.database_away() is None
    status.job("records").failed(10.0, DatabaseUnavailable("The database is locked"))
    status.job("ledger").failed(8.0, DatabaseUnavailable("The database is away"))
    status.job("retention").failed(1.0, OSError(28, "No space left on device"))
    assert status.database_away() == Away(8.0, "The database is away")
    status.job("ledger").succeeded(20.0)
    status.job("records").succeeded(20.0)
    assert status.database_away() is None


def test_a_delay_is_the_worst_of_a_minutes_beats() -> None:
    delay = LoopDelay()
    assert delay.worst_s == 0
    delay.note(0.5)
    for _ in range(59):
        delay.note(-0.001)
    assert (delay.last_s, delay.worst_s) == (0, 0.5)
    delay.note(0.1)
    assert delay.worst_s == 0.1


class Work:
    """A job's turns, and when they were taken."""

    def __init__(self, interval_s: float) -> None:
        self.clock = Clock()
        self.clock.advance(1_800_000_000.0)
        self.began = self.clock.seconds()
        self.fails = False
        self.job = Job("work")
        self.at: list[float] = []
        self.loop = Loop(self.clock, self.turn, self.job)
        self.loop.start(interval_s)

    async def turn(self) -> None:
        now = self.clock.seconds()
        self.at.append(round(now - self.began, 3))
        if self.fails:
            self.job.failed(now, DatabaseUnavailable("The database is locked"))
        else:
            self.job.succeeded(now)

    def run(self, seconds: float, step_s: float) -> list[float]:
        """Let time go by; the turns that were taken."""
        self.at.clear()
        self.clock.pump([step_s] * round(seconds / step_s))
        return list(self.at)


async def test_what_fails_is_tried_ever_more_rarely_and_what_works_at_its_own_pace() -> None:
    work = Work(1.0)
    assert len(work.run(5, 0.5)) == 5
    work.fails = True
    assert work.run(31, 1.0) == [6, 7, 9, 13, 21, 31]
    assert work.job.next_run_at == work.began + 31 + LONGEST_WAIT_S
    work.fails = False
    work.run(6, 1.0)
    assert len(work.run(5, 1.0)) == 5
    await work.loop.stop()


@pytest.mark.parametrize("interval_s", [0.2, 0.5, 3600.0])
async def test_after_one_failure_the_next_turn_comes_as_if_there_had_been_none(
    interval_s: float,
) -> None:
    work = Work(interval_s)
    work.fails = True
    assert len(work.run(interval_s, interval_s)) == 1
    work.fails = False
    assert len(work.run(3 * interval_s, interval_s)) >= 2
    await work.loop.stop()


async def test_a_slow_job_that_fails_is_never_tried_more_often_than_usual() -> None:
    work = Work(3600.0)
    work.fails = True
    assert len(work.run(5 * 3600, 600)) == 5
    await work.loop.stop()


async def test_a_loop_that_never_began_has_nothing_to_stop() -> None:
    async def turn() -> None: ...

    assert await Loop(Clock(), turn).stop() is False
