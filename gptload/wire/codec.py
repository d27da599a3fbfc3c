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

from gptload.core.headers import KNOWN, Field, FieldName, learn, value_of

REQUEST_HEAD_LIMIT: Final = 64 * 1024
RESPONSE_HEAD_LIMIT: Final = 256 * 1024
FIELDS_LIMIT: Final = 256
# A chunk's size line with its extensions, and all trailer lines together.
SIZE_LINE_LIMIT: Final = 4 * 1024
TRAILER_LIMIT: Final = 16 * 1024
LAST_CHUNK: Final = b"0\r\n\r\n"

# What a head may consist of. obs-text (0x80 and up) is allowed: people put UTF-8 there.
_ALLOWED: Final = bytes((0x09, 0x0A, 0x0D, *range(0x20, 0x7F), *range(0x80, 0x100)))
_TARGET_CHARACTERS: Final = bytes(range(0x21, 0x7F))
_METHOD: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,32}")
_METHODS: Final = frozenset(b"GET POST PUT PATCH DELETE HEAD OPTIONS".split())
_ABSOLUTE: Final = re.compile(rb"https?://([^/?#]*)(/?.*)", re.IGNORECASE)
_HOST: Final = re.compile(rb"[A-Za-z0-9\-._~%!$&'()*+,;=:\[\]]*")
_VERSIONS: Final = {b"HTTP/1.1": 1, b"HTTP/1.0": 0}
_HEX: Final = frozenset(b"0123456789abcdefABCDEF")
# More than any body has, and few enough digits that no reader of them overflows.
_LENGTH_DIGITS: Final = 18
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
        content_length: None when there is no such field.
        expects_continue: the client holds its body back until it hears 100.
    """

    __slots__ = (
        "chunked",
        "content_length",
        "expects_continue",
        "fields",
        "host",
        "keep_alive",
        "method",
        "minor",
        "target",
    )

    def __init__(self, method: bytes, target: bytes, minor: int) -> None:
        self.method = method
        self.target = target
        self.minor = minor
        self.fields: list[Field] = []
        self.content_length: int | None = None
        self.chunked = False
        self.keep_alive = minor == 1
        self.expects_continue = False
        self.host = b""


class ResponseHead:
    """A status line and its fields.

    Attributes:
        reason: phrase as received; may be empty.
        fields, content_length, chunked: as in `RequestHead`.
        keep_alive: whether the connection may be used again after a body whose end
            is known.
    """

    __slots__ = (
        "chunked",
        "content_length",
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
        self.content_length: int | None = None
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
        if re.fullmatch(rb"HTTP/[0-9]\.[0-9]", version):
            raise CodecError(505, "only HTTP/1.1 and HTTP/1.0 are spoken here")
        raise CodecError(400, "the request line's version is malformed")
    if method not in _METHODS and _METHOD.fullmatch(method) is None:
        raise CodecError(400, "the method is not a token")
    result = RequestHead(method, target, minor)
    special = _read_fields(lines, result.fields)
    hosts = 0
    for field in special:
        lower = field[0].lower
        if lower == b"host":
            hosts += 1
            result.host = value_of(field)
            if _HOST.fullmatch(result.host) is None:
                raise CodecError(400, "the Host field is malformed")
        elif lower == b"connection":
            _apply_connection(result, field)
        elif lower == b"content-length":
            if result.content_length is not None:
                raise CodecError(400, "more than one Content-Length")
            result.content_length = _length(value_of(field))
        elif lower == b"transfer-encoding":
            _apply_coding(result, field)
        elif value_of(field).lower() == b"100-continue":
            result.expects_continue = minor == 1
    if hosts != 1 and (minor or hosts):
        raise CodecError(400, "HTTP/1.1 needs exactly one Host field")
    if result.chunked and result.content_length is not None:
        raise CodecError(400, "both Content-Length and Transfer-Encoding")
    if not target.startswith(b"/") or target.translate(None, _TARGET_CHARACTERS):
        result.target = _origin_form(method, target, result)
    return result


def parse_response_head(head: bytes) -> ResponseHead:
    """Read a response's head.

    Several Content-Length fields of one value count as one (RFC 9112 §6.3): real
    servers send them, and nobody can read them in two ways.

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
    for field in _read_fields(lines, result.fields):
        lower = field[0].lower
        if lower == b"connection":
            _apply_connection(result, field)
        elif lower == b"content-length":
            length = _length(value_of(field))
            if result.content_length not in (None, length):
                raise CodecError(502, "Content-Length fields disagree")
            result.content_length = length
        elif lower == b"transfer-encoding":
            _apply_coding(result, field)
    if result.chunked and result.content_length is not None:
        raise CodecError(502, "both Content-Length and Transfer-Encoding")
    return result


def _lines(head: bytes) -> list[bytes]:
    if head.translate(None, _ALLOWED):
        raise CodecError(400, "a control character in the head")
    lines = head.split(b"\r\n")
    breaks = len(lines) - 1
    if head.count(b"\n") != breaks or head.count(b"\r") != breaks:
        raise CodecError(400, "a bare CR or LF in the head")
    if breaks > FIELDS_LIMIT:
        raise CodecError(431, f"more than {FIELDS_LIMIT} fields")
    return lines


def _read_fields(lines: list[bytes], fields: list[Field]) -> list[Field]:
    """Put the fields into `fields`; return those whose values matter here."""
    known = KNOWN.get
    special: list[Field] = []
    append = fields.append
    for index in range(1, len(lines)):
        line = lines[index]
        text, colon, _ = line.partition(b":")
        name = known(text) or _learn(text, colon)
        field = (name, line)
        append(field)
        if name.special:
            if not colon:
                raise CodecError(400, "a field line without a colon")
            special.append(field)
        elif not colon:
            raise CodecError(400, "a field line without a colon")
    return special


def _learn(text: bytes, colon: bytes) -> FieldName:
    name = learn(text) if colon else None
    if name is None:
        # A folded line begins with a blank, which no name does.
        raise CodecError(400, "a folded line, or a field name that is not a token")
    return name


def _apply_connection(head: RequestHead | ResponseHead, field: Field) -> None:
    for option in value_of(field).lower().split(b","):
        option = option.strip(b" \t")
        if option == b"close":
            head.keep_alive = False
        elif option == b"keep-alive":
            if not head.minor:
                head.keep_alive = True
        elif option:
            # RFC 9110 §7.6.1: what it names is for this hop only. Framing and the
            # host are never that, whatever a message claims.
            head.fields[:] = [
                kept for kept in head.fields if kept[0].lower != option or kept[0].special
            ]


def _apply_coding(head: RequestHead | ResponseHead, field: Field) -> None:
    if head.chunked:
        raise CodecError(400, "more than one Transfer-Encoding")
    if not head.minor:
        raise CodecError(400, "Transfer-Encoding in HTTP/1.0")
    if value_of(field).lower() != b"chunked":
        raise CodecError(501, "a transfer coding other than chunked")
    head.chunked = True


def _length(value: bytes) -> int:
    if not value.isdigit() or len(value) > _LENGTH_DIGITS:
        raise CodecError(400, "Content-Length is not a number")
    return int(value)


def _origin_form(method: bytes, target: bytes, head: RequestHead) -> bytes:
    """Targets of the other forms (RFC 9112 §3.2)."""
    if target.translate(None, _TARGET_CHARACTERS):
        raise CodecError(400, "the target has a character that must be percent-encoded")
    if absolute := _ABSOLUTE.fullmatch(target):
        head.host = absolute[1]  # §3.2.2: it takes the place of the Host field
        path = absolute[2]
        return path if path.startswith(b"/") else b"/" + path
    if (method == b"OPTIONS" and target == b"*") or method == b"CONNECT":
        return target
    raise CodecError(400, "the target must begin with /")


def chunk(data: bytes) -> bytes:
    """One chunk; nothing for no data, because an empty chunk would be the last one."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


class ChunkReader:
    """Takes the framing off a chunked body, however it is cut into packets.

    Extensions are passed over and trailers dropped: neither means anything here
    (RFC 9112 §7.1.1, §7.1.2).

    Attributes:
        ended: the last chunk and its trailers have been read.
        rest: what came behind the end.
    """

    __slots__ = ("_left", "_state", "_tail", "_trailer_bytes", "ended", "rest")

    _SIZE, _DATA, _DATA_END, _TRAILER = range(4)

    def __init__(self) -> None:
        self.ended = False
        self.rest = b""
        self._state = self._SIZE
        self._left = 0
        self._tail = b""  # a line, or its CRLF, of which the end hasn't come yet
        self._trailer_bytes = 0

    def feed(self, data: bytes) -> bytes:
        """The payload in the next bytes; empty when there is none yet.

        Raises:
            CodecError: 400, the framing is broken.
        """
        # Hot: once a segment. A whole chunk is one slice.
        if self._tail:
            data = self._tail + data
            self._tail = b""
        parts: list[bytes] = []
        position, size = 0, len(data)
        while position < size:
            state = self._state
            if state == self._DATA:
                end = position + self._left
                if end > size:
                    parts.append(data[position:] if position else data)
                    self._left = end - size
                    break
                parts.append(data[position:end])
                position = end
                self._state = self._DATA_END
            elif state == self._DATA_END:
                mark = data[position : position + 2]
                if mark == b"\r\n":
                    position += 2
                    self._state = self._SIZE
                elif mark == b"\r":
                    self._tail = mark
                    break
                else:
                    raise CodecError(400, "a chunk is longer than its size says")
            else:
                end = data.find(b"\n", position)
                if end < 0:
                    self._tail = data[position:]
                    self._check_line(self._tail)
                    break
                line = data[position : end + 1]
                self._check_line(line)
                if line[-2:] != b"\r\n":
                    raise CodecError(400, "a bare LF in the chunk framing")
                position = end + 1
                if state == self._SIZE:
                    self._left = _chunk_size(line[:-2])
                    self._state = self._DATA if self._left else self._TRAILER
                elif len(line) == 2:
                    self.ended = True
                    self.rest = data[position:]
                    break
                else:
                    self._trailer_bytes += len(line)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _check_line(self, line: bytes) -> None:
        if self._state == self._SIZE:
            if len(line) > SIZE_LINE_LIMIT:
                raise CodecError(400, "a chunk's size line is too long")
        elif self._trailer_bytes + len(line) > TRAILER_LIMIT:
            raise CodecError(400, "the trailers are too long")
        if b"\r" in line[:-2] or (line[-1:] != b"\n" and b"\r" in line[:-1]):
            raise CodecError(400, "a bare CR in the chunk framing")


def _chunk_size(line: bytes) -> int:
    digits, semicolon, extension = line.partition(b";")
    if semicolon:
        digits = digits.rstrip(b" \t")  # RFC 9112 §7.1.1: bad whitespace, to be accepted
        if extension.translate(None, _ALLOWED):
            raise CodecError(400, "a control character in a chunk extension")
    if not digits or len(digits.lstrip(b"0")) > _SIZE_DIGITS or not _HEX.issuperset(digits):
        raise CodecError(400, "a chunk's size is not a hexadecimal number")
    return int(digits, 16)
