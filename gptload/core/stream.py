"""The two ends of a stream: when its first bytes may be released, and how it ended.

The rule of this file: between the two ends nobody looks. An `Opening` reads events
until one carries content, whether or not what came before it had to be released by then;
after that a `Tail` only keeps the last parts, and reads them once, when nothing more comes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import Enum
from typing import Final

from gptload.core.dialects import Sign, is_whole
from gptload.core.sse import Event, EventReader
from gptload.core.usage import said_in

# More than any handshake; whoever sends more without a word of content is let through.
OPENING_LIMIT_BYTES: Final = 64 * 1024

# Of a stream's end so much is kept, or up to twice as much: an end marker or an error, and
# little memory in each of a thousand open streams. A larger last event isn't read.
_KEPT_BYTES: Final = 768

# Where an event, or a line's or an array's next object, can begin.
_BEGINNING: Final = re.compile(rb"\n\r?\n|\r\r|\n(?=\{)")


class Opened(Enum):
    """What a stream's first bytes are."""

    WAIT = "wait"  # a handshake, or part of one: hold it back
    CONTENT = "content"  # release it, and all that follows
    ERROR = "error"  # an error in the place of the first content
    EMPTY = "empty"  # it ended without any content


class Opening:
    """What the first bytes of a stream with status 200 are.

    Reads events, and JSON objects that come as an array, as lines or alone. Anything
    else is content, and so is what grows past the limit. Over with the first answer
    that isn't `WAIT`; who has to release the stream without one may `listen` on.

    Args:
        sign_of: `IProvider.stream_sign`.

    Attributes:
        error: the JSON of the error; empty for any other answer than `ERROR`.
        heard: an event with content has been read. What is content only because nobody
            can read it, or because it is so long, isn't heard.
    """

    __slots__ = ("_limit", "_parts", "_reader", "_sign_of", "_size", "error", "heard")

    def __init__(
        self, sign_of: Callable[[Event], Sign], limit_bytes: int = OPENING_LIMIT_BYTES
    ) -> None:
        self.error = b""
        self.heard = False
        self._sign_of = sign_of
        self._limit = limit_bytes
        self._reader = EventReader(limit_bytes)
        self._parts: list[bytes] = []
        self._size = 0

    @property
    def held(self) -> bytes:
        """All bytes so far, as they came."""
        return b"".join(self._parts)

    def feed(self, data: bytes) -> Opened:
        """Look at the next part. Never answers `EMPTY`: more may come."""
        room = self._limit - self._size
        self._parts.append(data)
        self._size += len(data)
        # Not a byte past the limit, so that it never matters how the stream was cut.
        opened = self._read(self._reader.feed(data[:room]))
        if opened is Opened.WAIT and (len(data) > room or self._reader.too_large):
            self.listen(data[room:])
            return Opened.CONTENT
        return opened

    def released(self) -> bytes:
        """All bytes so far, which are no longer kept."""
        held, self._parts = self.held, []
        return held

    def listen(self, data: bytes) -> bool:
        """Look at a part that comes after the release; it isn't kept.

        Returns:
            Whether this was the last part worth a look: now content is `heard`, or it
            never will be.
        """
        for event in self._reader.feed(data):
            sign = self._sign_of(event)
            if sign is Sign.CONTENT:
                self.heard = True
            if sign is Sign.CONTENT or sign is Sign.ERROR:
                return True
        return self._reader.foreign or self._reader.too_large

    def end(self) -> Opened:
        """Nothing more comes. Never answers `WAIT`."""
        opened = self._read(self._reader.finish())
        return Opened.EMPTY if opened is Opened.WAIT else opened

    def _read(self, events: list[Event]) -> Opened:
        if self._reader.foreign:
            return Opened.CONTENT
        for event in events:
            sign = self._sign_of(event)
            if sign is Sign.CONTENT:
                self.heard = True
                return Opened.CONTENT
            if sign is Sign.ERROR:
                self.error = event.data
                return Opened.ERROR
        return Opened.WAIT


class Tail:
    """Keeps the end of a stream that passes by, and reads it when it's over."""

    __slots__ = ("_is_cut", "_kept")

    def __init__(self) -> None:
        self._kept = b""
        self._is_cut = False

    def seen(self, data: bytes) -> None:
        """This part has passed."""
        # Hot: once a segment.
        kept = self._kept + data if len(data) < _KEPT_BYTES else data
        if len(kept) > 2 * _KEPT_BYTES or kept is data:
            self._is_cut = self._is_cut or len(kept) > _KEPT_BYTES or bool(self._kept)
            kept = kept[-_KEPT_BYTES:]
        self._kept = kept

    @property
    def is_empty(self) -> bool:
        """Nothing has passed at all."""
        return not self._kept

    @property
    def at_event_boundary(self) -> bool:
        """Whether the next byte would begin an event, so that one of ours could stand here."""
        # The stream's start is such a place.
        end = b"\n\n" + self._kept[-3:]
        return end[-3:].replace(b"\r\n", b"\n").replace(b"\r", b"\n").endswith(b"\n\n")

    def usage(self) -> bytes:
        """What it says of tokens last, as `gptload.core.usage` reads it; b"" for nothing."""
        return said_in(self._kept)

    def last_events(self, limit: int = 4) -> list[Event]:
        """The last events, at most `limit`, the last of them maybe without its end.

        Fewer, or none, where an event is larger than what is kept.
        """
        kept = self._kept
        if self._is_cut:
            found = _BEGINNING.search(kept)
            if found is None:
                return []
            kept = kept[found.end() :]
        reader = EventReader(len(kept))
        return (reader.feed(kept) + reader.finish())[-limit:]

    def to_boundary(self) -> bytes | None:
        """What to write so that an event of ours can follow.

        Returns:
            Nothing or an event's end; None where an event is cut within. To end that one
            makes SDKs choke on half a JSON before they read ours: break visibly instead.
        """
        if self.at_event_boundary:
            return b""
        last = self.last_events(1)
        return b"\n\n" if last and is_whole(last[0]) else None
