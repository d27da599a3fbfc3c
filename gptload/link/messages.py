"""What planes say to each other: snapshots, key changes, key events.

A **key event** goes up: a data plane saw something. A **key change** comes down:
this holds now. Both are plain values, so any carrier can move them.
"""

from __future__ import annotations

from enum import IntEnum

from attrs import frozen

from gptload.core import breaker
from gptload.core.keypool import PoolKey
from gptload.core.keystate import State
from gptload.core.outcome import Scope


class Seen(IntEnum):
    """What a data plane saw of a key."""

    OK = 0  # sent for a key that has strikes, which it ends, or whose account it shows first
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
        scope: whom a rest is about: the key, its account, either with one model.
        model: what was asked for; "" where no model was named.
        account: the provider's id of the key's account; "" where nobody said it.
        way: the upstream and the egress that showed it, as `Destination.way` spells them.
        signature: what the answers of one cause have in common; "" where the answer
            itself proves that it is about this key alone.
        others_ok_at: epoch seconds at which another key last succeeded on this way.
        exchange_id: the exchange that showed it.
    """

    group_id: int
    key_id: int
    seen: Seen
    at: float
    until: float | None = None
    threshold: int = 0
    reason: str = ""
    status: int = 0
    scope: Scope = Scope.KEY
    model: str = ""
    account: str = ""
    way: str = ""
    signature: str = ""
    others_ok_at: float | None = None
    exchange_id: str = ""


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
        upstream: number of the group's upstream that made it.
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
class WaySuspected:
    """Many keys failed alike on this way within seconds: it's the way's trouble, not theirs.

    Attributes:
        at: epoch seconds.
        reason: for people, e.g. `7 keys were answered alike: openai.invalid_api_key`.
    """

    way: str
    at: float
    reason: str


@frozen
class OwnersKnown:
    """What is known of who made which resource. Also how a data plane is first told."""

    owners: tuple[OwnerNoted, ...]


@frozen
class GroupRemoved:
    """The group and all its keys are gone."""

    group_id: int


KeyChange = (
    KeysAdded | KeysRemoved | KeyStateChanged | GroupRemoved | WaySuspected | OwnersKnown
)
Event = KeyEvent | BreakerMoved | OwnerNoted
