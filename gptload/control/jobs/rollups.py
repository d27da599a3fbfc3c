"""Counts what was moved into the log: roll-ups follow it by some seconds.

Whoever looks at statistics calls `settle` first, so that for them nothing is behind.
"""

from __future__ import annotations

from typing import Final

from twisted.internet.defer import DeferredLock
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from gptload.control.db.database import Database
from gptload.control.db.queries import rollups
from gptload.control.loop import Repeating
from gptload.control.status import Job

# The longer, the fewer rows are written for a record.
INTERVAL_S: Final = 30.0
# One transaction: others who write wait for a slice, never for all of it.
SLICE_RECORDS: Final = 2500


class Rollups(Repeating):
    """Settles every half minute, and at once for whoever asks."""

    log = Logger()
    is_quiet = True

    def __init__(self, clock: IReactorTime, database: Database, job: Job | None = None) -> None:
        super().__init__(clock, INTERVAL_S, job)
        self._database = database
        self._lock = DeferredLock()

    async def settle(self) -> None:
        """Count all that was moved by now.

        Raises:
            DatabaseUnavailable: the rest is counted later.
        """
        await self._lock.acquire()
        try:
            count = 1
            while count and not self.stopping:
                # Most who ask find nothing: they don't wait for the writer.
                if not await self._database.read(rollups.is_pending):
                    break
                count = await self._database.write(rollups.settle, SLICE_RECORDS)
        finally:
            self._lock.release()

    async def turn(self) -> None:
        """Settle what was moved since the last one."""
        await self.settle()

    def trouble(self) -> str:
        """They catch up: nothing is lost."""
        return "Statistics fall behind; next try soon"
