"""What the APIs keep for the account that made it: files, batches, responses, caches, uploads.

The rule of this file: what one key made isn't there for any other key, in each API's own
words. Like a real provider it forgets nothing when a script ends, and no id is given twice.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Thing:
    """One resource.

    Attributes:
        key: who made it.
        shown: what the API says of it.
    """

    key: str
    shown: dict[str, Any]
    content: bytearray = field(default_factory=bytearray)


class Kept:
    """Everything that is kept, by id."""

    def __init__(self) -> None:
        self._things: dict[str, Thing] = {}
        self._numbers = itertools.count(1)

    def new_id(self, prefix: str) -> str:
        """An id that was never given before."""
        return f"{prefix}{next(self._numbers):06d}"

    def keep(self, name: str, key: str, shown: dict[str, Any], content: bytes = b"") -> Thing:
        """This key has made it."""
        thing = self._things[name] = Thing(key, shown, bytearray(content))
        return thing

    def of(self, key: str, name: str) -> Thing | None:
        """What this key made under that name; None when it made no such thing."""
        thing = self._things.get(name)
        return thing if thing is not None and thing.key == key else None

    def drop(self, name: str) -> None:
        """It is deleted."""
        self._things.pop(name, None)

    def all(self, key: str, prefix: str) -> Iterator[dict[str, Any]]:
        """What is shown of all that this key made with ids that begin so."""
        for name, thing in self._things.items():
            if thing.key == key and name.startswith(prefix):
                yield thing.shown
