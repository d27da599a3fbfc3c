"""Which fields pass, which stay here, and what a group's header rules do.

A field name is looked at once in the life of the process: `learn` decides what it
is, and every later head finds the answer by one dictionary look-up.

Sources: RFC 9110 §5.1 (names), §7.6.1 (hop-by-hop fields); providers' behaviour
with foreign credentials, cookies and origins: docs/differences.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:  # settings, which a snapshot is made of, check names of fields
    from gptload.core.snapshot import HeaderRule

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")

HOP_BY_HOP: Final = frozenset(
    b"connection keep-alive proxy-connection proxy-authenticate proxy-authorization "
    b"te trailer transfer-encoding upgrade http2-settings".split()
)

# Where clients put the key that opens a group. None of them may reach an upstream.
CREDENTIALS: Final = frozenset(
    b"authorization x-api-key x-goog-api-key api-key ocp-apim-subscription-key".split()
)
QUERY_CREDENTIALS: Final = frozenset((b"key", b"access_token", b"api_key", b"api-key"))

# What tells the provider who or where the client is. With a pool key of another
# account some of these turn a good key into a 401 (mismatched_organization, CORS).
_PRIVATE: Final = frozenset(
    b"cookie origin referer forwarded via x-real-ip true-client-ip x-client-ip "
    b"openai-organization openai-project x-goog-user-project chatgpt-account-id "
    b"anthropic-dangerous-direct-browser-access".split()
)
_PRIVATE_PREFIXES: Final = (b"x-forwarded-", b"cf-", b"sec-fetch-", b"sec-ch-", b"x-gptload-")

# What tells the client whose account answered, and what it may still spend.
_IDENTITY: Final = frozenset(
    b"set-cookie openai-organization openai-project "
    b"anthropic-organization-id anthropic-workspace-id".split()
)
_LIMIT_PREFIXES: Final = (
    b"x-ratelimit-",
    b"ratelimit-",
    b"anthropic-ratelimit-",
    b"anthropic-fast-",
    b"x-codex-",
)
# Whose value is the provider's id of the account.
_ACCOUNT_ID: Final = frozenset((b"openai-organization", b"anthropic-organization-id"))

_FRAMING: Final = frozenset((b"content-length", b"host", b"expect"))

# What a group's rules may not touch: two opinions about where a body ends.
NOT_FOR_RULES: Final = HOP_BY_HOP | {b"content-length", b"expect"}

# Names and lines come from outside: past these, they are judged anew each time.
_KNOWN_LIMIT = 4096
_LINES_LIMIT = 4096
_LINE_BYTES = 256
# A name that has shown so many different lines is one whose value varies.
_LINES_A_NAME = 32


class FieldName:
    """What we know of one field name, as spelled.

    Attributes:
        lower: the name in lower case.
        to_upstream: whether a client's field of this name is passed on.
        to_client: whether an upstream's field of this name is passed on.
        of_account: whether it tells about the pool's account; such a field is passed on
            only where the group asks for it.
        account_id: whether its value is the provider's id of the account.
        to_control: whether a client's field of this name is passed on to our own
            control plane, which needs cookies, origins and credentials.
        back_from_control: whether the control plane's field is passed on.
        cors: whether it belongs to the cross-origin protocol.
        credential: whether it may carry a client's key.
        framing: whether it says where a message ends, or what the connection is for.
        special: whether the codec must look at its value, for framing or because every
            exchange asks for it.
        lines_left: how many more lines of this name may be remembered.
    """

    __slots__ = (
        "account_id",
        "back_from_control",
        "cors",
        "credential",
        "framing",
        "lines_left",
        "lower",
        "of_account",
        "special",
        "to_client",
        "to_control",
        "to_upstream",
    )

    def __init__(self, lower: bytes) -> None:
        self.lower = lower
        self.credential = lower in CREDENTIALS
        hop = lower in HOP_BY_HOP
        self.to_upstream = not (
            hop
            or self.credential
            or lower in _FRAMING
            or lower in _PRIVATE
            or lower.startswith(_PRIVATE_PREFIXES)
        )
        self.of_account = lower in _IDENTITY or lower.startswith(_LIMIT_PREFIXES)
        self.account_id = lower in _ACCOUNT_ID
        self.to_client = not (hop or lower == b"content-length" or self.of_account)
        self.to_control = not (
            hop or lower in (b"content-length", b"expect") or lower.startswith(b"x-gptload-")
        )
        self.back_from_control = not (hop or lower == b"content-length")
        self.cors = lower.startswith(b"access-control-")
        self.framing = lower in (
            b"content-length",
            b"transfer-encoding",
            b"connection",
            b"expect",
            b"host",
        )
        self.special = (
            self.framing
            or self.credential
            or self.account_id
            or lower in (b"content-type", b"content-encoding", b"user-agent")
        )
        # Never a special one, so that finding a line here says that nothing is to be read.
        self.lines_left = 0 if self.special else _LINES_A_NAME


Field = tuple[FieldName, bytes]
"""A field as received: what its name means, and its whole line without CRLF."""

KNOWN: Final[dict[bytes, FieldName]] = {}
LINES: Final[dict[bytes, Field]] = {}
"""Whole lines seen before: most of what a client or an upstream sends repeats itself."""


def learn(name: bytes) -> FieldName | None:
    """Judge a field name; None when it is not a token (RFC 9110 §5.6.2)."""
    if _TOKEN.fullmatch(name) is None:
        return None
    known = FieldName(name.lower())
    if len(KNOWN) < _KNOWN_LIMIT:
        KNOWN[name] = known
    return known


def remember(field: Field) -> None:
    """Keep a line whose name has `lines_left`, to find it by one look-up."""
    name, line = field
    name.lines_left -= 1
    if len(LINES) < _LINES_LIMIT and len(line) <= _LINE_BYTES:
        LINES[line] = field


def value_of(field: Field) -> bytes:
    """The field's value, without the blanks around it."""
    name, line = field
    return line[len(name.lower) + 1 :].strip(b" \t")


def first(fields: Sequence[Field], lower: bytes) -> bytes | None:
    """Value of the first field of that name; None when there is none."""
    for field in fields:
        if field[0].lower == lower:
            return value_of(field)
    return None


class Passing:
    """What of a client's head an upstream may see, made once for all heads alike.

    Attributes:
        fields: (lower-case name, whole line) in order.
        names: those of the fields.
        block: the lines, each with its CRLF.
    """

    __slots__ = ("block", "fields", "names")

    def __init__(self, fields: Iterable[Field]) -> None:
        self.fields = tuple([(name.lower, line) for name, line in fields if name.to_upstream])
        self.names = frozenset([name for name, _ in self.fields])
        self.block = _block(self.fields)


def _block(fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    lines = b"\r\n".join([line for _, line in fields])
    return lines and lines + b"\r\n"


class OutgoingRequest:
    """A request on its way to an upstream, before its key and the group's rules.

    Attributes:
        method: as the client sent it.
        target: path and query below the upstream's origin, percent-encoded.
        host: in the place of the upstream's own authority; empty for that.
    """

    __slots__ = ("_fields", "_passing", "host", "method", "target")

    def __init__(
        self,
        method: bytes,
        target: bytes,
        fields: list[tuple[bytes, bytes]],
        passing: Passing | None = None,
    ) -> None:
        self.method = method
        self.target = target
        self.host = b""
        self._fields = fields
        self._passing = passing  # in front of the fields, as long as nobody asks for one

    @property
    def fields(self) -> list[tuple[bytes, bytes]]:
        """(lower-case name, whole line) in order; no Host, no framing."""
        passing = self._passing
        if passing is not None:
            self._fields = [*passing.fields, *self._fields]
            self._passing = None
        return self._fields

    @property
    def block(self) -> bytes:
        """The fields' lines, each with its CRLF."""
        # Hot: once an attempt.
        passing = self._passing
        if passing is None:
            return _block(self._fields)
        return passing.block + _block(self._fields)

    def get(self, name: bytes) -> bytes | None:
        """Value of the first field of that name in any case; None when absent."""
        lower = name.lower()
        for known, line in self.fields:
            if known == lower:
                return line[len(known) + 1 :].strip(b" \t")
        return None

    def set(self, name: bytes, value: bytes) -> None:
        """Put the field in, in the place of all of that name."""
        lower = name.lower()
        if lower == b"host":
            self.host = value
            return
        passing = self._passing
        fields = self._fields if passing and lower not in passing.names else self.fields
        self._fields = [field for field in fields if field[0] != lower]
        self._fields.append((lower, b"%b: %b" % (name, value)))

    def remove(self, name: bytes) -> None:
        """Take out all fields of that name."""
        lower = name.lower()
        if lower == b"host":
            self.host = b""
        self._fields = [field for field in self.fields if field[0] != lower]


_VARIABLE = re.compile(r"\$\{([A-Z_]+)\}")


def apply_rules(
    request: OutgoingRequest,
    rules: Sequence[HeaderRule],
    variables: Mapping[str, Callable[[], str]],
) -> None:
    """Run a group's header rules, in their order.

    They come after the provider's `sign`, so a group can override or remove what
    it put in. A rule for `Host` works too: it takes the place of the upstream's own.

    Args:
        variables: what `${NAME}` stands for. An unknown one stays as text, and a
            value that contains another variable is not expanded again.
    """
    for rule in rules:
        if rule.name in NOT_FOR_RULES:
            continue
        if rule.value is None:
            request.remove(rule.name)
        else:
            value = _VARIABLE.sub(
                lambda match: variables[match[1]]() if match[1] in variables else match[0],
                rule.value,
            )
            # A variable's text must not be able to end the field.
            clean = value.replace("\r", " ").replace("\n", " ").replace("\0", " ")
            request.set(rule.wire_name, clean.encode("utf-8", "surrogateescape"))
