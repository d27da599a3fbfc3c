"""Waves: what happened to many keys at about the same time, told as one thing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from attrs import Factory, define, frozen

from gptload.core.keyevents import Happened

# What begins so long after a like thing has ended is another wave.
GAP_S: Final = 300.0

# A rejection that doesn't yet count, and its end, are everyday life.
_TOLD: Final = frozenset(
    {
        Happened.STRUCK_OUT,
        Happened.RESTED,
        Happened.UNDONE,
        Happened.TESTED_GOOD,
        Happened.TESTED_BAD,
        Happened.RESTORED,
        Happened.SWITCHED_OFF,
        Happened.SWITCHED_ON,
    }
)


@frozen
class Moment:
    """One line of a key's timeline.

    Attributes:
        at: epoch seconds.
        until: epoch seconds of the end of the rest that it is about; None for none.
        status: the HTTP status that showed it; 0 for none.
    """

    at: float
    group_id: int
    key_id: int
    event: Happened
    until: float | None
    reason: str
    status: int


@define
class Wave:
    """Like moments of one group's keys, none more than `GAP_S` after the one before.

    Attributes:
        since, at: epoch seconds of the first and of the last.
        until: when the last of these rests ends, epoch seconds; None where none rests.
        key_ids: whom it happened to.
    """

    group_id: int
    event: Happened
    reason: str
    status: int
    since: float
    at: float
    until: float | None
    key_ids: set[int] = Factory(set)


def waves(moments: Iterable[Moment]) -> list[Wave]:
    """Fold moments, the newest first, into waves, the one that ended last first."""
    found: list[Wave] = []
    running: dict[tuple[int, Happened, str], Wave] = {}
    for moment in moments:
        if moment.event not in _TOLD:
            continue
        like = moment.group_id, moment.event, moment.reason
        wave = running.get(like)
        if wave is None or wave.since - moment.at > GAP_S:
            wave = Wave(*like, moment.status, moment.at, moment.at, moment.until)
            running[like] = wave
            found.append(wave)
        wave.since = moment.at
        wave.key_ids.add(moment.key_id)
        if moment.until is not None:
            wave.until = max(wave.until or moment.until, moment.until)
    return found
