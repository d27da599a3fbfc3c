"""How it goes right now, from counters in memory: a frame a second for whoever looks.

The data plane tells of each record as it is made; nothing here waits for the journal or
the database, so the figures move while those are away.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from attrs import frozen
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from gptload.control.breakers import Breakers
from gptload.control.db.queries.tasks import TaskRow
from gptload.control.loop import Loop
from gptload.core.breaker import State
from gptload.core.errors import GptloadError
from gptload.core.histogram import Histogram
from gptload.core.record import AttemptRecord

TICK_S: Final = 1.0
WINDOW_S: Final = 10.0
"""Rates and percentiles are of about so long."""

MOST_LISTENERS: Final = 100
# Of one second, for percentiles; more are counted, and not looked at.
_MOST_DURATIONS: Final = 20_000


class TooManyListeners(GptloadError):
    """More live streams than anybody needs."""

    status = 503
    code = "TOO_MANY_LISTENERS"
    hint = "Close some dashboards, or ask /api/stats/summary every few seconds."


@frozen
class _Second:
    """What ended in one tick.

    Attributes:
        began: monotonic seconds.
    """

    began: float
    requests: int
    succeeded: int
    retried: int
    durations: Histogram


class Live(Service):
    """Counts by the second, and tells its listeners after each."""

    def __init__(
        self,
        clock: IReactorTime,
        ticks: Callable[[], float],
        breakers: Breakers,
        version: str,
        under_way: Callable[[], int],
        tasks: Callable[[], Sequence[TaskRow]] = lambda: (),
    ) -> None:
        """
        Args:
            ticks: monotonic seconds.
            under_way: how many exchanges there are at this moment.
            tasks: long work that runs.
        """
        self._under_way = under_way
        self._tasks = tasks
        self._clock = clock
        self._ticks = ticks
        self._breakers = breakers
        self._version = version
        self._node_began = self._began = ticks()
        self._seconds: deque[_Second] = deque(maxlen=round(WINDOW_S / TICK_S))
        self._durations: list[int] = []
        self._requests = self._succeeded = self._retried = 0
        self._listeners: dict[Callable[[dict[str, Any]], None], Deferred[None]] = {}
        self._loop = Loop(clock, self._tick)

    def startService(self) -> None:
        """Begin to count by the second."""
        Service.startService(self)
        self._loop.start(TICK_S)

    def stopService(self) -> Deferred[bool]:
        """Count no more."""
        Service.stopService(self)
        self.release()
        return Deferred.fromCoroutine(self._loop.stop())

    def noted(self, records: Iterable[AttemptRecord]) -> None:
        """Attempts have ended."""
        # Hot: once a reactor turn. Nothing but counting; the histogram is made in the tick.
        for record in records:
            if not record.is_final:
                self._retried += 1
                continue
            self._requests += 1
            if record.outcome == "ok":
                self._succeeded += 1
            if len(self._durations) < _MOST_DURATIONS:
                self._durations.append(record.total_ms)

    def listen(self, told: Callable[[dict[str, Any]], None]) -> Deferred[None]:
        """Tell somebody of each second from now on, and at once of the last ones.

        Returns:
            Fires when there will be no more; to cancel it is to stop listening.

        Raises:
            TooManyListeners: so many listen already.
        """
        if len(self._listeners) >= MOST_LISTENERS:
            raise TooManyListeners(
                f"{MOST_LISTENERS} live streams are open already", retry_after_s=30.0
            )

        def forget(_: object) -> None:
            self._listeners.pop(told, None)

        ended = self._listeners[told] = Deferred(forget)
        told(self.frame())
        return ended

    def release(self) -> None:
        """Let all listeners go: their streams would hold up the end of the service."""
        listeners, self._listeners = self._listeners, {}
        for ended in listeners.values():
            ended.callback(None)

    async def _tick(self) -> None:
        durations = Histogram()
        for duration in self._durations:
            durations.add(duration)
        second = _Second(self._began, self._requests, self._succeeded, self._retried, durations)
        self._seconds.append(second)
        self._durations = []
        self._requests = self._succeeded = self._retried = 0
        self._began = self._ticks()
        if self._listeners:
            frame = self.frame()
            for told in list(self._listeners):
                told(frame)

    def frame(self) -> dict[str, Any]:
        """The last seconds and this moment, small enough to be sent every second."""
        whole = Histogram()
        for second in self._seconds:
            whole.merge(second.durations)
        requests = sum(second.requests for second in self._seconds)
        succeeded = sum(second.succeeded for second in self._seconds)
        # By the time that has passed, not by the number of ticks: one of them may come late.
        passed = self._began - self._seconds[0].began if self._seconds else 0.0
        opened = sum(moved.state is State.OPEN for moved in self._breakers.listed())
        return {
            "at": round(self._clock.seconds() * 1000),
            "window_s": round(passed, 3),
            "requests": requests,
            "requests_per_s": round(requests / passed, 2) if passed > 0 else 0.0,
            "success_rate": succeeded / requests if requests else None,
            "retried": sum(second.retried for second in self._seconds),
            "p50_ms": whole.percentile(0.5),
            "p95_ms": whole.percentile(0.95),
            "under_way": self._under_way(),
            "breakers_open": opened,
            "task": _task(self._tasks()),
            "node": {
                "state": "running" if self.running else "stopping",
                "version": self._version,
                "uptime_s": round(self._ticks() - self._node_began, 1),
            },
        }


def _task(running: Sequence[TaskRow]) -> dict[str, Any] | None:
    """The first of the tasks that run, and how many there are."""
    if not running:
        return None
    first = running[0]
    return {
        "id": first.id,
        "kind": first.kind,
        "group_name": first.group_name,
        "processed": first.processed,
        "total": first.total,
        "running": len(running),
    }
