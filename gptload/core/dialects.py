"""What the APIs say inside a 200: first word, end, and errors in the place of an answer.

The rule of this file: an event says itself whose it is. One channel serves several
APIs (`openai` chats and responses, `gemini` its own form and OpenAI's), and no two of
them mean different things by the same words, so one table does for all. What isn't
known here is content, and its end is any end: we never break what we don't understand.

Source: the providers' streaming references; docs/providers.md, "What a stream says".
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, Final

import msgspec
import orjson

from gptload.core.jsonscan import mended
from gptload.core.sse import Event


class Sign(Enum):
    """What an event is to somebody who waits for the first word."""

    HANDSHAKE = "handshake"  # a role, a ping, an opened block: no content yet
    CONTENT = "content"  # a token, a thought, a tool call, a reason to stop
    ERROR = "error"  # in the place of an event
    END = "end"  # an end marker that carries no answer of its own


_DONE: Final = b"[DONE]"

# By `type`, by Gemini's `event_type`, or by the event's name.
_HANDSHAKES: Final = frozenset(
    (
        "ping",
        "message_start",
        "content_block_stop",
        "response.created",
        "response.queued",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.reasoning_summary_part.added",
        "interaction.created",
        "interaction.status_update",
        "step.start",
        "step.stop",
    )
)
_ENDS: Final = frozenset(
    (
        "message_stop",
        "response.completed",
        "response.incomplete",
        "response.failed",
        "interaction.completed",
        "image_generation.completed",
        "image_edit.completed",
        "speech.audio.done",
        "transcript.text.done",
    )
)
# Whose end we know: a stream of these that stops elsewhere was cut.
_KNOWN: Final = (
    "message_",
    "content_block_",
    "response.",
    "interaction.",
    "step.",
    "image_generation.",
    "image_edit.",
    "speech.audio.",
    "transcript.text.",
)
_ERRORS: Final = frozenset(("error", "response.failed"))

# An error that the connection's end has cut is an error still.
_BEGINS_AS_ERROR: Final = re.compile(rb'\s*\{\s*"error"\s*:\s*[{"]')

# Where an error body says so: it is short, or says it first.
_HEAD_BYTES: Final = 4096


def sign_of(event: Event) -> Sign:
    """What an event of any API that gptload knows is. `IProvider.stream_sign` for most."""
    data = event.data
    if data.lstrip()[: len(_DONE)] == _DONE:
        return Sign.END
    if event.name == b"error":
        return Sign.ERROR
    value = _parsed(data)
    if not isinstance(value, dict):
        if not data.strip():
            return Sign.HANDSHAKE  # a name and no more
        return Sign.ERROR if _BEGINS_AS_ERROR.match(data) else Sign.CONTENT
    if _is_error(value):
        return Sign.ERROR
    if "choices" in value:
        return _sign_of_choices(value["choices"])
    if "candidates" in value or "usageMetadata" in value:
        return _sign_of_candidates(value)
    kind = _kind(event, value)
    if kind in _HANDSHAKES:
        return Sign.HANDSHAKE
    if kind == "message_stop":
        return Sign.END
    if kind == "content_block_start":
        block = value.get("content_block")
        opens_text = _member(block, "type") in ("text", "thinking")
        return _handshake_unless(not opens_text or _says(block, "type"))
    if kind == "content_block_delta":
        return _handshake_unless(_says(value.get("delta"), "type"))
    if value.get("done") is False:  # Ollama
        said = value.get("response") or value.get("thinking")
        return _handshake_unless(said or _says(value.get("message"), "role"))
    return Sign.CONTENT


def has_ended(events: Sequence[Event]) -> bool:
    """Whether a stream whose last events are these has ended, rather than been cut.

    A reason to stop is an end: some vendors send nothing after it. So is an error.

    Returns:
        False only where the events belong to an API whose end is known here.
    """
    for event in reversed(events):
        ended = _ends(event)
        if ended is not None:
            return ended
    return True


def is_whole(event: Event) -> bool:
    """Whether SDKs can read an event's data: JSON that isn't cut, or an end marker."""
    return event.data.startswith(_DONE) or _parsed(event.data) is not None


def error_event(body: Mapping[str, object], name: bytes = b"") -> bytes:
    """The bytes of an event with this JSON, to be written where an event may begin."""
    head = b"event: %b\n" % name if name else b""
    return b"%bdata: %b\n\n" % (head, orjson.dumps(body))


def may_be_error(beginning: bytes) -> bool:
    """Whether an answer that begins so is worth being kept back and read."""
    # Hot: once an answer. Most say nothing of the kind near their start.
    head = beginning[:_HEAD_BYTES]
    if b'"error"' in head or b'"base_resp"' in head or b'"failed"' in head:
        return True
    return not head.strip()  # what some APIs send while they wait says nothing yet


def inner_error(body: bytes) -> bytes | None:
    """The error that a complete JSON answer with status 200 really is, or None.

    Ask for answers to a POST only: what a GET shows may be a thing that failed long ago.

    Args:
        body: without content coding.
    """
    if not may_be_error(body):
        return None
    try:
        said = _SAID_DECODER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return body if _is_error(msgspec.structs.asdict(said)) else None


class _Said(msgspec.Struct):
    """The members that can make an answer an error."""

    error: Any = None
    object: Any = None
    type: Any = None
    status: Any = None
    base_resp: Any = None


_SAID_DECODER: Final = msgspec.json.Decoder(_Said)


def _is_error(value: Mapping[str, Any]) -> bool:
    if value.get("error") or value.get("object") == "error":
        return True
    kind = value.get("type") or value.get("event_type")
    if isinstance(kind, str) and kind in _ERRORS:
        return True
    if value.get("object") == "response" and value.get("status") == "failed":
        return True
    return bool(_member(value.get("base_resp"), "status_code"))  # MiniMax; 0 is success


def _sign_of_choices(choices: object) -> Sign:
    """OpenAI's chats and completions, and the many who speak like them."""
    for choice in choices if isinstance(choices, list) else ():
        reason = _member(choice, "finish_reason")
        if reason == "error":  # OpenRouter
            return Sign.ERROR
        if reason or _member(choice, "text") or _member(choice, "message"):
            return Sign.CONTENT
        if _says(_member(choice, "delta"), "role"):
            return Sign.CONTENT
    return Sign.HANDSHAKE  # roles, usage, a filter's results on the prompt


def _sign_of_candidates(value: Mapping[str, Any]) -> Sign:
    """Gemini."""
    candidates = value.get("candidates")
    for candidate in candidates if isinstance(candidates, list) else ():
        parts = _member(_member(candidate, "content"), "parts")
        if _member(candidate, "finishReason"):
            return Sign.CONTENT
        for part in parts if isinstance(parts, list) else ():
            if _says(part, "thought", "thoughtSignature"):
                return Sign.CONTENT
    return _handshake_unless(_member(value.get("promptFeedback"), "blockReason"))


def _ends(event: Event) -> bool | None:
    """Whether this event ends its stream; None if it says nothing about that."""
    data = event.data.strip()
    if data[: len(_DONE)] == _DONE:
        return True
    value = _parsed(data)
    if not isinstance(value, dict):
        return False if data[:1] == b"{" and data[-1:] != b"}" else None  # cut within
    if _is_error(value):
        return True
    for name, reason in (("choices", "finish_reason"), ("candidates", "finishReason")):
        if isinstance(items := value.get(name), list) and items:
            return any(_member(item, reason) for item in items)
    if _member(value.get("promptFeedback"), "blockReason"):
        return True
    if isinstance(done := value.get("done"), bool):  # Ollama
        return done
    kind = _kind(event, value)
    if kind in _ENDS:
        return True
    return False if kind.startswith(_KNOWN) else None


def _kind(event: Event, value: Mapping[str, Any]) -> str:
    kind = value.get("type") or value.get("event_type")
    return kind if isinstance(kind, str) else event.name.decode("latin-1")


def _parsed(data: bytes) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        pass
    try:  # half an emoji; but for that it's good JSON
        return orjson.loads(mended(data))
    except orjson.JSONDecodeError:
        return None


def _member(value: object, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None


def _says(value: object, *besides: str) -> bool:
    """Whether an object has anything to say, besides these members."""
    if not isinstance(value, dict):
        return bool(value)
    return any(said for name, said in value.items() if name not in besides)


def _handshake_unless(said: object) -> Sign:
    return Sign.CONTENT if said else Sign.HANDSHAKE
