"""Resumable uploads whose next step the upstream names by a URL of its own.

Followed as it is, that URL leads past the proxy: the bytes come without a pool key,
or with another account's. So it is made to lead back, with a ticket in its query that
names the key and the upstream of the first step. The ticket is also the credential of
the steps that follow: Google's own recipes send them with no key at all. It opens
nothing else, because it is signed together with the path and with all that stands
before it in the query, the upload's id among it.

Google's SDKs use the URL as it is, or with the scheme, host and port of a call's own
base URL, whose path they leave out. So the path begins with `/proxy/{group}`, and the
rest must be what the client itself calls us.

Source: Gemini API reference, "Files"; google-genai `_api_client.py`, `_upload_fd`.
"""

from __future__ import annotations

import base64
import hmac
import re
import struct
from collections import Counter
from typing import Final
from urllib.parse import quote, unquote_to_bytes

from attrs import frozen

from gptload.core.paths import split_query
from gptload.core.resttime import DAY_S
from gptload.core.snapshot import Upstream

# Where upstreams name the next step's URL, in lower case. `location` is so used by the
# older protocol, `uploadType=resumable`, and only in answers of upload paths.
URL_FIELDS: Final = frozenset((b"x-goog-upload-url", b"x-goog-upload-control-url", b"location"))
# As long as Google keeps an upload that isn't finished.
UPLOAD_S: Final = 7 * DAY_S
TICKET_NAME: Final = b"gptload_upload"

_PURPOSE: Final = b"gptload upload ticket 1"
_FACTS: Final = struct.Struct(">QQIQ")  # group, key, upstream, epoch seconds
_MAC_BYTES: Final = 20  # together a multiple of three: base64 with no spare bits to change
_TOKEN: Final = re.compile(rb"[A-Za-z0-9_-]{64}")
_PAIR: Final = re.compile(rb"(?:^|(?<=&))%b=([^&]*)" % TICKET_NAME)
_VISIBLE: Final = re.compile(rb"[!-~]+")
_URL: Final = re.compile(rb"(?:https?://[^/?#]+)?(/[^?#]*)?(?:\?([^#]*))?(?:#.*)?", re.I)
_UPLOADS: Final = re.compile(rb"(?:^|/)upload/")


@frozen
class Ticket:
    """Who goes on with an upload.

    Attributes:
        group_id: the group of the key: of an aggregate, the member.
        upstream: `Upstream.mark` of the one that goes on.
        until: epoch seconds.
    """

    group_id: int
    key_id: int
    upstream: int
    until: int


def is_upload(path: bytes) -> bool:
    """Whether answers on this path may name a next step's URL.

    Args:
        path: below the group.
    """
    return _UPLOADS.search(path) is not None


def lead_back(
    url: bytes, base: bytes, upstream: Upstream, secret: bytes, ticket: Ticket
) -> bytes | None:
    """The URL of an upload's next step, towards us.

    Its host is not remembered: the step goes to the same upstream as the first one,
    so an upstream can't send our keys elsewhere.

    Args:
        url: as the upstream named it.
        base: scheme, host and path prefix of the group, as the client called it:
            `https://host/proxy/gemini`.
        secret: signs tickets; the same in all data planes.

    Returns:
        None when it is no URL; then the field is better left out.
    """
    found = _URL.fullmatch(url) if _VISIBLE.fullmatch(url) else None
    if found is None or not (found[1] or found[2]):
        return None
    path = found[1] or b"/"
    if upstream.path and path.startswith(upstream.path + b"/"):
        path = path[len(upstream.path) :]
    # What the upstream quotes of our call is put in again by the next one: its key, and
    # the base URL's own query.
    pairs, _ = split_query(found[2] or b"")
    again = Counter(upstream.query.split(b"&"))
    kept = []
    for pair in filter(None, pairs.split(b"&")):
        if again[pair]:
            again[pair] -= 1
        else:
            kept.append(pair)
    facts = _FACTS.pack(ticket.group_id, ticket.key_id, ticket.upstream, ticket.until)
    token = base64.urlsafe_b64encode(facts + _mac(secret, facts, path, kept))
    kept.append(b"%b=%b" % (TICKET_NAME, token))
    return b"%b%b?%b" % (base.rstrip(b"/"), path, b"&".join(kept))


def read_ticket(
    secret: bytes, path: bytes, query: bytes, now: float
) -> tuple[Ticket | None, bytes]:
    """The ticket that a request shows.

    Args:
        path: below the group, percent-encoded.
        query: without credentials; `split_query` has taken them out.
        now: epoch seconds.

    Returns:
        The ticket, and the query without it. None for the ticket when there is none or
        when it is not ours, not for this upload, or too old. Whether its group is the
        one of the path, or a member of it, is the caller's to see.
    """
    if TICKET_NAME not in query:
        return None, query
    # The last one: an upstream that is a gptload too has put its own before it.
    shown = list(_PAIR.finditer(query))
    if not shown:
        return None, query
    found = shown[-1]
    before = [pair for pair in query[: found.start()].split(b"&") if pair]
    behind = [pair for pair in query[found.end() :].split(b"&") if pair]
    rest = b"&".join(before + behind)
    if _TOKEN.fullmatch(found[1]) is None:
        return None, rest
    signed = base64.urlsafe_b64decode(found[1])
    facts, mac = signed[: _FACTS.size], signed[_FACTS.size :]
    if not hmac.compare_digest(mac, _mac(secret, facts, path, before)):
        return None, rest
    ticket = Ticket(*_FACTS.unpack(facts))
    return (ticket if ticket.until > now else None), rest


def _mac(secret: bytes, facts: bytes, path: bytes, pairs: list[bytes]) -> bytes:
    # Signed is what path and query mean: HTTP libraries write percents in their own way.
    segments = b"/".join(map(_normal, path.split(b"/")))
    query = b"&".join(b"=".join(map(_normal, pair.split(b"=", 1))) for pair in pairs)
    text = b"\0".join((_PURPOSE, segments, query, facts))
    return hmac.digest(secret, text, "sha256")[:_MAC_BYTES]


def _normal(text: bytes) -> bytes:
    return quote(unquote_to_bytes(text), safe="").encode("ascii")
