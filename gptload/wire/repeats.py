"""Request heads that were read before.

A client's software sends one head for all its calls: from one to the next, often only
the length of the body differs. So a head that comes a second time is kept as it was
understood, without that number, and from then on is one look-up. A head is understood
from its bytes alone, so an equal one is understood alike.
"""

from __future__ import annotations

from typing import Final

from gptload.core.headers import Passing
from gptload.wire.codec import LENGTH_DIGITS, RequestHead, parse_request_head

# What one process may keep: about 4 MB of heads as long as these, whoever sends them.
_HEADS_LIMIT: Final = 512
_HEAD_BYTES: Final = 4096
# Heads that came once: their hashes, since most of those never come again.
_ONCE_LIMIT: Final = 8192

_LENGTH_FIELDS: Final = (b"\r\nContent-Length: ", b"\r\ncontent-length: ")
_NAME_BYTES: Final = len(_LENGTH_FIELDS[0])


class Repeats:
    """Reads request heads, at once those that it has read twice."""

    __slots__ = ("_known", "_once")

    def __init__(self) -> None:
        self._known: dict[bytes, RequestHead] = {}
        self._once: set[int] = set()

    def read(self, head: bytes) -> RequestHead:
        """As `parse_request_head`, which see.

        Raises:
            CodecError: 400, 431, 501 or 505.
        """
        # Hot: once a request.
        rest, length = head, -1
        at = head.find(_LENGTH_FIELDS[0])
        if at < 0:
            at = head.find(_LENGTH_FIELDS[1])
        if at >= 0:
            start = at + _NAME_BYTES
            end = head.find(b"\r\n", start)
            if end < 0:
                end = len(head)
            number = head[start:end]
            if not number.isdigit() or len(number) > LENGTH_DIGITS:
                return parse_request_head(head)
            length = int(number)
            rest = head[:start] + head[end:]
        known = self._known.get(rest)
        if known is not None:
            return known.before(known.content_length if at < 0 else length)
        read = parse_request_head(head)
        if len(rest) <= _HEAD_BYTES:
            self._note(rest, read)
        return read

    def _note(self, rest: bytes, head: RequestHead) -> None:
        once, mark = self._once, hash(rest)
        if mark not in once:
            if len(once) >= _ONCE_LIMIT:
                once.clear()
            once.add(mark)
            return
        once.discard(mark)
        if len(self._known) >= _HEADS_LIMIT:
            self._known.clear()  # those that still come are back after two more
        head.passing = Passing(head.fields)
        self._known[rest] = head
