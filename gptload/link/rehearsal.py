"""What a data plane answers when it is asked who would serve a request. Nothing is sent.

Values only, made by `gptload.proxy.rehearsal` and shown by `/api/simulate`.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

from attrs import frozen

from gptload.core.breaker import State


class Out(StrEnum):
    """Why a member of an aggregate, or the group itself, can't serve."""

    NO_WEIGHT = "no_weight"
    GONE = "gone"  # it can't be used: switched off or broken
    NO_KEYS = "no_keys"
    NONE_AWAKE = "none_awake"  # all of its keys are out or rest
    NO_WAY = "no_way"  # none of its upstreams has a weight


@frozen
class KeySeen:
    """A key, for people.

    Attributes:
        masked: its ends.
    """

    id: int
    masked: str
    weight: int


@frozen
class WaySeen:
    """An upstream of a group, as requests for the model see it.

    Attributes:
        number: its place in the group's list.
        url: without its query.
        state: of the breaker.
        retry_at: epoch seconds of the next try, for one that is open.
        is_avoided: others are preferred now.
    """

    number: int
    url: str
    weight: int
    state: State
    retry_at: float | None
    reason: str
    is_avoided: bool


@frozen
class MemberSeen:
    """A group that may serve: a member of the aggregate, or the group itself.

    Attributes:
        weight: within the aggregate; None for a group that is asked itself.
        keys: all that it has.
        serving: those that take turns.
        resting_for_model: those of them that rest for this model alone.
        wakes_at: epoch seconds at which the first key that rests may serve the model.
        out: why it can't serve now; None if it can.
    """

    group_id: int
    weight: int | None
    keys: int
    serving: int
    resting_for_model: int
    wakes_at: float | None
    ways: tuple[WaySeen, ...]
    out: Out | None


@frozen
class ChoiceSeen:
    """Who would make the first attempt.

    Attributes:
        way: the upstream's place in the group's list.
        then: whose turn it is in the same group if that key fails through its own fault.
        is_forced: it goes through a breaker that isn't closed, because there is no other way.
    """

    group_id: int
    way: int
    key: KeySeen
    then: tuple[KeySeen, ...]
    is_forced: bool


@frozen
class Rehearsal:
    """A request that isn't sent.

    Attributes:
        choice: None: nobody can serve it now.
        has_affinity: a session may be served by the key that served it last instead.
    """

    members: tuple[MemberSeen, ...]
    choice: ChoiceSeen | None
    has_affinity: bool


Rehearse = Callable[[int, str], Rehearsal | None]
"""(group id, model) → what would happen; None when no such group can be used."""


def no_data_plane(group_id: int, model: str) -> Rehearsal | None:
    """Where there is nobody to ask: no group can be used."""
    return None
