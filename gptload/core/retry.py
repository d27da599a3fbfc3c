"""After this outcome: again, elsewhere, or give up; and after how long."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final

from gptload.core.outcome import Outcome
from gptload.core.settings import Settings


class Next(Enum):
    """What an exchange does after an attempt."""

    RETURN = "return"  # the client gets this answer
    RETRY = "retry"  # with another key
    RETRY_ELSEWHERE = "retry elsewhere"  # with another key and at another upstream


_FIRST_WAIT_S: Final = 0.1
_LONGEST_WAIT_S: Final = 2.0

AFTER: Final[Mapping[Outcome, Next]] = {
    Outcome.OK: Next.RETURN,
    Outcome.KEY_REJECTED: Next.RETRY,
    Outcome.KEY_EXHAUSTED: Next.RETRY,
    Outcome.RATE_LIMITED: Next.RETRY,
    Outcome.UPSTREAM_FAULT: Next.RETRY_ELSEWHERE,
    Outcome.REQUEST_FAULT: Next.RETURN,  # no other key would make the request right
    Outcome.CLIENT_GONE: Next.RETURN,
}


def decide(
    outcome: Outcome,
    status: int | None,
    attempts_made: int,
    settings: Settings,
    *,
    repeatable: bool,
) -> Next:
    """What follows an attempt.

    Args:
        status: of the upstream's answer; None where none came.
        attempts_made: the one that just ended included.
        settings: of the group; `failover`, when somebody has set it, is the whole
            policy of which statuses are retried.
        repeatable: the request can be sent again as it was.
    """
    step = AFTER[outcome]
    if not repeatable or attempts_made > settings.max_retries:
        return Next.RETURN
    if settings.failover is None or status is None or outcome is Outcome.CLIENT_GONE:
        return step
    if status not in settings.failover:
        return Next.RETURN
    return Next.RETRY if step is Next.RETURN else step


def back_off_s(attempts_made: int, chance: float) -> float:
    """Seconds to wait before the same upstream is asked again after a fault of its own.

    The first repetition is immediate: most faults are blips. Further ones leave it time,
    each twice as much as the one before, and not all at the same moment.

    Args:
        attempts_made: so far in this exchange.
        chance: anything from 0 to 1.
    """
    if attempts_made < 2:
        return 0.0
    longest = min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2.0 ** min(attempts_made - 2, 16))
    return longest * (0.5 + chance / 2)
