"""Which requests belong together, and which key they prefer.

Providers cache prompts by account, so the turns of one conversation are cheaper and
faster with one key. A table of sessions remembers which keys served each, and a bound
on load keeps a loud session from spending one key while the others idle.

Why a table, and not a consistent hash with bounded loads: the caches are where a
session has been, whatever a hash says. With a table a session without history takes
the key whose turn it is, so preference changes nothing for traffic that never repeats,
and a key that joins or rests moves nobody else. The price is memory, which is bounded,
and that data planes learn their sessions each for themselves. The bound is that of
Mirrokni, Thorup and Zadimoghaddam, "Consistent Hashing with Bounded Loads" (2016), with
a quarter for its epsilon and the requests of the last seconds for its load.
"""

from __future__ import annotations

import json
from collections import Counter, OrderedDict, deque
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, Final, Literal

import msgspec
from attrs import frozen

from gptload.core import headers
from gptload.core.errors import ValidationFailed
from gptload.core.jsonscan import mended

WINDOW_S: Final = 10.0
"""How long a request counts as load. Short, so that in a quiet group with many keys, of
which hardly any has had a request lately, a conversation may stay with its own."""

SHARE: Final = 1.25
"""How much of the mean load a key may have and still be preferred."""

SESSIONS_LIMIT: Final = 10_000
UNUSED_S: Final = 3600.0
"""After this no provider has anything cached any more (Anthropic's longest is an hour)."""

# Requests in the window that are no load worth sharing: in a quiet group a conversation
# stays with its key, whatever the mean is.
_LITTLE: Final = 4.0

# Of requests in the window. Past it the window is shorter, and the bound still holds.
_LOAD_LIMIT: Final = 20_000
# A session that is too much for one key has its caches with so many.
_KEYS_A_SESSION: Final = 4
_DIGEST_BYTES: Final = 16
_EXAMPLE: Final = "Write `prefix`, `header:x-session-id` or `body:prompt_cache_key`; empty is off."


@frozen
class Rule:
    """What tells a group's sessions apart.

    Attributes:
        by: `prefix`, the beginning of the conversation; or a header or body field.
        name: of the field; a header's in lower case, a body's with dots between levels.
    """

    by: Literal["prefix", "header", "body"]
    name: str = ""


def parse(text: str) -> Rule | None:
    """Read the setting `session_affinity`; None for an empty one.

    Raises:
        ValidationFailed: it is none of `prefix`, `header:NAME` and `body:NAME`.
    """
    text = text.strip()
    if not text:
        return None
    by, colon, name = (part.strip() for part in text.partition(":"))
    if by == "prefix" and not colon:
        return Rule("prefix")
    if by == "header" and headers.learn(name.encode("utf-8")) is not None:
        return Rule("header", name.lower())
    if by == "body" and all(name.split(".")):
        return Rule("body", name)
    shown = json.dumps(text, ensure_ascii=False)
    raise ValidationFailed(
        f"invalid value for session_affinity ({shown}): not prefix, header:NAME or body:NAME",
        hint=_EXAMPLE,
    )


# What a request says.


def session_of(rule: Rule, fields: Sequence[headers.Field], body: bytes) -> bytes | None:
    """Whom a request belongs to, as 16 bytes; None when it doesn't say.

    Args:
        fields: of the client's request.
        body: all of it, without content codings. Whatever it is, nothing is raised.
    """
    if rule.by == "header":
        value = headers.first(fields, rule.name.encode("ascii"))
        return _digest(value) if value else None
    try:
        try:
            found = _said(rule, body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            found = _said(rule, mended(body))
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None
    return _digest(found) if found else None


def _said(rule: Rule, body: bytes) -> bytes:
    return _prefix(body) if rule.by == "prefix" else _member(body, rule.name)


def _digest(said: bytes) -> bytes:
    return blake2b(said, digest_size=_DIGEST_BYTES).digest()


_NULL: Final = msgspec.Raw(b"null")


class _Body(msgspec.Struct):
    """What the prefix is made of, in each provider's form. Nothing else is decoded.

    OpenAI: messages. Responses: instructions and input. Anthropic: system and messages.
    Gemini: systemInstruction, in either spelling, and contents.
    """

    messages: msgspec.Raw = _NULL
    instructions: msgspec.Raw = _NULL
    input: msgspec.Raw = _NULL
    system: msgspec.Raw = _NULL
    system_instruction: msgspec.Raw = _NULL
    system_in_camel_case: msgspec.Raw = msgspec.field(default=_NULL, name="systemInstruction")
    contents: msgspec.Raw = _NULL


class _Turn(msgspec.Struct):
    role: Any = None
    content: msgspec.Raw = _NULL
    parts: msgspec.Raw = _NULL


_BODY: Final = msgspec.json.Decoder(_Body)
_TURNS: Final = msgspec.json.Decoder(list[msgspec.Raw])
_TURN: Final = msgspec.json.Decoder(_Turn)
_OBJECT: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ANY: Final = msgspec.json.Decoder()
_SYSTEM_ROLES: Final = ("system", "developer")


def _prefix(body: bytes) -> bytes:
    """Everything up to the first user message, in one form for all ways to write it."""
    asked = _BODY.decode(body)
    said: list[bytes] = []
    for instructions in (
        asked.instructions,
        asked.system,
        asked.system_instruction,
        asked.system_in_camel_case,
    ):
        said += _texts(instructions)
    for turns in (asked.messages, asked.input, asked.contents):
        said += _beginning(turns)
    return b"\n".join(said)  # no text has a line's end in it: it is JSON


def _beginning(turns: msgspec.Raw) -> list[bytes]:
    opening = bytes(memoryview(turns)[:1])
    if opening == b'"':  # Responses: a single user message
        return [b"user", *_texts(turns)]
    said: list[bytes] = []
    if opening != b"[":
        return said
    for item in _TURNS.decode(turns):
        if bytes(item)[:1] != b"{":
            continue
        turn = _TURN.decode(item)
        parts = _texts(turn.parts)
        content = _texts(turn.content) + parts
        if turn.role in _SYSTEM_ROLES:
            said += content
        # A single turn of Gemini's needs no role.
        elif content and (turn.role == "user" or (turn.role is None and parts)):
            return [*said, b"user", *content]
    return said


def _texts(content: msgspec.Raw) -> list[bytes]:
    """The parts of a message, each as JSON.

    A text alone and a list of one text are the same message, and marks of what is to be
    cached are no part of it: clients move them on with every turn.
    """
    value = _ANY.decode(content)
    if isinstance(value, dict) and "parts" in value:  # Gemini's systemInstruction
        value = value["parts"]
    parts = value if isinstance(value, list) else [value]
    return [_part(part) for part in parts if part not in (None, "")]


def _part(part: Any) -> bytes:
    if isinstance(part, dict):
        text = part.get("text")
        part = text if isinstance(text, str) else {**part, "cache_control": None}
    return msgspec.json.encode(part, order="sorted")


def _member(body: bytes, name: str) -> bytes:
    """The value of a member, or of a member of its members; empty when it says nothing."""
    value = body
    for level in name.split("."):
        if value.lstrip()[:1] != b"{":
            return b""
        value = bytes(_OBJECT.decode(value).get(level, b""))
    return b"" if value in (b"", b"null", b'""') else value


# Which key it prefers.


class Affinity:
    """The sessions of one group, as one data plane has seen them.

    The law: a key is preferred only if, with that request, it has had at most `SHARE`
    times the mean of what all serving keys had in the last `WINDOW_S`, or four.
    """

    def __init__(self) -> None:
        # By session, the one used least lately first: (epoch seconds of its last use,
        # ids of the keys that served it, the last one first).
        self._sessions: OrderedDict[bytes, tuple[float, tuple[int, ...]]] = OrderedDict()
        self._window: deque[tuple[float, int]] = deque()
        self._load: Counter[int] = Counter()
        self._serving = 1

    def __len__(self) -> int:
        return len(self._sessions)

    def prefers(self, session: bytes, now: float) -> int | None:
        """The id of the key that served the session last, if it may have one more now.

        A session that is too much for one key has served with others: then of these.
        None when it has none, or all have had their share.
        """
        used, keys = self._sessions.get(session, (0.0, ()))
        if not keys or now - used > UNUSED_S:
            return None
        self._forget_load(now)
        most = max(_LITTLE, SHARE * (len(self._window) + 1) / self._serving)
        for key_id in keys:
            if self._load[key_id] + 1 <= most:
                return key_id
        return None

    def served(self, session: bytes | None, key_id: int, now: float, serving: int) -> None:
        """A request went to that key.

        Args:
            session: whom it belongs to; None for nobody: it is load all the same.
            serving: how many keys share the load.
        """
        self._serving = max(1, serving)
        self._forget_load(now)
        self._window.append((now, key_id))
        self._load[key_id] += 1
        if session is None:
            return
        _, keys = self._sessions.pop(session, (0.0, ()))
        others = tuple(other for other in keys if other != key_id)
        self._sessions[session] = (now, (key_id, *others[: _KEYS_A_SESSION - 1]))
        self._forget_sessions(now)

    def _forget_load(self, now: float) -> None:
        window, load = self._window, self._load
        while window and (window[0][0] <= now - WINDOW_S or len(window) > _LOAD_LIMIT):
            _, key_id = window.popleft()
            load[key_id] -= 1
            if not load[key_id]:
                del load[key_id]

    def _forget_sessions(self, now: float) -> None:
        # Two at most for each that came: no call pays for all that expired at once.
        for _ in range(2):
            oldest = next(iter(self._sessions))
            expired = now - self._sessions[oldest][0] > UNUSED_S
            if not expired and len(self._sessions) <= SESSIONS_LIMIT:
                return
            del self._sessions[oldest]
