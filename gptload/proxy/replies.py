"""Our own errors, in the dialect that the client speaks.

A body of ours is both: `code`, `message` and `hint` as everywhere in gptload, and
beside them `error` as the channel's SDKs know it, so that they raise the class
that fits and show the message.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import orjson

from gptload.core.errors import GptloadError
from gptload.core.headers import Field, first
from gptload.provider import IProvider
from gptload.proxy.plane import Cors
from gptload.wire.codec import CodecError
from gptload.wire.server import ServerConnection

_REASONS = {
    400: b"Bad Request",
    401: b"Unauthorized",
    404: b"Not Found",
    405: b"Method Not Allowed",
    408: b"Request Timeout",
    413: b"Content Too Large",
    429: b"Too Many Requests",
    431: b"Request Header Fields Too Large",
    500: b"Internal Server Error",
    501: b"Not Implemented",
    502: b"Bad Gateway",
    503: b"Service Unavailable",
    504: b"Gateway Timeout",
    505: b"HTTP Version Not Supported",
}

# Said of every body that we write ourselves; an upstream's answer is never touched.
_OURS = (
    b"Content-Type: application/json; charset=utf-8",
    # A model's name is quoted in some errors: no browser may take that for a page.
    b"X-Content-Type-Options: nosniff",
)


def reason_of(status: int) -> bytes:
    """The reason phrase of a status that we make ourselves."""
    return _REASONS.get(status, b"Error")


def error_body(error: GptloadError, provider: IProvider | None) -> bytes:
    """JSON text of an error of ours."""
    hint = error.hint
    body: dict[str, Any] = {"code": error.code, "message": error.message}
    if hint:
        body["hint"] = hint
    words = f"{error.message}. {hint}" if hint else error.message
    if provider is not None:
        body.update(provider.error_body(error.status, error.code, words))
    else:
        body["error"] = {"message": words, "type": error.code.lower(), "code": error.code}
    return orjson.dumps(body)


def send(
    downstream: ServerConnection,
    error: GptloadError,
    provider: IProvider | None,
    cors: Cors | None,
    request_fields: Sequence[Field],
) -> None:
    """Answer a request with an error of ours."""
    body = error_body(error, provider)
    lines = list(_OURS)
    if error.retry_after_s is not None:
        # Rounded up: a client that comes at the very second must not be early.
        lines.append(b"Retry-After: %d" % max(1, math.ceil(error.retry_after_s)))
    if cors is not None:
        lines += cors.lines(first(request_fields, b"origin"))
    downstream.begin_response(error.status, reason_of(error.status), lines, len(body))
    downstream.end_response(body)


def refusal(error: CodecError) -> bytes:
    """A whole answer to what isn't HTTP; the connection closes after it."""
    body = orjson.dumps({"code": "BAD_REQUEST", "message": f"Malformed request: {error}"})
    return b"HTTP/1.1 %d %b\r\n%b\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (
        error.status,
        reason_of(error.status),
        b"\r\n".join(_OURS),
        len(body),
        body,
    )
