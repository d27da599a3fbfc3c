"""Parameter overrides and model redirects: nothing changes but what a rule names.

A body is never decoded and written anew: integers past 2^53, escapes, order,
repeated names and blanks would not survive that. The value's bytes are replaced
where they stand.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from gptload.core.errors import BadRequest
from gptload.core.jsonscan import members, text_of


def override(body: bytes, overrides: Mapping[str, Any]) -> bytes:
    """Set top-level members of a JSON object; a new one goes to its end.

    A name that the body repeats gets the value in every place: which of them an
    upstream reads is its own affair.

    Returns:
        The body unchanged when it isn't a JSON object.
    """
    if not overrides:
        return body
    found = members(body)
    if found is None:
        return body
    edits = [
        (member.start, member.end, _encode(overrides[member.name]))
        for member in found
        if member.name in overrides
    ]
    present = {member.name for member in found}
    added = b",".join(
        _encode(name) + b":" + _encode(value)
        for name, value in overrides.items()
        if name not in present
    )
    if added:
        place = body.rindex(b"}")
        edits.append((place, place, b"," + added if found else added))
    return _edited(body, edits)


def redirect(body: bytes, redirects: Mapping[str, str], strict: bool) -> bytes:
    """Put the target's name in the place of a model that the rules name.

    Raises:
        BadRequest: strict, and the model is none that the rules name, or there is
            none that can be read: a whitelist that lets through what it can't read
            is none.
    """
    if not redirects:
        return body
    found = [member for member in members(body) or () if member.name == "model"]
    # Of several the last counts, as it does for every JSON parser that we know of.
    model = text_of(body[found[-1].start : found[-1].end]) if found else ""
    target = target_of(model, redirects, strict)
    if model not in redirects or (target == model and len(found) == 1):
        return body
    # All of several: an upstream that reads the first must not get past a whitelist.
    value = _encode(target)
    return _edited(body, [(member.start, member.end, value) for member in found])


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


def _edited(body: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    parts: list[bytes] = []
    position = 0
    for start, end, text in edits:
        parts += (body[position:start], text)
        position = end
    return b"".join((*parts, body[position:]))


def _encode(value: Any) -> bytes:
    # The standard library's encoder keeps integers of any size, and plain ASCII has
    # room for every text that a rule can hold, half an emoji too.
    return json.dumps(value, separators=(",", ":")).encode("ascii")
