"""Token counts: where an answer says them, and what its words mean.

The rule of this file: on a request's way they are only found and kept, as they were
written (`said_in`). Whoever moves the records reads them (`parse`). What can't be read
is not known, and nothing in here raises.

Source: the providers' API references and SDKs. Why so: docs/decisions/0021.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson
from attrs import frozen

SEARCHED_BYTES: Final = 8 * 1024
"""Of an answer's end: APIs say the usage behind what they have said."""

KEPT_BYTES: Final = 2048
"""Of one answer's usage. OpenAI's longest has some 400 bytes, Gemini's 900."""

# The key with what stands between it and its object, as all APIs write it.
_KEYS: Final = frozenset(
    b'"%b"%b:%b' % (name, before, after)
    for name in (b"usage", b"usageMetadata")
    for before in (b"", b" ")
    for after in (b"", b" ")
)
_LONGEST_KEY: Final = max(map(len, _KEYS))
_MOST_OBJECTS: Final = 24  # in one usage
_TRIES: Final = 4

# More is no number of tokens.
_MOST: Final = 2**31 - 1


@frozen
class Usage:
    """What one answer took. None is not said, which isn't 0.

    Attributes:
        input: all of it, whether or not it came from a cache or was written to one.
        output: all of it, what was thought included.
        cached: of the input, read from a cache.
        cache_write: of the input, written to a cache.
        cache_write_hour: of that, for an hour, which has a price of its own.
        reasoning: of the output.
        audio_input, audio_output: of the input, and of the output.
    """

    input: int | None = None
    output: int | None = None
    cached: int | None = None
    cache_write: int | None = None
    cache_write_hour: int | None = None
    reasoning: int | None = None
    audio_input: int | None = None
    audio_output: int | None = None

    @property
    def audio(self) -> int | None:
        """Heard and spoken."""
        return _sum(self.audio_input, self.audio_output)


def said_in(end: bytes) -> bytes:
    """The last usage that the end of an answer says, as it is written; b"" for none.

    A model may write the word, or call a tool with an argument of that name. In a text
    its quotes are escaped, so that it isn't found; an argument lies deeper than any API
    puts its own.

    Args:
        end: plain, of a JSON body or of a stream's events; cut anywhere.
    """
    # Hot: once an answer.
    place = len(end)
    for _ in range(_TRIES):
        place = end.rfind(b'"usage', 0, place)
        if place < 0:
            return b""
        said = _said_at(end, place)
        if said:
            return said
    return b""


def said_first_in(begin: bytes) -> bytes:
    """The first that the begin of a stream says; see `said_in`."""
    place = -1
    for _ in range(_TRIES):
        place = begin.find(b'"usage', place + 1)
        if place < 0:
            return b""
        said = _said_at(begin, place)
        if said:
            return said
    return b""


def joined(first: bytes, last: bytes) -> bytes:
    """What a stream said at its begin and at its end, to be read as one."""
    if not first or first == last:
        return last
    if not last or len(first) + len(last) >= KEPT_BYTES:
        return last or first
    return first + b"," + last


def _said_at(data: bytes, place: int) -> bytes:
    # Hot: as `said_in`. Counting braces takes half as long as an expression that knows
    # how objects nest. A brace within a string is in no API's usage; it would hide it.
    begin = data.find(b"{", place, place + _LONGEST_KEY + 1)
    if begin < 0 or data[place:begin] not in _KEYS:
        return b""
    end, opened = begin, 0
    for _ in range(_MOST_OBJECTS):
        after = data.find(b"}", end, begin + KEPT_BYTES) + 1
        if not after:
            return b""
        opened += data.count(b"{", end, after) - 1
        end = after
        if not opened:
            return data[begin:end] if _lies_on_top(data, end) else b""
    return b""


def _lies_on_top(end: bytes, place: int) -> bool:
    """Whether one or two objects are open here: an answer, or an event with one in it."""
    line_end = end.find(b"\n", place)
    line = end[place:] if line_end < 0 else end[place:line_end]
    depth = line.count(b"}") - line.count(b"{")
    if not depth and line_end >= 0:  # written over many lines
        depth = end.count(b"}", place) - end.count(b"{", place)
    return 1 <= depth <= 2


def parse(said: str) -> Usage | None:
    """What an answer's usage means; None if it names no tokens.

    Args:
        said: one JSON object, or several in the order in which they came, joined by
            commas. A later one takes the place of what it names.
    """
    if not said:
        return None
    try:
        parts = orjson.loads(f"[{said}]")
    except orjson.JSONDecodeError:
        return None
    members: dict[str, Any] = {}
    for part in parts:
        if isinstance(part, dict):
            _overlay(members, part)
    for names, read in _SHAPES:
        if any(name in members for name in names):
            usage = read(members)
            return None if usage.input is None and usage.output is None else usage
    return None


def _overlay(members: dict[str, Any], later: Mapping[str, Any]) -> None:
    for name, value in later.items():
        known = members.get(name)
        if isinstance(known, dict) and isinstance(value, dict):
            members[name] = known | {key: one for key, one in value.items() if one is not None}
        elif value is not None:
            members[name] = value


def _of_gemini(said: Mapping[str, Any]) -> Usage:
    thoughts = _count(said, "thoughtsTokenCount")
    return Usage(
        input=_sum(_count(said, "promptTokenCount"), _count(said, "toolUsePromptTokenCount")),
        output=_sum(_count(said, "candidatesTokenCount"), thoughts),  # thoughts stand apart
        cached=_count(said, "cachedContentTokenCount"),
        reasoning=thoughts,
        audio_input=_spoken(said, "promptTokensDetails"),
        audio_output=_spoken(said, "candidatesTokensDetails"),
    )


def _spoken(said: Mapping[str, Any], name: str) -> int | None:
    details = said.get(name)
    counts = [
        _count(detail, "tokenCount")
        for detail in (details if isinstance(details, list) else ())
        if isinstance(detail, dict) and detail.get("modality") == "AUDIO"
    ]
    return _sum(*counts)


def _of_interactions(said: Mapping[str, Any]) -> Usage:
    thoughts = _count(said, "total_thought_tokens")
    tools = _count(said, "total_tool_use_tokens")
    return Usage(
        input=_sum(_count(said, "total_input_tokens"), tools),
        output=_sum(_count(said, "total_output_tokens"), thoughts),
        cached=_count(said, "total_cached_tokens"),
        reasoning=thoughts,
    )


def _of_anthropic(said: Mapping[str, Any]) -> Usage:
    fresh = _count(said, "input_tokens")
    cached = _count(said, "cache_read_input_tokens")
    written = said.get("cache_creation")
    short = _count(written, "ephemeral_5m_input_tokens")
    long = _count(written, "ephemeral_1h_input_tokens")
    write = _count(said, "cache_creation_input_tokens")
    write = _sum(short, long) if write is None else write
    return Usage(
        input=_sum(fresh, cached, write),  # here the first doesn't hold the others
        output=_count(said, "output_tokens"),
        cached=cached,
        cache_write=write,
        cache_write_hour=long,
        reasoning=_count(said.get("output_tokens_details"), "thinking_tokens"),
    )


def _of_responses(said: Mapping[str, Any]) -> Usage:
    before, after = said.get("input_tokens_details"), said.get("output_tokens_details")
    return Usage(
        input=_count(said, "input_tokens"),
        output=_count(said, "output_tokens"),
        cached=_count(before, "cached_tokens"),
        cache_write=_count(before, "cache_write_tokens"),
        reasoning=_first(_count(after, "reasoning_tokens"), _count(after, "thinking_tokens")),
        audio_input=_count(before, "audio_tokens"),
        audio_output=_count(after, "audio_tokens"),
    )


def _of_chat(said: Mapping[str, Any]) -> Usage:
    before, after = said.get("prompt_tokens_details"), said.get("completion_tokens_details")
    put_in, said_out = _count(said, "prompt_tokens"), _count(said, "completion_tokens")
    reasoning = _count(after, "reasoning_tokens")
    total = _count(said, "total_tokens")
    if total is not None and put_in is not None:
        # Gemini's and xAI's thoughts are in the total only.
        apart = total - put_in - (said_out or 0)
        if apart > 0:
            said_out = (said_out or 0) + apart
            reasoning = apart if reasoning is None else reasoning
    return Usage(
        input=put_in,
        output=said_out,
        cached=_first(
            _count(before, "cached_tokens"),
            _count(said, "prompt_cache_hit_tokens"),  # DeepSeek
            _count(said, "cached_tokens"),  # Moonshot
        ),
        cache_write=_count(before, "cache_write_tokens"),
        reasoning=reasoning,
        audio_input=_count(before, "audio_tokens"),
        audio_output=_count(after, "audio_tokens"),
    )


# By a member that no other API's usage has; the first that fits.
_SHAPES: Final = (
    (("promptTokenCount", "candidatesTokenCount", "thoughtsTokenCount"), _of_gemini),
    (("total_input_tokens", "total_output_tokens"), _of_interactions),
    (("prompt_tokens", "completion_tokens"), _of_chat),
    (
        ("cache_read_input_tokens", "cache_creation_input_tokens", "cache_creation"),
        _of_anthropic,
    ),
    (("input_tokens", "output_tokens"), _of_responses),
)


def _count(said: object, name: str) -> int | None:
    value = said.get(name) if isinstance(said, dict) else None
    return value if type(value) is int and 0 <= value <= _MOST else None


def _sum(*counts: int | None) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def _first(*counts: int | None) -> int | None:
    return next((count for count in counts if count is not None), None)
