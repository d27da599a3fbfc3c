"""Lets go of keys that were deleted long enough ago for everybody to have noticed."""

from __future__ import annotations

from typing import Final

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from gptload.control.db.database import Database
from gptload.control.db.queries.keys import forget_removed
from gptload.control.keys import UNDO_S
from gptload.control.loop import Repeating
from gptload.control.status import Job

INTERVAL_S: Final = 60.0
# Nobody may find half a deletion while it goes.
_GRACE_S: Final = 60.0
# One transaction: others who write wait for a slice, never for all of it.
SLICE_ROWS: Final = 1000


class RemovedKeys(Repeating):
    """Deletes for good, every minute and in slices, what can't be undone any more."""

    log = Logger()
    is_quiet = True

    def __init__(self, clock: IReactorTime, database: Database, job: Job | None = None) -> None:
        super().__init__(clock, INTERVAL_S, job)
        self._database = database

    async def turn(self) -> None:
        """Let go of all whose time is over."""
        before = self._clock.seconds() - UNDO_S - _GRACE_S
        count = SLICE_ROWS
        while count >= SLICE_ROWS and not self.stopping:
            count = await self._database.write(forget_removed, before, SLICE_ROWS)

    def trouble(self) -> str:
        """They stay a minute longer."""
        return "Deleted keys can't be let go; next try in a minute"
