"""Attempt records on their way to the local disk: what the kernel has, `kill -9` can't take.

Records are appended to **segments**, files of one JSON array a line. A segment is
written by one process, which holds a lock on it for as long as it may grow; whoever
can lock it knows that it is complete. Segments of a process that died are left as
they are: a new process starts a new one, so that a torn last line stands in front of
nothing.

When the disk refuses, or the segments are as large together as the operator allows,
records wait in memory up to a bound, later ones are dropped and counted, the log says
so once a minute, and the service serves on.

It is the newest that are dropped. What was written once is safe, and never taken back
from under whoever moves it; and a log that lacks one span of time, whose beginning and
end are in our log and whose records are counted one by one, is one people can reason
about.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
from collections import deque
from collections.abc import Callable, Sequence
from math import inf
from pathlib import Path

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from gptload.core.pace import Pace
from gptload.core.record import AttemptRecord, encode

SUFFIX = ".jsonl"
SEGMENT_BYTES = 16 * 1024 * 1024
# What may wait in memory while the disk refuses.
WAITING_BYTES = 32 * 1024 * 1024
RETRY_S = 1.0
# Waiting blocks grow to this, so that the recovered disk sees few large writes.
BLOCK_BYTES = 64 * 1024


class Journal:
    """Takes one record an attempt; the kernel has it when `append` returns.

    So whoever has read an answer to its end finds it in the log, whatever happens next:
    `gptload.proxy.turn` hands it on before that. Records given together share a write.
    """

    log = Logger()

    def __init__(
        self,
        directory: Path,
        call_later: Callable[[float, Callable[[], None]], IDelayedCall],
        now: Callable[[], float],
        *,
        write: Callable[[int, bytes], int] = os.write,
        segment_bytes: int = SEGMENT_BYTES,
        waiting_bytes: int = WAITING_BYTES,
        limit_bytes: int = 0,
    ) -> None:
        """
        Args:
            directory: made if need be.
            call_later: as the reactor's; not used as long as all is well.
            now: epoch seconds.
            write: as `os.write`.
            limit_bytes: of all segments in the directory, whoever writes them; 0 for no
                limit. One that another process is about to fill counts as it is now.

        Raises:
            OSError: the directory can't be made.
        """
        directory.mkdir(parents=True, exist_ok=True)
        self.dropped = 0
        self._directory = directory
        self._call_later = call_later
        self._now = now
        self._write = write
        self._segment_bytes = segment_bytes
        self._waiting_bytes = waiting_bytes
        self._limit_bytes = limit_bytes
        # Where this segment ends: what the limit leaves is measured once, when it is opened.
        self._end_bytes: float = segment_bytes
        # Encoded and not yet written: (bytes, records in them). The first may be
        # the rest of a line that was begun; nothing else may be written before it.
        self._blocks: deque[tuple[bytes, int]] = deque()
        self._held_bytes = 0
        self._descriptor = -1
        self._named_ms = 0  # the newest segment's name
        self._written_bytes = 0
        self._failing = False
        self._refusal = ""
        self._retry_call: IDelayedCall | None = None
        self._lost = 0
        self._pace = Pace()

    @property
    def held_bytes(self) -> int:
        """Bytes of records that wait in memory."""
        return self._held_bytes

    def append(self, record: AttemptRecord) -> None:
        """Keep a record: on the disk now, or in memory while the disk refuses."""
        self.extend((record,))

    def extend(self, records: Sequence[AttemptRecord]) -> None:
        """Keep several by one write."""
        # Hot: once a reactor turn.
        try:
            data, count = encode(records), len(records)
        except TypeError:  # orjson's error is one
            lines = [line for record in records if (line := self._encoded(record)) is not None]
            data, count = b"".join(lines), len(lines)
        if self._held_bytes + len(data) <= self._waiting_bytes:
            self._hold(data, count)
        elif len(records) > 1:
            for record in records:
                self.append(record)
            return
        else:
            self._lost += 1
            self.dropped += 1
            self._complain(f"{self._refusal}, and memory for waiting records is full")
            return
        # While the disk refuses, only the retry asks it again.
        if not self._failing:
            self._flush()

    def _hold(self, data: bytes, count: int) -> None:
        self._held_bytes += len(data)
        if self._blocks and len(self._blocks[-1][0]) < BLOCK_BYTES:
            waiting, more = self._blocks.pop()
            data, count = waiting + data, more + count
        if data:
            self._blocks.append((data, count))

    def close(self) -> None:
        """Write what waits, then let the segment go. Nothing may be appended after it."""
        self._limit_bytes = 0  # it is little, and has no other place left
        self._flush()
        if self._held_bytes:
            count = sum(records for _, records in self._blocks)
            self.log.error("Journal closed with {count} records unwritten", count=count)
        if self._retry_call is not None:
            self._retry_call.cancel()
            self._retry_call = None
        self._close_segment()

    def _encoded(self, record: AttemptRecord) -> bytes | None:
        """The same for one that may have a text that is not Unicode."""
        try:
            return encode((AttemptRecord._make(map(_clean, record)),))
        except TypeError:
            self.dropped += 1
            self.log.error("Journal dropped a record that can't be encoded")
            return None

    def _flush(self) -> None:
        try:
            while self._blocks:
                if self._descriptor < 0:
                    self._open_segment()
                data, records = self._blocks[0]
                count = self._write(self._descriptor, data)
                if not count:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                self._held_bytes -= count
                self._written_bytes += count
                if count < len(data):
                    self._blocks[0] = (data[count:], records)
                    continue
                self._blocks.popleft()
                if self._written_bytes >= self._end_bytes:
                    self._close_segment()
        except OSError as error:
            self._failing = True
            self._refusal = error.strerror or str(error)
            self._complain(self._refusal)
            if self._retry_call is None:
                self._retry_call = self._call_later(RETRY_S, self._retry)
        else:
            if self._failing:
                self._recovered()

    def _retry(self) -> None:
        self._retry_call = None
        self._flush()

    def _complain(self, reason: str) -> None:
        if self._pace.due(self._now()):
            self.log.error(
                "Journal can't be written ({reason}); {kept} bytes of records wait in memory, "
                "{lost} records were lost. Requests are served all the same.",
                reason=reason,
                kept=self._held_bytes,
                lost=self._lost,
            )

    def _recovered(self) -> None:
        self._failing = False
        self._pace.reset()
        self.log.warn("Journal is written again; {lost} records were lost", lost=self._lost)
        self._lost = 0

    def _open_segment(self) -> None:
        end_bytes = min(self._segment_bytes, self._room_bytes())
        if end_bytes <= 0:
            raise OSError("it is as large as JOURNAL_MAX_MB allows")
        # By time, so that names sort, also those of one moment or of a clock that was set
        # back; with chance, so that a name never comes back.
        self._named_ms = max(int(self._now() * 1000), self._named_ms + 1)
        name = f"{self._named_ms:014d}-{secrets.token_hex(6)}{SUFFIX}"
        # Readers must not see a segment before it is locked, or they take it for complete.
        hidden = self._directory / f".{name}"
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL
        descriptor = os.open(hidden, flags, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.rename(hidden, self._directory / name)
        except OSError:
            os.close(descriptor)
            hidden.unlink(missing_ok=True)
            raise
        self._descriptor = descriptor
        self._written_bytes = 0
        self._end_bytes = end_bytes

    def _room_bytes(self) -> float:
        """What may be written until the journal is as large as is allowed."""
        if not self._limit_bytes:
            return inf
        used = 0
        with os.scandir(self._directory) as entries:
            for entry in entries:
                try:
                    used += entry.stat().st_size
                except FileNotFoundError:
                    continue  # it has been moved meanwhile
        return self._limit_bytes - used

    def _close_segment(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _clean(value: object) -> object:
    """A lone surrogate, which no UTF-8 can spell, as a question mark."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
