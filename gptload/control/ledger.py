"""The truth about key states: what data planes saw, folded into what holds now.

The folding itself is `gptload.core.standing`; here it meets the database and the data
planes. A change is published when it is folded and written soon after, with its line
of the key's timeline, many changes of one key as one write of its state: traffic never
waits for the database. A rest that ends by itself is no news and is not written.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from attrs import define, field
from sqlalchemy import Connection
from twisted.internet.defer import DeferredLock
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from gptload.control.db.database import Database
from gptload.control.db.queries import keystates, timeline
from gptload.control.db.queries.keystates import Written
from gptload.control.loop import Repeating
from gptload.control.status import Job
from gptload.core import breaker
from gptload.core.correlation import Correlation
from gptload.core.keyevents import Change, Happened, KeyView, WaySuspected
from gptload.core.keypool import PoolKey
from gptload.core.keystate import Event, State
from gptload.core.outcome import Verdict
from gptload.core.standing import Standings
from gptload.core.vault import Vault
from gptload.link.messages import (
    BreakerMoved,
    GroupRemoved,
    KeyChange,
    KeyEvent,
    KeysAdded,
    KeysRemoved,
    KeyStateChanged,
)

WRITE_S = 0.2
# One transaction.
WRITE_ROWS = 1000
# Keys that pools take up in one reactor turn.
TURN_KEYS = 1000
# Rests whose end is noticed in one turn.
TURN_WAKES = 2000
# Lines of one key's timeline that wait while the database is away; the last ones stay.
WAITING_LINES: Final = 50

_STATUS: Final = {
    State.ACTIVE: "active",
    State.RESTING: "active",  # with `rest_until`; so that a restart needs no clean-up
    State.INVALID: "invalid",
    State.DISABLED: "disabled",
}


@define
class _Unwritten:
    """What the database doesn't know of a key yet."""

    group_id: int
    holds: KeyView
    lines: list[Change] = field(factory=list)

    def add(self, change: Change) -> None:
        self.holds = change.holds
        self.lines = [*self.lines[1 - WAITING_LINES :], change]

    def after(self, earlier: _Unwritten) -> _Unwritten:
        """Both, for one write."""
        return _Unwritten(self.group_id, self.holds, [*earlier.lines, *self.lines][-WAITING_LINES:])


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
        self.standings = Standings(Correlation())
        self._clock = clock
        self._database = database
        self._vault = vault
        self._publish = publish
        # What is written is what holds at that moment. A dict keeps the order.
        self._unwritten: dict[int, _Unwritten] = {}
        # Of the write under way; a key that is removed meanwhile leaves it.
        self._writing: dict[int, _Unwritten] = {}
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
                self.take_up(page.keys[start : start + TURN_KEYS])
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

    def take_up(self, loaded: Sequence[keystates.Loaded]) -> None:
        """These rows are in the database, with states of their own."""
        now = self._clock.seconds()
        by_group: defaultdict[int, list[PoolKey]] = defaultdict(list)
        for item in loaded:
            key = item.key
            if key.state is State.RESTING and (key.until is None or key.until <= now):
                key.state, key.until = State.ACTIVE, None
            key.rests = {model: until for model, until in key.rests.items() if until > now}
            by_group[item.group_id].append(key)
            self.standings.take_up(item.group_id, key, item.reason, item.changed_at)
        for group_id, keys in by_group.items():
            self._publish(KeysAdded(group_id, tuple(keys)))

    def view(self, key_id: int) -> KeyView:
        """What holds of the key now. A key nobody knows looks like a healthy one."""
        return self.standings.view(key_id, self._clock.seconds())

    def fold(self, event: KeyEvent) -> None:
        """Take in what a data plane saw."""
        undone = 0
        for news in self.standings.fold(event):
            if isinstance(news, Change):
                undone += news.event is Happened.UNDONE
                self._changed(news)
            else:
                self._suspected(news, undone)

    def _suspected(self, news: WaySuspected, undone: int) -> None:
        self._publish(news)
        if undone:  # told once; what fails there after that changes nothing any more
            self.log.warn(
                "{way}: {reason}. The verdicts on {count} keys are undone.",
                way=news.way,
                reason=news.reason,
                count=undone,
            )

    def breaker_moved(self, event: BreakerMoved) -> None:
        """Forget suspicions about a way that works again."""
        if event.state is breaker.State.CLOSED:
            self.standings.way_proven(event.way)

    def tested(self, group_id: int, key_id: int, verdict: Verdict) -> None:
        """Take in what a test of the key showed; see `Standings.tested`."""
        now = self._clock.seconds()
        for change in self.standings.tested(group_id, key_id, verdict.outcome, verdict.reason, now):
            self._changed(change)

    def restored(self, group_id: int, key_ids: Iterable[int]) -> None:
        """These keys are good again: no strikes, no rest. What is switched off stays off."""
        for change in self.standings.restored(group_id, key_ids, self._clock.seconds()):
            self._changed(change)

    def switched(self, group_id: int, key_ids: Iterable[int], event: Event) -> None:
        """A person switched these keys off or on; see `Standings.switched`."""
        for change in self.standings.switched(group_id, key_ids, event, self._clock.seconds()):
            self._changed(change)

    def keys_added(self, group_id: int, keys: Sequence[PoolKey]) -> None:
        """These rows are in the database now."""
        now = self._clock.seconds()
        for key in keys:
            self.standings.take_up(group_id, key, "", now)
        self._publish(KeysAdded(group_id, tuple(keys)))

    def keys_returned(self, loaded: Sequence[keystates.Loaded]) -> None:
        """These rows are in the database again, as they were."""
        self.take_up(loaded)

    def key_weighed(self, group_id: int, key_id: int, secret: bytes, weight: int) -> None:
        """This row has another weight now."""
        holds = self.view(key_id)
        key = PoolKey(
            key_id,
            secret,
            weight,
            holds.state,
            holds.strikes,
            holds.until,
            dict(holds.rests),
            holds.account,
        )
        self._publish(KeysAdded(group_id, (key,)))

    def keys_removed(self, group_id: int, key_ids: Sequence[int]) -> None:
        """These rows are gone; the keys are never used again."""
        self._forget(group_id, key_ids)
        self._publish(KeysRemoved(group_id, tuple(key_ids)))

    def group_removed(self, group_id: int) -> None:
        """The group and all its keys are gone."""
        self.standings.forget_group(group_id)
        waiting = {**self._writing, **self._unwritten}
        self._forget(group_id, [key for key, held in waiting.items() if held.group_id == group_id])
        self._publish(GroupRemoved(group_id))

    def _forget(self, group_id: int, key_ids: Iterable[int]) -> None:
        for key_id in key_ids:
            self.standings.forget(group_id, key_id)
            self._unwritten.pop(key_id, None)
            self._writing.pop(key_id, None)

    def _changed(self, change: Change) -> None:
        holds = change.holds
        if change.event is not Happened.SPARED:  # an outage would write one a request
            held = self._unwritten.get(change.key_id)
            if held is None:
                held = self._unwritten[change.key_id] = _Unwritten(change.group_id, holds)
            held.add(change)
        self._publish(
            KeyStateChanged(
                change.group_id,
                change.key_id,
                holds.state,
                holds.strikes,
                holds.until,
                holds.rests,
                holds.account,
            )
        )

    def wake(self) -> None:
        """Forget rests that are over, as many as fit into one turn."""
        self.standings.wake(self._clock.seconds(), TURN_WAKES)

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
        self._writing = writing = {key_id: self._unwritten.pop(key_id) for key_id in key_ids}
        states = [_written(key_id, held.holds) for key_id, held in writing.items()]
        lines = [line for held in writing.values() for line in held.lines]
        try:
            missing = await self._database.write(_write, states, lines, self._clock.seconds())
        except BaseException:
            for key_id, held in writing.items():  # but for those removed meanwhile
                later = self._unwritten.get(key_id)
                self._unwritten[key_id] = held if later is None else later.after(held)
            raise
        finally:
            self._writing = {}
        for key_id in missing:  # an event that came after the key was deleted
            if key_id in writing:
                self._forget(writing[key_id].group_id, (key_id,))


def _write(
    connection: Connection, states: Sequence[Written], lines: Sequence[Change], now: float
) -> list[int]:
    """Write states and timelines in one transaction; ids that there is no row for."""
    missing = keystates.write(connection, states, now)
    timeline.add(connection, [line for line in lines if line.key_id not in missing])
    return missing


def _written(key_id: int, holds: KeyView) -> Written:
    return Written(
        key_id,
        _STATUS[holds.state],
        holds.strikes,
        holds.until,
        holds.reason,
        holds.changed_at,
        holds.account,
        dict(holds.rests),
    )


class LedgerWriter(Repeating):
    """Has the ledger's changes written soon, and all of them before the end."""

    log = Logger()
    ends_with_turn = True

    def __init__(self, clock: IReactorTime, ledger: Ledger, job: Job | None = None) -> None:
        super().__init__(clock, WRITE_S, job)
        self._ledger = ledger

    async def turn(self) -> None:
        """Write what has changed."""
        self._ledger.wake()
        if self._ledger.unwritten:
            await self._ledger.flush()

    def trouble(self) -> str:
        """They are written later; what holds is published already."""
        return f"The states of {self._ledger.unwritten} keys wait for the database"
