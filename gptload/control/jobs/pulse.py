"""Feels the pulse of the event loop and of the database, so that trouble shows before it is met."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from gptload.control.db.database import Database
from gptload.control.db.queries import health
from gptload.control.loop import Loop
from gptload.control.status import Status

BEAT_S: Final = 1.0
DATABASE_S: Final = 10.0


class Pulse(Service):
    """Beats once a second; what is late by then was held up by something else."""

    def __init__(
        self,
        clock: IReactorTime,
        ticks: Callable[[], float],
        database: Database,
        status: Status,
    ) -> None:
        """
        Args:
            ticks: monotonic seconds.
        """
        self._clock = clock
        self._ticks = ticks
        self._database = database
        self._delay = status.loop_delay
        self._job = status.job("database")
        self._loop = Loop(clock, self._ask, self._job)
        self._beat: IDelayedCall | None = None

    def startService(self) -> None:
        """Beat from now on."""
        Service.startService(self)
        self._loop.start(DATABASE_S)
        self._await_beat()

    def stopService(self) -> Deferred[bool]:
        """Fires when a question under way has its answer."""
        Service.stopService(self)
        if self._beat is not None:
            self._beat.cancel()
            self._beat = None
        return Deferred.fromCoroutine(self._loop.stop())

    def _await_beat(self) -> None:
        self._beat = self._clock.callLater(BEAT_S, self._beats, self._ticks() + BEAT_S)

    def _beats(self, expected: float) -> None:
        self._delay.note(self._ticks() - expected)
        self._await_beat()

    async def _ask(self) -> None:
        try:
            await self._database.read(health.ping)
        except Exception as error:  # whatever it is: it doesn't answer, and the jobs log that
            self._job.failed(self._clock.seconds(), error)
        else:
            self._job.succeeded(self._clock.seconds())
