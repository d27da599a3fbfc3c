"""The carrier between a data plane and a control plane that share one process.

Nothing is copied, queued or delayed: what is published has been received when the
call returns. That is why a change is in force before the admin API answers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.logger import Logger

from gptload.core.snapshot import Snapshot
from gptload.link.messages import BreakerMoved, Event, KeyChange, KeyEvent, OwnerNoted


def _passed_over(event: Event) -> None:
    """Nobody here has a use for that kind."""


class LocalLink:
    """Each side says what it wants to hear before the other one speaks."""

    log = Logger()

    def attach_control(
        self,
        key_seen: Callable[[KeyEvent], None],
        breaker_moved: Callable[[BreakerMoved], None] = _passed_over,
        owner_noted: Callable[[OwnerNoted], None] = _passed_over,
    ) -> None:
        """Make these hear of every event of their kind."""
        self._receivers: dict[type[Event], Callable[[Any], None]] = {
            KeyEvent: key_seen,
            BreakerMoved: breaker_moved,
            OwnerNoted: owner_noted,
        }

    def attach_data(
        self,
        change_received: Callable[[KeyChange], None],
        snapshot_received: Callable[[Snapshot], None],
    ) -> None:
        """Make these hear of every key change and snapshot."""
        self._change_received = change_received
        self._snapshot_received = snapshot_received

    def publish_event(self, event: Event) -> None:
        """Data plane → control plane. Never raises: an exchange doesn't pay for the ledger."""
        try:
            self._receivers[type(event)](event)
        except Exception:
            self.log.failure("The control plane failed over {event}", event=event)

    def publish_change(self, change: KeyChange) -> None:
        """Ledger → data plane."""
        self._change_received(change)

    def publish_snapshot(self, snapshot: Snapshot) -> None:
        """Control plane → data plane: the next request reads this one."""
        self._snapshot_received(snapshot)
