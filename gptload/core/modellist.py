"""Model lists and the paths of single models, in the form that most APIs copied from OpenAI."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote, unquote_to_bytes

_ONE_MODEL = re.compile(rb"(?<=/models/)[^/]+$")


def add_entries(
    answer: dict[str, Any], at: str, key: str, entries: list[dict[str, Any]], only: bool
) -> None:
    """Put entries behind those that are listed, each name once.

    Args:
        answer: a decoded model list, changed in place; left alone if it is none.
        at: where the list is, e.g. `data`.
        key: what names an entry, e.g. `id`.
        only: leave nothing but `entries`.
    """
    listed = answer.get(at)
    if isinstance(listed, list):
        known = {entry.get(key) for entry in listed if isinstance(entry, dict)}
        added = [entry for entry in entries if only or entry[key] not in known]
        answer[at] = added if only else listed + added


def listed_model(path: bytes) -> str:
    """The model of `…/models/{model}`; empty for any other path."""
    found = _ONE_MODEL.search(path)
    return unquote_to_bytes(found[0]).decode("utf-8", "replace") if found else ""


def with_listed_model(path: bytes, model: str) -> bytes:
    """`…/models/{model}` with another model."""
    return _ONE_MODEL.sub(lambda _: quote(model, safe=":@").encode("ascii"), path)
