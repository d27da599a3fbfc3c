"""When an upstream is left alone, and how traffic comes back to it: one total table.

```
            SICK                WAITED, SUCCEEDED
  CLOSED ──────────> OPEN <───────────────────────> HALF_OPEN
    ^                           FAILED, SICK            │
    └───────────────────────────────────────────────────┘
                            PROVEN
```

A breaker only says where another upstream should be preferred. Where none is left,
requests go through an open one all the same, and their success begins to close it.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Final

WINDOW_S: Final = 10.0
"""How long a fault or a success counts, at most; half as long at least."""

FIRST_WAIT_S: Final = 5.0
LONGEST_WAIT_S: Final = 300.0

# Sick: so many faults in a row, or more than half of so many attempts in the window.
_ROW: Final = 10
_ATTEMPTS: Final = 10
_SHARE: Final = 0.5
# Two slices make the window. They cost a success one comparison; weights that fade
# smoothly would cost it an `exp`.
_SLICE_S: Final = WINDOW_S / 2
# Tries of a half-open one, a second; each success doubles it, and so many prove it well.
_TRIES_A_SECOND: Final = 1.0
_PROOFS: Final = 5


class State(IntEnum):
    """What goes to an upstream while others are left."""

    CLOSED = 0  # everything
    OPEN = 1  # nothing
    HALF_OPEN = 2  # a trickle that grows with each success


class Event(IntEnum):
    """What can happen to a breaker."""

    SICK = 0  # too many faults, or the ledger found that many keys fail alike
    WAITED = 1
    FAILED = 2
    SUCCEEDED = 3
    PROVEN = 4


NEXT: Final[Mapping[tuple[State, Event], State]] = {
    (State.CLOSED, Event.SICK): State.OPEN,
    (State.CLOSED, Event.WAITED): State.CLOSED,
    (State.CLOSED, Event.FAILED): State.CLOSED,
    (State.CLOSED, Event.SUCCEEDED): State.CLOSED,
    (State.CLOSED, Event.PROVEN): State.CLOSED,
    (State.OPEN, Event.SICK): State.OPEN,
    (State.OPEN, Event.WAITED): State.HALF_OPEN,
    (State.OPEN, Event.FAILED): State.OPEN,
    (State.OPEN, Event.SUCCEEDED): State.HALF_OPEN,  # of a request that had no other way
    (State.OPEN, Event.PROVEN): State.CLOSED,
    (State.HALF_OPEN, Event.SICK): State.OPEN,
    (State.HALF_OPEN, Event.WAITED): State.HALF_OPEN,
    (State.HALF_OPEN, Event.FAILED): State.OPEN,
    (State.HALF_OPEN, Event.SUCCEEDED): State.HALF_OPEN,
    (State.HALF_OPEN, Event.PROVEN): State.CLOSED,
}


class Breaker:
    """One upstream as one egress reaches it.

    Times are epoch seconds. Whoever begins an attempt notes `generation` and gives it
    back with the result: what began before the breaker's last move says nothing about
    what holds since.

    Attributes:
        generation: grows with every move.
        changed_at: of the last move; None before the first one.
        retry_at: when an open one lets the next try through; None for a closed one.
        reason: what opened it last.
    """

    __slots__ = (
        "_faults",
        "_faults_before",
        "_next_try_at",
        "_oks",
        "_oks_before",
        "_other_ok_at",
        "_proofs",
        "_row",
        "_slice_ends",
        "_wait_s",
        "changed_at",
        "generation",
        "ok_at",
        "ok_key",
        "reason",
        "retry_at",
        "state",
    )

    def __init__(self) -> None:
        self.state = State.CLOSED
        self.generation = 0
        self.changed_at: float | None = None
        self.retry_at: float | None = None
        self.reason = ""
        self.ok_key = 0
        self.ok_at = 0.0
        self._other_ok_at = 0.0
        # Of the slice that ends then, and of the one before it.
        self._slice_ends = 0.0
        self._oks = self._oks_before = 0
        self._faults = self._faults_before = 0
        self._row = 0
        self._wait_s = FIRST_WAIT_S
        self._proofs = 0
        self._next_try_at = 0.0

    def succeeded(self, key_id: int, now: float, generation: int) -> bool:
        """An attempt with this key got a good answer.

        Returns:
            Whether the breaker moved.
        """
        # Hot: once a request.
        if key_id != self.ok_key:
            self._other_ok_at = self.ok_at
            self.ok_key = key_id
        self.ok_at = now
        return self.answered(now, generation)

    def answered(self, now: float, generation: int) -> bool:
        """An attempt got an answer that shows that the upstream works, good for it or not.

        Returns:
            Whether the breaker moved.
        """
        if generation != self.generation:
            return False
        if self.state is State.CLOSED:
            if now >= self._slice_ends:
                self._begin_slice(now)
            self._oks += 1
            self._row = 0
            return False
        if self.state is State.OPEN:
            self._move(Event.SUCCEEDED, now)
            self._proofs = 1
            return True
        self._proofs += 1
        if self._proofs < _PROOFS:
            return False
        self._move(Event.PROVEN, now)
        return True

    def failed(self, now: float, generation: int, reason: str, wait_s: float | None = None) -> bool:
        """An attempt ended with a fault of the upstream.

        Args:
            wait_s: what the upstream itself asks for.

        Returns:
            Whether the breaker moved.
        """
        if generation != self.generation:
            return False
        if self.state is State.CLOSED:
            if now >= self._slice_ends:
                self._begin_slice(now)
            self._faults += 1
            self._row += 1
            faults = self._faults + self._faults_before
            attempts = faults + self._oks + self._oks_before
            if self._row < _ROW and not (attempts >= _ATTEMPTS and faults > _SHARE * attempts):
                return False
            self._open(Event.SICK, now, reason, wait_s)
            return True
        if self.state is State.HALF_OPEN:
            self._open(Event.FAILED, now, reason, wait_s)
            return True
        if wait_s is not None:
            # From when it opened: or requests that have no other way would put it off for ever.
            last = (now if self.changed_at is None else self.changed_at) + LONGEST_WAIT_S
            self.retry_at = max(self.retry_at or now, min(now + wait_s, last))
        return False

    def trip(self, now: float, reason: str) -> bool:
        """Open it whatever was counted. An open one goes on waiting as it did.

        Returns:
            Whether it moved.
        """
        if self.state is State.OPEN:
            return False
        self._open(Event.SICK, now, reason, None)
        return True

    def close(self, now: float) -> bool:
        """Close it at once: what opened it turned out to be nothing, or is over.

        Returns:
            Whether it moved.
        """
        if self.state is State.CLOSED:
            return False
        self._move(Event.PROVEN, now)
        return True

    def prefers_others(self, now: float) -> bool:
        """Whether an attempt should go elsewhere if it can. Moves an open one when it's time."""
        if self.state is State.CLOSED:
            return False
        if self.state is State.OPEN:
            if self.retry_at is not None and now < self.retry_at:
                return True
            self._move(Event.WAITED, now)
            self._proofs = 0
            self._next_try_at = now
        return now < self._next_try_at

    def trying(self, now: float) -> None:
        """An attempt goes there; of a half-open one that uses up a try."""
        if self.state is State.HALF_OPEN:
            self._next_try_at = now + 1.0 / (_TRIES_A_SECOND * 2**self._proofs)

    def others_ok_at(self, key_id: int) -> float | None:
        """When a key other than this one last succeeded; None: never yet."""
        at = self._other_ok_at if key_id == self.ok_key else self.ok_at
        return at or None

    def _begin_slice(self, now: float) -> None:
        if now < self._slice_ends + _SLICE_S:
            self._slice_ends += _SLICE_S
            self._oks_before, self._faults_before = self._oks, self._faults
        else:  # what was counted is too old by now
            self._slice_ends = now + _SLICE_S
            self._oks_before = self._faults_before = 0
        self._oks = self._faults = 0

    def _open(self, event: Event, now: float, reason: str, wait_s: float | None) -> None:
        if self.state is not State.CLOSED:
            self._wait_s = min(2 * self._wait_s, LONGEST_WAIT_S)
        self._move(event, now)
        self.reason = reason
        self.retry_at = now + min(max(self._wait_s, wait_s or 0.0), LONGEST_WAIT_S)

    def _move(self, event: Event, now: float) -> None:
        self.state = NEXT[self.state, event]
        self.generation += 1
        self.changed_at = now
        self.retry_at = None
        self._oks = self._oks_before = 0
        self._faults = self._faults_before = 0
        self._row = 0
        if self.state is State.CLOSED:
            self._wait_s = FIRST_WAIT_S
