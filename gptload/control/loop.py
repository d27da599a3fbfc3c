"""Work that repeats: how the control plane's services begin it and end it in good order."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall


class Loop:
    """Repeats a turn. The next one waits until the one under way has ended.

    Args:
        turn: must not raise: a `LoopingCall` ends with its first unhandled error.
    """

    def __init__(
        self, clock: IReactorTime, turn: Callable[[], Coroutine[Deferred[Any], Any, None]]
    ) -> None:
        self._loop = LoopingCall(lambda: Deferred.fromCoroutine(turn()))
        self._loop.clock = clock
        self._ended: Awaitable[object] | None = None

    def start(self, interval_s: float) -> None:
        """Take the first turn now."""
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
