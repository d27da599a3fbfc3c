"""Records of one reactor turn, handed on together before anything of that turn is sent.

A record is kept by a list's append while requests are under way, and looked at when
they are not: whoever counts it or writes it finds its own code and data still at hand
for the next one. Nobody has the end of an answer before its record is in safe hands.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gptload.core.record import AttemptRecord


class Turn:
    """Collects the records of a turn.

    Args:
        takers: get all of them, in the order of these.
        before_sending: calls a function once, before anything that was or will be written
            in this turn is sent. None: transports don't wait for that, so each record
            is handed on at once.
    """

    def __init__(
        self,
        takers: Sequence[Callable[[Sequence[AttemptRecord]], None]],
        before_sending: Callable[[Callable[[], None]], None] | None,
    ) -> None:
        self._takers = takers
        self._before_sending = before_sending
        self._records: list[AttemptRecord] = []

    def add(self, record: AttemptRecord) -> None:
        """One more record."""
        # Hot: once an attempt.
        self._records.append(record)
        if self._before_sending is None:
            self.end()
        elif len(self._records) == 1:
            self._before_sending(self.end)

    def end(self) -> None:
        """Hand on what there is."""
        records = self._records
        if records:
            self._records = []
            for take in self._takers:
                take(records)
