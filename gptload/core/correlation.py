"""Whether failures belong to keys or to the way that they took.

Many distinct keys that are answered alike within seconds don't all die at once: what
they share is in trouble, the upstream, the egress, or an account.

The rule of this file: it only ever takes blame off keys. So one success of another key
in between is enough against a finding: it shows that the way works and keys differ,
and a batch of dead keys among live ones is found as if nobody looked here.
"""

from __future__ import annotations

from bisect import insort
from enum import Enum
from operator import itemgetter
from typing import Final

from attrs import define, field, frozen

WINDOW_S: Final = 10.0
LONGEST_S: Final = 600.0
"""How far a window reaches back where nothing has succeeded since: traffic may be thin."""

# So many keys at least, and half of those that could have been asked, but no more than
# that: in a large pool an outage must not cost hundreds of keys before it's seen.
_LEAST_KEYS: Final = 3
_ENOUGH_KEYS: Final = 10
# Of one way. Where failures come faster than this many in a window, the window is shorter.
_MOST_SIGHTINGS: Final = 2000
# A message may be of any length; a line in a log may not.
_SHOWN: Final = 120


class Cause(Enum):
    """What keys that fail alike have in common."""

    WAY = "way"  # the upstream as this egress reaches it
    ACCOUNT = "account"


@frozen
class Finding:
    """Keys were answered alike, and not because of what each of them is.

    Attributes:
        way: where it was seen.
        keys: ids of all keys with that signature in the window, in no certain order.
        since: epoch seconds of the first of these failures.
        reason: for people, e.g. `7 keys were answered alike: openai.invalid_api_key`.
        sure: keys that had been good before failed. Otherwise nobody has ever seen a
            good answer on this way: it may be the keys, too.
    """

    cause: Cause
    way: str
    keys: tuple[int, ...]
    signature: str
    reason: str
    sure: bool = True
    since: float = 0.0


@define(eq=False)
class _Alike:
    """What one signature looks like in the window of one way.

    Attributes:
        seen_at: of all its sightings, the oldest first.
        sightings: how many there are, by key.
        accounts: by key; "" as long as nobody has said it.
        proven: those keys that had a good answer before.
        told: the account that was found last, and when.
    """

    signature: str
    seen_at: list[float] = field(factory=list)
    sightings: dict[int, int] = field(factory=dict)
    accounts: dict[int, str] = field(factory=dict)
    proven: set[int] = field(factory=set)
    told: tuple[str, float] | None = None

    def add(self, at: float, key_id: int, account: str, proven: bool) -> None:
        insort(self.seen_at, at)
        if proven:
            self.proven.add(key_id)
        self.sightings[key_id] = self.sightings.get(key_id, 0) + 1
        self.accounts[key_id] = account or self.accounts.get(key_id, "")

    def drop_oldest(self, key_id: int) -> None:
        del self.seen_at[0]
        if _count_down(self.sightings, key_id):
            del self.accounts[key_id]
            self.proven.discard(key_id)

    def account(self) -> str:
        """The one that all its keys are of; "" for several or an unknown one."""
        accounts = set(self.accounts.values())
        return accounts.pop() if len(accounts) == 1 else ""


@define(eq=False)
class _Window:
    """The last failures on one way.

    All is counted as it comes and goes: in an outage every request asks, and none of
    them may pay for all the others.

    Attributes:
        sightings: time, key and what it was like, the oldest first.
        failures: how many there are, by key.
        ok_at: the last success that anybody told of.
    """

    sightings: list[tuple[float, int, _Alike]] = field(factory=list)
    failures: dict[int, int] = field(factory=dict)
    alike: dict[str, _Alike] = field(factory=dict)
    ok_at: float = float("-inf")

    @property
    def last_at(self) -> float:
        return self.sightings[-1][0]

    def add(self, at: float, key_id: int, account: str, signature: str, proven: bool) -> _Alike:
        alike = self.alike.get(signature)
        if alike is None:
            alike = self.alike[signature] = _Alike(signature)
        alike.add(at, key_id, account, proven)
        insort(self.sightings, (at, key_id, alike), key=itemgetter(0))
        self.failures[key_id] = self.failures.get(key_id, 0) + 1
        begins_at = self.last_at - WINDOW_S
        if self.ok_at < begins_at:
            begins_at = max(self.ok_at, self.last_at - LONGEST_S)
        while self.sightings[0][0] <= begins_at or len(self.sightings) > _MOST_SIGHTINGS:
            self._drop_oldest()
        return alike

    def _drop_oldest(self) -> None:
        _, key_id, alike = self.sightings.pop(0)
        _count_down(self.failures, key_id)
        alike.drop_oldest(key_id)
        if not alike.seen_at:
            del self.alike[alike.signature]


class Correlation:
    """Remembers the last failures on every way, and says when they are one trouble."""

    def __init__(self) -> None:
        # The one that was told of last stands last.
        self._windows: dict[str, _Window] = {}

    def __len__(self) -> int:
        """How many failures are remembered."""
        return sum(len(window.sightings) for window in self._windows.values())

    def observe(
        self,
        *,
        at: float,
        way: str,
        key_id: int,
        account: str,
        signature: str,
        others_ok_at: float | None,
        proven: bool = False,
        serving: int = 0,
    ) -> Finding | None:
        """Take in a failure that could be the way's as well as the key's.

        Args:
            at: epoch seconds.
            account: the provider's id of the key's account; "" where nobody knows it.
            signature: what answers of one cause have in common.
            others_ok_at: epoch seconds at which another key last succeeded on this way.
            proven: the key itself had a good answer before.
            serving: how many keys may serve there.

        Returns:
            For a way's trouble a finding at every further failure of this kind, so that
            each can be undone; for an account's one in a window. None: as far as anybody
            can see, it's the key's own.
        """
        window = self._window(way, at)
        if others_ok_at is not None:
            window.ok_at = max(window.ok_at, others_ok_at)
        alike = window.add(at, key_id, account, signature, proven)
        count = len(alike.sightings)
        # Where some keys have been good, those that never were speak for themselves only:
        # so a dead batch is found even if nothing else is asked for a while.
        way_was_well = others_ok_at is not None or bool(alike.proven)
        telling = len(alike.proven) if way_was_well else count
        enough = max(_LEAST_KEYS, min(_ENOUGH_KEYS, serving // 2))
        if telling < enough or count < len(window.failures) / 2:
            return None
        if alike.seen_at[0] < window.ok_at:
            return None
        keys, shown = tuple(alike.sightings), signature[:_SHOWN]
        one = alike.account()
        if not one:
            reason = f"{count} keys were answered alike: {shown}"
            return Finding(Cause.WAY, way, keys, signature, reason, way_was_well, alike.seen_at[0])
        if alike.told is not None and alike.told[0] == one and at < alike.told[1] + WINDOW_S:
            return None
        alike.told = (one, at)
        reason = f"{count} keys of account {one} were answered alike: {shown}"
        return Finding(Cause.ACCOUNT, way, keys, signature, reason, since=alike.seen_at[0])

    def forget(self, way: str) -> None:
        """The way works again: what was seen there before says nothing about what comes."""
        self._windows.pop(way, None)

    def _window(self, way: str, at: float) -> _Window:
        window = self._windows.pop(way, None)
        # One that is over is of no use. One that lies ahead is from a clock that was set
        # back since, and would stand in the way until that time comes again.
        if window is None or not -WINDOW_S < at - window.last_at < LONGEST_S:
            window = _Window()
        self._windows[way] = window
        while (stalest := next(iter(self._windows))) != way:
            if at - self._windows[stalest].last_at < LONGEST_S:
                break
            del self._windows[stalest]
        return window


def _count_down(counts: dict[int, int], key_id: int) -> bool:
    """One less. Whether it was the last one."""
    counts[key_id] -= 1
    if counts[key_id]:
        return False
    del counts[key_id]
    return True
