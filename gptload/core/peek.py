"""Find model and stream without parsing the body.

A body that is kept goes through msgspec, which skips what isn't asked for at C
speed and is exact about depth, escapes and repeated names. One that only passes
through goes through `Peeker`, which needs no more of it than the part at hand:
SDKs put the model behind the messages, so its place is often the tail.
"""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

import msgspec

# A model's name, or a member's, is never longer; what is longer is neither.
_CAPTURE_LIMIT: Final = 1024
_QUOTE: Final = re.compile(rb'["\\]')
_MARK: Final = re.compile(rb'["{}\[\],:]')
_PART_NAME: Final = re.compile(rb'\bname="([^"\r\n]*)"', re.IGNORECASE)
_FILE_NAME: Final = re.compile(rb"\bfilename\*?=", re.IGNORECASE)
_BOUNDARY: Final = re.compile(rb'\bboundary=(?:"([^"]+)"|([^\s;,]+))', re.IGNORECASE)
_PARTS_LIMIT: Final = 64


class Peeked(NamedTuple):
    """What a request asks for.

    Attributes:
        model: empty when there is none.
        stream: whether it wants the answer as a stream.
    """

    model: str
    stream: bool


class _Asked(msgspec.Struct):
    model: Any = None
    stream: Any = None


_DECODER: Final = msgspec.json.Decoder(_Asked)
_NOTHING: Final = Peeked("", False)


def peek(body: bytes) -> Peeked:
    """Look into a complete JSON body. What can't be read asks for nothing."""
    try:
        asked = _DECODER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _NOTHING
    model = asked.model
    return Peeked(model if type(model) is str else "", asked.stream is True)


def multipart_model(body: bytes, content_type: bytes) -> Peeked:
    """Look into a complete multipart form (RFC 7578) for plain `model` and `stream` parts."""
    found = _BOUNDARY.search(content_type)
    if found is None:
        return _NOTHING
    model, stream = "", False
    delimiter = b"--" + (found[1] or found[2])
    position = body.find(delimiter)
    for _ in range(_PARTS_LIMIT):
        if position < 0:
            break
        start = position + len(delimiter)
        position = body.find(delimiter, start)
        head_end = body.find(b"\r\n\r\n", start, start + 4 * _CAPTURE_LIMIT)
        if position < 0 or head_end < 0:
            continue
        head = body[start:head_end]
        name = _PART_NAME.search(head)
        if name is None or _FILE_NAME.search(head) or position - head_end > _CAPTURE_LIMIT:
            continue
        value = body[head_end + 4 : position].strip()
        if name[1] == b"model":
            model = value.decode("utf-8", "replace")
        elif name[1] == b"stream":
            stream = value.lower() in (b"true", b"1")
    return Peeked(model, stream)


class Peeker:
    """Looks at a JSON object that comes in parts, cut anywhere.

    Attributes:
        model, stream: as far as they have been seen; of several the last counts.
    """

    __slots__ = (
        "_capture",
        "_depth",
        "_in_string",
        "_is_key",
        "_key",
        "_literal",
        "_rest",
        "_usable",
        "model",
        "stream",
    )

    def __init__(self) -> None:
        self.model = ""
        self.stream = False
        self._usable = True
        self._depth = 0
        self._in_string = False
        self._is_key = False  # at depth 1: a name is due, not a value
        self._key = ""
        self._capture: bytearray | None = None
        self._literal: bytearray | None = None
        self._rest = b""

    def feed(self, data: bytes) -> None:
        """Look at the next part."""
        if not self._usable:
            return
        if self._rest:
            data, self._rest = self._rest + data, b""
        position = 0
        size = len(data)
        while position < size and self._usable:
            if self._in_string:
                position = self._string(data, position)
            else:
                position = self._structure(data, position)

    def _string(self, data: bytes, position: int) -> int:
        found = _QUOTE.search(data, position)
        end = found.start() if found else len(data)
        self._keep(data[position:end])
        if found is None:
            return end
        if data[end] == 0x22:
            self._in_string = False
            self._string_ended()
            return end + 1
        if end + 1 == len(data):
            self._rest = data[end:]  # the escaped character is still to come
            return len(data)
        self._keep(data[end : end + 2])
        return end + 2

    def _structure(self, data: bytes, position: int) -> int:
        found = _MARK.search(data, position)
        end = found.start() if found else len(data)
        if self._depth == 0 and data[position:end].strip():
            self._usable = False  # not an object: an array, a form, a file
            return end
        if self._literal is not None and len(self._literal) < _CAPTURE_LIMIT:
            self._literal += data[position:end]
        if found is None:
            return end
        mark = data[end]
        if mark == 0x22:  # "
            if self._depth == 0:
                self._usable = False
            self._in_string = True
            wanted = self._depth == 1 and (self._is_key or self._key == "model")
            self._capture = bytearray() if wanted else None
        elif mark in b"{[":
            if self._depth == 0 and mark != 0x7B:
                self._usable = False
            self._depth += 1
            self._is_key = self._depth == 1
            self._literal = None
        elif mark in b"}]":
            self._member_ended()
            self._depth -= 1
            if self._depth == 0:
                self._usable = False  # complete; what follows isn't part of it
        elif self._depth == 1 and mark == 0x2C:  # ,
            self._member_ended()
            self._is_key = True
        elif self._depth == 1 and self._is_key:  # :
            self._is_key = False
            self._literal = bytearray() if self._key == "stream" else None
            if self._key == "model":
                self.model = ""
            elif self._key == "stream":
                self.stream = False
        return end + 1

    def _keep(self, data: bytes) -> None:
        if self._capture is not None:
            self._capture += data
            if len(self._capture) > _CAPTURE_LIMIT:
                self._capture = None

    def _string_ended(self) -> None:
        if self._depth != 1:
            return
        capture, self._capture = self._capture, None
        text = ""
        if capture is not None:
            try:
                text = msgspec.json.decode(b'"%b"' % bytes(capture), type=str)
            except (msgspec.DecodeError, UnicodeDecodeError):
                text = ""
        if self._is_key:
            self._key = text
        elif self._key == "model":
            self.model = text

    def _member_ended(self) -> None:
        if self._depth == 1 and self._literal is not None:
            self.stream = self._literal.strip() == b"true"
            self._literal = None
