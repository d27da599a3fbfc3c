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

from gptload.core.jsonscan import ends_escaping, mended, string_end, text_of

# A model's name, or a member's, is never longer; what is longer is neither.
CAPTURE_LIMIT: Final = 4096
_PARTS_LIMIT: Final = 64
# What counts within a nested value, and what counts among the members themselves.
_NESTED_MARK: Final = re.compile(rb'["{}\[\]]')
_MEMBER_MARK: Final = re.compile(rb'["{}\[\],:]')
_PART_NAME: Final = re.compile(rb'\bname=(?:"([^"\r\n]*)"|([^\s;"]+))', re.IGNORECASE)
_FILE_NAME: Final = re.compile(rb"\bfilename\*?=", re.IGNORECASE)
_BOUNDARY: Final = re.compile(rb'\bboundary=(?:"([^"]+)"|([^\s;,]+))', re.IGNORECASE)


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


class _AskedRaw(msgspec.Struct):
    model: msgspec.Raw = msgspec.Raw(b"null")
    stream: msgspec.Raw = msgspec.Raw(b"null")


_DECODER: Final = msgspec.json.Decoder(_Asked)
_RAW_DECODER: Final = msgspec.json.Decoder(_AskedRaw)
_NOTHING: Final = Peeked("", False)


def peek(body: bytes) -> Peeked:
    """Look into a complete JSON body. What can't be read asks for nothing."""
    # Hot: once a request.
    try:
        asked = _DECODER.decode(body)
    except RecursionError:
        return _NOTHING
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _peek_again(body)
    model = asked.model
    return Peeked(model if type(model) is str else "", asked.stream is True)


def _peek_again(body: bytes) -> Peeked:
    """For what msgspec is too strict about: half an emoji, a number past all floats."""
    try:
        asked = _RAW_DECODER.decode(mended(body))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _NOTHING
    return Peeked(text_of(bytes(asked.model)), bytes(asked.stream) == b"true")


def multipart_model(body: bytes, content_type: bytes) -> Peeked:
    """Look into a complete multipart form (RFC 7578) for plain `model` and `stream` fields.

    Files are skipped by their boundary, and of a form with very many parts only the
    first are looked at.
    """
    found = _BOUNDARY.search(content_type)
    if found is None:
        return _NOTHING
    model, stream = "", False
    delimiter = b"--" + (found[1] or found[2])
    position = 0 if body.startswith(delimiter) else body.find(b"\r\n" + delimiter)
    for _ in range(_PARTS_LIMIT):
        if position < 0:
            break
        start = body.find(b"\r\n", position + 2) + 2  # behind the boundary's line
        position = body.find(b"\r\n" + delimiter, start)
        head_end = body.find(b"\r\n\r\n", start, start + CAPTURE_LIMIT)
        if start < 2 or position < 0 or head_end < 0:
            continue
        head = body[start:head_end]
        name = _PART_NAME.search(head)
        if name is None or _FILE_NAME.search(head) or position - head_end > CAPTURE_LIMIT:
            continue
        value = body[head_end + 4 : position].strip()
        if b"model" in name.groups():
            model = value.decode("utf-8", "replace")
        elif b"stream" in name.groups():
            stream = value.lower() in (b"true", b"1")
    return Peeked(model, stream)


class Peeker:
    """Looks at a JSON object that comes in parts, cut anywhere.

    It doesn't judge: of valid JSON it tells what `peek` tells (but for names past
    `CAPTURE_LIMIT` bytes), of anything else something or nothing.

    Attributes:
        model, stream: as far as they have been seen; of several the last counts.
    """

    __slots__ = (
        "_capture",
        "_depth",
        "_escaping",
        "_in_string",
        "_is_key",
        "_key",
        "_literal",
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
        self._escaping = False  # the last part ended in a backslash that escapes
        self._is_key = False  # at depth 1: a name is due, not a value
        self._key = ""
        self._capture: bytearray | None = None  # a string that may be asked for
        self._literal: bytearray | None = None  # what stands for `stream`

    def feed(self, data: bytes) -> None:
        """Look at the next part."""
        position, size = 0, len(data)
        while position < size and self._usable:
            if self._in_string:
                position = self._string(data, position)
            else:
                position = self._structure(data, position)

    def _string(self, data: bytes, position: int) -> int:
        if self._escaping:
            self._escaping = False
            self._keep(data[position : position + 1])
            return position + 1
        end = string_end(data, position)
        if end < 0:
            rest = data[position:]
            self._keep(rest)
            self._escaping = ends_escaping(rest)
            return len(data)
        if self._capture is not None:
            self._keep(data[position : end - 1])
        self._in_string = False
        if self._depth == 1:
            self._string_ended()
        return end

    def _structure(self, data: bytes, position: int) -> int:
        found = (_NESTED_MARK if self._depth > 1 else _MEMBER_MARK).search(data, position)
        end = found.start() if found else len(data)
        if self._depth == 0 and data[position:end].strip():
            self._usable = False  # not an object: an array, a form, a file
            return end
        if self._literal is not None and len(self._literal) < CAPTURE_LIMIT:
            self._literal += data[position:end]
        if found is None:
            return end
        mark = found[0]
        if self._depth == 0:
            self._usable = mark == b"{"
            self._is_key = True
            self._depth = 1
        elif mark == b'"':
            self._in_string = True
            wanted = self._depth == 1 and (self._is_key or self._key == "model")
            self._capture = bytearray() if wanted else None
        elif mark in b"{[":
            self._depth += 1
            self._literal = None
        elif mark in b"}]":
            if self._depth == 1:
                self._member_ended()
                self._usable = False  # complete; what follows isn't part of it
            self._depth -= 1
        elif mark == b",":
            self._member_ended()
            self._is_key = True
        elif self._is_key:  # :
            self._is_key = False
            if self._key == "model":
                self.model = ""
            elif self._key == "stream":
                self.stream = False
                self._literal = bytearray()
        return end + 1

    def _keep(self, data: bytes) -> None:
        if self._capture is not None:
            self._capture += data
            if len(self._capture) > CAPTURE_LIMIT:
                self._capture = None

    def _string_ended(self) -> None:
        capture, self._capture = self._capture, None
        text = text_of(b'"' + bytes(capture) + b'"') if capture is not None else ""
        if self._is_key:
            self._key = text
        elif self._key == "model":
            self.model = text

    def _member_ended(self) -> None:
        if self._literal is not None:
            self.stream = self._literal.strip() == b"true"
            self._literal = None
