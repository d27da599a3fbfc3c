"""How the control plane's work is going: what `/api/status` and `/metrics` tell.

Values only: whoever does the work notes here how it went, whoever is asked reads it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from attrs import Factory, define, frozen

from gptload.core.errors import DatabaseUnavailable, GptloadError

# Beats whose worst is told: a minute's, at one a second.
_BEATS: Final = 60


@define
class Job:
    """One job that repeats, and how its last turns went.

    Attributes:
        last_success_at, last_failure_at, next_run_at: epoch seconds; None as long as unknown.
        last_failure: why, for people; never shows a secret.
        failures: in a row, since the last success.
        failing_since: epoch seconds of the first of these; None while all is well.
        lacks_database: the last of them was the database's fault.
    """

    name: str = ""
    last_success_at: float | None = None
    last_failure_at: float | None = None
    last_failure: str = ""
    failures: int = 0
    failing_since: float | None = None
    next_run_at: float | None = None
    lacks_database: bool = False

    def succeeded(self, now: float, next_run_at: float | None = None) -> None:
        """A turn has done its work."""
        self.last_success_at = now
        self.failures = 0
        self.failing_since = None
        self.lacks_database = False
        self.next_run_at = next_run_at

    def failed(self, now: float, error: BaseException, next_run_at: float | None = None) -> None:
        """A turn could not do its work, or not all of it."""
        self.last_failure_at = now
        self.last_failure = _reason(error)
        self.failures += 1
        self.failing_since = now if self.failing_since is None else self.failing_since
        self.lacks_database = isinstance(error, DatabaseUnavailable)
        self.next_run_at = next_run_at


def _reason(error: BaseException) -> str:
    if isinstance(error, GptloadError):
        return error.message
    if isinstance(error, OSError):
        return error.strerror or str(error)
    # Others may say anything, even a key.
    return f"unexpected {type(error).__name__}; the log names the cause"


@frozen
class Away:
    """The database can't be used.

    Attributes:
        since: epoch seconds.
    """

    since: float
    reason: str


@frozen
class PlaneView:
    """What a data plane shows of itself at one moment.

    Attributes:
        under_way: exchanges.
        connections, idle_connections: to upstreams; the idle ones are among the former.
        journal_held_bytes: records that wait in memory, because the disk refuses.
        journal_dropped: records given up since the start.
        journal_limit_bytes: of the journal's files; 0 for no limit.
    """

    under_way: int = 0
    connections: int = 0
    idle_connections: int = 0
    journal_held_bytes: int = 0
    journal_dropped: int = 0
    journal_limit_bytes: int = 0


@define
class LoopDelay:
    """By how much the event loop was late. What holds it up holds up every client.

    Attributes:
        last_s: seconds, of the last beat.
    """

    last_s: float = 0.0
    _recent: deque[float] = Factory(lambda: deque(maxlen=_BEATS))

    def note(self, delay_s: float) -> None:
        """One more beat."""
        self.last_s = max(0.0, delay_s)
        self._recent.append(self.last_s)

    @property
    def worst_s(self) -> float:
        """Seconds, of the last minute's worst beat."""
        return max(self._recent, default=0.0)


@define
class Status:
    """All that is known of how this node does.

    Attributes:
        started_at: epoch seconds.
        look: shows the data plane at this moment.
    """

    started_at: float = 0.0
    look: Callable[[], PlaneView] = PlaneView
    loop_delay: LoopDelay = Factory(LoopDelay)
    jobs: dict[str, Job] = Factory(dict)

    def job(self, name: str) -> Job:
        """The job of that name; made when it is first asked for."""
        return self.jobs.setdefault(name, Job(name))

    def database_away(self) -> Away | None:
        """Since when the database can't be used, as the jobs see it; None while it can."""
        lacking = [
            Away(job.failing_since, job.last_failure)
            for job in self.jobs.values()
            if job.lacks_database and job.failing_since is not None
        ]
        return min(lacking, key=lambda away: away.since, default=None)
