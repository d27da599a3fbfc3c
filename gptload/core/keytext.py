"""A text full of keys → the keys, in its order.

Keys are taken byte for byte: `|`, `+`, `/` and `=` are part of many of them. What
can't travel in a request's field is refused here, where a person can mend it.
"""

from __future__ import annotations

import json
import re
from typing import Final

from gptload.core.errors import ValidationFailed

_LONGEST: Final = 4096
_GAPS: Final = re.compile(r"[\s,;]+")
# What editors and browsers put around a text without showing it.
_INVISIBLE: Final = "\ufeff\u200b\u200c\u200d\u2060"
_UNFIT: Final = re.compile(r"[\x00-\x20\x7f\u0080-\u009f]")


def split(text: str) -> list[str]:
    """The keys of a text: a JSON array of strings, or words.

    Words are separated by white space, commas or semicolons. Repeats are kept.

    Raises:
        ValidationFailed: it begins like a JSON array and is none, or an element can't
            be a key. The text says which one, and never shows it.
    """
    plain = text.strip().strip(_INVISIBLE).strip()
    words = _array(plain) if plain.startswith("[") else _GAPS.split(plain)
    keys = [word for word in (word.strip().strip(_INVISIBLE) for word in words) if word]
    for number, key in enumerate(keys, 1):
        if len(key) > _LONGEST:
            raise ValidationFailed(f"key {number} is longer than {_LONGEST} characters")
        if _UNFIT.search(key):
            raise ValidationFailed(
                f"key {number} has a blank or a control character inside",
                hint="A key goes into a header field, which can't hold such a character.",
            )
    return keys


def _array(text: str) -> list[str]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise ValidationFailed(
            "keys_text begins like a JSON array, but is not valid JSON",
            hint="Mend the array, or write one key a line.",
        ) from None
    for number, element in enumerate(found, 1):
        if not isinstance(element, str):
            raise ValidationFailed(f"keys_text is a JSON array whose element {number} is no string")
    return list(found)
