"""Deletes what nobody wants to see any more: old logs, timelines and hourly statistics."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Column, Connection, Table, delete, select
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from gptload.control.db.database import Database
from gptload.control.db.tables import group_hourly_stats, key_changes, request_logs
from gptload.control.loop import Loop
from gptload.core.errors import DatabaseUnavailable

INTERVAL_S = 3600
DAY_S = 86_400
# The dashboard's chart compares two days, however short the logs are kept.
STATISTICS_DAYS = 3
# One transaction: others who write wait for a slice, never for all of it.
SLICE_ROWS = 1000


class Retention(Service):
    """Deletes what is older than `keep_days()`, hourly and in slices."""

    log = Logger()

    def __init__(self, clock: IReactorTime, database: Database, keep_days: Callable[[], int]):
        """
        Args:
            keep_days: asked each time, so that a change needs no restart; 0 keeps all.
        """
        self._stopping = False
        self._clock = clock
        self._database = database
        self._keep_days = keep_days
        self._loop = Loop(clock, self._turn)

    def startService(self) -> None:
        """Delete now, and again every hour."""
        Service.startService(self)
        self._stopping = False
        self._loop.start(INTERVAL_S)

    def stopService(self) -> Deferred[bool]:
        """Fires when a slice under way is done; the rest has time."""
        Service.stopService(self)
        self._stopping = True
        return Deferred.fromCoroutine(self._loop.stop())

    async def sweep(self) -> int:
        """Delete all that is too old now.

        Returns:
            How many request logs went.

        Raises:
            DatabaseUnavailable: what is left goes next time.
        """
        days = self._keep_days()
        if days <= 0:
            return 0
        now = self._clock.seconds()
        logs = await self._delete(request_logs, request_logs.c.timestamp, now - days * DAY_S)
        await self._delete(key_changes, key_changes.c.at, now - days * DAY_S)
        oldest = now - max(days, STATISTICS_DAYS) * DAY_S
        await self._delete(group_hourly_stats, group_hourly_stats.c.time, oldest)
        return logs

    async def _turn(self) -> None:
        try:
            count = await self.sweep()
        except DatabaseUnavailable as error:
            self.log.warn(
                "Retention stopped early: {reason}; next try in an hour", reason=error.message
            )
        except Exception:  # a LoopingCall ends with its first unhandled error
            self.log.failure("Retention failed; next try in an hour")
        else:
            if count:
                self.log.info("Retention deleted {count} request logs", count=count)

    async def _delete(self, table: Table, time: Column[float], before: float) -> int:
        total = 0
        while True:
            count = await self._database.write(_delete_slice, table, time, before)
            total += count
            if count < SLICE_ROWS or self._stopping:
                return total


def _delete_slice(connection: Connection, table: Table, time: Column[float], before: float) -> int:
    # The inner query walks the index on the time, so that a slice costs the same at any size.
    old = select(table.c.id).where(time < before).order_by(time).limit(SLICE_ROWS)
    return connection.execute(delete(table).where(table.c.id.in_(old.scalar_subquery()))).rowcount
