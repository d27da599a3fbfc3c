"""What planes say to each other: snapshots, key changes, key events.

A **key event** goes up: a data plane saw something. A **key change** comes down:
this holds now. Both are plain values, so any carrier can move them. What is folded
into key states is defined in core, where that is decided.
"""

from __future__ import annotations

from attrs import frozen

from gptload.core import breaker
from gptload.core.keyevents import KeyEvent as KeyEvent
from gptload.core.keyevents import Seen as Seen
from gptload.core.keyevents import WaySuspected as WaySuspected
from gptload.core.keypool import PoolKey
from gptload.core.keystate import State


@frozen
class BreakerMoved:
    """Data plane → control plane: a breaker has another state now.

    Attributes:
        at: epoch seconds.
        retry_at: epoch seconds of the next try, for one that is open.
        reason: what opened it, e.g. `openai.status_500` or `correlated`.
    """

    way: str
    state: breaker.State
    at: float
    retry_at: float | None
    reason: str


@frozen
class OwnerNoted:
    """Data plane → control plane: a resource of a provider lives with this key.

    Attributes:
        resource: keyed hash or plain id of the resource, at most 200 characters.
        upstream: `Upstream.mark` of the one that made it.
        until: epoch seconds until which it may exist.
    """

    group_id: int
    resource: str
    key_id: int
    upstream: int
    until: float


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
    """One key's state as the ledger now holds it.

    Attributes:
        until: epoch seconds of the key's own rest's end, for RESTING.
        rests: (model, epoch seconds) of all rests of the key that are about one model.
        account: the provider's id of its account, as far as anybody has seen it.
    """

    group_id: int
    key_id: int
    state: State
    strikes: int
    until: float | None
    rests: tuple[tuple[str, float], ...] = ()
    account: str = ""


@frozen
class OwnersKnown:
    """What is known of who made which resource. Also how a data plane is first told."""

    owners: tuple[OwnerNoted, ...]


@frozen
class GroupRemoved:
    """The group and all its keys are gone."""

    group_id: int


KeyChange = KeysAdded | KeysRemoved | KeyStateChanged | GroupRemoved | WaySuspected | OwnersKnown
Event = KeyEvent | BreakerMoved | OwnerNoted
