"""How easily a secret is guessed: what the dashboard warns of.

Source: the reference's rules for its security warnings.
"""

from __future__ import annotations

import re
from typing import Final, Literal

from attrs import frozen

_SHORT, _LONG_ENOUGH = 16, 32
_KINDS = 3
_WORDS: Final = re.compile(
    "password|123456|admin|secret|test|demo|sk-123456|key|token|pass|pwd|qwerty|abc|default|"
    "user|login|auth|temp",
    re.IGNORECASE,
)


@frozen
class Weakness:
    """One reason to choose another secret. Never shows the secret itself."""

    severity: Literal["high", "medium"]
    message: str
    suggestion: str


def weaknesses(name: str, secret: str) -> list[Weakness]:
    """What is weak about a secret; nothing if all is well.

    Args:
        name: how people call it; stands in the message.
    """
    found: list[Weakness] = []
    if len(secret) < _SHORT:
        found.append(
            Weakness(
                "high",
                f"{name} has only {len(secret)} characters",
                f"Use at least {_SHORT} characters; {_LONG_ENOUGH} are better.",
            )
        )
    elif len(secret) < _LONG_ENOUGH:
        found.append(
            Weakness(
                "medium",
                f"{name} has {len(secret)} characters",
                f"{_LONG_ENOUGH} or more are better.",
            )
        )
    word = _WORDS.search(secret)
    if word is not None:
        found.append(
            Weakness(
                "high",
                f"{name} {_about(word[0], secret)}",
                "Use random characters, such as `openssl rand -hex 32` prints.",
            )
        )
    if len(secret) >= _SHORT and _kinds(secret) < _KINDS:
        found.append(
            Weakness(
                "medium",
                f"{name} uses too few kinds of characters",
                "Mix upper case, lower case, digits and others.",
            )
        )
    return found


def _about(word: str, secret: str) -> str:
    # A secret that is nothing but such a word is still not shown.
    return "is a guessable word" if word == secret else f'contains the guessable word "{word}"'


def _kinds(secret: str) -> int:
    kinds = {
        "upper" if c.isupper() else "lower" if c.islower() else "digit" if c.isdigit() else "other"
        for c in secret
    }
    return len(kinds)
