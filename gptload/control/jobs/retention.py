"""Deletes what nobody wants to see any more: old logs, timelines and roll-ups."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Connection
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from gptload.control.db.database import Database
from gptload.control.db.queries import logkinds, logs, rollups, timeline
from gptload.control.loop import Repeating
from gptload.control.statistics import MOST_SUBJECTS, kept_s
from gptload.control.status import Job

INTERVAL_S = 3600
DAY_S = 86_400
# One transaction: others who write wait for a slice, never for all of it.
SLICE_ROWS = 1000


class Retention(Repeating):
    """Deletes logs older than `keep_days()` and roll-ups past their time, hourly, in slices."""

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        database: Database,
        keep_days: Callable[[], int],
        job: Job | None = None,
    ) -> None:
        """
        Args:
            keep_days: asked each time, so that a change needs no restart; 0 keeps all logs.
        """
        super().__init__(clock, INTERVAL_S, job)
        self._database = database
        self._keep_days = keep_days

    async def sweep(self) -> int:
        """Delete all that is too old now.

        Returns:
            How many request logs went.

        Raises:
            DatabaseUnavailable: what is left goes next time.
        """
        now = self._clock.seconds()
        await self._sweep_rollups(now)
        days = self._keep_days()
        if days <= 0:
            return 0
        before = now - days * DAY_S
        count = await self._in_slices(logs.delete_slice, before)
        await self._database.write(logkinds.forget_empty)
        await self._in_slices(timeline.delete_slice, before)
        return count

    async def turn(self) -> None:
        """Sweep, and say what went."""
        if count := await self.sweep():
            self.log.info("Retention deleted {count} request logs", count=count)

    def trouble(self) -> str:
        """What is left goes next time."""
        return "Retention stopped early; next try in an hour"

    async def _sweep_rollups(self, now: float) -> None:
        for kind in MOST_SUBJECTS:
            for step, seconds in kept_s(kind).items():
                count = SLICE_ROWS
                while count >= SLICE_ROWS and not self.stopping:
                    count = await self._database.write(
                        rollups.delete_slice, kind, step, now - seconds, SLICE_ROWS
                    )

    async def _in_slices(
        self, delete: Callable[[Connection, float, int], int], before: float
    ) -> int:
        total = 0
        while True:
            count = await self._database.write(delete, before, SLICE_ROWS)
            total += count
            if count < SLICE_ROWS or self.stopping:
                return total
