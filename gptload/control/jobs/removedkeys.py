"""Lets go of keys that were deleted long enough ago for everybody to have noticed."""

from __future__ import annotations

from typing import Final

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from gptload.control.db.database import Database
from gptload.control.db.queries.keys import forget_removed
from gptload.control.keys import UNDO_S
from gptload.control.loop import Loop
from gptload.control.status import Job
from gptload.core.errors import DatabaseUnavailable

INTERVAL_S: Final = 60.0
# Nobody may find half a deletion while it goes.
_GRACE_S: Final = 60.0
# One transaction: others who write wait for a slice, never for all of it.
SLICE_ROWS: Final = 1000


class RemovedKeys(Service):
    """Deletes for good, every minute and in slices, what can't be undone any more."""

    log = Logger()

    def __init__(self, clock: IReactorTime, database: Database, job: Job | None = None) -> None:
        self._clock = clock
        self._database = database
        self._stopping = False
        self._job = Job() if job is None else job
        self._loop = Loop(clock, self._turn, self._job)

    def startService(self) -> None:
        """Look now, and again every minute."""
        Service.startService(self)
        self._stopping = False
        self._loop.start(INTERVAL_S)

    def stopService(self) -> Deferred[bool]:
        """Fires when a slice under way is done; the rest has time."""
        Service.stopService(self)
        self._stopping = True
        return Deferred.fromCoroutine(self._loop.stop())

    async def _turn(self) -> None:
        now = self._clock.seconds()
        try:
            count = SLICE_ROWS
            while count >= SLICE_ROWS and not self._stopping:
                count = await self._database.write(
                    forget_removed, now - UNDO_S - _GRACE_S, SLICE_ROWS
                )
        except DatabaseUnavailable as error:
            self._job.failed(now, error)  # they stay a minute longer
        except Exception as error:  # a LoopingCall ends with its first unhandled error
            self._job.failed(now, error)
            self.log.failure("Deleted keys can't be let go; next try in a minute")
        else:
            self._job.succeeded(now)
