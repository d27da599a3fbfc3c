"""Asks again about keys that were rejected, and about those whose long rest is about to end.

A group has its turn once in its `key_validation_interval_minutes`. Its checks are spread
over that time, ever rarer for a key that stays rejected (`gptload.core.recheck`), and go
out as a person's test does (`gptload.control.probes`). Only a rejection or a good answer
is a verdict; anything else changes nothing.
"""

from __future__ import annotations

from heapq import heappop, heappush
from math import isinf
from typing import Final, Protocol

from attrs import Factory, define
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from gptload.control.db.database import Database
from gptload.control.db.queries import validation as queries
from gptload.control.db.queries.validation import Candidate
from gptload.control.ledger import Ledger
from gptload.control.loop import Loop
from gptload.control.snapshots import Snapshots
from gptload.control.status import Job
from gptload.core import recheck
from gptload.core.errors import DatabaseUnavailable
from gptload.core.keystate import State
from gptload.core.outcome import Outcome, Verdict
from gptload.core.pace import Pace
from gptload.core.recheck import Recheck
from gptload.core.snapshot import Group
from gptload.core.vault import Vault

TICK_S: Final = 1.0
# How often groups are looked for whose turn has come.
LOOK_S: Final = 30.0
# A rest that lasts no less, and no less than the group's interval, is long: so each is
# seen before it ends, and no key is asked more often than the interval.
LONG_REST_S: Final = 3600.0
# A key that died while it rested is found before a client meets it.
BEFORE_END_S: Final = 60.0
_SAME_REST_S: Final = 1.0
# Keys that one worker goes through in one tick: most may have recovered by themselves.
_TURN_KEYS: Final = 200
_COMPLAINT_S: Final = 3600.0


class Check(Protocol):
    """Asks about one key, as `gptload.control.probes.Probes.check`."""

    async def __call__(
        self, group: Group, key_id: int, secret: bytes
    ) -> tuple[Verdict | None, str]: ...


@define
class _Round:
    """One group's checks of now.

    Attributes:
        due: a heap of (epoch seconds, key id, end of the rest that it is about or None).
        turns: of every key that is meant, by id.
        under_way: checks that wait for their answer.
    """

    due: list[tuple[float, int, float | None]] = Factory(list)
    turns: dict[int, Recheck] = Factory(dict)
    under_way: int = 0


class Validation(Service):
    """Checks keys of all groups, as many of a group at once as it allows."""

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        database: Database,
        vault: Vault,
        ledger: Ledger,
        snapshots: Snapshots,
        check: Check,
        job: Job | None = None,
    ) -> None:
        self._clock = clock
        self._database = database
        self._vault = vault
        self._ledger = ledger
        self._snapshots = snapshots
        self._check = check
        self._job = Job() if job is None else job
        self._rounds: dict[int, _Round] = {}
        self._workers: set[Deferred[None]] = set()
        self._look_at = float("-inf")
        self._pace = Pace()
        self._complaints: dict[int, Pace] = {}
        self._loop = Loop(clock, self._tick, self._job)

    def startService(self) -> None:
        """Go on where a former process stopped."""
        Service.startService(self)
        self._look_at = float("-inf")
        self._loop.start(TICK_S)

    def stopService(self) -> Deferred[None]:
        """Break off what is under way; nothing of it is held against a key."""
        Service.stopService(self)
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        await self._loop.stop()
        for worker in list(self._workers):
            worker.cancel()
        while self._workers:
            await next(iter(self._workers))
        self._rounds.clear()

    async def _tick(self) -> None:
        now = self._clock.seconds()
        try:
            if now >= self._look_at:
                await self._look(now)
                self._look_at = now + LOOK_S
                self._job.succeeded(now, self._look_at)
        except DatabaseUnavailable as error:
            self._failed(error)
            if self._pace.due(now):
                self.log.error("Keys can't be validated: {reason}", reason=error.message)
        except Exception as error:  # a LoopingCall ends with its first unhandled error
            self._failed(error)
            if self._pace.due(now):
                self.log.failure("Keys can't be validated")
        else:
            self._pace.reset()
        self._begin_what_is_due()

    def _failed(self, error: Exception) -> None:
        self._job.failed(self._clock.seconds(), error)

    # Whose turn it is.

    async def _look(self, now: float) -> None:
        last = await self._database.read(queries.last_validated)
        groups = self._snapshots.current.by_id
        for group_id, reason in self._snapshots.unusable.items():
            self._complain(group_id, reason)
        for held in (self._rounds, self._complaints):
            for gone in held.keys() - groups.keys() - self._snapshots.unusable.keys():
                del held[gone]
        for group in list(groups.values()):
            if group.sub_groups is not None:
                continue
            at = last.get(group.id)
            # A clock that was set back must not stop it for good.
            if at is None or not 0 <= now - at < _interval_s(group):
                await self._fill(group, now, now)
                await self._database.write(queries.validated, group.id, now)
            elif group.id not in self._rounds:
                await self._fill(group, at, now)  # the round that a restart broke off

    async def _fill(self, group: Group, start: float, now: float) -> None:
        """Find the keys whose checks fall into the round that begins, or began, at `start`."""
        interval_s = _interval_s(group)
        end = start + interval_s
        former = self._rounds.get(group.id, _Round())
        found = _Round(under_way=former.under_way)
        after = 0
        while True:
            page = await self._database.read(
                queries.candidates,
                group.id,
                after,
                now,
                end + BEFORE_END_S,
                max(LONG_REST_S, interval_s),
            )
            for key in page:
                turn = former.turns.get(key.key_id)
                if turn is None or (key.rest_until is None and isinf(turn.asked_at)):
                    turn = _first(key, start, interval_s)
                    if turn.due(interval_s) < now and start < now and key.rest_until is None:
                        turn.asked_at = turn.due(interval_s)  # it had its turn before the restart
                found.turns[key.key_id] = turn
                due = turn.due(interval_s)
                if key.rest_until is not None:
                    due = max(turn.asked_at + interval_s, key.rest_until - BEFORE_END_S)
                if due < end:
                    heappush(found.due, (due, key.key_id, key.rest_until))
            if len(page) < queries.PAGE_ROWS:
                break
            after = page[-1].key_id
        # Workers of the former round go on with this one.
        former.due, former.turns = found.due, found.turns
        self._rounds[group.id] = former

    # Asking.

    def _begin_what_is_due(self) -> None:
        for group_id, round_ in self._rounds.items():
            group = self._snapshots.current.by_id.get(group_id)
            if group is None or group.sub_groups is not None:
                continue
            for _ in range(group.settings.key_validation_concurrency - round_.under_way):
                if not self._is_due(round_):
                    break
                round_.under_way += 1
                worker = Deferred.fromCoroutine(self._work(group_id, round_))
                if not worker.called:
                    self._workers.add(worker)
                    worker.addBoth(self._ended, worker)

    def _ended(self, _: object, worker: Deferred[None]) -> None:
        self._workers.discard(worker)

    def _is_due(self, round_: _Round) -> bool:
        return bool(round_.due) and round_.due[0][0] <= self._clock.seconds()

    async def _work(self, group_id: int, round_: _Round) -> None:
        """Ask about one key after another, as long as there is one whose time has come."""
        looked_at = 0
        try:
            while self._is_due(round_) and looked_at < _TURN_KEYS:
                group = self._snapshots.current.by_id.get(group_id)
                if group is None or round_.under_way > group.settings.key_validation_concurrency:
                    return
                _, key_id, rest_until = heappop(round_.due)
                if self._is_meant(key_id, rest_until):
                    await self._ask(group, round_, key_id, rest_until)
                looked_at += 1
        except CancelledError:
            return  # the service stops
        except DatabaseUnavailable as error:
            self._failed(error)
            if self._pace.due(self._clock.seconds()):
                self.log.error("Keys can't be validated: {reason}", reason=error.message)
        except Exception as error:  # a plugin's: the other groups go on
            round_.due.clear()
            self._complain(group_id, f"its channel's plugin failed with {type(error).__name__}")
        finally:
            round_.under_way -= 1

    async def _ask(
        self, group: Group, round_: _Round, key_id: int, rest_until: float | None
    ) -> None:
        turn, now = round_.turns[key_id], self._clock.seconds()
        before, turn.asked_at = turn.asked_at, now
        try:
            secret = await self._database.read(queries.secret, self._vault, key_id)
        except DatabaseUnavailable:
            turn.asked_at = before
            heappush(round_.due, (now + LOOK_S, key_id, rest_until))
            raise
        if secret is None:
            return
        verdict, _ = await self._check(group, key_id, secret)
        if verdict is not None and verdict.outcome is Outcome.KEY_REJECTED:
            turn.rejections += 1

    def _is_meant(self, key_id: int, rest_until: float | None) -> bool:
        """Whether the key is still as it was when it was found."""
        holds = self._ledger.view(key_id)
        if rest_until is None:
            return holds.state is State.INVALID
        until = holds.until or 0.0
        return holds.state is State.RESTING and abs(until - rest_until) < _SAME_REST_S

    def _complain(self, group_id: int, reason: str) -> None:
        pace = self._complaints.setdefault(group_id, Pace(_COMPLAINT_S))
        if pace.due(self._clock.seconds()):
            group = self._snapshots.current.by_id.get(group_id)
            self.log.warn(
                "Keys of group {name} can't be validated: {reason}",
                name=group_id if group is None else group.name,
                reason=reason,
            )


def _first(key: Candidate, start: float, interval_s: float) -> Recheck:
    if key.rest_until is not None:
        return Recheck(float("-inf"))
    return recheck.first(key.key_id, key.changed_at, start, interval_s)


def _interval_s(group: Group) -> float:
    return group.settings.key_validation_interval_minutes * 60.0
