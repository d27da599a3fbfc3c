"""The journal's records on their way into the database.

The journal holds a record until the database has it: a segment's position moves in
the transaction that inserts the rows, and a segment is deleted once it is complete
and read to its end. A locked or full database only makes records wait.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, get_type_hints

from attrs import field, frozen
from sqlalchemy import Connection
from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from gptload.control.db.database import Database
from gptload.control.db.queries import records as queries
from gptload.control.loop import Loop
from gptload.control.spending import Spending
from gptload.control.status import Job
from gptload.core.errors import DatabaseUnavailable
from gptload.core.pace import Pace
from gptload.core.record import AttemptRecord, decode

# A name with a dot in front is a segment in the making.
PATTERN = "[!.]*.jsonl"
# One transaction; others who want to write wait for no longer than that.
SLICE_LINES = 1000
_READ_BYTES = 1024 * 1024
TICK_S = 0.5
_TYPES: Final = [
    (int, float) if kind is float else kind for kind in get_type_hints(AttemptRecord).values()
]


@frozen
class Step:
    """What one transaction did.

    Attributes:
        offset: how far the segment is read now.
        is_gone: whether the segment is done with and its file deleted.
        unreadable: lines that are no record.
        spent: tokens and cost of what was moved, by group.
    """

    offset: int
    is_gone: bool = False
    unreadable: int = 0
    refused: tuple[tuple[str, str], ...] = ()
    spent: Mapping[int, Spending] = field(factory=dict)


@frozen
class Backlog:
    """What waits in the journal: bytes of records, and segments that are there."""

    waiting_bytes: int
    segments: int


class Records(Service):
    """Moves records every `interval_s()`, and at once for whoever asks by `drain`.

    Attributes:
        spent: tokens and cost of all that it has moved, by group.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        database: Database,
        directory: Path,
        interval_s: Callable[[], float],
        job: Job | None = None,
        limit_bytes: int = 0,
    ) -> None:
        """
        Args:
            directory: the journal's.
            interval_s: asked each time, so that a change needs no restart; 0 is at once.
            limit_bytes: of the journal; 0 for none. Half of it is moved before its time,
                so that only a database that is away ever fills it.
        """
        self.spent: dict[int, Spending] = {}
        self._clock = clock
        self._database = database
        self._directory = directory
        self._interval_s = interval_s
        self._limit_bytes = limit_bytes
        self._lock = DeferredLock()
        # How far each segment is read, as the database says; spares it idle questions.
        self._offsets: dict[str, int] | None = None
        self._drained_at = float("-inf")
        self._pace = Pace()
        self._job = Job() if job is None else job
        self._loop = Loop(clock, self._tick, self._job)

    def startService(self) -> None:
        """Move what a former process left, then go on."""
        Service.startService(self)
        self._loop.start(TICK_S)

    def stopService(self) -> Deferred[None]:
        """Move what is there, as far as the database lets us; the rest stays in the journal."""
        Service.stopService(self)
        return Deferred.fromCoroutine(self._stop())

    async def drain(self) -> None:
        """Move all records that the journal's files hold by now.

        Raises:
            DatabaseUnavailable: they stay in the journal.
            OSError: so they do when its folder can't be read.
        """
        await self._lock.acquire()
        try:
            await self._drain()
        finally:
            self._lock.release()

    async def _stop(self) -> None:
        if await self._loop.stop():  # a move under way ends first
            await self._try_drain()

    async def _tick(self) -> None:
        is_due = self._clock.seconds() - self._drained_at >= self._interval_s()
        if is_due or self._is_half_full():
            await self._try_drain()

    def _is_half_full(self) -> bool:
        return 0 < self._limit_bytes <= 2 * self.backlog().waiting_bytes

    async def _try_drain(self) -> None:
        try:
            await self.drain()
        except (DatabaseUnavailable, OSError) as error:
            self._job.failed(self._clock.seconds(), error, self._next_at())
            if self._pace.due(self._clock.seconds()):
                self.log.error("Request logs wait in the journal: {reason}", reason=str(error))
        except Exception as error:  # a LoopingCall ends with its first unhandled error
            self._job.failed(self._clock.seconds(), error, self._next_at())
            if self._pace.due(self._clock.seconds()):
                self.log.failure("Request logs wait in the journal")
        else:
            self._job.succeeded(self._clock.seconds(), self._next_at())
            self._pace.reset()

    def _next_at(self) -> float:
        return self._drained_at + self._interval_s()

    def backlog(self) -> Backlog:
        """What the journal's files hold that the database doesn't have yet."""
        known = self._offsets or {}
        paths = list(self._directory.glob(PATTERN))
        waiting = 0
        for path in paths:
            try:
                waiting += max(0, path.stat().st_size - known.get(path.name, 0))
            except FileNotFoundError:
                continue  # it has been moved meanwhile
        return Backlog(waiting, len(paths))

    async def _drain(self) -> None:
        self._drained_at = self._clock.seconds()
        if self._offsets is None:
            self._offsets = await self._database.read(queries.positions)
            gone = [name for name in self._offsets if not (self._directory / name).exists()]
            await self._forget(gone)
        offsets = self._offsets
        gone = []
        for path in sorted(self._directory.glob(PATTERN)):
            size = path.stat().st_size
            # Also asked when nothing is new: the segment may be complete by now.
            if offsets.get(path.name, 0) >= size and not _is_complete(path):
                continue
            while True:
                step = await self._database.write(_move, path)
                self._report(path, step)
                for group_id, spent in step.spent.items():
                    self.spent.setdefault(group_id, Spending()).add(spent)
                if step.is_gone:
                    gone.append(path.name)
                    break
                former, offsets[path.name] = offsets.get(path.name, 0), step.offset
                # A complete one goes by the next step: a full journal waits for its room.
                if step.offset == former or (step.offset >= size and not _is_complete(path)):
                    break
        await self._forget(gone)

    async def _forget(self, names: list[str]) -> None:
        # Only after its file is gone: a segment without a position is read from its start.
        if names:
            await self._database.write(queries.forget, names)
            for name in names:
                if self._offsets is not None:
                    self._offsets.pop(name, None)

    def _report(self, path: Path, step: Step) -> None:
        if step.unreadable:
            self.log.warn(
                "Journal {name}: {count} lines are no records, as after a crash in mid-write",
                name=path.name,
                count=step.unreadable,
            )
        for record_id, reason in step.refused:
            self.log.error(
                "The database refuses record {id} ({reason}); it is left out",
                id=record_id,
                reason=reason,
            )


def _move(connection: Connection, path: Path) -> Step:
    """Move the next slice of one segment; delete the segment when that was its end."""
    offset = queries.position(connection, path.name)
    with path.open("rb") as file:
        # Before reading: what is complete now can't grow while we read.
        complete = _locks(file.fileno())
        lines, at_end = _next_lines(file.fileno(), offset, complete)
    if lines:
        offset += len(lines)
        count = lines.count(b"\n") + (not lines.endswith(b"\n"))
        records = [record for record in decode(lines) if _is_sound(record)]
        moved = queries.move(connection, records, path.name, offset)
        # Deleting has to wait for the commit, so for the next step.
        return Step(offset, False, count - len(records), moved.refused, moved.spent)
    if complete and at_end:
        path.unlink(missing_ok=True)
        return Step(offset, is_gone=True)
    return Step(offset)


def _next_lines(descriptor: int, offset: int, complete: bool) -> tuple[bytes, bool]:
    """Up to `SLICE_LINES` whole lines from `offset` on, and whether nothing comes after them.

    The rest of a complete segment counts as a line even without its end: nobody will
    write that any more.
    """
    data = b""
    while True:
        part = os.pread(descriptor, _READ_BYTES, offset + len(data))
        data += part
        if not part or b"\n" in part:
            break
    ends = data.split(b"\n", SLICE_LINES)
    if len(ends) > SLICE_LINES:
        taken = len(data) - len(ends[-1])
        return data[:taken], False
    if not part and complete:
        return data, True
    whole = data.rfind(b"\n") + 1
    return data[:whole], not part and whole == len(data)


def _is_complete(path: Path) -> bool:
    with path.open("rb") as file:
        return _locks(file.fileno())


def _locks(descriptor: int) -> bool:
    """Whether nobody writes the segment any more: its writer holds a lock on it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:  # held, or a file system without locks: then segments are kept
        return False
    return True


def _is_sound(record: AttemptRecord) -> bool:
    """Whether a line that could be read holds what a record holds."""
    return all(isinstance(value, kind) for value, kind in zip(record, _TYPES, strict=True))
