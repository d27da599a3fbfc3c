"""What the breakers of the data plane said last, for people."""

from __future__ import annotations

from typing import Final

from twisted.logger import Logger

from gptload.core.breaker import State
from gptload.link.messages import BreakerMoved

# Groups that come and go leave their ways behind.
_MOST_WAYS: Final = 10_000


class Breakers:
    """The last move of every breaker that ever moved."""

    log = Logger()

    def __init__(self) -> None:
        # The one that moved last stands last.
        self._last: dict[str, BreakerMoved] = {}

    def moved(self, event: BreakerMoved) -> None:
        """A breaker has another state now."""
        self._last.pop(event.way, None)
        self._last[event.way] = event
        if len(self._last) > _MOST_WAYS:
            del self._last[next(iter(self._last))]
        if event.state is State.OPEN:
            self.log.warn(
                "{way} is left alone: {reason}. Others are preferred for {seconds:.0f} s.",
                way=event.way,
                reason=event.reason,
                seconds=max(0.0, (event.retry_at or event.at) - event.at),
            )
        elif event.state is State.CLOSED:
            self.log.info("{way} works again", way=event.way)

    def listed(self) -> list[BreakerMoved]:
        """The last moves, by way."""
        return sorted(self._last.values(), key=lambda moved: moved.way)
