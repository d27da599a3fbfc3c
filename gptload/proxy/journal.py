"""Attempt records on their way to the local disk: what the kernel has, `kill -9` can't take.

Records are appended to **segments**, files of one JSON array a line. A segment is
written by one process, which holds a lock on it for as long as it may grow; whoever
can lock it knows that it is complete. Segments of a process that died are left as
they are: a new process starts a new one, so that a torn last line stands in front of
nothing.

When the disk refuses, records wait in memory up to a bound, later ones are dropped
and counted, the log says so once a minute, and the service serves on.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
from collections import deque
from collections.abc import Callable, Sequence
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
    ) -> None:
        """
        Args:
            directory: made if need be.
            call_later: as the reactor's; not used as long as all is well.
            now: epoch seconds.
            write: as `os.write`.

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
        # Encoded and not yet written: (bytes, records in them). The first may be
        # the rest of a line that was begun; nothing else may be written before it.
        self._blocks: deque[tuple[bytes, int]] = deque()
        self._held_bytes = 0
        self._descriptor = -1
        self._written_bytes = 0
        self._failing = False
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
            self._complain("its disk refuses and memory for waiting records is full")
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
                if self._written_bytes >= self._segment_bytes:
                    self._close_segment()
        except OSError as error:
            self._failing = True
            self._complain(error.strerror or str(error))
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
        # By time, so that names sort; with chance, so that a name never comes back.
        name = f"{int(self._now() * 1000):014d}-{secrets.token_hex(6)}{SUFFIX}"
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

    def _close_segment(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _clean(value: object) -> object:
    """A lone surrogate, which no UTF-8 can spell, as a question mark."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
