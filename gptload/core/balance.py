"""Whose turn it is, by weight.

Members of one weight stand in a queue: the first one serves and goes to its end, so
they are exactly even, in one order, for ever. Queues of different weights share a
line of virtual time. A queue whose weights add up to t has t turns in each unit of it,
evenly spaced, the first half a step from where it began; the earliest turn that hasn't
been taken is next. So over a cycle of sum(weights) picks everybody gets exactly its
weight, as smoothly as whole turns can be, and what one member leaves the others share
in proportion.

The rule of this file: no single call may cost more because there are many members. One
heap of all of them is simpler, but must drop at once, some day, what has left it one by
one: with half a million members, a pause of 0.1 to 0.3 s.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Container, Hashable, Iterator
from heapq import heapify, heappop, heappush, heapreplace
from itertools import chain
from typing import Final, Generic, TypeVar

from gptload.core.blocks import BITS, Blocks

M = TypeVar("M", bound=Hashable)

# One unit of virtual time. In whole numbers, because sums of floats drift apart: after
# a billion picks two equal turns must still be equal.
_UNIT: Final = 2**64
# Members of one piece of a queue. A larger table grows in steps that everybody notices.
_PIECE: Final = 8192
# How many of those who were skipped may have a turn kept: each pick looks at them.
_OWED_LIMIT: Final = 256


class Either(Generic[M]):
    """What is in one or the other of two containers, without copying them."""

    __slots__ = ("_one", "_other")

    def __init__(self, one: Container[M], other: Container[M]) -> None:
        self._one = one
        self._other = other

    def __contains__(self, item: object) -> bool:
        return item in self._one or item in self._other


class _Piece(OrderedDict[M, None]):
    """A part of a queue.

    Not a dict: looking for the first of one that loses its first all the time gets
    slower and slower.
    """

    __slots__ = ("queue",)

    queue: _Queue[M]


class _Queue(Generic[M]):
    """All members of one weight, the next one first.

    Attributes:
        pieces: the members in their order; the first piece is empty only if all are.
        size: how many members there are.
        order: which queue goes first when two turns are equal.
        total: what its weights added up to when its turns were last laid out; 0: never.
        base: virtual time from which its turns are counted.
        taken: its turns since then.
        entry: its place on the line; another entry of it there is out of date.
    """

    __slots__ = ("base", "entry", "order", "pieces", "size", "taken", "total", "weight")

    def __init__(self, weight: int, order: int) -> None:
        self.weight = weight
        self.order = order
        self.pieces: deque[_Piece[M]] = deque()
        self._begin_piece()
        self.size = 0
        self.total = 0
        self.base = 0
        self.taken = 0
        self.entry: _Entry[M] | None = None

    def append(self, member: M) -> _Piece[M]:
        """Put a new member at the end; the piece that it is in now."""
        last = self.pieces[-1]
        if len(last) >= _PIECE:
            last = self._begin_piece()
        last[member] = None
        self.size += 1
        return last

    def drop(self, member: M, piece: _Piece[M]) -> None:
        """Take a member out of the piece that it is in."""
        del piece[member]
        self.size -= 1
        pieces = self.pieces
        while not pieces[0] and len(pieces) > 1:
            pieces.popleft()

    def _begin_piece(self) -> _Piece[M]:
        piece: _Piece[M] = _Piece()
        piece.queue = self
        self.pieces.append(piece)
        return piece

    def lay_out(self, now: int) -> _Entry[M]:
        """Space the turns for the members that there are now.

        What has passed of the wait for the next turn stays passed, in proportion.
        """
        before, self.total = self.total, self.weight * self.size
        half_step = _UNIT // (2 * self.total)
        if self.entry is None:
            self.base = now
        else:
            self.base = now + (self.entry[0] - now) * before // self.total - half_step
        self.taken = 0
        self.entry = (self.base + half_step, self.order, self)
        return self.entry

    def advance(self, now: int, turns: int = 1) -> _Entry[M]:
        """Take turns, at most as many as there are members."""
        self.taken += turns
        if self.taken >= self.total:
            self.base += _UNIT
            self.taken -= self.total
        # From the count, not step by step: what is rounded off must not add up.
        turn = self.base + (2 * self.taken + 1) * _UNIT // (2 * self.total)
        if turn < now:
            # All of it was passed over: with the turn just taken it catches up on one for
            # each member, not on all that they missed.
            kept = now - _UNIT // self.weight + _UNIT // self.total
            if turn < kept:
                self.base, self.taken = kept, 0
                turn = kept + _UNIT // (2 * self.total)
        self.entry = (turn, self.order, self)
        return self.entry

    def turn_after(self, now: int, turns: int) -> int:
        """When its turn would come once so many have gone by. Nothing moves."""
        twin: _Queue[M] = _Queue(self.weight, self.order)
        twin.total, twin.base, twin.taken = self.total, self.base, self.taken
        return twin.advance(now, turns)[0]


_Entry = tuple[int, int, _Queue[M]]


class Rotation(Generic[M]):
    """Members that take turns.

    A pick costs O(log d) for d different weights, joining and leaving O(1).
    """

    def __init__(self) -> None:
        self._piece_of: Blocks[M, _Piece[M]] = Blocks()
        self._queues: dict[int, _Queue[M]] = {}
        self._line: list[_Entry[M]] = []
        self._changed: set[_Queue[M]] = set()
        # Who was skipped when its turn came: one turn each, however often it was.
        self._owed: dict[M, None] = {}
        self._opened = 0
        self._now = 0

    def __len__(self) -> int:
        return sum(queue.size for queue in self._queues.values())

    def __contains__(self, member: M) -> bool:
        return member in self._piece_of

    def __iter__(self) -> Iterator[M]:
        return iter(self._piece_of)

    def add(self, member: M, weight: int) -> None:
        """Let a member take turns from now on; with a weight of 0 it takes none.

        Its first turn comes after those who wait already. A member that is in already
        starts anew with this weight.
        """
        self.remove(member)
        if weight <= 0:
            return
        queue = self._queues.get(weight)
        if queue is None:
            self._opened += 1
            queue = self._queues[weight] = _Queue(weight, self._opened)
        self._piece_of[member] = queue.append(member)
        self._changed.add(queue)

    def remove(self, member: M) -> None:
        """Take a member out; nothing happens if it isn't in."""
        piece = self._piece_of.pop(member)
        if piece is None:
            return
        queue = piece.queue
        queue.drop(member, piece)
        self._owed.pop(member, None)
        if queue.size:
            self._changed.add(queue)
        else:
            queue.entry = None
            self._changed.discard(queue)
            del self._queues[queue.weight]

    def yield_turn(self, member: M) -> None:
        """A member has served without its turn: those of its weight go first now."""
        if member in self._piece_of:
            self._move_to_end(member)
            self._owed.pop(member, None)

    def forgo(self, member: M) -> None:
        """A turn that was kept for a member isn't wanted any more."""
        self._owed.pop(member, None)

    def pick(self, skip: Container[M] = ()) -> M | None:
        """Whose turn it is; None when nobody is left.

        Args:
            skip: members that can't take a turn now. They keep it for later, and what
                they leave in the meantime is shared like that of one who has left.
        """
        # Hot: once an attempt, so the usual way through it is one straight piece.
        if self._changed:
            self._lay_out()
        if self._owed:
            for member in self._owed:
                if member not in skip:
                    del self._owed[member]
                    return member
        line = self._line
        passed: list[_Entry[M]] = []
        found: M | None = None
        while line:
            entry = line[0]
            turn, _, queue = entry
            if entry is not queue.entry:
                heappop(line)
                continue
            pieces = queue.pieces
            first = pieces[0]
            member = next(iter(first))
            if member in skip:
                skipped = []
                for member in chain.from_iterable(pieces):
                    if member not in skip:
                        break
                    skipped.append(member)
                else:
                    passed.append(heappop(line))
                    continue
                # Their turns go by. A neighbour that took them would get twice its share.
                for member in skipped:
                    if len(self._owed) < _OWED_LIMIT:
                        self._owed[member] = None
                    self._move_to_end(member)
                heapreplace(line, queue.advance(self._now, len(skipped)))
                continue
            found = member
            if len(pieces) == 1:
                first.move_to_end(member)
            else:
                self._move_to_end(member)
            if turn > self._now:  # not so for a turn that was kept for later
                self._now = turn
            heapreplace(line, queue.advance(self._now))
            break
        for entry in passed:
            heappush(line, entry)
        return found

    def peek(self, skip: Container[M] = ()) -> M | None:
        """Whom `pick` would name now. Nobody's turn is taken.

        Args:
            skip: as for `pick`.
        """
        if self._changed:
            self._lay_out()
        for member in self._owed:
            if member not in skip:
                return member
        best: tuple[int, int] | None = None
        found: M | None = None
        for queue in self._queues.values():
            skipped = 0
            for member in chain.from_iterable(queue.pieces):
                if member not in skip:
                    break
                skipped += 1
            else:
                continue
            if queue.entry is None:
                continue
            turn = queue.turn_after(self._now, skipped) if skipped else queue.entry[0]
            if best is None or (turn, queue.order) < best:
                best, found = (turn, queue.order), member
        return found

    def _move_to_end(self, member: M) -> None:
        block = self._piece_of.blocks[hash(member) >> BITS]
        piece = block[member]
        queue = piece.queue
        if piece is queue.pieces[-1]:
            piece.move_to_end(member)
        else:
            queue.drop(member, piece)
            block[member] = queue.append(member)

    def _lay_out(self) -> None:
        for queue in self._changed:
            heappush(self._line, queue.lay_out(self._now))
        self._changed.clear()
        if len(self._line) > 2 * len(self._queues) + 64:  # mostly entries out of date
            self._line = [queue.entry for queue in self._queues.values() if queue.entry]
            heapify(self._line)
