"""Exchanges that wait for the first key of their group to come back.

They are served in the order in which they came, as soon as a key may serve what they
ask for. How long one waits is the group's `max_wait_for_key`; how many wait is bounded,
so that a group whose keys rest for hours holds no memory and no connections for nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Final, Protocol

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall

from gptload.core.snapshot import Group

LIMIT: Final = 1000
"""Exchanges that may wait for one group and model."""

# One key that comes back serves one of them: not all need to be asked.
_IN_VAIN: Final = 32
# A key is there a moment after its rest, not a moment before.
_LATER_S: Final = 0.005


class Waits(Protocol):
    """An exchange that waits."""

    def wakes_at(self) -> float | None:
        """Epoch seconds at which the first key that could serve it comes back, if any does."""

    def try_again(self) -> bool:
        """Begin an attempt if a key may serve; False when none may yet."""

    def waited_in_vain(self) -> None:
        """No key that could serve it is left, awake or not."""


@define
class _Line:
    """Who waits for one group and model, in order.

    Attributes:
        alarm: when somebody of them should be served; at epoch seconds `alarm_at`.
    """

    group: Group
    model: str
    waiting: dict[Waits, None] = field(factory=dict)
    alarm: IDelayedCall | None = None
    alarm_at: float = inf


class WaitingRoom:
    """All exchanges that wait, by the group that their clients named, and the model.

    Args:
        members: the groups whose keys serve a group.
        now: epoch seconds.
        call_later: as the reactor's.
    """

    def __init__(
        self,
        members: Callable[[Group], list[Group]],
        now: Callable[[], float],
        call_later: Callable[[float, Callable[[], None]], IDelayedCall],
    ) -> None:
        self._members = members
        self._now = now
        self._call_later = call_later
        self._lines: dict[tuple[int, str], _Line] = {}

    def enter(self, group: Group, model: str, exchange: Waits) -> bool:
        """Wait for a key of the group; False when too many do already."""
        line = self._lines.setdefault((group.id, model), _Line(group, model))
        if len(line.waiting) >= LIMIT:
            return False
        line.waiting[exchange] = None
        at = exchange.wakes_at()
        if at is not None and at < line.alarm_at:
            self._set_alarm(line, at)
        return True

    def leave(self, group: Group, model: str, exchange: Waits) -> None:
        """It waits no longer."""
        line = self._lines.get((group.id, model))
        if line is not None:
            line.waiting.pop(exchange, None)
            if not line.waiting:
                self._close(line)

    def woke(self, group_id: int) -> None:
        """Keys of this group have come back or gone: see who waits for them."""
        for line in list(self._lines.values()):
            if any(group.id == group_id for group in self._members(line.group)):
                self._serve(line)

    def serve(self, group: Group, model: str) -> None:
        """Let those go, in their order, for whom there is a key now."""
        # Hot: once a request.
        line = self._lines.get((group.id, model)) if self._lines else None
        if line is not None:
            self._serve(line)

    def _serve(self, line: _Line) -> None:
        in_vain: list[Waits] = []
        for exchange in list(line.waiting):
            if exchange not in line.waiting:
                continue  # gone because of one before it
            if exchange.try_again():
                line.waiting.pop(exchange, None)
            elif exchange.wakes_at() is None:
                line.waiting.pop(exchange, None)
                exchange.waited_in_vain()
            else:
                in_vain.append(exchange)
                if len(in_vain) == _IN_VAIN:
                    break
        if not line.waiting:
            self._close(line)
            return
        times = [at for exchange in in_vain if (at := exchange.wakes_at()) is not None]
        self._set_alarm(line, min(times, default=inf))

    def _set_alarm(self, line: _Line, at: float) -> None:
        if line.alarm is not None and line.alarm.active():
            line.alarm.cancel()
        line.alarm, line.alarm_at = None, at
        if at < inf:
            wait_s = max(0.0, at - self._now()) + _LATER_S
            line.alarm = self._call_later(wait_s, lambda: self._serve(line))

    def _close(self, line: _Line) -> None:
        self._set_alarm(line, inf)
        self._lines.pop((line.group.id, line.model), None)
