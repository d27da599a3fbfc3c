"""The carrier between a data plane and a control plane that share one process.

Nothing is copied, queued or delayed: what is published has been received when the
call returns. That is why a change is in force before the admin API answers.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.logger import Logger

from gptload.core.snapshot import Snapshot
from gptload.link.messages import KeyChange, KeyEvent


class LocalLink:
    """Each side says what it wants to hear before the other one speaks."""

    log = Logger()

    def attach_control(self, event_received: Callable[[KeyEvent], None]) -> None:
        """Make `event_received` hear of every key event."""
        self._event_received = event_received

    def attach_data(
        self,
        change_received: Callable[[KeyChange], None],
        snapshot_received: Callable[[Snapshot], None],
    ) -> None:
        """Make these hear of every key change and snapshot."""
        self._change_received = change_received
        self._snapshot_received = snapshot_received

    def publish_event(self, event: KeyEvent) -> None:
        """Data plane → ledger. Never raises: an exchange doesn't pay for the ledger."""
        try:
            self._event_received(event)
        except Exception:
            self.log.failure("The ledger failed over an event of key {key}", key=event.key_id)

    def publish_change(self, change: KeyChange) -> None:
        """Ledger → data plane."""
        self._change_received(change)

    def publish_snapshot(self, snapshot: Snapshot) -> None:
        """Control plane → data plane: the next request reads this one."""
        self._snapshot_received(snapshot)
