"""What is said about keys: what a data plane saw, and what came of it. Plain values."""

from __future__ import annotations

from enum import Enum, IntEnum

from attrs import frozen

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
        proven: the key itself had a good answer before.
        serving: how many keys of the group may serve.
        exchange_id: the exchange that showed it.
        named: the answer itself said until when; otherwise `until` is our own default,
            which grows while it repeats.
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
    named: bool = True
    proven: bool = False
    serving: int = 0


@frozen
class WaySuspected:
    """Many keys failed alike on this way within seconds: it's the way's trouble, not theirs.

    Attributes:
        at: epoch seconds.
        reason: for people, e.g. `7 keys were answered alike: openai.invalid_api_key`.
        sure: see `gptload.core.correlation.Finding`.
    """

    way: str
    at: float
    reason: str
    sure: bool = True


class Happened(Enum):
    """What a line of a key's timeline tells."""

    STRUCK = "struck"
    STRUCK_OUT = "struck_out"  # by so many strikes in a row
    STRIKES_ENDED = "strikes_ended"
    RESTED = "rested"
    ACCOUNT_SEEN = "account_seen"
    UNDONE = "undone"  # it was the way's trouble; what it had changed is as before
    SPARED = "spared"  # the same, and nothing had changed yet
    TESTED_GOOD = "tested_good"
    TESTED_BAD = "tested_bad"
    RESTORED = "restored"  # by a person
    SWITCHED_OFF = "switched_off"  # by a person
    SWITCHED_ON = "switched_on"


@frozen
class KeyView:
    """What holds of one key now.

    Attributes:
        strikes: rejections in a row.
        until: epoch seconds of the rest's end, for RESTING.
        reason: why it is not active, as its verdict said.
        changed_at: epoch seconds since when; None when nothing ever happened.
        rests: (model, epoch seconds) of the rests that are about one model.
        account: the provider's id of its account; "" as long as nobody has seen it.
    """

    state: State = State.ACTIVE
    strikes: int = 0
    until: float | None = None
    reason: str = ""
    changed_at: float | None = None
    rests: tuple[tuple[str, float], ...] = ()
    account: str = ""


@frozen
class Change:
    """One thing that happened to a key, and what holds of it since.

    Attributes:
        at: epoch seconds.
        model: of a rest that is about one.
        reason: the verdict's, or what a suspicion says.
        status: the HTTP status that showed it; 0 for none.
        exchange_id: the exchange that showed it; "" for none.
        named: of a rest: the answer itself said until when; else the default is ours.
    """

    group_id: int
    key_id: int
    at: float
    event: Happened
    holds: KeyView
    model: str = ""
    reason: str = ""
    status: int = 0
    exchange_id: str = ""
    named: bool | None = None

    @property
    def until(self) -> float | None:
        """Epoch seconds of the end of the rest that this is about."""
        return dict(self.holds.rests).get(self.model) if self.model else self.holds.until
