"""The truth about key states: what data planes saw, folded into what holds now.

Memory holds only the keys of which there is something to say; a key that is active
and has no strikes costs nothing here. A change is published when it is folded and
written to the database soon after, many events of one key as one write: traffic never
waits for the database. A rest that ends by itself is no news and is not written.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from attrs import define, frozen
from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from gptload.control.db.database import Database
from gptload.control.db.queries import keystates
from gptload.control.db.queries.keystates import Written
from gptload.control.loop import Loop
from gptload.core.errors import DatabaseUnavailable
from gptload.core.keypool import PoolKey
from gptload.core.keystate import NEXT, Event, State
from gptload.core.outcome import Outcome, Verdict
from gptload.core.pace import Pace
from gptload.core.vault import Vault
from gptload.link.messages import (
    GroupRemoved,
    KeyChange,
    KeyEvent,
    KeysAdded,
    KeysRemoved,
    KeyStateChanged,
    Seen,
)

WRITE_S = 0.2
# One transaction.
WRITE_ROWS = 1000
# Keys that pools take up in one reactor turn.
TURN_KEYS = 1000
# Rests whose end is noticed in one turn.
TURN_WAKES = 2000

_STATUS: Final = {
    State.ACTIVE: "active",
    State.RESTING: "active",  # with `rest_until`; so that a restart needs no clean-up
    State.INVALID: "invalid",
    State.DISABLED: "disabled",
}


@frozen
class KeyView:
    """What holds of one key now.

    Attributes:
        strikes: rejections in a row.
        until: epoch seconds of the rest's end, for RESTING.
        reason: why it is not active, as its verdict said.
        changed_at: epoch seconds since when; None when nothing ever happened.
    """

    state: State = State.ACTIVE
    strikes: int = 0
    until: float | None = None
    reason: str = ""
    changed_at: float | None = None


@define
class _Standing:
    """A key of which there is something to say."""

    group_id: int
    state: State = State.ACTIVE
    strikes: int = 0
    until: float | None = None
    reason: str = ""
    changed_at: float | None = None

    def is_plain(self) -> bool:
        return self.state is State.ACTIVE and not self.strikes


class Ledger:
    """Folds key events, publishes key changes, and has them written."""

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        database: Database,
        vault: Vault,
        publish: Callable[[KeyChange], None],
    ) -> None:
        """
        Args:
            publish: called at once with every change; it must not raise.
        """
        self.unreadable = 0
        self._clock = clock
        self._database = database
        self._vault = vault
        self._publish = publish
        self._standings: dict[int, _Standing] = {}
        # (end of a rest, key id); an entry may be outdated, the standing decides.
        self._wakes: list[tuple[float, int]] = []
        # Ids only: what is written is what holds at that moment. A dict keeps the order.
        self._unwritten: dict[int, None] = {}
        self._writing: frozenset[int] = frozenset()
        self._lock = DeferredLock()

    async def load(self) -> None:
        """Fill the pools from the database, page by page, decrypting off the reactor's thread.

        A key that can't be decrypted never gets into a pool, and is not blamed for it.

        Raises:
            DatabaseUnavailable: nothing can be served without keys.
        """
        self.unreadable = after = 0
        while True:
            page = await self._database.read(keystates.page, self._vault, after)
            for start in range(0, len(page.keys), TURN_KEYS):
                self._take_up(page.keys[start : start + TURN_KEYS])
                await deferLater(self._clock, 0)
            self.unreadable += page.unreadable
            if page.last_id is None:
                break
            after = page.last_id
        if self.unreadable:
            self.log.error(
                "{count} keys can't be decrypted with this ENCRYPTION_KEY. They are not used, "
                "and their states stay as they are.",
                count=self.unreadable,
            )

    def _take_up(self, loaded: Sequence[keystates.Loaded]) -> None:
        now = self._clock.seconds()
        by_group: defaultdict[int, list[PoolKey]] = defaultdict(list)
        for item in loaded:
            key = item.key
            if key.state is State.RESTING and (key.until is None or key.until <= now):
                key.state, key.until = State.ACTIVE, None
            by_group[item.group_id].append(key)
            self._remember(item.group_id, key, item.reason, item.changed_at)
        for group_id, keys in by_group.items():
            self._publish(KeysAdded(group_id, tuple(keys)))

    def _remember(self, group_id: int, key: PoolKey, reason: str, changed_at: float | None) -> None:
        standing = _Standing(group_id, key.state, key.strikes, key.until, reason, changed_at)
        if not standing.is_plain():
            self._standings[key.id] = standing
            self._expect_wake(key.id, standing)

    def view(self, key_id: int) -> KeyView:
        """What holds of the key now. A key nobody knows looks like a healthy one."""
        standing = self._standings.get(key_id)
        if standing is None:
            return KeyView()
        self._wake_if_due(key_id, standing, self._clock.seconds())
        return KeyView(
            standing.state,
            standing.strikes,
            standing.until,
            standing.reason,
            standing.changed_at,
        )

    def fold(self, event: KeyEvent) -> None:
        """Take in what a data plane saw."""
        key_id = event.key_id
        standing = self._standings.get(key_id)
        if standing is None:
            if event.seen is Seen.OK:
                return
            standing = _Standing(event.group_id)
        self._wake_if_due(key_id, standing, event.at)
        if event.seen is Seen.OK:
            changed = self._end_strikes(standing)
        elif event.seen is Seen.REJECTED:
            changed = self._strike(standing, event)
        else:
            changed = self._rest(standing, event)
        if changed:
            self._changed(key_id, standing)

    def _end_strikes(self, standing: _Standing) -> bool:
        # An attempt that was under way when the verdict fell doesn't soften it.
        if not standing.strikes or standing.state in (State.INVALID, State.DISABLED):
            return False
        standing.strikes = 0
        return True

    def _strike(self, standing: _Standing, event: KeyEvent) -> bool:
        if standing.state in (State.INVALID, State.DISABLED):
            return False
        standing.strikes += 1
        if 0 < event.threshold <= standing.strikes:
            self._move(standing, Event.STRUCK_OUT, event.at, event.reason)
        return True

    def _rest(self, standing: _Standing, event: KeyEvent) -> bool:
        until = event.until
        # Of two rests the longer wins, whichever is heard of first.
        if until is None or until <= max(event.at, standing.until or 0.0):
            return False
        if NEXT[standing.state, Event.RESTED] is not State.RESTING:
            return False
        self._move(standing, Event.RESTED, event.at, event.reason)
        standing.until = until
        self._expect_wake(event.key_id, standing)
        return True

    def _move(self, standing: _Standing, event: Event, at: float, reason: str) -> None:
        standing.state = NEXT[standing.state, event]
        standing.until = None
        standing.reason = reason
        standing.changed_at = at

    def tested(self, group_id: int, key_id: int, verdict: Verdict) -> None:
        """Take in what a test of the key showed: a person asked, so it decides at once.

        A rejection makes the key invalid, whatever its strikes; a success makes it
        well. Anything else says nothing about the key and changes nothing.
        """
        if verdict.outcome is Outcome.OK:
            self.restored(group_id, (key_id,))
        elif verdict.outcome is Outcome.KEY_REJECTED:
            standing = self._standings.get(key_id) or _Standing(group_id)
            if standing.state in (State.INVALID, State.DISABLED):
                return
            standing.strikes += 1
            self._move(standing, Event.STRUCK_OUT, self._clock.seconds(), verdict.reason)
            self._changed(key_id, standing)

    def restored(self, group_id: int, key_ids: Iterable[int]) -> None:
        """These keys are good again: no strikes, no rest. What is switched off stays off."""
        now = self._clock.seconds()
        for key_id in key_ids:
            standing = self._standings.get(key_id)
            if standing is None or NEXT[standing.state, Event.RECOVERED] is not State.ACTIVE:
                continue
            standing.strikes = 0
            self._move(standing, Event.RECOVERED, now, "")
            self._changed(key_id, standing)

    def keys_added(self, group_id: int, keys: Sequence[PoolKey]) -> None:
        """These rows are in the database now."""
        now = self._clock.seconds()
        for key in keys:
            self._remember(group_id, key, "", now)
        self._publish(KeysAdded(group_id, tuple(keys)))

    def keys_removed(self, group_id: int, key_ids: Sequence[int]) -> None:
        """These rows are gone; the keys are never used again."""
        for key_id in key_ids:
            self._forget(key_id)
        self._publish(KeysRemoved(group_id, tuple(key_ids)))

    def group_removed(self, group_id: int) -> None:
        """The group and all its keys are gone."""
        gone = [key for key, held in self._standings.items() if held.group_id == group_id]
        for key_id in gone:
            self._forget(key_id)
        self._publish(GroupRemoved(group_id))

    def _forget(self, key_id: int) -> None:
        self._standings.pop(key_id, None)
        self._unwritten.pop(key_id, None)

    def _changed(self, key_id: int, standing: _Standing) -> None:
        self._standings[key_id] = standing
        self._unwritten[key_id] = None
        self._publish(
            KeyStateChanged(
                standing.group_id, key_id, standing.state, standing.strikes, standing.until
            )
        )

    def _expect_wake(self, key_id: int, standing: _Standing) -> None:
        if standing.until is not None:
            heapq.heappush(self._wakes, (standing.until, key_id))

    def _wake_if_due(self, key_id: int, standing: _Standing, now: float) -> None:
        """Notice the end of a rest. Pools notice it themselves, so nothing is published."""
        if standing.state is State.RESTING and (standing.until or 0.0) <= now:
            self._move(standing, Event.WOKE, standing.until or now, "")

    def wake(self) -> None:
        """Forget rests that are over, as many as fit into one turn."""
        now = self._clock.seconds()
        for _ in range(TURN_WAKES):
            if not self._wakes or self._wakes[0][0] > now:
                return
            _, key_id = heapq.heappop(self._wakes)
            standing = self._standings.get(key_id)
            if standing is not None:
                self._wake_if_due(key_id, standing, now)
                self._drop_if_plain(key_id)

    @property
    def unwritten(self) -> int:
        """How many keys' states wait for the database."""
        return len(self._unwritten)

    async def flush(self) -> None:
        """Write all that was folded by now.

        Raises:
            DatabaseUnavailable: nothing is lost; it is written by a later flush.
        """
        await self._lock.acquire()
        try:
            # What is folded meanwhile belongs to the next flush, or this might never end.
            left = len(self._unwritten)
            while left > 0 and self._unwritten:
                key_ids = list(self._unwritten)[: min(WRITE_ROWS, left)]
                left -= len(key_ids)
                await self._write(key_ids)
        finally:
            self._lock.release()

    async def _write(self, key_ids: list[int]) -> None:
        rows = []
        for key_id in key_ids:
            del self._unwritten[key_id]
            standing = self._standings[key_id]
            rows.append(
                Written(
                    key_id,
                    _STATUS[standing.state],
                    standing.strikes,
                    standing.until,
                    standing.reason,
                    standing.changed_at,
                )
            )
        self._writing = frozenset(key_ids)
        try:
            missing = await self._database.write(keystates.write, rows, self._clock.seconds())
        except BaseException:
            for key_id in key_ids:
                if key_id in self._standings:  # it may have been removed meanwhile
                    self._unwritten[key_id] = None
            raise
        finally:
            self._writing = frozenset()
        for key_id in missing:  # an event that came after the key was deleted
            self._forget(key_id)
        for key_id in key_ids:
            self._drop_if_plain(key_id)

    def _drop_if_plain(self, key_id: int) -> None:
        held = self._standings.get(key_id)
        if held is None or not held.is_plain():
            return
        # What is not written yet may still have to be written again.
        if key_id not in self._unwritten and key_id not in self._writing:
            del self._standings[key_id]


class LedgerWriter(Service):
    """Has the ledger's changes written soon, and all of them before the end."""

    log = Logger()

    def __init__(self, clock: IReactorTime, ledger: Ledger) -> None:
        self._clock = clock
        self._ledger = ledger
        self._pace = Pace()
        self._loop = Loop(clock, self._tick)

    def startService(self) -> None:
        """Write whatever changes from now on."""
        Service.startService(self)
        self._loop.start(WRITE_S)

    def stopService(self) -> Deferred[None]:
        """Write the last changes, as far as the database lets us."""
        Service.stopService(self)
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        if await self._loop.stop():
            self._pace.reset()
            await self._tick()

    async def _tick(self) -> None:
        self._ledger.wake()
        if not self._ledger.unwritten:
            return
        try:
            await self._ledger.flush()
        except DatabaseUnavailable as error:
            if self._pace.due(self._clock.seconds()):
                self.log.error(
                    "The states of {count} keys wait for the database: {reason}",
                    count=self._ledger.unwritten,
                    reason=error.message,
                )
        except Exception:  # a LoopingCall ends with its first unhandled error
            if self._pace.due(self._clock.seconds()):
                self.log.failure("Key states can't be written")
        else:
            self._pace.reset()
