"""Where an event ends and what it carries.

The rule of this file: how a stream is cut into packets never changes what is read.

Two streams in one reader. Server-sent events by the WHATWG's grammar, with what the
vendors make of it. And JSON objects that stand where an event could: a line each
(Ollama), in an array (Gemini without `alt=sse`), alone (an error in the place of a
stream), or bare between two events (Gemini, when it fails on the way). No field of
an event begins with a brace, so the two can't be taken for each other.

Source: HTML Standard, "Server-sent events".
"""

from __future__ import annotations

import re
from typing import Final

from attrs import frozen

from gptload.core.jsonscan import ends_escaping, string_end

# What may stand between two events, or two elements of an array, and says nothing;
# a byte order mark at a stream's start is one of them.
_BETWEEN: Final = re.compile(rb"[ \t\n,\[\]\xef\xbb\xbf]*")
_BRACKET: Final = re.compile(rb'["{}\[\]]')
_BRACE: Final = 0x7B
_FIELDS: Final = (b"data", b"event", b"id", b"retry", b"")  # the last one is a comment's
_LONGEST_FIELD: Final = len(b"retry:")


@frozen
class Event:
    """One event, as a client's SDK would get it.

    Attributes:
        name: what `event:` says; empty where nothing does.
        data: the data lines joined by LF, or the text of a bare JSON object.
    """

    name: bytes
    data: bytes


class EventReader:
    """Cuts a stream into events. Takes it in parts, cut anywhere.

    An event counts as soon as it has a name or data: SDKs deliver it then, although
    browsers want data. `id`, `retry` and unknown fields are passed over.

    Args:
        limit_bytes: of one event. What is larger is not read, nor what follows it.

    Attributes:
        too_large: an event was, and nothing more will be read.
        foreign: what came before the first event is no event stream: a text, a page,
            something compressed.
    """

    __slots__ = (
        "_after_cr",
        "_any",
        "_brackets",
        "_data",
        "_data_size",
        "_limit",
        "_name",
        "_rest",
        "_rest_size",
        "foreign",
        "too_large",
    )

    def __init__(self, limit_bytes: int) -> None:
        self.too_large = False
        self.foreign = False
        self._limit = limit_bytes
        self._any = False
        self._after_cr = False  # an LF that comes next belongs to it
        self._rest: list[bytes] = []  # a line, or an object, that isn't complete
        self._rest_size = 0
        self._brackets: _Brackets | None = None  # within a bare object
        self._name = b""
        self._data: list[bytes] = []
        self._data_size = 0

    def feed(self, data: bytes) -> list[Event]:
        """The events that this part completes."""
        events: list[Event] = []
        data = self._with_lf(data)
        position, size = 0, len(data)
        while position < size and not self.too_large:
            if self._brackets is not None:
                position = self._read_object(self._brackets, data, position, events)
                continue
            if not (self._rest or self._data or self._name):
                position = _behind_blanks(data, position)
                if position == size:
                    break
                if data[position] == _BRACE:
                    self._brackets = _Brackets()
                    continue
            end = data.find(b"\n", position)
            if end < 0:
                self._keep(data[position:])
                break
            line = data[position:end]
            self._line_ended(self._kept() + line if self._rest else line, events)
            position = end + 1
        return events

    def finish(self) -> list[Event]:
        """The stream is over: an event that lacks only its blank line still counts.

        So does a bare object that lacks its end: what there is of it.
        """
        events: list[Event] = []
        if not self.too_large:
            rest = self._kept()
            if self._brackets is not None:
                self._brackets = None
                self._event(b"", rest, events)
            elif rest:
                self._line_ended(rest, events)
            self._blank_line(events)
        return events

    def _with_lf(self, data: bytes) -> bytes:
        """The part with LF for every way to end a line."""
        if self._after_cr and data:
            self._after_cr = False
            if data[0] == 0x0A:
                data = data[1:]
        if b"\r" in data:
            self._after_cr = data.endswith(b"\r")
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        return data

    def _keep(self, part: bytes) -> None:
        known = self._rest_size
        self._rest.append(part)
        self._rest_size += len(part)
        self.too_large = self._rest_size > self._limit
        if known < _LONGEST_FIELD and self._brackets is None:
            # A text may have no line's end for long: it need not wait for one.
            self._look_at(b"".join(self._rest), is_whole=False)

    def _kept(self) -> bytes:
        kept = b"".join(self._rest)
        self._rest = []
        self._rest_size = 0
        return kept

    def _read_object(
        self, brackets: _Brackets, data: bytes, position: int, events: list[Event]
    ) -> int:
        end = brackets.end_in(data, position)
        self._keep(data[position:end] if end >= 0 else data[position:])
        if end < 0 or self.too_large:
            return len(data)
        self._brackets = None
        self._event(b"", self._kept(), events)
        return end

    def _line_ended(self, line: bytes, events: list[Event]) -> None:
        if not line:
            self._blank_line(events)
            return
        self._look_at(line, is_whole=True)
        if len(line) > self._limit:
            self.too_large = True
            return
        field, _, value = line.partition(b":")
        if value[:1] == b" ":
            value = value[1:]
        if field == b"data":
            self._data.append(value)
            self._data_size += len(value)
            self.too_large = self._data_size > self._limit
        elif field == b"event":
            self._name = value

    def _look_at(self, line: bytes, *, is_whole: bool) -> None:
        if not self._any and _is_foreign(line, is_whole=is_whole):
            self.foreign = True

    def _blank_line(self, events: list[Event]) -> None:
        if self.too_large or not (self._data or self._name):
            return
        self._event(self._name, b"\n".join(self._data), events)
        self._name = b""
        self._data = []
        self._data_size = 0

    def _event(self, name: bytes, data: bytes, events: list[Event]) -> None:
        self._any = True
        events.append(Event(name, data))


class _Brackets:
    """Finds the end of a JSON object that comes in parts."""

    __slots__ = ("_depth", "_escaping", "_in_string")

    def __init__(self) -> None:
        self._depth = 0
        self._in_string = False
        self._escaping = False  # the last part ended in a backslash that escapes

    def end_in(self, data: bytes, position: int) -> int:
        """The place behind the object's last brace; -1 if it goes on after this part."""
        while position < len(data):
            if self._escaping:
                self._escaping = False
                position += 1
            elif self._in_string:
                end = string_end(data, position)
                if end < 0:
                    self._escaping = ends_escaping(data[position:])
                    return -1
                self._in_string = False
                position = end
            else:
                found = _BRACKET.search(data, position)
                if found is None:
                    return -1
                position = found.end()
                if found[0] == b'"':
                    self._in_string = True
                elif found[0] in b"{[":
                    self._depth += 1
                else:
                    self._depth -= 1
                    if self._depth == 0:
                        return position
        return -1


def _is_foreign(line: bytes, *, is_whole: bool) -> bool:
    """Whether no field of an event begins like this."""
    name, colon, _ = line[:_LONGEST_FIELD].partition(b":")
    if colon or is_whole:
        return name not in _FIELDS
    return not any(field.startswith(name) for field in _FIELDS)


def _behind_blanks(data: bytes, position: int) -> int:
    match = _BETWEEN.match(data, position)
    assert match is not None, "it matches nothing, too"
    return match.end()
