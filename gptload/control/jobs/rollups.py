"""Counts what was moved into the log: roll-ups follow it by some seconds.

Whoever looks at statistics calls `settle` first, so that for them nothing is behind.
"""

from __future__ import annotations

from typing import Final

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from gptload.control.db.database import Database
from gptload.control.db.queries import rollups
from gptload.control.loop import Loop
from gptload.control.status import Job
from gptload.core.errors import DatabaseUnavailable

# The longer, the fewer rows are written for a record.
INTERVAL_S: Final = 30.0
# One transaction: others who write wait for a slice, never for all of it.
SLICE_RECORDS: Final = 2500


class Rollups(Service):
    """Settles every half minute, and at once for whoever asks."""

    log = Logger()

    def __init__(self, clock: IReactorTime, database: Database, job: Job | None = None) -> None:
        self._clock = clock
        self._database = database
        self._stopping = False
        self._lock = DeferredLock()
        self._job = Job() if job is None else job
        self._loop = Loop(clock, self._turn, self._job)

    def startService(self) -> None:
        """Settle what a former process left, then go on."""
        Service.startService(self)
        self._stopping = False
        self._loop.start(INTERVAL_S)

    def stopService(self) -> Deferred[bool]:
        """Fires when a slice under way is done; the rest is settled after the next start."""
        Service.stopService(self)
        self._stopping = True
        return Deferred.fromCoroutine(self._loop.stop())

    async def settle(self) -> None:
        """Count all that was moved by now.

        Raises:
            DatabaseUnavailable: the rest is counted later.
        """
        await self._lock.acquire()
        try:
            count = 1
            while count and not self._stopping:
                # Most who ask find nothing: they don't wait for the writer.
                if not await self._database.read(rollups.is_pending):
                    break
                count = await self._database.write(rollups.settle, SLICE_RECORDS)
        finally:
            self._lock.release()

    async def _turn(self) -> None:
        now = self._clock.seconds()
        try:
            await self.settle()
        except DatabaseUnavailable as error:
            self._job.failed(now, error)
        except Exception as error:  # a LoopingCall ends with its first unhandled error
            self._job.failed(now, error)
            self.log.failure("Statistics fall behind; next try soon")
        else:
            self._job.succeeded(now)
