"""What the admin API answers: one envelope, one way to show an error or a time.

Messages are translated here and nowhere else (`gptload.core.texts`).
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import orjson
from twisted.web.iweb import IRequest

from gptload.core import texts
from gptload.core.errors import GptloadError
from gptload.core.texts import Language

_LONGEST_WISH: Final = 1000

SECURITY_FIELDS: Final = (
    (b"X-Content-Type-Options", b"nosniff"),
    (b"Referrer-Policy", b"strict-origin-when-cross-origin"),
    (b"Permissions-Policy", b"camera=(), microphone=(), geolocation=(), payment=(), usb=()"),
    (b"X-Frame-Options", b"SAMEORIGIN"),
)


def reply(request: IRequest, data: Any = None, message: str = "Success") -> bytes:
    """The envelope of a success; no `data` where there is none."""
    body: dict[str, Any] = {"code": 0, "message": texts.message(message, language(request))}
    if data is not None:
        body["data"] = data
    return plain(request, body)


def language(request: IRequest) -> Language:
    """What the client wants to read; English without a wish that we can fulfil."""
    wishes = request.requestHeaders.getRawHeaders(b"accept-language", [])
    return texts.preferred(b",".join(wishes)[:_LONGEST_WISH].decode("latin-1"))


def page(
    request: IRequest, items: Sequence[Any], number: int, size: int, total: int, **more: Any
) -> bytes:
    """The envelope of one page of a list; `more` where a list has fields of its own."""
    pagination = {
        "page": number,
        "page_size": size,
        "total_items": total,
        "total_pages": math.ceil(total / size),
    }
    return reply(request, {"items": items, "pagination": pagination, **more})


def refusal(request: IRequest, fault: GptloadError, **more: Any) -> bytes:
    """The envelope of an error; `more` where a route has fields of its own."""
    message = texts.message(fault.message, language(request))
    body = {"code": fault.code, "message": message, **more}
    request.setHeader(b"X-Request-Id", name_of(request).encode())
    if fault.data is not None:
        body["data"] = dict(fault.data)
    if fault.hint:
        body["hint"] = fault.hint
    if fault.retry_after_s is not None:
        request.setHeader(b"Retry-After", b"%d" % math.ceil(fault.retry_after_s))
    return plain(request, body, fault.status)


def name_of(request: IRequest) -> str:
    """By which a person who reports an error and the service's log mean the same call."""
    name = getattr(request, "name", "")
    if not name:
        name = request.name = secrets.token_hex(8)  # type: ignore[attr-defined]
    return str(name)


def plain(request: IRequest, body: Any, status: int = 200) -> bytes:
    """JSON without an envelope."""
    return send(request, orjson.dumps(body), b"application/json; charset=utf-8", status)


def send(request: IRequest, body: bytes, content_type: bytes, status: int = 200) -> bytes:
    """Set what goes with a body; the body itself, for Klein to write."""
    request.setResponseCode(status)
    request.setHeader(b"Content-Type", content_type)
    request.setHeader(b"Content-Length", b"%d" % len(body))
    # Answers carry keys: no cache between here and the browser may keep one.
    request.setHeader(b"Cache-Control", b"no-store")
    return body


def time_text(epoch_s: float) -> str:
    """RFC 3339 in UTC, as exact as the value: `2026-01-02T03:04:05.25Z`."""
    text = datetime.fromtimestamp(epoch_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")
    return text.rstrip("0").rstrip(".") + "Z"


def time_or_none(epoch_s: float | None) -> str | None:
    """As `time_text`; None stays None."""
    return None if epoch_s is None else time_text(epoch_s)
