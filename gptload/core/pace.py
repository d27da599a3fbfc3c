"""How often a lasting trouble is worth a line in the log."""

from __future__ import annotations

from attrs import define


@define
class Pace:
    """Says yes at most once in `every_s` seconds, and at once after `reset`."""

    every_s: float = 60.0
    _next: float = float("-inf")

    def due(self, now: float) -> bool:
        """Whether to speak now. A yes counts as spoken."""
        if now < self._next:
            return False
        self._next = now + self.every_s
        return True

    def reset(self) -> None:
        """The trouble is over: the next one is news."""
        self._next = float("-inf")
