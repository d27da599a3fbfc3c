"""Work that repeats: how the control plane's services begin it and end it in good order."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall

from gptload.control.status import Job

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
