"""Files that are made while they are sent, at the client's pace; and CSV without formulas."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.logger import Logger
from zope.interface import implementer

# A spreadsheet takes a cell that begins with one of these for a formula.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")

log = Logger()


@implementer(IPushProducer)
class _Gate:
    """Closed while the client has more to read than we want to keep for it."""

    def __init__(self) -> None:
        self._is_open = True
        self._waiting: Deferred[None] | None = None

    def pauseProducing(self) -> None:
        """The buffer is full."""
        self._is_open = False

    def resumeProducing(self) -> None:
        """There is room again."""
        self._is_open = True
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.called:
            waiting.callback(None)

    def stopProducing(self) -> None:
        """The client has gone: who waits is cancelled with the request."""

    async def passed(self) -> None:
        """Returns when there is room."""
        if not self._is_open:
            self._waiting = Deferred()
            await self._waiting


async def download(
    request: Any, parts: AsyncIterator[bytes], content_type: bytes, file_name: str
) -> bytes:
    """Send the parts as one file; what Klein is to write after it.

    A failure can't be told any more once bytes are out, so it breaks the connection off:
    half a file must not look like a whole one.

    Raises:
        GptloadError: the first part can't be had, and nothing has been sent.
    """
    try:
        first = await parts.__anext__()
    except StopAsyncIteration:
        first = b""
    request.setHeader(b"Content-Type", content_type)
    request.setHeader(b"Content-Disposition", f'attachment; filename="{file_name}"'.encode())
    request.setHeader(b"Cache-Control", b"no-store")
    gate = _Gate()
    request.registerProducer(gate, True)
    try:
        request.write(first)
        async for part in parts:
            await gate.passed()
            request.write(part)
    except CancelledError:
        raise
    except Exception:
        log.failure("A download was broken off: {path}", path=request.path)
        request.channel.forceAbortClient()
        raise CancelledError from None
    finally:
        request.unregisterProducer()
    return b""


def csv_lines(rows: Sequence[Sequence[object]]) -> bytes:
    """Rows as CSV (RFC 4180)."""
    text = io.StringIO()
    csv.writer(text).writerows([[_cell(value) for value in row] for row in rows])
    return text.getvalue().encode("utf-8", "replace")


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)  # a number is no formula, whatever its sign
    text = str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text
