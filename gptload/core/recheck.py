"""When a key that was rejected is asked again: ever more rarely while it stays rejected.

The rule of this file: two checks of a key are never closer than its group's interval,
and keys of a group are spread over it, however many turn bad at once.
"""

from __future__ import annotations

from math import log2
from typing import Final

from attrs import define

DAY_S: Final = 86_400.0
_DOUBLINGS: Final = 20
_GOLDEN: Final = 0.6180339887498949


@define
class Recheck:
    """One key's turns.

    Attributes:
        asked_at: epoch seconds of the last check, or of where it would have been.
        rejections: in a row, by checks.
    """

    asked_at: float
    rejections: int = 0

    def due(self, interval_s: float) -> float:
        """Epoch seconds of the next check."""
        return self.asked_at + wait_s(interval_s, self.rejections)


def wait_s(interval_s: float, rejections: int) -> float:
    """Seconds until the next check: the interval, twice that after each further rejection.

    A day at most, or the interval where that is longer.
    """
    longer = interval_s * 2.0 ** min(max(rejections - 1, 0), _DOUBLINGS)
    return max(interval_s, min(longer, DAY_S))


def first(key_id: int, changed_at: float | None, start: float, interval_s: float) -> Recheck:
    """The turns of a key that is seen for the first time.

    What it did before isn't known any more after a restart. How long it has been bad is,
    and it has been asked that often, about.

    Args:
        changed_at: epoch seconds since when it is bad; None where nobody knows.
        start: epoch seconds from which on it is to have its turn.
    """
    age_s = 0.0 if changed_at is None else start - changed_at
    rejections = int(log2(age_s / interval_s)) + 1 if age_s >= interval_s else 0
    turn = Recheck(start, rejections)
    wait = wait_s(interval_s, rejections)
    # Multiples of the golden ratio never lie close together, however many there are.
    turn.asked_at = start - wait * (1.0 - key_id * _GOLDEN % 1.0)
    return turn
