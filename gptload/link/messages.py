"""What planes say to each other: snapshots, key changes, key events.

A **key event** goes up: a data plane saw something. A **key change** comes down:
this holds now. Both are plain values, so any carrier can move them.
"""

from __future__ import annotations

from enum import IntEnum

from attrs import frozen

from gptload.core.keypool import PoolKey
from gptload.core.keystate import State


class Seen(IntEnum):
    """What a data plane saw of a key."""

    OK = 0  # sent only for a key that has strikes: a success ends them
    REJECTED = 1
    LIMITED = 2
    EXHAUSTED = 3


@frozen
class KeyEvent:
    """Data plane → ledger.

    Attributes:
        at: epoch seconds.
        until: epoch seconds of the rest's end; None for OK and REJECTED.
        threshold: the group's `blacklist_threshold` as the request saw it; 0 = never.
        reason: the verdict's reason.
        status: the HTTP status that showed it; 0 when there was none.
    """

    group_id: int
    key_id: int
    seen: Seen
    at: float
    until: float | None = None
    threshold: int = 0
    reason: str = ""
    status: int = 0


@frozen
class KeysAdded:
    """These keys exist now. Also how a pool is first filled."""

    group_id: int
    keys: tuple[PoolKey, ...]


@frozen
class KeysRemoved:
    """These keys are gone; they are never used again."""

    group_id: int
    key_ids: tuple[int, ...]


@frozen
class KeyStateChanged:
    """One key's state as the ledger now holds it."""

    group_id: int
    key_id: int
    state: State
    strikes: int
    until: float | None


@frozen
class GroupRemoved:
    """The group and all its keys are gone."""

    group_id: int


KeyChange = KeysAdded | KeysRemoved | KeyStateChanged | GroupRemoved
