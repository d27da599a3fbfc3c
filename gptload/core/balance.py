"""Whose turn it is, by weight.

Turns lie on a line of virtual time. A member of weight w has w of them in each
unit, evenly spaced: the k-th at (2k - 1) / 2w after it joined. The earliest turn
that hasn't been taken is next. So over a cycle of sum(weights) picks everybody gets
exactly its weight, spread as smoothly as whole turns can be, whoever comes or goes:
what one member leaves, the others share in proportion.
"""

from __future__ import annotations

from collections.abc import Container, Hashable
from heapq import heapify, heappop, heappush, heapreplace
from typing import Generic, TypeVar

M = TypeVar("M", bound=Hashable)

# Turns are compared as floats; below this many units of virtual time two different
# turns of weights up to 1,000 are never taken for the same one.
_REBASE_AT = float(2**20)


class _Seat(Generic[M]):
    """A member's place on the line.

    Attributes:
        base: virtual time at which it joined.
        taken: its turns so far, counted from `base`.
        left: it has been removed; its entry in the heap is dropped when it comes up.
    """

    __slots__ = ("base", "left", "member", "taken", "weight")

    def __init__(self, member: M, weight: int, base: float) -> None:
        self.member = member
        self.weight = weight
        self.base = base
        self.taken = 0
        self.left = False

    def turn(self) -> float:
        """Virtual time of its next turn."""
        # From the count, not by adding up: sums of 1/w would drift apart.
        return self.base + (2 * self.taken + 1) / (2 * self.weight)


class Rotation(Generic[M]):
    """Members that take turns. Picking costs O(log n), whatever the weights."""

    def __init__(self) -> None:
        self._seats: dict[M, _Seat[M]] = {}
        # (turn, order of joining, seat): equal turns keep one order for ever.
        self._line: list[tuple[float, int, _Seat[M]]] = []
        self._joined = 0
        self._now = 0.0
        self._gone = 0

    def __len__(self) -> int:
        return len(self._seats)

    def __contains__(self, member: M) -> bool:
        return member in self._seats

    def add(self, member: M, weight: int) -> None:
        """Let a member take turns from now on; with a weight of 0 it takes none.

        A member that is in already starts anew with this weight.
        """
        self.remove(member)
        if weight <= 0:
            return
        seat = _Seat(member, weight, self._now)
        self._seats[member] = seat
        self._joined += 1
        heappush(self._line, (seat.turn(), self._joined, seat))

    def remove(self, member: M) -> None:
        """Take a member out; nothing happens if it isn't in."""
        seat = self._seats.pop(member, None)
        if seat is None:
            return
        seat.left = True
        self._gone += 1
        if self._gone > 64 and self._gone > len(self._seats):
            self._line = [entry for entry in self._line if not entry[2].left]
            heapify(self._line)
            self._gone = 0

    def pick(self, skip: Container[M] = ()) -> M | None:
        """Whose turn it is; None when nobody is left.

        Args:
            skip: members that can't take a turn now. They keep it for later.
        """
        # Hot: once an attempt. benchmarks/rotation.py prices it.
        line = self._line
        if not skip:
            while line:
                turn, order, seat = line[0]
                if seat.left:
                    heappop(line)
                    self._gone -= 1
                    continue
                seat.taken += 1
                heapreplace(line, (seat.turn(), order, seat))
                if turn > self._now:  # not so for a turn that was kept for later
                    self._now = turn
                if turn > _REBASE_AT:
                    self._rebase()
                return seat.member
            return None
        return self._pick_around(skip)

    def _pick_around(self, skip: Container[M]) -> M | None:
        line = self._line
        passed: list[tuple[float, int, _Seat[M]]] = []
        found: M | None = None
        while line:
            entry = heappop(line)
            turn, order, seat = entry
            if seat.left:
                self._gone -= 1
                continue
            if seat.member in skip:
                passed.append(entry)
                continue
            seat.taken += 1
            heappush(line, (seat.turn(), order, seat))
            self._now = max(self._now, turn)
            found = seat.member
            break
        for entry in passed:
            heappush(line, entry)
        return found

    def _rebase(self) -> None:
        """Move the line back by whole units, so that its numbers stay small and exact."""
        shift = float(int(self._now))
        for seat in self._seats.values():
            whole, seat.taken = divmod(seat.taken, seat.weight)
            seat.base += whole - shift
        self._now -= shift
        self._line = [(seat.turn(), order, seat) for _, order, seat in self._line if not seat.left]
        heapify(self._line)
        self._gone = 0
