"""What an upstream's error body says, in whichever of a dozen shapes it came.

The rule of this file: nothing in here raises. A body that makes no sense is a text
without codes, and the status decides.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from typing import Any, Final

import orjson
from attrs import frozen

from gptload.core.outcome import Kind

LIMIT_BYTES: Final = 64 * 1024  # of a body, before and after it is unpacked
_MESSAGE_LIMIT = 4 * 1024  # where words are looked for

NO_QUOTA: Final = "quotaValue=0"
"""Stands among the codes when all violated quotas are zero: not for this account at all."""


@frozen
class ErrorBody:
    """An error body, read.

    Attributes:
        text: the message for people; the whole body when no message was found in it.
        message: its beginning in lower case, to look for words in.
        codes: every `code`, `type` and `status` name, and the reasons in its details.
        status: a status from 400 to 599 inside the body, or None.
        quotas: names of the violated quotas.
        resets: times that name the end of a quota, as written.
        delays: times after which to try again, as written.
    """

    kind: Kind
    text: str = ""
    message: str = ""
    codes: frozenset[str] = frozenset()
    status: int | None = None
    quotas: tuple[str, ...] = ()
    resets: tuple[str, ...] = ()
    delays: tuple[str, ...] = ()


def unpacked(body: bytes, codings: bytes) -> bytes | None:
    """A body without its content codings, at most 64 KiB; None when one can't be undone."""
    windows: tuple[int, ...]
    for coding in reversed(codings.lower().split(b",")):
        match coding.strip():
            case b"" | b"identity":
                continue
            case b"gzip" | b"x-gzip":
                windows = (zlib.MAX_WBITS | 16,)
            case b"deflate":  # by the standard in zlib's wrapping, from some servers without
                windows = (zlib.MAX_WBITS, -zlib.MAX_WBITS)
            case _:
                return None
        for window in windows:
            try:
                # Never more than the limit: a small body can hold gigabytes of zeros.
                body = zlib.decompressobj(window).decompress(body, LIMIT_BYTES)
                break
            except zlib.error:
                continue
        else:
            return None
    return body


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
    if isinstance(value, str):
        return ErrorBody(Kind.TEXT, value, _searchable(value))
    if text[0] in "{[":  # JSON that was cut, or is broken
        return ErrorBody(Kind.JSON, text, _searchable(text))
    kind = Kind.HTML if is_page or text[0] == "<" else Kind.TEXT
    return ErrorBody(kind, text, _searchable(text))


def _parsed(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None


def _searchable(text: str) -> str:
    return text[:_MESSAGE_LIMIT].lower()


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
    # OpenRouter quotes the fields that it would have sent.
    quoted = _object(_object(error.get("metadata")).get("headers"))
    delays = [_text(detail.get("retryDelay")) for detail in details]
    delays += [_text(item.get("quotaResetDelay")) for item in metadata]
    delays += [_text(item.get("quotaResetTimeStamp")) for item in metadata]
    delays += [
        _text(value) for name, value in quoted.items() if name.lower() == "x-ratelimit-reset"
    ]
    return ErrorBody(
        Kind.JSON,
        text=message,
        message=_searchable(message),
        codes=frozenset(codes - {""}),
        status=_status(error.get("code")),
        quotas=tuple(filter(None, quotas)),
        resets=tuple(
            filter(None, (_text(error.get(name)) for name in ("resets_at", "resets_in_seconds")))
        ),
        delays=tuple(filter(None, delays)),
    )


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


def _status(code: object) -> int | None:
    text = _text(code)
    return int(text) if len(text) == 3 and text.isdecimal() and text[0] in "45" else None
