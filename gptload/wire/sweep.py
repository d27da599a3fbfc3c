"""Deadlines, looked at once a second.

A `callLater` a request costs more than the rest of its bookkeeping together
(docs/decisions/0001). So whoever must end by a time says so in an attribute and
is asked about it in the next sweep: late by a second at most, for a set's
add and discard.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

SECONDS = 1.0


class Timed(Protocol):
    """Something that must have ended, or moved on, by a time.

    Attributes:
        deadline: monotonic seconds; infinity for never.
    """

    deadline: float

    def deadline_passed(self) -> None:
        """Called in each sweep after `deadline`; whoever stays must move it."""


class Sweep:
    """Asks everybody who is in it, once a second.

    Attributes:
        now: monotonic seconds as of the last sweep. Good enough for idle times,
            and cheaper than asking the clock at each segment.
    """

    log = Logger()

    def __init__(self, clock: IReactorTime, ticks: Callable[[], float]) -> None:
        self._ticks = ticks
        self.now = ticks()
        self._timed: set[Timed] = set()
        self.add = self._timed.add
        self.discard = self._timed.discard
        self._loop = LoopingCall(self.turn)
        self._loop.clock = clock

    def start(self) -> None:
        """Begin to look."""
        self._loop.start(SECONDS, now=False)

    def stop(self) -> None:
        """Stop looking."""
        if self._loop.running:
            self._loop.stop()

    def turn(self) -> None:
        """Look once at everybody."""
        self.now = now = self._ticks()
        for timed in [timed for timed in self._timed if timed.deadline <= now]:
            if timed not in self._timed:
                continue  # it ended with one before it
            try:
                timed.deadline_passed()
            except Exception:  # one that fails must not keep the others waiting
                self.log.failure("A deadline could not be enforced")
                self.discard(timed)
