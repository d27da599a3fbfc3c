"""Find where the members of a JSON object stand, without building what they say.

What `peek` and `rewrite` share. A body of megabytes costs a few steps a member:
strings are skipped from quote to quote, and where a nested value ends is learnt
from msgspec, which has walked over it in C anyway.
"""

from __future__ import annotations

import json
import re
from typing import Final, NamedTuple

import msgspec

# No request has so many, and each costs the reactor two microseconds.
MEMBERS_LIMIT: Final = 10_000

_BLANKS: Final = re.compile(rb"[ \t\r\n]*")
_COLON: Final = re.compile(rb"[ \t\r\n]*:[ \t\r\n]*")
_LITERAL: Final = re.compile(rb"[^ \t\r\n,}]+")
# An escaped backslash and a whole surrogate pair are there to be passed over.
_SURROGATE: Final = re.compile(
    rb"\\\\|\\u[dD][89abAB]..\\u[dD][c-fC-F]..|\\u[dD][89a-fA-F]..", re.DOTALL
)
_HALF_LENGTH: Final = len(rb"\ud83d")
_QUOTE: Final = 0x22
_BACKSLASH: Final = 0x5C
_COMMA: Final = 0x2C

_RAW_DECODER: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_TEXT_DECODER: Final = msgspec.json.Decoder(str)
# For the places of values only. Numbers stay text: they may have any number of digits.
_PLACES: Final = json.JSONDecoder(parse_int=str, parse_float=str)


class Member(NamedTuple):
    """A top-level member: its name, and where its value begins and ends."""

    name: str
    start: int
    end: int


def members(body: bytes) -> list[Member] | None:
    """All top-level members in order, repeated names too.

    Returns:
        None if it isn't a JSON object that we can read: invalid, nested deeper than
        Python's stack, or of more than `MEMBERS_LIMIT` members.
    """
    try:
        values = _RAW_DECODER.decode(body)
    except RecursionError:
        return None
    except (msgspec.DecodeError, UnicodeDecodeError):
        body = mended(body)
        try:
            values = _RAW_DECODER.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
    found: list[Member] = []
    text = ""
    position = body.index(b"{") + 1
    while len(found) < MEMBERS_LIMIT:
        position = _behind(_BLANKS, body, position)
        if body[position] != _QUOTE:
            return found  # the closing brace of an empty object
        name_end = string_end(body, position + 1)
        name = text_of(body[position:name_end])
        start = _behind(_COLON, body, name_end)
        if body[start] not in b'"{[':
            end = _behind(_LITERAL, body, start)
        else:
            value = bytes(values[name])
            end = start + len(value)
            if not body.startswith(value, start):
                # Of a repeated name msgspec keeps the last value, and this is another
                # one. (No string, array or object begins with a whole other one.)
                text = text or body.decode("latin-1")  # a character a byte
                try:
                    end = _PLACES.raw_decode(text, start)[1]
                except RecursionError:  # its limit isn't quite msgspec's
                    return None
        found.append(Member(name, start, end))
        position = _behind(_BLANKS, body, end)
        if body[position] != _COMMA:
            return found
        position += 1
    return None


def mended(body: bytes) -> bytes:
    r"""The same JSON with U+FFFD for half surrogate pairs, byte for byte as long.

    Chat clients cut texts in the middle of an emoji and send `\ud83d` alone. JSON's
    grammar allows that (RFC 8259 §8.2) and so do providers, but msgspec doesn't.
    """
    return _SURROGATE.sub(
        lambda found: rb"\ufffd" if len(found[0]) == _HALF_LENGTH else found[0], body
    )


def text_of(token: bytes) -> str:
    """The text of a JSON string, quotes included; empty for any other value."""
    if token[:1] != b'"':
        return ""
    try:
        return _TEXT_DECODER.decode(token)
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass
    try:
        return _TEXT_DECODER.decode(mended(token))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""


def string_end(data: bytes, position: int) -> int:
    """The place behind the closing quote; -1 when it isn't there.

    Args:
        position: within the string, at no escaped character.
    """
    while True:
        end = data.find(b'"', position)
        if end < 0:
            return -1
        if data[end - 1] != _BACKSLASH or not ends_escaping(data[position:end]):
            return end + 1
        position = end + 1


def ends_escaping(text: bytes) -> bool:
    """Whether the character behind this part of a string is escaped."""
    return (len(text) - len(text.rstrip(b"\\"))) % 2 == 1


def _behind(pattern: re.Pattern[bytes], body: bytes, position: int) -> int:
    match = pattern.match(body, position)
    assert match is not None, "only valid JSON is walked over"
    return match.end()
