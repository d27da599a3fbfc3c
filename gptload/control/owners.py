"""Keeps who made which resource over a restart, and tells every data plane.

A data plane that sees a resource being made remembers its owner by itself; what is
here is for the others, and for the next start. Written soon, in batches; traffic
never waits for it.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Final

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from gptload.control.db.database import Database
from gptload.control.db.queries import owners
from gptload.control.loop import Repeating
from gptload.control.status import Job
from gptload.core.sticky import OWNERS_LIMIT
from gptload.link.messages import KeyChange, OwnerNoted, OwnersKnown

WRITE_S: Final = 1.0
# One transaction.
WRITE_ROWS: Final = 1000
PRUNE_S: Final = 3600.0
# Owners that data planes take up in one reactor turn.
TURN_OWNERS: Final = 5000


class OwnerWriter(Repeating):
    """Has owners written soon, and all of them before the end; forgets them in time.

    Attributes:
        dropped: how many were given up because the database was away for too long.
    """

    log = Logger()
    ends_with_turn = True

    def __init__(
        self,
        clock: IReactorTime,
        database: Database,
        publish: Callable[[KeyChange], None],
        limit: int = OWNERS_LIMIT,
        job: Job | None = None,
    ) -> None:
        """
        Args:
            publish: called at once with every owner; it must not raise.
            limit: of owners, in the table and in what waits for it.
        """
        super().__init__(clock, WRITE_S, job)
        self.dropped = 0
        self._database = database
        self._publish = publish
        self._limit = limit
        # By resource: only the last owner counts. A dict keeps the order.
        self._unwritten: dict[tuple[int, str], OwnerNoted] = {}
        self._prune_at = clock.seconds()

    @property
    def unwritten(self) -> int:
        """How many owners wait for the database."""
        return len(self._unwritten)

    async def load(self) -> None:
        """Tell the data planes what the last run knew.

        Raises:
            DatabaseUnavailable: the owners of this run are noted all the same.
        """
        known = await self._database.read(owners.alive, self._clock.seconds(), self._limit)
        for start in range(0, len(known), TURN_OWNERS):
            self._publish(OwnersKnown(tuple(known[start : start + TURN_OWNERS])))
            await deferLater(self._clock, 0)

    def noted(self, owner: OwnerNoted) -> None:
        """Take in what a data plane saw being made."""
        self._publish(OwnersKnown((owner,)))
        self._wait(owner)

    def _wait(self, owner: OwnerNoted) -> None:
        place = (owner.group_id, owner.resource)
        self._unwritten.pop(place, None)
        self._unwritten[place] = owner
        if len(self._unwritten) > self._limit:
            del self._unwritten[next(iter(self._unwritten))]
            self.dropped += 1

    async def turn(self) -> None:
        """Write what waits; forget, now and then, what nobody asks for any more."""
        now = self._clock.seconds()
        await self._write()
        if now >= self._prune_at:
            await self._database.write(owners.prune, now, self._limit)
            self._prune_at = now + PRUNE_S

    def trouble(self) -> str:
        """They are kept meanwhile, up to the limit."""
        return f"The owners of {self.unwritten} resources wait for the database"

    async def _write(self) -> None:
        # What is noted meanwhile belongs to the next turn, or this might never end.
        left = len(self._unwritten)
        while left > 0 and self._unwritten:
            places = list(islice(self._unwritten, min(WRITE_ROWS, left)))
            left -= len(places)
            batch = [self._unwritten.pop(place) for place in places]
            try:
                await self._database.write(owners.write, batch)
            except BaseException:
                # First what failed, then what came meanwhile: that is newer.
                later = list(self._unwritten.values())
                self._unwritten = dict(zip(places, batch, strict=True))
                for owner in later:
                    self._wait(owner)
                raise
