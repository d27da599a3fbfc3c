"""A dict that grows in small steps, however large it is.

A table that is full is laid out anew in one step, and nobody else runs meanwhile: with a
third of a million entries that takes 15 ms, and a key pool has several of them. Here the
entries are kept in blocks that are each small.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from itertools import chain
from typing import Final, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

BITS: Final = 13
"""A block holds keys whose hashes differ in these last bits alone."""


class Blocks(Generic[K, V]):
    """What a dict does, for ids that a database gave one after the other.

    Other keys are right too, if there are few of them: each may get a block of its own.

    Attributes:
        blocks: by `hash(key) >> BITS`; for hot code, which spares the call. None is empty.
    """

    __slots__ = ("blocks",)

    def __init__(self) -> None:
        self.blocks: dict[int, dict[K, V]] = {}

    def __getitem__(self, key: K) -> V:
        return self.blocks[hash(key) >> BITS][key]

    def __setitem__(self, key: K, value: V) -> None:
        number = hash(key) >> BITS
        block = self.blocks.get(number)
        if block is None:
            block = self.blocks[number] = {}
        block[key] = value

    def __contains__(self, key: object) -> bool:
        block = self.blocks.get(hash(key) >> BITS)
        return block is not None and key in block

    def __iter__(self) -> Iterator[K]:
        return chain.from_iterable(self.blocks.values())

    def __len__(self) -> int:
        return sum(map(len, self.blocks.values()))

    def get(self, key: K) -> V | None:
        """None when it isn't there."""
        block = self.blocks.get(hash(key) >> BITS)
        return None if block is None else block.get(key)

    def pop(self, key: K) -> V | None:
        """Take it out; None when it isn't there."""
        number = hash(key) >> BITS
        block = self.blocks.get(number)
        if block is None:
            return None
        value = block.pop(key, None)
        if not block:
            del self.blocks[number]
        return value

    def values(self) -> Iterator[V]:
        """In the order in which their blocks were begun."""
        return chain.from_iterable(block.values() for block in self.blocks.values())
