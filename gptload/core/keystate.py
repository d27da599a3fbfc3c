"""A key's states and events: one total table.

```
            RESTED                 STRUCK_OUT
  ACTIVE ──────────> RESTING ──────────────────> INVALID
    ^  <──────────      │                          │
    │     WOKE          │ RECOVERED                │ RECOVERED
    └───────────────────┴──────────────────────────┘
  any ── SWITCHED_OFF ──> DISABLED ── SWITCHED_ON ──> ACTIVE
```
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Final


class State(IntEnum):
    """What a key may do now."""

    ACTIVE = 0
    RESTING = 1  # until a time; why is the rest's reason
    INVALID = 2  # rejected `blacklist_threshold` times in a row, or by a test
    DISABLED = 3  # by a person


class Event(IntEnum):
    """What can happen to a key."""

    RESTED = 0
    WOKE = 1
    STRUCK_OUT = 2
    RECOVERED = 3
    SWITCHED_OFF = 4
    SWITCHED_ON = 5


NEXT: Final[Mapping[tuple[State, Event], State]] = {
    (State.ACTIVE, Event.RESTED): State.RESTING,
    (State.ACTIVE, Event.WOKE): State.ACTIVE,  # recovered by hand before its alarm rang
    (State.ACTIVE, Event.STRUCK_OUT): State.INVALID,
    (State.ACTIVE, Event.RECOVERED): State.ACTIVE,
    (State.ACTIVE, Event.SWITCHED_OFF): State.DISABLED,
    (State.ACTIVE, Event.SWITCHED_ON): State.ACTIVE,
    (State.RESTING, Event.RESTED): State.RESTING,  # of two rests the longer wins
    (State.RESTING, Event.WOKE): State.ACTIVE,
    (State.RESTING, Event.STRUCK_OUT): State.INVALID,
    (State.RESTING, Event.RECOVERED): State.ACTIVE,
    (State.RESTING, Event.SWITCHED_OFF): State.DISABLED,
    (State.RESTING, Event.SWITCHED_ON): State.RESTING,
    # Attempts still in flight may end after the verdict. They never soften it.
    (State.INVALID, Event.RESTED): State.INVALID,
    (State.INVALID, Event.WOKE): State.INVALID,
    (State.INVALID, Event.STRUCK_OUT): State.INVALID,
    (State.INVALID, Event.RECOVERED): State.ACTIVE,
    (State.INVALID, Event.SWITCHED_OFF): State.DISABLED,
    (State.INVALID, Event.SWITCHED_ON): State.INVALID,
    # What a person switched off, only a person switches on.
    (State.DISABLED, Event.RESTED): State.DISABLED,
    (State.DISABLED, Event.WOKE): State.DISABLED,
    (State.DISABLED, Event.STRUCK_OUT): State.DISABLED,
    (State.DISABLED, Event.RECOVERED): State.DISABLED,
    (State.DISABLED, Event.SWITCHED_OFF): State.DISABLED,
    (State.DISABLED, Event.SWITCHED_ON): State.ACTIVE,
}
