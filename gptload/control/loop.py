"""Work that repeats: how the control plane's services begin it and end it in good order."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, ClassVar, Final

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from gptload.control.status import Job
from gptload.core.errors import DatabaseUnavailable
from gptload.core.pace import Pace

# What failed again and again is tried this often at least; a slower job at its own pace.
LONGEST_WAIT_S: Final = 10.0
_DOUBLINGS: Final = 20


class Loop:
    """Repeats a turn. The next one waits until the one under way has ended.

    While its job fails, each wait is twice as long as the one before.

    Args:
        turn: must not raise: a `LoopingCall` ends with its first unhandled error. It
            tells the job how it went.
        job: where that is told, if it is.
    """

    def __init__(
        self,
        clock: IReactorTime,
        turn: Callable[[], Coroutine[Deferred[Any], Any, None]],
        job: Job | None = None,
    ) -> None:
        self._clock = clock
        self._turn = turn
        self._job = Job() if job is None else job
        self._interval_s = 0.0
        self._not_before = float("-inf")
        self._loop = LoopingCall(lambda: Deferred.fromCoroutine(self._tick()))
        self._loop.clock = clock
        self._ended: Awaitable[object] | None = None

    def start(self, interval_s: float) -> None:
        """Take the first turn now."""
        self._interval_s = interval_s
        self._ended = self._loop.start(interval_s)

    async def stop(self) -> bool:
        """Take no more turns, and wait for the one under way.

        Returns:
            Whether there was anything to stop.
        """
        if not self._loop.running or self._ended is None:
            return False
        self._loop.stop()
        await self._ended
        return True

    async def _tick(self) -> None:
        if self._clock.seconds() < self._not_before:
            return
        await self._turn()
        job, now, wait_s = self._job, self._clock.seconds(), self._interval_s
        self._not_before = float("-inf")
        if job.failures:
            longer = wait_s * 2.0 ** min(job.failures - 1, _DOUBLINGS)
            wait_s = min(longer, max(wait_s, LONGEST_WAIT_S))
            # Half a tick early, or a rounded sum would cost a whole one.
            self._not_before = now + wait_s - self._interval_s / 2
        job.next_run_at = max(job.next_run_at or 0.0, now + wait_s)


class Repeating(Service):
    """Takes one `turn` after another while it runs, and tells its job how each one went.

    Attributes:
        log: a subclass has its own, so that its lines bear its name.
        is_quiet: whether others say enough while the database is away.
        ends_with_turn: whether a last turn is taken when the service stops.
        stopping: long work ends after the slice that is under way.
    """

    log: ClassVar[Logger]
    is_quiet: ClassVar[bool] = False
    ends_with_turn: ClassVar[bool] = False

    def __init__(self, clock: IReactorTime, interval_s: float, job: Job | None = None) -> None:
        self.stopping = False
        self._clock = clock
        self._every_s = interval_s
        self._pace = Pace()
        self._job = Job() if job is None else job
        self._loop = Loop(clock, self._try, self._job)

    async def turn(self) -> None:
        """Do what there is to do. What is raised counts as a failure; the next turn comes."""
        raise NotImplementedError

    def trouble(self) -> str:
        """What it means that the last turn failed, for the log."""
        raise NotImplementedError

    def startService(self) -> None:
        """Take the first turn now, then one an interval."""
        Service.startService(self)
        self.stopping = False
        self._loop.start(self._every_s)

    def stopService(self) -> Deferred[None]:
        """Fires when the turn under way has ended, and the last one if there is to be one."""
        Service.stopService(self)
        self.stopping = True
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        if await self._loop.stop() and self.ends_with_turn:
            self._pace.reset()
            await self._try()

    async def _try(self) -> None:
        try:
            await self.turn()
        except DatabaseUnavailable as error:
            now = self._clock.seconds()
            self._job.failed(now, error)
            if not self.is_quiet and self._pace.due(now):
                self.log.error("{what}: {reason}", what=self.trouble(), reason=error.message)
        except Exception as error:  # a LoopingCall ends with its first unhandled error
            now = self._clock.seconds()
            self._job.failed(now, error)
            if self._pace.due(now):
                self.log.failure("{what}", what=self.trouble())
        else:
            self._job.succeeded(self._clock.seconds())
            self._pace.reset()
