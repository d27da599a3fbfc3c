"""What a data plane answers when it is asked who would serve a request. Nothing is sent.

Values only, made by `gptload.proxy.rehearsal` and shown by `/api/simulate`.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

from attrs import frozen

from gptload.core.breaker import State
from gptload.core.outcome import Outcome


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


class End(StrEnum):
    """How a rehearsal's client fares."""

    ANSWERED = "answered"
    RETURNED = "returned"  # it gets the last failure: nothing better would come
    NOBODY = "nobody"  # it gets the last failure: another try is allowed, and nobody is left
    WAITS = "waits"  # it is held until a key comes back, as `max_wait_for_key` allows


class Pays(StrEnum):
    """Who is charged for a failure."""

    KEY_STRIKE = "key_strike"  # it counts towards the key's blacklist_threshold
    KEY_REST = "key_rest"
    UPSTREAM = "upstream"
    NOBODY = "nobody"


@frozen
class TrialSeen:
    """One attempt that would be made.

    Attributes:
        way: the upstream's place in the group's list.
        after_s: the longest that it would be held back before.
        status: what it is made to end with; 200 for the last one of an answered client,
            0 for no answer at all.
        outcome: what that means.
        reason: which rule says so; "" for a good answer.
        until: epoch seconds of the end of the rest that it causes, if it causes one.
    """

    group_id: int
    way: int
    key: KeySeen
    after_s: float
    status: int
    outcome: Outcome
    reason: str
    pays: Pays
    until: float | None


@frozen
class Plan:
    """What would follow if attempts ended as asked.

    Attributes:
        wakes_at: epoch seconds at which the first key comes back, for one that waits.
    """

    trials: tuple[TrialSeen, ...]
    end: End
    wakes_at: float | None


@frozen
class Leaving:
    """The request as the chosen upstream would get it, but for the key's middle.

    Attributes:
        head: its line and fields, with CRLF between them.
        sample: the body before the groups' rules.
        body: after them.
        refusal: why a rule forbids it, in which case nothing leaves.
    """

    head: str
    sample: str
    body: str
    refusal: str


@frozen
class Asked:
    """The question.

    Attributes:
        model: what is asked for; "" when the request names none.
        path: below the group, with its query; "" for that of the channel's cheapest call.
        body: None for that call's; "" for none.
        failures: statuses with which attempts end, one after another; 0 for no answer.
        stream: its answer is to be streamed, whatever path and body say.
    """

    group_id: int
    model: str = ""
    path: str = ""
    body: str | None = None
    failures: tuple[int, ...] = ()
    stream: bool = False


@frozen
class Rehearsal:
    """A request that isn't sent.

    Attributes:
        choice: None: nobody can serve it now; then there is nothing to leave, nor a plan.
        has_affinity: a session may be served by the key that served it last instead.
    """

    members: tuple[MemberSeen, ...]
    choice: ChoiceSeen | None
    has_affinity: bool
    leaving: Leaving | None = None
    plan: Plan | None = None


Rehearse = Callable[[Asked], Rehearsal | None]
"""What would happen; None when no such group can be used."""


def no_data_plane(asked: Asked) -> Rehearsal | None:
    """Where there is nobody to ask: no group can be used."""
    return None
