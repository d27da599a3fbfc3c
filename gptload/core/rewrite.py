"""Parameter overrides and model redirects: nothing changes but what a rule names.

A body is never decoded and written anew: integers past 2^53, escapes, order,
repeated names and blanks would not survive that. The value's bytes are replaced
where they stand.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from gptload.core.errors import BadRequest

_TOKEN: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\],:]', re.DOTALL)
_BLANKS: Final = b" \t\r\n"


def override(body: bytes, overrides: Mapping[str, Any]) -> bytes:
    """Set top-level members of a JSON object; a new one goes to its end.

    Returns:
        The body unchanged when it isn't a JSON object.
    """
    if not overrides or not _is_object(body):
        return body
    edits: list[tuple[int, int, bytes]] = []
    left = dict(overrides)
    members = list(_members(body))
    for name, start, end in members:
        if name in overrides:
            edits.append((start, end, _encode(overrides[name])))
            left.pop(name, None)
    if left:
        added = b",".join(_encode(name) + b":" + _encode(value) for name, value in left.items())
        place = body.rindex(b"}")
        edits.append((place, place, b"," + added if members else added))
    return _edited(body, edits)


def redirect(body: bytes, redirects: Mapping[str, str], strict: bool) -> bytes:
    """Put the target's name in the place of a model that the rules name.

    Raises:
        BadRequest: strict, and the model is none that the rules name, or there is
            none that can be read: a whitelist that lets through what it can't read
            is none.
    """
    model = ""
    spans: list[tuple[int, int]] = []
    if _is_object(body):
        for name, start, end in _members(body):
            if name == "model":
                spans.append((start, end))
        if spans:
            value = msgspec.json.decode(body[slice(*spans[-1])])
            model = value if isinstance(value, str) else ""
    target = target_of(model, redirects, strict)
    if target == model:
        return body
    return _edited(body, [(start, end, _encode(target)) for start, end in spans])


def target_of(model: str, redirects: Mapping[str, str], strict: bool) -> str:
    """The model to ask for instead; one step, exact names.

    Strict mode without any rule forbids nothing: there is no list to be on.

    Raises:
        BadRequest: strict, and the rules don't name this model.
    """
    target = redirects.get(model)
    if target is not None:
        return target
    if strict and redirects:
        if not model:
            raise BadRequest(
                "this group allows only the models of its redirect rules, and the request "
                "names none that can be read",
                hint="Send the model in a plain JSON body.",
            )
        raise BadRequest(f"model '{model[:200]}' is not configured in redirect rules")
    return model


def _is_object(body: bytes) -> bool:
    if body.lstrip(_BLANKS)[:1] != b"{":
        return False
    try:
        msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def _members(body: bytes) -> Iterator[tuple[str, int, int]]:
    """Name of each top-level member of a valid object, and where its value stands."""
    depth, name, start, expects_name = 0, "", 0, False
    for token in _TOKEN.finditer(body):
        mark = body[token.start()]
        if mark == 0x22:  # "
            if depth == 1 and expects_name:
                name, expects_name = msgspec.json.decode(token[0], type=str), False
        elif mark in b"{[":
            depth += 1
            expects_name = depth == 1
        elif mark == 0x3A:  # :
            if depth == 1:
                start = token.end()
        elif mark == 0x2C:  # ,
            if depth == 1:
                yield (name, *_trimmed(body, start, token.start()))
                expects_name = True
        else:
            if depth == 1 and start:
                yield (name, *_trimmed(body, start, token.start()))
            depth -= 1


def _trimmed(body: bytes, start: int, end: int) -> tuple[int, int]:
    value = body[start:end]
    return start + len(value) - len(value.lstrip(_BLANKS)), start + len(value.rstrip(_BLANKS))


def _edited(body: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    parts: list[bytes] = []
    position = 0
    for start, end, text in edits:
        parts += (body[position:start], text)
        position = end
    return b"".join((*parts, body[position:]))


def _encode(value: Any) -> bytes:
    # The standard library's encoder keeps integers of any size.
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
