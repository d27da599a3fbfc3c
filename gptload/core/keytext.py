"""A text full of keys → the keys, in its order.

Keys are taken byte for byte: `|`, `+`, `/` and `=` are part of many of them. What
can't travel in a request's field is refused here, where a person can mend it.
"""

from __future__ import annotations

import json
import re
from array import array
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Final, NoReturn

from attrs import define, field, frozen

from gptload.core.errors import ValidationFailed

_HIDDEN: Final = re.compile(r"\*+|\.{3,}|\u2026")
# Lines of which a report names that many; people mend these, and then see the next.
REPORTED: Final = 100
_LONGEST: Final = 4096
_SETS: Final = 64
_GAPS: Final = re.compile(r"[\s,;]+")
# What editors and browsers put around a text without showing it.
_INVISIBLE: Final = "\ufeff\u200b\u200c\u200d\u2060"
_UNFIT: Final = re.compile(r"[\x00-\x20\x7f\u0080-\u009f]")
_BLANKS: Final = re.compile(r"[ \t\r\n]*")


def split(text: str) -> list[str]:
    """The keys of a text: a JSON array of strings, or words.

    Words are separated by white space, commas or semicolons. Repeats are kept.

    Raises:
        ValidationFailed: it begins like a JSON array and is none, or an element can't
            be a key. The text says which one, and never shows it.
    """
    plain = text.strip().strip(_INVISIBLE).strip()
    words = _array(plain) if plain.startswith("[") else _GAPS.split(plain)
    keys = [word for word in (word.strip().strip(_INVISIBLE) for word in words) if word]
    for number, key in enumerate(keys, 1):
        if len(key) > _LONGEST:
            raise ValidationFailed(f"key {number} is longer than {_LONGEST} characters")
        if _UNFIT.search(key):
            raise ValidationFailed(
                f"key {number} has a blank or a control character inside",
                hint="A key goes into a header field, which can't hold such a character.",
            )
    return keys


def _array(text: str) -> list[str]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise _no_array() from None
    for number, element in enumerate(found, 1):
        if not isinstance(element, str):
            raise ValidationFailed(f"keys_text is a JSON array whose element {number} is no string")
    return list(found)


def _no_array() -> ValidationFailed:
    return ValidationFailed(
        "keys_text begins like a JSON array, but is not valid JSON",
        hint="Mend the array, or write one key a line.",
    )


@frozen
class BadLine:
    """Why a word of a text can't be a key. Never shows it.

    Attributes:
        line: counted from 1; of a JSON array, the element.
    """

    line: int
    reason: str


@define
class Reading:
    """What a text of any size holds.

    Attributes:
        keys: each once, in the text's order.
        lines: of each key, the line where it first stands.
        found: how many words there are, repeats and bad ones too.
        repeated, bad: how many of them; with the first `REPORTED` lines.
    """

    keys: list[bytes] = field(factory=list)
    lines: array[int] = field(factory=lambda: array("L"))
    found: int = 0
    repeated: int = 0
    repeated_lines: list[int] = field(factory=list)
    bad: int = 0
    bad_lines: list[BadLine] = field(factory=list)


def read(pieces: Iterable[str]) -> Reading:
    """Read a text that comes in pieces: a JSON array of strings, or words.

    Unlike `split` it passes bad words over and reports them: one bad line must not
    cost an import of half a million keys. No step takes longer than a piece does, so
    that another thread always gets its turn.

    Raises:
        ValidationFailed: it begins like a JSON array and is none.
    """
    coming = _from_first_word(pieces)
    first = next(coming, "")
    whole = chain((first,), coming)
    words = _elements("".join(whole)) if first.startswith("[") else _words(whole)
    reading = Reading()
    # One set of half a million would hold everybody up each time that it grows.
    seen: list[set[bytes]] = [set() for _ in range(_SETS)]
    for line, raw in words:
        word = raw.strip().strip(_INVISIBLE)
        if not word:
            continue
        reading.found += 1
        try:
            key, reason = word.encode(), _unfitness(word)
        except UnicodeEncodeError:
            key, reason = b"", "half a surrogate pair is no character"
        if reason:
            reading.bad += 1
            if len(reading.bad_lines) < REPORTED:
                reading.bad_lines.append(BadLine(line, reason))
        elif key in (known := seen[hash(key) % _SETS]):
            reading.repeated += 1
            if len(reading.repeated_lines) < REPORTED:
                reading.repeated_lines.append(line)
        else:
            known.add(key)
            reading.keys.append(key)
            reading.lines.append(line)
    return reading


def _unfitness(word: str) -> str:
    if len(word) > _LONGEST:
        return f"longer than {_LONGEST} characters"
    if _UNFIT.search(word):
        return "a blank or a control character inside"
    return ""


def _from_first_word(pieces: Iterable[str]) -> Iterator[str]:
    """The pieces, without what stands invisibly before the first word; newlines stay."""
    coming, lines = iter(pieces), 0
    for piece in coming:
        bare = piece.lstrip().lstrip(_INVISIBLE).lstrip()
        lines += piece[: len(piece) - len(bare)].count("\n")
        if bare:
            yield bare if bare.startswith("[") else "\n" * lines + bare
            yield from coming
            return


def _words(pieces: Iterable[str]) -> Iterator[tuple[int, str]]:
    """Words with their lines; one that two pieces share stays whole."""
    line, tail = 1, ""
    for piece in pieces:
        *whole, last = (tail + piece).split("\n")
        for text in whole:
            for word in _GAPS.split(text):
                yield line, word
            line += 1
        *words, tail = _GAPS.split(last)
        for word in words:
            yield line, word
        # Longer than any key already: no need to carry all of it from piece to piece.
        tail = tail[: 2 * _LONGEST]
    yield line, tail


def _elements(text: str) -> Iterator[tuple[int, str]]:
    """The strings of a JSON array one by one: reading it at once would take too long."""
    decoder, position, number = json.JSONDecoder(), 1, 0
    while True:
        position = _BLANKS.match(text, position).end()  # type: ignore[union-attr]
        if not number and text[position : position + 1] == "]":
            break
        number += 1
        if text[position : position + 1] != '"':
            _refuse_element(text, position, number)
        try:
            element, position = decoder.raw_decode(text, position)
        except ValueError:
            raise _no_array() from None
        yield number, element
        position = _BLANKS.match(text, position).end()  # type: ignore[union-attr]
        mark = text[position : position + 1]
        if mark == "]":
            break
        if mark != ",":
            raise _no_array()
        position += 1
    if text[position + 1 :].strip().strip(_INVISIBLE).strip():
        raise _no_array()


def _refuse_element(text: str, position: int, number: int) -> NoReturn:
    try:
        json.JSONDecoder().raw_decode(text, position)
    except (ValueError, RecursionError):
        raise _no_array() from None
    raise ValidationFailed(f"keys_text is a JSON array whose element {number} is no string")


def ends(mask: str) -> tuple[bytes, bytes]:
    """What a masked key shows: how the key begins and how it ends; either may be empty.

    Args:
        mask: as people see keys: `sk-p****wxyz`, `sk-p...wxyz`, `…wxyz`. Without such a
            mark it's an ending.
    """
    found = _HIDDEN.search(mask)
    first, last = ("", mask) if found is None else (mask[: found.start()], mask[found.end() :])
    return first.encode("utf-8", "replace"), last.encode("utf-8", "replace")
