"""Bodies that hold hundreds of thousands of keys: JSON, or a form with a file.

They are read in a thread, and in pieces: one call that decodes fifty megabytes would
hold up the reactor's thread as well, as only one thread runs Python at a time.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterable, Iterator
from typing import IO, Final

from attrs import define, field, frozen
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.http import parse_options_header
from werkzeug.sansio.multipart import Data, Epilogue, Field, File, MultipartDecoder, NeedData

from gptload.control.admin.requests import checked, decoded, identifier, whole_number
from gptload.control.admin.schemas import NewKeyText
from gptload.core import keytext
from gptload.core.errors import BadRequest, InvalidJson, ValidationFailed
from gptload.core.keytext import Reading

PIECE_BYTES: Final = 64 * 1024
# What a body may hold beside the keys' text.
_REST_BYTES: Final = 1024 * 1024
_PARTS: Final = 100
# The longest escape is a surrogate pair: twelve characters.
_ESCAPE: Final = 12
_TEXT: Final = re.compile(rb'"keys_text"[ \t\r\n]*:[ \t\r\n]*"')
_MARK: Final = "keys stand here"


@frozen
class Upload:
    """A group, and the text of its keys.

    Attributes:
        reading: the error to be told, if the text is none that has keys in it. It is
            told after others, so it is kept here.
        notes, weight: of the keys that an import adds.
    """

    group_id: int
    reading: Reading | ValidationFailed
    notes: str = ""
    weight: int | None = None


def read_upload(content: IO[bytes], content_type: str) -> Upload:
    """Read a request's body. Takes a second for half a million keys: call it in a thread.

    Raises:
        BadRequest, InvalidJson, ValidationFailed: the body is not as it should be.
    """
    raw = content.read()
    kind, options = parse_options_header(content_type)
    if kind != "multipart/form-data":
        return _json(raw)
    return _form(raw, options.get("boundary", ""))


def _reading(pieces: Iterable[str]) -> Reading | ValidationFailed:
    watched = _Watched(iter(pieces))
    try:
        reading = keytext.read(watched)
    except ValidationFailed as error:
        return error
    if watched.is_blank:
        return ValidationFailed("Keys text cannot be empty")
    if not reading.found:
        return ValidationFailed("no valid keys found in the input text")
    return reading


@define
class _Watched:
    """Pieces of a text, and whether there was nothing but blanks in them."""

    pieces: Iterator[str]
    is_blank: bool = field(default=True, init=False)

    def __iter__(self) -> Iterator[str]:
        for piece in self.pieces:
            self.is_blank = self.is_blank and not piece.strip()
            yield piece


# JSON.


def _json(raw: bytes) -> Upload:
    place = _text_place(raw)
    if place is not None and len(raw) - (place[1] - place[0]) <= _REST_BYTES:
        start, end = place
        given = checked(decoded(raw[:start] + _MARK.encode() + raw[end:]), NewKeyText)
        # Else there is a second text, and the last one counts.
        if given.keys_text == _MARK and start < end:
            reading = _reading(_unescaped(raw, start, end))
            return Upload(given.group_id, reading, given.notes, given.weight)
    given = checked(decoded(raw), NewKeyText)
    return Upload(given.group_id, _reading([given.keys_text]), given.notes, given.weight)


def _text_place(raw: bytes) -> tuple[int, int] | None:
    """Where the text of `keys_text` begins and ends; None where nothing looks like it."""
    found = _TEXT.search(raw)
    if found is None:
        return None
    position = found.end()
    while True:
        quote = raw.find(b'"', position)
        if quote < 0:
            return None
        before = quote
        while raw[before - 1] == 0x5C:  # a backslash; the text's own quote ends the loop
            before -= 1
        if (quote - before) % 2 == 0:
            return found.end(), quote
        position = quote + 1


def _unescaped(raw: bytes, start: int, end: int) -> Iterator[str]:
    while start < end:
        cut = min(start + PIECE_BYTES, end)
        # Not inside a character, and not inside an escape.
        while cut < end and (raw[cut] & 0xC0 == 0x80 or b"\\" in raw[cut - _ESCAPE : cut]):
            cut += 1
        try:
            yield json.loads('"' + raw[start:cut].decode("utf-8") + '"')
        except UnicodeDecodeError:
            raise InvalidJson("The body is not UTF-8") from None
        except json.JSONDecodeError as error:
            where = start + error.pos
            raise InvalidJson(f"Invalid JSON: {error.msg} near byte {where}") from None
        start = cut


# Forms.


def _form(raw: bytes, boundary: str) -> Upload:
    fields: dict[str, bytearray] = {}
    file_name: str | None = None
    file_pieces: list[bytes] = []
    name = ""
    is_file = False
    for event in _events(raw, boundary):
        if isinstance(event, Field | File):
            name = event.name or ""
            is_file = isinstance(event, File) and name == "file"
            if isinstance(event, File) and is_file:
                file_name, file_pieces = event.filename or "", []
        elif isinstance(event, Data) and is_file:
            file_pieces.append(event.data)
        elif isinstance(event, Data):
            held = fields.setdefault(name, bytearray())
            held += event.data
            if len(held) > _REST_BYTES:
                raise BadRequest("A field of the form is too long")
    texts = {field: held.decode("utf-8", "replace").strip() for field, held in fields.items()}
    number = identifier(texts.get("group_id", ""), "Invalid group_id format")
    weight = whole_number(texts.get("weight", ""))
    if texts.get("weight") and weight is None:
        raise ValidationFailed("weight must be a whole number")
    if file_name is None:
        raise BadRequest("File is required", hint="Send it in the form's field `file`.")
    if not file_name.lower().endswith(".txt"):
        raise ValidationFailed("Only .txt files are supported")
    return Upload(number, _reading(_text(file_pieces)), texts.get("notes", ""), weight)


def _events(raw: bytes, boundary: str) -> Iterator[Field | File | Data]:
    decoder = MultipartDecoder(boundary.encode("latin-1", "replace"), max_parts=_PARTS)
    view, position = memoryview(raw), 0
    try:
        while True:
            event = decoder.next_event()
            if isinstance(event, Field | File | Data):
                yield event
            elif isinstance(event, Epilogue):
                return
            elif isinstance(event, NeedData):
                # None says that this was all; a form that isn't whole then fails.
                piece = bytes(view[position : position + PIECE_BYTES]) or None
                decoder.receive_data(piece)
                position += PIECE_BYTES
    except (ValueError, RequestEntityTooLarge):
        pass
    raise BadRequest("The form can't be read", hint="Send multipart/form-data, as browsers do.")


def _text(pieces: Iterable[bytes]) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for piece in pieces:
            yield decoder.decode(piece)
        yield decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        raise ValidationFailed(
            "The file is not UTF-8", hint="Save it as plain text in UTF-8."
        ) from None
