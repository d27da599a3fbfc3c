"""What of an upstream's answer the client gets, and in which form.

The rule of this file: an answer passes as it is, but for what tells about the pool's
account, and for a pool key that an upstream's error quotes.
"""

from __future__ import annotations

from gptload.core.errorbody import LIMIT_BYTES
from gptload.core.headers import first
from gptload.core.snapshot import Group
from gptload.core.vault import mask
from gptload.core.verdict import Answer, plain_body
from gptload.proxy.plane import Cors
from gptload.wire.codec import RequestHead, ResponseHead


def lines_for(
    head: ResponseHead, group: Group, cors: Cors | None, request: RequestHead
) -> list[bytes]:
    """An upstream's fields as the client gets them, whole lines without framing."""
    # Hot: once an answer.
    if not group.settings.pass_account_headers:
        if cors is None:
            return [line for name, line in head.fields if name.to_client]
        lines = [line for name, line in head.fields if name.to_client and not name.cors]
    else:
        lines = [
            line
            for name, line in head.fields
            if (name.to_client or name.of_account) and not (cors is not None and name.cors)
        ]
    return lines if cors is None else lines + cors.lines(first(request.fields, b"origin"))


def hidden(data: bytes, secret: bytes) -> bytes:
    """The same bytes, as many, with stars for the pool key."""
    return data.replace(secret, b"*" * len(secret)) if secret in data else data


def without_key(answer: Answer, secret: bytes, lines: list[bytes]) -> tuple[bytes, list[bytes]]:
    """An error's body and lines with the pool key masked; both as they are if it isn't there."""
    lines = [hidden(line, secret) for line in lines]
    plain = plain_body(answer)
    if secret not in plain or len(plain) >= LIMIT_BYTES:
        return hidden(answer.body, secret), lines
    body = plain.replace(secret, mask(secret.decode("utf-8", "replace")).encode())
    return body, [line for line in lines if line[:17].lower() != b"content-encoding:"]
