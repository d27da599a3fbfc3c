"""Bytes ↔ heads, body parts and ends: HTTP/1.1's framing and its limits.

Strict where two readers of the same bytes could disagree about where a message
ends, because that is how requests are smuggled: no folded lines, no bare CR or LF,
no second opinion about a length. What isn't framing passes as it came.

Source: RFC 9112 (messages), RFC 9110 §5 (fields). llhttp is the oracle of the tests,
not a part of the path: docs/decisions/0001.
"""

from __future__ import annotations

import re
from typing import Final

from gptload.core.headers import (
    KNOWN,
    LINES,
    Field,
    FieldName,
    Passing,
    learn,
    remember,
    value_of,
)

REQUEST_HEAD_LIMIT: Final = 64 * 1024
RESPONSE_HEAD_LIMIT: Final = 256 * 1024
FIELDS_LIMIT: Final = 256
# A chunk's size line with its extensions, and all trailer lines together.
SIZE_LINE_LIMIT: Final = 4 * 1024
TRAILER_LIMIT: Final = 16 * 1024
LAST_CHUNK: Final = b"0\r\n\r\n"

# What a line may consist of. obs-text (0x80 and up) is allowed: people put UTF-8 there.
_LINE_BYTES: Final = bytes((0x09, *range(0x20, 0x7F), *range(0x80, 0x100)))
_TARGET_BYTES: Final = bytes(range(0x21, 0x7F))
_HOST_BYTES: Final = (
    b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~%!$&'()*+,;=:[]"
)
_HEX_BYTES: Final = b"0123456789abcdefABCDEF"
_METHOD: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,32}")
_METHODS: Final = frozenset(b"GET POST PUT PATCH DELETE HEAD OPTIONS".split())
_ABSOLUTE: Final = re.compile(rb"https?://([^/?#]*)(/?.*)", re.IGNORECASE)
_VERSIONS: Final = {b"HTTP/1.1": 1, b"HTTP/1.0": 0}
_PLAIN_OPTIONS: Final = frozenset((b"", b"close", b"keep-alive"))
_ANY_VERSION: Final = re.compile(rb"HTTP/[0-9]\.[0-9]")
# RFC 9112 §7.1.1. A line that breaks off within quotes is refused, lest somebody else
# think that it goes on.
_EXTENSIONS: Final = re.compile(
    rb"(?:[ \t]*;[ \t]*TOKEN(?:[ \t]*=[ \t]*(?:TOKEN|QUOTED))?)*".replace(
        b"TOKEN", rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
    ).replace(b"QUOTED", rb'"(?:[^"\\\x00-\x08\x0a-\x1f\x7f]|\\[\t -~\x80-\xff])*"')
)
# More than any body has, and few enough digits that no reader of them overflows.
LENGTH_DIGITS: Final = 18
_SIZE_DIGITS: Final = 15


class CodecError(Exception):
    """A message that must not be believed. Its text is safe to show.

    Attributes:
        status: how a server answers it.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class RequestHead:
    """A request's line and fields.

    Attributes:
        target: origin-form (`/path?query`); `*` or an authority for OPTIONS and CONNECT.
        minor: 1 for HTTP/1.1, 0 for HTTP/1.0.
        fields: as received and in order, but for those that `Connection` names.
        credentials: those of the fields that may carry a client's key.
        content_length: None when there is no such field.
        content_type, user_agent: values; empty when there is no such field.
        expects_continue: the client holds its body back until it hears 100.
        passing: what of it an upstream may see; only for a head that is known to repeat.
    """

    __slots__ = (
        "chunked",
        "content_length",
        "content_type",
        "credentials",
        "expects_continue",
        "fields",
        "host",
        "keep_alive",
        "method",
        "minor",
        "passing",
        "target",
        "user_agent",
    )

    def __init__(self, method: bytes, target: bytes, minor: int) -> None:
        self.method = method
        self.target = target
        self.minor = minor
        self.fields: list[Field] = []
        self.credentials: list[Field] = []
        self.content_length: int | None = None
        self.content_type = b""
        self.user_agent = b""
        self.chunked = False
        self.keep_alive = minor == 1
        self.expects_continue = False
        self.host = b""
        self.passing: Passing | None = None

    def before(self, length: int | None) -> RequestHead:
        """The same head in front of a body of another length; the lists are shared."""
        # Hot: once a request; spelled out, because a copy by names costs five times that.
        head = RequestHead.__new__(RequestHead)
        head.method = self.method
        head.target = self.target
        head.minor = self.minor
        head.fields = self.fields
        head.credentials = self.credentials
        head.content_length = length
        head.content_type = self.content_type
        head.user_agent = self.user_agent
        head.chunked = self.chunked
        head.keep_alive = self.keep_alive
        head.expects_continue = self.expects_continue
        head.host = self.host
        head.passing = self.passing
        return head


class ResponseHead:
    """A status line and its fields.

    Attributes:
        reason: phrase as received; may be empty.
        fields, content_length, content_type, chunked: as in `RequestHead`.
        account: the provider's id of the account that answered; empty when not named.
        coding: of the content, e.g. `gzip`; empty for none.
        keep_alive: whether the connection may be used again after a body whose end
            is known.
    """

    __slots__ = (
        "account",
        "chunked",
        "coding",
        "content_length",
        "content_type",
        "fields",
        "keep_alive",
        "minor",
        "reason",
        "status",
    )

    def __init__(self, status: int, reason: bytes, minor: int) -> None:
        self.status = status
        self.reason = reason
        self.minor = minor
        self.fields: list[Field] = []
        self.account = b""
        self.coding = b""
        self.content_length: int | None = None
        self.content_type = b""
        self.chunked = False
        self.keep_alive = minor == 1


def parse_request_head(head: bytes) -> RequestHead:
    """Read a request's head.

    Args:
        head: everything before the first empty line, without it.

    Raises:
        CodecError: 400, 431, 501 or 505.
    """
    # Hot: once a request. One look-up a field; benchmarks/codec.py prices it.
    lines = _lines(head)
    parts = lines[0].split(b" ")
    if len(parts) != 3:
        raise CodecError(400, "the request line is not METHOD SP TARGET SP VERSION")
    method, target, version = parts
    minor = _VERSIONS.get(version)
    if minor is None:
        if _ANY_VERSION.fullmatch(version):
            raise CodecError(505, "only HTTP/1.1 and HTTP/1.0 are spoken here")
        raise CodecError(400, "the request line's version is malformed")
    if method not in _METHODS and _METHOD.fullmatch(method) is None:
        raise CodecError(400, "the method is too long, or not a token")
    result = RequestHead(method, target, minor)
    connection: list[bytes] = []
    hosts = 0
    for field in _read_fields(lines, result.fields):
        name, line = field
        if name.credential:
            result.credentials.append(field)
            continue
        lower = name.lower
        value = line[len(lower) + 1 :].strip(b" \t")
        if lower == b"host":
            hosts += 1
            if value.translate(None, _HOST_BYTES):
                raise CodecError(400, "the Host field is malformed")
            result.host = value
        elif lower == b"content-length":
            if result.content_length is not None:
                raise CodecError(400, "more than one Content-Length")
            result.content_length = _length(value)
        elif lower == b"user-agent":
            result.user_agent = result.user_agent or value
        elif lower == b"content-type":
            result.content_type = result.content_type or value
        elif lower == b"connection":
            connection.append(value)
        elif lower == b"transfer-encoding":
            _apply_coding(result, value)
        elif lower == b"expect" and value.lower() == b"100-continue":
            result.expects_continue = minor == 1
    if hosts != 1 and (minor or hosts):
        raise CodecError(400, "HTTP/1.1 needs exactly one Host field")
    if result.chunked and result.content_length is not None:
        raise CodecError(400, "both Content-Length and Transfer-Encoding")
    if connection:
        _apply_connection(result, connection)
    if not target.startswith(b"/") or target.translate(None, _TARGET_BYTES):
        result.target = _origin_form(method, target, result)
    return result


def parse_response_head(head: bytes) -> ResponseHead:
    """Read a response's head.

    Several Content-Length fields of one value count as one (RFC 9112 §6.3): real
    servers send them, and nobody can read them in two ways. A list within one
    field (`5, 5`) is refused.

    Args:
        head: everything before the first empty line, without it.

    Raises:
        CodecError: it can't be trusted; its status says nothing here.
    """
    # Hot: once a response.
    lines = _lines(head)
    version, _, rest = lines[0].partition(b" ")
    minor = _VERSIONS.get(version)
    if minor is None:
        raise CodecError(502, "the status line is not HTTP/1.1 or HTTP/1.0")
    code, _, reason = rest.partition(b" ")
    if len(code) != 3 or not code.isdigit() or code < b"100":
        raise CodecError(502, "the status is not three digits")
    result = ResponseHead(int(code), reason, minor)
    connection: list[bytes] = []
    for field in _read_fields(lines, result.fields):
        lower = field[0].lower
        if lower == b"content-length":
            length = _length(value_of(field))
            if result.content_length not in (None, length):
                raise CodecError(502, "Content-Length fields disagree")
            result.content_length = length
        elif lower == b"content-type":
            result.content_type = result.content_type or value_of(field)
        elif lower == b"connection":
            connection.append(value_of(field))
        elif lower == b"transfer-encoding":
            _apply_coding(result, value_of(field))
        elif field[0].account_id:
            result.account = value_of(field)
        elif lower == b"content-encoding":
            result.coding = result.coding or value_of(field)
    if result.chunked and result.content_length is not None:
        raise CodecError(502, "both Content-Length and Transfer-Encoding")
    if connection:
        _apply_connection(result, connection)
    return result


def _lines(head: bytes) -> list[bytes]:
    lines = head.split(b"\r\n")
    breaks = len(lines) - 1
    # One pass finds both faults: all that isn't allowed within a line must be the CRs
    # and LFs between the lines, two for each break.
    if len(head.translate(None, _LINE_BYTES)) != 2 * breaks:
        raise CodecError(400, "a control character, or a bare CR or LF, in the head")
    if breaks > FIELDS_LIMIT:
        raise CodecError(431, f"more than {FIELDS_LIMIT} fields")
    return lines


def _read_fields(lines: list[bytes], fields: list[Field]) -> list[Field]:
    """Put the fields into `fields`; return those whose values matter here."""
    seen = LINES.get
    known = KNOWN.get
    append = fields.append
    special: list[Field] = []
    del lines[0]
    for line in lines:
        field = seen(line)
        if field is None:
            text, colon, _ = line.partition(b":")
            name = known(text)
            if name is None or not colon:
                name = _learn(text, colon)
            field = (name, line)
            if name.special:
                special.append(field)
            elif name.lines_left:
                remember(field)
        append(field)
    return special


def _learn(text: bytes, colon: bytes) -> FieldName:
    if text[:1] in (b" ", b"\t"):
        raise CodecError(400, "a folded field line")
    if not colon:
        raise CodecError(400, "a field line without a colon")
    name = learn(text)
    if name is None:
        raise CodecError(400, "a field name that is not a token")
    return name


def _apply_connection(head: RequestHead | ResponseHead, values: list[bytes]) -> None:
    text = b",".join(values).lower()
    if text == b"keep-alive":  # what nearly everybody says
        head.keep_alive = True
        return
    options = {option.strip(b" \t") for option in text.split(b",")}
    if b"close" in options:
        head.keep_alive = False
    elif b"keep-alive" in options:
        head.keep_alive = True
    options -= _PLAIN_OPTIONS
    if options:
        # RFC 9110 §7.6.1: what it names is for this hop only. Framing and the
        # host are never that, whatever a message claims.
        head.fields = [
            field for field in head.fields if field[0].framing or field[0].lower not in options
        ]


def _apply_coding(head: RequestHead | ResponseHead, value: bytes) -> None:
    if head.chunked:
        raise CodecError(400, "more than one Transfer-Encoding")
    if not head.minor:
        raise CodecError(400, "Transfer-Encoding in HTTP/1.0")
    if value.lower() != b"chunked":
        raise CodecError(501, "a transfer coding other than chunked")
    head.chunked = True


def _length(value: bytes) -> int:
    if not value.isdigit() or len(value) > LENGTH_DIGITS:
        raise CodecError(400, "Content-Length is not a number")
    return int(value)


def _origin_form(method: bytes, target: bytes, head: RequestHead) -> bytes:
    """Targets of the other forms (RFC 9112 §3.2)."""
    if target.translate(None, _TARGET_BYTES):
        raise CodecError(400, "the target has a character that must be percent-encoded")
    if absolute := _ABSOLUTE.fullmatch(target):
        authority, path = absolute.groups()
        if not authority or authority.translate(None, _HOST_BYTES):
            raise CodecError(400, "the target's authority is malformed")
        head.host = authority  # §3.2.2: it takes the place of the Host field
        return path if path.startswith(b"/") else b"/" + path
    if (method == b"OPTIONS" and target == b"*") or (method == b"CONNECT" and target):
        return target
    raise CodecError(400, "the target must begin with /")


def chunk(data: bytes) -> bytes:
    """One chunk; nothing for no data, because an empty chunk would be the last one."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


class ChunkReader:
    """Takes the framing off a chunked body, however it is cut into packets.

    Extensions are passed over and trailers dropped, fields of framing among them:
    none of them means anything here (RFC 9112 §7.1.1, §7.1.2).

    Attributes:
        ended: the last chunk and its trailers have been read.
        rest: what came behind the end.
    """

    __slots__ = ("_in_trailers", "_left", "_tail", "_trailer_bytes", "ended", "rest")

    def __init__(self) -> None:
        self.ended = False
        self.rest = b""
        self._left = 0  # of a chunk, its CRLF included; 0 where a line is due
        self._tail = b""  # a line, or a chunk's CRLF, of which the end hasn't come yet
        self._in_trailers = False
        self._trailer_bytes = 0

    def feed(self, data: bytes) -> bytes:
        """The payload in the next bytes; empty when there is none yet.

        Raises:
            CodecError: 400, the framing is broken; the reader is of no use any more.
        """
        # Hot: once a segment. A whole chunk is one find, one number and one slice.
        if self.ended:
            self.rest += data
            return b""
        if self._tail:
            data = self._tail + data
            self._tail = b""
        parts: list[bytes] = []
        position, size, left = 0, len(data), self._left
        while position < size:
            if left:
                end = position + left - 2
                if end + 2 > size:
                    part = data[position:end]
                    parts.append(part)
                    left -= len(part)
                    self._tail = data[end:]
                    if self._tail not in (b"", b"\r"):
                        raise CodecError(400, "a chunk is longer than its size says")
                    break
                if data[end : end + 2] != b"\r\n":
                    raise CodecError(400, "a chunk is longer than its size says")
                parts.append(data[position:end])
                position = end + 2
                left = 0
                continue
            end = data.find(b"\r\n", position)
            if end < 0:
                self._tail = data[position:]
                self._check_beginning(self._tail)
                break
            line = data[position:end]
            position = end + 2
            if not self._in_trailers:
                left = _chunk_size(line)
                if left:
                    left += 2
                else:
                    self._in_trailers = True
            elif line:
                self._skip_trailer(line)
            else:
                self.ended = True
                self.rest = data[position:]
                break
        self._left = left
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _skip_trailer(self, line: bytes) -> None:
        self._trailer_bytes += len(line) + 2
        if self._trailer_bytes > TRAILER_LIMIT:
            raise CodecError(400, "the trailers are too long")
        if line.translate(None, _LINE_BYTES):
            raise CodecError(400, "a control character in a trailer")
        text, colon, _ = line.partition(b":")
        if text not in KNOWN or not colon:
            _learn(text, colon)

    def _check_beginning(self, line: bytes) -> None:
        """What can't become a good line is refused now: its end may never come."""
        limit = TRAILER_LIMIT - self._trailer_bytes if self._in_trailers else SIZE_LINE_LIMIT
        if len(line) > limit + 1:  # its CR may be there already
            raise CodecError(400, "a line of the chunk framing is too long")
        if b"\n" in line or b"\r" in line[:-1]:
            raise CodecError(400, "a bare CR or LF in the chunk framing")


def _chunk_size(line: bytes) -> int:
    digits = line
    if b";" in line:
        digits = line.partition(b";")[0].rstrip(b" \t")
        if len(line) <= SIZE_LINE_LIMIT and not _EXTENSIONS.fullmatch(line, len(digits)):
            raise CodecError(400, "a malformed chunk extension")
    if not digits or digits.translate(None, _HEX_BYTES):
        raise CodecError(400, "a chunk's size is not a hexadecimal number")
    if len(line) > _SIZE_DIGITS and (
        len(line) > SIZE_LINE_LIMIT or len(digits.lstrip(b"0")) > _SIZE_DIGITS
    ):
        raise CodecError(400, "a chunk's size line is too long, or its size too large")
    return int(digits, 16)
