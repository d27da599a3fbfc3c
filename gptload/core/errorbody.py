"""What an upstream's error body says, in whichever of a dozen shapes it came.

The rule of this file: nothing in here raises. A body that makes no sense is a text
without codes, and the status decides.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import brotli  # type: ignore[import-untyped]
import orjson
import zstandard
from attrs import field, frozen

from gptload.core.outcome import Kind

LIMIT_BYTES: Final = 64 * 1024  # of a body, before and after it is unpacked
SEARCHED_CHARACTERS: Final = 4 * 1024  # where words are looked for
# Of zstd's memory: as much as a content coding may ask for (RFC 9659).
_ZSTD_WINDOW_BYTES = 8 * 1024 * 1024

NO_QUOTA: Final = "quotaValue=0"
"""Stands among the codes when all violated quotas are zero: not for this account at all."""

TOO_LARGE: Final = "requested>limit"
"""Stands among the codes when the message says that one request is more than the limit."""

_ASKED_FOR = re.compile(
    r"\blimit:? ([0-9][0-9,]{0,19})\b.{0,80}?\brequested:? ([0-9][0-9,]{0,19})\b"
)


@frozen
class ErrorBody:
    """An error body, read.

    Attributes:
        text: the message for people; the whole body when no message was found in it.
        message: its beginning in lower case, to look for words in; a message that it
            quotes of another API is joined to it.
        codes: every `code`, `type` and `status` name, and the reasons in its details.
        status: a status from 400 to 599 inside the body, or None.
        quotas: names of the violated quotas.
        resets: times that name the end of a quota, as written.
        delays: times after which to try again, as written.
        consumer: whom Google counts the call for, e.g. `projects/123`; "" if unsaid.
        document: the JSON, out of its list; None where the body is none.
        plain: the beginning of the whole body as text.
    """

    kind: Kind
    text: str = ""
    message: str = ""
    codes: frozenset[str] = frozenset()
    status: int | None = None
    quotas: tuple[str, ...] = ()
    resets: tuple[str, ...] = ()
    delays: tuple[str, ...] = ()
    consumer: str = ""
    document: object = field(default=None, repr=False)
    plain: str = field(default="", repr=False)


def unpacked(body: bytes, codings: bytes) -> bytes | None:
    """A body without its content codings, at most 64 KiB; None when one can't be undone."""
    for coding in reversed(codings.lower().split(b",")):
        name = coding.strip()
        if name in (b"", b"identity"):
            continue
        undo = _UNDO.get(name)
        plain = None if undo is None else undo(body)
        if plain is None:
            return None
        body = plain
    return body


def _inflated(*windows: int) -> Callable[[bytes], bytes | None]:
    def undo(body: bytes) -> bytes | None:
        for window in windows:
            try:
                # Never more than the limit: a small body can hold gigabytes of zeros.
                return zlib.decompressobj(window).decompress(body, LIMIT_BYTES)
            except zlib.error:
                continue
        return None

    return undo


def _from_brotli(body: bytes) -> bytes | None:
    unpacker = brotli.Decompressor()
    try:
        plain: bytes = unpacker.process(body, output_buffer_limit=LIMIT_BYTES)
    except brotli.error:
        return None
    # Almost any first byte is the beginning of a brotli stream: it must come to something.
    return plain[:LIMIT_BYTES] if plain or unpacker.is_finished() else None


def _from_zstd(body: bytes) -> bytes | None:
    unpacker = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_BYTES)
    try:
        plain = unpacker.stream_reader(body, read_across_frames=True).read(LIMIT_BYTES)
        return plain if plain or zstandard.frame_content_size(body) == 0 else None
    except zstandard.ZstdError:
        return None


_UNDO: Final[Mapping[bytes, Callable[[bytes], bytes | None]]] = {
    b"gzip": _inflated(zlib.MAX_WBITS | 16),
    b"x-gzip": _inflated(zlib.MAX_WBITS | 16),
    # By the standard in zlib's wrapping, from some servers without.
    b"deflate": _inflated(zlib.MAX_WBITS, -zlib.MAX_WBITS),
    b"br": _from_brotli,
    b"zstd": _from_zstd,
}


def read_error(fields: Mapping[bytes, bytes], body: bytes) -> ErrorBody:
    """Read an error body, or the first 64 KiB of it.

    Args:
        fields: lower-case names; `content-encoding` and `content-type` are looked at.
        body: as received.
    """
    is_page = b"text/html" in fields.get(b"content-type", b"").lower()
    plain = unpacked(body[:LIMIT_BYTES], fields.get(b"content-encoding", b""))
    if plain is None:
        return ErrorBody(Kind.HTML if is_page else Kind.UNREADABLE)
    text = plain.decode("utf-8", "replace").lstrip("\ufeff").strip()
    if not text:
        return ErrorBody(Kind.EMPTY)
    value = _parsed(text)
    if isinstance(value, list):
        # Gemini wraps an error of a stream, or of its OpenAI form, in a list.
        value = next((item for item in value if isinstance(item, dict)), None)
    if isinstance(value, dict):
        return _from_object(value, text)
    beginning = text[:SEARCHED_CHARACTERS]
    if isinstance(value, str):
        return ErrorBody(Kind.TEXT, value, _searchable(value), plain=beginning)
    if text[0] in "{[":  # JSON that was cut, or is broken
        return ErrorBody(Kind.JSON, text, _searchable(text), plain=beginning)
    kind = Kind.HTML if is_page or text[0] == "<" else Kind.TEXT
    return ErrorBody(kind, text, _searchable(text), plain=beginning)


def _parsed(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None


def _searchable(text: str) -> str:
    return text[:SEARCHED_CHARACTERS].lower()


def _from_object(body: dict[str, Any], text: str) -> ErrorBody:
    error = _error_in(body)
    inner = _parsed(_message(error))
    if isinstance(inner, dict) and inner.get("error"):
        error = _error_in(inner)  # a gateway's error about an error; its own text says nothing
    message = _message(error) or text
    details = _details(error)
    codes = {_text(error.get(name)) for name in ("code", "type", "status")}
    codes.update(_text(detail.get(name)) for detail in details for name in ("reason", "error_code"))
    violations = [item for detail in details for item in _objects(detail.get("violations"))]
    if violations and all(_text(item.get("quotaValue")) == "0" for item in violations):
        codes.add(NO_QUOTA)
    metadata = [_object(detail.get("metadata")) for detail in details]
    quotas = [_text(item.get("quotaId")) for item in violations]
    quotas += [_text(item.get("quota_limit")) for item in metadata]
    # OpenRouter tells here which limit it was, and quotes the fields that it would have
    # sent and what the API behind it said.
    about = _object(error.get("metadata"))
    codes.update(_text(about.get(name)) for name in ("limit_source", "error_type"))
    quoted = _object(about.get("headers"))
    delays = [_text(detail.get("retryDelay")) for detail in details]
    delays += [_text(item.get("quotaResetDelay")) for item in metadata]
    delays += [_text(item.get("quotaResetTimeStamp")) for item in metadata]
    delays += [
        _text(value) for name, value in quoted.items() if name.lower() == "x-ratelimit-reset"
    ]
    searched = _searchable(f"{message} {_text(about.get('raw'))}".rstrip())
    if _asks_too_much(searched):
        codes.add(TOO_LARGE)
    return ErrorBody(
        Kind.JSON,
        text=message,
        message=searched,
        codes=frozenset(codes - {""}),
        status=_status(error),
        quotas=tuple(filter(None, quotas)),
        resets=tuple(
            filter(None, (_text(error.get(name)) for name in ("resets_at", "resets_in_seconds")))
        ),
        delays=tuple(filter(None, delays)),
        consumer=next(filter(None, (_text(item.get("consumer")) for item in metadata)), ""),
        document=body,
        plain=text[:SEARCHED_CHARACTERS],
    )


def _asks_too_much(message: str) -> bool:
    found = _ASKED_FOR.search(message)
    if not found:
        return False
    limit, requested = (int(number.replace(",", "")) for number in found.groups())
    return requested > limit > 0


def _error_in(body: dict[str, Any]) -> dict[str, Any]:
    """The object that holds code and message, wherever this API puts it."""
    error = body.get("error")
    if isinstance(error, dict) and error:
        return error
    if isinstance(error, str) and error:  # xAI, Ollama
        return {**body, "message": error}
    if body.get("message") or body.get("code") or body.get("object") == "error":
        return body  # Mistral, vLLM, DashScope
    if nested := _object(_object(body.get("response")).get("error")):  # OpenAI Responses
        return nested
    if nested := _object(body.get("base_resp")):  # MiniMax
        return {"code": nested.get("status_code"), "message": nested.get("status_msg")}
    if body.get("error_msg"):
        return {"code": body.get("error_code"), "message": body["error_msg"]}
    for name in ("errors", "detail"):  # FastAPI servers put a text, an object or a list there
        value = body.get(name)
        if isinstance(value, list) and value:
            value = value[0]
        if isinstance(value, dict):
            return value if "msg" not in value else {**value, "message": value["msg"]}
        if isinstance(value, str):
            return {"message": value}
    return {}


def _message(error: dict[str, Any]) -> str:
    return _text(error.get("message")).strip()


def _details(error: dict[str, Any]) -> list[dict[str, Any]]:
    """Google's list of details, or Anthropic's one object."""
    details = error.get("details")
    return [details] if isinstance(details, dict) else list(_objects(details))


def _objects(value: object) -> Iterator[dict[str, Any]]:
    if isinstance(value, list):
        yield from (item for item in value if isinstance(item, dict))


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return ""


def _status(error: dict[str, Any]) -> int | None:
    for name in ("code", "status", "status_code", "raw_status_code"):
        text = _text(error.get(name))
        if len(text) == 3 and text.isascii() and text.isdecimal() and text[0] in "45":
            return int(text)
    return None
